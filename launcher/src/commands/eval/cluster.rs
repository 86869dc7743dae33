//! An evaluation by ranks in a cluster: what the launcher beside them is given, and the places that pods have to reach.

use common::config::RunConfig;

use super::Options;
use crate::backend::kubernetes::work::Work;
use crate::cli::evaluation::EvalArgs;

/// File for all items in the launcher pod, whose disk goes with it. Its name has the ranks put the items into the store, from
/// where this command writes the file that was asked for.
const SAMPLES: &str = "/tmp/samples.jsonl";

/// Returns the work of the ranks of an evaluation with `config`, which has absolute URLs.
pub fn work(args: &EvalArgs, config: &RunConfig, options: Options) -> Work {
    let Options { words: mut arguments, mut places } = options;
    arguments.extend(args.samples.as_ref().map(|_| format!("--samples={SAMPLES}")));
    if args.render {
        // Where no launcher follows it, the one in the pod prints the table.
        arguments.extend(args.json.then(|| "--json".to_owned()));
        arguments.extend(args.markdown.then(|| "--markdown".to_owned()));
    }
    let tokenizer = Some(&config.data.tokenizer).filter(|tokenizer| tokenizer.as_str() != "gpt2");
    places.extend(tokenizer.map(|url| ("data.tokenizer", url.clone())));
    if args.checkpoint.is_none() && !args.is_overlap_only() {
        places.push(("run.output", config.run.output.clone()));
    }
    Work::Evaluation { config: config.clone(), arguments, places }
}

#[cfg(test)]
mod tests {
    use ::tests::base_config::base_config;
    use clap::Parser as _;
    use common::attempt::Claim;
    use common::exit_code::ExitCode;
    use common::worker_contract::StartLine;
    use serde_json::json;

    use super::super::{Shown, options};
    use super::*;
    use crate::backend::kubernetes::fake_cluster::Act;
    use crate::backend::kubernetes::manifests::{JOB_LABEL, RUN_LABEL};
    use crate::backend::kubernetes::work::run_label;
    use crate::cli::{Cli, Command};
    use crate::commands::fake_job::{FakeJob, name_of};

    const RUN: [&str; 6] = [
        "run.name=first",
        "run.output=s3://bucket/first",
        "data.train=[{ url = \"file:///on/this/machine\" }]",
        "launch.backend=kubernetes",
        "launch.ranks=2",
        "launch.max_restarts=1",
    ];

    fn args(more: &[&str]) -> EvalArgs {
        let words = [&["launcher", "eval", "run.toml"][..], more].concat();
        match Cli::try_parse_from(words).unwrap().command {
            Command::Eval(args) => args,
            other => panic!("{other:?}"),
        }
    }

    fn work_of(config: &RunConfig, more: &[&str]) -> Work {
        let args = args(more);
        work(&args, config, options(&args).unwrap())
    }

    fn fake_job(script: &[Act]) -> FakeJob<Shown> {
        let config = base_config(&RUN);
        let work = work_of(&config, &["--tasks", "ptb", "--data", "s3://bucket/data", "--samples", "items.jsonl"]);
        FakeJob::new(script, work, Some(StartLine::without_attempt(&config)), Shown::new())
    }

