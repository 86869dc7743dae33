//! What a rank finds on its host before a run is paid for, and what follows from all of them together. Pure.
//!
//! `worker check` gathers a [`RankFacts`] of every rank and prints a [`WorldFacts`]; [`WorldFacts::judge`] makes the lines
//! that `launcher check` shows of it. Ranks that are about to train look, too, and refuse what does not [`fit`].
//!
//! [`fit`]: WorldFacts::fit

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::topology::Rank;

/// What the line begins with on which `worker check` prints its [`WorldFacts`], as JSON.
pub const FACTS_MARK: &str = "convoy-facts ";

/// What one rank found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RankFacts {
    /// Which.
    pub rank: Rank,
    /// Its host's name.
    pub host: String,
    /// SHA-256 of its executable, in hex.
    pub binary_sha256: String,
    /// Which libtorch it runs with.
    pub libtorch: String,
    /// The host's clock at a moment that all ranks share to some milliseconds, in seconds since 1970.
    pub clock_unix_s: f64,
    /// Compute threads of the rank.
    pub threads: u32,
    /// Processors that it may use.
    pub cores: u32,
    /// Memory of the host that is free or can be made so.
    pub memory_bytes: u64,
    /// Folders that the run writes to on this host, with what is free there.
    pub free_bytes: BTreeMap<String, u64>,
    /// Size of /dev/shm.
    pub shared_memory_bytes: u64,
    /// What it computes on: `cpu`, or `cuda:0`.
    pub device: String,
    /// Whether it may share that with other ranks: [`SHARED_GPU_VARIABLE`] is set to 1.
    pub may_share: bool,
    /// The GPUs of the host, as its driver names them.
    pub gpus: Vec<GpuFacts>,
}

/// NCCL's variable (2.30 and later) that lets ranks share a GPU.
pub const SHARED_GPU_VARIABLE: &str = "NCCL_MULTI_RANK_GPU_ENABLE";

/// One GPU.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GpuFacts {
    /// Its number on the host.
    pub index: u32,
    /// Its kind.
    pub name: String,
    /// Memory that nobody uses.
    pub free_bytes: u64,
    /// All of it.
    pub total_bytes: u64,
    /// Memory errors since the driver started that could not be corrected; `None` where it does not count them.
    pub uncorrected_errors: Option<u64>,
}

/// What all ranks found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorldFacts {
    /// By rank.
    pub ranks: Vec<RankFacts>,
    /// What a step takes on each rank, by the formulas of [`crate::cost`].
    pub step_bytes: u64,
    /// Sequences of a step, over all ranks.
    pub global_sequences: u64,
    /// What ranks exchange with, `MPI` or `NCCL`, and how fast an all-reduce is.
    pub exchange: Vec<Exchange>,
}

/// A measured all-reduce.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exchange {
    /// What carried it.
    pub carrier: String,
    /// Each rank's bytes per second.
    pub bytes_per_second: f64,
    /// For people.
    pub text: String,
}

/// What a check came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is as it should be.
    Ok,
    /// The run would work, and might be slow, or end early.
    Warning,
    /// The run would fail.
    Failed,
}

/// One line of a preflight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What was looked at.
    pub subject: String,
    /// What it came to.
    pub verdict: Verdict,
    /// What was found and, where it is not as it should be, what to do.
    pub text: String,
}

impl Finding {
    /// All is well.
    pub fn ok(subject: &str, text: impl Into<String>) -> Self {
        Finding { subject: subject.to_owned(), verdict: Verdict::Ok, text: text.into() }
    }

    /// It would work.
    pub fn warning(subject: &str, text: impl Into<String>) -> Self {
        Finding { subject: subject.to_owned(), verdict: Verdict::Warning, text: text.into() }
    }

    /// It would not.
    pub fn failed(subject: &str, text: impl Into<String>) -> Self {
        Finding { subject: subject.to_owned(), verdict: Verdict::Failed, text: text.into() }
    }
}

/// Clocks that differ more make the times of events useless, and claims expire late.
const SKEW_WARNING_S: f64 = 2.0;
/// Object stores refuse requests that are signed so far from their own time.
const SKEW_FAILURE_S: f64 = 600.0;
/// Shared memory that MPI, NCCL and libtorch need for a rank.
const SHARED_MEMORY_PER_RANK: u64 = 256 << 20;
/// Less free room than this is soon used up by logs, spooled records and traces.
const ROOM_WARNING_BYTES: u64 = 2 << 30;
/// A slower exchange than this, each rank's bytes per second, is no cluster's network.
const EXCHANGE_WARNING: f64 = 100e6;

impl WorldFacts {
    /// A finding for each thing that was looked at.
    pub fn judge(&self) -> Vec<Finding> {
        [self.fit(), self.supplies(), self.speed()].concat()
    }

