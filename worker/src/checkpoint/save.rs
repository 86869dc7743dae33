//! Saving: every rank writes its share, then rank 0 commits.
//!
//! ```text
//! every rank   plan_save -> copy to the host -> write_rank -> RankObjects
//! rank 0       gather RankObjects -> commit, which puts the manifest last
//! ```
//!
//! Until the manifest is there nothing of a save can be seen by a reader, so a rank may fail at any point.

use bytes::Bytes;
use common::attempt::random_hex;
use common::checkpoint_layout::hugging_face::{
    CONFIG_NAME, INDEX_NAME, config_json, index_json, model_object, optimizer_object,
};
use common::checkpoint_layout::manifest::MANIFEST_VERSION;
use common::checkpoint_layout::{CheckpointName, MANIFEST_NAME, Manifest, ObjectEntry, OptimizerSlice, TensorEntry};
use common::config::ModelConfig;
use common::storage::Folder;
use common::topology::{Rank, WorldSize};
use serde::{Deserialize, Serialize};

use super::CheckpointError;
use super::tensor_file::{F32View, encode};

/// What one rank saves, on the host: its [`common::checkpoint_layout::RankShare`] of the state.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RankSnapshot {
    /// Whole tensors of the model.
    pub tensors: Vec<HostTensor>,
    /// Parts of the optimizer's moments.
    pub slices: Vec<HostSlice>,
}

/// A tensor of the model, as Hugging Face names and lays it out, unpadded.
#[derive(Debug, Clone, PartialEq)]
pub struct HostTensor {
    /// Such as `transformer.wte.weight`.
    pub name: String,
    /// Row-major.
    pub shape: Vec<u64>,
    /// All elements.
    pub data: Vec<f32>,
}

/// Elements `[start, end)` of one tensor's two moments.
#[derive(Debug, Clone, PartialEq)]
pub struct HostSlice {
    /// Name of the parameter.
    pub tensor: String,
    /// First element, in the layout of [`HostTensor`].
    pub start: u64,
    /// One past the last element.
    pub end: u64,
    /// First moment, `end - start` elements.
    pub exp_avg: Vec<f32>,
    /// Second moment, `end - start` elements.
    pub exp_avg_sq: Vec<f32>,
}

/// What one rank has written: its part of the manifest, as it travels to rank 0.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RankObjects {
    /// The objects; a rank without a share has none.
    pub objects: Vec<ObjectEntry>,
    /// The tensors in them.
    pub tensors: Vec<TensorEntry>,
    /// The optimizer's slices in them.
    pub slices: Vec<OptimizerSlice>,
}

/// What the manifest says beside the objects.
#[derive(Debug, Clone, PartialEq)]
pub struct ManifestHeader {
    /// Whose folder it is.
    pub name: CheckpointName,
    /// Sequences consumed so far.
    pub sequences_consumed: u64,
    /// Updates made so far.
    pub updates: u64,
    /// Norms of the last steps' gradients, oldest first.
    pub grad_norms: Vec<f64>,
    /// How many ranks have written.
    pub world_size: WorldSize,
    /// Hash of the tokenizer of the token shards.
    pub tokenizer_hash: String,
    /// Sequences of the training data.
    pub data_sequences: u64,
    /// The resolved config as TOML.
    pub config: String,
    /// The model's sizes, for `config.json`.
    pub model: ModelConfig,
}

/// A name for a save of this step by this attempt, with a fresh random id. Rank 0 makes it and tells the others.
pub fn new_name(step: u64, attempt: u32) -> CheckpointName {
    CheckpointName { step, attempt, id: random_hex() }
}

/// Writes this rank's share of a save into `folder`, the checkpoint's own; durable when this returns.
///
/// Takes the snapshot to free each half of it once it is in the store.
pub fn write_rank(
    folder: &Folder,
    rank: Rank,
    world: WorldSize,
    snapshot: RankSnapshot,
) -> Result<RankObjects, CheckpointError> {
    let mut written = RankObjects::default();
    if !snapshot.tensors.is_empty() {
        let name = model_object(rank, world);
        written.objects.push(write_tensors(folder, &name, &snapshot.tensors)?);
        let entry = |t: HostTensor| TensorEntry { name: t.name, shape: t.shape, object: name.clone() };
        written.tensors = snapshot.tensors.into_iter().map(entry).collect();
    }
    if !snapshot.slices.is_empty() {
        let name = optimizer_object(rank, world);
        written.slices = snapshot.slices.iter().map(|slice| slice.entry(&name)).collect();
        written.objects.push(write_slices(folder, &name, &snapshot.slices, &written.slices)?);
    }
    Ok(written)
}

