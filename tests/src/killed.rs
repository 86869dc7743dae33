//! A prepare job that is killed again and again, until a run of it ends by itself.
//!
//! Moments are chosen by what the job has written, not by the clock: on a slow machine they are as good.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::Signal;

use crate::documents::files;
use crate::process::{Running, both, send};
use crate::random::Random;
use crate::training::DEADLINE;

/// Number of kills after which a job is left alone.
const KILLS_MAX: u32 = 12;
/// A kill comes after 1, 2, 4, ... or 32 changes in the output: in the middle of the first writes, or deep in the work.
const DOUBLINGS: u64 = 6;
const LOOK_INTERVAL: Duration = Duration::from_millis(1);
/// What makes the output a data set. It is written last, before the work folder is removed.
const INDEX: &str = "train/index.json";
const WORK_FOLDER: &str = "prepare-work/";

/// Parts of a job's work that are finished, each with the time at which it was.
pub type Parts = BTreeMap<String, SystemTime>;

/// Runs a prepare job, whose ranks mpirun starts, again and again, and kills them all in the middle, until a run ends by itself.
/// `command` starts the job, and `output` is its folder.
///
/// # Panics
/// Panics unless a kill hits the job before its end, and the last run is successful. Panics if a part that was finished before a
/// kill is made again.
pub fn killed_until_done(command: impl Fn() -> Command, output: &Path) {
    let (mut random, mut kept, mut hits) = (Random::fresh(), Parts::new(), 0);
    for kill in 0..=KILLS_MAX {
        let mut running = Running::start(command());
        if works_until_a_moment(&mut running, output, kill, &mut random) {
            running.signal(Signal::SIGKILL);
            running.processes("prepare").into_iter().for_each(|pid| send(pid, Signal::SIGKILL));
        }
        let ended = running.finish_alone(DEADLINE);
        kept = still_there(&kept, output);
        if ended.status.success() {
            assert!(both(&ended).contains("tokens in "), "{}", both(&ended));
            assert!(hits > 0, "no kill hit the job before its end");
            return;
        }
        assert_eq!(ended.status.signal(), Some(Signal::SIGKILL as i32), "{}", both(&ended));
        hits += u32::from(!output.join(INDEX).exists());
        println!("kill {}: {} parts are finished", kill + 1, kept.len());
    }
    unreachable!("nobody kills the last run");
}

/// Waits for the moment of kill number `kill`. Returns false if `running` ends before it.
fn works_until_a_moment(running: &mut Running, output: &Path, kill: u32, random: &mut Random) -> bool {
    match kill {
        // The first kill is certainly before the end, and there is something to keep.
        0 => runs_until(running, || !finished(output).is_empty()),
        KILLS_MAX => runs_until(running, || false),
        _ => {
            let (mut seen, mut left) = (files(output), 1_u32 << random.below(DOUBLINGS));
            runs_until(running, || {
                let now = files(output);
                left -= u32::from(now != seen);
                seen = now;
                left == 0
            })
        }
    }
}

/// Waits until `is_reached` says so. Returns false if `running` ends before that.
fn runs_until(running: &mut Running, mut is_reached: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + DEADLINE;
    while !is_reached() {
        if running.status().is_some() {
            return false;
        }
        assert!(Instant::now() < end, "{DEADLINE:?} passed:\n{}", running.printed());
        std::thread::sleep(LOOK_INTERVAL);
    }
    true
}

/// Returns what is finished of the work of a prepare job with the folder `output`: units of stages, and runs of encoded
/// documents.
///
/// # Panics
/// Panics if a file vanishes meanwhile.
pub fn finished(output: &Path) -> Parts {
    let is_part = |name: &str| name.ends_with(".run.json") || (name.contains("/unit-") && name.ends_with(".json"));
    let time = |path: &Path| std::fs::metadata(path).and_then(|metadata| metadata.modified());
    let parts = files(output).into_iter().filter(|(name, _)| is_part(name));
    parts.map(|(name, path)| (name, time(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())))).collect()
}

/// Returns what is finished of a job with the folder `output`.
///
/// # Panics
/// Panics if one of the parts in `kept` has been made again, or is gone before the job has ended.
pub fn still_there(kept: &Parts, output: &Path) -> Parts {
    let now = finished(output);
    let is_removed = |name: &str| name.starts_with(WORK_FOLDER) && output.join(INDEX).exists();
    for (name, time) in kept {
        match now.get(name) {
            Some(now) => assert_eq!(now, time, "{name} was made again"),
            None => assert!(is_removed(name), "{name} is gone"),
        }
    }
    now
}
