//! Compares GPT-2 with Hugging Face's: logits, loss and every gradient of small models of odd shapes (golden files
//! made by scripts/golden/model.py), the padding, the sizes of the presets, and the initialisation.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::ops::Range;
use std::path::Path;

use common::config::{ModelConfig, Recompute};
use safetensors::SafeTensors;
use safetensors::tensor::Metadata;
use tch::{Device, Kind, Tensor};
use worker::model::head::chunk_rows;
use worker::model::parameters::Layout;
use worker::model::{Batch, Gpt2, GradientOptions, Hooks};

const CASES: [&str; 3] = ["1x6", "2x12", "3x20"];

struct Golden {
    bytes: Vec<u8>,
    config: ModelConfig,
}

impl Golden {
    fn load(case: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../tests/golden/model-{case}.safetensors"));
        let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let (_, metadata): (_, Metadata) = SafeTensors::read_metadata(&bytes).unwrap();
        let sizes = metadata.metadata().clone().unwrap();
        let size = |key: &str| sizes[key].parse().unwrap();
        let config = ModelConfig {
            layers: size("layers"),
            width: size("width"),
            heads: size("heads"),
            context_tokens: size("context_tokens"),
            vocabulary: size("vocabulary"),
        };
        Golden { bytes, config }
    }

    /// Returns the tensor `key`, as float64 or int64.
    fn tensor(&self, key: &str) -> Tensor {
        let file = SafeTensors::deserialize(&self.bytes).unwrap();
        let view = file.tensor(key).unwrap_or_else(|e| panic!("{key}: {e}"));
        let shape: Vec<i64> = view.shape().iter().map(|n| *n as i64).collect();
        let words = view.data().chunks_exact(8).map(|b| b.try_into().unwrap());
        let flat = match view.dtype() {
            safetensors::Dtype::F64 => Tensor::from_slice(&words.map(f64::from_le_bytes).collect::<Vec<_>>()),
            safetensors::Dtype::I64 => Tensor::from_slice(&words.map(i64::from_le_bytes).collect::<Vec<_>>()),
            other => panic!("{key} is {other:?}"),
        };
        flat.view(shape.as_slice())
    }

    fn model(&self, kind: Kind) -> Gpt2 {
        let model = Gpt2::zeros(&self.config, kind, Device::Cpu);
        for parameter in &model.layout.parameters {
            parameter.of(&model.flat).copy_(&self.tensor(&format!("param.{}", parameter.name)));
        }
        model
    }

    fn batch(&self) -> Batch {
        let tokens = self.tensor("tokens");
        Batch::new(&Vec::<i32>::try_from(tokens.to_kind(Kind::Int).view([-1])).unwrap(), tokens.size()[0] as usize)
    }
}

/// Returns the largest difference, relative to the largest expected value.
fn relative_error(got: &Tensor, expected: &Tensor) -> f64 {
    let difference = (got.to_kind(Kind::Double) - expected).abs().max().double_value(&[]);
    difference / expected.abs().max().double_value(&[])
}

/// Ranges that backward reports complete, with their gradients at that time.
struct Complete {
    gradients: Tensor,
    seen: Vec<(Range<usize>, Tensor)>,
}

impl Hooks for Complete {
    fn complete(&mut self, range: Range<usize>) {
        let now = part(&self.gradients, &range).copy();
        self.seen.push((range, now));
    }
}

fn part(flat: &Tensor, range: &Range<usize>) -> Tensor {
    flat.narrow(0, range.start as i64, range.len() as i64)
}

fn equals_hugging_face(kind: Kind, tolerance: f64) {
    for recompute in [Recompute::None, Recompute::GeluLayernorm, Recompute::Block] {
        equals_hugging_face_when(recompute, kind, tolerance);
    }
}

fn equals_hugging_face_when(recompute: Recompute, kind: Kind, tolerance: f64) {
    for case in CASES {
        let golden = Golden::load(case);
        let (model, batch) = (golden.model(kind), golden.batch());
        let rows = batch.targets.size()[0] as f64;

        let check = |what: &str, got: &Tensor, expected: &Tensor| {
            assert_eq!(got.size(), expected.size(), "{case} {what}");
            let error = relative_error(got, expected);
            assert!(error < tolerance, "{case} {what}: relative error {error:e}, allowed {tolerance:e}");
        };
        check("logits", &model.logits(&batch.inputs).unwrap(), &golden.tensor("logits"));
        let expected_loss = golden.tensor("loss");
        check("loss", &(model.loss_sum(&batch).unwrap() / rows), &expected_loss);

        let gradients = model.flat.zeros_like();
        // Present values count only if gradients are accumulated.
        let _ = gradients.shallow_clone().fill_(7.0);
        let first = GradientOptions { scale: 1.0 / rows, accumulate: false, recompute };
        let loss = model.accumulate_gradients(&batch, first, &gradients, &mut ()).unwrap();
        check("loss of backward", &(loss / rows), &expected_loss);
        for parameter in &model.layout.parameters {
            let expected = golden.tensor(&format!("grad.{}", parameter.name));
            check(&parameter.name, &parameter.of(&gradients), &expected);
        }
        // A second micro batch adds to the first.
        let second = GradientOptions { accumulate: true, ..first };
        let _ = model.accumulate_gradients(&batch, second, &gradients, &mut ()).unwrap();
        let name = "transformer.wte.weight";
        let wte = model.layout.parameters.iter().find(|p| p.name == name).unwrap();
        check("twice", &(wte.of(&gradients) / 2.0), &golden.tensor(&format!("grad.{name}")));
        let padding =
            gradients.narrow(0, (wte.start + wte.elements) as i64, (wte.padded_elements - wte.elements) as i64);
        assert!(padding.numel() > 0 && padding.abs().sum(kind).double_value(&[]) == 0.0, "padding has a gradient");
    }
}

