//! Reads checkpoints: finds the newest one, and reads parts of its tensors, independent of the world size that wrote
//! it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use common::checkpoint_layout::tensor_file::{ELEMENT_BYTES, Header, LENGTH_BYTES};
use common::checkpoint_layout::{
    CHECKPOINTS_FOLDER, CheckpointName, MANIFEST_NAME, Manifest, ObjectEntry, OptimizerSlice, ParameterShape,
    TensorEntry,
};
use common::checkpoint_store::{self, Found, folder_of, list};
use common::config::OnCorrupt;
use common::storage::Folder;
use common::threads;
use common::tokenizer::files;

use super::error::CheckpointError;
use super::transfer::{Values, check_sizes, read_bytes, read_values};

/// First pause of a search that waits for an up-to-date listing. Pauses double, to about ten seconds in all.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Whole tensors, by name.
pub type Tensors = HashMap<String, Vec<f32>>;

/// State in a checkpoint, by Hugging Face name; every tensor is whole, row-major and unpadded.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RestoredState {
    /// The model's weights.
    pub weights: Tensors,
    /// AdamW's first moments.
    pub exp_avg: Tensors,
    /// AdamW's second moments.
    pub exp_avg_sq: Tensors,
}

/// Reads the manifest of checkpoint `name`, which must be committed.
pub fn read_manifest(run: &Folder, name: &CheckpointName) -> Result<(Folder, Manifest), CheckpointError> {
    Ok((folder_of(run, name), checkpoint_store::read_manifest(run, name)?))
}

/// Finds the newest checkpoint that counts and has a readable manifest: its folder and manifest, or `None` if none is
/// committed.
pub fn newest_manifest(run: &Folder, on_corrupt: OnCorrupt) -> Result<Option<(Folder, Manifest)>, CheckpointError> {
    let mut search = Search::new(run, on_corrupt);
    let found = search.newest()?;
    search.into_faults().iter().for_each(|reason| tracing::warn!("skipped a checkpoint: {reason}"));
    Ok(found)
}

/// A search for the newest committed checkpoint that is not damaged.
pub struct Search<'a> {
    run: &'a Folder,
    on_corrupt: OnCorrupt,
    skipped: Vec<CheckpointName>,
    /// Faults of the skipped checkpoints.
    faults: Vec<String>,
}

impl<'a> Search<'a> {
    /// Starts a search in the run folder `run`.
    pub fn new(run: &'a Folder, on_corrupt: OnCorrupt) -> Self {
        Search { run, on_corrupt, skipped: Vec::new(), faults: Vec::new() }
    }

    /// Finds the newest checkpoint that counts, was not skipped and has a readable manifest; `None` if none is
    /// committed.
    ///
    /// A listing that shows deleted checkpoints is out of date and may lack newer ones, so the search waits for a
    /// later listing. Deleted checkpoints that this one still shows are passed over. A run in which all checkpoints
    /// are damaged or gone is an error: starting again from the beginning is for a person to decide.
    pub fn newest(&mut self) -> Result<Option<(Folder, Manifest)>, CheckpointError> {
        let mut pause = FIRST_PAUSE;
        loop {
            let mut gone = Vec::new();
            let found = self.look(&mut gone)?;
            if !gone.is_empty() && pause < LONGEST_PAUSE {
                std::thread::sleep(pause);
                pause *= 2;
                continue;
            }
            gone.iter()
                .for_each(|reason| tracing::warn!("passed over a checkpoint that a listing still shows: {reason}"));
            let reasons: Vec<String> = self.faults.iter().cloned().chain(gone).collect();
            return match found {
                None if !reasons.is_empty() => {
                    Err(CheckpointError::NoneVerifies { url: self.run.url_of(CHECKPOINTS_FOLDER), reasons })
                }
                found => Ok(found),
            };
        }
    }

