//! Runs on a fake cluster under the ordinary supervision: what is applied, how the fate of pods is judged, and what is left.

use std::time::Duration;

use ::tests::base_config::base_config;
use common::config::{RawConfig, StorageConfig};
use common::exit_code::ExitCode;
use common::storage::Folder;
use serde_json::{Value, json};

use super::fake_cluster::{Act, FakeCluster};
use super::*;
use crate::interrupts::Interrupts;
use crate::supervise;
use crate::supervise::job::{Job, Seen};
use crate::view::train::View;

/// Settings by which a run differs from the base config of tests.
const SETTINGS: [&str; 7] = [
    "run.name=first",
    "run.output=s3://bucket/first",
    "data.train=[{ url = \"s3://bucket/data\" }]",
    "launch.backend=kubernetes",
    "launch.ranks=2",
    "launch.max_restarts=2",
    "kubernetes.namespace=team",
];

/// A run on a fake cluster.
struct Rig {
    cluster: FakeCluster,
    job: Job,
}

/// How a run ended.
struct Ended {
    code: ExitCode,
    seen: Seen,
}

impl Rig {
    fn new(name: &str, script: &[Act]) -> Self {
        let (config, cluster) = (base_config(&SETTINGS), FakeCluster::new(script));
        let work = Work::Training { config: config.clone(), accepted_changes: vec!["optimizer.beta1".into()] };
        let mut backend = cluster.backend(work);
        let run = Folder::open(&format!("memory://kubernetes-{name}"), &StorageConfig::default()).unwrap();
        backend.run = Some(run.clone());
        let job = Job { config, accepted_changes: Vec::new(), backend: Box::new(backend), run, handed: None };
        Rig { cluster, job }
    }

    fn run(&self) -> Ended {
        self.run_beside(|_| {})
    }

    /// Runs while `aside` does something else; `aside` receives the flag that stops the run.
    fn run_beside(&self, aside: impl FnOnce(&std::sync::atomic::AtomicBool) + Send) -> Ended {
        let mut interrupts = Interrupts::install().unwrap();
        let stop = interrupts.asked_to_stop();
        std::thread::scope(|scope| {
            scope.spawn(move || aside(&stop));
            let (code, seen) = supervise::run(&self.job, &mut interrupts, &mut View::new(6)).unwrap();
            assert_eq!(self.cluster.names("MPIJob"), [""; 0], "an MPIJob is left");
            Ended { code, seen }
        })
    }