#[test]
fn equals_hugging_face_in_float64() {
    equals_hugging_face(Kind::Double, 1e-9);
}

#[test]
fn equals_hugging_face_in_float32() {
    equals_hugging_face(Kind::Float, 1e-4);
}

/// Returns a model with fixed weights: they are not drawn, since other tests draw from libtorch's one generator
/// meanwhile.
fn some_model(config: &ModelConfig, kind: Kind) -> Gpt2 {
    let mut model = Gpt2::zeros(config, kind, Device::Cpu);
    let elements = model.layout.elements() as i64;
    model.flat.copy_(&(Tensor::arange(elements, (kind, Device::Cpu)).sin() * 0.1));
    model
}

/// The head takes its rows in chunks. With more rows than one chunk has, and not a multiple of it, loss and gradients
/// equal those of the sequences one by one.
#[test]
fn chunks_of_rows_add_up() {
    let config = ModelConfig { layers: 1, width: 32, heads: 2, context_tokens: 200, vocabulary: 1000 };
    let model = some_model(&config, Kind::Double);
    let tokens: Vec<i32> = (0..3 * 201).map(|i| i * 7 % 1000).collect();
    let chunk = chunk_rows(Device::Cpu);
    assert!(200 < chunk && chunk < 600 && 600 % chunk != 0, "{chunk} rows: take another number of them");
    let pass = |sequences: &[i32], accumulate: bool, gradients: &Tensor| {
        let batch = Batch::new(sequences, sequences.len() / 201);
        let options = GradientOptions { scale: 1.0 / 600.0, accumulate, recompute: Recompute::None };
        let loss = model.accumulate_gradients(&batch, options, gradients, &mut ()).unwrap();
        (loss.double_value(&[]), model.loss_sum(&batch).unwrap().double_value(&[]))
    };
    let (together, one_by_one) = (model.flat.zeros_like(), model.flat.zeros_like());
    let (loss, loss_alone) = pass(&tokens, false, &together);
    let losses = tokens.chunks(201).enumerate().map(|(i, sequence)| pass(sequence, i > 0, &one_by_one).0);
    let expected: f64 = losses.sum();
    for loss in [loss, loss_alone] {
        assert!((loss / expected - 1.0).abs() < 1e-12, "{loss}, one by one {expected}");
    }
    for parameter in &model.layout.parameters {
        let error = relative_error(&parameter.of(&together), &parameter.of(&one_by_one));
        assert!(error < 1e-12, "{}: relative error {error:e}", parameter.name);
    }
}

/// Ranges that forward reports before it reads them.
#[derive(Default)]
struct Uses(Vec<Range<usize>>);

impl Hooks for Uses {
    fn before_use(&mut self, range: Range<usize>) {
        self.0.push(range);
    }
}

/// A forward in this order never waits for more of the updated weights than it is about to read.
#[test]
fn forward_reads_the_layout_from_its_start_to_its_end() {
    let config = ModelConfig { layers: 3, width: 32, heads: 2, context_tokens: 16, vocabulary: 1000 };
    let model = some_model(&config, Kind::Float);
    let mut uses = Uses::default();
    let options = GradientOptions { scale: 1.0, accumulate: false, recompute: Recompute::None };
    let batch = Batch::new(&(0..17).collect::<Vec<_>>(), 1);
    let _ = model.accumulate_gradients(&batch, options, &model.flat.zeros_like(), &mut uses).unwrap();
    let layout = &model.layout;
    let blocks = (0..3).map(|layer| layout.block(layer));
    let expected: Vec<_> = std::iter::once(layout.embeddings()).chain(blocks).chain([layout.final_norm()]).collect();
    assert_eq!(uses.0, expected);
    assert!(expected.windows(2).all(|pair| pair[0].end == pair[1].start), "{expected:?}");
}

