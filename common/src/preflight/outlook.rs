//! Findings about what a run is going to do, as its config and the size of its data tell: how large the model is, how often
//! the data are read, and whether anything but the training loss is measured.

use super::finding::Finding;
use crate::config::RunConfig;
use crate::figures::{counted, three_digits, with_thousands};
use crate::secrets::without_secrets;

/// Epochs above which more steps hardly teach anything: repeated tokens are worth less each time, and about nothing after
/// forty times (Muennighoff et al., Scaling Data-Constrained Language Models, 2023).
const EPOCHS_MAX: f64 = 40.0;
/// Epochs up to which repeated tokens are worth nearly as much as new ones (ibid.).
const EPOCHS_GOOD: u64 = 4;

/// Size of a data set that a run trains on.
#[derive(Debug, Clone, PartialEq)]
pub struct DataSize {
    /// URL of the data set, as people know it.
    pub url: String,
    /// Number of tokens.
    pub tokens: u64,
    /// Number of sequences of `batch.sequence_tokens`; an epoch reads each once.
    pub sequences: u64,
    /// Value of `weight` in `data.train`.
    pub weight: f64,
}

/// Returns findings about the run of `config` on `data`, which is empty if the data could not be opened.
pub fn outlook(config: &RunConfig, data: &[DataSize]) -> Vec<Finding> {
    [Some(model(config)), Some(length(config, data)), without_validation(config)].into_iter().flatten().collect()
}

fn model(config: &RunConfig) -> Finding {
    let (model, parameters) = (&config.model, config.model.parameters());
    let sizes = format!("{}, {} wide", counted(model.layers, "layer"), with_thousands(model.width));
    let text = format!("{} parameters: {sizes}, {}", with_thousands(parameters), counted(model.heads, "head"));
    Finding::ok("model", text).with("parameters", parameters)
}

/// Describes the length of the whole run, in tokens and epochs. Warns if a data set is read too often.
fn length(config: &RunConfig, data: &[DataSize]) -> Finding {
    let (steps, step_tokens) = (config.train.max_steps, config.batch_plan().tokens_per_step());
    let tokens = steps.saturating_mul(step_tokens);
    let [of_step, of_run] = [step_tokens, tokens].map(|tokens| counted(tokens, "token"));
    let mut text = format!("{} of {of_step}: {of_run}", counted(steps, "step"));
    let described =
        |finding: Finding| finding.with("steps", steps).with("step_tokens", step_tokens).with("tokens", tokens);
    let Some(most) = Repetition::most(config, data) else { return described(Finding::ok("run", text)) };
    let data_tokens = data.iter().map(|set| set.tokens).fold(0, u64::saturating_add);
    let epochs = three_digits(most.epochs);
    text += &match data.len() {
        1 => format!(", {epochs} epochs of the data's {}", with_thousands(data_tokens)),
        sets => {
            format!(" of {sets} data sets with {}, {epochs} epochs of {}", with_thousands(data_tokens), most.set.url)
        }
    };
    let finding = match most.epochs > EPOCHS_MAX {
        false => Finding::ok("run", text),
        true => Finding::warning(
            "run",
            format!("{text}; a text that is read so often is learnt by heart: {}", most.advice()),
        ),
    };
    described(finding).with("data_tokens", data_tokens).with("epochs", most.epochs)
}

/// The data set of a run that is read most often.
struct Repetition<'a> {
    set: &'a DataSize,
    /// Number of times that the whole run reads each of its sequences.
    epochs: f64,
    /// Number of its sequences in a step, on average.
    step_sequences: f64,
}

impl<'a> Repetition<'a> {
    fn most(config: &RunConfig, data: &'a [DataSize]) -> Option<Self> {
        let weights: f64 = data.iter().map(|set| set.weight).sum();
        let of_set = |set: &'a DataSize| {
            let step_sequences = config.batch.global_sequences as f64 * set.weight / weights;
            let epochs = step_sequences * config.train.max_steps as f64 / set.sequences.max(1) as f64;
            Repetition { set, epochs, step_sequences }
        };
        data.iter().map(of_set).max_by(|a, b| a.epochs.total_cmp(&b.epochs))
    }

    /// Returns what to do about too many epochs.
    fn advice(&self) -> String {
        let steps = (EPOCHS_GOOD * self.set.sequences) as f64 / self.step_sequences;
        match steps as u64 {
            0 => "give more text, or a smaller batch.global_sequences, of which one step reads all of it".to_owned(),
            steps => format!("give more text, or train.max_steps = {steps}, which is {EPOCHS_GOOD} epochs"),
        }
    }
}