    #[test]
    fn an_evaluation_is_an_mpi_job_beside_that_of_its_run_and_is_heard_through_its_log() {
        let mut rig = fake_job(&[Act::Exit(0)]);
        rig.cluster.prints(&[
            r#"[1,0]<stdout>:convoy-progress {"phase":"scoring","before":1,"done":5,"total":10,"seconds":1.0}"#,
            "[1,1]<stderr>:2026-01-01T00:00:00Z  WARN slow",
            r#"[1,0]<stdout>:convoy-evaluated {"results":"x/results.json","samples":"x/items.jsonl"}"#,
        ]);
        assert_eq!(rig.follow(), ExitCode::Done);
        assert_eq!((rig.shown.evaluated.len(), rig.shown.view.done()), (1, 6));
        assert_eq!(rig.shown.evaluated[0].samples.as_deref(), Some("x/items.jsonl"));

        let applied = std::mem::take(&mut rig.cluster.state().applied);
        let kinds: Vec<_> = applied.iter().map(|object| object["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["MPIJob", "ConfigMap", "PodDisruptionBudget", "NetworkPolicy"]);
        assert!(applied.iter().all(|object| name_of(object) == name_of(&applied[0])), "{applied:?}");
        assert!(
            name_of(&applied[0]).starts_with("first-eval-") && name_of(&applied[0]).ends_with("-a0001"),
            "{applied:?}"
        );
        // Neither deletes what the other has left.
        assert_ne!(applied[0]["metadata"]["labels"][RUN_LABEL], run_label("s3://bucket/first"));
        let container = &applied[0]["spec"]["mpiReplicaSpecs"]["Launcher"]["template"]["spec"]["containers"][0];
        let expected = json!([
            "eval",
            "--backend",
            "mpirun",
            "--hostfile",
            "/etc/mpi/hostfile",
            "--config",
            "/etc/convoy/run.toml",
            "--data=s3://bucket/data",
            "--tasks=ptb",
            "--shots=0",
            "--on-long=truncate",
            "--save-every-s=10",
            "--samples=/tmp/samples.jsonl"
        ]);
        assert_eq!(container["args"], expected);
        assert_eq!(container["env"], json!([{ "name": "CONVOY_ATTEMPT", "value": "1" }]));
        assert_eq!(applied[2]["spec"]["selector"]["matchLabels"], json!({ JOB_LABEL: name_of(&applied[0]) }));
    }

    #[test]
    fn an_evaluation_whose_pod_is_evicted_goes_on_in_the_next_mpi_job() {
        let mut rig = fake_job(&[Act::Evict, Act::Exit(0)]);
        assert_eq!(rig.follow(), ExitCode::Done);
        assert_eq!(rig.attempts(), ["a0001", "a0002"]);
    }

    #[test]
    fn exit_codes_of_an_evaluation_mean_what_they_mean_anywhere() {
        for (script, code, attempts) in [
            (&[Act::Exit(3)][..], ExitCode::Data, 1),
            (&[Act::Exit(2)], ExitCode::Config, 1),
            (&[Act::NoImage], ExitCode::Config, 1),
            (&[Act::DeleteJob], ExitCode::Stopped, 1),
            (&[Act::Exit(4), Act::Exit(4)], ExitCode::Communication, 2),
        ] {
            let mut rig = fake_job(script);
            assert_eq!((rig.follow(), rig.jobs().len()), (code, attempts), "{script:?}");
        }
    }

    #[test]
    fn a_stopped_evaluation_deletes_its_mpi_job() {
        let mut rig = fake_job(&[Act::Train]);
        let code = rig.follow_and_stop();
        assert_eq!(code, ExitCode::Stopped);
        assert_eq!(rig.jobs().len(), 1);
    }

    #[test]
    fn an_api_server_that_stays_away_costs_attempts_of_an_evaluation() {
        let mut rig = fake_job(&[]);
        rig.cluster.state().failures_left = u32::MAX;
        assert_eq!(rig.follow(), ExitCode::Communication);
    }

    #[test]
    fn different_evaluations_of_a_run_have_different_names_and_one_has_the_same_name_again() {
        let config = base_config(&RUN);
        let name = |more: &[&str]| work_of(&config, more).name().unwrap();
        let one = name(&["--tasks", "ptb", "--data", "s3://bucket/data"]);
        // The form of the table is this command's own affair, and so is how many ranks there are.
        let again = ["--tasks", "ptb", "--data", "s3://bucket/data", "--json", "--ranks", "8"];
        assert_eq!(name(&again), one);
        assert_ne!(name(&["--tasks", "ptb", "--data", "s3://bucket/data", "--limit", "5"]), one);
        let long = format!("run.name={}", "a".repeat(40));
        let long = base_config(&[&RUN[1..], &[long.as_str()]].concat());
        let claim = |id: &str| Claim { number: 1, id: id.to_owned() };
        let attempt = |id| work_of(&long, &["--tasks", "ptb"]).name_of_attempt(&claim(id)).unwrap();
        let pod = attempt("0123456789abcdef") + "-worker-1234";
        assert!(pod.len() <= 63, "{pod}");
        // What another launcher has left is deleted, and not taken for this one's own.
        assert_ne!(attempt("0123456789abcdef"), attempt("3210456789abcdef"));
    }

    #[test]
    fn a_place_of_this_machine_is_refused_by_the_option_that_names_it() {
        let config = base_config(&RUN);
        let elsewhere =
            ["--checkpoint", "s3://bucket/first/checkpoints/x", "--tasks", "ptb", "--data", "s3://bucket/d"];
        let refused = |config: &RunConfig, more: &[&str]| {
            let checked = work_of(config, &[&elsewhere[..], more].concat()).check_places();
            checked.map_err(|error| error.to_string())
        };
        assert_eq!(refused(&config, &[]), Ok(()), "the run's data is not read");
        for (option, place) in
            [("--output", "scores"), ("--overlap", "web/*.jsonl"), ("--overlap", "file:///web"), ("--output", "/x")]
        {
            let told = refused(&config, &[option, place]).unwrap_err();
            assert!(told.starts_with(&format!("{option} = \"file:///")) && told.contains("s3://bucket/name"), "{told}");
        }
        for (task, data) in [("text=notes.txt", "s3://bucket/d"), ("ptb", "eval-data")] {
            let work = work_of(&config, &["--tasks", task, "--data", data]);
            let told = work.check_places().unwrap_err().to_string();
            assert!(told.starts_with(if task == "ptb" { "--data = " } else { "--tasks = " }), "{told}");
        }
        let at_home = base_config(&[&RUN[..], &["run.output=file:///runs/first"]].concat());
        assert_eq!(refused(&at_home, &[]), Ok(()), "the checkpoint is elsewhere");
        let told = work_of(&at_home, &["--tasks", "ptb"]).check_places().unwrap_err().to_string();
        assert!(told.starts_with("run.output = \"file:///runs/first\" is a place of this machine"), "{told}");
        let own = base_config(&[&RUN[..], &["data.tokenizer=file:///own"]].concat());
        assert!(refused(&own, &[]).unwrap_err().starts_with("data.tokenizer = "));
    }
}
