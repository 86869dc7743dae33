//! Checkpoints saved with any world size restore equal; every kind of damage is found and named, and survived if an
//! older checkpoint exists.

use ::tests::random::Random;
use bytes::Bytes;
use common::attempt::Claim;
use common::checkpoint_layout::{
    CheckpointName, MANIFEST_NAME, Manifest, ObjectEntry, ParameterShape, RankShare, plan_save,
};
use common::checkpoint_store::{CheckpointStoreError, verify};
use common::config::{ModelConfig, OnCorrupt, StorageConfig};
use common::exit_code::ExitCode;
use common::storage::{Folder, StorageError};
use common::tokenizer::{Tokenizer, files};
use common::topology::{Rank, WorldSize};

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::hostile::{changed, changes};

const MODEL: ModelConfig = ModelConfig { layers: 2, width: 6, heads: 2, context_tokens: 5, vocabulary: 11 };

/// Returns the tensors of a GPT-2, as Hugging Face has them.
fn parameters(model: &ModelConfig) -> Vec<ParameterShape> {
    let c = model.width;
    let block: [(&str, Vec<u64>); 12] = [
        ("ln_1.weight", vec![c]),
        ("ln_1.bias", vec![c]),
        ("attn.c_attn.weight", vec![c, 3 * c]),
        ("attn.c_attn.bias", vec![3 * c]),
        ("attn.c_proj.weight", vec![c, c]),
        ("attn.c_proj.bias", vec![c]),
        ("ln_2.weight", vec![c]),
        ("ln_2.bias", vec![c]),
        ("mlp.c_fc.weight", vec![c, 4 * c]),
        ("mlp.c_fc.bias", vec![4 * c]),
        ("mlp.c_proj.weight", vec![4 * c, c]),
        ("mlp.c_proj.bias", vec![c]),
    ];
    let mut shapes = vec![("wte.weight".to_owned(), vec![model.vocabulary, c])];
    shapes.push(("wpe.weight".to_owned(), vec![model.context_tokens, c]));
    for layer in 0..model.layers {
        shapes.extend(block.iter().map(|(name, shape)| (format!("h.{layer}.{name}"), shape.clone())));
    }
    shapes.extend([("ln_f.weight".to_owned(), vec![c]), ("ln_f.bias".to_owned(), vec![c])]);
    shapes.into_iter().map(|(name, shape)| ParameterShape { name: format!("transformer.{name}"), shape }).collect()
}

/// Returns a state in which neighbouring elements, and the three parts of the state, differ.
fn state_of(parameters: &[ParameterShape], seed: u32) -> RestoredState {
    let mut bits = seed;
    let mut fill = |p: &ParameterShape| {
        let next = |_| {
            bits = bits.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (f64::from(bits) / f64::from(u32::MAX) - 0.5) as f32
        };
        (p.name.clone(), (0..p.elements()).map(next).collect::<Vec<f32>>())
    };
    RestoredState {
        weights: parameters.iter().map(&mut fill).collect(),
        exp_avg: parameters.iter().map(&mut fill).collect(),
        exp_avg_sq: parameters.iter().map(&mut fill).collect(),
    }
}

fn snapshot_of(
    (rank, world): (Rank, WorldSize),
    parameters: &[ParameterShape],
    state: &RestoredState,
    share: &RankShare,
) -> RankSnapshot {
    let tensors = share.tensors.iter().map(|i| parameters[*i].clone()).collect();
    let slices = share.slices.iter().map(|s| (parameters[s.parameter].name.clone(), s.start..s.end)).collect();
    let layout = RankLayout::new(rank, world, tensors, slices).unwrap();
    let mut contents: Vec<Vec<u8>> = layout.headers().map(<[u8]>::to_vec).collect();
    let mut put = |place: Place, values: &[f32]| {
        let content = &mut contents[place.object];
        assert_eq!(content.len(), place.bytes.start);
        content.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        assert_eq!(content.len(), place.bytes.end);
    };
    for (i, place) in share.tensors.iter().zip(layout.tensors()) {
        put(place, &state.weights[&parameters[*i].name]);
    }
    for (slice, places) in share.slices.iter().zip(layout.slices()) {
        let (tensor, range) = (&parameters[slice.parameter].name, slice.start as usize..slice.end as usize);
        for (place, moment) in places.into_iter().zip([&state.exp_avg, &state.exp_avg_sq]) {
            put(place, &moment[tensor][range.clone()]);
        }
    }
    RankSnapshot::new(layout, contents.into_iter().map(Bytes::from).collect()).unwrap()
}

