//! Tests of what is applied to a Kubernetes cluster: manifests that are rendered, put together by kustomize, and valid.

#![allow(clippy::print_stdout, reason = "a test that is skipped says so")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tests::process::{launcher, run_with_deadline};
use tests::servers::manifest_validator;

const DEADLINE: Duration = Duration::from_secs(120);
/// Overlays, each with the command that renders its job.
const OVERLAYS: [(&str, &[&str]); 4] = [
    ("cpu", &["--config", "run.toml"]),
    ("gpu", &["--config", "run.toml"]),
    ("spot", &["--detach", "--config", "run.toml"]),
    ("prepare", &["--config", "prepare.toml"]),
];
/// Kinds of the objects in an overlay that are not its job's.
const OF_THE_BASE: [&str; 5] = ["NetworkPolicy", "Role", "RoleBinding", "ServiceAccount", "ServiceAccount"];

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn folder(overlay: &str) -> PathBuf {
    repository().join("k8s/overlays").join(overlay)
}

fn output(mut command: Command) -> String {
    let shown = format!("{command:?}");
    command.stdin(Stdio::null());
    let output = run_with_deadline(command, DEADLINE);
    assert!(output.status.success(), "{shown}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs `launcher render` for the config of an overlay.
fn rendered(overlay: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(launcher());
    command.current_dir(folder(overlay)).arg("render").args(arguments);
    output(command)
}

fn kustomized(overlay: &str) -> Option<String> {
    let mut command = Command::new("kubectl");
    command.args(["kustomize"]).arg(folder(overlay));
    let is_there = Command::new("kubectl").args(["version", "--client"]).output().is_ok_and(|v| v.status.success());
    if !is_there {
        println!("skipped: there is no kubectl on PATH");
        return None;
    }
    Some(output(command))
}

/// Parses a stream of YAML into objects, in a fixed order.
fn objects(yaml: &str) -> Vec<Value> {
    let mut objects: Vec<Value> = serde_saphyr::from_multiple(yaml).unwrap();
    objects.sort_by_key(|object| format!("{}/{}", object["kind"], object["metadata"]["name"]));
    objects
}

/// Fails unless every object of `yaml` is valid, without a warning.
fn assert_valid(yaml: &str) {
    let schema = repository().join("../shared/schemas/kubeflow.org_mpijobs.yaml");
    if !schema.is_file() {
        return println!("skipped: there is no schema of MPIJobs at {}", schema.display());
    }
    let Some(python) = manifest_validator() else { return };
    let manifests = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(manifests.path(), yaml).unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$0\" \"$1\" \"$2\" < \"$3\""]).arg(python).arg(repository().join("k8s/validate.py"));
    command.arg(&schema).arg(manifests.path());
    let valid = output(command);
    assert_eq!(valid.lines().filter(|line| !line.contains("pod template")).count(), objects(yaml).len(), "{valid}");
}

