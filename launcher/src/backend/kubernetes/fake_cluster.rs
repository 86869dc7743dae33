//! An API server, the MPI operator and a kubelet for tests, behind kube's client as a mock service: the client's own requests
//! are answered.
//!
//! Each MPIJob that is applied acts as the script says. A watch answers as soon as there is something to tell, and then ends,
//! as real watches do from time to time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::Kubernetes;
use super::cluster::Cluster;
use super::manifests::{JOB_LABEL, ROLE_LABEL};
use super::picture::Patience;
use super::work::Work;

/// Fate of an MPIJob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// The ranks' launcher prints its log and ends with this exit code.
    Exit(i32),
    /// A worker is evicted; the ranks save, and their launcher ends with 75.
    Evict,
    /// Somebody deletes a worker; the ranks save, and their launcher ends with 75.
    DeleteWorker,
    /// Somebody deletes the MPIJob, and so all of its pods; the ranks save, and their launcher ends with 75.
    DeleteJob,
    /// A worker uses too much memory; the ranks' launcher ends with 4.
    OutOfMemory,
    /// An image cannot be pulled.
    NoImage,
    /// No node is free.
    NoNode,
    /// The MPIJob trains until it is deleted, and then ends with 75.
    Train,
    /// The operator gives the MPIJob up.
    GiveUp,
    /// Nobody takes notice of the MPIJob.
    Nothing,
}

