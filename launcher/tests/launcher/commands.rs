//! Tests of commands that only pass things on, and of what every command refuses.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use common::checkpoint_layout::{CheckpointName, Manifest, ObjectEntry};

use super::harness::{Rig, can_run};
use tests::base_config::BASE;

/// Runs `command`; returns exit code, standard output and standard error.
fn output(command: &mut Command) -> (Option<i32>, String, String) {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn sample_and_prepare_pass_arguments_and_exit_codes_on() {
    if !can_run(&["python3"]) {
        return;
    }
    let rig = Rig::new("[]", &[]);
    let sample = ["sample", "--config", "run.toml", "--set", "run.seed=2", "--prompt=-a b", "--tokens", "5"];
    let (code, stdout, _) = output(rig.launcher().args(sample).args(["--top-p", "0.9"]).env("FAKE_EXIT", "3"));
    assert_eq!(code, Some(3));
    assert_eq!(stdout, "[\"sample\", \"--from-launcher\", \"--prompt=-a b\", \"--tokens=5\", \"--top-p=0.9\"]\n");
    let sets = ["--set=prepare.inputs=[\"in\"]", "--set=prepare.output=\"out\"", "--set=launch.max_restarts=0"];
    let prepare = |more: &[&str]| {
        let mut launcher = rig.launcher();
        launcher.args(["prepare", "run.toml"]).args(sets).args(more);
        launcher
    };
    let (code, stdout, _) = output(&mut prepare(&["--json", "--threads-per-rank", "3"]));
    let got: Vec<String> = serde_json::from_str(&stdout).unwrap();
    let head = ["shards", "--config", "run.toml"];
    let tail = ["--set=launch.threads_per_rank=3", "--threads=3", "--progress-lines", "--json"];
    assert_eq!((code, got), (Some(0), [&head[..], &sets, &tail].concat().iter().map(ToString::to_string).collect()));
    for death in ["-9", "42"] {
        let (code, _, stderr) = output(prepare(&[]).env("FAKE_EXIT", death));
        assert_eq!(code, Some(4), "{death}");
        assert!(stderr.contains("rank lost") && stderr.contains("giving up after 0 restarts"), "{stderr}");
    }
    let (code, _, stderr) = output(&mut prepare(&["--set", "prepare.seeed=1"]));
    assert_eq!(code, Some(2), "{stderr}");
    // What would be run is printed, and is not.
    let (code, stdout, stderr) = output(prepare(&["--render", "--threads-per-rank", "3"]).env("FAKE_EXIT", "3"));
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains("/fake_worker.py shards --config run.toml "), "{stdout}");
    assert!(stdout.ends_with(" --threads=3 --progress-lines\n"), "{stdout}");
}

#[test]
fn detaching_without_a_cluster_is_refused_before_anything_else() {
    let rig = Rig::new("[]", &[]);
    fs::write(rig.run("").with_file_name("prepare.toml"), "[prepare]\ninputs = [\"in\"]\noutput = \"out\"\n").unwrap();
    for backend in ["local", "slurm"] {
        for words in [
            &["train", "run.toml"][..],
            &["render", "run.toml"],
            &["render", "prepare.toml"],
            &["prepare", "prepare.toml"],
            &["prepare", "prepare.toml", "--render"],
        ] {
            let mut launcher = rig.launcher();
            launcher.args(words).args(["--backend", backend, "--ranks", "2", "--detach"]);
            let (code, stdout, stderr) = output(&mut launcher);
            assert_eq!((code, &*stdout), (Some(2), ""), "{words:?}: {stderr}");
            assert!(stderr.contains("--detach needs --backend kubernetes"), "{words:?}: {stderr}");
        }
    }
}

