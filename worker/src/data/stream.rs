//! This rank's micro batches, in order, read ahead of the step by threads.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use common::batch_plan::BatchPlan;
use common::topology::{Rank, WorldSize};

use super::error::DataError;
use super::read_ahead::{self, Reached};
use super::training_data::TrainingData;

/// Limit of the number of micro batches that wait to be trained on; memory may allow fewer.
const QUEUE_MICRO_BATCHES: u64 = 8;
/// Number of threads that assemble micro batches, in turns.
const THREADS: usize = 2;

/// The sequences of one forward pass on one rank: B of them, each of T tokens and the one after them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MicroBatch {
    /// Numbers of the training sequences, counted over the whole run.
    pub sequences: Range<u64>,
    /// Token ids, row-major \[B, T+1\]: inputs are columns 0 to T-1, targets columns 1 to T.
    pub tokens: Vec<i32>,
    /// Number of sequences, B.
    pub batch: usize,
}

/// The micro batches of one rank over a range of steps.
///
/// Dropping the stream ends its threads after the micro batches that they are reading.
#[derive(Debug)]
pub struct TokenStream {
    /// Micro batches of each thread; the next one comes from the first receiver.
    receivers: VecDeque<Receiver<Result<MicroBatch, DataError>>>,
}

impl TokenStream {
    /// Starts reading the micro batches of `rank`, as `plan` divides them, for the `steps` steps after all ranks have
    /// consumed `consumed` sequences.
    pub fn train(
        data: Arc<TrainingData>,
        plan: BatchPlan,
        rank: Rank,
        world: WorldSize,
        consumed: u64,
        steps: u64,
    ) -> TokenStream {
        assert_eq!(plan.sequence_tokens, data.sets()[0].sequence_tokens(), "the plan and the data differ in T");
        let budget = data.budget();
        // Otherwise, a rank without a share would look for one in every step of the run.
        let steps = if plan.share(rank, world).is_empty() { 0 } else { steps };
        let ranges = move || {
            (0..steps).flat_map(move |step| plan.micro_batches(consumed + step * plan.global_sequences, rank, world))
        };
        let reached = Arc::new(Reached::default());
        read_ahead::start(&data, ranges(), budget.blocks_ahead(), budget.readers, &reached);
        let queue = queue_micro_batches(&plan, budget.queue_bytes);
        let start = |turn| {
            let (sender, receiver) = sync_channel(queue / THREADS);
            let (data, reached) = (data.clone(), reached.clone());
            let ranges = ranges().skip(turn).step_by(THREADS);
            let body = move || {
                send_micro_batches(&data, ranges, &sender, &reached);
                reached.end();
            };
            match thread::Builder::new().name("token stream".into()).spawn(body) {
                Ok(_) => receiver,
                Err(error) => just(Err(DataError::NoThread(error))),
            }
        };
        TokenStream { receivers: (0..THREADS).map(start).collect() }
    }

    /// Returns the next micro batch of this rank, in the order of [`BatchPlan::micro_batches`], step after step.
    ///
    /// After an error, and after the last micro batch of the last step, it returns only [`DataError::Ended`].
    #[expect(clippy::should_implement_trait, reason = "to an iterator its end would be ordinary")]
    pub fn next(&mut self) -> Result<MicroBatch, DataError> {
        let received = self.receivers.front().and_then(|receiver| receiver.recv().ok());
        let micro_batch = received.unwrap_or(Err(DataError::Ended)).inspect_err(|_| self.receivers.clear())?;
        self.receivers.rotate_left(1);
        Ok(micro_batch)
    }
}

/// Returns a receiver that yields `item`, and nothing more.
fn just<T>(item: T) -> Receiver<T> {
    let (sender, receiver) = sync_channel(1);
    // The channel has room for one.
    let _ = sender.send(item);
    receiver
}

