//! `prepare --config FILE`: arguments to job to exit code.

use std::io::Write;
use std::panic;
use std::path::PathBuf;

use clap::Parser;
use common::config::RawConfig;
use common::telemetry;
use common::worker_contract::ExitCode;
use prepare::PrepareError;
use prepare::record::Summary;

/// Turns documents into token shards for training and validation.
///
/// Reads the [prepare] and [storage] sections of a TOML file. The same command again does nothing once the data is
/// there. Exit codes: 0 done, 2 usage or config, 3 data missing, corrupt or denied, 6 storage unreachable, 70 a bug.
#[derive(Parser)]
#[command(name = "prepare", version)]
struct Arguments {
    /// The config file.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Replaces a value of the config; may be given several times.
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
    /// Prints the summary as JSON.
    #[arg(long)]
    json: bool,
}

fn main() -> std::process::ExitCode {
    exit_on_panic();
    let arguments = Arguments::parse();
    telemetry::init();
    let code = match job(&arguments) {
        Ok(summary) => {
            let text = if arguments.json { to_json(&summary) } else { summary.to_string() };
            // A reader that went away has seen enough; the data is there all the same.
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::Done
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error}");
            error.exit_code()
        }
    };
    code.into()
}

fn job(arguments: &Arguments) -> Result<Summary, PrepareError> {
    let (config, storage) = RawConfig::load(&arguments.config, &arguments.set)?.prepare()?;
    prepare::run(&config, &storage)
}

fn to_json(summary: &Summary) -> String {
    serde_json::to_string_pretty(summary).unwrap_or_else(|e| unreachable!("a summary is JSON: {e}")) + "\n"
}

/// Makes every panic, on whichever thread, end the process as a bug.
fn exit_on_panic() {
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        report(info);
        std::process::exit(i32::from(ExitCode::Bug.number()));
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The test runs itself again in a process of its own, which panics on another thread.
    #[test]
    fn a_panic_on_any_thread_exits_70() {
        const CHILD: &str = "PREPARE_TEST_PANICS";
        if std::env::var_os(CHILD).is_some() {
            exit_on_panic();
            let _ = std::thread::spawn(|| panic!("on purpose")).join();
            return;
        }
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "tests::a_panic_on_any_thread_exits_70"])
            .env(CHILD, "1")
            .output()
            .unwrap()
            .status;
        assert_eq!(status.code(), Some(70));
    }
}
