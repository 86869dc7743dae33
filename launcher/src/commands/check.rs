//! `launcher check`: checks everything that a run needs, before it is paid for.

use common::config::{Backend, RunConfig};
use common::exit_code::ExitCode;
use common::preflight::{Finding, Verdict};

use super::{launching, overrides, prepare_first, target, train};
use crate::backend::{RankProgram, slurm};
use crate::cli::jobs::CheckArgs;
use crate::error::LaunchError;
use crate::interrupts::Interrupts;
use crate::preflight::{data, ranks, storage, tasks};
use crate::programs;
use crate::view::figures::counted;
use crate::view::terminal::{to_json, to_stderr, to_stdout};

/// Runs the checks, and prints each finding as soon as it is known.
pub fn run(mut args: CheckArgs) -> Result<ExitCode, LaunchError> {
    args.config.overrides.extend(overrides::of_launch(&args.launch));
    args.config.overrides.extend(args.output.iter().map(|url| overrides::set("run.output", url)));
    let raw = target::config(&args.config)?;
    let mut config = raw.clone().run()?;
    common::storage::make_urls_absolute(&mut config)?;
    let mut interrupts = Interrupts::install().map_err(LaunchError::system("handle signals"))?;
    let mut findings = Vec::new();
    let mut show = |found: Vec<Finding>| {
        if !args.json {
            found.iter().for_each(|finding| to_stdout(&line(finding)));
        }
        findings.extend(found);
    };
    show(vec![Finding::ok("config", format!("{}, {}", config.run.name, counted(config.train.max_steps, "step")))]);
    let leaving = interrupts.leave_meanwhile("the stores of the run folder and the data");
    show(vec![storage::check(&config.run.output, &config.storage)]);
    show(match prepare_first::findings(&raw, &config, &args.config)? {
        Some(findings) => findings,
        None => data::check(&config),
    });
    show(tasks::check(&config).into_iter().collect());
    drop(leaving);
    match look_at_hosts(&config, &mut interrupts)? {
        Some(found) => show(found),
        None => return Ok(ExitCode::Stopped),
    }
    if args.json {
        to_stdout(&to_json(&findings));
    }
    let count = |verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
    let (failed, warnings) = (count(Verdict::Failed), count(Verdict::Warning));
    to_stderr(&summary(failed, warnings));
    Ok(if failed > 0 { ExitCode::Data } else { ExitCode::Done })
}

/// Returns the last line: whether the run is ready to start.
fn summary(failed: usize, warnings: usize) -> String {
    let warnings = match warnings {
        0 => "no warnings".to_owned(),
        n => counted(n as u64, "warning"),
    };
    match failed {
        0 => format!("ready: {warnings}"),
        _ => format!("not ready: {failed} failed, {warnings}"),
    }
}

fn look_at_hosts(config: &RunConfig, interrupts: &mut Interrupts) -> Result<Option<Vec<Finding>>, LaunchError> {
    if let Some(finding) = unseen_hosts(config) {
        return Ok(Some(vec![finding]));
    }
    let executable = match programs::worker() {
        Ok(worker) => worker,
        Err(error) => return Ok(Some(vec![Finding::failed("worker", error.to_string())])),
    };
    let arguments = Box::new(|_| vec!["check".into(), "--from-launcher".into()]);
    // The run may be in progress: none of its processes are killed.
    match launching::backend(&config.launch, RankProgram { executable, arguments }, None) {
        Ok(backend) => ranks::check(config, backend.as_ref(), interrupts),
        Err(error) => Ok(Some(vec![Finding::failed("hosts", error.to_string())])),
    }
}

/// Returns a finding in place of the hosts' own where this launcher does not see them: whether `launcher train` would hand the
/// run over, and where the hosts can be looked at.
fn unseen_hosts(config: &RunConfig) -> Option<Finding> {
    let text = match config.launch.backend {
        Backend::Local | Backend::Mpirun => return None,
        Backend::Kubernetes => train::backend(config, &[]).map(|_| {
            "not looked at: the pods see them; run `launcher check --backend mpirun` in the launcher's".to_owned()
        }),
        Backend::Slurm => match slurm::allocation(&config.launch) {
            Ok(Some(_)) => return None,
            Ok(None) => slurm::script(&config.launch, &config.run.name, &[]).map(|_| {
                let advice = "not looked at: they are those of the job that `launcher train` submits; `launcher check` looks at them \
                              in an allocation (salloc, srun)";
                let here = if programs::is_on_path("sbatch") { "" } else { "; there is no sbatch here: submit on a login node" };
                format!("{advice}{here}")
            }),
            Err(error) => Err(error),
        },
    };
    Some(match text {
        Ok(text) => Finding::warning("hosts", text),
        Err(error) => Finding::failed("hosts", error.to_string()),
    })
}

/// Formats a finding as `ok       run folder        s3://...`; further lines of its text are indented below it.
fn line(finding: &Finding) -> String {
    let verdict = match finding.verdict {
        Verdict::Ok => "ok",
        Verdict::Warning => "warning",
        Verdict::Failed => "failed",
    };
    let text = finding.text.replace('\n', &format!("\n{:28}", ""));
    format!("{verdict:<8} {:<18} {text}", finding.subject)
}

#[cfg(test)]
mod tests {
    use ::tests::base_config::base_config;

    use super::*;

    #[test]
    fn a_place_of_this_machine_is_refused_for_a_cluster_as_train_refuses_it() {
        let of = |output: &str, data: &str| {
            let data = format!("data.train=[{{ url = {data:?} }}]");
            base_config(&[
                "run.name=first",
                "launch.backend=kubernetes",
                "launch.ranks=2",
                &format!("run.output={output}"),
                &data,
            ])
        };
        for config in [of("s3://b/run", "file:///data"), of("file:///run", "s3://b/data")] {
            let found = unseen_hosts(&config).unwrap();
            let refused = train::backend(&config, &[]).err().unwrap().to_string();
            assert_eq!((found.verdict, &found.text), (Verdict::Failed, &refused));
            assert!(refused.contains("is a place of this machine"), "{refused}");
        }
        let found = unseen_hosts(&of("s3://b/run", "s3://b/data")).unwrap();
        assert!(found.verdict == Verdict::Warning && found.text.contains("the pods see them"), "{found:?}");
    }

    #[test]
    fn hosts_of_slurm_are_looked_at_in_an_allocation() {
        let found = unseen_hosts(&base_config(&["launch.backend=slurm", "launch.ranks=4"])).unwrap();
        assert!(
            found.verdict == Verdict::Warning && found.text.contains("in an allocation (salloc, srun)"),
            "{found:?}"
        );
    }

    #[test]
    fn the_last_line_counts_what_is_wrong() {
        assert_eq!([0, 1, 2].map(|n| summary(0, n)), ["ready: no warnings", "ready: 1 warning", "ready: 2 warnings"]);
        assert_eq!(summary(1, 0), "not ready: 1 failed, no warnings");
    }

    #[test]
    fn lines_line_up() {
        assert_eq!(line(&Finding::ok("clocks", "within 0.01 s")), "ok       clocks             within 0.01 s");
        let failed = Finding::failed("ranks", "lost\nmpirun said so");
        assert_eq!(line(&failed), "failed   ranks              lost\n                            mpirun said so");
    }
}
