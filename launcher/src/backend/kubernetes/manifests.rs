//! Turns a config into Kubernetes objects, which `launcher render` prints and the backend applies. Pure.
//!
//! An MPIJob has worker pods, in which sshd waits, and a launcher pod, which runs `launcher train --backend mpirun`, or `eval`, or
//! `prepare` ([`Work`]). They read the config from a ConfigMap. No object holds a secret: credentials come from a Secret that the
//! cluster's user has made, or from the pods' identity.

use std::collections::BTreeMap;

use common::attempt::Claim;
use common::config::{Bind, KubernetesConfig, LaunchConfig};
use serde_json::{Value, json};

use super::work::Work;
use crate::backend::error::BackendError;

/// Number of the attempt that the launcher pod runs. It is set when somebody outside the pod has claimed that attempt.
pub const ATTEMPT_VARIABLE: &str = "CONVOY_ATTEMPT";
/// Id of the claim to that attempt.
pub const CLAIM_VARIABLE: &str = "CONVOY_CLAIM";
/// Label by which the operator marks the pods of an MPIJob.
pub const JOB_LABEL: &str = "training.kubeflow.org/job-name";
/// Label by which the operator distinguishes an MPIJob's launcher pod from its workers.
pub const ROLE_LABEL: &str = "training.kubeflow.org/job-role";
/// Label that says what an object belongs to: a hash of the run folder's URL, and of what is evaluated how, or of the output of a
/// prepare job.
pub const RUN_LABEL: &str = "convoy/run";

/// Folder in which pods find the config.
const CONFIG_FOLDER: &str = "/etc/convoy";
/// File in which the operator lists the workers.
const HOSTFILE: &str = "/etc/mpi/hostfile";
/// Home folder of the image's user.
const HOME: &str = "/home/convoy";
/// User id of the image's user.
const USER: u32 = 1000;
/// Seconds that a pod gets beyond `launch.grace_s` before it is killed: for the notice to arrive, and for processes to end.
pub const GRACE_MARGIN_S: u64 = 60;
/// How often a launcher pod that nobody outside watches is replaced when it is lost.
const BACKOFF_LIMIT: u32 = 3;
/// Seconds that finished objects are kept for inspection, where nobody deletes them.
const KEPT_S: u32 = 24 * 60 * 60;
/// Returns the objects of one MPIJob in the order in which they are applied: MPIJob, ConfigMap, PodDisruptionBudget,
/// NetworkPolicy.
///
/// With `attempt`, the job runs that attempt, and whoever applies the objects follows it and has claimed what is to be claimed.
/// Without, the launcher pod makes attempts itself.
pub fn ranks(work: &Work, attempt: Option<&Claim>) -> Result<Vec<Value>, BackendError> {
    work.check_places()?;
    let job = work.name()?;
    let name = attempt.map_or_else(|| Ok(job.clone()), |attempt| work.name_of_attempt(attempt))?;
    let object = Object { kubernetes: work.kubernetes(), name: &name, labels: labels(&job, work.label()) };
    // A pod shares the cores of its node with others.
    let inner = LaunchConfig { threads_per_rank: threads_per_rank(work), bind: Bind::None, ..work.launch().clone() };
    let job = object.with("kubeflow.org/v2beta1", "MPIJob", mpi_job(&object, work, attempt));
    // The pod that starts the ranks counts, too: without it the ranks stop.
    let pods = work.launch().ranks.div_ceil(ranks_per_pod(work)) + 1;
    let pod_labels = json!({ JOB_LABEL: name });
    let budget = disruption_budget(&object, pods, &pod_labels);
    let config = object.config_map(work.config_file(), &work.config_with(inner));
    Ok(vec![job, config, budget, network_policy(&object, &pod_labels)])
}