#[test]
fn a_command_takes_a_config_or_the_folder_of_a_run_wherever_it_is_now() {
    if !can_run(&["python3"]) {
        return;
    }
    let rig = Rig::new(r#"[{"do": "finish"}]"#, &[]);
    let launcher = |arguments: &[&str]| output(rig.launcher().args(arguments));
    let refused = |arguments: &[&str], words: &str| {
        let (code, _, stderr) = launcher(arguments);
        assert!(code == Some(2) && stderr.contains(words), "{arguments:?}: {code:?} {stderr}");
    };
    let (code, _, stderr) = launcher(&["train", "run.toml"]);
    assert_eq!(code, Some(0), "{stderr}");
    // The fake does not write it.
    fs::write(rig.run("config.toml"), BASE).unwrap();
    fs::rename(rig.run(""), rig.run("").with_file_name("moved")).unwrap();
    let (code, _, stderr) = launcher(&["train", "moved"]);
    assert!(code == Some(0) && stderr.contains("attempt 2: 1 rank") && !rig.run("").exists(), "{stderr}");
    for arguments in [&["status", "moved"][..], &["status", "run.toml", "--set", "run.output=moved"]] {
        let (code, stdout, stderr) = launcher(arguments);
        assert!(code == Some(0) && stdout.contains("/moved\n"), "{stdout}{stderr}");
    }
    let (_, stdout, stderr) = launcher(&["check", "run.toml", "--output", "elsewhere"]);
    assert!(stdout.contains("run folder") && stdout.contains("/elsewhere"), "{stdout}{stderr}");
    refused(&["train", "moved", "--config", "run.toml"], "\"moved\" and --config run.toml are two different things");
    for command in ["train", "status", "metrics", "stop"] {
        refused(&[command, "nowhere"], "/nowhere; expected a run folder, which `launcher train` makes");
    }
    fs::create_dir(rig.run("").with_file_name("empty")).unwrap();
    refused(&["train", "empty"], "/empty has no config.toml");
    refused(&["prepare", "moved"], "\"moved\" is a run folder, which does not say how data is prepared");
    refused(&["train", "run.toml", "--set", "max_steps=2"], "write --set train.max_steps=2");
    refused(&["train", "moved", "--set", "train.max_steps=1.5"], "(given as --set train.max_steps=1.5)");
}

#[test]
fn metrics_of_no_run_and_of_damage_alone_are_refused() {
    let rig = Rig::new("[]", &[]);
    fs::create_dir_all(rig.run("")).unwrap();
    let metrics = |arguments: &[&str]| output(rig.launcher().arg("metrics").args(arguments));
    let (code, stdout, stderr) = metrics(&["run", "--json"]);
    assert_eq!((code, stdout.as_str()), (Some(3), ""));
    assert!(stderr.contains("no step is recorded in file:///"), "{stderr}");
    let folder = rig.run("metrics/attempt-0001");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("part-000000.jsonl"), "{\"step\": 1, \"lo").unwrap();
    let (code, stdout, stderr) = metrics(&["run.toml", "--csv"]);
    assert_eq!((code, stdout.as_str()), (Some(3), ""));
    assert!(stderr.contains("1 damaged line, the first: file:///") && stderr.contains(", line 1: "), "{stderr}");
    let step = include_str!("../../../tests/fuzz/seeds/metrics/part.jsonl").lines().next().unwrap();
    fs::write(folder.join("part-000001.jsonl"), step).unwrap();
    let (code, stdout, stderr) = metrics(&["run", "--every", "2"]);
    assert_eq!((code, stdout.lines().count()), (Some(0), 1), "{stdout}");
    assert!(stderr.ends_with("left out in all: 1 damaged line\n"), "{stderr}");
}

#[test]
fn train_prepares_first_what_is_not_there_or_says_who_can() {
    if !can_run(&["python3"]) {
        return;
    }
    let rig = Rig::new("[]", &[]);
    let absent = ["--set=data.train=[{ url = \"absent/train/\" }]", "--set=prepare.output=\"absent\""];
    let train = |more: &[&str]| {
        let mut launcher = rig.launcher();
        launcher.args(["train", "--config", "run.toml", "--set=prepare.inputs=[\"in\"]"]).args(absent).args(more);
        launcher
    };
    // The exit code of prepare is that of train, and nothing is claimed.
    let (code, stdout, stderr) = output(train(&["--ranks", "1"]).env("FAKE_EXIT", "3"));
    assert_eq!(code, Some(3), "{stderr}");
    assert!(stderr.contains("/absent/train is not there yet: it is prepared first"), "{stderr}");
    let got: Vec<String> = serde_json::from_str(&stdout).unwrap();
    assert_eq!(got[..3], ["shards", "--config", "run.toml"]);
    assert!(got.contains(&absent[1].to_owned()) && got.contains(&"--progress-lines".to_owned()), "{got:?}");
    for backend in ["slurm", "kubernetes"] {
        let (code, stdout, stderr) =
            output(&mut train(&["--backend", backend, "--ranks", "4", "--ranks-per-node", "2"]));
        assert_eq!((code, &*stdout), (Some(2), ""), "{stderr}");
        let command = format!(
            "`launcher prepare --config run.toml --set 'prepare.inputs=[\"in\"]' --set 'prepare.output=\"absent\"' \
             --set 'launch.backend=\"{backend}\"' --set launch.ranks=4 --set launch.ranks_per_node=2`"
        );
        assert!(stderr.contains("/absent/train is not prepared yet") && stderr.contains(&command), "{stderr}");
    }
    // A fault of the section is found before anything starts.
    let (code, _, stderr) = output(&mut train(&["--set=prepare.seeed=1"]));
    assert_eq!(code, Some(2));
    assert!(stderr.contains("prepare.seeed = 1: unknown key"), "{stderr}");
    // Other data than what is named is not prepared.
    let (code, stdout, stderr) = output(&mut train(&["--set=prepare.output=\"other\""]));
    assert_eq!((code, &*stdout), (Some(3), ""), "{stderr}");
    assert!(stderr.contains("absent/train: no index.json"), "{stderr}");
    assert!(!rig.run("attempts").exists());
}