/// Warns of a run without validation data.
fn without_validation(config: &RunConfig) -> Option<Finding> {
    if !config.data.validation.is_empty() {
        return None;
    }
    let train = config.data.train.first().map(|source| without_secrets(&source.url).into_owned());
    let beside = train.as_deref().and_then(|url| url.trim_end_matches('/').strip_suffix("/train"));
    let url = beside.map_or_else(|| "...".to_owned(), |output| format!("{output}/validation"));
    let text = format!(
        "none, and the training loss also falls while a text is learnt by heart; give data.validation = [{{ url = {url:?} }}], \
         which prepare writes where prepare.validation_fraction is above 0"
    );
    Some(Finding::warning("validation", text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RawConfig;
    use crate::preflight::Verdict;

    /// A run of `steps` steps of 8 sequences of 64 tokens.
    fn config(steps: u64, data: &str) -> RunConfig {
        let text = format!(
            "[run]\noutput = \"runs/a\"\n[model]\npreset = \"tiny-cpu\"\n[data]\n{data}\n\
             [batch]\nglobal_sequences = 8\nmicro_sequences = 4\nsequence_tokens = 64\n\
             [optimizer]\npeak_learning_rate = 1e-3\nwarmup_steps = 0\n[train]\nmax_steps = {steps}\n"
        );
        RawConfig::parse("of the test", &text, &[]).unwrap().run().unwrap()
    }

    const VALIDATED: &str = "train = [{ url = \"data/train\" }]\nvalidation = [{ url = \"data/validation\" }]";

    fn set(tokens: u64, weight: f64) -> DataSize {
        DataSize { url: format!("s3://b/{tokens}"), tokens, sequences: tokens / 64, weight }
    }

    #[test]
    fn a_run_says_its_size_its_length_and_how_often_it_reads_the_data() {
        let found = outlook(&config(800, VALIDATED), &[set(383_564, 1.0)]);
        let lines: Vec<String> = found.iter().map(Finding::line).collect();
        assert_eq!(
            lines,
            [
                "model       3,374,720 parameters: 3 layers, 64 wide, 2 heads",
                "run         800 steps of 512 tokens: 409,600 tokens, 1.07 epochs of the data's 383,564",
            ]
        );
        let figure = |name| found[1].figures[name].as_f64().unwrap();
        assert_eq!((figure("tokens"), figure("data_tokens"), figure("steps")), (409_600.0, 383_564.0, 800.0));
        assert!((figure("epochs") - 6400.0 / 5993.0).abs() < 1e-12);
    }

    #[test]
    fn many_epochs_are_warned_of_with_the_steps_that_are_enough() {
        let of = |steps| outlook(&config(steps, VALIDATED), &[set(6_400, 1.0)]).remove(1);
        assert_eq!((of(500).verdict, of(501).verdict), (Verdict::Ok, Verdict::Warning));
        let text = of(223_750).text;
        assert!(
            text.contains(", 17,900 epochs of the data's 6,400; ") && text.contains("or train.max_steps = 50, which"),
            "{text}"
        );
        let text = outlook(&config(1000, VALIDATED), &[set(64, 1.0)]).remove(1).text;
        assert!(text.contains("a smaller batch.global_sequences"), "{text}");
    }

    #[test]
    fn of_several_data_sets_the_one_that_is_read_most_often_counts() {
        let found = outlook(&config(800, VALIDATED), &[set(640_000, 3.0), set(6_400, 1.0)]).remove(1);
        assert_eq!(found.verdict, Verdict::Ok);
        assert!(found.text.ends_with("of 2 data sets with 646,400, 16.0 epochs of s3://b/6400"), "{}", found.text);
        // Data that cannot be opened leave a run without epochs.
        let found = outlook(&config(800, VALIDATED), &[]).remove(1);
        assert_eq!(found.text, "800 steps of 512 tokens: 409,600 tokens");
    }

    #[test]
    fn a_run_without_validation_data_is_warned_of_with_where_they_would_be() {
        for (train, expected) in [
            ("https://h/data/train?signature=1", "[{ url = \"https://h/data/validation\" }]"),
            ("data/train/", "[{ url = \"data/validation\" }]"),
            ("tokens.bin", "[{ url = \"...\" }]"),
        ] {
            let found = outlook(&config(1, &format!("train = [{{ url = {train:?} }}]")), &[]);
            assert_eq!((found[2].verdict, &*found[2].subject), (Verdict::Warning, "validation"));
            assert!(found[2].text.contains(expected), "{}", found[2].text);
        }
    }
}
