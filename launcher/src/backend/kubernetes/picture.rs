//! The known state of an attempt's pods and of its MPIJob, and what it means when the attempt is over. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use common::exit_code::ExitCode;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::DynamicObject;

use super::pods::{PodView, Trouble};
use crate::cause::Cause;
use crate::cause::evidence::ProcessEnd;

/// How long to wait for what may resolve itself.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Wait for the ranks' launcher to end after a pod was lost, or after the operator gave the MPIJob up: ranks that were
    /// notified may still save.
    pub loss: Duration,
    /// Wait for an image that can be pulled, or for a Secret.
    pub mending: Duration,
    /// Wait, after the ranks' launcher has ended, for the rest of its output and for news of other pods.
    pub settling: Duration,
    /// Wait for the ranks' launcher to start.
    pub pending: Duration,
}

/// Why an attempt is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Over {
    /// The ranks' launcher has ended.
    Ended,
    /// A pod was lost, and the ranks' launcher did not end.
    Lost,
    /// A pod cannot be started.
    NotStartable,
    /// Pods waited for too long.
    Pending,
    /// The operator has given the MPIJob up; holds its words.
    Failed(String),
    /// The MPIJob and its pods are gone.
    Gone,
}

/// Everything known about an attempt in a cluster.
pub struct Picture {
    started: Instant,
    pods: BTreeMap<String, PodView>,
    has_started: bool,
    /// Exit code of the ranks' launcher, and when it became known.
    exit: Option<(i32, Instant)>,
    /// The first pod that was lost.
    loss: Option<(String, Trouble, Instant)>,
    /// Since when some pod cannot be started.
    not_startable: Option<Instant>,
    /// What the operator says about the failed MPIJob, and when it became known.
    failed: Option<(String, Instant)>,
    is_job_gone: bool,
    /// Whether the MPIJob has appeared in the listing in progress.
    is_job_listed: bool,
    /// Cause of the end as the ranks' launcher reports it.
    pub relayed: Option<Cause>,
    /// Whether somebody has asked for the end.
    pub is_stopping: bool,
    /// Whether all output of the ranks' launcher has been read.
    pub are_logs_read: bool,
}

impl Picture {
    /// Creates a picture in which nothing is known yet.
    pub fn new(now: Instant) -> Self {
        Picture {
            started: now,
            pods: BTreeMap::new(),
            has_started: false,
            exit: None,
            loss: None,
            not_startable: None,
            failed: None,
            is_job_gone: false,
            is_job_listed: false,
            relayed: None,
            is_stopping: false,
            are_logs_read: false,
        }
    }

    /// Records the state of a pod. Returns a message for a person where the pod has a new trouble.
    pub fn see_pod(&mut self, pod: &Pod, now: Instant) -> Option<String> {
        let view = PodView::of(pod);
        if view.is_launcher {
            self.has_started |= view.has_started;
            self.exit = self.exit.or(view.exit_code.map(|code| (code, now)));
        }
        let lost = view.trouble.as_ref().filter(|trouble| self.is_loss(&view, trouble));
        let is_loss = lost.is_some();
        if let Some(trouble) = lost {
            self.loss.get_or_insert_with(|| (view.name.clone(), trouble.clone(), now));
        }
        let before = self.pods.insert(view.name.clone(), view.clone());
        let blocks = |pod: &PodView| pod.trouble.as_ref().is_some_and(Trouble::needs_mending);
        let is_blocked = self.pods.values().any(blocks);
        self.not_startable = if is_blocked { self.not_startable.or(Some(now)) } else { None };
        let kind = |pod: &PodView| pod.trouble.as_ref().map(std::mem::discriminant);
        let is_new = before.as_ref().and_then(kind) != kind(&view);
        let is_expected = |trouble: &Trouble| match trouble {
            Trouble::Ended(..) => true,
            Trouble::Deleted => !is_loss,
            _ => false,
        };
        let trouble = view.trouble.filter(|trouble| is_new && !is_expected(trouble))?;
        Some(format!("pod {} {trouble}: {}", view.name, trouble.details()))
    }

    /// Returns whether the attempt is lost with this pod. A pod that ends after the ranks' launcher, or once somebody asked
    /// to stop, is no loss.
    fn is_loss(&self, pod: &PodView, trouble: &Trouble) -> bool {
        let ends_by_itself = match trouble {
            Trouble::Ended(..) => pod.is_launcher || self.exit.is_some(),
            Trouble::Deleted => self.exit.is_some(),
            _ => false,
        };
        trouble.is_loss() && !ends_by_itself && !self.is_stopping && !self.is_job_gone
    }

    /// Returns the first pod that was lost. Pods that were deleted with their MPIJob are no loss: somebody has stopped the
    /// run.
    fn loss(&self) -> Option<&(String, Trouble, Instant)> {
        self.loss.as_ref().filter(|(_, trouble, _)| *trouble != Trouble::Deleted || !self.is_job_gone)
    }

    /// Records that a pod is gone.
    pub fn lose_pod(&mut self, pod: &Pod) {
        self.pods.remove(&pod.name_any());
    }

    /// Records that only pods with `names` are left: others may have gone unseen.
    pub fn keep_pods(&mut self, names: &BTreeSet<String>) {
        self.pods.retain(|name, _| names.contains(name));
    }

    /// Records the state of the MPIJob.
    pub fn see_job(&mut self, job: &DynamicObject, now: Instant) {
        self.is_job_listed = true;
        let conditions = job.data["status"]["conditions"].as_array().into_iter().flatten();
        let mut failed = conditions.filter(|condition| condition["type"] == "Failed" && condition["status"] == "True");
        if let (Some(condition), None) = (failed.next(), &self.failed) {
            let text = |key: &str| condition[key].as_str().unwrap_or_default();
            self.failed = Some((format!("{}: {}", text("reason"), text("message")), now));
        }
    }