    /// Does the work of [`newest`](Self::newest) with a single listing; adds listed checkpoints that do not exist to
    /// `gone`.
    fn look(&mut self, gone: &mut Vec<String>) -> Result<Option<(Folder, Manifest)>, CheckpointError> {
        for found in list(self.run)?.into_iter().rev().filter(Found::counts) {
            if self.skipped.contains(&found.name) {
                continue;
            }
            match read_manifest(self.run, &found.name) {
                Ok(found) => return Ok(Some(found)),
                Err(error) if error.is_gone() => gone.push(error.to_string()),
                Err(error) if error.is_corruption() && self.on_corrupt == OnCorrupt::Previous => {
                    self.skip(found.name, error.to_string());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Skips checkpoint `name`, which has this fault.
    pub fn skip(&mut self, name: CheckpointName, fault: String) {
        self.skipped.push(name);
        self.faults.push(fault);
    }

    /// Returns the faults of the skipped checkpoints, newest first.
    pub fn into_faults(self) -> Vec<String> {
        self.faults
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

/// Quantity that a range of elements is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantity {
    /// The weights.
    Weights,
    /// AdamW's first moments.
    ExpAvg,
    /// AdamW's second moments.
    ExpAvgSq,
}

/// Range of elements that is to be read, from a tensor or one of its moments.
pub struct Wanted<'a> {
    /// Hugging Face name of the tensor.
    pub tensor: &'a str,
    /// Whether its weights are wanted, or which moments.
    pub quantity: Quantity,
    /// First element, in the row-major, unpadded tensor.
    pub start: u64,
    /// Destination; its length is the number of elements.
    pub to: &'a mut [f32],
}

/// Reads the `wanted` ranges of a checkpoint, and no more than the blocks that they lie in. Every byte is verified
/// against the manifest, and so are the small objects that describe the model. The tokenizer's files are not read.
///
/// The tensors must be those of the manifest: see [`check_model`].
pub fn read_parts(folder: &Folder, manifest: &Manifest, wanted: Vec<Wanted<'_>>) -> Result<(), CheckpointError> {
    check_sizes(folder, &manifest.objects)?;
    read_checked(folder, manifest, wanted)
}

/// Does the work of [`read_parts`], once the sizes of the objects are known to be right.
fn read_checked(folder: &Folder, manifest: &Manifest, wanted: Vec<Wanted<'_>>) -> Result<(), CheckpointError> {
    let index = ManifestIndex::of(manifest);
    let mut parts = Vec::new();
    for wanted in wanted {
        index.find(folder, wanted, &mut parts)?;
    }
    checkpoint_store::verify_objects(folder, &index.of_the_model())?;
    let headers = index.headers(folder, &parts)?;
    let values = parts.into_iter().map(|part| {
        let url = folder.url_of(&part.object.name);
        part.place(&headers).map_err(|reason| CheckpointError::Content { url, reason })
    });
    read_values(folder, values.collect::<Result<_, _>>()?)
}

/// Elements of one tensor of one object.
struct Part<'a> {
    object: &'a ObjectEntry,
    key: &'a str,
    /// Number of elements of the whole tensor with that key.
    elements: u64,
    /// Shape of the whole tensor, if the manifest says.
    shape: Option<&'a [u64]>,
    /// First element.
    start: u64,
    to: &'a mut [f32],
}

impl<'a> Part<'a> {
    /// Finds where the elements lie, by the headers of their objects.
    fn place(self, headers: &HashMap<&str, Header>) -> Result<Values<'a>, String> {
        let Part { object, key, elements, shape: expected, start, to } = self;
        let (bytes, shape) = headers[object.name.as_str()].tensor(key, elements)?;
        match expected {
            Some(expected) if shape != expected => Err(format!("{key} has shape {shape:?}, expected {expected:?}")),
            _ => Ok(Values { object, start: (bytes.start + start as usize * ELEMENT_BYTES) as u64, to }),
        }
    }
}

/// Contents of a manifest, by name.
struct ManifestIndex<'a> {
    objects: HashMap<&'a str, &'a ObjectEntry>,
    tensors: HashMap<&'a str, &'a TensorEntry>,
    /// Slices of each tensor, by first element.
    slices: HashMap<&'a str, BTreeMap<u64, &'a OptimizerSlice>>,
}

impl<'a> ManifestIndex<'a> {
    fn of(manifest: &'a Manifest) -> Self {
        let mut slices: HashMap<&str, BTreeMap<u64, &OptimizerSlice>> = HashMap::new();
        for slice in &manifest.optimizer {
            slices.entry(&slice.tensor).or_default().insert(slice.start, slice);
        }
        ManifestIndex {
            objects: manifest.objects.iter().map(|o| (o.name.as_str(), o)).collect(),
            tensors: manifest.tensors.iter().map(|t| (t.name.as_str(), t)).collect(),
            slices,
        }
    }