/// Returns the objects of a supervisor in the cluster, which applies one MPIJob after another: Job, ConfigMap,
/// PodDisruptionBudget.
pub fn supervisor(work: &Work) -> Result<Vec<Value>, BackendError> {
    work.check_places()?;
    let supervised = work.name()?;
    let name = format!("{supervised}-supervisor");
    let object = Object { kubernetes: work.kubernetes(), name: &name, labels: labels(&supervised, work.label()) };
    let arguments = work.command(&["kubernetes"], CONFIG_FOLDER);
    let resources = json!({ "requests": { "cpu": "100m", "memory": "512Mi" }, "limits": { "memory": "512Mi" } });
    let container = object.container("supervisor", arguments, resources);
    let account = &work.kubernetes().supervisor_service_account;
    let mut pod = object.pod(container, account, work.launch().grace_s);
    pod["automountServiceAccountToken"] = true.into();
    pod["restartPolicy"] = "Never".into();
    let spec = supervisor_job(&object, pod);
    let job = object.with("batch/v1", "Job", json!({ "spec": spec }));
    // A supervisor that is told to end first has the ranks save and stop.
    let budget = disruption_budget(&object, 1, &json!({ "job-name": name }));
    let config = object.config_map(work.config_file(), &work.config_with(work.launch().clone()));
    Ok(vec![job, config, budget])
}

/// Writes `objects` as one YAML stream.
pub fn to_yaml(objects: &[Value]) -> String {
    let document = |object| serde_saphyr::to_string(object).unwrap_or_else(|e| unreachable!("JSON is YAML: {e}"));
    objects.iter().map(document).collect::<Vec<_>>().join("---\n")
}

/// Names and labels of one object, or of several with one name.
struct Object<'a> {
    kubernetes: &'a KubernetesConfig,
    name: &'a str,
    labels: BTreeMap<&'static str, String>,
}

impl Object<'_> {
    /// Returns `content` as an object of `kind`.
    fn with(&self, version: &str, kind: &str, mut content: Value) -> Value {
        content["apiVersion"] = version.into();
        content["kind"] = kind.into();
        content["metadata"] = json!({ "name": self.name, "labels": self.labels });
        if !self.kubernetes.namespace.is_empty() {
            content["metadata"]["namespace"] = self.kubernetes.namespace.as_str().into();
        }
        content
    }

    fn config_map(&self, file: &str, content: &str) -> Value {
        self.with("v1", "ConfigMap", json!({ "data": { file: content } }))
    }

    /// Returns a container of the image that runs `words` as an ordinary user and may write to temporary files only.
    fn container(&self, name: &str, words: Vec<String>, resources: Value) -> Value {
        let mut container = json!({
            "name": name,
            "image": self.kubernetes.image,
            "command": [&words[0]],
            "args": words[1..],
            "resources": resources,
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "capabilities": { "drop": ["ALL"] },
                "readOnlyRootFilesystem": true,
            },
            "volumeMounts": [
                { "name": "config", "mountPath": CONFIG_FOLDER, "readOnly": true },
                { "name": "tmp", "mountPath": "/tmp" },
            ],
        });
        if !self.kubernetes.storage_secret.is_empty() {
            container["envFrom"] = json!([{ "secretRef": { "name": self.kubernetes.storage_secret } }]);
        }
        container
    }

    /// Returns a pod with one container, whose grace period is `grace_s` and [`GRACE_MARGIN_S`].
    fn pod(&self, container: Value, service_account: &str, grace_s: u64) -> Value {
        let mut pod = json!({
            "serviceAccountName": service_account,
            // Ranks do not need the cluster's API.
            "automountServiceAccountToken": false,
            "terminationGracePeriodSeconds": grace_s + GRACE_MARGIN_S,
            "securityContext": {
                "runAsNonRoot": true,
                "runAsUser": USER,
                "runAsGroup": USER,
                "seccompProfile": { "type": "RuntimeDefault" },
            },
            "containers": [container],
            "volumes": [
                { "name": "config", "configMap": { "name": self.name } },
                { "name": "tmp", "emptyDir": {} },
            ],
        });
        if !self.kubernetes.priority_class.is_empty() {
            pod["priorityClassName"] = self.kubernetes.priority_class.as_str().into();
        }
        pod
    }

    /// Gives `pod` what ranks need: shared memory, and nodes that they may run on.
    fn fit_for_ranks(&self, pod: &mut Value) {
        // A container's default of 64 MB of shared memory is too little for MPI, NCCL and libtorch.
        let size = self.kubernetes.shm_bytes.to_string();
        let volume = json!({ "name": "shm", "emptyDir": { "medium": "Memory", "sizeLimit": size } });
        push(&mut pod["volumes"], volume);
        push(&mut pod["containers"][0]["volumeMounts"], json!({ "name": "shm", "mountPath": "/dev/shm" }));
        if !self.kubernetes.node_selector.is_empty() {
            pod["nodeSelector"] = json!(self.kubernetes.node_selector);
        }
        if !self.kubernetes.tolerations.is_empty() {
            let tolerations = self.kubernetes.tolerations.iter().map(|toleration| {
                let mut taint = json!(toleration);
                taint["operator"] = if toleration.value.is_some() { "Equal" } else { "Exists" }.into();
                taint
            });
            pod["tolerations"] = tolerations.collect();
        }
    }

    /// Returns the labels that select the worker pods of this MPIJob.
    fn worker_selector(&self) -> Value {
        json!({ "matchLabels": { JOB_LABEL: self.name, ROLE_LABEL: "worker" } })
    }
}

