//! `launcher prepare` in a Kubernetes cluster: what its pods get, and what the launcher beside the ranks is given.

use common::config::{Backend as BackendKind, PrepareJobConfig};
use common::exit_code::ExitCode;

use crate::backend::kubernetes::work::Work;
use crate::backend::kubernetes::{Kubernetes, manifests};
use crate::cli::jobs::PrepareArgs;
use crate::error::LaunchError;
use crate::view::terminal::to_stderr;

/// Takes the GPUs out of the pods of `config`, which is also that of a run: they are for training, and ranks that prepare use
/// none. Each pod has as many ranks as it has when it trains.
pub fn leave_gpus_to_the_run(config: &mut PrepareJobConfig) {
    let PrepareJobConfig { launch, kubernetes, .. } = config;
    if launch.backend != BackendKind::Kubernetes {
        return;
    }
    if launch.ranks_per_node == 0 {
        launch.ranks_per_node = kubernetes.gpus.max(1);
    }
    kubernetes.gpus = 0;
}

/// Creates the backend that has pods do what `config` says.
pub fn backend(config: &PrepareJobConfig, args: &PrepareArgs) -> Result<Kubernetes, LaunchError> {
    Kubernetes::new(work(config, args))
}

/// Starts a supervisor in the cluster that does what this command would do here.
pub fn detach(config: &PrepareJobConfig, args: &PrepareArgs) -> Result<ExitCode, LaunchError> {
    to_stderr(&backend(config, args)?.detach()?);
    Ok(ExitCode::Done)
}

/// Returns the objects that [`detach`] applies.
pub fn rendered_supervisor(config: &PrepareJobConfig, args: &PrepareArgs) -> Result<String, LaunchError> {
    Ok(manifests::to_yaml(&manifests::supervisor(&work(config, args))?))
}

fn work(config: &PrepareJobConfig, args: &PrepareArgs) -> Work {
    let json = args.json.then(|| "--json".to_owned());
    Work::Preparing { config: config.clone(), arguments: json.into_iter().collect() }
}

#[cfg(test)]
mod tests {
    use common::attempt::Claim;
    use common::config::RawConfig;
    use serde_json::json;

    use super::super::fake_job::{FakeJob, name_of};
    use super::super::following::Listener as _;
    use super::super::prepare::Shown;
    use super::*;
    use crate::backend::Backend as _;
    use crate::backend::kubernetes::fake_cluster::{Act, FakeCluster};
    use crate::backend::kubernetes::manifests::{JOB_LABEL, RUN_LABEL};

    const CONFIG: &str = r#"
        [prepare]
        inputs = ["s3://bucket/web/*.jsonl"]
        output = "s3://bucket/data"

        [launch]
        backend = "kubernetes"
        ranks = 4
        ranks_per_node = 2
        max_restarts = 1

        [kubernetes]
        name = "web"
        namespace = "team"
        image = "registry.example/convoy:1"
        storage_secret = "keys"
    "#;

    fn config(overrides: &[&str]) -> PrepareJobConfig {
        let overrides: Vec<String> = overrides.iter().map(|given| (*given).to_owned()).collect();
        RawConfig::parse("of the test", CONFIG, &overrides).and_then(RawConfig::prepare).unwrap()
    }

    fn work_of(overrides: &[&str]) -> Work {
        work(&config(overrides), &PrepareArgs::default())
    }

    fn fake_job(script: &[Act]) -> FakeJob<Shown> {
        let args = PrepareArgs { json: true, ..PrepareArgs::default() };
        FakeJob::new(script, work(&config(&[]), &args), None, Shown::new())
    }

