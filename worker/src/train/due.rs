//! Decides what follows a step, by the config, the step, and what the ranks have agreed on, so that every rank
//! decides alike.

use common::config::{CheckpointConfig, RunConfig, WhenBusy};

use crate::checkpoint::Tier;
use crate::observe::profile;
use crate::saving::save::Standing;
use crate::step::agreement::Flags;
use crate::step::cadence::is_due;

/// Actions that are due after a step.
#[derive(Debug, Clone, PartialEq)]
pub struct Due {
    /// Whether the results of all steps so far are needed now, which a GPU otherwise gives a step late. Requests of
    /// people, a save and the end wait for them.
    pub results: bool,
    /// Whether to measure the validation loss.
    pub validation: bool,
    /// Whether to score evaluation tasks.
    pub tasks: bool,
    /// Kind of place to save to; `None` for no save.
    pub save: Option<Tier>,
    /// Whether to stop.
    pub stop: bool,
    /// Whether this is the last step.
    pub is_last: bool,
}

/// Returns the actions that are due after `step` of a run with this config, given what the ranks have `agreed` on and
/// the state of saving.
pub fn due(config: &RunConfig, step: u64, agreed: &Flags, saves: &Standing) -> Due {
    let is_last = step == config.train.max_steps;
    let validation = is_last || is_due(config.evaluation.every_steps, step);
    let tasks = !config.evaluation.tasks.is_empty() && (is_last || is_due(config.evaluation.tasks_every_steps, step));
    let save = save_due(&config.checkpoint, step, agreed, saves);
    let is_traced = profile::begins_or_ends_after(config.metrics.profile.as_ref(), step);
    let results = save.is_some() || validation || tasks || agreed.stop || is_traced;
    Due { results, validation, tasks, save, stop: agreed.stop, is_last }
}

/// Decides whether to save after `step`, and where to.
fn save_due(config: &CheckpointConfig, step: u64, agreed: &Flags, saves: &Standing) -> Option<Tier> {
    if is_due(config.every_steps, step) || agreed.save || (saves.is_owed && saves.is_idle) {
        return Some(Tier::Run);
    }
    let on_hosts = is_due(config.local_every_steps, step) || agreed.save_on_hosts;
    // A save on the hosts is left out silently while another save is under way: the next is due soon.
    let may_begin = saves.is_idle || config.when_busy == WhenBusy::Wait;
    (saves.has_host && may_begin && on_hosts).then_some(Tier::Hosts)
}

impl Due {
    /// Returns whether a save and a stop wait for a later step. A state saved while updates are skipped would contain
    /// the cause, so both wait until an update is made again: a few steps, or the run ends.
    pub fn waits(&self, is_skipping: bool) -> bool {
        is_skipping && !self.is_last
    }
}

#[cfg(test)]
mod tests {
    use common::config::RawConfig;

    use super::*;

    const IDLE: Standing = Standing { is_idle: true, is_owed: false, has_host: true };

    fn config(settings: &[&str]) -> RunConfig {
        let text = "[run]\noutput = \"memory://x\"\n[data]\ntrain = [{ url = \"memory://x\" }]\n\
                    [model]\nlayers = 1\nwidth = 32\nheads = 2\ncontext_tokens = 16\nvocabulary = 101\n\
                    [batch]\nglobal_sequences = 2\nmicro_sequences = 2\nsequence_tokens = 16\n\
                    [optimizer]\npeak_learning_rate = 1e-2\nwarmup_steps = 1\n[train]\nmax_steps = 10\n";
        let all = ["evaluation.every_steps=0", "checkpoint.every_steps=0", "checkpoint.local_every_steps=0"];
        let settings: Vec<_> = all.iter().chain(settings).map(|setting| (*setting).to_owned()).collect();
        RawConfig::parse("of the test", text, &settings).unwrap().run().unwrap()
    }