    /// Whether hosts and ranks fit together: what does not change by itself.
    pub fn fit(&self) -> Vec<Finding> {
        let mut findings = vec![
            self.same("executable", |facts| &facts.binary_sha256, "copy one worker to every host"),
            self.same("libtorch", |facts| &facts.libtorch, "install one version on every host"),
            self.clocks(),
            self.shared_memory(),
            self.threads(),
            self.shares(),
        ];
        findings.extend(self.gpus());
        findings
    }

    /// What is free: what others may use up, or give back, at any time.
    pub fn supplies(&self) -> Vec<Finding> {
        let mut findings = vec![self.memory()];
        findings.extend(self.room());
        findings.extend(self.gpu_memory());
        findings
    }

    fn speed(&self) -> Vec<Finding> {
        let judge = |exchange: &Exchange| {
            let subject = format!("{} bandwidth", exchange.carrier);
            if exchange.bytes_per_second < EXCHANGE_WARNING {
                let advice = "check that traffic takes the fast network (launch.interface, NCCL_SOCKET_IFNAME)";
                Finding::warning(&subject, format!("{}; {advice}", exchange.text))
            } else {
                Finding::ok(&subject, exchange.text.clone())
            }
        };
        self.exchange.iter().map(judge).collect()
    }

    /// Ranks by host, in the order of the first rank of each.
    fn hosts(&self) -> Vec<(&str, Vec<&RankFacts>)> {
        let mut hosts: Vec<(&str, Vec<&RankFacts>)> = Vec::new();
        for facts in &self.ranks {
            match hosts.iter_mut().find(|(host, _)| *host == facts.host) {
                Some((_, ranks)) => ranks.push(facts),
                None => hosts.push((&facts.host, vec![facts])),
            }
        }
        hosts
    }

    fn same<'f>(&'f self, subject: &str, of: impl Fn(&'f RankFacts) -> &'f str, advice: &str) -> Finding {
        let mut kinds: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (host, ranks) in self.hosts() {
            for facts in ranks {
                let hosts = kinds.entry(of(facts)).or_default();
                if hosts.last() != Some(&host) {
                    hosts.push(host);
                }
            }
        }
        // A hash is known by its beginning.
        let short = |kind: &str| if kind.len() == 64 { kind[..12].to_owned() } else { kind.to_owned() };
        if let [(kind, _)] = kinds.iter().collect::<Vec<_>>()[..] {
            return Finding::ok(subject, format!("{} on every host", short(kind)));
        }
        let kinds: Vec<String> =
            kinds.iter().map(|(kind, on)| format!("{} on {}", short(kind), on.join(", "))).collect();
        Finding::failed(subject, format!("differs: {}; {advice}", kinds.join("; ")))
    }

    fn clocks(&self) -> Finding {
        let mut clocks: Vec<(f64, &str)> = self.ranks.iter().map(|facts| (facts.clock_unix_s, &*facts.host)).collect();
        clocks.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (Some(first), Some(last)) = (clocks.first(), clocks.last()) else { return Finding::ok("clocks", "none") };
        let skew = last.0 - first.0;
        let text =
            format!("{} is {skew:.2} s ahead of {}; synchronise the hosts' clocks (chrony, ntp)", last.1, first.1);
        match skew {
            skew if skew > SKEW_FAILURE_S => Finding::failed("clocks", text),
            skew if skew > SKEW_WARNING_S => Finding::warning("clocks", text),
            skew => Finding::ok("clocks", format!("within {skew:.2} s")),
        }
    }

    fn memory(&self) -> Finding {
        let needed = |ranks: &[&RankFacts]| {
            let on_cpu = ranks.iter().filter(|facts| facts.device == "cpu").count() as u64;
            on_cpu * self.step_bytes
        };
        for (host, ranks) in self.hosts() {
            let available = ranks.iter().map(|facts| facts.memory_bytes).min().unwrap_or(0);
            if needed(&ranks) > available {
                return Finding::failed(
                    "memory",
                    format!(
                        "{host}: {} ranks need {} together, {} are free; use fewer ranks per host, a smaller \
                         batch.micro_sequences, train.recompute = \"block\" or parallel.zero = 1",
                        ranks.len(),
                        gib(needed(&ranks)),
                        gib(available)
                    ),
                );
            }
        }
        let least = self.ranks.iter().map(|facts| facts.memory_bytes).min().unwrap_or(0);
        Finding::ok(
            "memory",
            format!("a rank needs {}, at least {} are free on every host", gib(self.step_bytes), gib(least)),
        )
    }

    fn shared_memory(&self) -> Finding {
        for (host, ranks) in self.hosts() {
            if let Some(text) = shared_memory_wanted(host, ranks.len(), ranks[0].shared_memory_bytes) {
                return Finding::failed("/dev/shm", text);
            }
        }
        let least = self.ranks.iter().map(|facts| facts.shared_memory_bytes).min().unwrap_or(0);
        Finding::ok("/dev/shm", format!("at least {} on every host", gib(least)))
    }

