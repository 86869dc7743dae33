//! Writing: every rank writes its share, then rank 0 commits.
//!
//! ```text
//! every rank   plan_save -> RankLayout -> copy to the host: RankSnapshot -> write_rank -> RankObjects
//! rank 0       gather RankObjects -> commit_as_holder, which puts the manifest last
//! ```
//!
//! Until the manifest is there nothing of a save can be seen by a reader, so a rank may fail at any point.

use std::ops::Range;

use bytes::Bytes;
use common::attempt::Claim;
use common::checkpoint_layout::hugging_face::{
    CONFIG_NAME, INDEX_NAME, config_json, index_json, model_object, optimizer_object,
};
use common::checkpoint_layout::manifest::MANIFEST_VERSION;
use common::checkpoint_layout::tensor_file::TensorFile;
use common::checkpoint_layout::{
    CheckpointName, MANIFEST_NAME, Manifest, ObjectEntry, OptimizerSlice, ParameterShape, TensorEntry,
};
use common::checkpoint_store::{self, folder_of};
use common::config::{ConfigChange, ModelConfig};
use common::random::random_hex;
use common::storage::Folder;
use common::token_shard::BLOCK_BYTES;
use common::topology::{Rank, WorldSize};
use safetensors::tensor::SafeTensorError;
use serde::{Deserialize, Serialize};

use super::error::CheckpointError;
use super::pace::Pace;

/// What is hashed while the piece before it is written; a whole number of blocks.
const PIECE_BYTES: usize = 8 * BLOCK_BYTES as usize;

/// What one rank is to save, and what goes where in the objects that hold it: its
/// [`common::checkpoint_layout::RankShare`] of the state, or its part of the optimizer where nobody else has it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RankLayout {
    objects: Vec<(String, TensorFile)>,
    tensors: Vec<TensorEntry>,
    slices: Vec<OptimizerSlice>,
}

/// One tensor of a rank's objects, and where its elements go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Which of the rank's objects.
    pub object: usize,
    /// Bytes of the object: float32, little-endian.
    pub bytes: Range<usize>,
}

/// What one rank saves: its objects, ready to be written.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RankSnapshot {
    layout: RankLayout,
    contents: Vec<Bytes>,
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
    /// Updates skipped since the last that was not.
    pub skipped_in_a_row: u64,
    /// What was changed in the config in the middle of the run.
    pub changes: Vec<ConfigChange>,
    /// How many ranks have written.
    pub world_size: WorldSize,
    /// Hash of the tokenizer of the token shards.
    pub tokenizer_hash: String,
    /// Sequences of the training data.
    pub data_sequences: u64,
    /// [`order::VERSION`](crate::data::order::VERSION).
    pub data_order: u32,
    /// The resolved config as TOML.
    pub config: String,
    /// The model's sizes, for `config.json`.
    pub model: ModelConfig,
}

/// A name for a save of this step by the attempt of this claim, with a fresh random id. Rank 0 makes it and tells the others.
pub fn new_name(step: u64, claim: &Claim) -> CheckpointName {
    claim.name_checkpoint(step, &random_hex())
}

impl RankLayout {
    /// The layout of whole `tensors`, by name and shape, and of the moments' `slices`, by tensor and elements. Nothing of
    /// either kind makes no object.
    pub fn new(
        rank: Rank,
        world: WorldSize,
        tensors: Vec<ParameterShape>,
        slices: Vec<(String, Range<u64>)>,
    ) -> Result<Self, CheckpointError> {
        let mut layout = RankLayout::default();
        if !tensors.is_empty() {
            let object = model_object(rank, world);
            layout.add(&object, tensors.iter().map(|t| (t.name.clone(), t.shape.clone())).collect())?;
            let entry = |t: ParameterShape| TensorEntry { name: t.name, shape: t.shape, object: object.clone() };
            layout.tensors = tensors.into_iter().map(entry).collect();
        }
        if !slices.is_empty() {
            let object = optimizer_object(rank, world);
            layout.slices = slices.into_iter().map(|(tensor, range)| slice_entry(tensor, range, &object)).collect();
            let moments = |slice: &OptimizerSlice| {
                let shape = vec![slice.end.saturating_sub(slice.start)];
                [(slice.exp_avg.clone(), shape.clone()), (slice.exp_avg_sq.clone(), shape)]
            };
            layout.add(&object, layout.slices.iter().flat_map(moments).collect())?;
        }
        Ok(layout)
    }

    fn add(&mut self, object: &str, tensors: Vec<(String, Vec<u64>)>) -> Result<(), CheckpointError> {
        let refuse = |e: SafeTensorError| CheckpointError::Snapshot { url: object.into(), reason: e.to_string() };
        self.objects.push((object.to_owned(), TensorFile::new(tensors).map_err(refuse)?));
        Ok(())
    }

    /// Size of each object.
    pub fn object_bytes(&self) -> impl Iterator<Item = usize> {
        self.objects.iter().map(|(_, file)| file.bytes())
    }