/// Objects of the cluster, and the requests that were made.
#[derive(Default)]
pub struct State {
    script: VecDeque<Act>,
    /// Fates of MPIJobs whose pods nobody has looked for yet: no real pod starts faster than that.
    to_come: BTreeMap<String, Act>,
    version: u64,
    /// Objects by kind and name.
    objects: BTreeMap<(&'static str, String), Value>,
    /// Changes for watches: version, kind, and event.
    changes: Vec<(u64, &'static str, Value)>,
    /// Lines of the pod that starts the ranks.
    log: Vec<String>,
    /// Every request: method, path, and query.
    pub requests: Vec<String>,
    /// Objects that were applied.
    pub applied: Vec<Value>,
    /// Number of requests that still fail before anything is answered.
    pub failures_left: u32,
    /// Number of watches that are still refused as too old.
    pub gone_left: u32,
    /// Whether a log breaks off after its first line.
    pub breaks_logs: bool,
    /// Status with which applying is refused.
    pub refusal: Option<(u16, &'static str)>,
}

/// A fake cluster; clones share its state.
#[derive(Clone, Default)]
pub struct FakeCluster {
    state: Arc<Mutex<State>>,
    news: Arc<Notify>,
}

impl FakeCluster {
    /// Creates a cluster whose MPIJobs act as `script` says, one after another.
    pub fn new(script: &[Act]) -> Self {
        let cluster = FakeCluster::default();
        cluster.state().script = script.iter().copied().collect();
        cluster
    }

    /// Returns the backend for `work` in the namespace `team` of this cluster. It waits for nothing for long.
    pub fn backend(&self, work: Work) -> Kubernetes {
        let mut backend = Kubernetes::new(work).unwrap();
        let short = Duration::from_millis(600);
        backend.patience = Patience { loss: short, mending: short, settling: short, pending: 2 * short };
        let client = backend.runtime.block_on(async { self.client() });
        *backend.cluster.get_mut().unwrap() = Some(Cluster::new(client, "team", Duration::from_secs(3)));
        backend
    }

    /// Returns a client of this cluster. Must be called in a runtime.
    fn client(&self) -> Client {
        let (service, mut requests) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
        let cluster = self.clone();
        tokio::spawn(async move {
            while let Some((request, answer)) = requests.next_request().await {
                let cluster = cluster.clone();
                tokio::spawn(async move {
                    match cluster.answer(request).await {
                        Some(response) => answer.send_response(response),
                        None => answer.send_error("connection refused"),
                    }
                });
            }
        });
        Client::new(service, "team")
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Returns the names of the objects of `kind`.
    pub fn names(&self, kind: &str) -> Vec<String> {
        self.state().objects.keys().filter(|(of, _)| *of == kind).map(|(_, name)| name.clone()).collect()
    }

    /// Adds an object; all watches are told.
    pub fn put(&self, kind: &'static str, name: &str, mut object: Value) {
        let mut state = self.state();
        state.version += 1;
        object["metadata"]["name"] = name.into();
        object["metadata"]["resourceVersion"] = state.version.to_string().into();
        object["metadata"]["uid"] = format!("uid-of-{name}").into();
        let key = (kind, name.to_owned());
        let change = if state.objects.contains_key(&key) { "MODIFIED" } else { "ADDED" };
        let version = state.version;
        state.objects.insert(key, object.clone());
        state.changes.push((version, kind, json!({ "type": change, "object": object })));
        drop(state);
        self.news.notify_waiters();
    }

    fn remove(&self, kind: &'static str, name: &str) {
        let mut state = self.state();
        let Some(mut object) = state.objects.remove(&(kind, name.to_owned())) else { return };
        state.version += 1;
        object["metadata"]["resourceVersion"] = state.version.to_string().into();
        let version = state.version;
        state.changes.push((version, kind, json!({ "type": "DELETED", "object": object })));
        drop(state);
        self.news.notify_waiters();
    }

    /// Answers as the API server does; `None` where it is away.
    async fn answer(&self, request: Request<Body>) -> Option<Response<Body>> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let path = parts.uri.path().to_owned();
        let query: BTreeMap<String, String> = form(parts.uri.query().unwrap_or_default());
        {
            let mut state = self.state();
            state.requests.push(format!("{} {}", parts.method, parts.uri));
            if state.failures_left > 0 {
                state.failures_left -= 1;
                return None;
            }
        }
        let segments: Vec<&str> = path.split('/').skip_while(|segment| *segment != "namespaces").skip(1).collect();
        let kind = kind_of(segments[1]);
        Some(match (parts.method, &segments[2..]) {
            (Method::GET, [pod, "log"]) => self.log(pod, &query).await,
            (Method::GET, []) if query.contains_key("watch") => self.watch(kind, &query).await,
            (Method::GET, []) => self.list(kind, &query),
            (Method::GET, [name]) => match self.state().objects.get(&(kind, (*name).to_owned())) {
                Some(object) => json_response(200, object),
                None => refuse(404, "not found"),
            },
            (Method::PATCH, [name]) => self.apply(kind, name, serde_json::from_slice(&body).unwrap()),
            (Method::DELETE, [name]) => self.delete(kind, name),
            other => panic!("nobody asks this: {other:?}"),
        })
    }

    fn list(&self, kind: &'static str, query: &BTreeMap<String, String>) -> Response<Body> {
        let job = query.get("labelSelector").and_then(|selector| selector.strip_prefix(JOB_LABEL)?.strip_prefix('='));
        let begins = job.filter(|_| kind == "Pod").and_then(|job| Some((job, self.state().to_come.remove(job)?)));
        if let Some((job, act)) = begins {
            self.begin(job, act);
        }
        let state = self.state();
        let items: Vec<_> = state.objects.iter().filter(|((of, _), o)| *of == kind && fits(o, query)).collect();
        let items: Vec<_> = items.into_iter().map(|(_, object)| object).collect();
        let metadata = json!({ "resourceVersion": state.version.to_string() });
        json_response(200, &json!({ "apiVersion": "v1", "kind": "List", "metadata": metadata, "items": items }))
    }

    async fn watch(&self, kind: &'static str, query: &BTreeMap<String, String>) -> Response<Body> {
        let since: u64 = query["resourceVersion"].parse().unwrap();
        loop {
            let news = self.news.notified();
            {
                let mut state = self.state();
                if state.gone_left > 0 {
                    state.gone_left -= 1;
                    let status = json!({ "kind": "Status", "code": 410, "reason": "Expired", "status": "Failure",
                                         "message": "too old resource version" });
                    return json_response(200, &json!({ "type": "ERROR", "object": status }));
                }
                let is_news = |(version, of, change): &&(u64, &str, Value)| {
                    *version > since && *of == kind && fits(&change["object"], query)
                };
                let lines: String = state.changes.iter().filter(is_news).map(|(.., c)| format!("{c}\n")).collect();
                if !lines.is_empty() {
                    return Response::new(Body::from(lines.into_bytes()));
                }
            }
            news.await;
        }
    }

    /// Returns all lines since the second in `query`, each with its time.
    async fn log(&self, _pod: &str, query: &BTreeMap<String, String>) -> Response<Body> {
        let since: usize = query.get("sinceTime").map_or(0, |time| time[17..19].parse().unwrap());
        let state = self.state();
        // Ten lines a second.
        let lines = state.log.iter().enumerate().skip(10 * since);
        let lines = lines.map(|(n, line)| format!("2026-01-31T10:00:{:02}.{}Z {line}\n", n / 10, n % 10));
        let lines: Vec<String> = lines.collect();
        let is_first = query.get("sinceTime").is_none();
        let told = if state.breaks_logs && is_first { &lines[..1] } else { &lines[..] };
        Response::new(Body::from(told.concat().into_bytes()))
    }

    fn apply(&self, kind: &'static str, name: &str, object: Value) -> Response<Body> {
        if let Some((code, message)) = self.state().refusal {
            return refuse(code, message);
        }
        let is_new = !self.names(kind).contains(&name.to_owned());
        self.state().applied.push(object.clone());
        self.put(kind, name, object);
        if kind == "MPIJob" && is_new {
            let mut state = self.state();
            let act = state.script.pop_front().expect("the script has an act for every MPIJob");
            state.to_come.insert(name.to_owned(), act);
        }
        let object = self.state().objects[&(kind, name.to_owned())].clone();
        json_response(200, &object)
    }

    fn delete(&self, kind: &'static str, name: &str) -> Response<Body> {
        if !self.names(kind).contains(&name.to_owned()) {
            return refuse(404, "not found");
        }
        self.remove(kind, name);
        if kind == "MPIJob" {
            let (cluster, name) = (self.clone(), name.to_owned());
            tokio::spawn(async move { cluster.end_pods(&name).await });
        }
        json_response(200, &json!({ "kind": "Status", "apiVersion": "v1", "status": "Success" }))
    }

    /// Creates the pods of an MPIJob, as they are when its pods are first looked for.
    fn begin(&self, job: &str, act: Act) {
        match act {
            Act::Nothing => return,
            Act::NoImage => {
                let waiting = json!({ "reason": "ImagePullBackOff", "message": "Back-off pulling image \"convoy\"" });
                return self.pod(job, "worker-0", container(&json!({ "waiting": waiting })));
            }
            Act::NoNode => {
                let condition = json!({ "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                                        "message": "0/3 nodes are available: 3 Insufficient cpu." });
                return self.pod(job, "worker-0", json!({ "phase": "Pending", "conditions": [condition] }));
            }
            Act::GiveUp => {
                let condition = json!({ "type": "Failed", "status": "True", "reason": "MPIJobFailed",
                                        "message": "a quota is used up" });
                return self.put("MPIJob", job, json!({ "status": { "conditions": [condition] } }));
            }
            _ => {}
        }
        self.pod(job, "worker-0", running());
        self.pod(job, "worker-1", running());
        self.pod(job, "launcher", running());
        let (cluster, job) = (self.clone(), job.to_owned());
        tokio::spawn(async move { cluster.act(&job, act).await });
    }

    async fn act(&self, job: &str, act: Act) {
        // What the ranks' launcher prints is there at once, and is read in its own time.
        tokio::time::sleep(Duration::from_millis(20)).await;
        match act {
            Act::Exit(code) => self.pod(job, "launcher", ended(code, "Error")),
            Act::Evict => {
                let message = "The node was low on resource: memory.";
                self.pod(job, "worker-1", json!({ "phase": "Failed", "reason": "Evicted", "message": message }));
                self.pod(job, "launcher", ended(75, "Error"));
            }
            Act::DeleteWorker => {
                self.mark_deleted(job, "worker-1");
                self.pod(job, "launcher", ended(75, "Error"));
                self.remove("Pod", &format!("{job}-worker-1"));
            }
            Act::DeleteJob => {
                ["launcher", "worker-0", "worker-1"].into_iter().for_each(|pod| self.mark_deleted(job, pod));
                self.remove("MPIJob", job);
                self.end_pods(job).await;
            }
            Act::OutOfMemory => {
                // The end of one pod may be seen before the fate of another.
                self.pod(job, "launcher", ended(4, "Error"));
                tokio::time::sleep(Duration::from_millis(20)).await;
                self.pod(job, "worker-1", ended(137, "OOMKilled"));
            }
            _ => {}
        }
    }

    /// Does to the pods of an MPIJob what deleting it does.
    async fn end_pods(&self, job: &str) {
        let pods: Vec<_> = self.names("Pod").into_iter().filter(|name| name.starts_with(job)).collect();
        let launcher = format!("{job}-launcher");
        let is_running = {
            let state = self.state();
            let pod = state.objects.get(&("Pod", launcher.clone()));
            pod.is_some_and(|pod| !pod["status"]["containerStatuses"][0]["state"]["running"].is_null())
        };
        if is_running {
            self.pod(job, "launcher", ended(75, "Error"));
        }
        for pod in pods {
            self.remove("Pod", &pod);
        }
    }

    /// Marks a pod as deleted, which it is until it ends.
    fn mark_deleted(&self, job: &str, suffix: &str) {
        let name = format!("{job}-{suffix}");
        let mut pod = self.state().objects[&("Pod", name.clone())].clone();
        pod["metadata"]["deletionTimestamp"] = "2026-01-31T10:00:00Z".into();
        self.put("Pod", &name, pod);
    }

    fn pod(&self, job: &str, suffix: &str, status: Value) {
        let role = if suffix == "launcher" { "launcher" } else { "worker" };
        let metadata = json!({ "labels": { JOB_LABEL: job, ROLE_LABEL: role } });
        self.put("Pod", &format!("{job}-{suffix}"), json!({ "metadata": metadata, "status": status }));
    }

    /// Sets the lines that the ranks' launcher prints.
    pub fn prints(&self, lines: &[&str]) {
        self.state().log = lines.iter().map(|line| (*line).to_owned()).collect();
    }
}

fn running() -> Value {
    container(&json!({ "running": {} }))
}

fn ended(code: i32, reason: &str) -> Value {
    container(&json!({ "terminated": { "exitCode": code, "reason": reason } }))
}

fn container(state: &Value) -> Value {
    let status = json!({ "name": "convoy", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
                         "state": state });
    json!({ "phase": "Pending", "containerStatuses": [status] })
}

fn kind_of(plural: &str) -> &'static str {
    match plural {
        "mpijobs" => "MPIJob",
        "pods" => "Pod",
        "configmaps" => "ConfigMap",
        "poddisruptionbudgets" => "PodDisruptionBudget",
        "networkpolicies" => "NetworkPolicy",
        "jobs" => "Job",
        other => panic!("nobody asks for {other}"),
    }
}

/// Returns whether an object is one that a list or a watch with `query` asks for.
fn fits(object: &Value, query: &BTreeMap<String, String>) -> bool {
    let by_label = query.get("labelSelector").and_then(|selector| selector.split_once('='));
    let by_name = query.get("fieldSelector").and_then(|selector| selector.strip_prefix("metadata.name="));
    by_label.is_none_or(|(key, value)| object["metadata"]["labels"][key] == *value)
        && by_name.is_none_or(|name| object["metadata"]["name"] == *name)
}

fn form(query: &str) -> BTreeMap<String, String> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let decoded = |text: &str| text.replace("%2F", "/").replace("%3D", "=").replace("%3A", ":");
    pairs.map(|(key, value)| (key.to_owned(), decoded(value))).collect()
}

fn json_response(code: u16, body: &Value) -> Response<Body> {
    let code = StatusCode::from_u16(code).unwrap();
    Response::builder().status(code).body(Body::from(format!("{body}\n").into_bytes())).unwrap()
}

fn refuse(code: u16, message: &str) -> Response<Body> {
    let reason = if code == 404 { "NotFound" } else { "Refused" };
    json_response(
        code,
        &json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
                                 "reason": reason, "message": message }),
    )
}
