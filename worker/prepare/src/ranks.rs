//! The ranks of the job: one process, or as many as mpirun has started.
//!
//! Only the main thread calls MPI. While other threads work it reports their progress to rank 0. Before a call that waits for
//! all ranks it sleeps until all are there, since MPI waits by spinning, on cores that others need.

use std::time::{Duration, Instant};

use common::exit_code::ExitCode;
use common::rank_message::{self, MessageError};
use common::topology::Rank;
use common::worker_contract::PrepareProgress;
use mpi::Threading;
use mpi::collective::SystemOperation;
use mpi::environment::Universe;
use mpi::point_to_point::{Destination, Source};
use mpi::topology::{Communicator, SimpleCommunicator};
use mpi::traits::{CommunicatorCollectives, Root};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::meetings::{Asked, Meetings};
use crate::progress::{Audience, PhaseWork, Progress};

/// Pause between looks at the work.
const TICK: Duration = Duration::from_millis(20);
/// Time between two reports of a rank to rank 0.
const REPORT_INTERVAL: Duration = Duration::from_millis(250);
/// Tag of messages about progress.
const PROGRESS_TAG: i32 = 1;

/// The world of this job.
pub enum Ranks {
    /// This process alone.
    One,
    /// One of several processes.
    Many {
        /// Guard that ends MPI when it is dropped, which waits for all ranks.
        universe: Universe,
        /// Communicator of all ranks.
        world: SimpleCommunicator,
    },
}

impl Ranks {
    /// Joins the other ranks, if mpirun or srun has started this process.
    pub fn enter() -> Self {
        let is_one_of_many =
            ["OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK"].iter().any(|name| std::env::var_os(name).is_some());
        let started = is_one_of_many.then(|| mpi::initialize_with_threading(Threading::Funneled)).flatten();
        match started {
            Some((universe, _)) => Ranks::Many { world: universe.world(), universe },
            None => Ranks::One,
        }
    }

    /// Returns the number of this rank.
    pub fn rank(&self) -> usize {
        match self {
            Ranks::One => 0,
            Ranks::Many { world, .. } => world.rank() as usize,
        }
    }

    /// Returns the number of ranks.
    pub fn count(&self) -> usize {
        match self {
            Ranks::One => 1,
            Ranks::Many { world, .. } => world.size() as usize,
        }
    }

    /// Ends this process, and with it all ranks.
    pub fn end(self, code: ExitCode) -> ! {
        let code = i32::from(code.number());
        match &self {
            Ranks::Many { world, .. } if code != 0 => world.abort(code),
            _ => drop(self),
        }
        std::process::exit(code)
    }

    /// Runs `make` on rank 0, and returns its result on every rank; `what` names it in errors. A failure ends the job, so other
    /// ranks need not learn of it.
    pub fn share<T, E>(&self, what: &'static str, make: impl FnOnce() -> Result<T, E>) -> Result<T, E>
    where
        T: Serialize + DeserializeOwned,
        E: From<MessageError>,
    {
        let mut content = if self.rank() == 0 { rank_message::to_bytes(what, &make()?)? } else { Vec::new() };
        if let Ranks::Many { world, .. } = self {
            self.wait_for_all();
            let root = world.process_at_rank(0);
            let mut length = content.len() as u64;
            root.broadcast_into(&mut length);
            content.resize(length as usize, 0);
            // Counts are 32 bits wide.
            content.chunks_mut(1 << 30).for_each(|part| root.broadcast_into(part));
        }
        Ok(rank_message::from_bytes(what, Rank::ZERO, &content)?)
    }

    /// Returns the sums of `numbers` over all ranks.
    pub fn sum(&self, numbers: Vec<u64>) -> Vec<u64> {
        self.sum_while(numbers, || {})
    }

    /// Returns the sums of `numbers` over all ranks. Until all are there, `meanwhile` is called again and again.
    fn sum_while(&self, numbers: Vec<u64>, meanwhile: impl FnMut()) -> Vec<u64> {
        match self {
            Ranks::One => numbers,
            Ranks::Many { world, .. } => {
                self.wait_while(meanwhile);
                let mut sums = vec![0_u64; numbers.len()];
                world.all_reduce_into(&numbers[..], &mut sums[..], SystemOperation::sum());
                sums
            }
        }
    }

    /// Waits until every rank is here.
    pub fn wait_for_all(&self) {
        self.wait_while(|| {});
    }

    fn wait_while(&self, mut meanwhile: impl FnMut()) {
        if let Ranks::Many { world, .. } = self {
            let mut barrier = world.immediate_barrier();
            while let Err(pending) = barrier.test() {
                barrier = pending;
                std::thread::sleep(TICK);
                meanwhile();
            }
        }
    }

    /// Runs `work` as [`run`](Self::run) does. The work of all ranks may meet, each equally often.
    pub fn run_together<E: Send>(
        &self,
        phase: PhaseWork,
        audience: &mut dyn Audience,
        work: impl FnOnce(&Progress, &Meetings) -> Result<(), E> + Send,
    ) -> Result<(), E> {
        let (meetings, asked) = Meetings::of(self.rank(), self.count());
        self.run_and_answer(phase, audience, |progress| work(progress, &meetings), Some(&asked))
    }

    /// Runs `work` on another thread, and returns when all ranks have done theirs. Meanwhile `audience` receives their
    /// progress in `phase`.
    pub fn run<E: Send>(
        &self,
        phase: PhaseWork,
        audience: &mut dyn Audience,
        work: impl FnOnce(&Progress) -> Result<(), E> + Send,
    ) -> Result<(), E> {
        self.run_and_answer(phase, audience, work, None)
    }

    fn run_and_answer<E: Send>(
        &self,
        phase: PhaseWork,
        audience: &mut dyn Audience,
        work: impl FnOnce(&Progress) -> Result<(), E> + Send,
        asked: Option<&Asked>,
    ) -> Result<(), E> {
        let progress = Progress::default();
        let mut reports = Reports { started: Instant::now(), phase, of_ranks: vec![None; self.count()] };
        let mut next_report = Instant::now();
        std::thread::scope(|scope| {
            let worker = scope.spawn(|| work(&progress));
            loop {
                let has_ended = worker.is_finished();
                if has_ended || Instant::now() >= next_report {
                    next_report = Instant::now() + REPORT_INTERVAL;
                    self.report(has_ended, &progress, &mut reports, audience);
                }
                if has_ended {
                    break;
                }
                match asked.and_then(Asked::next) {
                    None if asked.is_some() => {}
                    None => std::thread::sleep(TICK),
                    Some(numbers) => {
                        let sums = self.sum_while(numbers, || {
                            if Instant::now() >= next_report {
                                next_report = Instant::now() + REPORT_INTERVAL;
                                self.report(false, &progress, &mut reports, audience);
                            }
                        });
                        asked.into_iter().for_each(|asked| asked.answer(sums.clone()));
                    }
                }
            }
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })?;
        while self.rank() == 0 && !reports.have_all_ended() {
            std::thread::sleep(TICK);
            self.report(true, &progress, &mut reports, audience);
        }
        self.wait_for_all();
        Ok(())
    }

    fn report(&self, has_ended: bool, progress: &Progress, reports: &mut Reports, audience: &mut dyn Audience) {
        let [done, text_bytes] = progress.read();
        let own = [u64::from(has_ended), done, text_bytes];
        if let (Ranks::Many { world, .. }, true) = (self, self.rank() > 0) {
            // The message is so small that it is sent when this returns, even before it is received.
            return world.process_at_rank(0).send_with_tag(&own[..], PROGRESS_TAG);
        }
        reports.of_ranks[0] = Some(own);
        if let Ranks::Many { world, .. } = self {
            while world.any_process().immediate_probe_with_tag(PROGRESS_TAG).is_some() {
                let mut report = [0; 3];
                let status = world.any_process().receive_into_with_tag(&mut report[..], PROGRESS_TAG);
                reports.of_ranks[status.source_rank() as usize] = Some(report);
            }
        }
        audience.hear(&reports.together());
    }
}

/// Last reports of the ranks to rank 0 in this phase: whether the rank has ended, its bytes done, its bytes of text.
struct Reports {
    started: Instant,
    phase: PhaseWork,
    of_ranks: Vec<Option<[u64; 3]>>,
}

impl Reports {
    fn have_all_ended(&self) -> bool {
        self.of_ranks.iter().all(|report| report.is_some_and(|[has_ended, ..]| has_ended == 1))
    }