/// Returns how many micro batches may wait: at least one, of any size.
fn queue_micro_batches(plan: &BatchPlan, queue_bytes: u64) -> usize {
    let tokens = plan.micro_sequences.min(plan.global_sequences) * (plan.sequence_tokens + 1);
    let bytes = tokens * size_of::<i32>() as u64;
    (queue_bytes / bytes).clamp(1, QUEUE_MICRO_BATCHES) as usize
}

/// Reads one micro batch after the other, until the last one, the first error, or the end of the receiver.
fn send_micro_batches(
    data: &TrainingData,
    ranges: impl Iterator<Item = Range<u64>>,
    sender: &SyncSender<Result<MicroBatch, DataError>>,
    reached: &Reached,
) {
    for sequences in ranges {
        let read = data.read(sequences.clone());
        reached.set(sequences.end);
        let failed = read.is_err();
        let batch = (sequences.end - sequences.start) as usize;
        let micro_batch = read.map(|tokens| MicroBatch { sequences, tokens, batch });
        if sender.send(micro_batch).is_err() || failed {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::Duration;

    use super::super::fixture::Fixture;
    use super::*;

    const T: u64 = 8;
    const ROW: usize = T as usize + 1;

    fn plan(global_sequences: u64, micro_sequences: u64) -> BatchPlan {
        BatchPlan { global_sequences, micro_sequences, sequence_tokens: T }
    }

    /// Returns the first tokens of the sequences of each step, over all ranks of a world in rank order.
    fn steps(data: &Arc<TrainingData>, plan: BatchPlan, world: u32, consumed: u64, steps: u64) -> Vec<Vec<i32>> {
        let world = WorldSize::new(world).unwrap();
        let start = |rank| TokenStream::train(data.clone(), plan, rank, world, consumed, steps);
        let mut streams: Vec<_> = world.ranks().map(|rank| (rank, start(rank))).collect();
        let mut of_steps = Vec::new();
        for step in 0..steps {
            let mut firsts = Vec::new();
            for (rank, stream) in &mut streams {
                for range in plan.micro_batches(consumed + step * plan.global_sequences, *rank, world) {
                    let micro = stream.next().unwrap();
                    assert_eq!((micro.sequences, micro.batch), (range.clone(), (range.end - range.start) as usize));
                    assert_eq!(micro.tokens.len(), micro.batch * ROW);
                    for row in micro.tokens.chunks(ROW) {
                        assert!(row.iter().copied().eq(row[0]..row[0] + ROW as i32), "{row:?} is not consecutive");
                        firsts.push(row[0]);
                    }
                }
            }
            of_steps.push(firsts);
        }
        for (_, stream) in &mut streams {
            assert!(matches!(stream.next(), Err(DataError::Ended)));
        }
        of_steps
    }

    #[test]
    fn every_world_size_consumes_the_same_sequences_over_epochs() {
        let data = Fixture::new("worlds", &[100, 77, 50]).train(T, 10);
        assert_eq!(data.sets()[0].sequences(), 12 + 9 + 6);
        let alone = steps(&data, plan(10, 3), 1, 0, 12);
        for world in [1, 2, 3, 4, 8, 13] {
            for micro in [1, 3, 10] {
                assert_eq!(
                    steps(&data, plan(10, micro), world, 0, 12),
                    alone,
                    "{world} ranks, micro batches of {micro}"
                );
            }
        }
        let all: Vec<_> = alone.into_iter().flatten().collect();
        let epochs: Vec<_> = all.chunks_exact(27).collect();
        assert_eq!(epochs.len(), 4);
        for (i, epoch) in epochs.iter().enumerate() {
            assert_eq!(epoch.iter().collect::<HashSet<_>>().len(), 27, "epoch {i} repeats a sequence");
            assert!(!epochs[..i].contains(epoch), "epoch {i} has the order of an earlier one");
        }
    }

    #[test]
    fn resuming_continues_exactly_with_any_world_size() {
        let data = Fixture::new("resume", &[100, 77, 50]).train(T, 10);
        let whole = steps(&data, plan(10, 4), 2, 0, 9);
        for done in 0..9 {
            for world in [2, 3] {
                let rest = steps(&data, plan(10, 2), world, done * 10, 9 - done);
                assert_eq!(rest, whole[done as usize..], "resumed after {done} steps on {world} ranks");
            }
        }
    }

    #[test]
    fn good_micro_batches_come_before_the_error() {
        let fixture = Fixture::new("late-error", &[100; 20]);
        let data = fixture.train(T, 1);
        fixture.folder.delete(&fixture.index.shards[7].name).unwrap();
        let good = (0..).take_while(|n| data.blocks_of(*n).unwrap().all(|of| of.block.shard != 7)).count();
        assert!(good > 0, "another seed would show more");
        let mut stream = TokenStream::train(data, plan(1, 1), Rank::ZERO, WorldSize::ONE, 0, 240);
        for number in 0..good as u64 {
            assert_eq!(stream.next().unwrap().sequences, number..number + 1);
        }
        assert!(matches!(stream.next(), Err(DataError::MissingShard { .. })));
        assert!(matches!(stream.next(), Err(DataError::Ended)));
    }

    #[test]
    fn dropping_a_stream_ends_its_thread() {
        let data = Fixture::new("drop", &[100]).train(T, 4);
        let mut stream = TokenStream::train(data.clone(), plan(4, 2), Rank::ZERO, WorldSize::ONE, 0, u64::MAX / 8);
        stream.next().unwrap();
        drop(stream);
        // The stream's threads hold the other references. The wait is generous, and ends as soon as they do.
        let ended = (0..6000).any(|_| {
            thread::sleep(Duration::from_millis(10));
            Arc::strong_count(&data) == 1
        });
        assert!(ended, "the thread still reads");
    }

    /// Otherwise such a stream would take as long as counting the steps, and a core for each of its threads.
    #[test]
    fn a_stream_of_a_rank_without_a_share_ends_at_once() {
        let data = Fixture::new("idle", &[100]).train(T, 1);
        let world = WorldSize::new(2).unwrap();
        let mut stream = TokenStream::train(data, plan(1, 1), Rank::ZERO, world, 0, u64::MAX / 8);
        assert!(matches!(stream.next(), Err(DataError::Ended)));
    }

    #[test]
    fn several_data_sets_are_mixed_the_same_for_every_world() {
        let fixtures = [("mix-a", &[100, 77][..]), ("mix-b", &[50])].map(|(name, shards)| Fixture::new(name, shards));
        let data = Fixture::train_on(&fixtures.each_ref().map(|fixture| (fixture, 1.0)), T, 9);
        let alone = steps(&data, plan(9, 2), 1, 0, 20);
        assert_eq!(steps(&data, plan(9, 4), 4, 0, 20), alone);
        assert_eq!(steps(&data, plan(9, 4), 3, 9 * 13, 7), alone[13..]);
        // 90 sequences of each: more than four epochs of 21, and 15 epochs of 6, each with every sequence once.
        for (set, count) in [(0, 21), (1, 6)] {
            let of_set = (0..180).map(|n| data.place(n)).filter(|place| place.set == set).map(|place| place.position);
            let of_set: Vec<u64> = of_set.collect();
            assert_eq!(of_set.len(), 90);
            for epoch in of_set.chunks_exact(count) {
                assert_eq!(epoch.iter().collect::<HashSet<_>>().len(), count);
            }
        }
    }

    #[test]
    fn the_queue_is_bounded_in_number_and_bytes() {
        assert_eq!(queue_micro_batches(&plan(64, 4), 1 << 20), 8);
        assert_eq!(queue_micro_batches(&plan(64, 4), 4 * 9 * 4 * 3 + 1), 3);
        assert_eq!(queue_micro_batches(&plan(64, 64), 100), 1);
        assert_eq!(queue_micro_batches(&plan(2, 64), 2 * 9 * 4 * 2), 2);
    }
}
