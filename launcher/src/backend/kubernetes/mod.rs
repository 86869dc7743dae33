//! Ranks in a Kubernetes cluster with the MPI operator: an MPIJob for each attempt.
//!
//! The operator gives an MPIJob up for good when a worker pod is evicted, so something outside has to make the next one: this
//! launcher, at a desk or as a Job in the cluster ([`Kubernetes::detach`]). It claims the attempts. In the MPIJob's launcher
//! pod, `launcher train --backend mpirun` runs one attempt ([`manifests::ATTEMPT_VARIABLE`]) and prints what happens for this
//! launcher to read ([`crate::backend::relay`]).
//!
//! A stop deletes the MPIJob: all its pods are notified, upon which the ranks save and stop. The log and the exit code of the
//! launcher pod tell how that went. A supervisor in the cluster therefore needs no right to delete pods or to run programs in
//! them.
//!
//! An evaluation and a prepare job are an MPIJob for each attempt, too, with `launcher eval --backend mpirun`, or `prepare`, in the
//! launcher pod. Nobody claims them.
//!
//! - [`work`] is what the ranks do; [`manifests`] turns it into objects; [`cluster`] applies and deletes them.
//! - [`follow`] and [`log`] see what the pods do and print; [`pods`] and [`picture`] say what that means.

mod cluster;
#[cfg(test)]
pub mod fake_cluster;
mod follow;
mod log;
pub mod manifests;
mod picture;
mod pods;
#[cfg(test)]
mod tests;
pub mod work;

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use common::attempt::{Claim, handed};
use common::exit_code::ExitCode;
use common::random::random_hex;
use common::storage::Folder;
use common::topology::WorldSize;
use common::worker_contract::ToRank;
use nix::sys::signal::Signal;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::placement::Placement;
use super::{AttemptStart, Backend, Ranks};
use crate::cause::evidence::ProcessEnd;
use crate::error::LaunchError;
use crate::event::Event;
use cluster::{Cluster, check_label};
use follow::{End, Follower, Order};
use picture::Patience;
use work::Work;

/// How long the end of an attempt waits for the API server.
const END_PATIENCE: Duration = Duration::from_secs(30);
/// How long a start that is given up waits for the API server.
const TAKE_BACK_PATIENCE: Duration = Duration::from_secs(1);

/// A cluster, and the work that has an MPIJob in it.
pub struct Kubernetes {
    work: Work,
    /// What this launcher's attempts at work that nobody claims have in their names.
    tag: String,
    runtime: Runtime,
    /// The cluster, connected to when it is first needed: rendering needs none.
    cluster: Mutex<Option<Cluster>>,
    /// The run folder, opened when it is first needed.
    run: Option<Folder>,
    patience: Patience,
}

impl Kubernetes {
    /// Creates the backend for `work`.
    pub fn new(work: Work) -> Result<Self, LaunchError> {
        // What cannot be rendered is refused before anything is claimed.
        manifests::ranks(&work, None)?;
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build().map_err(LaunchError::system("start threads"))?;
        let pending = match work.kubernetes().pending_timeout_s {
            0 => Duration::MAX,
            seconds => Duration::from_secs(seconds),
        };
        let patience = Patience {
            loss: Duration::from_secs(work.launch().grace_s + manifests::GRACE_MARGIN_S),
            mending: Duration::from_secs(120),
            settling: Duration::from_secs(10),
            pending,
        };
        Ok(Kubernetes { work, tag: random_hex(), runtime, cluster: Mutex::new(None), run: None, patience })
    }

