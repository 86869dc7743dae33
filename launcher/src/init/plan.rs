//! Sizes of a first run that fit a text and a machine. Pure.
//!
//! A first run is to show in minutes whether a text can be learnt. The model is the largest whose steps are short, whose
//! memory is there, and which sees enough tokens in that time without seeing each too often. All rates are cautious guesses, as the
//! config says; what a machine really does is measured by the first steps.

use common::config::{ModelConfig, Precision, Recompute};
use common::cost::StepCost;
use common::text_survey::TextSurvey;
use common::topology::WorldSize;

use super::error::InitError;
use super::machine::Machine;
use super::sizes::{SIZES, Size};

/// Floating-point operations per second of a GPU in bf16, by its memory in bytes, from large to small: half of what Convoy does
/// on an H200 (docs/gpu.md); less is guessed of smaller ones, of which none was measured.
const GPU_FLOPS: [(u64, f64); 3] = [(60 << 30, 250e12), (20 << 30, 60e12), (0, 20e12)];
/// Duration of a whole run, in seconds, on CPUs and on GPUs.
const RUN_S: [f64; 2] = [240.0, 600.0];
/// Longest step, in seconds, on CPUs and on GPUs.
const STEP_S: [f64; 2] = [0.25, 0.5];
/// Most epochs over a text: each further one teaches little.
const EPOCHS_MAX: u64 = 10;
/// Tokens for each parameter, beyond which a larger model learns more in the same time (Hoffmann et al., 2022).
pub const TOKENS_PER_PARAMETER: u64 = 20;
/// Fewest tokens for each parameter of the blocks: with fewer, a smaller model learns more.
const TOKENS_PER_BLOCK_PARAMETER: u64 = 2;
/// Fewest steps, where the text allows it: a schedule needs some.
const STEPS_MIN: u64 = 300;
/// Most tokens of a step: GPT-2's.
const STEP_TOKENS_MAX: u64 = 524_288;
/// Most tokens of a micro batch.
const MICRO_TOKENS_MAX: u64 = 65_536;
/// Shortest sequences, in tokens.
const CONTEXT_MIN: u64 = 16;
/// Fewest sequences for training and for validation.
const SEQUENCES_MIN: [u64; 2] = [16, 3];
/// Fewest tokens of a text.
pub const TOKENS_MIN: u64 = 500;
/// Fraction of a text that is for validation, by its number of tokens: a short text needs a large part.
const VALIDATION: [(u64, f64); 3] = [(200_000, 0.1), (2_000_000, 0.05), (100_000_000, 0.01)];
/// Fraction of a longer text that is for validation: the default.
const VALIDATION_DEFAULT: f64 = 0.005;
/// Memory of a rank besides what a step takes, in bytes, on CPUs and on GPUs: the program and its libraries.
const PROGRAM_BYTES: [u64; 2] = [512 << 20, 2 << 30];
/// Part of the free memory that a run may take, on CPUs, where others need some, and on GPUs.
const MEMORY_PART: [f64; 2] = [0.5, 0.8];
/// Default and smallest value of `prepare.memory_bytes`.
const PREPARE_BYTES: [u64; 2] = [512 << 20, 64 << 20];
/// Default and greatest value of `prepare.max_document_bytes`.
const DOCUMENT_BYTES: [u64; 2] = [64 << 20, 1 << 30];

