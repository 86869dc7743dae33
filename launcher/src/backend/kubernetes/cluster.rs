//! Requests to the API server: apply, look up, delete. A request is repeated while the server is away or busy, and not when
//! the server refuses it.

use std::future::Future;
use std::time::{Duration, Instant};

use common::exit_code::ExitCode;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

use super::manifests::RUN_LABEL;
use crate::error::LaunchError;

/// Field manager: the name under which the API server records which fields the launcher owns.
const MANAGER: &str = "convoy-launcher";
/// First pause before a request is repeated. It doubles, up to ten times this value.
const PAUSE: Duration = Duration::from_millis(500);

/// A namespace of a cluster.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    namespace: String,
    /// How long a request is repeated.
    patience: Duration,
}

impl Cluster {
    /// Creates the handle for `namespace`, or for the client's default namespace where `namespace` is empty.
    pub fn new(client: Client, namespace: &str, patience: Duration) -> Self {
        let namespace = if namespace.is_empty() { client.default_namespace().to_owned() } else { namespace.to_owned() };
        Cluster { client, namespace, patience }
    }

    /// Connects to the cluster that the kubeconfig names, or, in a pod, to the cluster that the pod is in.
    pub async fn connect(namespace: &str, patience: Duration) -> Result<Self, LaunchError> {
        let client = Client::try_default().await.map_err(|error| LaunchError::Cluster {
            operation: "find a Kubernetes cluster".into(),
            reason: format!("{error}; give a kubeconfig by KUBECONFIG or in ~/.kube/config, and check it with kubectl"),
            code: ExitCode::Config,
        })?;
        Ok(Self::new(client, namespace, patience))
    }

    /// Returns the namespace's name.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Returns the API for pods.
    pub fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Returns the API for MPIJobs.
    pub fn mpi_jobs(&self) -> Api<DynamicObject> {
        self.objects("kubeflow.org/v2beta1", "MPIJob")
    }

    /// Returns the API for Jobs.
    pub fn jobs(&self) -> Api<DynamicObject> {
        self.objects("batch/v1", "Job")
    }

    fn objects(&self, version: &str, kind: &str) -> Api<DynamicObject> {
        let (group, version) = version.rsplit_once('/').unwrap_or(("", version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        Api::namespaced_with(self.client.clone(), &self.namespace, &resource)
    }

    /// Applies `objects`. The first object owns the others, which are deleted with it.
    pub async fn apply(&self, objects: Vec<Value>) -> Result<(), LaunchError> {
        let mut owner: Option<Value> = None;
        for mut object in objects {
            let text = |key: &str| object[key].as_str().unwrap_or_default().to_owned();
            let (version, kind) = (text("apiVersion"), text("kind"));
            let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            let api = self.objects(&version, &kind);
            let operation = format!("apply {kind} {name} in namespace {}", self.namespace);
            self.check_owner(&api, &operation, &object).await?;
            if let Some(owner) = &owner {
                object["metadata"]["ownerReferences"] = json!([owner]);
            }
            let (params, patch) = (PatchParams::apply(MANAGER), Patch::Apply(&object));
            let applied = self.persist(&operation, || api.patch(&name, &params, &patch)).await?;
            let uid = applied.uid().unwrap_or_default();
            owner.get_or_insert_with(|| json!({ "apiVersion": version, "kind": kind, "name": name, "uid": uid }));
        }
        Ok(())
    }

    /// Refuses to change an object that has the name of ours but belongs to something else.
    async fn check_owner(&self, api: &Api<DynamicObject>, operation: &str, object: &Value) -> Result<(), LaunchError> {
        let metadata = &object["metadata"];
        let name = metadata["name"].as_str().unwrap_or_default();
        let there = self.persist(operation, || api.get_opt(name)).await?;
        there.map_or(Ok(()), |there| check_label(operation, &there, metadata["labels"][RUN_LABEL].as_str()))
    }

    /// Deletes every MPIJob of the run with `label` except `kept`, as a launcher that died leaves them. Returns their names.
    pub async fn delete_others(&self, label: &str, kept: &str) -> Result<Vec<String>, LaunchError> {
        let (api, params) = (self.mpi_jobs(), ListParams::default().labels(&format!("{RUN_LABEL}={label}")));
        let operation = format!("list MPIJobs in namespace {}", self.namespace);
        let found = self.persist(&operation, || api.list(&params)).await?;
        let others: Vec<String> = found.iter().map(ResourceExt::name_any).filter(|name| name != kept).collect();
        for name in &others {
            self.delete(&api, name).await?;
        }
        Ok(others)
    }

    /// Deletes `name` and, in the background, what it owns: its pods are notified and have their grace period.
    pub async fn delete(&self, api: &Api<DynamicObject>, name: &str) -> Result<(), LaunchError> {
        let operation = format!("delete {name} in namespace {}", self.namespace);
        let params = DeleteParams::background();
        let deleted = async || match api.delete(name, &params).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            other => other.map(drop),
        };
        self.persist(&operation, deleted).await
    }

    /// Performs `operation`, and repeats it while the API server is away or busy.
    pub async fn persist<T, F>(&self, operation: &str, mut action: impl FnMut() -> F) -> Result<T, LaunchError>
    where
        F: Future<Output = kube::Result<T>>,
    {
        let (start, mut pause) = (Instant::now(), PAUSE);
        loop {
            let error = match action().await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            let failure = |reason, code| LaunchError::Cluster { operation: operation.to_owned(), reason, code };
            if let Some(refusal) = refusal(&error) {
                return Err(failure(refusal, ExitCode::Config));
            }
            if start.elapsed() + pause >= self.patience {
                let reason = format!("{error}, for {} s; is the API server there?", self.patience.as_secs());
                return Err(failure(reason, ExitCode::Communication));
            }
            tracing::warn!("cannot {operation}: {error}; trying again");
            tokio::time::sleep(pause).await;
            pause = (2 * pause).min(10 * PAUSE);
        }
    }
}

/// Refuses `operation` where `there` has the name of an object of ours, but not its `label`, and so belongs to something else.
pub fn check_label(operation: &str, there: &DynamicObject, label: Option<&str>) -> Result<(), LaunchError> {
    if there.labels().get(RUN_LABEL).map(String::as_str) == label {
        return Ok(());
    }
    Err(LaunchError::Cluster {
        operation: operation.to_owned(),
        reason: "there is one that belongs to another run, or to something else; give kubernetes.name, or delete it"
            .into(),
        code: ExitCode::Config,
    })
}

/// Returns why the API server refuses for good; `None` for an error that may pass.
fn refusal(error: &kube::Error) -> Option<String> {
    let kube::Error::Api(status) = error else { return None };
    let hint = match status.code {
        401 => "log in again: the kubeconfig's credentials are not accepted",
        403 => "k8s/base/rbac.yaml has the rights that are needed",
        404 => "is the MPI operator installed, and does the namespace exist?",
        409 => "somebody else has changed the object; delete it",
        400 | 405 | 406 | 415 | 422 => "the cluster does not take it; is it of another version?",
        _ => return None,
    };
    Some(format!("{} ({hint})", status.message))
}
