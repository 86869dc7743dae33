//! A schedule: what happens when, decided by a seed, and what must be true afterwards.

use std::time::Duration;

use super::claimant::{self, Plan};
use super::random::Random;
use super::world::{Shared, World};

/// Number of schedules in a test run.
const SCHEDULES: u64 = 10_000;
/// Time of the last possible fault in a schedule.
const FAULTS_END: Duration = Duration::from_secs(20);
/// Time after which a schedule counts as never ending.
const END: Duration = Duration::from_secs(600);

/// An event from outside the claimants.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// A claimant arrives.
    Arrive,
    /// A claimant's launcher dies. Its rank may live on.
    Crash { with_rank: bool },
    /// Somebody begins to delete the run folder, or `attempts/` alone.
    Delete { all: bool },
    /// A process that holds nothing prunes.
    Prune,
}

/// Runs the schedule of `seed`. Panics if an invariant fails.
fn run(seed: u64) {
    let world = World::begin(Random(seed));
    let mut events = schedule(&world);
    events.sort_by_key(|(at, _)| *at);
    for (at, event) in events {
        world.run_until(at);
        happen(&world, event);
    }
    world.calm_down();
    world.run_until(END);
    assert!(world.is_idle(), "somebody never ends");
    // After any events, a claimant that arrives now continues the run.
    let before = world.truth().newest();
    let last = claimant::arrive(&world, &Plan { saves: 2, attempts: 1, ..Plan::random(&world) });
    world.run_until(2 * END);
    let outcome = world.outcome_of(last);
    assert_eq!(outcome.saved, 2, "the last claimant cannot go on: {outcome:?}");
    assert_eq!(outcome.start, before, "the last claimant does not go on from the newest");
    world.check_lineage();
}

/// Returns the events and their times.
fn schedule(world: &Shared) -> Vec<(Duration, Event)> {
    world.random(|random| {
        let mut events = vec![(Duration::ZERO, Event::Arrive)];
        let mut add = |most: u64, random: &mut Random, event: &dyn Fn(&mut Random) -> Event| {
            for _ in 0..random.below(most + 1) {
                events.push((random.up_to(FAULTS_END), event(random)));
            }
        };
        add(4, random, &|_| Event::Arrive);
        add(3, random, &|random| Event::Crash { with_rank: random.one_in(2) });
        if random.one_in(2) {
            add(2, random, &|random| Event::Delete { all: random.one_in(2) });
        }
        if random.one_in(4) {
            add(2, random, &|_| Event::Prune);
        }
        events
    })
}

fn happen(world: &Shared, event: Event) {
    match event {
        Event::Arrive => drop(claimant::arrive(world, &Plan::random(world))),
        Event::Crash { with_rank } => world.crash(with_rank),
        Event::Delete { all } => world.begin_deletion(all),
        Event::Prune => claimant::pruner(world),
    }
}

/// Runs the schedules of the seeds from `first` on, and names the one that failed.
fn run_all(first: u64, schedules: u64) {
    for seed in first..first + schedules {
        let result = std::panic::catch_unwind(|| run(seed));
        if let Err(panic) = result {
            eprintln!("CONVOY_TEST_SEED={seed:x} runs the schedule that failed alone");
            std::panic::resume_unwind(panic);
        }
    }
}

fn variable(name: &str, radix: u32) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(u64::from_str_radix(&text, radix).unwrap_or_else(|e| panic!("{name}={text}: {e}")))
}

#[test]
fn whatever_happens_a_run_has_one_lineage_and_loses_nothing_that_counts() {
    if let Some(seed) = variable("CONVOY_TEST_SEED", 16) {
        return run(seed);
    }
    let first = variable("CONVOY_TEST_FIRST_SCHEDULE", 16).unwrap_or(0);
    run_all(first, variable("CONVOY_TEST_SCHEDULES", 10).unwrap_or(SCHEDULES));
}

#[test]
fn a_schedule_is_the_same_each_time() {
    let trace = |seed| {
        let world = World::begin(Random(seed));
        claimant::arrive(&world, &Plan::random(&world));
        claimant::arrive(&world, &Plan::random(&world));
        world.run_until(END);
        world.objects()
    };
    assert_eq!(trace(7), trace(7));
    assert_ne!(trace(7), trace(8));
}
