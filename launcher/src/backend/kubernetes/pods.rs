//! Translates a pod's status into the terms of this crate. Pure.

use std::fmt;

use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, Pod, PodCondition};
use kube::ResourceExt;

use super::manifests::ROLE_LABEL;

/// Reasons in a pod's status which say that its node could not or should not keep it.
const EVICTIONS: [&str; 6] = ["Evicted", "NodeLost", "NodeShutdown", "Preempting", "Shutdown", "Terminated"];

/// Why a pod does not run, or no longer runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The pod's node was drained, taken back, out of memory or disk, or needed for a more important pod.
    Evicted(String),
    /// The pod exceeded its memory limit.
    OutOfMemory(String),
    /// The pod's image cannot be pulled.
    Image(String),
    /// The pod cannot be started as requested: a Secret or the program is missing.
    NotStartable(String),
    /// No node has the resources that the pod requests.
    Unschedulable(String),
    /// Somebody deleted the pod without giving a reason.
    Deleted,
    /// The pod ended by itself, with this exit code.
    Ended(i32, String),
}

impl Trouble {
    /// Returns whether the pod, and with it the attempt, is lost.
    pub fn is_loss(&self) -> bool {
        matches!(self, Trouble::Evicted(_) | Trouble::OutOfMemory(_) | Trouble::Deleted | Trouble::Ended(..))
    }

    /// Returns whether another attempt would fail alike, unless somebody mends something.
    pub fn needs_mending(&self) -> bool {
        matches!(self, Trouble::Image(_) | Trouble::NotStartable(_))
    }

    /// Returns the details: what Kubernetes says, or, for a deletion, that this launcher did not order it.
    pub fn details(&self) -> &str {
        match self {
            Trouble::Evicted(details)
            | Trouble::OutOfMemory(details)
            | Trouble::Image(details)
            | Trouble::NotStartable(details)
            | Trouble::Unschedulable(details)
            | Trouble::Ended(_, details) => details,
            Trouble::Deleted => "not by this launcher; what stops a run is `launcher stop`",
        }
    }
}

/// Writes `... was evicted`, without the details.
impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Evicted(_) => f.write_str("was evicted"),
            Trouble::OutOfMemory(_) => f.write_str("ran out of memory (OOMKilled)"),
            Trouble::Image(_) => f.write_str("cannot have its image"),
            Trouble::NotStartable(_) => f.write_str("cannot be started"),
            Trouble::Unschedulable(_) => f.write_str("waits for a node"),
            Trouble::Deleted => f.write_str("was deleted"),
            Trouble::Ended(code, _) => write!(f, "ended with exit code {code}"),
        }
    }
}

/// The parts of a pod's status that matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodView {
    /// Name of the pod.
    pub name: String,
    /// Whether this pod starts the ranks.
    pub is_launcher: bool,
    /// Whether its container runs, or has run.
    pub has_started: bool,
    /// Exit code of its container, if it has ended.
    pub exit_code: Option<i32>,
    /// What is wrong with the pod; `None` if nothing is.
    pub trouble: Option<Trouble>,
}

impl PodView {
    /// Reads the status of `pod`.
    pub fn of(pod: &Pod) -> Self {
        let container = container(pod);
        let state = container.and_then(|status| status.state.as_ref());
        let ended = state.and_then(|state| state.terminated.as_ref());
        let is_running = state.is_some_and(|state| state.running.is_some());
        PodView {
            name: pod.name_any(),
            is_launcher: pod.labels().get(ROLE_LABEL).is_some_and(|role| role == "launcher"),
            has_started: is_running || ended.is_some(),
            exit_code: ended.map(|ended| ended.exit_code),
            trouble: trouble(pod, state),
        }
    }
}

/// Returns the status of our container; service meshes and the like add others.
fn container(pod: &Pod) -> Option<&ContainerStatus> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    statuses.iter().find(|status| matches!(status.name.as_str(), "launcher" | "worker")).or(statuses.first())
}

fn trouble(pod: &Pod, container: Option<&ContainerState>) -> Option<Trouble> {
    let status = pod.status.as_ref()?;
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    if status.reason.as_deref().is_some_and(|reason| EVICTIONS.contains(&reason)) {
        return Some(Trouble::Evicted(text(&status.message)));
    }
    let deleted = pod.metadata.deletion_timestamp.as_ref().map(|_| Trouble::Deleted);
    // A pod that has ended shows its container's end as well; the reason why it had to end counts more.
    if let Some(condition) = condition(pod, "DisruptionTarget", "True") {
        return Some(Trouble::Evicted(told(condition)));
    }
    if let Some(ended) = container.and_then(|state| state.terminated.as_ref()) {
        let reason = text(&ended.reason);
        let details = join(&reason, &text(&ended.message));
        return match (reason.as_str(), ended.exit_code) {
            ("OOMKilled", _) => Some(Trouble::OutOfMemory(details)),
            ("StartError" | "ContainerCannotRun", _) => Some(Trouble::NotStartable(details)),
            (_, 0) => deleted,
            (_, code) => deleted.or(Some(Trouble::Ended(code, details))),
        };
    }
    if deleted.is_some() {
        return deleted;
    }
    if let Some(waiting) = container.and_then(|state| state.waiting.as_ref()) {
        let reason = text(&waiting.reason);
        let details = join(&reason, &text(&waiting.message));
        match reason.as_str() {
            "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" | "ImageInspectError" => {
                return Some(Trouble::Image(details));
            }
            "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => {
                return Some(Trouble::NotStartable(details));
            }
            _ => {}
        }
    }
    let unscheduled = condition(pod, "PodScheduled", "False")?;
    (unscheduled.reason.as_deref() == Some("Unschedulable")).then(|| Trouble::Unschedulable(text(&unscheduled.message)))
}

