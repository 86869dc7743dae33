//! How large files are written to a local disk: past the page cache, or through it.
//!
//! Bypassing the page cache takes less processor time and leaves in it what others read. Some disks are nevertheless faster
//! through it, such as a disk behind a hypervisor that takes larger requests from the kernel than from a program. A trial
//! therefore times both ways on the first parts of a file. Later files go the better way, until they become slow or enough
//! of them have been written.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Way of a file's parts to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Past the page cache.
    Direct,
    /// Through the page cache, from which parts are soon dropped.
    Cached,
}

/// Number of parts that a trial writes each way.
pub(super) const TRIAL_PARTS: usize = 4;
/// Factor by which the page cache must be faster to be worth a copy of everything.
const WORTH_A_COPY: f64 = 1.1;
/// Number of files after which there is a new trial in any case.
const FILES_BETWEEN_TRIALS: u32 = 64;
/// Fraction of the speed of the first file after a trial below which a file causes a new trial.
const SLOW: f64 = 0.6;

/// What is known about a disk, from all files that this process has written to it.
#[derive(Debug, Default)]
pub(crate) struct Ways(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// `None` before the first trial, and when a new one is due.
    chosen: Option<Way>,
    files: u32,
    /// Speed of the first file after the trial, in bytes per second.
    bytes_per_s: Option<f64>,
}

impl Ways {
    /// Returns the way to write a file, or `None` if a trial is due.
    pub fn chosen(&self) -> Option<Way> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).chosen
    }

    /// Notes the times that equally many bytes took each way in a trial. Returns the way to use from now on.
    pub fn tried(&self, direct: Duration, cached: Duration) -> Way {
        let is_worth_it = direct.as_secs_f64() > WORTH_A_COPY * cached.as_secs_f64();
        let way = if is_worth_it { Way::Cached } else { Way::Direct };
        tracing::debug!("{direct:?} past the page cache and {cached:?} through it: large files go {way:?}");
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Known { chosen: Some(way), ..Known::default() };
        way
    }

    /// Notes the time of a whole file that was written the chosen way.
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
        // Faster than the first file, and a little slower.
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
