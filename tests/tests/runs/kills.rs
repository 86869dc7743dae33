//! A rank, all ranks, or mpirun is killed again and again, at random moments, while the run saves after every other step.
//! Every loss equals, in all digits, that of a run that was never interrupted.

use std::time::Duration;

use common::exit_code::ExitCode;
use nix::sys::signal::Signal;
use tests::process::{Running, send};
use tests::random::Random;
use tests::scratch::{Scratch, losses};
use tests::training::{DEADLINE, by_launcher, by_mpirun, ended, run, turn, very_slowly};

/// Variable with the number of kills; `make soak` sets more.
const KILLS_VARIABLE: &str = "CONVOY_TEST_KILLS";
const KILLS: u32 = 5;

#[test]
fn killed_at_random_moments_is_as_never_killed() {
    let _turn = turn();
    let kills: u32 = std::env::var(KILLS_VARIABLE).map_or(KILLS, |text| text.parse().unwrap());
    let (scratch, mut random) = (Scratch::new(), Random::fresh());
    // There are more steps than are made up to the latest moment of each kill.
    let steps = 20 + 12 * kills;
    let max_steps = format!("train.max_steps={steps}");
    let settings =
        [max_steps.as_str(), "checkpoint.every_steps=2", "evaluation.every_steps=0", "launch.max_restarts=50"];
    run(by_mpirun(2, &scratch.config("whole", &settings)), ExitCode::Done, &[]);
    let config = scratch.config("run", &settings);
    let mut running = Running::start(very_slowly(by_launcher(2, &config)));
    let mut done = 0;
    while done < kills {
        running.wait_for(&format!("attempt {}: 2 ranks", done + 1), DEADLINE);
        // Every other kill comes at the start or soon after, and the others once the run has come further: otherwise the
        // launcher would wait longer each time.
        if done % 2 == 0 {
            std::thread::sleep(Duration::from_millis(random.below(2000)));
        } else {
            let commits = |running: &Running| running.printed().matches("committed ").count();
            let before = commits(&running);
            running.wait_until("a checkpoint", DEADLINE, |running| (commits(running) > before).then_some(()));
            std::thread::sleep(Duration::from_millis(random.below(1000)));
        }
        let (program, is_one) = *random.choose(&[("worker", true), ("worker", false), ("mpirun", true)]);
        let mut victims = running.wait_until("there is somebody to kill", DEADLINE, |running| {
            Some(running.processes(program)).filter(|found| !found.is_empty())
        });
        if is_one {
            victims = vec![*random.choose(&victims)];
        }
        victims.iter().for_each(|pid| send(*pid, Signal::SIGKILL));
        done += 1;
        println!("kill {done}: {} of {program}", victims.len());
    }
    // The run need not be as slow any more.
    running.wait_for(&format!("attempt {}: 2 ranks", kills + 1), DEADLINE);
    running.signal(Signal::SIGTERM);
    ended(running, ExitCode::Stopped, &["rank lost"]);
    run(by_launcher(2, &config), ExitCode::Done, &[]);
    let (expected, got) = (losses(&scratch.url("whole")), losses(&scratch.url("run")));
    assert!(expected.len() as u32 == steps && got == expected, "{got:?}, expected {expected:?}");
}
