//! Writes a plan as a config with comments that say why each number is what it is. Pure.

use std::time::Duration;

use common::secrets::without_secrets;
use common::text_survey::TextSurvey;
use common::untrusted::printable;

use super::machine::Machine;
use super::places::Places;
use super::plan::{Plan, TOKENS_PER_PARAMETER};
use crate::cli::init::OnBadName;
use crate::view::figures::{counted, in_words, with_thousands};

/// What a config is written for.
#[derive(Debug)]
pub struct Subject<'a> {
    /// Names of the texts, as given.
    pub names: &'a [String],
    /// What is there.
    pub text: &'a TextSurvey,
    /// Tokenizer: `gpt2`, or the path or URL of its files.
    pub tokenizer: &'a str,
    /// Field of a JSON line, or column of a Parquet file, that holds the text.
    pub text_field: &'a str,
    /// What becomes of a document that cannot be read.
    pub on_bad_document: OnBadName,
    /// Where it is trained.
    pub machine: &'a Machine,
    /// Where its data and the run go.
    pub places: &'a Places,
    /// Commands that come next.
    pub commands: &'a [String],
}

/// Returns the config that prepares and trains `subject` as `plan` says.
pub fn config_text(subject: &Subject<'_>, plan: &Plan) -> String {
    [
        head(subject, plan),
        run(subject, plan),
        prepare(subject, plan),
        model(subject, plan),
        batch(plan),
        schedule(plan),
        cadence(plan),
    ]
    .join("\n")
}

fn head(subject: &Subject<'_>, plan: &Plan) -> String {
    let Subject { names, text, machine, commands, .. } = subject;
    let names = names.iter().map(|name| in_comment(name)).collect::<Vec<_>>().join(", ");
    let machine = match plan.on_gpus {
        false => format!(
            "{}, {} of free memory, no GPU used",
            counted(machine.cores.into(), "core"),
            gib(machine.memory_bytes)
        ),
        true => {
            let gpu = machine.gpus.first().map_or("", |gpu| &gpu.name);
            format!("{}: {}", counted(plan.ranks.into(), "GPU"), in_comment(gpu))
        }
    };
    let commands: String = commands.iter().map(|command| format!("#   {}\n", in_comment(command))).collect();
    let (sequences, context) = (plan.global_sequences, plan.model.context_tokens);
    format!(
        "# A first GPT-2 on {names}, written by `launcher init`. Change what you like: configs/README.md describes every key (in\n\
         # share/doc/convoy beside the programs, where Convoy is installed).\n\
         #\n\
         # Text:     {} in {}: about {} tokens, of which {} are for validation.\n\
         # Machine:  {machine}.\n\
         # Sum:      {} x {} tokens = {} tokens a step; x {} steps = {} tokens, {} epochs over the text.\n\
         # Time:     {} a step and {} in all, at {} GFLOP/s, a cautious guess for such {}. The first steps show the truth.\n\
         #\n{commands}",
        bytes_in_words(text.text_bytes),
        counted(text.documents, "document"),
        with_thousands(text.tokens),
        with_thousands(plan.tokens[1]),
        counted(sequences, "sequence"),
        with_thousands(context),
        with_thousands(plan.step_tokens()),
        with_thousands(plan.max_steps),
        with_thousands(plan.run_tokens()),
        significant(plan.epochs()),
        in_seconds(plan.step_s()),
        in_words(Duration::from_secs_f64((plan.step_s() * plan.max_steps as f64).ceil())),
        with_thousands((plan.flops / 1e9) as u64),
        if plan.on_gpus { "GPUs" } else { "cores" },
    )
}

fn run(subject: &Subject<'_>, plan: &Plan) -> String {
    let device = match plan.on_gpus {
        true => {
            "# Without a GPU, or without libtorch's CUDA libraries, this is refused and says what is missing. `launcher init \
                 --device cpu`\n# writes a smaller config.\ndevice = \"cuda\""
        }
        false => "device = \"cpu\"",
    };
    let ranks = match (plan.on_gpus, plan.ranks) {
        (true, _) => "# One for each GPU.",
        (false, 1) => "# It has all cores.",
        (false, _) => "# They share the cores.",
    };
    format!(
        "[run]\nname = {}\n# Checkpoints, metrics and logs. The same command resumes what is there; a changed model needs another folder.\n\
         output = {}\n{device}\n\n[launch]\n{ranks}\nranks = {}\n",
        quoted(&subject.places.name),
        quoted(&subject.places.run),
        plan.ranks,
    )
}