fn mpi_job(object: &Object<'_>, work: &Work, attempt: Option<&Claim>) -> Value {
    let ranks_per_pod = ranks_per_pod(work);
    json!({ "spec": {
        "slotsPerWorker": ranks_per_pod,
        "sshAuthMountPath": format!("{HOME}/.ssh"),
        // mpirun is not started before sshd answers in every worker.
        "launcherCreationPolicy": "WaitForWorkersReady",
        "runPolicy": {
            "cleanPodPolicy": "Running",
            "backoffLimit": if attempt.is_some() { 0 } else { BACKOFF_LIMIT },
            "ttlSecondsAfterFinished": KEPT_S,
        },
        "mpiReplicaSpecs": {
            "Launcher": {
                "replicas": 1,
                "restartPolicy": "Never",
                "template": { "metadata": { "labels": object.labels }, "spec": launcher_pod(object, work, attempt) },
            },
            "Worker": {
                "replicas": work.launch().ranks.div_ceil(ranks_per_pod),
                "restartPolicy": "Never",
                "template": { "metadata": { "labels": object.labels }, "spec": worker_pod(object, work.launch().grace_s) },
            },
        },
    }})
}

/// Returns the pod that starts the ranks, and stops them by itself when it is told to end.
fn launcher_pod(object: &Object<'_>, work: &Work, attempt: Option<&Claim>) -> Value {
    let arguments = work.command(&["mpirun", "--hostfile", HOSTFILE], CONFIG_FOLDER);
    let resources = json!({ "requests": { "cpu": "1", "memory": "2Gi" }, "limits": { "memory": "2Gi" } });
    let mut container = object.container("launcher", arguments, resources);
    if let Some(attempt) = attempt {
        // Nobody claims other work.
        let claim = matches!(work, Work::Training { .. }).then_some(attempt.id.as_str()).filter(|id| !id.is_empty());
        let told = [(ATTEMPT_VARIABLE, attempt.number.to_string())].into_iter();
        let told = told.chain(claim.map(|id| (CLAIM_VARIABLE, id.to_owned())));
        container["env"] = told.map(|(name, value)| json!({ "name": name, "value": value })).collect();
    }
    object.pod(container, &object.kubernetes.service_account, work.launch().grace_s)
}

/// Returns a pod in which sshd waits for ranks to start.
fn worker_pod(object: &Object<'_>, grace_s: u64) -> Value {
    let kubernetes = object.kubernetes;
    let arguments = words(&["/usr/sbin/sshd", "-De", "-f", "/etc/ssh/convoy_sshd_config"]);
    let mut container = object.container("worker", arguments, worker_resources(kubernetes));
    container["ports"] = json!([{ "name": "ssh", "containerPort": 2222 }]);
    container["readinessProbe"] = json!({ "tcpSocket": { "port": "ssh" }, "periodSeconds": 2 });
    // A pod's notice reaches its first process, sshd, and not the ranks. This hook tells them, and waits for their end.
    container["lifecycle"] = json!({ "preStop": { "exec": { "command": ["stop-ranks"] } } });
    let mut pod = object.pod(container, &kubernetes.service_account, grace_s);
    object.fit_for_ranks(&mut pod);
    if !kubernetes.topology_key.is_empty() {
        pod["topologySpreadConstraints"] = json!([{
            "maxSkew": 1,
            "topologyKey": kubernetes.topology_key,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": object.worker_selector(),
        }]);
    }
    pod
}

