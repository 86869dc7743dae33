//! Findings about what ranks compute on, and what they leave idle.

use std::collections::BTreeSet;

use super::facts::WorldFacts;
use super::finding::Finding;
use crate::config::Precision;
use crate::figures::{counted, with_thousands};

/// Number of parameters from which on a model is for GPUs: the smallest of the paper has more.
const PARAMETERS_FOR_GPUS: u64 = 100_000_000;

impl WorldFacts {
    /// Names the device of all ranks. Warns if `run.device = "auto"` has chosen the CPU although the run, or the host, is for
    /// GPUs.
    pub(super) fn device(&self) -> Finding {
        let Some(first) = self.ranks.first() else { return Finding::ok("device", "none") };
        let (ranks, hosts) = (self.ranks.len() as u64, self.hosts().len() as u64);
        let kind = if first.device == "cpu" { "cpu" } else { "cuda" };
        let device = if kind == "cpu" { "the CPU" } else { "a GPU for each rank" };
        let place = format!("{device}: {} on {}", counted(ranks, "rank"), counted(hosts, "host"));
        let finding = match (self.ranks.iter().find_map(|facts| facts.without_gpu.as_deref()), self.belongs_on_gpus()) {
            (Some(why), Some(reason)) => Finding::warning("device", format!("{place}, although {reason}: {why}")),
            _ => Finding::ok("device", place),
        };
        finding.with("device", kind).with("ranks", ranks).with("hosts", hosts)
    }

    /// Returns why the run is expected to compute on GPUs; `None` if it is not.
    fn belongs_on_gpus(&self) -> Option<String> {
        if let Some(facts) = self.ranks.iter().find(|facts| !facts.gpus.is_empty()) {
            return Some(format!("{} has {}", facts.host, counted(facts.gpus.len() as u64, "GPU")));
        }
        let is_bfloat16 = self.precision == Precision::Bfloat16;
        let model = format!("a model of {} parameters", with_thousands(self.parameters));
        match (is_bfloat16, self.parameters >= PARAMETERS_FOR_GPUS) {
            (true, true) => Some(format!("{model} in bfloat16 is for GPUs")),
            (true, false) => Some("train.precision = \"bfloat16\" is for GPUs, and slower on a CPU".to_owned()),
            (false, true) => Some(format!("{model} is for GPUs")),
            (false, false) => None,
        }
    }

    /// Warns of GPUs that no rank computes on, on the hosts of the ranks.
    pub(super) fn idle_gpus(&self) -> Option<Finding> {
        let (mut idle, mut all, mut worst) = (0, 0, (0, String::new()));
        for (host, ranks) in self.hosts() {
            let used = ranks.iter().map(|facts| &facts.device).filter(|device| *device != "cpu");
            let used = used.collect::<BTreeSet<_>>().len() as u64;
            let visible = ranks.iter().map(|facts| u64::from(facts.visible_gpus)).max().unwrap_or(0);
            let left = visible.saturating_sub(used);
            (idle, all) = (idle + left, all + visible);
            if left > worst.0 {
                worst = (left, format!("{left} of {visible} on {host}"));
            }
        }
        (idle > 0).then(|| {
            let text = format!(
                "{idle} of {all} stay idle, {}; start a rank for each (--ranks {all}; over several hosts also \
                 --ranks-per-node), or hide those that are others' (CUDA_VISIBLE_DEVICES)",
                worst.1
            );
            Finding::warning("idle GPUs", text).with("idle_gpus", idle).with("gpus", all)
        })
    }
}