    #[test]
    fn a_prepare_job_is_an_mpi_job_of_pods_without_gpus_and_is_heard_through_its_log() {
        let mut rig = fake_job(&[Act::Exit(0)]);
        rig.cluster.prints(&[
            r#"[1,0]<stdout>:convoy-progress {"phase":"tokenizing","done":7,"total":10,"text_bytes":6,"seconds":1.0}"#,
            "[1,1]<stderr>:2026-01-01T00:00:00Z  WARN slow",
            r#"[1,0]<stdout>:{ "documents": 5 }"#,
        ]);
        assert_eq!(rig.follow(), ExitCode::Done);
        assert_eq!((rig.shown.done(), rig.shown.pulse()), (7, 1));

        let applied = std::mem::take(&mut rig.cluster.state().applied);
        let kinds: Vec<_> = applied.iter().map(|object| object["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["MPIJob", "ConfigMap", "PodDisruptionBudget", "NetworkPolicy"]);
        assert!(applied.iter().all(|object| name_of(object) == name_of(&applied[0])), "{applied:?}");
        assert!(
            name_of(&applied[0]).starts_with("web-prepare-") && name_of(&applied[0]).ends_with("-a0001"),
            "{applied:?}"
        );
        let replicas = &applied[0]["spec"]["mpiReplicaSpecs"];
        assert_eq!((&replicas["Worker"]["replicas"], &applied[0]["spec"]["slotsPerWorker"]), (&json!(2), &json!(2)));
        let container = |role: &str| replicas[role]["template"]["spec"]["containers"][0].clone();
        let (launcher, worker) = (container("Launcher"), container("Worker"));
        let place = ["prepare", "--backend", "mpirun", "--hostfile", "/etc/mpi/hostfile"];
        let expected = [&place[..], &["--config", "/etc/convoy/prepare.toml", "--json"]].concat();
        assert_eq!(launcher["args"], json!(expected));
        // Nobody claims a prepare job.
        assert_eq!(launcher["env"], json!([{ "name": "CONVOY_ATTEMPT", "value": "1" }]));
        assert_eq!(worker["image"], "registry.example/convoy:1");
        assert_eq!(worker["envFrom"], json!([{ "secretRef": { "name": "keys" } }]));
        let limits: Vec<_> = worker["resources"]["limits"].as_object().unwrap().keys().collect();
        assert_eq!(limits, ["cpu", "ephemeral-storage", "memory"]);
        assert_eq!(applied[2]["spec"]["selector"]["matchLabels"], json!({ JOB_LABEL: name_of(&applied[0]) }));
        let toml = applied[1]["data"]["prepare.toml"].as_str().unwrap();
        let inner = RawConfig::parse("of the ConfigMap", toml, &[]).unwrap().prepare().unwrap();
        assert_eq!((inner.launch.threads_per_rank, inner.prepare), (4, config(&[]).prepare));
    }

    #[test]
    fn a_prepare_job_whose_pod_is_evicted_goes_on_in_the_next_mpi_job() {
        for loss in [Act::Evict, Act::DeleteWorker, Act::OutOfMemory] {
            let mut rig = fake_job(&[loss, Act::Exit(0)]);
            assert_eq!(rig.follow(), ExitCode::Done, "{loss:?}");
            assert_eq!(rig.attempts(), ["a0001", "a0002"], "{loss:?}");
        }
    }

    #[test]
    fn exit_codes_of_a_prepare_job_mean_what_they_mean_anywhere() {
        for (script, code, attempts) in [
            (&[Act::Exit(3)][..], ExitCode::Data, 1),
            (&[Act::Exit(2)], ExitCode::Config, 1),
            (&[Act::NoImage], ExitCode::Config, 1),
            (&[Act::DeleteJob], ExitCode::Stopped, 1),
            (&[Act::Exit(4), Act::Exit(4)], ExitCode::Communication, 2),
            (&[Act::Exit(6), Act::Exit(0)], ExitCode::Done, 2),
        ] {
            let mut rig = fake_job(script);
            assert_eq!((rig.follow(), rig.jobs().len()), (code, attempts), "{script:?}");
        }
    }

    #[test]
    fn a_stopped_prepare_job_deletes_its_mpi_job_and_exits_75() {
        let mut rig = fake_job(&[Act::Train]);
        let code = rig.follow_and_stop();
        assert_eq!((code, code.number()), (ExitCode::Stopped, 75));
        assert_eq!(rig.jobs().len(), 1);
    }

    #[test]
    fn what_a_killed_launcher_left_of_a_prepare_job_is_deleted_and_another_output_is_left_alone() {
        let mut rig = fake_job(&[Act::Exit(0)]);
        for (job, output) in [("web-prepare-old1-a0003", "s3://bucket/data/"), ("other", "s3://bucket/more")] {
            let label = work_of(&[&format!("prepare.output={output}")]).label();
            rig.cluster.put("MPIJob", job, json!({ "metadata": { "labels": { RUN_LABEL: label } } }));
        }
        let code = rig.follow_among_others();
        assert_eq!((code, rig.cluster.names("MPIJob")), (ExitCode::Done, vec!["other".to_owned()]));
    }

    #[test]
    fn a_detached_prepare_job_is_a_supervisor_that_makes_mpi_jobs() {
        let rig = fake_job(&[]);
        let told = rig.backend.detach().unwrap();
        let name = work_of(&[]).name().unwrap();
        let said =
            format!("the prepare job goes on in the cluster, supervised by Job {name}-supervisor in namespace team");
        assert!(told.starts_with(&said), "{told}");
        let applied = std::mem::take(&mut rig.cluster.state().applied);
        let pod = &applied[0]["spec"]["template"]["spec"];
        let words = ["prepare", "--backend", "kubernetes", "--config", "/etc/convoy/prepare.toml", "--json"];
        assert_eq!(pod["containers"][0]["args"], json!(words));
        assert_eq!(pod["serviceAccountName"], "convoy-supervisor");
    }

    #[test]
    fn prepare_jobs_without_a_name_are_detached_beside_each_other_and_one_output_has_one_supervisor() {
        let cluster = FakeCluster::new(&[]);
        let detach = |output: &str| {
            let work = work_of(&["kubernetes.name=", &format!("prepare.output={output}")]);
            cluster.backend(work).detach().map_err(|error| error.to_string())
        };
        assert!(detach("s3://bucket/data").is_ok() && detach("s3://bucket/more").is_ok());
        let names = cluster.names("Job");
        assert!(names.len() == 2 && names.iter().all(|name| name.starts_with("convoy-prepare-")), "{names:?}");
        let error = detach("s3://bucket/data/").unwrap_err();
        assert!(error.contains("it is at work already"), "{error}");
    }

    #[test]
    fn a_name_fits_the_label_of_a_pod_and_differs_between_launchers() {
        let long = work_of(&[&format!("kubernetes.name={}", "a".repeat(40))]);
        let claim = |id: &str| Claim { number: 1, id: id.to_owned() };
        let attempt = |id| long.name_of_attempt(&claim(id)).unwrap();
        let pod = attempt("0123456789abcdef") + "-worker-1234";
        assert!(pod.len() <= 63, "{pod}");
        assert_ne!(attempt("0123456789abcdef"), attempt("3210456789abcdef"));
        let error = work_of(&[&format!("kubernetes.name={}", "a".repeat(41))]).name().unwrap_err().to_string();
        assert!(error.starts_with("kubernetes.name = \"aaaa"), "{error}");
    }

    #[test]
    fn gpus_of_a_run_are_left_to_it_and_those_of_a_prepare_job_are_asked_for() {
        let own = config(&["kubernetes.gpus=8", "launch.ranks=16", "launch.ranks_per_node=0"]);
        let yaml = backend(&own, &PrepareArgs::default()).unwrap().render().unwrap();
        assert!(yaml.contains("nvidia.com/gpu: \"8\"") && yaml.contains("slotsPerWorker: 8"), "{yaml}");
        let mut of_run = own;
        leave_gpus_to_the_run(&mut of_run);
        let yaml = backend(&of_run, &PrepareArgs::default()).unwrap().render().unwrap();
        assert!(!yaml.contains("nvidia.com/gpu: ") && yaml.contains("slotsPerWorker: 8"), "{yaml}");
        let mut elsewhere = config(&["launch.backend=slurm", "kubernetes.gpus=8", "launch.ranks_per_node=0"]);
        leave_gpus_to_the_run(&mut elsewhere);
        assert_eq!((elsewhere.launch.ranks_per_node, elsewhere.kubernetes.gpus), (0, 8));
    }
}