fn condition<'a>(pod: &'a Pod, kind: &str, status: &str) -> Option<&'a PodCondition> {
    let mut conditions = pod.status.as_ref()?.conditions.as_ref()?.iter();
    conditions.find(|condition| condition.type_ == kind && condition.status == status)
}

fn told(condition: &PodCondition) -> String {
    join(condition.reason.as_deref().unwrap_or_default(), condition.message.as_deref().unwrap_or_default())
}

/// Joins to `reason: message`; either may be empty.
fn join(reason: &str, message: &str) -> String {
    match (reason, message) {
        ("", text) | (text, "") => text.to_owned(),
        (reason, message) => format!("{reason}: {message}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn view(status: &Value) -> PodView {
        let metadata = json!({ "name": "run-a0001-worker-2", "labels": { ROLE_LABEL: "worker" } });
        PodView::of(&serde_json::from_value(json!({ "metadata": metadata, "status": status })).unwrap())
    }

    fn container(state: &Value) -> Value {
        let other = json!({ "name": "mesh", "image": "m", "imageID": "m", "ready": true, "restartCount": 0,
                            "state": { "running": {} } });
        let ours = json!({ "name": "worker", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
                           "state": state });
        json!({ "phase": "Pending", "containerStatuses": [other, ours] })
    }

    #[test]
    fn what_a_status_says() {
        let memory = "The node was low on resource: memory.";
        let evicted = json!({ "phase": "Failed", "reason": "Evicted", "message": memory });
        assert_eq!(view(&evicted).trouble, Some(Trouble::Evicted(memory.into())));

        let shut_down = json!({ "phase": "Failed", "reason": "Terminated", "message": "imminent node shutdown" });
        assert_eq!(view(&shut_down).trouble, Some(Trouble::Evicted("imminent node shutdown".into())));

        let disrupted = json!({ "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
                                "message": "drained" });
        let mut saved = container(&json!({ "terminated": { "exitCode": 75, "reason": "Error" } }));
        saved["conditions"] = json!([disrupted]);
        let saved = view(&saved);
        assert_eq!(saved.exit_code, Some(75));
        assert_eq!(saved.trouble, Some(Trouble::Evicted("EvictionByEvictionAPI: drained".into())));

        for (state, trouble) in [
            (
                json!({ "terminated": { "exitCode": 137, "reason": "OOMKilled" } }),
                Some(Trouble::OutOfMemory("OOMKilled".into())),
            ),
            (json!({ "terminated": { "exitCode": 4, "reason": "Error" } }), Some(Trouble::Ended(4, "Error".into()))),
            (json!({ "terminated": { "exitCode": 0, "reason": "Completed" } }), None),
            (
                json!({ "waiting": { "reason": "ImagePullBackOff", "message": "Back-off pulling image" } }),
                Some(Trouble::Image("ImagePullBackOff: Back-off pulling image".into())),
            ),
            (
                json!({ "waiting": { "reason": "CreateContainerConfigError", "message": "secret \"s\" not found" } }),
                Some(Trouble::NotStartable("CreateContainerConfigError: secret \"s\" not found".into())),
            ),
            (json!({ "waiting": { "reason": "ContainerCreating" } }), None),
            (json!({ "running": {} }), None),
        ] {
            let view = view(&container(&state));
            assert_eq!(view.trouble, trouble, "{state}");
            assert_eq!(view.has_started, state.get("waiting").is_none(), "{state}");
        }

        for (state, trouble) in [
            (json!({ "running": {} }), Trouble::Deleted),
            (json!({ "terminated": { "exitCode": 75, "reason": "Error" } }), Trouble::Deleted),
            (
                json!({ "terminated": { "exitCode": 137, "reason": "OOMKilled" } }),
                Trouble::OutOfMemory("OOMKilled".into()),
            ),
        ] {
            let metadata = json!({ "name": "w", "deletionTimestamp": "2026-01-31T10:00:00Z" });
            let pod = json!({ "metadata": metadata, "status": container(&state) });
            assert_eq!(PodView::of(&serde_json::from_value(pod).unwrap()).trouble, Some(trouble), "{state}");
        }

        let none = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.";
        let condition =
            json!({ "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": none });
        let unschedulable = view(&json!({ "phase": "Pending", "conditions": [condition] }));
        assert_eq!(unschedulable.trouble, Some(Trouble::Unschedulable(none.into())));
        assert_eq!(view(&json!({ "phase": "Pending" })).trouble, None);
    }
}