    /// Adds the parts that hold the elements of `wanted` to `parts`. Every element has a place, as
    /// [`Manifest::check`] has verified, but on a host some objects may be missing.
    fn find(&self, folder: &Folder, wanted: Wanted<'a>, parts: &mut Vec<Part<'a>>) -> Result<(), CheckpointError> {
        let Wanted { tensor, quantity, mut start, mut to } = wanted;
        let absent = || CheckpointError::Content {
            url: folder.url_of(MANIFEST_NAME),
            reason: format!("it does not have all of {tensor} here"),
        };
        let entry = self.tensors.get(tensor).ok_or_else(absent)?;
        if quantity == Quantity::Weights {
            let object = self.objects.get(entry.object.as_str()).copied().ok_or_else(absent)?;
            let elements = entry.elements().unwrap_or(u64::MAX);
            parts.push(Part { object, key: &entry.name, elements, shape: Some(&entry.shape), start, to });
            return Ok(());
        }
        while !to.is_empty() {
            let slices = self.slices.get(tensor).ok_or_else(absent)?;
            let (_, slice) = slices.range(..=start).next_back().filter(|(_, s)| start < s.end).ok_or_else(absent)?;
            let (part, rest) = to.split_at_mut(to.len().min((slice.end - start) as usize));
            let key = if quantity == Quantity::ExpAvg { &slice.exp_avg } else { &slice.exp_avg_sq };
            let object = self.objects.get(slice.object.as_str()).copied().ok_or_else(absent)?;
            let elements = slice.end - slice.start;
            let next = start + part.len() as u64;
            parts.push(Part { object, key, elements, shape: None, start: start - slice.start, to: part });
            (start, to) = (next, rest);
        }
        Ok(())
    }

    /// Returns the objects that describe the model: they hold no tensor, and are not the tokenizer's.
    fn of_the_model(&self) -> Vec<&'a ObjectEntry> {
        let of_tensors = self.tensors.values().map(|t| t.object.as_str());
        let of_slices = self.slices.values().flat_map(|slices| slices.values().map(|s| s.object.as_str()));
        let with: HashSet<&str> = of_tensors.chain(of_slices).collect();
        let describes = |name: &str| !with.contains(name) && !files::WRITTEN_NAMES.contains(&name);
        self.objects.values().filter(|object| describes(&object.name)).copied().collect()
    }

    /// Reads the headers of the files that `parts` lie in, by object name.
    fn headers(&self, folder: &Folder, parts: &[Part<'a>]) -> Result<HashMap<&'a str, Header>, CheckpointError> {
        let mut objects: Vec<&ObjectEntry> = parts.iter().map(|part| part.object).collect();
        objects.sort_by_key(|object| &object.name);
        objects.dedup_by_key(|object| &object.name);
        let headers = threads::map(&objects, folder.concurrency(), |object| read_header(folder, object));
        objects.iter().zip(headers).map(|(object, header)| Ok((object.name.as_str(), header?))).collect()
    }
}

fn read_header(folder: &Folder, object: &ObjectEntry) -> Result<Header, CheckpointError> {
    let refuse = |reason| CheckpointError::Content { url: folder.url_of(&object.name), reason };
    let start = read_bytes(folder, object, 0..object.bytes.min(LENGTH_BYTES as u64))?;
    let end = Header::end(&start, object.bytes).map_err(refuse)?;
    let json = read_bytes(folder, object, LENGTH_BYTES as u64..end)?;
    Header::parse(&json, object.bytes).map_err(refuse)
}

/// Reads the whole state of a checkpoint, every byte verified against the manifest.
pub fn read_state(folder: &Folder, manifest: &Manifest) -> Result<RestoredState, CheckpointError> {
    check_sizes(folder, &manifest.objects)?;
    let mut state =
        RestoredState { weights: room_for(manifest), exp_avg: room_for(manifest), exp_avg_sq: room_for(manifest) };
    let weights = wanted(Quantity::Weights, &mut state.weights);
    let moments = wanted(Quantity::ExpAvg, &mut state.exp_avg).chain(wanted(Quantity::ExpAvgSq, &mut state.exp_avg_sq));
    read_checked(folder, manifest, weights.chain(moments).collect())?;
    Ok(state)
}

/// Reads the weights alone, a third of the state, every byte verified against the manifest.
pub fn read_weights(folder: &Folder, manifest: &Manifest) -> Result<Tensors, CheckpointError> {
    check_sizes(folder, &manifest.objects)?;
    let mut weights = room_for(manifest);
    read_checked(folder, manifest, wanted(Quantity::Weights, &mut weights).collect())?;
    Ok(weights)
}

fn room_for(manifest: &Manifest) -> Tensors {
    let room = |t: &TensorEntry| (t.name.clone(), vec![0.0; t.elements().unwrap_or(0) as usize]);
    manifest.tensors.iter().map(room).collect()
}

fn wanted(quantity: Quantity, tensors: &mut Tensors) -> impl Iterator<Item = Wanted<'_>> {
    tensors.iter_mut().map(move |(tensor, to)| Wanted { tensor, quantity, start: 0, to })
}
