//! Tests of looking at a run and stopping it from elsewhere, through its folder alone.

use std::path::Path;
use std::process::Command;

use common::exit_code::ExitCode;
use tests::process::{Running, launcher};
use tests::scratch::{Scratch, losses};
use tests::training::{DEADLINE, by_launcher, by_mpirun, ended, run, turn, very_slowly};

/// Settings with which a holder listens six times before its claim would expire.
const SETTINGS: [&str; 4] =
    ["train.max_steps=30", "evaluation.every_steps=0", "checkpoint.every_steps=0", "launch.claim_expiry_s=3"];

fn command(name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(launcher());
    command.arg(name).args(arguments);
    command
}

#[test]
fn a_run_is_stopped_from_elsewhere_and_goes_on_as_if_it_never_was() {
    let _turn = turn();
    let scratch = Scratch::new();
    run(by_mpirun(2, &scratch.config("whole", &SETTINGS)), ExitCode::Done, &[]);
    for (name, first, moment) in
        [("launched", by_launcher as fn(u32, &Path) -> Command, "step      3/30"), ("by-hand", by_mpirun, "step 3/30")]
    {
        let (config, url) = (scratch.config(name, &SETTINGS), scratch.url(name));
        for command_name in ["stop", "status", "metrics"] {
            run(
                command(command_name, &[&url]),
                ExitCode::Config,
                &["there is no folder ", "which `launcher train` makes"],
            );
        }
        let of_config = [config.to_str().unwrap()];
        run(command("stop", &of_config), ExitCode::Config, &["nothing trains in ", "`launcher train` starts it"]);
        run(command("status", &of_config), ExitCode::Done, &["never started"]);
        let mut running = Running::start(very_slowly(first(2, &config)));
        running.wait_for(moment, DEADLINE);
        run(command("status", &[&url]), ExitCode::Done, &["attempt 1 (process ", "2 ranks), last sign of life "]);
        run(command("stop", &[&url]), ExitCode::Done, &["asked attempt 1 (process ", "/checkpoints/step-"]);
        let text = ended(running, ExitCode::Stopped, &[]);
        assert!(!text.contains("step-00000030"), "it was not stopped: {text}");
        let state = if name == "launched" { "stopped on request" } else { "nobody runs it" };
        run(command("status", &[&url]), ExitCode::Done, &[state, "checkpoint  step-"]);
        // Requests to the attempt before do not concern this one.
        run(first(2, &config), ExitCode::Done, &["resumed from step-"]);
        run(command("status", &[&url, "--json"]), ExitCode::Done, &["\"state\": \"done\"", "\"max_steps\": 30"]);
        assert_eq!(losses(&url), losses(&scratch.url("whole")));
    }
}

#[test]
fn a_stop_that_nobody_heard_is_not_asked_of_the_next_attempt() {
    let _turn = turn();
    let scratch = Scratch::new();
    let config = scratch.config("run", &SETTINGS);
    common::attempt::ask(&scratch.folder("run"), common::attempt::Request::Stop).unwrap();
    run(by_launcher(2, &config), ExitCode::Done, &["step-00000030"]);
}
