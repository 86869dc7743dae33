//! Restoring: the newest checkpoint that verifies becomes whole tensors, whatever world size wrote it.

use std::collections::{BTreeMap, HashMap};

use common::checkpoint_layout::{
    CHECKPOINTS_FOLDER, CheckpointName, Found, MANIFEST_NAME, Manifest, ManifestError, ObjectEntry, ParameterShape,
};
use common::config::OnCorrupt;
use common::storage::Folder;
use common::token_shard::hex_sha256;
use safetensors::SafeTensors;

use super::transfer::for_each_object;
use super::{CheckpointError, folder_of, tensor_file};

/// The state in a checkpoint, by Hugging Face name; every tensor whole, row-major, unpadded.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RestoredState {
    /// The model's weights.
    pub weights: HashMap<String, Vec<f32>>,
    /// AdamW's first moments.
    pub exp_avg: HashMap<String, Vec<f32>>,
    /// AdamW's second moments.
    pub exp_avg_sq: HashMap<String, Vec<f32>>,
}

/// What a run resumes from.
#[derive(Debug, Clone, PartialEq)]
pub struct Restored {
    /// Which checkpoint it is.
    pub name: CheckpointName,
    /// Its table of contents, with the cursor of the data.
    pub manifest: Manifest,
    /// Its tensors.
    pub state: RestoredState,
    /// The newer checkpoints that did not verify, newest first: which and why, for the log.
    pub skipped: Vec<String>,
}

/// The checkpoints of the run folder `run`, committed or not, oldest first.
pub fn list(run: &Folder) -> Result<Vec<Found>, CheckpointError> {
    Ok(Found::among(&run.folder(CHECKPOINTS_FOLDER).list()?))
}

/// The manifest of checkpoint `name`, which must be committed.
pub fn read_manifest(run: &Folder, name: &CheckpointName) -> Result<(Folder, Manifest), CheckpointError> {
    let folder = folder_of(run, name);
    let url = folder.url_of(MANIFEST_NAME);
    let manifest = Manifest::parse(&url, &folder.get(MANIFEST_NAME)?)?;
    if manifest.name != *name {
        let reason = format!("it belongs to {}, not into this folder", manifest.name);
        return Err(ManifestError { url, reason }.into());
    }
    Ok((folder, manifest))
}

/// The newest committed checkpoint whose manifest can be read: its folder and manifest. `None` if none is committed.
pub fn newest_manifest(run: &Folder, on_corrupt: OnCorrupt) -> Result<Option<(Folder, Manifest)>, CheckpointError> {
    let first = first_sound(run, on_corrupt, |name| read_manifest(run, name))?;
    Ok(first.map(|(found, skipped)| {
        skipped.iter().for_each(|reason| tracing::warn!("skipped a checkpoint: {reason}"));
        found
    }))
}

/// Restores the newest committed checkpoint that verifies in full; `None` if none is committed.
///
/// `expected` is the model that the config describes; a checkpoint of another one is an error. So is a run whose
/// checkpoints are all damaged: starting again from the beginning is for a person to decide.
pub fn restore_newest(
    run: &Folder,
    on_corrupt: OnCorrupt,
    expected: &[ParameterShape],
) -> Result<Option<Restored>, CheckpointError> {
    let first = first_sound(run, on_corrupt, |name| {
        let (folder, manifest) = read_manifest(run, name)?;
        check_model(folder.url(), &manifest, expected)?;
        let state = read_state(&folder, &manifest)?;
        Ok((manifest, state))
    })?;
    Ok(first.map(|((manifest, state), skipped)| Restored { name: manifest.name.clone(), manifest, state, skipped }))
}

/// What `read` makes of the newest committed checkpoint, or as `on_corrupt` allows of the newest that is not damaged,
/// with the faults of those before it.
fn first_sound<T>(
    run: &Folder,
    on_corrupt: OnCorrupt,
    read: impl Fn(&CheckpointName) -> Result<T, CheckpointError>,
) -> Result<Option<(T, Vec<String>)>, CheckpointError> {
    let mut reasons = Vec::new();
    for found in list(run)?.iter().rev().filter(|found| found.committed) {
        match read(&found.name) {
            Ok(sound) => return Ok(Some((sound, reasons))),
            Err(error) if error.is_corruption() && on_corrupt == OnCorrupt::Previous => reasons.push(error.to_string()),
            Err(error) => return Err(error),
        }
    }
    match reasons.is_empty() {
        true => Ok(None),
        false => Err(CheckpointError::NoneVerifies { url: run.url_of(CHECKPOINTS_FOLDER), reasons }),
    }
}

