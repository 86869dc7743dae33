//! Decides which checkpoints are deleted. Pure: a function of a listing and a policy.

use super::found::Found;
use crate::attempt::Claim;
use crate::checkpoint_layout::CheckpointName;
use crate::config::Retention;

/// Seconds for which the leftovers of a dead attempt stay after their last change. The attempt may only seem dead, and still
/// be writing.
pub const ORPHAN_GRACE_S: u64 = 3600;

/// Checkpoints and leftovers that may be deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Garbage {
    /// Checkpoints that retention does not keep, oldest first.
    pub expired: Vec<CheckpointName>,
    /// Saves that never became a checkpoint, or are none any more, oldest first.
    pub orphans: Vec<CheckpointName>,
}

impl Garbage {
    /// Returns what of `found` may be deleted at `now_unix_s`, by the attempt of claim `holder` or by somebody who holds nothing.
    ///
    /// Retention counts only checkpoints that a run can resume from, and the newest of them is never deleted. Of the others,
    /// only those that the run has left behind are deleted: at once if the holder left them, since it makes one save at a
    /// time, and after [`ORPHAN_GRACE_S`] if another attempt did.
    pub fn among(found: &[Found], retention: &Retention, holder: Option<&Claim>, now_unix_s: u64) -> Self {
        let mut counted: Vec<&CheckpointName> = found.iter().filter(|f| f.counts()).map(|f| &f.name).collect();
        counted.sort();
        let Some(newest) = counted.last().copied() else { return Garbage::default() };
        let excess = match retention.keep_last {
            0 => 0,
            keep_last => (counted.len() as u64).saturating_sub(keep_last) as usize,
        };
        let is_kept = |name: &CheckpointName| {
            retention.keep_every_steps > 0 && name.step.is_multiple_of(retention.keep_every_steps)
        };
        let expired = counted[..excess].iter().filter(|name| !is_kept(name)).map(|name| (*name).clone()).collect();
        let is_orphan = |f: &&Found| {
            let is_behind = if f.committed { f.name.step <= newest.step } else { f.name.step < newest.step };
            let is_old = now_unix_s.saturating_sub(f.changed_unix_s) >= ORPHAN_GRACE_S;
            !f.counts() && is_behind && (holder.is_some_and(|holder| holder.has_saved(&f.name)) || is_old)
        };
        Garbage { expired, orphans: found.iter().filter(is_orphan).map(|f| f.name.clone()).collect() }
    }
}

