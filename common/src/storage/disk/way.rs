//! The way that large files take to a local disk: past the page cache, or through it.
//!
//! Past it takes less of a processor, and leaves what others read where it is. Some disks are faster through it all the same:
//! a disk behind a hypervisor, say, that takes larger requests from the kernel than from a program. So a trial times both on
//! the first parts of a file, and later files go the better way, until they become slow or enough of them have gone by.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How the parts of a file reach the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Past the page cache.
    Direct,
    /// Through the page cache, from which they go soon.
    Cached,
}

/// Parts that a trial sends each way.
pub(super) const TRIAL_PARTS: usize = 4;
/// How many times as fast the page cache must be to be worth a copy of everything.
const WORTH_A_COPY: f64 = 1.1;
/// Files after which there is a new trial in any case.
const FILES_BETWEEN_TRIALS: u32 = 64;
/// A file that goes at less than this part of the speed of the first after the trial is reason for a new one.
const SLOW: f64 = 0.6;

/// What is known of a disk, from all files that this process has written to it.
#[derive(Debug, Default)]
pub(crate) struct Ways(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// None before the first trial, and where a new one is due.
    chosen: Option<Way>,
    files: u32,
    /// Of the first file after the trial.
    bytes_per_s: Option<f64>,
}

impl Ways {
    /// The way to go, or None where a trial is due.
    pub fn chosen(&self) -> Option<Way> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).chosen
    }

    /// Notes what as many bytes took each way in a trial. Returns the way to go from now on.
    pub fn tried(&self, direct: Duration, cached: Duration) -> Way {
        let is_worth_it = direct.as_secs_f64() > WORTH_A_COPY * cached.as_secs_f64();
        let way = if is_worth_it { Way::Cached } else { Way::Direct };
        tracing::debug!("{direct:?} past the page cache and {cached:?} through it: large files go {way:?}");
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Known { chosen: Some(way), ..Known::default() };
        way
    }

    /// Notes a whole file that went the chosen way in this time.
    pub fn went(&self, bytes: u64, took: Duration) {
        let bytes_per_s = bytes as f64 / took.as_secs_f64().max(1e-9);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.files += 1;
        let at_first = *known.bytes_per_s.get_or_insert(bytes_per_s);
        if known.files >= FILES_BETWEEN_TRIALS || bytes_per_s < SLOW * at_first {
            *known = Known::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_page_cache_is_chosen_where_it_is_faster_by_more_than_a_copy_is_worth() {
        let ways = Ways::default();
        assert_eq!(ways.chosen(), None);
        for (direct, cached, way) in
            [(50, 100, Way::Direct), (105, 100, Way::Direct), (120, 100, Way::Cached), (0, 0, Way::Direct)]
        {
            assert_eq!(ways.tried(ms(direct), ms(cached)), way);
            assert_eq!(ways.chosen(), Some(way));
        }
    }

    #[test]
    fn a_disk_that_becomes_slow_is_tried_anew_and_so_is_any_after_many_files() {
        let ways = Ways::default();
        ways.tried(ms(1), ms(2));
        // Faster than at first, and a little slower.
        for took in [100, 50, 140] {
            ways.went(1 << 20, ms(took));
            assert_eq!(ways.chosen(), Some(Way::Direct));
        }
        ways.went(1 << 20, ms(200));
        assert_eq!(ways.chosen(), None);

        ways.tried(ms(2), ms(1));
        let even = (0..).take_while(|_| {
            ways.went(1 << 20, ms(100));
            ways.chosen().is_some()
        });
        assert_eq!(even.count() as u32, FILES_BETWEEN_TRIALS - 1);
    }
}