#[test]
fn check_says_of_data_that_is_prepared_first_what_prepare_says() {
    if !can_run(&["python3"]) {
        return;
    }
    let rig = Rig::new("[]", &[]);
    let here = rig.run("").with_file_name("in");
    fs::create_dir(&here).unwrap();
    fs::write(here.join("picture.png"), [0x89, 0x50, 0]).unwrap();
    let sets = ["--set=data.train=absent/train", "--set=prepare.output=absent", "--set=prepare.inputs=in"];
    let check = |answer: &[(&str, &str)]| {
        let mut launcher = rig.launcher();
        output(launcher.args(["check", "run.toml", "--ranks", "1"]).args(sets).envs(answer.iter().copied()))
    };
    let answer = ("FAKE_STDOUT", r#"{ "inputs": { "objects": 2, "bytes": 3000 }, "is_done": false }"#);
    let (_, stdout, stderr) = check(&[answer]);
    let line = stdout.lines().find(|line| line.contains("training data")).unwrap_or_else(|| panic!("{stdout}{stderr}"));
    assert!(line.starts_with("ok ") && line.ends_with("prepares it first, from in (2 objects, 3,000 bytes)"), "{line}");
    let (code, stdout, stderr) =
        check(&[("FAKE_EXIT", "3"), ("FAKE_STDERR", "error: prepare.inputs names in, and there is nothing to read\n")]);
    assert_eq!(code, Some(3), "{stderr}");
    let line = stdout.lines().find(|line| line.contains("training data")).unwrap_or_else(|| panic!("{stdout}{stderr}"));
    let refusal = "cannot be prepared: prepare.inputs names in, and there is nothing to read";
    assert!(line.starts_with("failed ") && line.ends_with(refusal), "{line}");
}

#[test]
fn init_refuses_what_it_cannot_do_without_a_trace() {
    let rig = Rig::new("[]", &[]);
    let init = |arguments: &[&str]| output(rig.launcher().arg("init").args(arguments));
    let (code, _, stderr) = init(&["book.txt"]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("run.toml exists already") && stderr.contains("--force"), "{stderr}");
    let (code, _, stderr) = init(&["book.txt", "--output", "new.toml"]);
    assert_eq!(code, Some(3));
    assert!(stderr.contains("book.txt does not exist"), "{stderr}");
    let (code, _, stderr) = init(&[".", "--output", "new.toml"]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("would lie in ."), "{stderr}");
    assert!(!rig.has("new.toml"));
}

#[test]
fn render_prints_what_would_be_run_and_runs_nothing() {
    let rig = Rig::new("[]", &[]);
    let render = ["render", "--config", "run.toml", "--ranks", "1", "--threads-per-rank", "3"];
    let (code, stdout, stderr) = output(rig.launcher().args(render));
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.starts_with("OMP_NUM_THREADS=3 MKL_NUM_THREADS=3 OMPI_MCA_convoy_attempt="), "{stdout}");
    assert!(stdout.ends_with("/fake_worker.py train --from-launcher\n"), "{stdout}");
    assert!(!rig.run("attempts").exists());
}

#[test]
fn what_is_missing_is_usage_and_says_what_to_do() {
    let rig = Rig::new("[]", &[]);
    let train = ["train", "--config", "run.toml", "--ranks", "2"];
    let (code, _, stderr) = output(rig.launcher().args(train).env("CONVOY_WORKER", "nowhere"));
    assert_eq!(code, Some(2));
    assert!(stderr.contains("nowhere does not exist; build it with `make build`"), "{stderr}");
    let (code, _, stderr) = output(rig.launcher().args(train).env("PATH", "/nonexistent"));
    assert_eq!(code, Some(2));
    assert!(stderr.contains("install the Debian package openmpi-bin"), "{stderr}");
    let (code, _, stderr) = output(rig.launcher().args(train).args(["--set", "train.max_step=5"]));
    assert_eq!(code, Some(2));
    assert!(stderr.contains("did you mean max_steps?"), "{stderr}");
    assert_eq!(output(rig.launcher().arg("fly")).0, Some(2));
    assert!(!rig.run("").exists());
}

