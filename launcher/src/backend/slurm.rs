//! Slurm: a batch job that runs the launcher, and inside it the allocation's nodes as the hosts of [`super::mpirun`].
//!
//! The job goes back to the queue when it loses a node, is preempted, or is about to run out of time; the same command then
//! resumes. The last of these is a stop with a checkpoint, of which Slurm warns before ([`WARNING_S`]) by a signal of its
//! own: with SIGTERM a person stops a job for good. A preempted job gets SIGTERM, too, and is distinguished by its state in
//! Slurm.

use std::io::Write;
use std::process::{Command, Stdio};

use common::config::LaunchConfig;
use common::config::hosts::Host;
use common::shell::quoted;

use super::error::BackendError;
use crate::error::LaunchError;

/// Seconds of warning that a job gets before its end, beyond what a stop may take.
const WARNING_S: u64 = 60;

/// Returns the nodes of the allocation that this process is in, each with room for the tasks that Slurm gave it; `None`
/// outside.
pub fn allocation(launch: &LaunchConfig) -> Result<Option<Vec<Host>>, LaunchError> {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let (Some(_), Some(nodes)) = (set("SLURM_JOB_ID"), set("SLURM_JOB_NODELIST")) else { return Ok(None) };
    let names = output("scontrol", &["show", "hostnames", &nodes], "")?;
    let tasks = set("SLURM_TASKS_PER_NODE").map(|text| tasks_per_node(&text)).unwrap_or_default();
    let given = (launch.ranks_per_node > 0).then_some(launch.ranks_per_node);
    let host = |(i, name): (usize, &str)| match Host::parse(name) {
        Ok(host) => Ok(Host { slots: given.or_else(|| tasks.get(i).copied()), ..host }),
        Err(fault) => Err(BackendError::NodeList { nodes: nodes.clone(), fault }.into()),
    };
    names.lines().enumerate().map(host).collect::<Result<_, _>>().map(Some)
}

/// Reads tasks per node in Slurm's form: `2(x3),1` is 2, 2, 2, 1.
fn tasks_per_node(text: &str) -> Vec<u32> {
    let part = |part: &str| {
        let (tasks, times) = part.split_once("(x").unwrap_or((part, "1)"));
        let (tasks, times) = (tasks.parse().ok()?, times.trim_end_matches(')').parse().ok()?);
        Some(vec![tasks; times])
    };
    text.split(',').filter_map(part).flatten().collect()
}

/// Returns the batch script that runs the launcher's `command` in an allocation for the ranks of `launch`.
pub fn script(launch: &LaunchConfig, name: &str, command: &[String]) -> Result<String, LaunchError> {
    if launch.ranks == 0 {
        return Err(BackendError::RanksUnsaid.into());
    }
    let mut options = vec![format!("--job-name={}", job_name(name)), format!("--ntasks={}", launch.ranks)];
    if launch.ranks_per_node > 0 {
        options.push(format!("--ntasks-per-node={}", launch.ranks_per_node));
    }
    if launch.threads_per_rank > 0 {
        options.push(format!("--cpus-per-task={}", launch.threads_per_rank));
    }
    options.extend(["--requeue", "--open-mode=append"].map(str::to_owned));
    options.push(format!("--signal=B:USR1@{}", launch.grace_s.saturating_add(WARNING_S)));
    options.extend(launch.slurm_arguments.iter().cloned());
    let options: String = options.iter().map(|option| format!("#SBATCH {option}\n")).collect();
    let command: Vec<String> = command.iter().map(|word| quoted(word)).collect();
    Ok(format!(
        r#"#!/bin/bash
{options}
# SIGUSR1 comes before the time runs out: the launcher saves and stops, and the job queues up again to go on. SIGTERM stops it for
# good, unless the nodes are taken for another job.
stop() {{ stopped=yes; if [ -n "$launcher" ]; then kill -TERM "$launcher"; fi; }}
trap 'again="out of time"; stop' USR1
trap 'if scontrol show job "$SLURM_JOB_ID" | grep -q " PreemptTime=[0-9]"; then again=preempted; fi; stop' TERM
launcher= stopped=
{} &
launcher=$!
# A signal may have come before the launcher had a number.
if [ -n "$stopped" ]; then kill -TERM $launcher; fi
wait $launcher; code=$?
while kill -0 $launcher 2>/dev/null; do wait $launcher; code=$?; done
if [ $code = 75 ] && [ -n "$again" ]; then
    echo "$again: job $SLURM_JOB_ID is put back into the queue, to go on from there"
    exec scontrol requeue "$SLURM_JOB_ID"
fi
if [ $code = 75 ]; then echo "stopped on request: job $SLURM_JOB_ID ends, and the same command submits another that goes on"; fi
exit $code
"#,
        command.join(" ")
    ))
}

/// Returns `name` as a job's name, with `-` for characters that are not safe in a line of options.
fn job_name(name: &str) -> String {
    let kept = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    format!("convoy-{}", name.chars().map(kept).collect::<String>())
}

