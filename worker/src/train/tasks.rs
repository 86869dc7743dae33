//! Evaluation tasks during training: the items that the config names, always the same ones, scored by all ranks.
//!
//! Items are scored as `launcher eval` scores those of a checkpoint ([`crate::evaluate`]), but with the weights that the model
//! computes with. Nothing that training depends on is changed.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Instant;

use common::config::RunConfig;
use common::figures::{counted, with_thousands};
use common::secrets::without_secrets;
use common::task_results::{TaskResult, TasksRecord};
use common::token_shard::check_rows;
use common::tokenizer::Tokenizer;
use common::worker_contract::Phase;
use evaluation::tasks::choose;
use evaluation::{Key, Score, Scores, metrics};
use serde::{Deserialize, Serialize};
use tch::TchError;

use crate::collectives::Collectives;
use crate::data::DataError;
use crate::error::JobError;
use crate::evaluate::error::EvaluateError;
use crate::evaluate::questions::{self, Questions};
use crate::evaluate::units::{self, Unit};
use crate::evaluate::{EvaluateOptions, scoring};
use crate::model::Gpt2;
use crate::observe::observer::Observer;
use crate::step::state::TrainState;
use crate::world::World;

/// Contexts of the model that a round may cost each rank even if a step has fewer tokens.
const ROUND_CONTEXTS_MIN: u64 = 4;

/// The tasks of a run with their items, read once at the start, so that no scoring waits for storage.
#[derive(Default)]
pub struct Tasks {
    /// Items and sequences of each task; empty if the config names no tasks.
    questions: Vec<Questions>,
    /// Name of each task, as the config lists it.
    names: Vec<String>,
    /// What is scored together, over all ranks.
    units: Vec<Unit>,
    /// Indices of the units that this rank scores in each round. Between rounds the ranks look for requests to stop.
    rounds: Vec<Vec<usize>>,
}

/// What a rank has scored.
#[derive(Default, Serialize, Deserialize)]
struct Made {
    /// Index of the task, key, and score of each sequence.
    scores: Vec<(usize, Key, Score)>,
    /// The first score that is not a number, in words; `None` if all are.
    not_finite: Option<String>,
}

impl Tasks {
    /// Reads the data of the tasks that the config names, and makes their items. All ranks must call this together; what is
    /// wrong with any task is found here.
    pub fn open(config: &RunConfig, ranks: &dyn Collectives) -> Result<Self, JobError> {
        let evaluation = &config.evaluation;
        if evaluation.tasks.is_empty() {
            return Ok(Tasks::default());
        }
        let list = evaluation.tasks.join(",");
        let chosen = choose(&list).map_err(EvaluateError::ChoiceOfConfig)?;
        let tokenizer = Tokenizer::open(&config.data.tokenizer, &config.storage).map_err(DataError::from)?;
        check_rows(config.model.vocabulary, tokenizer.size(), &config.data.tokenizer).map_err(DataError::from)?;
        let options = EvaluateOptions {
            data: Some(evaluation.tasks_data.clone()).filter(|folder| !folder.is_empty()),
            limit: Some(evaluation.tasks_items as usize),
            ..EvaluateOptions::of(&list)
        };
        let limits = options.limits(config.model.context_tokens as usize);
        let questions = questions::read(&chosen, &options, (&tokenizer, &limits), &config.storage, ranks);
        let questions = questions.map_err(in_words_of_the_config)?;
        let units = units::units_of(&questions);
        let (rank, world) = (ranks.rank(), ranks.world_size());
        let share = |round: Range<usize>| units::share(&units, &round.collect::<Vec<_>>(), rank, world);
        Ok(Tasks {
            names: chosen.iter().map(|chosen| without_secrets(&chosen.to_string()).into_owned()).collect(),
            rounds: rounds(&units, round_cost(config, ranks, &units)).into_iter().map(share).collect(),
            questions,
            units,
        })
    }

    /// Says what is going to be scored, and when.
    pub fn announce(&self, config: &RunConfig, observer: &Observer) {
        if self.questions.is_empty() {
            return;
        }
        let items: usize = self.questions.iter().map(|questions| questions.items.len()).sum();
        let tokens = with_thousands(self.units.iter().map(|unit| unit.cost).sum());
        let when = match config.evaluation.tasks_every_steps {
            0 => "at the end".to_owned(),
            1 => "every step and at the end".to_owned(),
            every => format!("every {every} steps and at the end"),
        };
        let (names, items) = (self.names.join(", "), counted(items as u64, "item"));
        observer.notice(format!("evaluation tasks {when}: {names}: {items}, {tokens} tokens to feed and to predict"));
    }