    /// Returns the steps of 1 to 10 after which `what` is due, without any requests.
    fn steps(settings: &[&str], what: impl Fn(&Due) -> bool) -> Vec<u64> {
        let config = config(settings);
        (1..=10).filter(|step| what(&due(&config, *step, &Flags::default(), &IDLE))).collect()
    }

    fn save(settings: &[&str], agreed: &Flags, saves: &Standing) -> Option<Tier> {
        due(&config(settings), 3, agreed, saves).save
    }

    #[test]
    fn validation_comes_every_n_steps_and_at_the_end() {
        assert_eq!(steps(&[], |due| due.validation), [10]);
        assert_eq!(steps(&["evaluation.every_steps=4"], |due| due.validation), [4, 8, 10]);
        assert_eq!(steps(&[], |due| due.is_last), [10]);
    }

    #[test]
    fn tasks_come_every_n_steps_and_at_the_end_if_there_are_any() {
        assert_eq!(steps(&["evaluation.tasks_every_steps=3"], |due| due.tasks), [0; 0]);
        assert_eq!(steps(&["evaluation.tasks=ptb"], |due| due.tasks), [10]);
        let both = ["evaluation.tasks=ptb", "evaluation.tasks_every_steps=3"];
        assert_eq!(steps(&both, |due| due.tasks), [3, 6, 9, 10]);
        assert_eq!(steps(&both, |due| due.results), [3, 6, 9, 10]);
        assert_eq!(steps(&both, |due| due.validation), [10]);
    }

    #[test]
    fn saves_come_every_n_steps_and_one_of_the_run_goes_before_one_on_the_hosts() {
        let settings = ["checkpoint.every_steps=4", "checkpoint.local_every_steps=2", "checkpoint.local_dir=/tmp/x"];
        assert_eq!(steps(&settings, |due| due.save == Some(Tier::Run)), [4, 8]);
        assert_eq!(steps(&settings, |due| due.save == Some(Tier::Hosts)), [2, 6, 10]);
        assert_eq!(steps(&[], |due| due.save.is_some()), [0; 0]);
    }

    #[test]
    fn a_save_is_due_when_it_is_asked_for_or_owed() {
        let asked = Flags { save: true, ..Flags::default() };
        assert_eq!(save(&[], &asked, &Standing { is_idle: false, ..IDLE }), Some(Tier::Run));
        let owed = Standing { is_owed: true, ..IDLE };
        assert_eq!(save(&[], &Flags::default(), &owed), Some(Tier::Run));
        assert_eq!(save(&[], &Flags::default(), &Standing { is_idle: false, ..owed }), None);
    }

    #[test]
    fn a_save_on_the_hosts_is_left_out_where_none_can_begin() {
        let asked = Flags { save_on_hosts: true, ..Flags::default() };
        let busy = Standing { is_idle: false, ..IDLE };
        assert_eq!(save(&[], &asked, &IDLE), Some(Tier::Hosts));
        assert_eq!(save(&[], &asked, &Standing { has_host: false, ..IDLE }), None);
        assert_eq!(save(&["checkpoint.when_busy=skip"], &asked, &busy), None);
        assert_eq!(save(&["checkpoint.when_busy=wait"], &asked, &busy), Some(Tier::Hosts));
    }

    #[test]
    fn results_are_read_at_once_where_something_needs_them() {
        assert_eq!(steps(&[], |due| due.results), [10]);
        assert_eq!(steps(&["checkpoint.every_steps=4"], |due| due.results), [4, 8, 10]);
        assert_eq!(steps(&["metrics.profile=3..5"], |due| due.results), [2, 5, 10]);
        let stop = Flags { stop: true, ..Flags::default() };
        let due = due(&config(&[]), 3, &stop, &IDLE);
        assert!(due.results && due.stop && !due.is_last);
    }

    #[test]
    fn saves_and_stops_wait_for_an_update_but_not_after_the_last_step() {
        let after = |step| due(&config(&[]), step, &Flags::default(), &IDLE);
        assert!(after(9).waits(true) && !after(9).waits(false) && !after(10).waits(true));
    }
}