fn header(name: &CheckpointName, world: WorldSize) -> ManifestHeader {
    ManifestHeader {
        name: name.clone(),
        sequences_consumed: 8 * name.step,
        updates: name.step,
        grad_norms: Vec::new(),
        skipped_in_a_row: 0,
        changes: Vec::new(),
        world_size: world,
        tokenizer_hash: "abc".into(),
        data_sequences: 100,
        data_order: 2,
        config: "[run]\n".into(),
        model: MODEL,
    }
}

fn claim(number: u32) -> Claim {
    Claim { number, id: "5c0e9d7b21f3a864".into() }
}

fn gather(folder: &Folder, world: WorldSize, parameters: &[ParameterShape], state: &RestoredState) -> Vec<RankObjects> {
    let shares = plan_save(parameters, world);
    let write = |(rank, share)| {
        let snapshot = snapshot_of((rank, world), parameters, state, share);
        let written = write_rank(folder, snapshot, 0).unwrap();
        // The descriptions travel to rank 0 as JSON.
        serde_json::from_slice(&serde_json::to_vec(&written).unwrap()).unwrap()
    };
    world.ranks().zip(&shares).map(write).collect()
}

/// Saves `state` as every rank of `world` would, one after the other.
fn save(run: &Folder, step: u64, world: u32, parameters: &[ParameterShape], state: &RestoredState) -> Manifest {
    let (world, name) = (WorldSize::new(world).unwrap(), new_name(step, &claim(1)));
    let folder = folder_of(run, &name);
    let gathered = gather(&folder, world, parameters, state);
    commit(&folder, header(&name, world), gathered).unwrap()
}

/// State that a run of one rank would resume from.
#[derive(Debug, PartialEq)]
struct Restored {
    name: CheckpointName,
    manifest: Manifest,
    state: RestoredState,
    skipped: Vec<String>,
}