    fn threads(&self) -> Finding {
        for facts in &self.ranks {
            if facts.threads > facts.cores {
                return Finding::warning(
                    "threads",
                    format!(
                        "rank {} on {} has {} threads and may use {} cores; lower launch.threads_per_rank",
                        facts.rank, facts.host, facts.threads, facts.cores
                    ),
                );
            }
        }
        let threads: Vec<u32> = self.ranks.iter().map(|facts| facts.threads).collect();
        let (least, most) = (threads.iter().min().unwrap_or(&0), threads.iter().max().unwrap_or(&0));
        Finding::ok(
            "threads",
            if least == most { format!("{least} a rank") } else { format!("{least} to {most} a rank") },
        )
    }

    /// More ranks than sequences train as fewer do, and not faster.
    fn shares(&self) -> Finding {
        let (ranks, sequences) = (self.ranks.len() as u64, self.global_sequences);
        match ranks.saturating_sub(sequences) {
            0 => Finding::ok("sequences", format!("{sequences} a step for {ranks} ranks")),
            idle => Finding::warning(
                "sequences",
                format!(
                    "{idle} of {ranks} ranks have none of the {sequences} of a step (batch.global_sequences), and only wait \
                     for the others; start {sequences}, or give a larger global batch"
                ),
            ),
        }
    }

    fn room(&self) -> Vec<Finding> {
        let mut folders: BTreeMap<&str, (u64, &str)> = BTreeMap::new();
        for facts in &self.ranks {
            for (folder, free) in &facts.free_bytes {
                let least = folders.entry(folder).or_insert((*free, &facts.host));
                *least = (*least).min((*free, &facts.host));
            }
        }
        let finding = |(folder, (free, host)): (&str, (u64, &str))| {
            let subject = format!("room in {folder}");
            match free {
                0 => Finding::failed(&subject, format!("none on {host}; remove what is not needed there")),
                free if free < ROOM_WARNING_BYTES => {
                    Finding::warning(&subject, format!("{} on {host}; remove what is not needed there", gib(free)))
                }
                free => Finding::ok(&subject, format!("at least {} on every host", gib(free))),
            }
        };
        folders.into_iter().map(finding).collect()
    }

    fn gpus(&self) -> Vec<Finding> {
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

    fn gpu_memory(&self) -> Vec<Finding> {
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
                findings.push(Finding::failed(subject, text));
            }
        }
        if findings.is_empty() {
            let least = self.ranks.iter().flat_map(|facts| &facts.gpus).map(|gpu| gpu.free_bytes).min().unwrap_or(0);
            let text = format!("a rank needs {needed}, at least {} are free on every GPU", gib(least));
            findings.push(Finding::ok(subject, text));
        }
        findings
    }
}

impl GpuFacts {
    fn named(&self, host: &str) -> String {
        format!("{host}: GPU {} ({})", self.index, self.name)
    }
}

/// What is wrong, and what to do, where `/dev/shm` of `host` has `size` bytes and its `ranks` ranks need more.
pub fn shared_memory_wanted(host: &str, ranks: usize, size: u64) -> Option<String> {
    let needed = ranks as u64 * SHARED_MEMORY_PER_RANK;
    (ranks > 1 && size < needed).then(|| {
        format!(
            "{host}: {} for {ranks} ranks in /dev/shm, expected at least {}; give the container more (docker --shm-size, or a memory volume)",
            gib(size),
            gib(needed)
        )
    })
}