/// Compares the tensors of a checkpoint with the model that the config describes.
pub fn check_model(url: &str, manifest: &Manifest, expected: &[ParameterShape]) -> Result<(), CheckpointError> {
    let saved: BTreeMap<&str, &[u64]> =
        manifest.tensors.iter().map(|t| (t.name.as_str(), t.shape.as_slice())).collect();
    let wanted: BTreeMap<&str, &[u64]> = expected.iter().map(|p| (p.name.as_str(), p.shape.as_slice())).collect();
    let differs = |name: &&&str| saved.get(**name) != wanted.get(**name);
    let Some(tensor) = wanted.keys().chain(saved.keys()).find(differs) else { return Ok(()) };
    let show = |shapes: &BTreeMap<&str, &[u64]>| match shapes.get(tensor) {
        Some(shape) => format!("{shape:?}"),
        None => "absent".to_owned(),
    };
    Err(CheckpointError::Model {
        url: url.to_owned(),
        tensor: (*tensor).to_owned(),
        expected: show(&wanted),
        got: show(&saved),
    })
}

/// Reads and hashes every object of a checkpoint: its blocks, and then the whole.
pub fn verify(folder: &Folder, manifest: &Manifest) -> Result<(), CheckpointError> {
    let all: Vec<_> = manifest.objects.iter().collect();
    for_each_object(folder, &all, |object, content| {
        let got = hex_sha256(content);
        if got == object.sha256 {
            return Ok(());
        }
        Err(CheckpointError::Hash {
            url: folder.url_of(&object.name),
            start: 0,
            end: object.bytes,
            expected: object.sha256.clone(),
            got,
        })
    })
}

/// Reads the whole state of a checkpoint, every byte verified against the manifest.
pub fn read_state(folder: &Folder, manifest: &Manifest) -> Result<RestoredState, CheckpointError> {
    let all: Vec<_> = manifest.objects.iter().collect();
    read_objects(folder, manifest, &all)
}

/// Reads the weights alone, a third of the whole, every byte verified against the manifest.
pub fn read_weights(folder: &Folder, manifest: &Manifest) -> Result<HashMap<String, Vec<f32>>, CheckpointError> {
    let has_weights = |object: &&ObjectEntry| manifest.tensors.iter().any(|t| t.object == object.name);
    let objects: Vec<_> = manifest.objects.iter().filter(has_weights).collect();
    Ok(read_objects(folder, manifest, &objects)?.weights)
}

fn read_objects(
    folder: &Folder,
    manifest: &Manifest,
    objects: &[&ObjectEntry],
) -> Result<RestoredState, CheckpointError> {
    let mut state = RestoredState::default();
    let mut slices = Slices::default();
    for_each_object(folder, objects, |object, content| {
        take_object(manifest, &object.name, content, &mut state.weights, &mut slices)
            .map_err(|reason| CheckpointError::Content { url: folder.url_of(&object.name), reason })
    })?;
    state.exp_avg = joined(slices.exp_avg);
    state.exp_avg_sq = joined(slices.exp_avg_sq);
    // A tensor without elements has no slices, but it has moments as every other.
    for name in state.weights.iter().filter(|(_, data)| data.is_empty()).map(|(name, _)| name) {
        state.exp_avg.entry(name.clone()).or_default();
        state.exp_avg_sq.entry(name.clone()).or_default();
    }
    Ok(state)
}

/// The slices of one moment that have been read so far: by tensor, then by first element.
type SlicesByTensor = HashMap<String, BTreeMap<u64, Vec<f32>>>;

#[derive(Default)]
struct Slices {
    exp_avg: SlicesByTensor,
    exp_avg_sq: SlicesByTensor,
}

/// Takes everything that the manifest says lies in object `name` out of its verified `content`.
fn take_object(
    manifest: &Manifest,
    name: &str,
    content: &[u8],
    weights: &mut HashMap<String, Vec<f32>>,
    slices: &mut Slices,
) -> Result<(), String> {
    let mut tensors = manifest.tensors.iter().filter(|t| t.object == name).peekable();
    let mut moments = manifest.optimizer.iter().filter(|s| s.object == name).peekable();
    if tensors.peek().is_none() && moments.peek().is_none() {
        return Ok(());
    }
    let file = SafeTensors::deserialize(content).map_err(|e| e.to_string())?;
    for tensor in tensors {
        let (data, shape) = tensor_file::tensor(&file, &tensor.name, tensor.elements().unwrap_or(u64::MAX))?;
        if shape != tensor.shape {
            return Err(format!("{} has shape {shape:?}, expected {:?}", tensor.name, tensor.shape));
        }
        weights.insert(tensor.name.clone(), data);
    }
    for slice in moments {
        for (key, moment) in [(&slice.exp_avg, &mut slices.exp_avg), (&slice.exp_avg_sq, &mut slices.exp_avg_sq)] {
            let (data, _) = tensor_file::tensor(&file, key, slice.end - slice.start)?;
            moment.entry(slice.tensor.clone()).or_default().insert(slice.start, data);
        }
    }
    Ok(())
}

/// Whole tensors of their slices, which cover each once, as [`Manifest::check`] has found.
fn joined(slices: SlicesByTensor) -> HashMap<String, Vec<f32>> {
    let join = |parts: BTreeMap<u64, Vec<f32>>| {
        let mut parts: Vec<_> = parts.into_values().collect();
        match parts.len() {
            1 => parts.remove(0),
            _ => parts.concat(),
        }
    };
    slices.into_iter().map(|(tensor, parts)| (tensor, join(parts))).collect()
}
