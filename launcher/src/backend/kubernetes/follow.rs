//! Follows one attempt in a cluster, from its MPIJob's creation to its end: a task watches the pods and the MPIJob, reads
//! what the ranks' launcher prints, and sends what matters as events.

use std::collections::BTreeSet;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::DynamicObject;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, watcher};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::watch;

use super::cluster::Cluster;
use super::log::Log;
use super::manifests::JOB_LABEL;
use super::picture::{Over, Patience, Picture};
use crate::backend::relay;
use crate::cause::evidence::ProcessEnd;
use crate::event::Event;

/// How often the clock is read.
const TICK: Duration = Duration::from_millis(200);

/// An order to the task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Delete the MPIJob: its pods are notified, and the ranks save and stop.
    Stop,
    /// Wait no longer.
    GiveUp,
}

/// How the attempt ended; `None` until then.
pub type End = Arc<Mutex<Option<ProcessEnd>>>;

type Watched<K> = watcher::Result<watcher::Event<K>>;

/// The task that follows an attempt until it is over.
pub struct Follower {
    /// Cluster in which the attempt runs.
    pub cluster: Cluster,
    /// Name of the attempt's MPIJob.
    pub name: String,
    /// How long to wait for each thing that may still happen.
    pub patience: Patience,
    /// Receiver of the attempt's events.
    pub events: Sender<Event>,
    /// Orders to the task.
    pub orders: UnboundedReceiver<Order>,
    /// How the attempt ended, once it has.
    pub end: End,
}

impl Follower {
    /// Follows the attempt to its end.
    pub async fn follow(mut self) {
        let mut picture = Picture::new(Instant::now());
        let over = self.watch(&mut picture).await;
        if let Some(cause) = over.and_then(|over| picture.cause(&over)) {
            self.send(Event::Ended { cause });
        }
        // No event comes after that.
        let Follower { end, events, .. } = self;
        drop(events);
        *end.lock().unwrap_or_else(PoisonError::into_inner) = Some(picture.process());
    }

    /// Watches until the attempt is over, and returns why; `None` where an order ends the wait.
    async fn watch(&mut self, picture: &mut Picture) -> Option<Over> {
        // Both watchers continue where a watch ends, list anew where the API server has forgotten, and wait while it is away.
        let pods = watcher::Config::default().labels(&format!("{JOB_LABEL}={}", self.name));
        let mut pods = watcher(self.cluster.pods(), pods).default_backoff().boxed();
        let job = watcher::Config::default().fields(&format!("metadata.name={}", self.name));
        let mut jobs = watcher(self.cluster.mpi_jobs(), job).default_backoff().boxed();
        let (ended, has_ended) = watch::channel(false);
        let (lines, mut printed) = unbounded_channel::<String>();
        let mut lines = Some(lines);
        let (mut listed, mut is_away) = (BTreeSet::new(), false);
        let mut ticks = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                Some(event) = pods.next() => {
                    self.say_if_away(&event, &mut is_away);
                    self.on_pod(event, picture, &mut listed);
                }
                Some(event) = jobs.next() => on_job(event, picture),
                line = printed.recv(), if !picture.are_logs_read => match line {
                    Some(line) => self.on_line(&line, picture),
                    None => picture.are_logs_read = true,
                },
                order = self.orders.recv() => match order {
                    Some(Order::Stop) => self.stop(picture),
                    Some(Order::GiveUp) | None => return None,
                },
                _ = ticks.tick() => {}
            }
            ended.send_replace(picture.has_ended());
            if let Some(pod) = picture.launcher()
                && let Some(lines) = lines.take()
            {
                let log = Log { pods: self.cluster.pods(), pod: pod.to_owned(), has_ended: has_ended.clone() };
                tokio::spawn(log.read(lines));
            }
            if let Some(over) = picture.over(&self.patience, Instant::now()) {
                return Some(over);
            }
        }
    }

    fn on_pod(&self, event: Watched<Pod>, picture: &mut Picture, listed: &mut BTreeSet<String>) {
        let seen = match event {
            Ok(watcher::Event::Apply(pod)) => pod,
            Ok(watcher::Event::InitApply(pod)) => {
                listed.insert(pod.name_any());
                pod
            }
            Ok(watcher::Event::Delete(pod)) => {
                self.see(&pod, picture);
                return picture.lose_pod(&pod);
            }
            Ok(watcher::Event::Init) => return listed.clear(),
            Ok(watcher::Event::InitDone) => return picture.keep_pods(listed),
            Err(_) => return,
        };
        self.see(&seen, picture);
    }

    fn see(&self, pod: &Pod, picture: &mut Picture) {
        if let Some(text) = picture.see_pod(pod, Instant::now()) {
            self.send(Event::Notice { text });
        }
    }

    fn on_line(&self, line: &str, picture: &mut Picture) {
        match relay::parse(line) {
            // The cause is weighed against what happened to the pods.
            Event::Ended { cause } => picture.relayed = Some(cause),
            event => self.send(event),
        }
    }

    fn stop(&self, picture: &mut Picture) {
        picture.is_stopping = true;
        let (cluster, name, events) = (self.cluster.clone(), self.name.clone(), self.events.clone());
        tokio::spawn(async move {
            if let Err(error) = cluster.delete(&cluster.mpi_jobs(), &name).await {
                let _ = events.send(Event::Notice { text: error.to_string() });
            }
        });
    }

    /// Tells a person once that the API server does not answer, and once when it answers again.
    fn say_if_away<K>(&self, event: &Watched<K>, is_away: &mut bool) {
        let is_away_now = match event {
            Err(watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error)) => {
                tracing::warn!("cannot watch the pods: {error}");
                true
            }
            Err(_) => return,
            Ok(_) => false,
        };
        if std::mem::replace(is_away, is_away_now) != is_away_now {
            let text = match is_away_now {
                true => "the API server does not answer; the run goes on without being seen",
                false => "the API server answers again",
            };
            self.send(Event::Notice { text: text.to_owned() });
        }
    }

    /// Sends `event`. Nobody listens any more once an attempt has been given up.
    fn send(&self, event: Event) {
        let _ = self.events.send(event);
    }
}

fn on_job(event: Watched<DynamicObject>, picture: &mut Picture) {
    match event {
        Ok(watcher::Event::Apply(job) | watcher::Event::InitApply(job)) => picture.see_job(&job, Instant::now()),
        Ok(watcher::Event::Delete(_)) => picture.lose_job(),
        Ok(watcher::Event::Init) => picture.expect_job(),
        Ok(watcher::Event::InitDone) => picture.lose_job_if_unseen(),
        Err(_) => {}
    }
}
