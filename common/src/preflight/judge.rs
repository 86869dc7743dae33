//! Findings from the facts of all ranks together.

use std::collections::BTreeMap;

use super::facts::{Exchange, RankFacts, WorldFacts, gib};
use super::finding::Finding;
use crate::figures::counted;

/// Difference of clocks, in seconds, above which times of events are useless, and claims expire late.
const SKEW_WARNING_S: f64 = 2.0;
/// Difference of clocks, in seconds, above which object stores refuse signed requests.
const SKEW_FAILURE_S: f64 = 600.0;
/// Shared memory that MPI, NCCL and libtorch need per rank, in bytes.
const SHARED_MEMORY_PER_RANK: u64 = 256 << 20;
/// Free space, in bytes, below which logs, spooled records and traces soon fill a disk.
const ROOM_WARNING_BYTES: u64 = 2 << 30;
/// Rate of an exchange, in bytes per second and rank, below which it does not look like a cluster's network.
const EXCHANGE_WARNING: f64 = 100e6;

impl WorldFacts {
    /// Returns a finding for everything that was checked.
    pub fn judge(&self) -> Vec<Finding> {
        [self.fit(), self.supplies(), self.speed()].concat()
    }

    /// Checks that hosts and ranks fit together, which does not change by itself.
    pub fn fit(&self) -> Vec<Finding> {
        let mut findings = vec![
            self.device(),
            self.same("executable", |facts| &facts.binary_sha256, "copy one worker to every host"),
            self.same("libtorch", |facts| &facts.libtorch, "install one version on every host"),
            self.clocks(),
            self.shared_memory(),
            self.threads(),
            self.shares(),
        ];
        findings.extend(self.gpus());
        findings.extend(self.idle_gpus());
        findings
    }

    /// Checks free memory and space, which others may use up, or give back, at any time.
    pub fn supplies(&self) -> Vec<Finding> {
        let mut findings: Vec<_> = self.memory().into_iter().collect();
        findings.extend(self.room());
        findings.extend(self.gpu_memory());
        findings
    }

    fn speed(&self) -> Vec<Finding> {
        let judge = |exchange: &Exchange| {
            let subject = format!("{} bandwidth", exchange.carrier);
            if exchange.bytes_per_second < EXCHANGE_WARNING {
                Finding::warning(&subject, format!("{}; {}", exchange.text, self.advice_about_speed()))
            } else {
                Finding::ok(&subject, exchange.text.clone())
            }
        };
        self.exchange.iter().map(judge).collect()
    }

    /// Returns what to do about a slow exchange. Ranks of one host exchange in its memory, or between its GPUs.
    fn advice_about_speed(&self) -> &'static str {
        let is_on_gpus = self.ranks.iter().any(|facts| facts.device != "cpu");
        match (self.hosts().len(), is_on_gpus) {
            (..=1, false) => {
                "no network lies between these ranks: see with `top` whether other programs take their cores"
            }
            (..=1, true) => {
                "no network lies between these ranks: see with `nvidia-smi topo -m` how their GPUs are linked"
            }
            _ => "check that traffic takes the fast network (launch.interface, NCCL_SOCKET_IFNAME)",
        }
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
        // A hash is shown by its beginning.
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

    /// Checks that a step of the ranks that compute on a CPU fits into the free memory of every host; `None` without such
    /// ranks.
    fn memory(&self) -> Option<Finding> {
        self.ranks.iter().find(|facts| facts.device == "cpu")?;
        let needed = |ranks: &[&RankFacts]| {
            let on_cpu = ranks.iter().filter(|facts| facts.device == "cpu").count() as u64;
            on_cpu * self.step_bytes
        };
        for (host, ranks) in self.hosts() {
            let available = ranks.iter().map(|facts| facts.memory_bytes).min().unwrap_or(0);
            if needed(&ranks) > available {
                let text = format!(
                    "{host}: {} {} together, {} are free; use fewer ranks per host, a smaller batch.micro_sequences, \
                     train.recompute = \"block\" or parallel.zero = 1",
                    if ranks.len() == 1 { "1 rank needs".to_owned() } else { format!("{} ranks need", ranks.len()) },
                    gib(needed(&ranks)),
                    gib(available)
                );
                return Some(self.with_memory(Finding::failed("memory", text), available));
            }
        }
        let least = self.ranks.iter().map(|facts| facts.memory_bytes).min().unwrap_or(0);
        let text = format!("a rank needs {}, at least {} are free on every host", gib(self.step_bytes), gib(least));
        Some(self.with_memory(Finding::ok("memory", text), least))
    }

    /// Adds the figures about memory to `finding`.
    pub(super) fn with_memory(&self, finding: Finding, free_bytes: u64) -> Finding {
        finding.with("step_bytes", self.step_bytes).with("free_bytes", free_bytes)
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
                        "rank {} on {} has {} and may use {}; lower launch.threads_per_rank",
                        facts.rank,
                        facts.host,
                        counted(facts.threads.into(), "thread"),
                        counted(facts.cores.into(), "core")
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

    /// Checks the number of ranks. More ranks than sequences are not faster, since the extra ranks have no work.
    fn shares(&self) -> Finding {
        let (ranks, sequences) = (self.ranks.len() as u64, self.global_sequences);
        let have = if ranks.saturating_sub(sequences) == 1 { "has" } else { "have" };
        match ranks.saturating_sub(sequences) {
            0 => Finding::ok("sequences", format!("{sequences} a step for {}", counted(ranks, "rank"))),
            idle => Finding::warning(
                "sequences",
                format!(
                    "{idle} of {ranks} ranks {have} none of the {sequences} of a step (batch.global_sequences), and only wait \
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
}

/// Describes what is wrong, and what to do, if `/dev/shm` of `host` has `size` bytes and its `ranks` ranks need more.
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