    fn cluster(&self) -> Result<Cluster, LaunchError> {
        let mut cluster = self.cluster.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cluster) = cluster.as_ref() {
            return Ok(cluster.clone());
        }
        let patience = Duration::from_secs(self.work.storage().deadline_s);
        let found = self.runtime.block_on(Cluster::connect(&self.work.kubernetes().namespace, patience))?;
        Ok(cluster.insert(found).clone())
    }

    /// Applies a Job that does in the cluster what this launcher would do here. Returns a message that says what was done.
    pub fn detach(&self) -> Result<String, LaunchError> {
        let objects = manifests::supervisor(&self.work)?;
        let cluster = self.cluster()?;
        let name = objects[0]["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        self.runtime.block_on(async {
            make_room(&cluster, &name, &self.work.label()).await?;
            cluster.apply(objects).await
        })?;
        let namespace = cluster.namespace();
        let what = match self.work {
            Work::Training { .. } | Work::Evaluation { .. } => "the run",
            Work::Preparing { .. } => "the prepare job",
        };
        Ok(format!(
            "{what} goes on in the cluster, supervised by Job {name} in namespace {namespace}\n  \
             follow      kubectl logs --namespace {namespace} --follow job/{name}\n  \
             end         kubectl delete --namespace {namespace} job/{name}"
        ))
    }
}