    fn together(&self) -> PrepareProgress {
        let sum = |i: usize| self.of_ranks.iter().flatten().map(|report| report[i]).sum::<u64>();
        let seconds = self.started.elapsed().as_secs_f64();
        let PhaseWork { phase, total, done_before } = self.phase;
        let done = done_before + sum(1);
        // Of some phases, no more than an estimate is known.
        PrepareProgress { phase, done, done_before, total: total.max(done), text_bytes: sum(2), seconds }
    }
}

/// Returns the threads of this rank: `given`, or for 0 an even share of the cores among the ranks of this node.
pub fn threads(given: usize) -> usize {
    let local_ranks = std::env::var("OMPI_COMM_WORLD_LOCAL_SIZE").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    // This counts a container's quota of time, and the cores that this process is bound to if mpirun binds it.
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let is_bound = cores < cores_of_node();
    match given {
        0 if is_bound => cores,
        0 => (cores / local_ranks).max(1),
        given => given,
    }
}

fn cores_of_node() -> usize {
    let online = std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
    let count = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(last.parse::<usize>().ok()? + 1 - first.parse::<usize>().ok()?)
    };
    online.trim().split(',').filter_map(count).sum()
}

#[cfg(test)]
mod tests {
    use common::worker_contract::PreparePhase;

    use super::*;
    use crate::PrepareError;

    #[test]
    fn what_an_earlier_job_did_counts_as_done_and_not_for_the_speed() {
        let phase = PhaseWork { phase: PreparePhase::Cleaning, total: 9_000_000, done_before: 5_000_000 };
        let of_ranks = vec![Some([0, 1_000_000, 7]), None, Some([1, 1_000_000, 8])];
        let progress = Reports { started: Instant::now(), phase, of_ranks }.together();
        assert_eq!((progress.done, progress.total, progress.text_bytes), (7_000_000, 9_000_000, 15));
        let later = PrepareProgress { seconds: 4.0, ..progress };
        assert_eq!(later.mb_per_second(), 0.5);
        assert_eq!(later.left(), Some(Duration::from_secs(4)));
    }

    #[test]
    fn what_is_shared_arrives() {
        let made = || Ok::<_, PrepareError>((vec![true, false], "text".to_owned()));
        assert_eq!(Ranks::One.share("a trial", made).unwrap(), (vec![true, false], "text".to_owned()));
        Ranks::One.share("nothing", || Ok::<_, PrepareError>(())).unwrap();
    }

    #[test]
    fn what_cannot_be_read_is_a_bug_and_names_the_rank() {
        // JSON has no such number, so that `null` arrives.
        let error = Ranks::One.share("a number", || Ok::<_, PrepareError>(f64::NAN)).unwrap_err();
        assert_eq!(error.exit_code(), ExitCode::Bug);
        assert!(error.to_string().starts_with("rank 0 sent a number that this rank cannot read"), "{error}");
    }
}