#[test]
fn what_kustomize_makes_of_an_overlay_is_the_base_and_what_the_launcher_renders() {
    for (overlay, arguments) in OVERLAYS {
        let Some(yaml) = kustomized(overlay) else { return };
        // Objects of a job belong to a run.
        let (of_job, of_base): (Vec<_>, Vec<_>) =
            objects(&yaml).into_iter().partition(|object| !object["metadata"]["labels"]["convoy/run"].is_null());
        let kinds: Vec<_> = of_base.iter().map(|object| object["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds, OF_THE_BASE, "{overlay}");
        assert_eq!(of_job, objects(&rendered(overlay, arguments)), "{overlay}: run k8s/render");
        assert_valid(&yaml);
    }
}

/// Returns whether `selector`, of the pods that a policy covers or lets in, selects those with `labels`.
fn selects(selector: &Value, labels: &Value) -> bool {
    selector["matchLabels"].as_object().unwrap().iter().all(|(key, value)| labels[key] == *value)
}

#[test]
fn only_pods_of_the_same_job_reach_a_pod() {
    let base = std::fs::read_to_string(repository().join("k8s/base/network.yaml")).unwrap();
    let [nobody] = objects(&base).try_into().unwrap();
    assert_eq!(nobody["spec"]["policyTypes"], json!(["Ingress"]));
    assert!(nobody["spec"]["ingress"].is_null(), "{nobody}");
    for (overlay, arguments) in OVERLAYS {
        let of_job = objects(&rendered(overlay, arguments));
        let job = of_job.iter().find(|object| object["kind"].as_str().unwrap().ends_with("Job")).unwrap();
        let policies: Vec<_> = of_job.iter().filter(|object| object["kind"] == "NetworkPolicy").collect();
        let Some(replicas) = job["spec"]["mpiReplicaSpecs"].as_object() else {
            // The supervisor is one pod, which nobody reaches.
            assert!(
                selects(&nobody["spec"]["podSelector"], &job["spec"]["template"]["metadata"]["labels"]),
                "{overlay}"
            );
            assert!(policies.is_empty(), "{overlay}: {policies:?}");
            continue;
        };
        let [policy] = policies[..] else { panic!("{overlay}: {policies:?}") };
        assert_eq!(policy["spec"]["policyTypes"], json!(["Ingress"]), "{overlay}: what pods reach is left open");
        let [only] = &policy["spec"]["ingress"].as_array().unwrap()[..] else { panic!("{policy}") };
        let [from] = &only["from"].as_array().unwrap()[..] else { panic!("{policy}") };
        assert!(only["ports"].is_null(), "MPI chooses its own: {policy}");
        for replica in replicas.values() {
            // The operator adds the name of the MPIJob.
            let mut labels = replica["template"]["metadata"]["labels"].clone();
            labels["training.kubeflow.org/job-name"] = job["metadata"]["name"].clone();
            for selector in [&nobody["spec"]["podSelector"], &policy["spec"]["podSelector"], &from["podSelector"]] {
                assert!(selects(selector, &labels), "{overlay}: {selector} and {labels}");
            }
            labels["training.kubeflow.org/job-name"] = "another".into();
            assert!(!selects(&from["podSelector"], &labels), "{overlay}");
        }
    }
}

#[test]
fn rendered_manifests_are_valid_whatever_is_asked_for() {
    let everything = [
        "kubernetes.namespace=training",
        "kubernetes.priority_class=low",
        "kubernetes.node_selector={ disk = \"fast\", \"example.com/pool\" = \"\" }",
        "kubernetes.tolerations=[{ key = \"a\" }, { key = \"b\", value = \"c\", effect = \"NoExecute\" }]",
        "kubernetes.storage_secret=keys",
        "kubernetes.gpus=4",
        "kubernetes.gpu_resource=amd.com/gpu",
        "kubernetes.max_unavailable=2",
        "kubernetes.topology_key=topology.kubernetes.io/zone",
        "launch.ranks=7",
    ];
    let nothing = ["kubernetes.topology_key=", "kubernetes.storage_secret=", "kubernetes.tolerations=[]"];
    for overrides in [everything.as_slice(), &nothing] {
        let mut arguments = vec!["--config", "run.toml"];
        arguments.extend(overrides.iter().flat_map(|given| ["--set", given]));
        for detach in [&[][..], &["--detach"]] {
            let yaml = rendered("gpu", &[detach, &arguments].concat());
            assert_valid(&yaml);
            assert!(yaml.contains(if detach.is_empty() { "kind: MPIJob" } else { "kind: Job" }), "{yaml}");
        }
    }
}

/// Returns `launcher eval --render` for the config of an overlay.
fn evaluation(overlay: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(launcher());
    command.current_dir(folder(overlay)).args(["eval", "--render", "--config", "run.toml"]).args(arguments);
    command
}

#[test]
fn a_rendered_evaluation_is_valid_and_shares_no_object_with_its_run() {
    for overlay in ["cpu", "gpu", "spot"] {
        let arguments = ["--tasks", "all", "--data", "s3://bucket/eval-data", "--samples", "items.jsonl", "--json"];
        let yaml = output(evaluation(overlay, &arguments));
        assert_valid(&yaml);
        let (of_evaluation, of_run) = (objects(&yaml), objects(&rendered(overlay, &["--config", "run.toml"])));
        let kinds = |objects: &[Value]| objects.iter().map(|object| object["kind"].clone()).collect::<Vec<_>>();
        assert_eq!(kinds(&of_evaluation), kinds(&of_run), "{overlay}");
        for (mine, its) in of_evaluation.iter().zip(&of_run) {
            let [mine, its] = [mine, its].map(|object| &object["metadata"]);
            assert!(mine["name"].as_str().unwrap().contains("-eval-"), "{overlay}: {mine}");
            assert_ne!(mine["labels"]["convoy/run"], its["labels"]["convoy/run"], "{overlay}");
        }
        assert!(yaml.contains("--samples=/tmp/samples.jsonl") && yaml.contains("--json"), "{yaml}");
    }
}

#[test]
fn places_of_an_evaluation_that_pods_do_not_reach_are_refused_by_their_options() {
    for (given, expected) in [
        (["--tasks", "ptb", "--data", "eval-data"], "--data = \"file:///"),
        (["--tasks", "ptb", "--output", "/scores"], "--output = \"file:///scores\" is a place of this machine"),
        (["--tasks", "ptb", "--overlap", "web/*.jsonl"], "--overlap = \"file:///"),
        (["--tasks", "text=notes.txt", "--limit", "1"], "--tasks = \"file:///"),
        (["--tasks", "ptb", "--data", "az://c/x?sig=very-secret"], "--data: the URL at az://c carries"),
    ] {
        let output = run_with_deadline(evaluation("cpu", &given), DEADLINE);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{given:?}: {told}");
        assert!(told.contains(expected) && !told.contains("very-secret"), "{given:?}: {told}");
    }
}

/// Returns `launcher prepare --render` for the config of an overlay.
fn preparing(overlay: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(launcher());
    command.current_dir(folder(overlay)).args(["prepare", "--render"]).args(arguments);
    command
}

#[test]
fn a_rendered_prepare_job_is_valid_and_shares_no_object_with_a_run_of_its_config() {
    let yaml = output(preparing("prepare", &["prepare.toml"]));
    assert_eq!(objects(&yaml), objects(&rendered("prepare", &["prepare.toml"])));
    let supervisor = output(preparing("prepare", &["prepare.toml", "--detach"]));
    assert_valid(&supervisor);
    assert_eq!(objects(&supervisor), objects(&rendered("prepare", &["prepare.toml", "--detach"])));
    assert!(supervisor.contains("kind: Job") && supervisor.contains("- kubernetes\n"), "{supervisor}");

    let places = ["prepare.inputs=s3://bucket/web", "prepare.output=s3://bucket/webtext", "kubernetes.name=one"];
    let sets: Vec<String> = places.iter().map(|set| format!("--set={set}")).collect();
    let arguments: Vec<&str> = ["run.toml"].into_iter().chain(sets.iter().map(String::as_str)).collect();
    for overlay in ["cpu", "gpu"] {
        let yaml = output(preparing(overlay, &arguments));
        assert_valid(&yaml);
        assert!(!yaml.contains("nvidia.com/gpu: "), "the run's GPUs are left to it: {yaml}");
        let (of_job, of_run) = (objects(&yaml), objects(&rendered(overlay, &arguments)));
        let kinds = |objects: &[Value]| objects.iter().map(|object| object["kind"].clone()).collect::<Vec<_>>();
        assert_eq!(kinds(&of_job), kinds(&of_run), "{overlay}");
        for (mine, its) in of_job.iter().zip(&of_run) {
            let [mine, its] = [mine, its].map(|object| &object["metadata"]);
            let name = mine["name"].as_str().unwrap();
            assert!(name.starts_with("one-prepare-") && its["name"] == "one", "{overlay}: {name}");
            assert_ne!(mine["labels"]["convoy/run"], its["labels"]["convoy/run"], "{overlay}");
        }
        let replicas = |objects: &[Value]| {
            let job = objects.iter().find(|object| object["kind"] == "MPIJob").unwrap();
            (job["spec"]["slotsPerWorker"].clone(), job["spec"]["mpiReplicaSpecs"]["Worker"]["replicas"].clone())
        };
        assert_eq!(replicas(&of_job), replicas(&of_run), "{overlay}");
    }
}

#[test]
fn places_of_a_prepare_job_that_pods_do_not_reach_are_refused_by_their_keys() {
    for (given, expected) in [
        (
            r#"prepare.inputs=["s3://bucket/a.txt", "book.txt"]"#,
            "prepare.inputs = \"book.txt\" is a place of this machine",
        ),
        ("prepare.output=file:///data", "prepare.output = \"file:///data\" is a place of this machine"),
        ("prepare.tokenizer=/own", "prepare.tokenizer = \"/own\" is a place of this machine"),
        ("prepare.overlap_filter=tests.grams", "prepare.overlap_filter = \"tests.grams\" is a place of this machine"),
        ("webtext.deduplicate.against=old", "webtext.deduplicate.against = \"old\" is a place of this machine"),
        (
            "webtext.deduplicate.against=s3://key:very-secret@bucket/x",
            "webtext.deduplicate.against: the URL at s3://bucket carries",
        ),
        ("prepare.inputs=s3://key:very-secret@bucket/x", "prepare.inputs: the URL at s3://bucket carries"),
        ("prepare.inputs=https://host/web.jsonl?sig=very-secret", "prepare.inputs: the URL at https://host carries"),
    ] {
        for command in ["render", "prepare"] {
            let mut refused = Command::new(launcher());
            refused.current_dir(folder("prepare")).args([command, "prepare.toml", "--set", given]);
            let output = run_with_deadline(refused, DEADLINE);
            let told = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(2), "{given}: {told}");
            assert!(told.contains(expected) && !told.contains("very-secret"), "{given}: {told}");
        }
    }
    let yaml = rendered("prepare", &["prepare.toml", "--set", "prepare.tokenizer=s3://bucket/own"]);
    assert!(yaml.contains("s3://bucket/own"), "{yaml}");
}

#[test]
fn no_secret_is_rendered() {
    let mut command = Command::new(launcher());
    command.current_dir(folder("cpu")).args(["render", "--config", "run.toml"]);
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AZURE_STORAGE_ACCOUNT_KEY"] {
        command.env(name, "very-secret");
    }
    let yaml = output(command);
    assert!(yaml.contains("secretRef:") && !yaml.contains("very-secret"), "{yaml}");
}