    /// Records that the MPIJob is gone.
    pub fn lose_job(&mut self) {
        self.is_job_gone = true;
    }

    /// Records that MPIJobs are about to be listed.
    pub fn expect_job(&mut self) {
        self.is_job_listed = false;
    }

    /// Records that all MPIJobs have been listed.
    pub fn lose_job_if_unseen(&mut self) {
        self.is_job_gone |= !self.is_job_listed;
    }

    /// Returns the pod of the ranks' launcher, once it has started and has a log.
    pub fn launcher(&self) -> Option<&str> {
        let mut pods = self.pods.values();
        pods.find(|pod| pod.is_launcher && pod.has_started).map(|pod| pod.name.as_str())
    }

    /// Returns whether the ranks' launcher has ended.
    pub fn has_ended(&self) -> bool {
        self.exit.is_some()
    }

    /// Returns why the attempt is over; `None` while more is to be expected.
    pub fn over(&self, patience: &Patience, now: Instant) -> Option<Over> {
        let for_long = |since: Instant, patience: Duration| now.duration_since(since) >= patience;
        if let Some((code, at)) = self.exit {
            // An exit code that is worth a restart may be explained by what happened to the other pods.
            let may_be_explained = ExitCode::from_number(code).is_worth_a_restart() && self.loss().is_none();
            let is_read = self.are_logs_read && !may_be_explained;
            return (is_read || for_long(at, patience.settling)).then_some(Over::Ended);
        }
        if self.is_job_gone && self.pods.is_empty() {
            return Some(Over::Gone);
        }
        if self.is_stopping {
            return None;
        }
        let is_launcher_gone = self.has_started && !self.pods.values().any(|pod| pod.is_launcher);
        match (self.loss(), &self.failed) {
            // The launcher pod is gone and cannot report any more how it ended.
            (Some(_), _) if is_launcher_gone => return Some(Over::Lost),
            (Some((.., at)), _) if for_long(*at, patience.loss) => return Some(Over::Lost),
            (_, Some((why, at))) if for_long(*at, patience.loss) => return Some(Over::Failed(why.clone())),
            _ => {}
        }
        if self.not_startable.is_some_and(|since| for_long(since, patience.mending)) {
            return Some(Over::NotStartable);
        }
        (!self.has_started && for_long(self.started, patience.pending)).then_some(Over::Pending)
    }

    /// Returns how the process that stands for the attempt ended.
    pub fn process(&self) -> ProcessEnd {
        ProcessEnd::Status(self.exit.map_or(i32::from(ExitCode::Communication.number()), |(code, _)| code))
    }

    /// Returns why the attempt ended, where more is known than [`Picture::process`] says.
    pub fn cause(&self, over: &Over) -> Option<Cause> {
        let exit = self.exit.map(|(code, _)| ExitCode::from_number(code));
        match exit {
            Some(ExitCode::Done) => return None,
            Some(ExitCode::Config | ExitCode::Data | ExitCode::Numeric | ExitCode::Bug) => return self.relayed.clone(),
            // An evicted or deleted pod has the ranks save and stop, although nobody asked for that.
            Some(ExitCode::Stopped) if self.is_stopping || self.loss().is_none() => return None,
            _ => {}
        }
        let lost = |headline: String, message: String| Cause::new(ExitCode::Communication, None, headline, &message);
        if self.is_stopping && !self.has_started {
            return Some(Cause::new(ExitCode::Stopped, None, "stopped before a rank had started", ""));
        }
        if let Some((pod, trouble, _)) = self.loss() {
            // Ranks save and stop upon a notice, so that they did explains nothing.
            let relayed = self.relayed.as_ref().filter(|cause| cause.code != ExitCode::Stopped);
            let said = relayed.map(|cause| format!("\n{}\n{}", cause.headline, cause.message));
            return Some(lost(
                format!("pod {pod} {trouble}"),
                trouble.details().to_owned() + &said.unwrap_or_default(),
            ));
        }
        if let Some(relayed) = self.relayed.as_ref().filter(|_| exit.is_some() || *over == Over::Gone) {
            return Some(relayed.clone());
        }
        match over {
            Over::Failed(why) => Some(lost("the MPI operator gave the MPIJob up".into(), why.clone())),
            Over::Gone if self.is_stopping => {
                Some(lost("the pods were gone before they said how it ended".into(), String::new()))
            }
            Over::Gone => Some(lost("the MPIJob was deleted".into(), "not by this launcher".into())),
            Over::Pending => Some(lost("the pods did not start in time".into(), self.what_is_waited_for())),
            Over::NotStartable => {
                let mut stuck = self.pods.values().filter_map(|pod| Some((&pod.name, pod.trouble.as_ref()?)));
                let (pod, trouble) = stuck.find(|(_, trouble)| trouble.needs_mending())?;
                Some(Cause::new(ExitCode::Config, None, format!("pod {pod} {trouble}"), trouble.details()))
            }
            Over::Ended | Over::Lost => None,
        }
    }

    /// Returns a line for each waiting pod, for at most five.
    fn what_is_waited_for(&self) -> String {
        let waiting = self.pods.values().filter_map(|pod| {
            let trouble = pod.trouble.as_ref()?;
            Some(format!("pod {} {trouble}: {}", pod.name, trouble.details()))
        });
        let waiting: Vec<_> = waiting.take(5).collect();
        match (waiting.is_empty(), self.pods.is_empty()) {
            (false, _) => waiting.join("\n"),
            (true, true) => "there are none: does the MPI operator run, and has it events about the MPIJob?".into(),
            (true, false) => "kubectl describe tells what they wait for".into(),
        }
    }
}
