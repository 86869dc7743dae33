//! `launcher status`.

use common::exit_code::ExitCode;

use super::run_folder;
use crate::cli::runs::StatusArgs;
use crate::error::LaunchError;
use crate::run_folder::status::{RunStatus, State};
use crate::view::figures::with_thousands;
use crate::view::terminal::{to_json, to_stdout};

/// Prints the state of a run.
pub fn run(args: &StatusArgs) -> Result<ExitCode, LaunchError> {
    let status = RunStatus::read(&run_folder::open(&args.run)?)?;
    if args.json {
        to_stdout(&to_json(&status));
    } else {
        lines(&status).iter().for_each(|line| to_stdout(line));
    }
    Ok(ExitCode::Done)
}

fn lines(status: &RunStatus) -> Vec<String> {
    let mut lines = vec![format!(
        "{}  {}",
        status.name.as_deref().unwrap_or(if status.attempts == 0 { "no run" } else { "a run that has not begun" }),
        status.url
    )];
    let mut say = |what: &str, text: String| lines.push(format!("  {what:<11} {text}"));
    say("state", state(status));
    if let Some(step) = &status.last_step {
        let of = status.max_steps.map(|max| format!(" of {}", with_thousands(max))).unwrap_or_default();
        let tokens_per_second = with_thousands(step.tokens_per_second as u64);
        let number = with_thousands(step.step);
        say("step", format!("{number}{of}, loss {:.4}, {tokens_per_second} tokens/s", step.loss));
    }
    if let Some(seconds) = status.seconds_left() {
        say("left", format!("{} at this pace", duration(seconds)));
    }
    if let Some(validation) = &status.validation {
        say(
            "validation",
            format!("loss {:.4} after step {}", validation.validation_loss, with_thousands(validation.step)),
        );
    }
    if let Some(checkpoint) = &status.checkpoint {
        say("checkpoint", checkpoint.name.clone());
    }
    if let (State::Running | State::Failed | State::Refused | State::Interrupted, Some(end)) =
        (status.state, &status.last_end)
    {
        say("last end", format!("attempt {}: {} (exit code {})", end.attempt, end.cause, end.code));
        end.message.lines().for_each(|line| say("", line.to_owned()));
    }
    lines
}

fn state(status: &RunStatus) -> String {
    let is_end_of_last = status.last_end.as_ref().is_some_and(|end| end.attempt == status.attempts);
    match (&status.holder, status.state) {
        (Some(holder), _) => {
            format!("attempt {} ({}), last sign of life {} s ago", holder.attempt, holder.claimant, holder.seen_s_ago)
        }
        (None, State::New) => "never started".into(),
        (None, State::Done) => "done".into(),
        (None, State::Stopped) => "stopped on request; the same `launcher train` goes on".into(),
        (None, State::Failed) => "failed; mend the cause, and the same `launcher train` goes on".into(),
        (None, State::Refused) => {
            "refused: its config, or how it was started, cannot work; mend that, and the same `launcher train` goes on".into()
        }
        (None, State::Interrupted) if is_end_of_last => {
            "interrupted: a stop was asked for, and it ended before a checkpoint was saved; the same `launcher train` goes on from the \
             one before".into()
        }
        (None, State::Running | State::Interrupted) => {
            "interrupted: nobody runs it, and no launcher saw its end; the same `launcher train` goes on".into()
        }
    }
}

/// Formats a duration as `3 d 4 h`, `4 h 5 min`, or `5 min`.
fn duration(seconds: f64) -> String {
    let minutes = (seconds / 60.0).ceil() as u64;
    match (minutes / 1440, minutes / 60 % 24, minutes % 60) {
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use common::config::StorageConfig;
    use common::storage::Folder;
    use proptest::prelude::*;

    use super::*;
    use crate::hostile::{changed, changes};
    use crate::run_folder::status::{AttemptEnd, Checkpoint};

    const ENDED: &[u8] = b"{\"kind\":\"attempt_ended\",\"attempt\":1,\"code\":3,\"cause\":\"c\",\"message\":\"m\"}\n";
    const CLAIM_AND_ALIVE: &[u8] = include_bytes!("../../../tests/fuzz/seeds/claim/claim-and-alive");

    /// Sound objects of a run that its status is read from.
    fn objects() -> [(&'static str, &'static [u8]); 5] {
        let mut claim_and_alive = CLAIM_AND_ALIVE.split(|byte| *byte == 0);
        let [claim, alive] = std::array::from_fn(|_| claim_and_alive.next().unwrap());
        [
            ("attempts/0001.json", claim),
            ("attempts/0001.alive", alive),
            ("config.toml", include_bytes!("../../../tests/fuzz/seeds/config/run.toml")),
            ("events/attempt-0001-launcher/part-000000.jsonl", ENDED),
            ("metrics/attempt-0001/part-000000.jsonl", include_bytes!("../../../tests/fuzz/seeds/metrics/part.jsonl")),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn whatever_a_run_folder_holds_its_status_is_shown_or_refused(which in 0..5_usize, changes in changes()) {
            let run = Folder::open("memory://hostile-status", &StorageConfig::default()).unwrap();
            for (number, (name, content)) in objects().into_iter().enumerate() {
                let content = if number == which { changed(content, &changes) } else { content.to_vec() };
                run.put(name, Bytes::from(content)).unwrap();
            }
            match RunStatus::read(&run) {
                Ok(status) => drop((lines(&status), to_json(&status))),
                Err(error) => prop_assert_eq!(error.exit_code(), ExitCode::Config),
            }
        }
    }

    #[test]
    fn a_failed_run_shows_how_far_it_came_and_why_it_ended() {
        let status = RunStatus {
            url: "s3://b/run".into(),
            name: Some("first".into()),
            state: State::Failed,
            attempts: 3,
            holder: None,
            max_steps: Some(20_000),
            last_step: None,
            validation: None,
            checkpoint: Some(Checkpoint { name: "step-00000100-a0003-1f".into(), step: 100 }),
            last_end: Some(AttemptEnd {
                attempt: 3,
                code: 3,
                cause: "rank 1 failed".into(),
                message: "shard x\nis cut".into(),
                stop_requested: false,
            }),
        };
        assert_eq!(
            lines(&status),
            [
                "first  s3://b/run",
                "  state       failed; mend the cause, and the same `launcher train` goes on",
                "  checkpoint  step-00000100-a0003-1f",
                "  last end    attempt 3: rank 1 failed (exit code 3)",
                "              shard x",
                "              is cut",
            ]
        );
    }

    #[test]
    fn durations_have_two_parts() {
        assert_eq!([59.0, 3700.0, 200_000.0].map(duration), ["1 min", "1 h 2 min", "2 d 7 h"]);
    }
}