/// Sizes of a run, and what is expected of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Whether ranks compute on GPUs.
    pub on_gpus: bool,
    /// Number of ranks.
    pub ranks: u32,
    /// Floating-point operations per second of all ranks that the plan expects.
    pub flops: f64,
    /// The model.
    pub model: ModelConfig,
    /// Parameters of its blocks.
    pub block_parameters: u64,
    /// Learning rate at the end of the warm-up.
    pub peak_learning_rate: f64,
    /// Fraction of the documents, or of the only one, that is for validation.
    pub validation_fraction: f64,
    /// Estimated tokens to train on, and to validate on.
    pub tokens: [u64; 2],
    /// Sequences per step over all ranks.
    pub global_sequences: u64,
    /// Sequences of a forward pass on one rank.
    pub micro_sequences: u64,
    /// Number of steps.
    pub max_steps: u64,
    /// Steps between two measurements of the validation loss.
    pub evaluate_every: u64,
    /// Most sequences of such a measurement.
    pub validation_sequences: u64,
    /// Steps between two checkpoints.
    pub save_every: u64,
    /// `prepare.max_document_bytes`, unless the default does.
    pub max_document_bytes: Option<u64>,
    /// `prepare.memory_bytes`, unless the default does.
    pub prepare_memory_bytes: Option<u64>,
}

/// What a plan starts from: the parts of it that no model changes.
struct Basis {
    on_gpus: bool,
    ranks: u32,
    flops: f64,
    /// Memory of each rank for a step, in bytes.
    rank_bytes: u64,
    validation_fraction: f64,
    tokens: [u64; 2],
    vocabulary: u64,
}

impl Plan {
    /// Chooses sizes for `text` on `machine`.
    pub fn new(text: &TextSurvey, machine: &Machine) -> Result<Self, InitError> {
        let (tokens, longest) = (text.tokens, text.longest_document_bytes);
        if tokens < TOKENS_MIN {
            return Err(InitError::TooLittle { tokens, least: TOKENS_MIN });
        }
        if longest > DOCUMENT_BYTES[1] {
            return Err(InitError::TooLong { bytes: longest, most: DOCUMENT_BYTES[1] });
        }
        // Fewer ranks need less memory, and smaller batches.
        let ranks = std::iter::successors(Some(machine.ranks_max.max(1)), |ranks| (*ranks > 1).then_some(ranks / 2));
        let bases: Vec<Basis> = ranks.map(|most| Basis::new(text, machine, most)).collect();
        let suiting = |basis: &Basis| SIZES.iter().rev().find_map(|size| basis.plan(size).filter(|p| basis.suits(p)));
        let smallest = || bases.iter().find_map(|basis| basis.plan(&SIZES[0]));
        let plan = bases.iter().find_map(suiting).or_else(smallest);
        let plan = plan.unwrap_or_else(|| bases[bases.len() - 1].plan_within(&SIZES[0], 0));
        // The estimate may be too low.
        let document = (longest.saturating_mul(5) / 4).next_power_of_two().min(DOCUMENT_BYTES[1]);
        let prepare = (machine.memory_bytes / 4 / u64::from(plan.ranks)).max(PREPARE_BYTES[1]);
        Ok(Plan {
            max_document_bytes: (document > DOCUMENT_BYTES[0]).then_some(document),
            prepare_memory_bytes: (prepare < PREPARE_BYTES[0] && machine.memory_bytes > 0).then_some(prepare),
            ..plan
        })
    }

    /// Returns the tokens of a step.
    pub fn step_tokens(&self) -> u64 {
        self.global_sequences * self.model.context_tokens
    }

    /// Returns the tokens of the whole run.
    pub fn run_tokens(&self) -> u64 {
        self.max_steps * self.step_tokens()
    }

    /// Returns the expected duration of a step, in seconds.
    pub fn step_s(&self) -> f64 {
        self.model.flops_per_token(self.model.context_tokens) * self.step_tokens() as f64 / self.flops
    }

    /// Returns the number of epochs over the training data.
    pub fn epochs(&self) -> f64 {
        self.run_tokens() as f64 / self.tokens[0] as f64
    }

    /// Returns the memory that a step takes on each rank, in bytes.
    pub fn step_bytes(&self) -> u64 {
        let cost = StepCost {
            model: self.model.clone(),
            sequence_tokens: self.model.context_tokens,
            micro_sequences: self.micro_sequences,
            world: WorldSize::new(self.ranks).unwrap_or(WorldSize::ONE),
            is_divided: false,
            precision: if self.on_gpus { Precision::Bfloat16 } else { Precision::Float32 },
            gradients: Precision::Float32,
            recompute: Recompute::None,
            head_rows: if self.on_gpus { 8192 } else { 512 },
            logit_bytes: 8,
        };
        cost.memory().total()
    }
}