    /// Scores the tasks and records their results. Does nothing without tasks. Returns whether a stop was asked for, in which
    /// case there are no results. All ranks must call this together.
    pub fn measure(&self, state: &mut TrainState, world: &World, observer: &Observer) -> Result<bool, JobError> {
        if self.questions.is_empty() {
            return Ok(false);
        }
        let began = Instant::now();
        world.control.report(state.step, Phase::Scoring);
        state.weights_are_here()?;
        let ranks = world.collectives.as_ref();
        let Some(made) = self.score(&state.model, world)? else {
            observer.notice(format!(
                "step {}: the tasks are not scored, since a stop was asked for; `launcher eval` scores them by its checkpoint",
                state.step
            ));
            return Ok(true);
        };
        let gathered = ranks.gather("scores of tasks", &made)?;
        if ranks.rank().is_zero() {
            match self.results(&gathered) {
                Ok(tasks) => {
                    let tasks_seconds = began.elapsed().as_secs_f64();
                    observer.tasks(TasksRecord { step: state.step, tasks, tasks_seconds });
                }
                Err(why) => observer.trouble(format!("step {}: the tasks have no results: {why}", state.step)),
            }
        }
        Ok(false)
    }

    /// Scores this rank's units, round by round. Returns `None` on all ranks as soon as a stop was asked for on any.
    fn score(&self, model: &Gpt2, world: &World) -> Result<Option<Made>, JobError> {
        let _no_grad = tch::no_grad_guard();
        let all: usize = self.rounds.iter().map(Vec::len).sum();
        let (mut made, mut done) = (Made::default(), 0);
        for round in &self.rounds {
            if world.collectives.agree_any(u32::from(world.requests.wants_stop()))? != 0 {
                return Ok(None);
            }
            for unit in round {
                world.control.report_micro_batches(done, all);
                self.score_unit(model, &self.units[*unit], &mut made)?;
                done += 1;
            }
        }
        world.control.report_micro_batches(all, all);
        Ok(Some(made))
    }

    fn score_unit(&self, model: &Gpt2, unit: &Unit, made: &mut Made) -> Result<(), TchError> {
        let questions = &self.questions[unit.task];
        let members = questions.members(&unit.sequences);
        let scored = members.iter().zip(scoring::score(model, &members)?);
        for (sequence, score) in scored.filter(|(sequence, _)| questions.asks(sequence.key)) {
            if score.log_likelihood.is_finite() {
                made.scores.push((unit.task, sequence.key, score));
            } else if made.not_finite.is_none() {
                let item = &questions.items[sequence.key.item as usize].id;
                let (task, value) = (&self.names[unit.task], score.log_likelihood);
                made.not_finite = Some(format!("task {task}, item {item}: its log-likelihood is {value}"));
            }
        }
        Ok(())
    }

    /// Computes the main result of each task from what all ranks have scored. Fails with the reason in words.
    fn results(&self, gathered: &[Made]) -> Result<BTreeMap<String, TaskResult>, String> {
        if let Some(why) = gathered.iter().find_map(|made| made.not_finite.clone()) {
            return Err(why);
        }
        let mut scores = vec![Scores::default(); self.questions.len()];
        for (task, key, score) in gathered.iter().flat_map(|made| &made.scores) {
            let of_task = scores.get_mut(*task).ok_or_else(|| format!("there is no task number {task}"))?;
            of_task.insert(*key, *score).map_err(|error| error.to_string())?;
        }
        let mut results = BTreeMap::new();
        for ((questions, name), scores) in self.questions.iter().zip(&self.names).zip(&scores) {
            let Questions { task, items, sequences, .. } = questions;
            let of_task = metrics::results(task, items, sequences, scores, |_| true);
            let of_task = of_task.map_err(|error| format!("task {name}: {error}"))?;
            let items = of_task.items as u64;
            // The usual figure of a task comes first.
            if let Some(main) = of_task.metrics.into_iter().next() {
                let (metric, value, standard_error) = (main.name, main.value, main.standard_error);
                results.insert(name.clone(), TaskResult { metric, value, standard_error, items });
            }
        }
        Ok(results)
    }
}

/// Names the config's key in place of the option of `worker eval`.
fn in_words_of_the_config(error: JobError) -> JobError {
    match error {
        JobError::Evaluate(EvaluateError::NoDataFolder { file, from }) => {
            EvaluateError::NoFolderOfConfig { file, from }.into()
        }
        other => other,
    }
}

/// Returns what a round may cost over all ranks: as many tokens as a step has, and at least one unit for each rank.
fn round_cost(config: &RunConfig, ranks: &dyn Collectives, units: &[Unit]) -> u64 {
    let dearest = units.iter().map(|unit| unit.cost).max().unwrap_or_default();
    let of_rank = dearest.max(ROUND_CONTEXTS_MIN * config.model.context_tokens);
    config.batch_plan().tokens_per_step().max(of_rank * u64::from(ranks.world_size().get()))
}

