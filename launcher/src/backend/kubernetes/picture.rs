//! What is known of an attempt's pods and of its MPIJob, and what it means when it is over. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use common::exit_code::ExitCode;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::DynamicObject;

use super::pods::{PodView, Trouble};
use crate::cause::Cause;
use crate::cause::evidence::ProcessEnd;

/// How long what may mend itself is waited for.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Until the ranks' launcher ends after one of the pods was lost, or after the operator gave the MPIJob up: ranks that got a
    /// notice may still save.
    pub loss: Duration,
    /// Until an image can be pulled, or a Secret is there.
    pub mending: Duration,
    /// For what was said, and befell other pods, before the ranks' launcher ended.
    pub settling: Duration,
    /// Until the ranks' launcher starts.
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
    /// The operator has given the MPIJob up; what it says.
    Failed(String),
    /// The MPIJob and its pods are gone.
    Gone,
}

/// What is known.
pub struct Picture {
    started: Instant,
    pods: BTreeMap<String, PodView>,
    has_started: bool,
    /// What the ranks' launcher returned, and since when that is known.
    exit: Option<(i32, Instant)>,
    /// The first pod that was lost.
    loss: Option<(String, Trouble, Instant)>,
    /// Since when some pod cannot be started.
    not_startable: Option<Instant>,
    /// What the operator says about the failed MPIJob.
    failed: Option<(String, Instant)>,
    is_job_gone: bool,
    /// Whether the MPIJob has come up in the listing that is under way.
    is_job_listed: bool,
    /// What the ranks' launcher says about the end.
    pub relayed: Option<Cause>,
    /// Whether somebody has asked for the end.
    pub is_stopping: bool,
    /// Whether all that the ranks' launcher printed has been read.
    pub are_logs_read: bool,
}

impl Picture {
    /// Nothing is known yet.
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

    /// Notes the state of a pod; what it says is worth telling a person where it is new.
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

    /// Whether the attempt is lost with this pod. What ends after the ranks' launcher, or since somebody asked, is no loss.
    fn is_loss(&self, pod: &PodView, trouble: &Trouble) -> bool {
        let ends_by_itself = match trouble {
            Trouble::Ended(..) => pod.is_launcher || self.exit.is_some(),
            Trouble::Deleted => self.exit.is_some(),
            _ => false,
        };
        trouble.is_loss() && !ends_by_itself && !self.is_stopping && !self.is_job_gone
    }

    /// The first pod that was lost. Pods that were deleted with their MPIJob are no loss: somebody has stopped the run.
    fn loss(&self) -> Option<&(String, Trouble, Instant)> {
        self.loss.as_ref().filter(|(_, trouble, _)| *trouble != Trouble::Deleted || !self.is_job_gone)
    }

    /// Notes that a pod is gone, after what it said last.
    pub fn lose_pod(&mut self, pod: &Pod) {
        self.pods.remove(&pod.name_any());
    }

    /// Notes the pods that there still are, where others may have gone unseen.
    pub fn keep_pods(&mut self, names: &BTreeSet<String>) {
        self.pods.retain(|name, _| names.contains(name));
    }

    /// Notes the state of the MPIJob.
    pub fn see_job(&mut self, job: &DynamicObject, now: Instant) {
        self.is_job_listed = true;
        let conditions = job.data["status"]["conditions"].as_array().into_iter().flatten();
        let mut failed = conditions.filter(|condition| condition["type"] == "Failed" && condition["status"] == "True");
        if let (Some(condition), None) = (failed.next(), &self.failed) {
            let text = |key: &str| condition[key].as_str().unwrap_or_default();
            self.failed = Some((format!("{}: {}", text("reason"), text("message")), now));
        }
    }

    /// Notes that the MPIJob is gone.
    pub fn lose_job(&mut self) {
        self.is_job_gone = true;
    }

    /// Notes that MPIJobs are about to be listed.
    pub fn expect_job(&mut self) {
        self.is_job_listed = false;
    }

    /// Notes that all have been listed.
    pub fn lose_job_if_unseen(&mut self) {
        self.is_job_gone |= !self.is_job_listed;
    }

    /// The pod whose log is the ranks' launcher's, once it has one.
    pub fn launcher(&self) -> Option<&str> {
        let mut pods = self.pods.values();
        pods.find(|pod| pod.is_launcher && pod.has_started).map(|pod| pod.name.as_str())
    }

    /// Whether the ranks' launcher has ended.
    pub fn has_ended(&self) -> bool {
        self.exit.is_some()
    }

    /// Whether nothing more is to be expected, and why.
    pub fn over(&self, patience: &Patience, now: Instant) -> Option<Over> {
        let for_long = |since: Instant, patience: Duration| now.duration_since(since) >= patience;
        if let Some((code, at)) = self.exit {
            // A restart is worth knowing what befell the other pods.
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
            // It will not say any more how it ended.
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

    /// How the process ended that stands for the attempt.
    pub fn process(&self) -> ProcessEnd {
        ProcessEnd::Status(self.exit.map_or(i32::from(ExitCode::Communication.number()), |(code, _)| code))
    }

    /// Why the attempt ended, where more is known than what [`Picture::process`] says.
    pub fn cause(&self, over: &Over) -> Option<Cause> {
        let exit = self.exit.map(|(code, _)| ExitCode::from_number(code));
        match exit {
            Some(ExitCode::Done) => return None,
            Some(ExitCode::Config | ExitCode::Data | ExitCode::Numeric | ExitCode::Bug) => return self.relayed.clone(),
            // A pod that is evicted or deleted has the ranks save and stop; it was not what anybody asked for.
            Some(ExitCode::Stopped) if self.is_stopping || self.loss().is_none() => return None,
            _ => {}
        }
        let lost = |headline: String, message: String| Cause::new(ExitCode::Communication, None, headline, &message);
        if self.is_stopping && !self.has_started {
            return Some(Cause::new(ExitCode::Stopped, None, "stopped before a rank had started", ""));
        }
        if let Some((pod, trouble, _)) = self.loss() {
            // That they saved and stopped is what they do upon a notice.
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

    /// One line for each pod that waits, of up to five.
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