impl Basis {
    fn new(text: &TextSurvey, machine: &Machine, ranks_max: u32) -> Self {
        let on_gpus = !machine.gpus.is_empty();
        let ranks = match (machine.gpus.len() as u32, machine.cores) {
            (0, ..2) => 1,
            // A few threads work well together, many less so.
            (0, cores) => (cores / 4).clamp(2, 8),
            (gpus, _) => gpus,
        }
        .clamp(1, ranks_max);
        let kind = usize::from(on_gpus);
        let gpus = || machine.gpus.iter().take(ranks as usize);
        let least_gpu = gpus().map(|gpu| gpu.total_bytes).min().unwrap_or(0);
        let (flops, free) = if on_gpus {
            let of_gpu = GPU_FLOPS.iter().find(|(bytes, _)| least_gpu >= *bytes).map_or(0.0, |(_, flops)| *flops);
            (of_gpu * f64::from(ranks), gpus().map(|gpu| gpu.free_bytes).min().unwrap_or(0))
        } else {
            (machine.core_flops * f64::from(machine.cores.max(1)), machine.memory_bytes / u64::from(ranks))
        };
        let rank_bytes = ((free as f64 * MEMORY_PART[kind]) as u64).saturating_sub(PROGRAM_BYTES[kind]);
        let fraction = VALIDATION.iter().find(|(most, _)| text.tokens < *most);
        let validation_fraction = fraction.map_or(VALIDATION_DEFAULT, |(_, fraction)| *fraction);
        // Of several documents at least one goes to validation as a whole, and at least one does not.
        let least = if text.documents > 1 { 1.0 / text.documents as f64 } else { 0.0 };
        let validation = (text.tokens as f64 * validation_fraction.max(least).min(0.5)) as u64;
        Basis {
            on_gpus,
            ranks,
            flops,
            rank_bytes,
            validation_fraction,
            tokens: [text.tokens - validation, validation],
            vocabulary: text.vocabulary.into(),
        }
    }

    /// Returns a plan for a model of this size; `None` if there is not enough memory for it.
    fn plan(&self, size: &Size) -> Option<Plan> {
        let plan = self.plan_within(size, self.rank_bytes);
        (plan.step_bytes() <= self.rank_bytes).then_some(plan)
    }

    /// Returns a plan for a model of this size, with micro batches that fit into `bytes` where any do.
    fn plan_within(&self, size: &Size, bytes: u64) -> Plan {
        let enough = |context: &u64| (0..2).all(|side| self.tokens[side] / *context > SEQUENCES_MIN[side]);
        let halves = std::iter::successors(Some(size.context_tokens), |context| Some(context / 2));
        let context = halves.take_while(|context| *context >= CONTEXT_MIN).find(enough).unwrap_or(CONTEXT_MIN);
        let model = size.model(context, self.vocabulary);
        let kind = usize::from(self.on_gpus);
        let rate = self.flops / model.flops_per_token(context);
        let run_tokens = ((rate * RUN_S[kind]) as u64)
            .min(self.tokens[0].saturating_mul(EPOCHS_MAX))
            .min(model.parameters() * TOKENS_PER_PARAMETER);
        let step_tokens = ((rate * STEP_S[kind]) as u64).min(run_tokens / STEPS_MIN).min(STEP_TOKENS_MAX);
        let sequences = (step_tokens / context).max(1);
        let ranks = u64::from(self.ranks).min(sequences);
        let global_sequences = sequences / ranks * ranks;
        let max_steps = rounded(run_tokens.div_ceil(global_sequences * context));
        let mut plan = Plan {
            on_gpus: self.on_gpus,
            ranks: ranks as u32,
            flops: self.flops * if self.on_gpus { ranks as f64 / f64::from(self.ranks) } else { 1.0 },
            model,
            block_parameters: size.block_parameters(),
            peak_learning_rate: size.peak_learning_rate,
            validation_fraction: self.validation_fraction,
            tokens: self.tokens,
            global_sequences,
            micro_sequences: (global_sequences / ranks).min((MICRO_TOKENS_MAX / context).max(1)),
            max_steps,
            evaluate_every: rounded(max_steps.div_ceil(8)),
            validation_sequences: (8 * global_sequences).clamp(32, 1024),
            save_every: rounded(max_steps.div_ceil(4)),
            max_document_bytes: None,
            prepare_memory_bytes: None,
        };
        while plan.step_bytes() > bytes && plan.micro_sequences > 1 {
            plan.micro_sequences /= 2;
        }
        plan
    }

