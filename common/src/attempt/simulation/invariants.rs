//! Invariants of a simulation.

use std::collections::BTreeSet;
use std::time::Duration;

use super::super::claim::Attempt;
use super::super::claims::read_claim;
use super::super::holder::REFRESHES;
use super::super::surroundings::blocking;
use super::world::{Shared, Sign};
use crate::checkpoint_layout::CheckpointName;

impl Shared {
    /// Checks the claim that `process`, which held none, has made. The previous holder had ended or was gone, or had stood
    /// still for two of its refreshes at the last look, as far as looks could show: not a sign that was deleted before one.
    pub fn check_takeover(&self, process: usize, attempt: &Attempt) {
        let before = blocking(read_claim(&self.truth(), attempt.attempt - 1)).expect("the truth is always known");
        let Some(before) = before.filter(|before| before.first == attempt.first) else { return };
        let is_gone = before.process.as_ref().is_some_and(|other| self.is_gone(process, other));
        let world = self.0.borrow();
        if is_gone || world.ended.contains(&before.id) {
            return;
        }
        let looks = &world.processes[process].looks;
        let looked_at = *looks.last().expect("nobody takes over without a look");
        let was_there = |sign: &&Sign| {
            looks.iter().any(|look| *look >= sign.at && sign.deleted.is_none_or(|deleted| *look < deleted))
        };
        let signs = world.signs.get(&before.id).into_iter().flatten();
        let last = signs.filter(was_there).map(|sign| sign.at).max().unwrap_or_default();
        let two_refreshes = 2 * Duration::from_millis(before.expiry_ms.unwrap_or(0)) / REFRESHES;
        let still = looked_at - last;
        assert!(still >= two_refreshes, "attempt {} was taken over {still:?} after a sign of life", before.attempt);
    }

    /// Checks that `process` may delete a manifest: of the checkpoints that count, never the newest, and only those that its
    /// retention does not keep.
    pub(super) fn check_deletion(&self, process: usize, name: &CheckpointName) {
        // After somebody has deleted a part of the folder, what was there before has no owner any more.
        let is_whole = self.0.borrow().doomed.is_empty();
        if !is_whole || !self.is_of_the_run(name) {
            return;
        }
        let counting: Vec<CheckpointName> = self.truth().counting();
        let Some(place) = counting.iter().position(|counts| counts == name) else { return };
        let newer = counting.len() - 1 - place;
        let keep_last = self.0.borrow().processes[process].keep_last.max(1);
        assert!(newer as u64 >= keep_last, "{name} is deleted, which counts, with {newer} newer ones: {counting:?}");
    }

    /// Returns whether the save `name` belongs to the run that is in the folder now.
    fn is_of_the_run(&self, name: &CheckpointName) -> bool {
        let run = blocking(read_claim(&self.truth(), 1)).expect("the truth is always known").map(|claim| claim.id);
        let world = self.0.borrow();
        run.is_some() && world.saves.get(name).and_then(|save| world.runs.get(&save.claim)) == run.as_ref()
    }

    /// Checks that the checkpoints that count form one line, and that nobody has committed to it after another attempt had begun.
    pub fn check_lineage(&self) {
        let counting = self.truth().counting();
        let world = self.0.borrow();
        let newest = counting.last().expect("the last claimant has saved");
        let run = &world.runs[&world.saves[newest].claim];
        let begun_at = world.begun.iter().filter(|(_, claim)| world.runs[claim] == *run).map(|(at, _)| *at).min();
        let mut line = BTreeSet::new();
        let mut next = Some(newest.clone());
        while let Some(name) = next {
            next = world.saves.get(&name).and_then(|save| save.parent.clone());
            line.insert(name);
        }
        for name in &counting {
            let save = &world.saves[name];
            if !self.is_of_the_run(name) {
                assert!(save.committed <= begun_at, "{name} counts, put when a new run had begun");
                continue;
            }
            assert!(line.contains(name), "{name} counts, and {newest} does not continue it: {counting:?}");
            let committed = save.committed.expect("what counts is committed");
            for (at, claim) in &world.begun {
                let is_later = world.runs[claim] == world.runs[&save.claim] && claim.number > save.claim.number;
                assert!(!is_later || committed <= *at, "{name} counts, committed after attempt {} began", claim.number);
            }
        }
    }
}