/// Submits `script`, and returns the job's number.
pub fn submit(script: &str) -> Result<String, LaunchError> {
    output("sbatch", &["--parsable"], script).map(|printed| printed.trim().to_owned())
}

/// Runs `program` and returns what it prints. What it says when it fails becomes the error.
fn output(program: &str, arguments: &[&str], input: &str) -> Result<String, LaunchError> {
    let start = |source| BackendError::NoSlurm { program: program.to_owned(), source };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(start)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that does not read its input says why.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(start)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(BackendError::Slurm { program: program.to_owned(), said }.into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::config::RawConfig;
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;
    use std::io::{BufRead, BufReader};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn tasks_are_counted_node_by_node() {
        assert_eq!(tasks_per_node("2(x3),1"), [2, 2, 2, 1]);
        assert_eq!(tasks_per_node("8"), [8]);
        assert_eq!(tasks_per_node("x"), [0_u32; 0]);
    }

    #[test]
    fn what_slurm_cannot_do_here_says_where_to_run_it() {
        let error = output("sbatch-of-no-cluster", &[], "").unwrap_err().to_string();
        assert!(error.contains("cannot start sbatch-of-no-cluster") && error.contains("a login node"), "{error}");
        let error = output("sh", &["-c", "echo no such partition >&2; exit 1"], "").unwrap_err().to_string();
        for words in ["sh failed: no such partition; ", "launch.slurm_arguments", "where sh works"] {
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn a_script_has_the_allocation_and_words_that_no_shell_splits() {
        let text = "[prepare]\ninputs = [\"a\"]\noutput = \"b\"\n[launch]\nbackend = \"slurm\"\nranks = 16\nranks_per_node = 8\n\
                    threads_per_rank = 4\ngrace_s = 100\nslurm_arguments = [\"--partition=gpu\", \"--time=8:00:00\"]\n";
        let launch = RawConfig::parse("of the test", text, &[]).unwrap().prepare().unwrap().launch;
        let command = ["/opt/launcher", "train", "--set", "run.name=it's $HOME"].map(str::to_owned);
        let script = script(&launch, "a b", &command).unwrap();
        let head = "#!/bin/bash\n#SBATCH --job-name=convoy-a-b\n#SBATCH --ntasks=16\n#SBATCH --ntasks-per-node=8\n\
                    #SBATCH --cpus-per-task=4\n#SBATCH --requeue\n#SBATCH --open-mode=append\n#SBATCH --signal=B:USR1@160\n\
                    #SBATCH --partition=gpu\n#SBATCH --time=8:00:00\n\n";
        assert!(script.starts_with(head), "{script}");
        assert!(script.contains(r"/opt/launcher train --set 'run.name=it'\''s $HOME' &"), "{script}");
    }

    #[test]
    fn a_job_that_is_stopped_on_request_is_not_queued_again_and_one_that_is_out_of_time_is() {
        let folder = tempfile::tempdir().unwrap();
        // `scontrol` shows the job as the file `job` describes it, and notes requeued jobs in another file.
        let scontrol = "#!/bin/sh\ncase $1 in show) cat job;; requeue) echo $2 > queued;; esac\n";
        let path = folder.path().join("scontrol");
        std::fs::write(&path, scontrol).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let text = "[prepare]\ninputs = [\"a\"]\noutput = \"b\"\n[launch]\nbackend = \"slurm\"\nranks = 1\n";
        let launch = RawConfig::parse("of the test", text, &[]).unwrap().prepare().unwrap().launch;
        let launcher = "trap 'exit 75' TERM; echo begun; while :; do sleep 0.05; done";
        let script = script(&launch, "run", &["sh", "-c", launcher].map(str::to_owned)).unwrap();
        let end = |preempted: &str, signal: Signal| {
            std::fs::write(folder.path().join("job"), format!("   A=1 PreemptTime={preempted}\n")).unwrap();
            let _ = std::fs::remove_file(folder.path().join("queued"));
            let mut command = Command::new("bash");
            let programs = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
            command.args(["-c", &script]).current_dir(folder.path()).env("PATH", programs).env("SLURM_JOB_ID", "12");
            let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
            let mut printed = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
            assert_eq!(printed.next().unwrap(), "begun");
            kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
            let last = printed.last().unwrap();
            let is_queued = folder.path().join("queued").exists();
            (child.wait().unwrap().code(), is_queued, last.split(':').next().unwrap().to_owned())
        };
        let queued = |why: &str| (Some(0), true, why.to_owned());
        assert_eq!(end("None", Signal::SIGUSR1), queued("out of time"));
        assert_eq!(end("2030-01-01T00:00:00", Signal::SIGTERM), queued("preempted"));
        assert_eq!(end("None", Signal::SIGTERM), (Some(75), false, "stopped on request".to_owned()));
    }
}