    /// What each object begins with, before any data.
    pub fn headers(&self) -> impl Iterator<Item = &[u8]> {
        self.objects.iter().map(|(_, file)| file.header.as_slice())
    }

    /// Where the whole tensors go, in the order of [`new`](Self::new).
    pub fn tensors(&self) -> impl Iterator<Item = Place> {
        self.places().take(self.tensors.len())
    }

    /// Where the slices' first and second moments go, in the order of [`new`](Self::new).
    pub fn slices(&self) -> impl Iterator<Item = [Place; 2]> {
        let mut moments = self.places().skip(self.tensors.len());
        std::iter::from_fn(move || Some([moments.next()?, moments.next()?]))
    }

    fn places(&self) -> impl Iterator<Item = Place> {
        let of_object = |(object, (_, file)): (usize, &(String, TensorFile))| {
            let place = move |bytes| Place { object, bytes };
            file.tensors.clone().into_iter().map(place)
        };
        self.objects.iter().enumerate().flat_map(of_object)
    }
}

impl RankSnapshot {
    /// The objects of `layout`, complete.
    pub fn new(layout: RankLayout, contents: Vec<Bytes>) -> Result<Self, CheckpointError> {
        let (expected, got): (Vec<_>, Vec<_>) =
            (layout.object_bytes().collect(), contents.iter().map(Bytes::len).collect());
        match expected == got {
            true => Ok(RankSnapshot { layout, contents }),
            false => Err(CheckpointError::Snapshot {
                url: "a rank's objects".into(),
                reason: format!("they have {got:?} bytes, expected {expected:?}"),
            }),
        }
    }
}

/// Writes this rank's share of a save into `folder`, the checkpoint's own, at most `bytes_per_s` (0 for as fast as it goes);
/// durable when this returns.
///
/// Takes the snapshot to free each object of it once it is in the store.
pub fn write_rank(folder: &Folder, snapshot: RankSnapshot, bytes_per_s: u64) -> Result<RankObjects, CheckpointError> {
    let RankSnapshot { layout, contents } = snapshot;
    let mut pace = Pace::new(bytes_per_s);
    let write = |((name, _), content): (&(String, TensorFile), Bytes)| upload(folder, name, content, &mut pace);
    let objects = layout.objects.iter().zip(contents).map(write).collect::<Result<_, _>>()?;
    Ok(RankObjects { objects, tensors: layout.tensors, slices: layout.slices })
}

/// Writes an object; hashes each piece of it while the store takes it.
fn upload(folder: &Folder, name: &str, content: Bytes, pace: &mut Pace) -> Result<ObjectEntry, CheckpointError> {
    let (bytes, mut hash) = (content.len() as u64, ObjectEntry::hash());
    let mut upload = folder.upload_from_memory(name)?;
    let mut rest = content;
    while !rest.is_empty() {
        let piece = rest.split_to(PIECE_BYTES.min(rest.len()));
        pace.wait_for(piece.len());
        upload.write(piece.clone())?;
        hash.update(&piece);
    }
    upload.finish()?;
    Ok(ObjectEntry::hashed(name, bytes, hash))
}

fn slice_entry(tensor: String, elements: Range<u64>, object: &str) -> OptimizerSlice {
    let Range { start, end } = elements;
    let key = |moment: &str| format!("{tensor}.{start}-{end}.{moment}");
    let (exp_avg, exp_avg_sq) = (key("exp_avg"), key("exp_avg_sq"));
    OptimizerSlice { tensor, start, end, object: object.to_owned(), exp_avg, exp_avg_sq }
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
    let manifest = complete(folder, header, gathered)?;
    folder.create(MANIFEST_NAME, manifest.to_json())?;
    Ok(manifest)
}

/// The same in the run folder `run`, unless it is not that of the attempt of claim `holder` any more.
pub fn commit_as_holder(
    run: &Folder,
    holder: &Claim,
    header: ManifestHeader,
    gathered: Vec<RankObjects>,
) -> Result<Manifest, CheckpointError> {
    let manifest = complete(&folder_of(run, &header.name), header, gathered)?;
    checkpoint_store::commit(run, holder, &manifest)?;
    Ok(manifest)
}

/// Adds the files that describe the model to what all ranks have written into `folder`. The manifest of all that.
fn complete(folder: &Folder, header: ManifestHeader, gathered: Vec<RankObjects>) -> Result<Manifest, CheckpointError> {
    let mut manifest = Manifest {
        version: MANIFEST_VERSION,
        name: header.name,
        sequences_consumed: header.sequences_consumed,
        updates: header.updates,
        grad_norms: header.grad_norms,
        skipped_in_a_row: header.skipped_in_a_row,
        changes: header.changes,
        world_size: header.world_size.get(),
        tokenizer_hash: header.tokenizer_hash,
        data_sequences: header.data_sequences,
        data_order: header.data_order,
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
    Ok(manifest)
}