/// Divides `units` into rounds of neighbours that cost at most `cost_max` together, or are a single unit.
fn rounds(units: &[Unit], cost_max: u64) -> Vec<Range<usize>> {
    let mut rounds = Vec::new();
    let (mut start, mut cost) = (0, 0);
    for (index, unit) in units.iter().enumerate() {
        if index > start && cost + unit.cost > cost_max {
            rounds.push(start..index);
            (start, cost) = (index, 0);
        }
        cost += unit.cost;
    }
    if start < units.len() {
        rounds.push(start..units.len());
    }
    rounds
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use common::config::{RawConfig, StorageConfig};
    use common::exit_code::ExitCode;
    use common::storage::Folder;

    use super::*;
    use crate::collectives::single::Single;

    fn config(settings: &[&str]) -> RunConfig {
        let text = "[run]\noutput = \"memory://x\"\n[data]\ntrain = [{ url = \"memory://x\" }]\n\
                    [model]\nlayers = 1\nwidth = 32\nheads = 2\ncontext_tokens = 16\nvocabulary = 50257\n\
                    [batch]\nglobal_sequences = 2\nmicro_sequences = 2\nsequence_tokens = 16\n\
                    [optimizer]\npeak_learning_rate = 1e-2\nwarmup_steps = 1\n[train]\nmax_steps = 10\n";
        let settings: Vec<_> = settings.iter().map(|setting| (*setting).to_owned()).collect();
        RawConfig::parse("of the test", text, &settings).unwrap().run().unwrap()
    }

    fn refused(settings: &[&str]) -> (ExitCode, String) {
        let Err(error) = Tasks::open(&config(settings), &Single::default()) else { panic!("not refused") };
        (error.exit_code(), error.to_string())
    }

    /// Returns the first three of five passages, and their scores.
    fn three(folder: &str) -> (Tasks, Made) {
        let store = Folder::open(folder, &StorageConfig::default()).unwrap();
        let passage = |n: usize| format!("{{\"text\": \"the fox and {n} of the crows\"}}\n");
        store.put("lambada_test.jsonl", Bytes::from((0..5).map(passage).collect::<String>())).unwrap();
        let data = format!("evaluation.tasks_data={folder}");
        let config = config(&["evaluation.tasks=lambada_harness", "evaluation.tasks_items=3", &data]);
        let tasks = Tasks::open(&config, &Single::default()).unwrap();
        let mut made = Made::default();
        for sequence in &tasks.questions[0].sequences.sequences {
            let is_greedy = sequence.key.item == 1;
            let tokens = sequence.targets().len() as u32;
            let score = Score { log_likelihood: -1.0, tokens, is_greedy, is_greedy_with_stop_words_barred: is_greedy };
            made.scores.push((0, sequence.key, score));
        }
        (tasks, made)
    }

    #[test]
    fn without_tasks_there_is_nothing_to_score() {
        let tasks = Tasks::open(&config(&[]), &Single::default()).unwrap();
        assert!(tasks.questions.is_empty() && tasks.units.is_empty() && tasks.rounds.is_empty());
    }

    #[test]
    fn what_is_wrong_with_a_task_is_said_in_words_of_the_config() {
        let (code, message) = refused(&["evaluation.tasks=hellaswagg_harness"]);
        assert_eq!(code, ExitCode::Config);
        let expected = "evaluation.tasks: there is no task \"hellaswagg_harness\"; did you mean hellaswag_harness?";
        assert!(message.starts_with(expected), "{message}");
        let (code, message) = refused(&["evaluation.tasks=ptb"]);
        assert_eq!(code, ExitCode::Config);
        assert!(message.starts_with("evaluation.tasks_data is missing: the folder with ptb.test.txt"), "{message}");
        let (code, message) = refused(&["evaluation.tasks=ptb", "evaluation.tasks_data=memory://no-tasks-here"]);
        assert_eq!(code, ExitCode::Data);
        assert!(message.contains("ptb.test.txt, which does not exist"), "{message}");
    }

    #[test]
    fn results_are_the_main_metrics_of_the_first_items_on_whichever_rank_they_were_scored() {
        let (tasks, mut made) = three("memory://tasks-in-training");
        let other = Made { scores: made.scores.split_off(1), not_finite: None };
        let results = tasks.results(&[other, made]).unwrap();
        let result = &results["lambada_harness"];
        assert_eq!((result.metric.as_str(), result.value, result.items), ("acc", 1.0 / 3.0, 3));
        assert!(result.standard_error.is_some());
    }

    #[test]
    fn a_score_that_is_no_number_or_missing_leaves_no_results() {
        let (tasks, mut made) = three("memory://tasks-without-results");
        made.scores.pop();
        assert!(tasks.results(&[Made::default(), made]).unwrap_err().contains("has no score"));
        let not_finite = Some("item 2 has none".to_owned());
        let made = Made { scores: Vec::new(), not_finite };
        assert_eq!(tasks.results(&[Made::default(), made]), Err("item 2 has none".to_owned()));
    }

    #[test]
    fn rounds_hold_every_unit_once_and_cost_no_more_than_they_may() {
        let units: Vec<Unit> =
            [3, 4, 9, 1, 1, 1, 5, 20, 2].into_iter().map(|cost| Unit { task: 0, sequences: 0..1, cost }).collect();
        assert_eq!(rounds(&units, 8), [0..2, 2..3, 3..7, 7..8, 8..9]);
        assert_eq!(rounds(&units, 1000).len(), 1);
        assert!(rounds(&[], 8).is_empty());
    }
}