fn prepare(subject: &Subject<'_>, plan: &Plan) -> String {
    let Subject { text, places, tokenizer, text_field, .. } = subject;
    let inputs = text.inputs.iter().map(|input| quoted(input)).collect::<Vec<_>>().join(", ");
    let own_tokenizer = match *tokenizer {
        "gpt2" => String::new(),
        own => format!("tokenizer = {}\n", quoted(own)),
    };
    let mut lines = format!(
        "[prepare]\n# `launcher train` turns these into token shards first, once.\ninputs = [{inputs}]\n# Receives train/ and \
         validation/, which [data] names.\noutput = {}\n{own_tokenizer}",
        quoted(&places.data)
    );
    if *text_field != "text" {
        lines += &format!("text_field = {}\n", quoted(text_field));
    }
    if subject.on_bad_document != OnBadName::Fail {
        let word = quoted(subject.on_bad_document.word());
        lines += &format!("# Documents that cannot be read are left out and counted.\non_bad_document = {word}\n");
    }
    lines += match text.documents {
        0 | 1 => {
            "# The end of the document is held back, to measure the validation loss on what the model has not seen.\n"
        }
        _ => {
            "# Whole documents are held back, at least one, to measure the validation loss on what the model has not seen.\n"
        }
    };
    lines += &format!("validation_fraction = {}\n", plan.validation_fraction);
    if let Some(bytes) = plan.max_document_bytes {
        let longest = bytes_in_words(text.longest_document_bytes);
        lines += &format!(
            "# The longest document has about {longest}, more than the default allows.\nmax_document_bytes = {bytes}\n"
        );
    }
    if let Some(bytes) = plan.prepare_memory_bytes {
        lines += &format!("# This machine has less memory than the default needs.\nmemory_bytes = {bytes}\n");
    }
    let data = |side: &str| quoted(&format!("{}/{side}", places.data));
    format!(
        "{lines}\n[data]\n{own_tokenizer}train = [{{ url = {} }}]\nvalidation = [{{ url = {} }}]\n",
        data("train"),
        data("validation")
    )
}

fn model(subject: &Subject<'_>, plan: &Plan) -> String {
    let model = &plan.model;
    let parameters = model.parameters();
    let embedding = model.vocabulary * model.width;
    let smaller = match subject.tokenizer {
        "gpt2" if 2 * embedding > parameters => {
            "# Most of it is the embedding of GPT-2's vocabulary. A tokenizer of the text's own is smaller, and its model learns more in \
             the\n# same time: `launcher tokenizer train --vocab-size 4096 --output tokenizer TEXT`, and `launcher init --tokenizer \
             tokenizer TEXT`.\n"
        }
        _ => "",
    };
    format!(
        "[model]\n# {} parameters: {} in the blocks, {} in the token embedding. The run has {} tokens for each;\n# {TOKENS_PER_PARAMETER} \
         make the best of a long one (Hoffmann et al., 2022).\n{smaller}layers = {}\nwidth = {}\nheads = {}\n# Longest sequence. \
         Attention sees no further back.\ncontext_tokens = {}\n# The tokenizer's.\nvocabulary = {}\n",
        with_thousands(parameters),
        with_thousands(plan.block_parameters),
        with_thousands(embedding),
        significant(plan.run_tokens() as f64 / parameters as f64),
        model.layers,
        model.width,
        model.heads,
        model.context_tokens,
        model.vocabulary,
    )
}

fn batch(plan: &Plan) -> String {
    format!(
        "[batch]\n# Sequences a step over all ranks: few enough for short steps, and for some hundred steps over this text.\n\
         global_sequences = {}\n# Sequences at once on a rank: a step takes about {} of memory there. Lower it to fit; the result stays.\n\
         micro_sequences = {}\nsequence_tokens = {}\n",
        plan.global_sequences,
        bytes_in_words(plan.step_bytes()),
        plan.micro_sequences,
        plan.model.context_tokens,
    )
}

fn schedule(plan: &Plan) -> String {
    let precision =
        if plan.on_gpus { "# GPUs are several times faster at it.\nprecision = \"bfloat16\"\n" } else { "" };
    format!(
        "[optimizer]\n# For this width; wider models need less. It rises in a tenth of the steps, and decays to 0 with the last.\n\
         peak_learning_rate = {:e}\n\n[train]\n# More steps learn more, up to about ten epochs over the text.\nmax_steps = {}\n{precision}",
        plan.peak_learning_rate, plan.max_steps,
    )
}