    /// Returns whether the model of `plan` is not too large for its text and time.
    fn suits(&self, plan: &Plan) -> bool {
        let has_tokens = plan.run_tokens() >= plan.block_parameters * TOKENS_PER_BLOCK_PARAMETER;
        has_tokens && plan.ranks == self.ranks && plan.step_s() <= STEP_S[usize::from(self.on_gpus)]
    }
}

/// Returns `number` with its first two digits, rounded up, and zeros behind.
fn rounded(number: u64) -> u64 {
    let unit = std::iter::successors(Some(1_u64), |unit| unit.checked_mul(10)).find(|unit| number / *unit < 100);
    let unit = unit.unwrap_or(1);
    number.div_ceil(unit) * unit
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use common::preflight::GpuFacts;

    /// Returns a text of `tokens` tokens of GPT-2 in `documents` documents.
    pub fn text(tokens: u64, documents: u64) -> TextSurvey {
        TextSurvey {
            inputs: vec!["book.txt".into()],
            objects: documents,
            documents,
            text_bytes: tokens * 4,
            longest_document_bytes: tokens * 4 / documents,
            tokens,
            vocabulary: 50_257,
        }
    }

    /// Returns a machine with `cores` cores, `gib` GiB of free memory, and GPUs of the given memory.
    pub fn machine(cores: u32, gib: u64, gpus_gib: &[u64]) -> Machine {
        let gpu = |(index, gib): (u32, &u64)| {
            let (name, bytes) = ("a GPU".to_owned(), gib << 30);
            GpuFacts { index, name, free_bytes: bytes, total_bytes: bytes, uncorrected_errors: None }
        };
        let gpus = (0..).zip(gpus_gib).map(gpu).collect();
        Machine { cores, core_flops: 25e9, memory_bytes: gib << 30, ranks_max: 16, gpus }
    }

    #[test]
    fn a_short_text_on_a_laptop_becomes_a_tiny_model_with_short_steps() {
        let plan = Plan::new(&text(338_000, 1), &machine(2, 6, &[])).unwrap();
        assert_eq!((plan.model.layers, plan.model.width, plan.ranks), (3, 64, 2));
        assert_eq!((plan.model.context_tokens, plan.global_sequences, plan.micro_sequences), (128, 4, 2));
        assert!(plan.step_s() < 0.25 && (1.0..3.0).contains(&plan.epochs()), "{} {}", plan.step_s(), plan.epochs());
        let total_s = plan.step_s() * plan.max_steps as f64;
        assert!((100.0..300.0).contains(&total_s), "{total_s}");
        // Without mpirun there is one rank.
        let alone = Plan::new(&text(338_000, 1), &Machine { ranks_max: 1, ..machine(2, 6, &[]) }).unwrap();
        assert_eq!((alone.ranks, alone.micro_sequences), (1, 4));
        let large = Plan::new(&text(1_000_000_000, 500_000), &machine(2, 6, &[])).unwrap();
        assert_eq!((large.model.width, large.validation_fraction), (64, 0.005));
        assert!(large.epochs() < 0.01);
    }

    #[test]
    fn larger_machines_and_texts_have_larger_models() {
        let width =
            |tokens, machine: &Machine| Plan::new(&text(tokens, 1 + tokens / 1000), machine).unwrap().model.width;
        let (laptop, server, h200) = (machine(2, 6, &[]), machine(64, 200, &[]), machine(16, 100, &[140]));
        assert!(width(100_000_000, &laptop) < width(100_000_000, &server));
        assert!(width(100_000_000, &server) < width(100_000_000, &h200));
        assert!(width(338_000, &h200) > width(338_000, &laptop));
        assert!(width(338_000, &h200) < width(100_000_000, &h200));
        assert_eq!(width(100_000_000, &h200), 768);
        // A GPU that somebody else has filled.
        let mut full = machine(16, 100, &[140]);
        full.gpus[0].free_bytes = 4 << 30;
        assert!(width(100_000_000, &full) < 768);
        let plan = Plan::new(&text(100_000_000, 100_000), &machine(64, 900, &[80; 8])).unwrap();
        assert_eq!((plan.ranks, plan.on_gpus), (8, true));
        assert!(plan.global_sequences.is_multiple_of(8), "{}", plan.global_sequences);
    }

    #[test]
    fn a_vocabulary_of_its_own_leaves_room_for_blocks() {
        let own = TextSurvey { vocabulary: 2048, ..text(500_000, 1) };
        let (own, gpt2) = (Plan::new(&own, &machine(8, 16, &[])), Plan::new(&text(500_000, 1), &machine(8, 16, &[])));
        let (own, gpt2) = (own.unwrap(), gpt2.unwrap());
        assert!(own.block_parameters > gpt2.block_parameters, "{} {}", own.block_parameters, gpt2.block_parameters);
        assert_eq!(own.model.vocabulary, 2048);
    }

    #[test]
    fn what_is_too_short_or_too_long_is_refused_and_what_is_long_has_room() {
        let (short, laptop) = (text(120, 1), machine(2, 6, &[]));
        let error = Plan::new(&short, &laptop).unwrap_err().to_string();
        assert!(error.contains("about 120 tokens") && error.contains("at least 500"), "{error}");
        let long = TextSurvey { longest_document_bytes: 3 << 30, ..text(800_000_000, 1) };
        let error = Plan::new(&long, &laptop).unwrap_err().to_string();
        assert!(error.contains("3221225472 bytes") && error.contains("split "), "{error}");
        let long = |mib: u64| TextSurvey { longest_document_bytes: mib << 20, ..text(100_000_000, 1) };
        let document = |mib| Plan::new(&long(mib), &laptop).unwrap().max_document_bytes.map(|bytes| bytes >> 20);
        assert_eq!([1, 50, 60, 200, 1000].map(document), [None, None, Some(128), Some(256), Some(1024)]);
        let small = Plan::new(&text(338_000, 1), &Machine { memory_bytes: 1 << 30, ..laptop }).unwrap();
        assert_eq!(small.prepare_memory_bytes, Some(256 << 20));
    }

    #[test]
    fn what_a_run_is_expected_to_take_follows_the_processor() {
        let of = |core_flops| Plan::new(&text(338_000, 1), &Machine { core_flops, ..machine(2, 6, &[]) }).unwrap();
        let (slow, fast) = (of(30e9), of(100e9));
        assert!((slow.flops, fast.flops) == (60e9, 200e9) && fast.run_tokens() > slow.run_tokens());
        for plan in [slow, fast] {
            let total_s = plan.step_s() * plan.max_steps as f64;
            assert!((60.0..300.0).contains(&total_s), "{total_s}");
        }
    }

    #[test]
    fn numbers_are_rounded_up_to_two_digits() {
        assert_eq!([1, 99, 100, 101, 1143, 98_765].map(rounded), [1, 99, 100, 110, 1200, 99_000]);
    }
}
