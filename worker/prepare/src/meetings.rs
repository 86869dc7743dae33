//! Meetings of all ranks from within their work, which runs on another thread than the main one. Only the main thread calls MPI.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Longest time that the main thread waits for a meeting before it looks at other things.
const TICK: Duration = Duration::from_millis(20);

/// The side of the work.
pub struct Meetings {
    rank: usize,
    ranks: usize,
    ask: Sender<Vec<u64>>,
    answers: Mutex<Receiver<Vec<u64>>>,
}

/// The side of the main thread.
pub(crate) struct Asked {
    asked: Receiver<Vec<u64>>,
    answer: Sender<Vec<u64>>,
}

impl Meetings {
    pub(crate) fn of(rank: usize, ranks: usize) -> (Self, Asked) {
        let ((ask, asked), (answer, answers)) = (channel(), channel());
        (Meetings { rank, ranks, ask, answers: Mutex::new(answers) }, Asked { asked, answer })
    }

    /// Returns the number of this rank.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// Returns the number of ranks.
    pub fn ranks(&self) -> usize {
        self.ranks
    }

    /// Waits until all ranks are here. Returns the sums of their `numbers`.
    ///
    /// # Panics
    /// Panics if the main thread has ended, which waits for the work.
    pub fn sum(&self, numbers: Vec<u64>) -> Vec<u64> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        self.ask.send(numbers).unwrap_or_else(|_| unreachable!("the main thread waits for the work"));
        answers.recv().unwrap_or_else(|_| unreachable!("the main thread answers"))
    }
}

impl Asked {
    /// Returns the numbers of the next meeting, if the work is there, or comes soon.
    pub(crate) fn next(&self) -> Option<Vec<u64>> {
        match self.asked.recv_timeout(TICK) {
            Ok(numbers) => Some(numbers),
            Err(RecvTimeoutError::Timeout) => None,
            // The work has ended.
            Err(RecvTimeoutError::Disconnected) => {
                std::thread::sleep(TICK);
                None
            }
        }
    }

    pub(crate) fn answer(&self, sums: Vec<u64>) {
        // Work that has ended in a panic does not hear it.
        let _ = self.answer.send(sums);
    }
}