#[test]
fn checkpoints_are_listed_from_a_config_or_a_url() {
    let rig = Rig::new("[]", &[]);
    let name = "step-00000020-a0001-ab12";
    let folder = rig.run("checkpoints").join(name);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("model.safetensors"), "12345").unwrap();
    let list = ["checkpoints", "list"];

    let (code, stdout, stderr) = output(rig.launcher().args(list).args(["--config", "run.toml"]));
    assert_eq!((code, stdout.as_str()), (Some(0), ""));
    assert!(stderr.contains("no checkpoint is committed in file:///"), "{stderr}");

    let (code, stdout, _) = output(rig.launcher().args(list).args(["run", "--all", "--json"]));
    let found: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(code, Some(0));
    assert_eq!(
        (&found[0]["name"], &found[0]["state"], &found[0]["bytes"]),
        (&name.into(), &"uncommitted".into(), &5.into())
    );

    std::fs::write(folder.join("manifest.json"), "not JSON").unwrap();
    let (code, stdout, _) = output(rig.launcher().args(list).arg("run"));
    assert_eq!(code, Some(3));
    assert!(stdout.contains("not a manifest that can be trusted"), "{stdout}");
    assert!(stdout.contains("damaged: file:///"), "{stdout}");
    assert_eq!(output(rig.launcher().args(list)).0, Some(2));
}

/// Puts a checkpoint of `step` into `folder`, with an object.
fn put_checkpoint(folder: &Path, step: u64) {
    let name = CheckpointName { step, attempt: 1, id: "ab12".into() };
    let manifest = Manifest {
        version: 1,
        name: name.clone(),
        sequences_consumed: 8 * step,
        updates: step,
        grad_norms: Vec::new(),
        skipped_in_a_row: 0,
        changes: Vec::new(),
        world_size: 1,
        tokenizer_hash: String::new(),
        data_sequences: 100,
        data_order: 2,
        config: String::new(),
        objects: vec![ObjectEntry::describe("model.safetensors", b"12345")],
        tensors: vec![],
        optimizer: vec![],
    };
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("manifest.json"), manifest.to_json()).unwrap();
    fs::write(folder.join("model.safetensors"), "12345").unwrap();
}

#[test]
fn pruning_a_run_folder_with_planted_links_deletes_nothing_elsewhere() {
    let rig = Rig::new("[]", &[]);
    let (checkpoints, elsewhere) = (rig.run("checkpoints"), rig.run("").parent().unwrap().join("elsewhere"));
    let of_step = |step: u64| format!("step-{step:08}-a0001-ab12");
    fs::create_dir_all(elsewhere.join("precious")).unwrap();
    fs::write(elsewhere.join("precious/thesis"), "years of work").unwrap();
    put_checkpoint(&elsewhere.join("moved"), 10);
    (20..=40).step_by(10).for_each(|step| put_checkpoint(&checkpoints.join(of_step(step)), step));
    symlink(elsewhere.join("moved"), checkpoints.join(of_step(10))).unwrap();
    let planted = checkpoints.join(of_step(20));
    for (to, link) in
        [("precious", "folder"), ("precious/thesis", "object"), ("moved", "other"), ("nowhere", "dangling")]
    {
        symlink(elsewhere.join(to), planted.join(link)).unwrap();
    }
    symlink(&checkpoints, planted.join("circle")).unwrap();

    let prune = ["checkpoints", "prune", "run", "--keep-last", "2"];
    let (code, stdout, stderr) = output(rig.launcher().args(prune));
    assert_eq!(code, Some(0), "{stderr}");
    let said = stdout + &stderr;
    assert!([10, 20].iter().all(|step| said.contains(&format!("deleted {}", of_step(*step)))), "{said}");
    assert_eq!(fs::read(elsewhere.join("precious/thesis")).unwrap(), b"years of work");
    assert_eq!(fs::read_dir(elsewhere.join("moved")).unwrap().count(), 2, "it lost an object");
    let mut left: Vec<_> = fs::read_dir(&checkpoints).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, [of_step(30), of_step(40)].map(std::ffi::OsString::from));
}
