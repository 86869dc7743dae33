//! Findings about GPUs.

use super::facts::{SHARED_GPU_VARIABLE, WorldFacts, gib};
use super::finding::Finding;

impl WorldFacts {
    /// Checks that every rank has a GPU, for itself and without errors.
    pub(super) fn gpus(&self) -> Vec<Finding> {
        if self.ranks.iter().all(|facts| facts.device == "cpu") {
            return Vec::new();
        }
        let mut findings = Vec::new();
        for (host, ranks) in self.hosts() {
            let mut devices: Vec<&str> = ranks.iter().map(|facts| &*facts.device).collect();
            devices.sort_unstable();
            if let Some(twice) = devices.windows(2).find(|pair| pair[0] == pair[1]) {
                let shared = format!("{host}: {} ranks share {}", ranks.len(), twice[0]);
                findings.push(match ranks.iter().all(|facts| facts.may_share) {
                    true => Finding::warning("GPUs", format!("{shared}, as {SHARED_GPU_VARIABLE} says")),
                    false => Finding::failed("GPUs", format!("{shared}; start at most one rank per GPU")),
                });
            }
            for gpu in &ranks[0].gpus {
                if gpu.uncorrected_errors.is_some_and(|errors| errors > 0) {
                    let advice = "reset it, or leave the host out";
                    let text = format!("{} has uncorrected memory errors; {advice}", gpu.named(host));
                    findings.push(Finding::failed("GPU memory errors", text));
                }
            }
        }
        if findings.is_empty() {
            let mut names: Vec<&str> = self.ranks.iter().flat_map(|facts| &facts.gpus).map(|gpu| &*gpu.name).collect();
            names.sort_unstable();
            names.dedup();
            findings.push(Finding::ok("GPUs", format!("one for each rank: {}", names.join(", "))));
        }
        findings
    }

    /// Checks that a step fits into the free memory of every GPU.
    pub(super) fn gpu_memory(&self) -> Vec<Finding> {
        if self.ranks.iter().all(|facts| facts.device == "cpu") {
            return Vec::new();
        }
        let (subject, needed) = ("GPU memory", gib(self.step_bytes));
        let mut findings = Vec::new();
        for (host, ranks) in self.hosts() {
            for gpu in ranks[0].gpus.iter().filter(|gpu| gpu.free_bytes < self.step_bytes) {
                let text = format!(
                    "{}: {} are free, a rank needs {needed}; see `nvidia-smi` for who uses it, or lower \
                     batch.micro_sequences",
                    gpu.named(host),
                    gib(gpu.free_bytes)
                );
                findings.push(self.with_memory(Finding::failed(subject, text), gpu.free_bytes));
            }
        }
        if findings.is_empty() {
            let least = self.ranks.iter().flat_map(|facts| &facts.gpus).map(|gpu| gpu.free_bytes).min().unwrap_or(0);
            let text = format!("a rank needs {needed}, at least {} are free on every GPU", gib(least));
            findings.push(self.with_memory(Finding::ok(subject, text), least));
        }
        findings
    }
}