fn restore_newest(
    run: &Folder,
    on_corrupt: OnCorrupt,
    expected: &[ParameterShape],
) -> Result<Option<Restored>, CheckpointError> {
    let mut search = Search::new(run, on_corrupt);
    while let Some((folder, manifest)) = search.newest()? {
        check_model(folder.url(), &manifest, expected)?;
        match read_state(&folder, &manifest) {
            Ok(state) => {
                let (name, skipped) = (manifest.name.clone(), search.into_faults());
                return Ok(Some(Restored { name, manifest, state, skipped }));
            }
            Err(error) if error.is_corruption() && on_corrupt == OnCorrupt::Previous => {
                search.skip(manifest.name, error.to_string());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

fn memory(host: &str) -> Folder {
    Folder::open(&format!("memory://checkpoint-{host}/run"), &StorageConfig::default()).unwrap()
}

/// A run with a good checkpoint of 3 ranks at step 10, and one at step 20 that is about to be damaged.
struct Damaged {
    run: Folder,
    parameters: Vec<ParameterShape>,
    old: RestoredState,
    newest: Manifest,
    folder: Folder,
}

impl Damaged {
    fn new(host: &str) -> Self {
        let (run, parameters) = (memory(host), parameters(&MODEL));
        let old = state_of(&parameters, 1);
        save(&run, 10, 3, &parameters, &old);
        let newest = save(&run, 20, 2, &parameters, &state_of(&parameters, 2));
        let folder = folder_of(&run, &newest.name);
        Damaged { run, parameters, old, newest, folder }
    }

    fn restore(&self, on_corrupt: OnCorrupt) -> Result<Option<Restored>, CheckpointError> {
        restore_newest(&self.run, on_corrupt, &self.parameters)
    }

    /// Checks that `stop` ends with an error that names `object` and says `expected`, and that `previous` goes back
    /// to step 10.
    fn check(&self, object: &str, expected: &str) {
        let error = self.restore(OnCorrupt::Stop).unwrap_err();
        assert_eq!(error.exit_code(), ExitCode::Data, "{error}");
        let text = error.to_string();
        assert!(text.contains(&self.folder.url_of(object)) && text.contains(expected), "{expected:?} not in {text}");
        let restored = self.restore(OnCorrupt::Previous).unwrap().unwrap();
        assert_eq!((restored.name.step, &restored.state), (10, &self.old));
        assert_eq!(restored.skipped, [text]);
    }
}

#[test]
fn any_world_restores_what_any_world_saved() {
    let parameters = parameters(&MODEL);
    // With 40 ranks, more than there are tensors, some ranks have nothing to write.
    for world in [1, 2, 3, 4, 40] {
        let run = memory(&format!("world-{world}"));
        let state = state_of(&parameters, world);
        let manifest = save(&run, 7, world, &parameters, &state);
        let restored = restore_newest(&run, OnCorrupt::Stop, &parameters).unwrap().unwrap();
        assert_eq!(restored.state, state, "world {world}");
        assert_eq!((restored.manifest, restored.skipped), (manifest.clone(), vec![]));
        let folder = folder_of(&run, &manifest.name);
        verify(&folder, &manifest).unwrap();
        assert_eq!(read_weights(&folder, &manifest).unwrap(), state.weights);
        assert_eq!(newest_manifest(&run, OnCorrupt::Stop).unwrap().unwrap().1, manifest);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    /// Hashes tell what has become of a file, not who wrote it.
    #[test]
    fn a_header_that_another_wrote_is_read_or_refused(which: Index, changes in changes()) {
        let damaged = Damaged::new("hostile-header");
        let tensors: Vec<_> = damaged.newest.objects.iter().filter(|o| o.name.ends_with(".safetensors")).collect();
        let name = &tensors[which.index(tensors.len())].name;
        let content = changed(&damaged.folder.get(name).unwrap(), &changes);
        let mut manifest = damaged.newest.clone();
        for object in manifest.objects.iter_mut().filter(|object| object.name == *name) {
            *object = ObjectEntry::describe(name, &content);
        }
        damaged.folder.put(name, content.into()).unwrap();
        if manifest.check("x").is_ok() && let Err(error) = read_state(&damaged.folder, &manifest) {
            prop_assert_eq!(error.exit_code(), ExitCode::Data, "{}", error);
        }
    }
}

#[test]
fn a_header_of_absurd_size_is_refused() {
    let mut damaged = Damaged::new("absurd-header");
    let name = "model-00001-of-00002.safetensors";
    for (length, expected) in [(u64::MAX, "at most 100000000 are read"), (100_000_001, "at most 100000000 are read")] {
        let mut content = damaged.folder.get(name).unwrap().to_vec();
        content[..8].copy_from_slice(&length.to_le_bytes());
        let object = damaged.newest.objects.iter_mut().find(|object| object.name == name).unwrap();
        *object = ObjectEntry::describe(name, &content);
        damaged.folder.put(name, content.into()).unwrap();
        let error = read_state(&damaged.folder, &damaged.newest).unwrap_err();
        assert_eq!(error.exit_code(), ExitCode::Data);
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn files_keep_every_bit_and_hold_what_hugging_face_expects() {
    let dir = tempfile::tempdir().unwrap();
    let run = Folder::open(&dir.path().display().to_string(), &StorageConfig::default()).unwrap();
    let parameters = parameters(&MODEL);
    let mut state = state_of(&parameters, 3);
    let special = state.weights.get_mut("transformer.ln_f.bias").unwrap();
    special[..4].copy_from_slice(&[-0.0, f32::INFINITY, f32::MIN_POSITIVE / 2.0, f32::NAN]);
    let bits = |state: &RestoredState| state.weights["transformer.ln_f.bias"].iter().map(|x| x.to_bits()).collect();
    let expected: Vec<u32> = bits(&state);
    let manifest = save(&run, 1, 2, &parameters, &state);
    let restored = restore_newest(&run, OnCorrupt::Stop, &parameters).unwrap().unwrap();
    assert_eq!(bits(&restored.state), expected);

    let folder = folder_of(&run, &manifest.name);
    let names: Vec<_> = folder.list().unwrap().into_iter().map(|o| o.name).collect();
    let expected = [
        "config.json",
        "manifest.json",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
        "optimizer-00001-of-00002.safetensors",
        "optimizer-00002-of-00002.safetensors",
    ];
    assert_eq!(names, expected);
    let read = |name: &str| serde_json::from_slice::<serde_json::Value>(&folder.get(name).unwrap()).unwrap();
    assert_eq!(read("config.json")["n_layer"], MODEL.layers);
    let map = read("model.safetensors.index.json")["weight_map"].clone();
    assert_eq!(map.as_object().unwrap().len(), parameters.len());
    for (tensor, object) in map.as_object().unwrap() {
        let content = folder.get(object.as_str().unwrap()).unwrap();
        let (_, metadata) = safetensors::SafeTensors::read_metadata(&content).unwrap();
        assert!(metadata.info(tensor).is_some(), "{tensor} in {object}");
        assert_eq!(metadata.metadata().as_ref().unwrap()["format"], "pt");
    }
}

#[test]
fn files_without_tensors_are_objects_of_the_checkpoint() {
    let (run, parameters) = (memory("files"), parameters(&MODEL));
    let (state, name, world) = (state_of(&parameters, 5), new_name(3, &claim(1)), WorldSize::ONE);
    let folder = folder_of(&run, &name);
    let files = files::for_model(Tokenizer::gpt2().unwrap().vocabulary(), MODEL.context_tokens);
    let share = &plan_save(&parameters, world)[0];
    let snapshot = snapshot_of((Rank::ZERO, world), &parameters, &state, share).with_files(files.clone());
    let written = write_rank(&folder, snapshot, 0).unwrap();
    let manifest = commit(&folder, header(&name, world), vec![written]).unwrap();
    let names: Vec<_> = manifest.objects.iter().map(|object| object.name.as_str()).collect();
    let expected = [
        "config.json",
        "merges.txt",
        "model.safetensors",
        "optimizer-00001-of-00001.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.json",
    ];
    assert_eq!(names, expected);
    for (name, content) in &files {
        let entry = manifest.objects.iter().find(|object| object.name == *name);
        assert_eq!(entry, Some(&ObjectEntry::describe(name, content)));
        assert_eq!(&folder.get(name).unwrap(), content);
    }
    verify(&folder, &manifest).unwrap();
    assert_eq!(read_state(&folder, &manifest).unwrap(), state);
    let (name, content) = &files[1];
    folder.put(name, content.slice(1..)).unwrap();
    let found = verify(&folder, &manifest);
    assert!(matches!(found, Err(CheckpointStoreError::Damaged { .. })), "{found:?}");
}

#[test]
fn a_run_resumes_without_reading_the_tokenizers_files() {
    let (run, parameters) = (memory("unread"), parameters(&MODEL));
    let (state, name, world) = (state_of(&parameters, 6), new_name(3, &claim(1)), WorldSize::ONE);
    let folder = folder_of(&run, &name);
    let share = &plan_save(&parameters, world)[0];
    let files = vec![("merges.txt", Bytes::from_static(b"#version: 0.2\n"))];
    let snapshot = snapshot_of((Rank::ZERO, world), &parameters, &state, share).with_files(files);
    let written = write_rank(&folder, snapshot, 0).unwrap();
    let manifest = commit(&folder, header(&name, world), vec![written]).unwrap();
    folder.put("merges.txt", Bytes::from_static(b"#version: 0.3\n")).unwrap();
    assert_eq!(read_state(&folder, &manifest).unwrap(), state);
    folder.delete("merges.txt").unwrap();
    let error = read_state(&folder, &manifest).unwrap_err().to_string();
    assert!(error.contains("merges.txt"), "{error}");
}

#[test]
fn a_flipped_bit_in_any_object_is_found() {
    let damaged = Damaged::new("flip");
    let names: Vec<_> = damaged.newest.objects.iter().map(|o| o.name.clone()).collect();
    assert_eq!(names.len(), 6, "two objects a rank, and the two that describe the model: {names:?}");
    let mut random = Random::fresh();
    for name in names {
        let good = damaged.folder.get(&name).unwrap();
        let anywhere = [(); 8].map(|()| random.below(good.len() as u64) as usize);
        for byte in [0, good.len() - 1].into_iter().chain(anywhere) {
            let mut bad = good.to_vec();
            bad[byte] ^= 1 << random.below(8);
            damaged.folder.put(&name, Bytes::from(bad)).unwrap();
            damaged.check(&name, "have SHA-256");
            let found = verify(&damaged.folder, &damaged.newest);
            assert!(matches!(found, Err(CheckpointStoreError::Damaged { .. })), "{found:?}");
        }
        damaged.folder.put(&name, good).unwrap();
    }
    assert_eq!(damaged.restore(OnCorrupt::Stop).unwrap().unwrap().name.step, 20);
}

#[test]
fn a_damaged_manifest_is_found() {
    let damaged = Damaged::new("manifest");
    let good = damaged.folder.get(MANIFEST_NAME).unwrap();
    let mut flipped = good.to_vec();
    flipped[good.len() / 3] ^= 1;
    for bad in [Bytes::from(flipped), good.slice(..good.len() / 2), Bytes::new()] {
        damaged.folder.put(MANIFEST_NAME, bad).unwrap();
        damaged.check(MANIFEST_NAME, "not a manifest that can be trusted");
        let (_, older) = newest_manifest(&damaged.run, OnCorrupt::Previous).unwrap().unwrap();
        assert_eq!(older.name.step, 10);
        assert!(newest_manifest(&damaged.run, OnCorrupt::Stop).is_err());
    }
    let (other, _) = read_manifest(&damaged.run, &list(&damaged.run).unwrap()[0].name).unwrap();
    damaged.folder.put(MANIFEST_NAME, other.get(MANIFEST_NAME).unwrap()).unwrap();
    damaged.check(MANIFEST_NAME, "not into this folder");
}

#[test]
fn missing_truncated_and_longer_objects_are_found_with_their_sizes() {
    let damaged = Damaged::new("missing");
    for ObjectEntry { name, bytes, .. } in &damaged.newest.objects {
        let good = damaged.folder.get(name).unwrap();
        damaged.folder.delete(name).unwrap();
        damaged.check(name, &format!("does not exist, expected {bytes} bytes"));
        damaged.folder.put(name, good.slice(..good.len() - 1)).unwrap();
        damaged.check(name, &format!("{} bytes, expected {bytes}", bytes - 1));
        damaged.folder.put(name, [good.as_ref(), b"x"].concat().into()).unwrap();
        damaged.check(name, &format!("{} bytes, expected {bytes}", bytes + 1));
        damaged.folder.put(name, good).unwrap();
    }
}

#[test]
fn what_verifies_but_is_not_what_the_manifest_says_is_refused() {
    let damaged = Damaged::new("content");
    type Change = fn(&mut Manifest);
    let changes: [(Change, &str); 4] = [
        (|m| m.optimizer[0].exp_avg = "another key".into(), "`another key` not found"),
        (|m| m.optimizer[0].exp_avg_sq = m.optimizer[1].exp_avg_sq.clone(), "elements, expected"),
        (|m| m.tensors[0].object = m.tensors[m.tensors.len() - 1].object.clone(), "not found"),
        (|m| m.tensors[0].object = "config.json".into(), "header"),
    ];
    for (change, expected) in changes {
        let mut manifest = damaged.newest.clone();
        change(&mut manifest);
        manifest.check("x").unwrap();
        let text = read_state(&damaged.folder, &manifest).unwrap_err().to_string();
        assert!(text.contains(expected) && text.contains("not a part of this checkpoint"), "{expected:?} in {text}");
    }
}

#[test]
fn without_a_manifest_a_checkpoint_does_not_exist() {
    let damaged = Damaged::new("uncommitted");
    damaged.folder.delete(MANIFEST_NAME).unwrap();
    let restored = damaged.restore(OnCorrupt::Stop).unwrap().unwrap();
    assert_eq!((restored.name.step, restored.skipped.len()), (10, 0));
    let found: Vec<_> = list(&damaged.run).unwrap().iter().map(|f| (f.name.step, f.committed)).collect();
    assert_eq!(found, [(10, true), (20, false)]);
    assert_eq!(restore_newest(&memory("nothing"), OnCorrupt::Stop, &damaged.parameters).unwrap(), None);
    assert!(newest_manifest(&memory("nothing"), OnCorrupt::Previous).unwrap().is_none());
}

#[test]
fn a_run_does_not_start_over_when_all_its_checkpoints_are_damaged() {
    let damaged = Damaged::new("all");
    for found in list(&damaged.run).unwrap() {
        folder_of(&damaged.run, &found.name).delete("config.json").unwrap();
    }
    let error = damaged.restore(OnCorrupt::Previous).unwrap_err();
    assert!(matches!(&error, CheckpointError::NoneVerifies { reasons, .. } if reasons.len() == 2), "{error}");
    assert_eq!(error.exit_code(), ExitCode::Data);
}

#[test]
fn another_model_is_an_error_and_never_a_fall_back() {
    let damaged = Damaged::new("model");
    let mut wider = damaged.parameters.clone();
    wider[2].shape[0] = 8;
    let mut more = damaged.parameters.clone();
    more.push(ParameterShape { name: "lm_head.weight".into(), shape: vec![1] });
    let fewer = damaged.parameters[1..].to_vec();
    let cases = [
        (wider, "tensor transformer.h.0.ln_1.weight is [6] in the checkpoint, expected [8]"),
        (more, "tensor lm_head.weight is absent in the checkpoint, expected [1]"),
        (fewer, "tensor transformer.wte.weight is [11, 6] in the checkpoint, expected absent"),
    ];
    for (expected, message) in cases {
        let error = restore_newest(&damaged.run, OnCorrupt::Previous, &expected).unwrap_err();
        assert!(matches!(error, CheckpointError::Model { .. }) && error.to_string().contains(message), "{error}");
        assert_eq!(error.exit_code(), ExitCode::Config);
    }
}

#[test]
fn a_store_that_is_away_is_no_reason_to_fall_back() {
    let (url, operation, reason) = ("x".into(), "read", "y".into());
    let away = StorageError::Unreachable { url, operation, deadline_s: 1, attempts: 2, reason };
    let error = CheckpointError::from(away);
    assert!(!error.is_corruption());
    assert_eq!(error.exit_code(), ExitCode::Storage);
}

#[test]
fn an_incomplete_save_is_not_committed_and_a_name_commits_once() {
    let (run, parameters) = (memory("commit"), parameters(&MODEL));
    let (world, name) = (WorldSize::new(3).unwrap(), new_name(5, &claim(2)));
    let folder = folder_of(&run, &name);
    let gathered = gather(&folder, world, &parameters, &state_of(&parameters, 1));
    for missing in 0..3 {
        let mut part = gathered.clone();
        part.remove(missing);
        let error = commit(&folder, header(&name, world), part).unwrap_err();
        assert_eq!(error.exit_code(), ExitCode::Bug, "{error}");
    }
    assert!(list(&run).unwrap().iter().all(|found| !found.committed));
    commit(&folder, header(&name, world), gathered.clone()).unwrap();
    let other = ManifestHeader { updates: 1, ..header(&name, world) };
    let again = commit(&folder, other, gathered);
    assert!(matches!(again, Err(CheckpointError::Storage(StorageError::AlreadyExists { .. }))), "{again:?}");
}

#[test]
fn a_snapshot_whose_data_does_not_fit_its_shape_is_refused() {
    let tensor = ParameterShape { name: "a".into(), shape: vec![2, 3] };
    let layout = || {
        let slices = vec![("a".to_owned(), 2..6)];
        RankLayout::new(Rank::ZERO, WorldSize::ONE, vec![tensor.clone()], slices).unwrap()
    };
    let whole: Vec<Bytes> = layout().object_bytes().map(|bytes| Bytes::from(vec![0; bytes])).collect();
    RankSnapshot::new(layout(), whole.clone()).unwrap();
    let short = vec![whole[0].clone(), whole[1].slice(1..)];
    for contents in [whole[..1].to_vec(), short, [whole.clone(), whole].concat()] {
        let error = RankSnapshot::new(layout(), contents).unwrap_err();
        assert!(matches!(error, CheckpointError::Snapshot { .. }), "{error}");
    }
}

#[test]
fn objects_of_several_ranges_are_put_together_in_order() {
    let run = memory("ranges");
    let parameters = [ParameterShape { name: "large".into(), shape: vec![9 << 20, 1] }];
    let state = state_of(&parameters, 4);
    let manifest = save(&run, 1, 1, &parameters, &state);
    let folder = folder_of(&run, &manifest.name);
    assert!(read_state(&folder, &manifest).unwrap() == state);
    let mut bad = folder.get("model.safetensors").unwrap().to_vec();
    bad[(35 << 20) + 5] ^= 1;
    folder.put("model.safetensors", Bytes::from(bad)).unwrap();
    let error = read_weights(&folder, &manifest).unwrap_err();
    let expected = 35 << 20;
    assert!(matches!(error, CheckpointError::Hash { start, .. } if start == expected), "{error}");
}

/// Reads elements of `state` as a rank may want them: ranges that begin and end anywhere, in one object, in two, or
/// at a border.
#[test]
fn parts_are_read_and_verified_without_the_rest() {
    let run = memory("parts");
    let shape = |name: &str, elements| ParameterShape { name: name.into(), shape: vec![elements] };
    let parameters = [shape("a", 3 << 20), shape("b", 1001), shape("c", (5 << 20) + 3)];
    let state = state_of(&parameters, 5);
    let manifest = save(&run, 1, 2, &parameters, &state);
    let folder = folder_of(&run, &manifest.name);
    let read = |tensor: &str, quantity, range: std::ops::Range<usize>| {
        let mut to = vec![0.0; range.len()];
        let wanted = Wanted { tensor, quantity, start: range.start as u64, to: &mut to };
        read_parts(&folder, &manifest, vec![wanted]).map(|()| to)
    };
    let kinds = [
        (Quantity::Weights, &state.weights),
        (Quantity::ExpAvg, &state.exp_avg),
        (Quantity::ExpAvgSq, &state.exp_avg_sq),
    ];
    for (tensor, range) in [
        ("a", 0..3 << 20),
        ("a", 12_345..2_345_678),
        ("b", 1000..1001),
        ("c", 7..7),
        ("c", 0..(5 << 20) + 3),
        ("c", (1 << 20) - 1..(1 << 20) + 1),
        ("c", (5 << 20) + 2..(5 << 20) + 3),
    ] {
        for (quantity, expected) in kinds {
            let got = read(tensor, quantity, range.clone()).unwrap();
            assert!(got == expected[tensor][range.clone()], "{quantity:?} {range:?} of {tensor}");
        }
    }

    let object = manifest.tensors.iter().find(|t| t.name == "c").unwrap().object.clone();
    let mut bad = folder.get(&object).unwrap().to_vec();
    bad[(10 << 20) + 5] ^= 1;
    folder.put(&object, Bytes::from(bad)).unwrap();
    read("c", Quantity::Weights, 0..1 << 20).unwrap();
    let error = read("c", Quantity::Weights, 0..3 << 20).unwrap_err();
    assert!(matches!(error, CheckpointError::Hash { start, .. } if start == 10 << 20), "{error}");
}

#[test]
fn names_of_saves_are_fresh_and_well_formed() {
    let (a, b) = (new_name(1, &claim(2)), new_name(1, &claim(2)));
    assert_ne!(a, b);
    assert_eq!(CheckpointName::parse(&a.to_string()), Some(a));
}