impl HostTensor {
    fn view(&self) -> F32View<'_> {
        F32View { shape: self.shape.iter().map(|size| *size as usize).collect(), data: &self.data }
    }
}

impl HostSlice {
    fn entry(&self, object: &str) -> OptimizerSlice {
        let HostSlice { tensor, start, end, .. } = self;
        let key = |moment: &str| format!("{tensor}.{start}-{end}.{moment}");
        OptimizerSlice {
            tensor: tensor.clone(),
            start: *start,
            end: *end,
            object: object.to_owned(),
            exp_avg: key("exp_avg"),
            exp_avg_sq: key("exp_avg_sq"),
        }
    }
}

fn write_tensors(folder: &Folder, name: &str, tensors: &[HostTensor]) -> Result<ObjectEntry, CheckpointError> {
    let views = tensors.iter().map(|t| (t.name.clone(), t.view())).collect();
    write_object(folder, name, encode(views).map_err(|e| snapshot_error(folder, name, e))?)
}

fn write_slices(
    folder: &Folder,
    name: &str,
    slices: &[HostSlice],
    entries: &[OptimizerSlice],
) -> Result<ObjectEntry, CheckpointError> {
    let mut views = Vec::with_capacity(2 * slices.len());
    for (slice, entry) in slices.iter().zip(entries) {
        let shape = vec![slice.end.saturating_sub(slice.start) as usize];
        views.push((entry.exp_avg.clone(), F32View { shape: shape.clone(), data: &slice.exp_avg }));
        views.push((entry.exp_avg_sq.clone(), F32View { shape, data: &slice.exp_avg_sq }));
    }
    write_object(folder, name, encode(views).map_err(|e| snapshot_error(folder, name, e))?)
}

fn snapshot_error(folder: &Folder, name: &str, reason: impl ToString) -> CheckpointError {
    CheckpointError::Snapshot { url: folder.url_of(name), reason: reason.to_string() }
}

fn write_object(folder: &Folder, name: &str, content: Bytes) -> Result<ObjectEntry, CheckpointError> {
    let entry = ObjectEntry::describe(name, &content);
    folder.put(name, content)?;
    Ok(entry)
}

/// Makes a checkpoint of what all ranks have written into `folder`: adds the files that describe the model, and puts
/// the manifest, create-only, last. Run by rank 0; when this returns, the checkpoint is committed.
///
/// `gathered` is every rank's [`RankObjects`]; if they do not make up the whole state, nothing is committed.
pub fn commit(
    folder: &Folder,
    header: ManifestHeader,
    gathered: Vec<RankObjects>,
) -> Result<Manifest, CheckpointError> {
    let mut manifest = Manifest {
        version: MANIFEST_VERSION,
        name: header.name,
        sequences_consumed: header.sequences_consumed,
        updates: header.updates,
        grad_norms: header.grad_norms,
        world_size: header.world_size.get(),
        tokenizer_hash: header.tokenizer_hash,
        data_sequences: header.data_sequences,
        config: header.config,
        objects: Vec::new(),
        tensors: Vec::new(),
        optimizer: Vec::new(),
    };
    for part in gathered {
        manifest.objects.extend(part.objects);
        manifest.tensors.extend(part.tensors);
        manifest.optimizer.extend(part.slices);
    }
    let url = folder.url_of(MANIFEST_NAME);
    manifest.check(&url).map_err(|e| CheckpointError::Snapshot { url, reason: e.reason })?;
    manifest.objects.push(write_object(folder, CONFIG_NAME, config_json(&header.model))?);
    if header.world_size != WorldSize::ONE {
        manifest.objects.push(write_object(folder, INDEX_NAME, index_json(&manifest.tensors))?);
    }
    manifest.objects.sort_by(|a, b| a.name.cmp(&b.name));
    folder.create(MANIFEST_NAME, manifest.to_json())?;
    Ok(manifest)
}