fn gib(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / (1_u64 << 30) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(rank: u32, host: &str) -> RankFacts {
        RankFacts {
            rank: Rank(rank),
            host: host.into(),
            binary_sha256: "a".repeat(64),
            libtorch: "2.11.0".into(),
            clock_unix_s: 1000.0,
            threads: 4,
            cores: 8,
            memory_bytes: 16 << 30,
            free_bytes: BTreeMap::from([("/tmp".into(), 100 << 30)]),
            shared_memory_bytes: 8 << 30,
            device: "cpu".into(),
            may_share: false,
            gpus: Vec::new(),
        }
    }

    fn world(ranks: Vec<RankFacts>) -> WorldFacts {
        WorldFacts { ranks, step_bytes: 2 << 30, global_sequences: 8, exchange: Vec::new() }
    }

    /// The findings of a world of two ranks on `a` and one on `b` that `change` has been done to, but for those that are ok.
    fn troubles(change: impl FnOnce(&mut WorldFacts)) -> Vec<(String, Verdict, String)> {
        let mut world = world(vec![facts(0, "a"), facts(1, "a"), facts(2, "b")]);
        change(&mut world);
        let troubles = world.judge().into_iter().filter(|finding| finding.verdict != Verdict::Ok);
        troubles.map(|finding| (finding.subject, finding.verdict, finding.text)).collect()
    }

    fn assert_one(found: Vec<(String, Verdict, String)>, subject: &str, verdict: Verdict, words: &str) {
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((&*found[0].0, found[0].1), (subject, verdict));
        assert!(found[0].2.contains(words), "{found:?}");
    }

    #[test]
    fn a_sound_world_is_ok_in_everything() {
        assert_eq!(troubles(|_| {}), []);
    }

    #[test]
    fn what_differs_between_hosts_is_named_with_them() {
        let found = troubles(|world| world.ranks[2].binary_sha256 = "b".repeat(64));
        assert_one(found, "executable", Verdict::Failed, "aaaaaaaaaaaa on a; bbbbbbbbbbbb on b; copy one worker");
        let found = troubles(|world| world.ranks[2].libtorch = "2.10.0".into());
        assert_one(found, "libtorch", Verdict::Failed, "2.10.0 on b; 2.11.0 on a");
        let found = troubles(|world| world.ranks[2].clock_unix_s = 1005.0);
        assert_one(found, "clocks", Verdict::Warning, "b is 5.00 s ahead of a");
        let found = troubles(|world| world.ranks[0].clock_unix_s = 9000.0);
        assert_one(found, "clocks", Verdict::Failed, "a is 8000.00 s ahead of");
    }

    #[test]
    fn what_a_host_has_too_little_of_is_named_with_it() {
        let found = troubles(|world| world.step_bytes = 10 << 30);
        assert_one(found, "memory", Verdict::Failed, "a: 2 ranks need 20.0 GiB together, 16.0 GiB are free");
        let found = troubles(|world| world.ranks.iter_mut().for_each(|facts| facts.shared_memory_bytes = 64 << 20));
        assert_one(found, "/dev/shm", Verdict::Failed, "a: 0.1 GiB for 2 ranks in /dev/shm");
        let found = troubles(|world| *world.ranks[2].free_bytes.get_mut("/tmp").unwrap() = 1 << 30);
        assert_one(found, "room in /tmp", Verdict::Warning, "1.0 GiB on b");
        let found = troubles(|world| *world.ranks[2].free_bytes.get_mut("/tmp").unwrap() = 0);
        assert_one(found, "room in /tmp", Verdict::Failed, "none on b");
        let found = troubles(|world| world.ranks[1].threads = 16);
        assert_one(found, "threads", Verdict::Warning, "rank 1 on a has 16 threads and may use 8 cores");
        let found = troubles(|world| world.global_sequences = 2);
        assert_one(found, "sequences", Verdict::Warning, "1 of 3 ranks have none of the 2 of a step");
        let slow = Exchange { carrier: "mpi".into(), bytes_per_second: 1e6, text: "0.00 GB/s".into() };
        let found = troubles(|world| world.exchange.push(slow));
        assert_one(found, "mpi bandwidth", Verdict::Warning, "launch.interface");
    }

    #[test]
    fn gpus_are_one_a_rank_free_and_without_errors() {
        let gpu = |index| GpuFacts {
            index,
            name: "H100".into(),
            free_bytes: 79 << 30,
            total_bytes: 80 << 30,
            uncorrected_errors: Some(0),
        };
        let with_gpus = |world: &mut WorldFacts| {
            for (facts, device) in world.ranks.iter_mut().zip(["cuda:0", "cuda:1", "cuda:0"]) {
                (facts.device, facts.gpus) = (device.into(), vec![gpu(0), gpu(1)]);
            }
        };
        assert_eq!(troubles(with_gpus), []);
        let found = troubles(|world| {
            with_gpus(world);
            world.ranks[1].device = "cuda:0".into();
        });
        assert_one(found, "GPUs", Verdict::Failed, "a: 2 ranks share cuda:0; start at most one");
        let found = troubles(|world| {
            with_gpus(world);
            for facts in &mut world.ranks {
                (facts.device, facts.may_share) = ("cuda:0".into(), true);
            }
        });
        assert_one(found, "GPUs", Verdict::Warning, "a: 2 ranks share cuda:0, as NCCL_MULTI_RANK_GPU_ENABLE says");
        let found = troubles(|world| {
            with_gpus(world);
            world.ranks[2].gpus[1].uncorrected_errors = Some(3);
        });
        assert_one(found, "GPU memory errors", Verdict::Failed, "b: GPU 1 (H100)");
        let found = troubles(|world| {
            with_gpus(world);
            world.ranks[0].gpus[0].free_bytes = 1 << 30;
        });
        assert_one(found, "GPU memory", Verdict::Failed, "a: GPU 0 (H100): 1.0 GiB are free, a rank needs 2.0 GiB");
    }
}