fn worker_resources(kubernetes: &KubernetesConfig) -> Value {
    let mut limits = json!({
        "cpu": kubernetes.cpus.to_string(),
        "memory": kubernetes.memory_bytes.to_string(),
        "ephemeral-storage": kubernetes.disk_bytes.to_string(),
    });
    if kubernetes.gpus > 0 {
        limits[&kubernetes.gpu_resource] = kubernetes.gpus.to_string().into();
    }
    // Requests equal limits: such pods are the last to be evicted where a node runs short.
    json!({ "requests": limits, "limits": limits })
}

/// Returns a budget that protects `pods` pods with `labels` from drains. A node that fails, or that its owner takes back,
/// does not ask.
///
/// The budget says how many pods must stay, and not how many may go: MPIJobs have no scale, and of pods whose owner has none,
/// the API server lets none go by the latter.
fn disruption_budget(object: &Object<'_>, pods: u32, labels: &Value) -> Value {
    let stay = pods.saturating_sub(object.kubernetes.max_unavailable);
    let spec = json!({ "minAvailable": stay, "selector": { "matchLabels": labels } });
    object.with("policy/v1", "PodDisruptionBudget", json!({ "spec": spec }))
}

/// Returns a policy under which pods with `labels` are reached by each other, at any port, and by nobody else. In them listen
/// sshd, the launcher, MPI and NCCL, and the last two ask nobody for a secret. Outgoing connections are left open: to
/// storage, name servers, the API server.
fn network_policy(object: &Object<'_>, labels: &Value) -> Value {
    let pods = json!({ "matchLabels": labels });
    object.with(
        "networking.k8s.io/v1",
        "NetworkPolicy",
        json!({ "spec": {
            "podSelector": pods,
            "policyTypes": ["Ingress"],
            "ingress": [{ "from": [{ "podSelector": pods }] }],
        }}),
    )
}

/// Returns a Job that starts its pod again when the pod was lost, and not when another one would end alike.
fn supervisor_job(object: &Object<'_>, pod: Value) -> Value {
    json!({
        "backoffLimit": BACKOFF_LIMIT,
        "ttlSecondsAfterFinished": KEPT_S,
        "podFailurePolicy": { "rules": [
            { "action": "Ignore", "onPodConditions": [{ "type": "DisruptionTarget", "status": "True" }] },
            // Exit codes: 2 config, 3 data, 5 numeric, 70 a bug, 75 stopped as somebody asked.
            { "action": "FailJob", "onExitCodes": { "operator": "In", "values": [2, 3, 5, 70, 75] } },
        ]},
        "template": { "metadata": { "labels": object.labels }, "spec": pod },
    })
}

fn labels(name: &str, belongs_to: String) -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        ("app.kubernetes.io/name", "convoy".to_owned()),
        ("app.kubernetes.io/instance", name.to_owned()),
        (RUN_LABEL, belongs_to),
    ])
}

/// Returns the compute threads of each rank. The number is given to the ranks, because a pod cannot know its share of the
/// node's cores.
pub fn threads_per_rank(work: &Work) -> u32 {
    match work.launch().threads_per_rank {
        0 => (work.kubernetes().cpus / ranks_per_pod(work)).max(1),
        given => given,
    }
}

/// Returns the ranks of each pod: as configured, or one for each GPU, or one where there is none.
fn ranks_per_pod(work: &Work) -> u32 {
    match work.launch().ranks_per_node {
        0 => work.kubernetes().gpus.max(1),
        given => given,
    }
}

fn push(list: &mut Value, item: Value) {
    list.as_array_mut().unwrap_or_else(|| unreachable!("it is a list")).push(item);
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}
