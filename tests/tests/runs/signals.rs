//! Tests of ends from outside: stops that reach every process at once, a launcher that is killed, and surroundings in which
//! launchers are started: a scheduler's allocation, `nohup`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use common::exit_code::ExitCode;
use nix::sys::signal::Signal;
use tests::process::{Running, launcher, send, worker};
use tests::scratch::Scratch;
use tests::training::{DEADLINE, by_launcher, ended, run, turn, very_slowly};

const SETTINGS: [&str; 3] = ["train.max_steps=30", "evaluation.every_steps=0", "checkpoint.every_steps=0"];
/// Far less than the time a rank gives a lost launcher, `launch.stall_timeout_s`.
const SOON: Duration = Duration::from_secs(60);

#[test]
fn a_stop_that_reaches_launcher_mpirun_and_ranks_at_once_is_saved_as_any_other() {
    let _turn = turn();
    let scratch = Scratch::new();
    for ranks in [1, 2] {
        let name = format!("of-{ranks}");
        let mut running = Running::start(very_slowly(by_launcher(ranks, &scratch.config(&name, &SETTINGS))));
        running.wait_for("step      3/30", DEADLINE);
        for signal in [Signal::SIGTERM, Signal::SIGHUP] {
            // The launcher comes last: by then mpirun would have begun to kill its ranks.
            for program in ["mpirun", "worker", "launcher"] {
                running.processes(program).into_iter().for_each(|pid| send(pid, signal));
            }
        }
        let text = ended(running, ExitCode::Stopped, &["committed ", "run the same command to go on"]);
        assert!(!text.contains("rank lost"), "{text}");
    }
}

#[test]
fn the_ranks_of_a_launcher_that_was_killed_end_with_it() {
    let _turn = turn();
    let scratch = Scratch::new();
    // The launcher's child is the shell: no signal reaches the rank, which notices that nobody listens to it any more.
    let wrapped = scratch.path().join("wrapped-worker");
    fs::write(&wrapped, format!("#!/bin/sh\n{} \"$@\"\nexit $?\n", worker().display())).unwrap();
    fs::set_permissions(&wrapped, fs::Permissions::from_mode(0o755)).unwrap();
    for (name, ranks, program) in [("alone", 1, worker()), ("wrapped", 1, wrapped), ("both", 2, worker())] {
        let mut command = very_slowly(by_launcher(ranks, &scratch.config(name, &SETTINGS)));
        command.env("CONVOY_WORKER", program);
        let mut running = Running::start(command);
        running.wait_for("step      3/30", DEADLINE);
        running.signal(Signal::SIGKILL);
        running.finish_alone(SOON);
    }
}

#[test]
fn in_a_schedulers_allocation_the_local_backend_uses_this_machine() {
    let _turn = turn();
    let scratch = Scratch::new();
    let node = scratch.path().join("nodes");
    fs::write(&node, "node-b slots=2\n").unwrap();
    let node = node.to_str().unwrap();
    let slurm = [
        ("SLURM_JOBID", "7"),
        ("SLURM_JOB_ID", "7"),
        ("SLURM_NODELIST", "node-b"),
        ("SLURM_JOB_NODELIST", "node-b"),
        ("SLURM_NNODES", "1"),
        ("SLURM_TASKS_PER_NODE", "1"),
    ];
    // These are the variables that srun gives its tasks, and an operator the pods of an MPIJob.
    let task = [("PMI_RANK", "3"), ("PMI_SIZE", "8"), ("PMIX_RANK", "3")];
    let others = [
        ("PBS_JOBID", "7"),
        ("PBS_ENVIRONMENT", "PBS_BATCH"),
        ("PBS_NODEFILE", node),
        ("LSB_JOBID", "7"),
        ("LSB_DJOB_HOSTFILE", node),
        ("PE_HOSTFILE", node),
        ("JOB_ID", "7"),
        ("SGE_ROOT", "/nowhere"),
        ("ARC", "here"),
        ("OMPI_MCA_orte_default_hostfile", node),
    ];
    for (name, ranks, variables) in
        [("slurm", 2, slurm.to_vec()), ("others", 2, others.to_vec()), ("task", 1, [&slurm[..], &task].concat())]
    {
        let mut command: Command =
            by_launcher(ranks, &scratch.config(name, &["train.max_steps=6", "evaluation.every_steps=0"]));
        command.envs(variables);
        run(command, ExitCode::Done, &["done: 6 steps"]);
    }
}

/// Returns `command` with another `/dev/shm`, of `size` bytes, or read-only where that is `None`. Returns `None` where that
/// is not permitted.
fn with_shared_memory(command: &Command, size: Option<&str>) -> Option<Command> {
    let mut namespaced = Command::new("unshare");
    let options = if nix::unistd::geteuid().is_root() { vec!["--mount"] } else { vec!["--map-root-user", "--mount"] };
    let option = size.map_or("ro".to_owned(), |size| format!("size={size}"));
    let script = format!("mount -t tmpfs -o {option} tmpfs /dev/shm && exec \"$0\" \"$@\"");
    let is_permitted = Command::new("unshare").args(&options).args(["sh", "-c", &script, "true"]).output();
    if !is_permitted.is_ok_and(|output| output.status.success()) {
        println!("skipped: namespaces are not permitted");
        return None;
    }
    namespaced.args(&options).args(["sh", "-c", &script]).arg(command.get_program()).args(command.get_args());
    Some(namespaced)
}

#[test]
fn shared_memory_that_is_too_small_or_not_writable_is_named_by_check_and_before_a_run_begins() {
    let _turn = turn();
    let scratch = Scratch::new();
    let config = scratch.config("run", &SETTINGS);
    let mut check = Command::new(launcher());
    check.args(["check", "--ranks", "2", "--config"]).arg(&config);
    // With the first size, Open MPI fills the folder before any rank is there, and then hangs.
    let troubles = [(Some("64k"), "for 2 ranks in /dev/shm"), (Some("1m"), "--shm-size"), (None, "cannot be written")];
    for (size, words) in troubles {
        for (command, code) in [(&by_launcher(2, &config), ExitCode::Config), (&check, ExitCode::Data)] {
            let Some(command) = with_shared_memory(command, size) else { return };
            run(command, code, &[words]);
        }
    }
    assert!(!scratch.path().join("run/attempts").exists(), "a refused start uses no attempt up");
}