#[test]
fn what_is_complete_is_not_written_again_and_that_is_everything() {
    let config = ModelConfig { layers: 6, width: 32, heads: 2, context_tokens: 16, vocabulary: 1000 };
    let model = some_model(&config, Kind::Float);
    let batch = Batch::new(&(0..2 * 17).map(|i| i * 7 % 1000).collect::<Vec<_>>(), 2);
    for recompute in [Recompute::None, Recompute::GeluLayernorm, Recompute::Block] {
        let gradients = model.flat.zeros_like();
        for accumulate in [false, true] {
            let options = GradientOptions { scale: 1.0, accumulate, recompute };
            let mut hooks = Complete { gradients: gradients.shallow_clone(), seen: Vec::new() };
            let _ = model.accumulate_gradients(&batch, options, &gradients, &mut hooks).unwrap();
            for (range, then) in &hooks.seen {
                assert_eq!(part(&gradients, range), *then, "{recompute:?}, {range:?}");
            }
            let mut ranges: Vec<Range<usize>> = hooks.seen.into_iter().map(|(range, _)| range).collect();
            assert_eq!(ranges, model.layout.completion(recompute));
            ranges.sort_by_key(|range| range.start);
            assert_eq!((ranges[0].start, ranges[ranges.len() - 1].end), (0, model.layout.elements()));
            assert!(ranges.windows(2).all(|pair| pair[0].end == pair[1].start), "{ranges:?}");
        }
    }
}

#[test]
fn presets_have_the_parameters_of_gpt2() {
    let counts = [
        ("gpt2-124m", 124_439_808),
        ("gpt2-355m", 354_823_168),
        ("gpt2-774m", 774_030_080),
        ("gpt2-1558m", 1_557_611_200),
    ];
    for (name, expected) in counts {
        let layout = Layout::new(&ModelConfig::preset(name).unwrap());
        assert_eq!(layout.parameters.iter().map(|p| p.elements).sum::<usize>(), expected, "{name}");
    }
}

#[test]
fn so_many_blocks_put_products_off_as_have_the_embeddings_size_and_there_is_room_for() {
    for (name, expected) in [
        ("gpt2-124m", [6, 6, 1]),
        ("gpt2-355m", [5, 5, 1]),
        ("gpt2-774m", [4, 4, 2]),
        ("gpt2-1558m", [3, 3, 3]),
        ("tiny-cpu", [1, 1, 1]),
    ] {
        let layout = Layout::new(&ModelConfig::preset(name).unwrap());
        let late = [Recompute::None, Recompute::GeluLayernorm, Recompute::Block].map(|r| layout.late_blocks(r));
        assert_eq!(late, expected, "{name}");
    }
    // In units of `[N, C]`: the memory that a block keeps, and the memory beside it during backward of one block.
    for (recompute, kept, beside) in
        [(Recompute::None, 16, 5), (Recompute::GeluLayernorm, 10, 10), (Recompute::Block, 1, 21)]
    {
        for layers in 4..100 {
            // A model with embeddings as large as many blocks.
            let config = ModelConfig { layers, width: 32, heads: 2, context_tokens: 16, vocabulary: 50_000 };
            let late = Layout::new(&config).late_blocks(recompute) as u64;
            // GELU's output in the first block, 4 of the 16, still exists when its gradient does.
            let in_first_block = 16 * (late - 1) + 16 + 9;
            assert!(in_first_block <= layers * kept + beside, "{recompute:?}, {layers} layers: {late}");
        }
    }
}

#[test]
fn initialisation_has_the_papers_deviations() {
    let config = ModelConfig { layers: 8, width: 256, heads: 4, context_tokens: 512, vocabulary: 5000 };
    let model = Gpt2::initialised(&config, Kind::Float, Device::Cpu, 3);
    for parameter in &model.layout.parameters {
        let values = parameter.of(&model.flat).to_kind(Kind::Double).view([-1]);
        let (mean, deviation) = (values.mean(Kind::Double).double_value(&[]), values.std(true).double_value(&[]));
        let name = parameter.name.as_str();
        let (expected_mean, expected_deviation) = match name {
            _ if name.contains("ln_") && name.ends_with("weight") => (1.0, 0.0),
            _ if name.ends_with("bias") => (0.0, 0.0),
            "transformer.wpe.weight" => (0.0, 0.01),
            // 0.02 / sqrt(2 x 8 layers)
            _ if name.ends_with("c_proj.weight") => (0.0, 0.005),
            _ => (0.0, 0.02),
        };
        // Six standard errors of the mean and of the deviation.
        let count = values.numel() as f64;
        assert!((mean - expected_mean).abs() <= 6.0 * expected_deviation / count.sqrt(), "{name}: mean {mean}");
        let allowed = 6.0 * expected_deviation / (2.0 * count).sqrt();
        assert!((deviation - expected_deviation).abs() <= allowed, "{name}: deviation {deviation}");
    }
    let same = Gpt2::initialised(&config, Kind::Float, Device::Cpu, 3);
    assert_eq!(same.flat, model.flat);
    assert_ne!(Gpt2::initialised(&config, Kind::Float, Device::Cpu, 4).flat, model.flat);
}