impl Garbage {
    /// Returns what of `found`, which one rank has on its own host, attempt `holder` may delete if the `keep_last` newest
    /// are to stay.
    ///
    /// An attempt's checkpoints are newer than those of all earlier attempts that still count, even if these have committed
    /// since, so nobody needs to ask which do. An attempt makes one save at a time: whatever it or an older attempt has not
    /// committed is left over. A newer attempt may be writing its own, if this one only seemed dead.
    pub fn on_host(found: &[Found], keep_last: u64, holder: u32) -> Self {
        let (mut committed, mut open): (Vec<_>, Vec<_>) = found.iter().partition(|f| f.committed);
        open.retain(|f| f.name.attempt <= holder);
        committed.sort_by_key(|f| (f.name.attempt, f.name.step));
        let excess = committed.len().saturating_sub(keep_last as usize);
        let names = |found: &[&Found]| found.iter().map(|f| f.name.clone()).collect();
        Garbage { expired: names(&committed[..excess]), orphans: names(&open) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: u64 = 1_000_000;

    fn claim(number: u32) -> Claim {
        Claim { number, id: "c1".repeat(8) }
    }

    fn name(step: u64, attempt: u32) -> CheckpointName {
        claim(attempt).name_checkpoint(step, "1")
    }

    fn found(step: u64, attempt: u32) -> Found {
        Found { name: name(step, attempt), committed: true, void: false, bytes: 1, changed_unix_s: NOW }
    }

    fn expired(found: &[Found], keep_last: u64, keep_every_steps: u64) -> Vec<u64> {
        let garbage = Garbage::among(found, &Retention { keep_last, keep_every_steps }, Some(&claim(1)), NOW);
        garbage.expired.iter().map(|name| name.step).collect()
    }

    #[test]
    fn the_last_ones_stay_and_those_of_every_so_many_steps() {
        let four: Vec<_> = [30, 10, 20, 40].map(|step| found(step, 1)).into();
        assert_eq!(expired(&four, 0, 0), [0; 0]);
        assert_eq!(expired(&four, 4, 0), [0; 0]);
        assert_eq!(expired(&four, 2, 0), [10, 20]);
        assert_eq!(expired(&four, 1, 20), [10, 30]);
        assert_eq!(expired(&[], 1, 0), [0; 0]);
    }

    #[test]
    fn what_does_not_count_is_not_counted() {
        let open = Found { committed: false, ..found(50, 1) };
        let void = Found { void: true, ..found(60, 1) };
        assert_eq!(expired(&[found(10, 1), found(20, 1), open, void], 2, 0), [0; 0]);
    }

    #[test]
    fn orphans_go_once_the_run_has_left_them_behind() {
        let open =
            |step, attempt, age_s| Found { committed: false, changed_unix_s: NOW - age_s, ..found(step, attempt) };
        let void = |step, age_s| Found { void: true, changed_unix_s: NOW - age_s, ..found(step, 1) };
        let listing = [
            open(10, 1, ORPHAN_GRACE_S),
            open(11, 1, ORPHAN_GRACE_S - 1),
            open(12, 2, 0),
            void(13, ORPHAN_GRACE_S),
            void(20, ORPHAN_GRACE_S),
            open(20, 1, ORPHAN_GRACE_S),
            found(20, 2),
            open(21, 2, ORPHAN_GRACE_S),
            void(22, ORPHAN_GRACE_S),
        ];
        let keep_all = Retention { keep_last: 0, keep_every_steps: 0 };
        let orphans = |holder: Option<u32>| {
            let garbage = Garbage::among(&listing, &keep_all, holder.map(claim).as_ref(), NOW);
            garbage.orphans.iter().map(|name| (name.step, name.attempt)).collect::<Vec<_>>()
        };
        assert_eq!(orphans(Some(2)), [(10, 1), (12, 2), (13, 1), (20, 1)]);
        assert_eq!(orphans(None), [(10, 1), (13, 1), (20, 1)]);
        // An attempt of another run with this number may also only seem dead.
        let namesake = Claim { number: 2, id: "d1".repeat(8) };
        let garbage = Garbage::among(&listing, &keep_all, Some(&namesake), NOW);
        assert!(!garbage.orphans.contains(&name(12, 2)));
        // Without anything to continue from, nothing is known to be left behind.
        assert_eq!(Garbage::among(&listing[..6], &keep_all, Some(&claim(2)), NOW), Garbage::default());
    }

    #[test]
    fn on_a_host_the_newest_attempts_stay_and_nothing_that_was_left_over() {
        let open = Found { committed: false, ..found(60, 2) };
        let on_host = [found(30, 1), found(50, 1), found(35, 2), open.clone(), found(40, 2)];
        let expired = vec![name(30, 1), name(50, 1)];
        for holder in [2, 3] {
            let garbage = Garbage::on_host(&on_host, 2, holder);
            assert_eq!(garbage, Garbage { expired: expired.clone(), orphans: vec![open.name.clone()] });
        }
        // An attempt that was taken over leaves the newer attempt's save alone.
        assert_eq!(Garbage::on_host(&on_host, 2, 1), Garbage { expired, orphans: Vec::new() });
        assert_eq!(Garbage::on_host(&[found(30, 1)], 2, 1), Garbage::default());
    }

    fn any_listing() -> impl Strategy<Value = Vec<Found>> {
        let one = (0_u64..40, 1_u32..5, any::<bool>(), prop::bool::weighted(0.2), 0_u64..2 * ORPHAN_GRACE_S);
        prop::collection::vec(one, 0..30).prop_map(|all| {
            let mut listing: Vec<Found> = all
                .into_iter()
                .map(|(step, attempt, committed, void, age_s)| Found {
                    committed,
                    void,
                    changed_unix_s: NOW - age_s,
                    ..found(step, attempt)
                })
                .collect();
            listing.sort_by(|a, b| a.name.cmp(&b.name));
            listing.dedup_by(|a, b| a.name == b.name);
            listing
        })
    }

    proptest! {
        #[test]
        fn whatever_lies_there_enough_stays(
            listing in any_listing(), keep_last in 0_u64..6, keep_every_steps in 0_u64..8, holder in 0_u32..5
        ) {
            let retention = Retention { keep_last, keep_every_steps };
            let claim = Some(holder).filter(|holder| *holder > 0).map(claim);
            let holder = claim.as_ref();
            let Garbage { expired, orphans } = Garbage::among(&listing, &retention, holder, NOW);
            let counts = |name: &CheckpointName| listing.iter().any(|f| f.name == *name && f.counts());
            prop_assert!(expired.iter().all(counts) && !orphans.iter().any(counts));
            let kept: Vec<_> = listing.iter().filter(|f| f.counts() && !expired.contains(&f.name)).collect();
            let all: Vec<_> = listing.iter().filter(|f| f.counts()).collect();
            // The newest stay, as many as requested, and the very newest in any case.
            let last = if keep_last == 0 { all.len() } else { all.len().min(keep_last as usize) };
            prop_assert!(all[all.len() - last..].iter().all(|f| kept.contains(f)));
            // Of the others, those whose step is a multiple of `keep_every_steps` stay, and no more.
            let is_kept = |f: &&&Found| keep_every_steps > 0 && f.name.step.is_multiple_of(keep_every_steps);
            let others = all[..all.len() - last].iter().filter(is_kept).count();
            prop_assert_eq!(kept.len(), last + others);
            // Nothing that a save in progress may be writing is deleted.
            let newest = all.last().map(|f| f.name.step);
            for name in &orphans {
                let f = listing.iter().find(|f| f.name == *name).unwrap();
                prop_assert!(newest.is_some_and(|newest| name.step < newest || (f.committed && name.step == newest)));
                prop_assert!(holder.is_some_and(|holder| holder.has_saved(name)) || NOW - f.changed_unix_s >= ORPHAN_GRACE_S);
            }
            // Once all that is gone, nothing more is deleted.
            let left: Vec<_> =
                listing.iter().filter(|f| !expired.contains(&f.name) && !orphans.contains(&f.name)).cloned().collect();
            prop_assert_eq!(Garbage::among(&left, &retention, holder, NOW), Garbage::default());
        }
    }
}