/// Deletes the supervisor `name` if it has `label` and has ended, since a Job runs once. One that still works, or that belongs to
/// something else, is left alone, and is an error.
async fn make_room(cluster: &Cluster, name: &str, label: &str) -> Result<(), LaunchError> {
    let jobs = cluster.jobs();
    let operation = format!("start Job {name} in namespace {}", cluster.namespace());
    let failure = |reason: &str| LaunchError::Cluster {
        operation: operation.clone(),
        reason: reason.to_owned(),
        code: ExitCode::Config,
    };
    for _ in 0..60 {
        let there = cluster.persist(&format!("look up Job {name}"), || jobs.get_opt(name)).await?;
        let Some(job) = there else { return Ok(()) };
        check_label(&operation, &job, Some(label))?;
        let mut conditions = job.data["status"]["conditions"].as_array().into_iter().flatten();
        let is_over = |kind: &str| kind == "Complete" || kind == "Failed";
        let has_ended = conditions.any(|c| c["type"].as_str().is_some_and(is_over) && c["status"] == "True");
        if !has_ended && job.metadata.deletion_timestamp.is_none() {
            return Err(failure("it is at work already"));
        }
        cluster.delete(&jobs, name).await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Err(failure("one that has ended does not go; look at it with kubectl describe"))
}

/// Waits until `flag` is set, and then one second more, which the awaited task may still need.
async fn is_set(flag: &AtomicBool) {
    while !flag.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
}

/// Deletes the MPIJob `name`, which may or may not have reached the API server when somebody asked to stop. Returns the error
/// to report.
async fn take_back(cluster: &Cluster, name: &str) -> LaunchError {
    let jobs = cluster.mpi_jobs();
    let is_deleted = tokio::time::timeout(TAKE_BACK_PATIENCE, cluster.delete(&jobs, name)).await;
    let reason = match is_deleted {
        Ok(Ok(())) => "it was stopped before the API server had answered".to_owned(),
        _ => format!(
            "it was stopped, and the API server does not answer; should it have heard of the MPIJob, then end it with \
             kubectl delete --namespace {} mpijob {name}",
            cluster.namespace()
        ),
    };
    LaunchError::Cluster { operation: format!("start MPIJob {name}"), reason, code: ExitCode::Stopped }
}

impl Backend for Kubernetes {
    fn render(&self) -> Result<String, LaunchError> {
        Ok(manifests::to_yaml(&manifests::ranks(&self.work, None)?))
    }

    fn place(&self) -> Result<Placement, LaunchError> {
        let world_size = WorldSize::new(self.work.launch().ranks).unwrap_or(WorldSize::ONE);
        Ok(Placement {
            world_size,
            threads_per_rank: manifests::threads_per_rank(&self.work),
            // The launcher beside the ranks knows the cores of its hosts.
            is_bound: false,
            hosts: Vec::new(),
            room: world_size.get(),
            left_out: Vec::new(),
        })
    }

    /// Returns loopback: ranks connect to the launcher beside them, so nobody needs to reach this one.
    fn control_address(&self, _placement: &Placement) -> Result<IpAddr, LaunchError> {
        Ok(Ipv4Addr::LOCALHOST.into())
    }

    fn gives_way(&self) -> bool {
        true
    }

    fn start(&self, start: &AttemptStart<'_>, events: &Sender<Event>) -> Result<Box<dyn Ranks>, LaunchError> {
        let id = match self.work {
            Work::Training { .. } => start.start_line.map(|line| line.claim_id.clone()).unwrap_or_default(),
            Work::Evaluation { .. } | Work::Preparing { .. } => self.tag.clone(),
        };
        let claim = Claim { number: start.number, id };
        let objects = manifests::ranks(&self.work, Some(&claim))?;
        let cluster = self.cluster()?;
        let name = objects[0]["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let label = self.work.label();
        let applied = async {
            let others = cluster.delete_others(&label, &name).await?;
            cluster.apply(objects).await?;
            Ok::<_, LaunchError>(others)
        };
        let others = self.runtime.block_on(async {
            tokio::select! {
                applied = applied => applied,
                () = is_set(start.gives_up) => Err(take_back(&cluster, &name).await),
            }
        })?;
        let mut notices: Vec<_> =
            others.iter().map(|other| format!("MPIJob {other} of an earlier attempt is deleted")).collect();
        notices.push(format!("MPIJob {name} applied in namespace {}", cluster.namespace()));
        for text in notices {
            let _ = events.send(Event::Notice { text });
        }
        let (orders, ordered) = unbounded_channel();
        let end = End::default();
        let follower = Follower {
            cluster: cluster.clone(),
            name: name.clone(),
            patience: self.patience,
            events: events.clone(),
            orders: ordered,
            end: end.clone(),
        };
        self.runtime.spawn(follower.follow());
        let run = match (&self.work, &self.run) {
            (Work::Evaluation { .. } | Work::Preparing { .. }, _) => None,
            (Work::Training { .. }, Some(run)) => Some(run.clone()),
            (Work::Training { config, .. }, None) => Some(Folder::open(&config.run.output, &config.storage)?),
        };
        let handle = self.runtime.handle().clone();
        Ok(Box::new(Pods { handle, cluster, name, claim, run, orders, end, is_deleted: false }))
    }
}

/// The pods of an attempt.
struct Pods {
    handle: tokio::runtime::Handle,
    cluster: Cluster,
    /// Name of the MPIJob.
    name: String,
    claim: Claim,
    /// The run folder; `None` for work of which nothing can be asked.
    run: Option<Folder>,
    orders: UnboundedSender<Order>,
    end: End,
    is_deleted: bool,
}

impl Pods {
    fn order(&self, order: Order) {
        // The task may have ended by itself.
        let _ = self.orders.send(order);
    }

    /// Deletes the MPIJob. Where that fails, the next attempt deletes it.
    fn delete(&mut self) {
        if std::mem::replace(&mut self.is_deleted, true) {
            return;
        }
        let jobs = self.cluster.mpi_jobs();
        let deleted = self.cluster.delete(&jobs, &self.name);
        let deleted = self.handle.block_on(async { tokio::time::timeout(END_PATIENCE, deleted).await });
        match deleted {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!("{error}"),
            Err(_) => tracing::warn!("MPIJob {} could not be deleted: the API server does not answer", self.name),
        }
    }
}

impl Ranks for Pods {
    fn signal(&self, _signal: Signal) {}

    fn are_watched_elsewhere(&self) -> bool {
        true
    }

    fn pass_on(&self, request: ToRank) {
        match request {
            ToRank::Stop => self.order(Order::Stop),
            // The launcher beside the ranks welcomes them, and asks for stacks when they do not advance.
            ToRank::Welcome | ToRank::Stacks => {}
            ToRank::Save => {
                let (Some(run), claim) = (self.run.clone(), self.claim.clone()) else { return };
                // The store may not answer, and the thread that watches the attempt must not wait for it.
                self.handle.spawn_blocking(move || {
                    if let Err(error) = handed::pass_on_save(&run, &claim) {
                        tracing::warn!("a checkpoint was asked for, but the ranks cannot be told: {error}");
                    }
                });
            }
        }
    }

    fn have_ended(&mut self) -> bool {
        self.end.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn kill(&mut self) {
        self.delete();
        self.order(Order::GiveUp);
    }

    fn finish(&mut self) -> io::Result<ProcessEnd> {
        self.kill();
        let end = *self.end.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(end.unwrap_or(ProcessEnd::Status(ExitCode::Communication.number().into())))
    }
}

impl Drop for Pods {
    fn drop(&mut self) {
        self.delete();
    }
}