fn cadence(plan: &Plan) -> String {
    format!(
        "[evaluation]\n# The validation loss shows whether the model learns the language, or only this text by heart.\nevery_steps = {}\n\
         validation_sequences = {}\n\n[checkpoint]\n# A stop saves as well. A crash loses the steps since the last save.\nevery_steps = {}\n",
        plan.evaluate_every, plan.validation_sequences, plan.save_every,
    )
}

/// Returns `text` as a TOML string.
fn quoted(text: &str) -> String {
    // JSON strings are TOML strings, with one exception: TOML escapes U+007F, too.
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

/// Returns `text` as a part of a line that TOML ignores.
fn in_comment(text: &str) -> String {
    printable(&without_secrets(text)).into_owned()
}

fn gib(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30))
}

/// Formats a size as `38 kB` or `1.4 MB`.
fn bytes_in_words(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{} kB", significant(bytes as f64 / 1e3)),
        _ => format!("{} MB", significant(bytes as f64 / 1e6)),
    }
}

fn in_seconds(seconds: f64) -> String {
    format!("{} s", significant(seconds))
}

/// Formats a number with two digits that say something: `0.021`, `1.8`, `338`.
fn significant(number: f64) -> String {
    if number >= 10.0 {
        return with_thousands(number.round() as u64);
    }
    let decimals = if number > 0.0 { (1.0 - number.log10().floor()).clamp(0.0, 9.0) as usize } else { 0 };
    format!("{number:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::config::{DeviceKind, OnBadDocument, Precision, RawConfig};
    use proptest::prelude::*;

    use crate::init::plan::tests::{machine, text};

    fn places(name: &str) -> Places {
        Places { name: name.into(), data: format!("data/{name}"), run: format!("runs/{name}") }
    }

    /// Writes a config for documents that can all be read.
    fn written(text: &TextSurvey, machine: &Machine, names: &[String], tokenizer: &str) -> (String, Plan) {
        written_with(text, machine, (names, tokenizer, "text", OnBadName::Fail))
    }

    fn written_with(
        text: &TextSurvey,
        machine: &Machine,
        (names, tokenizer, text_field, on_bad_document): (&[String], &str, &str, OnBadName),
    ) -> (String, Plan) {
        let plan = Plan::new(text, machine).unwrap();
        let (places, commands) = (places("book"), ["launcher train --config run.toml".to_owned()]);
        let (places, commands) = (&places, &commands[..]);
        let subject = Subject { names, text, tokenizer, text_field, on_bad_document, machine, places, commands };
        (config_text(&subject, &plan), plan)
    }

    #[test]
    fn a_config_says_of_documents_what_was_given_for_them() {
        let (survey, machine, names) = (text(338_000, 3), machine(2, 6, &[]), ["web.jsonl".to_owned()]);
        let read = |config: &str| RawConfig::parse("run.toml", config, &[]).unwrap().prepare().unwrap().prepare;
        let (config, _) = written_with(&survey, &machine, (&names, "gpt2", "body", OnBadName::Skip));
        let prepare = read(&config);
        assert_eq!((&*prepare.text_field, prepare.on_bad_document), ("body", OnBadDocument::Skip));
        let (config, _) = written(&survey, &machine, &names, "gpt2");
        assert!(
            !config.contains("on_bad_document") && read(&config).on_bad_document == OnBadDocument::Fail,
            "{config}"
        );
    }

    #[test]
    fn a_config_says_what_it_is_for_and_why() {
        let (config, _) = written(&text(338_000, 1), &machine(2, 6, &[]), &["book.txt".into()], "gpt2");
        for expected in [
            "# A first GPT-2 on book.txt, written by `launcher init`.",
            "# Text:     1.4 MB in 1 document: about 338,000 tokens, of which 16,900 are for validation.",
            "# Machine:  2 cores, 6.0 GiB of free memory, no GPU used.",
            " in all, at 50 GFLOP/s, a cautious guess for such cores. The first steps show the truth.",
            "# Sum:      4 sequences x 128 tokens = 512 tokens a step; x 1,200 steps = 614,400 tokens, 1.9 epochs over the text.",
            "#   launcher train --config run.toml\n",
            "inputs = [\"book.txt\"]",
            "# The end of the document is held back",
            "peak_learning_rate = 4e-3",
        ] {
            assert!(config.contains(expected), "no {expected:?} in\n{config}");
        }
        assert!(config.lines().all(|line| line.len() <= 140), "{config}");
    }

    #[test]
    fn names_with_any_characters_come_back_as_they_are() {
        for odd in ["a \"b\" \\ '.txt", "line\nbreak\t#.txt", "bell\u{7}\u{7f}\u{85}.txt", "漢字 🦀.txt", "[[]1].txt"]
        {
            let survey = TextSurvey { inputs: vec![odd.into()], ..text(338_000, 3) };
            let (config, _) = written(&survey, &machine(2, 6, &[]), &[odd.into()], odd);
            let raw = RawConfig::parse("run.toml", &config, &[]).unwrap_or_else(|e| panic!("{e}\n{config}"));
            let (job, run) = (raw.clone().prepare().unwrap(), raw.run().unwrap());
            assert_eq!(
                (&*job.prepare.inputs, &*job.prepare.tokenizer, &*run.data.tokenizer),
                (&[odd.to_owned()][..], odd, odd)
            );
        }
    }

    #[test]
    fn numbers_have_two_digits_that_say_something() {
        let numbers = [0.0, 0.000_123, 0.0214, 0.5, 1.85, 9.99, 10.4, 12_345.6];
        assert_eq!(numbers.map(significant), ["0", "0.00012", "0.021", "0.50", "1.9", "10.0", "10", "12,346"]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_text_and_machine_has_a_config_that_is_accepted_and_fits(
            // Magnitudes, so that short texts and small machines come up as well.
            tokens in (2.7..11.0_f64).prop_map(|power| 10_f64.powf(power) as u64),
            documents in 1..100_000_u64,
            vocabulary in 257..=65_536_u32,
            (cores, gib, ranks_max) in (1..256_u32, 2..2048_u64, 1..17_u32),
            gpus in proptest::collection::vec(4..200_u64, 0..9),
        ) {
            let survey = TextSurvey { vocabulary, longest_document_bytes: 1000, ..text(tokens, documents.min(tokens / 100 + 1)) };
            let machine = Machine { ranks_max, ..machine(cores, gib, &gpus) };
            let (config, plan) = written(&survey, &machine, &["book.txt".into()], "gpt2");
            let raw = RawConfig::parse("run.toml", &config, &[]).unwrap();
            let job = raw.clone().prepare().unwrap_or_else(|e| panic!("{e}\n{config}"));
            let run = raw.run().unwrap_or_else(|e| panic!("{e}\n{config}"));
            // The config is the plan.
            prop_assert_eq!(&run.model, &plan.model);
            prop_assert_eq!(run.train.max_steps, plan.max_steps);
            prop_assert_eq!(run.optimizer.peak_learning_rate, plan.peak_learning_rate);
            prop_assert_eq!(run.launch.ranks, plan.ranks);
            let on_gpus = !gpus.is_empty();
            prop_assert_eq!(run.run.device, if on_gpus { DeviceKind::Cuda } else { DeviceKind::Cpu });
            prop_assert_eq!(run.train.precision == Precision::Bfloat16, on_gpus);
            // What is prepared is what is trained on.
            prop_assert_eq!(&run.data.train[0].url, &format!("{}/train", job.prepare.output));
            prop_assert_eq!(&job.prepare.tokenizer, &run.data.tokenizer);
            // It fits the machine: no rank is idle, its memory is there, and steps are short.
            prop_assert!(u64::from(run.launch.ranks) <= run.batch.global_sequences && run.launch.ranks <= ranks_max);
            let memory = if on_gpus { gpus.iter().take(plan.ranks as usize).min().unwrap() << 30 } else { gib << 30 };
            let ranks = if on_gpus { 1 } else { u64::from(plan.ranks) };
            prop_assert!(plan.step_bytes() * ranks <= memory, "{} bytes of {memory}", plan.step_bytes());
            prop_assert!(plan.step_s() <= 0.5 || cores == 1, "{} s", plan.step_s());
            // It fits the text: there are sequences on both sides, and none is seen too often.
            let sequences = plan.tokens.map(|side| side.saturating_sub(1) / run.batch.sequence_tokens);
            prop_assert!(sequences[0] >= 10 && sequences[1] >= 1, "{sequences:?}");
            prop_assert!(plan.epochs() <= 15.0, "{} epochs", plan.epochs());
            let warmup = run.lr_schedule().warmup_steps;
            prop_assert!(warmup * 5 <= plan.max_steps, "{warmup} of {}", plan.max_steps);
        }
    }
}
