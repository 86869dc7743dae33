//! Polls hosts that were missing when the attempt started.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::Builder;
use std::time::Duration;

use common::topology::WorldSize;

use crate::backend::Scout;
use crate::backend::placement::Placement;

/// Thread that polls missing hosts until it is dropped.
pub struct Returning {
    found: Receiver<Placement>,
    /// Ends the thread when it is dropped.
    _alive: Sender<()>,
}

impl Returning {
    /// Starts to call `scout` every `every`, until it finds room for more than `now` ranks.
    pub fn start(scout: Scout, every: Duration, now: WorldSize) -> io::Result<Self> {
        let (found_there, found) = channel();
        let (_alive, is_over) = channel::<()>();
        Builder::new().name("hosts".into()).spawn(move || {
            while is_over.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                // There are too few hosts, or the list is being edited: the attempt continues as it is.
                let Ok(placement) = scout() else { continue };
                if placement.world_size.get() > now.get() {
                    // Nobody listens once the attempt is over.
                    let _ = found_there.send(placement);
                    return;
                }
            }
        })?;
        Ok(Returning { found, _alive })
    }

    /// Returns a placement of more ranks than the attempt has, once, when one has been found.
    pub fn poll(&self) -> Option<Placement> {
        self.found.try_recv().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::LaunchError;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn placement(ranks: u32) -> Placement {
        let world_size = WorldSize::new(ranks).unwrap();
        let left_out = Vec::new();
        Placement { world_size, threads_per_rank: 1, is_bound: false, hosts: Vec::new(), room: ranks, left_out }
    }

    #[test]
    fn it_asks_until_there_is_room_for_more_ranks_and_says_so_once() {
        let asked = AtomicU32::new(0);
        let scout = move || match asked.fetch_add(1, Ordering::Relaxed) {
            0 => Err(LaunchError::Hosts("none".into())),
            1 => Ok(placement(2)),
            _ => Ok(placement(3)),
        };
        let returning =
            Returning::start(Box::new(scout), Duration::from_millis(1), WorldSize::new(2).unwrap()).unwrap();
        let found = returning.found.recv_timeout(Duration::from_secs(60)).unwrap();
        assert_eq!(found, placement(3));
        assert_eq!(returning.found.recv(), Err(std::sync::mpsc::RecvError), "the thread has ended");
        assert_eq!(returning.poll(), None);
    }
}