#[test]
fn what_pods_cannot_use_is_refused_by_name() {
    for (given, expected) in [
        ("run.output=/data/runs/x", "run.output = \"file:///data/runs/x\" is a place of this machine"),
        ("run.output=s3://key:very-secret@bucket/x", "it has a user or password in it"),
        ("data.validation=[{ url = \"az://c/x?sig=very-secret\" }]", "data.validation: the URL at az://c carries"),
        ("evaluation.tasks=text=notes.txt", "evaluation.tasks = \"file:///"),
        ("run.name=My run", "run.name = \"My run\" cannot be the name of Kubernetes objects"),
        ("kubernetes.name=x; rm -rf", "kubernetes.name = \"x; rm -rf\": must be an RFC 1123 label"),
        ("kubernetes.image=convoy --privileged", "kubernetes.image = \"convoy --privileged\": must be an image's name"),
        ("kubernetes.shm_bytes=99_999_999_999_999", "kubernetes.shm_bytes = 99999999999999: is part of memory_bytes"),
        ("kubernetes.tolerations=[{ key = \"a\", effect = \"Dance\" }]", "unknown variant `Dance`"),
    ] {
        let mut command = Command::new(launcher());
        command.current_dir(folder("cpu")).args(["render", "--config", "run.toml", "--set", given]);
        let output = run_with_deadline(command, DEADLINE);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{given}: {told}");
        assert!(told.contains(expected) && !told.contains("very-secret"), "{given}: {told}");
    }
}