    /// Returns the launcher's events of an attempt.
    fn events(&self, attempt: u32) -> Vec<Value> {
        let folder = self.job.run.folder(&format!("events/attempt-{attempt:04}-launcher"));
        let parts = folder.list().unwrap();
        let text: String =
            parts.iter().map(|part| String::from_utf8(folder.get(&part.name).unwrap().to_vec()).unwrap()).collect();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn end(&self, attempt: u32) -> Value {
        let mut ends = self.events(attempt).into_iter().filter(|event| event["kind"] == "attempt_ended");
        ends.next_back().unwrap_or_else(|| panic!("attempt {attempt} has no end"))
    }

    fn notices(&self, attempt: u32) -> String {
        let texts = self.events(attempt).into_iter().filter(|event| event["kind"] == "notice");
        texts.map(|event| format!("{}\n", event["text"].as_str().unwrap())).collect()
    }

    fn requests(&self, beginning: &str) -> Vec<String> {
        let state = self.cluster.state();
        state.requests.iter().filter(|request| request.starts_with(beginning)).cloned().collect()
    }

    /// Waits until `holds` is true of the cluster.
    fn wait_until(cluster: &FakeCluster, what: &str, holds: impl Fn(&FakeCluster) -> bool) {
        for _ in 0..1000 {
            if holds(cluster) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("in vain: {what}");
    }
}

#[test]
fn an_attempt_is_an_mpi_job_with_what_belongs_to_it_and_ranks_are_heard_through_its_log() {
    let rig = Rig::new("done", &[Act::Exit(0)]);
    rig.cluster.prints(&[
        "gpt2: 6 steps",
        r#"convoy-relay {"kind":"message","rank":0,"message":{"type":"heartbeat","step":4,"phase":"training"}}"#,
        "[1,1]<stderr>:2026-01-01T00:00:00Z  WARN slow",
        r#"convoy-relay {"kind":"message","rank":0,"message":{"type":"validation","step":6,"validation_loss":5.5,"validation_sequences":8}}"#,
        r#"convoy-relay {"kind":"ended","code":"done","rank":null,"headline":"done","message":""}"#,
    ]);
    let ended = rig.run();
    assert_eq!(ended.code, ExitCode::Done);
    assert_eq!((ended.seen.step_max, ended.seen.validation.unwrap().validation_loss), (4, 5.5));
    assert_eq!(rig.job.run.get("logs/attempt-0001/rank-1.log").unwrap(), "2026-01-01T00:00:00Z  WARN slow\n");
    assert_eq!(rig.notices(1), "MPIJob first-a0001 applied in namespace team\n");

    let applied = std::mem::take(&mut rig.cluster.state().applied);
    let [job, config_map, budget, policy] = applied.as_slice() else { panic!("{applied:?}") };
    let launcher = &job["spec"]["mpiReplicaSpecs"]["Launcher"]["template"]["spec"]["containers"][0];
    let claim = common::attempt::claim_of(&rig.job.run, 1).unwrap();
    let told = [("CONVOY_ATTEMPT", "1"), ("CONVOY_CLAIM", claim.id.as_str())];
    assert_eq!(launcher["env"], json!(told.map(|(name, value)| json!({ "name": name, "value": value }))));
    let arguments = json!([
        "train",
        "--backend",
        "mpirun",
        "--hostfile",
        "/etc/mpi/hostfile",
        "--config",
        "/etc/convoy/run.toml",
        "--accept-change",
        "optimizer.beta1"
    ]);
    assert_eq!(launcher["args"], arguments);
    assert_eq!(job["spec"]["runPolicy"]["backoffLimit"], 0);
    let owner = json!([{ "apiVersion": "kubeflow.org/v2beta1", "kind": "MPIJob", "name": "first-a0001",
                         "uid": "uid-of-first-a0001" }]);
    // Two workers and the pod that starts the ranks: a drain may take none of them.
    assert_eq!(budget["spec"]["minAvailable"], 3);
    assert_eq!(budget["spec"]["selector"], json!({ "matchLabels": { manifests::JOB_LABEL: "first-a0001" } }));
    // The run's own pods reach each other, and nobody else reaches them.
    let pods = json!({ "matchLabels": { manifests::JOB_LABEL: "first-a0001" } });
    let only_its_own =
        json!({ "podSelector": pods, "policyTypes": ["Ingress"], "ingress": [{ "from": [{ "podSelector": pods }] }] });
    assert_eq!((&policy["kind"], &policy["spec"]), (&json!("NetworkPolicy"), &only_its_own));
    for owned in [config_map, budget, policy] {
        assert_eq!(owned["metadata"]["name"], "first-a0001");
        assert_eq!(owned["metadata"]["ownerReferences"], owner);
    }
    let toml = config_map["data"]["run.toml"].as_str().unwrap();
    let config = RawConfig::parse("of the ConfigMap", toml, &[]).unwrap().run().unwrap();
    assert_eq!((config.launch.threads_per_rank, config.run), (8, rig.job.config.run.clone()));
    let patches = rig.requests("PATCH");
    assert!(patches.iter().all(|request| request.contains("fieldManager=convoy-launcher")), "{patches:?}");
}

#[test]
fn an_evicted_worker_costs_an_attempt_and_the_next_mpi_job_goes_on() {
    let rig = Rig::new("evicted", &[Act::Evict, Act::Exit(0)]);
    assert_eq!(rig.run().code, ExitCode::Done);
    let end = rig.end(1);
    assert_eq!((&end["code"], &end["cause"]), (&json!(4), &json!("pod first-a0001-worker-1 was evicted")));
    assert_eq!(end["message"], "The node was low on resource: memory.");
    assert!(rig.notices(1).contains("pod first-a0001-worker-1 was evicted: The node was low"), "{}", rig.notices(1));
    assert_eq!(rig.end(2)["code"], 0);
    assert!(rig.notices(2).contains("MPIJob first-a0002 applied"));
}

#[test]
fn a_worker_that_somebody_deleted_costs_an_attempt_too() {
    let rig = Rig::new("deleted", &[Act::DeleteWorker, Act::Exit(0)]);
    assert_eq!(rig.run().code, ExitCode::Done);
    let end = rig.end(1);
    assert_eq!((&end["code"], &end["cause"]), (&json!(4), &json!("pod first-a0001-worker-1 was deleted")));
    assert!(end["message"].as_str().unwrap().contains("`launcher stop`"), "{end}");
}

#[test]
fn who_deletes_the_mpi_job_stops_the_run() {
    let rig = Rig::new("withdrawn", &[Act::DeleteJob]);
    assert_eq!(rig.run().code, ExitCode::Stopped);
    assert_eq!(rig.end(1)["code"], 75);
}

#[test]
fn a_worker_that_ran_out_of_memory_is_named() {
    let rig = Rig::new("memory", &[Act::OutOfMemory, Act::Exit(0)]);
    rig.cluster.prints(&[
        r#"convoy-relay {"kind":"ended","code":"communication","rank":1,"headline":"rank lost: rank 1","message":"killed"}"#,
    ]);
    assert_eq!(rig.run().code, ExitCode::Done);
    let end = rig.end(1);
    assert_eq!(end["cause"], "pod first-a0001-worker-1 ran out of memory (OOMKilled)");
    assert!(end["message"].as_str().unwrap().contains("rank lost: rank 1"), "{end}");
}

#[test]
fn exit_codes_mean_what_they_mean_anywhere() {
    for (n, (script, code, attempts)) in [
        (&[Act::Exit(5)][..], ExitCode::Numeric, 1),
        (&[Act::Exit(3)], ExitCode::Data, 1),
        (&[Act::Exit(75)], ExitCode::Stopped, 1),
        (&[Act::Exit(6), Act::Exit(4), Act::Exit(4)], ExitCode::Communication, 3),
        (&[Act::Exit(70), Act::Exit(70)], ExitCode::Bug, 2),
        (&[Act::Exit(137), Act::Exit(0)], ExitCode::Done, 2),
    ]
    .into_iter()
    .enumerate()
    {
        let rig = Rig::new(&format!("codes-{n}"), script);
        assert_eq!(rig.run().code, code, "{script:?}");
        assert_eq!(rig.requests("PATCH /apis/kubeflow.org").len(), attempts, "{script:?}");
    }
}

#[test]
fn what_the_launcher_beside_the_ranks_says_is_the_cause() {
    let rig = Rig::new("relayed", &[Act::Exit(3)]);
    rig.cluster.prints(&[
        r#"convoy-relay {"kind":"message","rank":1,"message":{"type":"exit","code":"data","message":"shard x is short"}}"#,
        r#"convoy-relay {"kind":"ended","code":"data","rank":1,"headline":"rank 1 failed","message":"shard x is short"}"#,
    ]);
    assert_eq!(rig.run().code, ExitCode::Data);
    let end = rig.end(1);
    assert_eq!((&end["cause"], &end["rank"]), (&json!("rank 1 failed"), &json!(1)));
}

#[test]
fn an_image_that_cannot_be_pulled_ends_the_run_and_says_so() {
    let rig = Rig::new("image", &[Act::NoImage]);
    assert_eq!(rig.run().code, ExitCode::Config);
    let end = rig.end(1);
    assert_eq!(end["cause"], "pod first-a0001-worker-0 cannot have its image");
    assert!(end["message"].as_str().unwrap().contains("Back-off pulling image"), "{end}");
}

#[test]
fn pods_without_a_node_are_told_of_and_waited_for_so_long() {
    let rig = Rig::new("node", &[Act::NoNode, Act::Nothing, Act::GiveUp]);
    assert_eq!(rig.run().code, ExitCode::Communication);
    assert!(rig.notices(1).contains("first-a0001-worker-0 waits for a node: 0/3 nodes"), "{}", rig.notices(1));
    assert_eq!(rig.end(1)["cause"], "the pods did not start in time");
    assert!(rig.end(1)["message"].as_str().unwrap().contains("3 Insufficient cpu"), "{}", rig.end(1));
    assert!(rig.end(2)["message"].as_str().unwrap().contains("does the MPI operator run"), "{}", rig.end(2));
    assert_eq!(rig.end(3)["message"], "MPIJobFailed: a quota is used up");
}

#[test]
fn a_stop_deletes_the_mpi_job_and_waits_for_the_checkpoint() {
    let rig = Rig::new("stop", &[Act::Train]);
    let cluster = rig.cluster.clone();
    let ended = rig.run_beside(|stop| {
        Rig::wait_until(&cluster, "it trains", |cluster| cluster.names("Pod").len() == 3);
        stop.store(true, std::sync::atomic::Ordering::SeqCst);
    });
    assert_eq!(ended.code, ExitCode::Stopped);
    assert_eq!(rig.end(1)["code"], 75);
    // One deletion for the stop, and one more to be sure.
    let deletions = rig.requests("DELETE");
    assert!(deletions.iter().all(|request| request.contains("/mpijobs/first-a0001")), "{deletions:?}");
}

#[test]
fn a_stop_before_any_pod_has_started_loses_nothing() {
    let rig = Rig::new("early-stop", &[Act::NoNode]);
    let cluster = rig.cluster.clone();
    let ended = rig.run_beside(|stop| {
        Rig::wait_until(&cluster, "it is applied", |cluster| !cluster.names("Pod").is_empty());
        stop.store(true, std::sync::atomic::Ordering::SeqCst);
    });
    assert_eq!(ended.code, ExitCode::Stopped);
    assert_eq!(rig.end(1)["cause"], "stopped before a rank had started");
}

#[test]
fn a_checkpoint_that_is_asked_for_is_passed_on_to_the_launcher_beside_the_ranks() {
    let rig = Rig::new("save", &[Act::Train]);
    let (cluster, run) = (rig.cluster.clone(), rig.job.run.clone());
    let ended = rig.run_beside(|stop| {
        Rig::wait_until(&cluster, "it trains", |cluster| cluster.names("Pod").len() == 3);
        common::attempt::ask(&run, common::attempt::Request::Save).unwrap();
        let (speaker, news) = std::sync::mpsc::channel();
        let claim = common::attempt::claim_of(&run, 1).unwrap();
        let _listener = handed::Listener::start(&run, &claim, move |heard| drop(speaker.send(heard))).unwrap();
        let heard = news.recv_timeout(Duration::from_secs(60)).unwrap();
        assert!(matches!(heard, common::attempt::News::Asked(common::attempt::Request::Save)));
        stop.store(true, std::sync::atomic::Ordering::SeqCst);
    });
    assert_eq!(ended.code, ExitCode::Stopped);
}

#[test]
fn watches_that_end_or_are_too_old_and_logs_that_break_off_lose_and_repeat_nothing() {
    let rig = Rig::new("gone", &[Act::Exit(0)]);
    rig.cluster.state().gone_left = 3;
    rig.cluster.state().breaks_logs = true;
    let lines: Vec<String> = (0..25).map(|n| format!("[1,0]<stdout>:line {n}")).collect();
    rig.cluster.prints(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(rig.run().code, ExitCode::Done);
    let log = rig.job.run.get("logs/attempt-0001/rank-0.log").unwrap();
    let expected: String = (0..25).map(|n| format!("line {n}\n")).collect();
    assert_eq!(String::from_utf8(log.to_vec()).unwrap(), expected);
    assert!(rig.requests("GET").iter().filter(|request| request.contains("sinceTime")).count() >= 1);
    // Each watch that was too old is followed by a new list.
    let lists = rig.requests("GET").into_iter().filter(|r| !r.contains("watch") && r.contains("/pods?")).count();
    assert!(lists >= 2, "{lists}");
    assert!(!rig.notices(1).contains("does not answer"), "{}", rig.notices(1));
}

#[test]
fn an_api_server_that_is_away_for_a_while_costs_nothing() {
    let rig = Rig::new("away", &[Act::Exit(0)]);
    rig.cluster.state().failures_left = 2;
    assert_eq!(rig.run().code, ExitCode::Done);
    assert_eq!(rig.end(1)["code"], 0);

    let rig = Rig::new("away-later", &[Act::Train]);
    let cluster = rig.cluster.clone();
    let ended = rig.run_beside(|stop| {
        Rig::wait_until(&cluster, "it trains", |cluster| cluster.names("Pod").len() == 3);
        cluster.state().failures_left = 4;
        // Open watches end, after which everything is refused.
        cluster.put("Pod", "another", json!({ "metadata": { "labels": { manifests::JOB_LABEL: "first-a0001" } } }));
        Rig::wait_until(&cluster, "it is asked again", |cluster| cluster.state().failures_left == 0);
        stop.store(true, std::sync::atomic::Ordering::SeqCst);
    });
    assert_eq!(ended.code, ExitCode::Stopped);
    assert!(rig.notices(1).contains("the API server does not answer; the run goes on"), "{}", rig.notices(1));
}

#[test]
fn what_the_api_server_refuses_is_told_and_not_tried_again() {
    for (refusal, expected) in [
        ((403, "mpijobs is forbidden"), "k8s/base/rbac.yaml has the rights"),
        ((404, "the server could not find the requested resource"), "is the MPI operator installed"),
        ((409, "Apply failed with 1 conflict: conflict with \"kubectl\""), "somebody else has changed the object"),
    ] {
        let rig = Rig::new(&format!("refused-{}", refusal.0), &[]);
        rig.cluster.state().refusal = Some(refusal);
        let error = supervise::run(&rig.job, &mut Interrupts::install().unwrap(), &mut View::new(6)).unwrap_err();
        assert_eq!(error.exit_code(), ExitCode::Config);
        let told = error.to_string();
        assert!(
            told.contains("apply MPIJob first-a0001") && told.contains(refusal.1) && told.contains(expected),
            "{told}"
        );
        assert_eq!(rig.requests("PATCH").len(), 1);
    }
}

#[test]
fn an_api_server_that_stays_away_costs_attempts() {
    let rig = Rig::new("stays-away", &[]);
    rig.cluster.state().failures_left = u32::MAX;
    let (code, _) = supervise::run(&rig.job, &mut Interrupts::install().unwrap(), &mut View::new(6)).unwrap();
    assert_eq!(code, ExitCode::Communication);
}

#[test]
fn what_an_earlier_launcher_left_is_deleted_and_what_is_anothers_is_left_alone() {
    let rig = Rig::new("left", &[Act::Exit(0)]);
    let ours = json!({ manifests::RUN_LABEL: work::run_label("s3://bucket/first") });
    rig.cluster.put("MPIJob", "first-a0000", json!({ "metadata": { "labels": ours } }));
    assert_eq!(rig.run().code, ExitCode::Done);
    assert!(rig.notices(1).starts_with("MPIJob first-a0000 of an earlier attempt is deleted\n"), "{}", rig.notices(1));

    let rig = Rig::new("anothers", &[]);
    rig.cluster.put("MPIJob", "first-a0001", json!({ "metadata": { "labels": { "app": "other" } } }));
    let error = supervise::run(&rig.job, &mut Interrupts::install().unwrap(), &mut View::new(6)).unwrap_err();
    assert!(error.to_string().contains("belongs to another run"), "{error}");
    assert_eq!(rig.cluster.names("MPIJob"), ["first-a0001"]);
}

#[test]
fn a_detached_run_is_a_job_and_one_that_works_is_not_disturbed() {
    let rig = Rig::new("detached", &[]);
    let work = Work::Training { config: rig.job.config.clone(), accepted_changes: Vec::new() };
    let backend = rig.cluster.backend(work);
    let told = backend.detach().unwrap();
    assert!(told.contains("Job first-supervisor in namespace team"), "{told}");
    assert_eq!(rig.cluster.names("Job"), ["first-supervisor"]);
    assert_eq!(rig.cluster.names("ConfigMap"), ["first-supervisor"]);
    assert_eq!(rig.cluster.names("PodDisruptionBudget"), ["first-supervisor"]);

    let error = backend.detach().unwrap_err();
    assert!(error.to_string().contains("it is at work already"), "{error}");

    let mut ended = rig.cluster.state().applied[0].clone();
    ended["status"] = json!({ "conditions": [{ "type": "Failed", "status": "True" }] });
    rig.cluster.put("Job", "first-supervisor", ended);
    backend.detach().unwrap();
    assert_eq!(rig.requests("DELETE").len(), 1);
    assert_eq!(rig.cluster.names("Job"), ["first-supervisor"]);
}

#[test]
fn a_supervisor_of_something_else_is_left_alone_whether_it_works_or_has_ended() {
    let rig = Rig::new("anothers-supervisor", &[]);
    let work = Work::Training { config: rig.job.config.clone(), accepted_changes: Vec::new() };
    let backend = rig.cluster.backend(work);
    for conditions in [json!([]), json!([{ "type": "Complete", "status": "True" }])] {
        let labels = json!({ manifests::RUN_LABEL: work::run_label("s3://bucket/second") });
        let job = json!({ "metadata": { "labels": labels }, "status": { "conditions": conditions } });
        rig.cluster.put("Job", "first-supervisor", job);
        let error = backend.detach().unwrap_err().to_string();
        assert!(error.contains("start Job first-supervisor") && error.contains("belongs to another run"), "{error}");
    }
    assert_eq!(rig.requests("DELETE"), [""; 0]);
    assert_eq!(rig.cluster.names("Job"), ["first-supervisor"]);
}
