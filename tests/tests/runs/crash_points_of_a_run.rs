//! All processes of a run die at a request that one of them makes to its store, before the request is performed or after.
//! Running the command again resumes from the newest committed checkpoint, with the losses of an undisturbed run.
//!
//! Every request from the first save on is a point, those of saves and of the pruning after them among them. The worker's
//! `crash_points` tries those of the protocol alone, in one process. All this also holds with stale, partial and duplicated
//! listings of the store, except that the run may resume from a checkpoint before the newest.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use common::checkpoint_store;
use common::exit_code::ExitCode;
use nix::sys::signal::Signal;
use tests::faults::{Fault, Plan};
use tests::process::{Running, send};
use tests::random::Random;
use tests::scratch::{Scratch, losses};
use tests::store::Store;
use tests::training::{DEADLINE, by_mpirun, ended, run};

/// Variable that says which points are tried: `1/1` is all of them, and `2/3` the second third. Without it, a few at random.
const PART_VARIABLE: &str = "CONVOY_TEST_CRASH_POINTS";
const POINTS: usize = 4;
/// Number of points that are tried with stale listings.
const POINTS_BEHIND: usize = 2;
/// Number of requests by which listings are behind.
const LAG: u64 = 15;

/// Settings with two saves, of which the second deletes the first.
const SETTINGS: [&str; 4] =
    ["train.max_steps=6", "evaluation.every_steps=0", "checkpoint.every_steps=3", "checkpoint.keep_last=1"];

struct Points {
    store: Store,
    undisturbed: BTreeMap<u64, f64>,
    /// Numbers of the requests of a whole run, from its first save on.
    requests: Range<usize>,
}

impl Points {
    fn new() -> Self {
        let store = Store::over(Scratch::new());
        let mut points = Points { store, undisturbed: BTreeMap::new(), requests: 0..0 };
        run(points.store.environment(by_mpirun(2, &points.config("whole"))), ExitCode::Done, &[]);
        points.undisturbed = points.losses("whole");
        let requests = points.store.faults().requests();
        let first = requests.iter().position(|line| line.contains("/checkpoints/step-")).unwrap();
        points.requests = first + 1..requests.len() + 1;
        points
    }

    fn config(&self, name: &str) -> PathBuf {
        let output = format!("run.output=s3://runs/{name}");
        self.store.scratch.config(name, &[&SETTINGS[..], &[&output]].concat())
    }

    fn losses(&self, name: &str) -> BTreeMap<u64, f64> {
        losses(&self.store.scratch.url(&format!("runs/{name}")))
    }

    /// Kills all processes when request `number` is made, or was performed. Returns false if there was no such request. Other
    /// requests follow `plan`.
    fn survives(&self, number: usize, carried_out: bool, plan: &Plan) -> bool {
        let (fault, when) = if carried_out { (Fault::LateAnswer, "after") } else { (Fault::Silence, "before") };
        let name = format!("{when}-{number}{}", if plan.lag > 0 { "-behind" } else { "" });
        let config = self.config(&name);
        let silence = Duration::from_secs(3600);
        self.store.faults().follow(Plan { at: Some((number, fault)), silence, ..plan.clone() });
        let mut running = Running::start(self.store.environment(by_mpirun(2, &config)));
        let (begun, is_met) = (Instant::now(), || self.store.faults().count(fault) > 0);
        while running.status().is_none() && !is_met() && begun.elapsed() < DEADLINE {
            std::thread::sleep(Duration::from_millis(5));
        }
        let is_met = self.store.faults().count(fault) > 0;
        if is_met {
            for program in ["mpirun", "worker"] {
                running.processes(program).into_iter().for_each(|pid| send(pid, Signal::SIGKILL));
            }
            running.finish_alone(DEADLINE);
        } else {
            ended(running, ExitCode::Done, &[]);
        }
        self.store.faults().follow(plan.clone());
        let folder = self.store.scratch.folder(&format!("runs/{name}"));
        let newest = checkpoint_store::newest(&folder).unwrap();
        let words = newest.filter(|_| plan.lag == 0).map(|newest| format!("resumed from {newest}"));
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        run(self.store.environment(by_mpirun(2, &config)), ExitCode::Done, &words);
        assert_eq!(self.losses(&name), self.undisturbed, "{name}");
        assert_eq!(checkpoint_store::newest(&folder).unwrap().map(|newest| newest.step), Some(6), "{name}");
        is_met
    }
}

#[test]
fn a_run_that_dies_at_any_request_to_its_store_goes_on_as_if_it_had_not() {
    let points = Points::new();
    let mut all: Vec<(usize, bool)> =
        points.requests.clone().flat_map(|number| [(number, false), (number, true)]).collect();
    let (count, mut random) = (all.len(), Random::fresh());
    let mut behind = all.clone();
    match std::env::var(PART_VARIABLE) {
        Ok(text) => {
            let (part, parts) = text.split_once('/').unwrap();
            let (part, parts): (usize, usize) = (part.parse().unwrap(), parts.parse().unwrap());
            all = all[(part - 1) * count / parts..part * count / parts].to_vec();
            behind.clone_from(&all);
        }
        Err(_) => {
            let mut some = |points| (0..points).map(|_| *random.choose(&behind)).collect();
            (all, behind) = (some(POINTS), some(POINTS_BEHIND));
        }
    }
    let consistent = Plan::default();
    let met = all.iter().filter(|(number, carried_out)| points.survives(*number, *carried_out, &consistent)).count();
    println!("died at {met} of {count} points, and went on as if it had not");
    // A claim is refreshed by the clock, so the last requests may be missing.
    assert!(met + 6 >= all.len() && met > 0, "{met} of {}", all.len());

    let seed = random.below(u64::MAX);
    let stale = Plan { rate: 0.9, seed, kinds: Fault::LISTINGS.into(), lag: LAG, ..Plan::default() };
    let met = behind.iter().filter(|(number, carried_out)| points.survives(*number, *carried_out, &stale)).count();
    println!(
        "died at {met} of {} points of a store whose listings are behind, and went on as if it had not",
        behind.len()
    );
    assert!(met + 6 >= behind.len() && met > 0, "{met} of {}", behind.len());
}
