//! Reads blocks before they are needed: one thread walks ahead of the stream, in its order, and others read the
//! blocks that are not here yet.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use super::shards::BlockId;
use super::training_data::{SetBlock, TrainingData};

/// Limit of the number of sequences that the walk is ahead, so that it rests if every block is here already.
const SEQUENCES_AHEAD_MAX: u64 = 1 << 18;

/// Progress of the stream, for the thread ahead of it.
#[derive(Debug, Default)]
pub(super) struct Reached {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Sequences before this one have been read by the stream.
    number: u64,
    has_ended: bool,
}

impl Reached {
    /// Records that a thread of the stream has come to `number`; the furthest thread counts.
    pub fn set(&self, number: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.number = state.number.max(number);
        drop(state);
        self.changed.notify_all();
    }

    /// Records that the stream has ended.
    pub fn end(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).has_ended = true;
        self.changed.notify_all();
    }

    /// Waits until the stream is past `number`. Returns false if it has ended.
    fn wait_past(&self, number: u64) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = |state: &mut State| state.number <= number && !state.has_ended;
        !self.changed.wait_while(state, waits).unwrap_or_else(PoisonError::into_inner).has_ended
    }

    fn number(&self) -> u64 {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).number
    }
}

/// One or two claimed blocks of a data set, for a reader.
struct Claimed {
    set: usize,
    block: BlockId,
    beside: Option<BlockId>,
}

/// Starts reading the blocks of the sequences in `ranges`, at most `blocks` that the stream has not come to.
///
/// Failures are ignored: the stream meets them when it comes there.
pub(super) fn start(
    data: &Arc<TrainingData>,
    ranges: impl Iterator<Item = Range<u64>> + Send + 'static,
    blocks: usize,
    readers: usize,
    reached: &Arc<Reached>,
) {
    let (sender, receiver) = sync_channel(0);
    let receiver = Arc::new(Mutex::new(receiver));
    let start_reader = |_| {
        let (data, receiver) = (data.clone(), receiver.clone());
        spawn("block reader", move || read_blocks(&data, &receiver))
    };
    // A claimed block must be read, so without a reader nothing may be claimed.
    if (0..readers).map_while(start_reader).count() == 0 {
        return;
    }
    let (data, reached) = (data.clone(), reached.clone());
    spawn("read-ahead", move || {
        let mut pairs = Pairs { sender, waiting: None };
        walk(&data, ranges.flatten(), blocks, &reached, &mut pairs);
        // A claimed block must be read, even if nothing waits for it any more.
        pairs.send_waiting();
    });
}

/// Goes through the sequences ahead of the stream and has their blocks read, until the last one or the end of the
/// stream.
fn walk(data: &TrainingData, numbers: impl Iterator<Item = u64>, blocks: usize, reached: &Reached, pairs: &mut Pairs) {
    // Sequence at which the stream needs each block that was asked for and that it has not come to.
    let mut needed: VecDeque<u64> = VecDeque::new();
    for number in numbers {
        let Ok(of_sequence) = data.blocks_of(number) else { return };
        for SetBlock { set, block } in of_sequence {
            let of_set = data.sets()[set].blocks();
            if of_set.claim(block) {
                needed.push_back(number);
                pairs.send(set, block, of_set.prefers_pairs());
            }
        }
        let stream = reached.number();
        needed.retain(|first| *first >= stream);
        // There is room again once two blocks are no longer needed, so that the next two are read together.
        let second = needed.get(1).or(needed.front()).copied();
        let enough = second.filter(|_| needed.len() >= blocks);
        let far = number.checked_sub(SEQUENCES_AHEAD_MAX).filter(|far| *far >= stream);
        if let Some(until) = enough.max(far) {
            pairs.send_waiting();
            if !reached.wait_past(until) {
                return;
            }
        }
    }
}

/// Hands claimed blocks to the readers, in pairs where that is faster.
struct Pairs {
    sender: SyncSender<Claimed>,
    waiting: Option<(usize, BlockId)>,
}

impl Pairs {
    fn send(&mut self, set: usize, block: BlockId, prefers_pairs: bool) {
        match self.waiting.take() {
            Some((waiting, beside)) if waiting == set => self.hand_over(set, block, Some(beside)),
            waiting => {
                waiting.into_iter().for_each(|(set, block)| self.hand_over(set, block, None));
                match prefers_pairs {
                    true => self.waiting = Some((set, block)),
                    false => self.hand_over(set, block, None),
                }
            }
        }
    }

    fn send_waiting(&mut self) {
        self.waiting.take().into_iter().for_each(|(set, block)| self.hand_over(set, block, None));
    }

    /// Readers live as long as the sender.
    fn hand_over(&self, set: usize, block: BlockId, beside: Option<BlockId>) {
        let _ = self.sender.send(Claimed { set, block, beside });
    }
}

fn read_blocks(data: &TrainingData, claimed: &Mutex<Receiver<Claimed>>) {
    loop {
        let next = claimed.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Claimed { set, block, beside }) = next else { return };
        let blocks = data.sets()[set].blocks();
        match beside {
            Some(beside) => blocks.load_pair([block, beside]),
            None => drop(blocks.load(block)),
        }
    }
}

/// Spawns a thread. A missing thread only makes the stream slower.
fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Option<thread::JoinHandle<()>> {
    let thread = thread::Builder::new().name(name.into()).spawn(body);
    thread.inspect_err(|error| tracing::warn!("no thread to read tokens ahead: {error}")).ok()
}
