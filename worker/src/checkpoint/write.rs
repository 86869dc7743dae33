//! Writes checkpoints: every rank writes its share, then rank 0 commits.
//!
//! ```text
//! every rank   plan_save -> RankLayout -> copy to the host: RankSnapshot -> write_rank -> RankObjects
//! rank 0       gather RankObjects -> commit_as_holder, which puts the manifest last
//! ```
//!
//! Readers see nothing of a save until its manifest exists, so a rank may fail at any point.

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

/// Size of a piece, which is hashed while the piece before it is written; a whole number of blocks.
const PIECE_BYTES: usize = 8 * BLOCK_BYTES as usize;

/// Layout of one rank's objects for a save: its [`common::checkpoint_layout::RankShare`] of the state, or its part of
/// the optimizer if no other rank has that.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RankLayout {
    objects: Vec<(String, TensorFile)>,
    tensors: Vec<TensorEntry>,
    slices: Vec<OptimizerSlice>,
}

/// Place of one tensor in a rank's objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Index among the rank's objects.
    pub object: usize,
    /// Byte range in the object: float32, little-endian.
    pub bytes: Range<usize>,
}

/// One rank's share of a save: its objects, ready to be written.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RankSnapshot {
    layout: RankLayout,
    contents: Vec<Bytes>,
    /// Files without tensors, each with its name.
    files: Vec<(&'static str, Bytes)>,
}

/// Description of the objects that one rank has written: its part of the manifest, which travels to rank 0.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RankObjects {
    /// The objects; empty for a rank without a share.
    pub objects: Vec<ObjectEntry>,
    /// The tensors in the objects.
    pub tensors: Vec<TensorEntry>,
    /// The optimizer's slices in the objects.
    pub slices: Vec<OptimizerSlice>,
}

/// Contents of the manifest apart from the objects.
#[derive(Debug, Clone, PartialEq)]
pub struct ManifestHeader {
    /// Name of the checkpoint.
    pub name: CheckpointName,
    /// Number of sequences consumed so far.
    pub sequences_consumed: u64,
    /// Number of updates made so far.
    pub updates: u64,
    /// Norms of the last steps' gradients, oldest first.
    pub grad_norms: Vec<f64>,
    /// Number of updates skipped since the last one that was made.
    pub skipped_in_a_row: u64,
    /// Changes of the config in the middle of the run.
    pub changes: Vec<ConfigChange>,
    /// Number of ranks that have written.
    pub world_size: WorldSize,
    /// Hash of the token shards' tokenizer.
    pub tokenizer_hash: String,
    /// Number of sequences in the training data.
    pub data_sequences: u64,
    /// Version of the data order, [`order::VERSION`](crate::data::order::VERSION).
    pub data_order: u32,
    /// The resolved config as TOML.
    pub config: String,
    /// The model's sizes, for `config.json`.
    pub model: ModelConfig,
}

/// Makes a name for a save at `step` by the attempt with this claim, with a fresh random id. Rank 0 makes it and
/// tells the others.
pub fn new_name(step: u64, claim: &Claim) -> CheckpointName {
    claim.name_checkpoint(step, &random_hex())
}

impl RankLayout {
    /// Lays out whole `tensors`, given by name and shape, and the moments of `slices`, given by tensor and elements.
    /// An empty list gets no object.
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

    /// Returns the size of each object, in bytes.
    pub fn object_bytes(&self) -> impl Iterator<Item = usize> {
        self.objects.iter().map(|(_, file)| file.bytes())
    }

    /// Returns the header of each object, which precedes its data.
    pub fn headers(&self) -> impl Iterator<Item = &[u8]> {
        self.objects.iter().map(|(_, file)| file.header.as_slice())
    }

    /// Returns the places of the whole tensors, in the order of [`new`](Self::new).
    pub fn tensors(&self) -> impl Iterator<Item = Place> {
        self.places().take(self.tensors.len())
    }

    /// Returns the places of the slices' first and second moments, in the order of [`new`](Self::new).
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
    /// Combines the layout with the complete contents of its objects.
    pub fn new(layout: RankLayout, contents: Vec<Bytes>) -> Result<Self, CheckpointError> {
        let (expected, got): (Vec<_>, Vec<_>) =
            (layout.object_bytes().collect(), contents.iter().map(Bytes::len).collect());
        match expected == got {
            true => Ok(RankSnapshot { layout, contents, files: Vec::new() }),
            false => Err(CheckpointError::Snapshot {
                url: "a rank's objects".into(),
                reason: format!("they have {got:?} bytes, expected {expected:?}"),
            }),
        }
    }

    /// Adds files without tensors, each with its name. They become objects of the checkpoint.
    pub fn with_files(self, files: Vec<(&'static str, Bytes)>) -> Self {
        RankSnapshot { files, ..self }
    }
}

/// Writes this rank's share of a save into `folder`, the checkpoint's own, at no more than `bytes_per_s` (0 for no
/// limit). The objects are durable on return.
///
/// The snapshot is taken by value, so that each of its objects is freed once it is in the store.
pub fn write_rank(folder: &Folder, snapshot: RankSnapshot, bytes_per_s: u64) -> Result<RankObjects, CheckpointError> {
    let RankSnapshot { layout, contents, files } = snapshot;
    let mut pace = Pace::new(bytes_per_s);
    let write = |((name, _), content): (&(String, TensorFile), Bytes)| upload(folder, name, content, &mut pace);
    let mut objects = layout.objects.iter().zip(contents).map(write).collect::<Result<Vec<_>, _>>()?;
    for (name, content) in files {
        pace.wait_for(content.len());
        objects.push(write_object(folder, name, content)?);
    }
    Ok(RankObjects { objects, tensors: layout.tensors, slices: layout.slices })
}

/// Writes an object, and hashes each piece of it while the store takes it.
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

/// Commits a checkpoint of what all ranks have written into `folder`: adds the files that describe the model, then
/// puts the manifest, create-only. Rank 0 runs this; the checkpoint is committed on return.
///
/// `gathered` is every rank's [`RankObjects`]. Nothing is committed unless they make up the whole state.
pub fn commit(
    folder: &Folder,
    header: ManifestHeader,
    gathered: Vec<RankObjects>,
) -> Result<Manifest, CheckpointError> {
    let manifest = complete(folder, header, gathered)?;
    folder.create(MANIFEST_NAME, manifest.to_json())?;
    Ok(manifest)
}

/// Commits as [`commit`] does, in the run folder `run`, unless the attempt with claim `holder` no longer holds it.
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

/// Adds the files that describe the model to what all ranks have written into `folder`, and returns the complete
/// manifest.
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
