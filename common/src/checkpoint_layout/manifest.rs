//! The manifest: a checkpoint's table of contents, put last, and everything that makes one acceptable.
//!
//! What [`Manifest::parse`] returns has been checked so far that a reader can trust its names, sizes and ranges: the
//! file's own hash fits, no name leads out of the folder (their types see to that), and the slices of every tensor cover it once.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{CheckpointName, MANIFEST_NAME};
use crate::config::{ConfigChange, RUN_SEQUENCES};
use crate::sha256::hex_sha256;
use crate::sha256::{BlockedSha256, Sha256Sum};
use crate::token_shard::BLOCK_BYTES;
use crate::untrusted;

/// Version of the format that this program writes and reads.
pub const MANIFEST_VERSION: u32 = 1;
/// What stands between the rest of the file and its own hash. JSON escapes quotes within strings, so nothing else
/// looks like it.
const SEAL: &str = ",\n  \"manifest_sha256\": \"";
/// What ends the file, after the hash.
const SEAL_END: &str = "\"\n}\n";
/// The most steps, updates or sequences that a manifest may count: more than any run has, and few enough that sums stay within 64
/// bits. What is consumed has a lower bound, [`RUN_SEQUENCES`], since it is multiplied.
const COUNT_MAX: u64 = 1 << 48;
/// Bytes of a stored element: float32.
const ELEMENT_BYTES: u64 = 4;

/// The table of contents of a checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`MANIFEST_VERSION`].
    pub version: u32,
    /// Whose folder this is in; a manifest that was copied elsewhere does not fit.
    pub name: CheckpointName,
    /// Sequences consumed so far: the whole cursor of the token stream.
    pub sequences_consumed: u64,
    /// Updates made so far: fewer than steps where some were skipped because their gradients were not finite, or outliers.
    pub updates: u64,
    /// Norms of the last steps' gradients, oldest first, where outliers are told from them; otherwise empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grad_norms: Vec<f64>,
    /// How many updates were skipped since the last that was not; so many in a row end a run.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub skipped_in_a_row: u64,
    /// What was changed in the config in the middle of the run, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<ConfigChange>,
    /// Number of ranks that saved.
    pub world_size: u32,
    /// Hash of the tokenizer that the shards were made with.
    pub tokenizer_hash: String,
    /// Sequences of the training data: the order in which they are consumed is a function of it.
    pub data_sequences: u64,
    /// Which of Convoy's orders of the data that is; manifests that do not say are of the first.
    #[serde(default = "first_order")]
    pub data_order: u32,
    /// The resolved config as TOML.
    pub config: String,
    /// Every object of the checkpoint but this one.
    pub objects: Vec<ObjectEntry>,
    /// Where the weights lie.
    pub tensors: Vec<TensorEntry>,
    /// Where the optimizer's moments lie; together the slices of a tensor cover it once.
    pub optimizer: Vec<OptimizerSlice>,
}

fn first_order() -> u32 {
    1
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// One object of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectEntry {
    /// Name in the checkpoint's folder.
    #[serde(deserialize_with = "untrusted::file_name")]
    pub name: String,
    /// Size.
    pub bytes: u64,
    /// SHA-256 of the whole.
    pub sha256: Sha256Sum,
    /// SHA-256 of each block of [`BLOCK_BYTES`]; the last block may be shorter.
    pub block_sha256: Vec<Sha256Sum>,
}

impl ObjectEntry {
    /// Describes the object `name` with these bytes.
    pub fn describe(name: &str, content: &[u8]) -> Self {
        let mut hash = Self::hash();
        hash.update(content);
        Self::hashed(name, content.len() as u64, hash)
    }

    /// What hashes an object as [`hashed`](Self::hashed) wants it.
    pub fn hash() -> BlockedSha256 {
        BlockedSha256::new(BLOCK_BYTES as usize)
    }

    /// Describes the object `name` of `bytes` bytes, all of which have gone through `hash`.
    pub fn hashed(name: &str, bytes: u64, hash: BlockedSha256) -> Self {
        let (whole, blocks) = hash.finish();
        let block_sha256 = blocks.into_iter().map(Sha256Sum).collect();
        ObjectEntry { name: name.to_owned(), bytes, sha256: Sha256Sum(whole), block_sha256 }
    }
}

/// One float32 tensor of the model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorEntry {
    /// As Hugging Face has it, and the key in the object.
    pub name: String,
    /// Row-major, unpadded.
    pub shape: Vec<u64>,
    /// The safetensors object that holds it.
    pub object: String,
}

impl TensorEntry {
    /// Number of elements; `None` if it exceeds 64 bits.
    pub fn elements(&self) -> Option<u64> {
        self.shape.iter().try_fold(1_u64, |product, size| product.checked_mul(*size))
    }

    /// Size of the stored elements in bytes; `None` if it exceeds 64 bits.
    pub fn bytes(&self) -> Option<u64> {
        self.elements()?.checked_mul(ELEMENT_BYTES)
    }
}

/// A contiguous part of one tensor's two moments, both float32, in one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OptimizerSlice {
    /// Name of the parameter, as Hugging Face has it.
    pub tensor: String,
    /// First element, counted in the row-major, unpadded tensor.
    pub start: u64,
    /// One past the last element.
    pub end: u64,
    /// The safetensors object that holds it.
    pub object: String,
    /// Key of the first moment in it.
    pub exp_avg: String,
    /// Key of the second moment in it.
    pub exp_avg_sq: String,
}

/// Why a manifest is not accepted.
#[derive(Debug, thiserror::Error)]
#[error("{url}: not a manifest that can be trusted: {reason}; restore another checkpoint, or copy this one again")]
pub struct ManifestError {
    /// The manifest.
    pub url: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Manifest {
    /// The manifest as the bytes of `manifest.json`: JSON, whose last field is the SHA-256 of all bytes before it.
    pub fn to_json(&self) -> Bytes {
        let json = serde_json::to_string_pretty(self).unwrap_or_else(|e| unreachable!("a manifest is JSON: {e}"));
        seal(json.trim_end_matches("\n}"))
    }

    /// Reads a manifest and checks it in full. `url` names it in errors.
    pub fn parse(url: &str, content: &[u8]) -> Result<Self, ManifestError> {
        let refuse = |reason: String| ManifestError { url: url.to_owned(), reason };
        check_seal(content).map_err(refuse)?;
        // A later version may have other fields; that it is one is the better message.
        let Versioned { version } = serde_json::from_slice(content).map_err(|e| refuse(e.to_string()))?;
        if version != MANIFEST_VERSION {
            return Err(refuse(format!("version {version}, expected {MANIFEST_VERSION}: written by another Convoy")));
        }
        let manifest: Manifest = serde_json::from_slice(content).map_err(|e| refuse(e.to_string()))?;
        manifest.check(url)?;
        Ok(manifest)
    }

    /// Checks that names, sizes and ranges fit together. `url` names the manifest in errors.
    pub fn check(&self, url: &str) -> Result<(), ManifestError> {
        let checks =
            [Self::check_identity, Self::check_cursor, Self::check_objects, Self::check_tensors, Self::check_optimizer];
        checks.iter().try_for_each(|check| check(self)).map_err(|reason| ManifestError { url: url.to_owned(), reason })
    }

    /// Elements of each tensor, by name.
    fn elements(&self) -> HashMap<&str, u64> {
        self.tensors.iter().map(|t| (t.name.as_str(), t.elements().unwrap_or(u64::MAX))).collect()
    }

    fn check_identity(&self) -> Result<(), String> {
        if CheckpointName::parse(&self.name.to_string()).is_none() {
            return Err(format!("{:?} is no name of a checkpoint", self.name.to_string()));
        }
        if self.world_size == 0 {
            return Err("saved by a world of 0 ranks".into());
        }
        let counts = [
            ("step", self.name.step),
            ("sequences_consumed", self.sequences_consumed),
            ("updates", self.updates),
            ("skipped_in_a_row", self.skipped_in_a_row),
            ("data_sequences", self.data_sequences),
        ];
        match counts.into_iter().find(|(_, count)| *count > COUNT_MAX) {
            Some((what, count)) => Err(format!("{what} is {count}, expected at most {COUNT_MAX}")),
            None => Ok(()),
        }
    }

    /// Checks that no more is consumed than a run can, and that nothing was changed after that.
    fn check_cursor(&self) -> Result<(), String> {
        if self.sequences_consumed > RUN_SEQUENCES {
            return Err(format!(
                "{} sequences, and no run consumes more than {RUN_SEQUENCES}",
                self.sequences_consumed
            ));
        }
        match self.changes.iter().find(|change| change.sequences_consumed > self.sequences_consumed) {
            Some(ConfigChange { key, sequences_consumed, .. }) => Err(format!(
                "{key} changed after {sequences_consumed} sequences, and only {} are consumed",
                self.sequences_consumed
            )),
            None => Ok(()),
        }
    }

    fn check_objects(&self) -> Result<(), String> {
        let mut names = HashSet::new();
        for object in &self.objects {
            let name = &object.name;
            if name == MANIFEST_NAME || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) {
                return Err(format!(
                    "{name:?} is no name of a file of a checkpoint: letters, digits, dots and dashes are"
                ));
            }
            if !names.insert(name) {
                return Err(format!("{name} is listed twice"));
            }
            if object.bytes == 0 || object.block_sha256.len() as u64 != object.bytes.div_ceil(BLOCK_BYTES) {
                let blocks = object.block_sha256.len();
                return Err(format!("{name}: {} bytes and {blocks} block hashes do not fit together", object.bytes));
            }
        }
        Ok(())
    }

    /// Checks that the tensors are distinct and fit into their objects.
    fn check_tensors(&self) -> Result<(), String> {
        let mut room: HashMap<&str, u64> = self.objects.iter().map(|o| (o.name.as_str(), o.bytes)).collect();
        let mut names = HashSet::new();
        for tensor in &self.tensors {
            if !names.insert(&tensor.name) {
                return Err(format!("tensor {} is listed twice", tensor.name));
            }
            let bytes = tensor.bytes().ok_or_else(|| format!("tensor {}: shape {:?}", tensor.name, tensor.shape))?;
            take_room(&mut room, &tensor.object, bytes).map_err(|e| format!("tensor {}: {e}", tensor.name))?;
        }
        Ok(())
    }

    /// Checks that the slices of every tensor cover it once, and fit into their objects.
    fn check_optimizer(&self) -> Result<(), String> {
        let mut room: HashMap<&str, u64> = self.objects.iter().map(|o| (o.name.as_str(), o.bytes)).collect();
        let mut covered: HashMap<&str, u64> = HashMap::new();
        let elements = self.elements();
        let mut slices: Vec<_> = self.optimizer.iter().collect();
        slices.sort_by_key(|slice| (&slice.tensor, slice.start));
        for OptimizerSlice { tensor, start, end, object, .. } in slices {
            let total = *elements.get(tensor.as_str()).ok_or_else(|| format!("a slice of no tensor: {tensor}"))?;
            let so_far = covered.entry(tensor).or_default();
            if start != so_far || end <= start || *end > total {
                return Err(format!(
                    "{tensor}: slice {start}..{end} after elements 0..{so_far} of {total}: \
                     slices must cover a tensor once"
                ));
            }
            *so_far = *end;
            let bytes = (end - start).saturating_mul(2 * ELEMENT_BYTES);
            take_room(&mut room, object, bytes).map_err(|e| format!("{tensor}: slice {start}..{end}: {e}"))?;
        }
        for (tensor, total) in elements {
            let so_far = covered.get(tensor).copied().unwrap_or(0);
            if so_far != total {
                return Err(format!("{tensor}: its slices cover {so_far} of {total} elements"));
            }
        }
        Ok(())
    }
}

/// What every version of the manifest has.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// Takes `bytes` from what `object` has left.
fn take_room(room: &mut HashMap<&str, u64>, object: &str, bytes: u64) -> Result<(), String> {
    let left = room.get_mut(object).ok_or_else(|| format!("lies in {object:?}, which is not listed"))?;
    *left = left.checked_sub(bytes).ok_or_else(|| format!("{bytes} bytes do not fit into {object} any more"))?;
    Ok(())
}

/// Ends a JSON object, given up to its last field, with its own hash.
fn seal(head: &str) -> Bytes {
    Bytes::from(format!("{head}{SEAL}{}{SEAL_END}", hex_sha256(head.as_bytes())))
}

fn check_seal(content: &[u8]) -> Result<(), String> {
    let text = std::str::from_utf8(content).map_err(|e| e.to_string())?;
    let (head, tail) = text.rsplit_once(SEAL).ok_or("it does not end with its own hash: truncated, or overwritten")?;
    let stated = tail.strip_suffix(SEAL_END).ok_or("it does not end after its own hash: truncated, or overwritten")?;
    let got = hex_sha256(head.as_bytes());
    match got == stated {
        true => Ok(()),
        false => Err(format!("its bytes have SHA-256 {got}, expected {stated:?}: damaged")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Manifest {
        let content = vec![7; BLOCK_BYTES as usize + 1];
        let slice = |tensor: &str, start, end| OptimizerSlice {
            tensor: tensor.into(),
            start,
            end,
            object: "optimizer".into(),
            exp_avg: format!("{tensor}.{start}-{end}.exp_avg"),
            exp_avg_sq: format!("{tensor}.{start}-{end}.exp_avg_sq"),
        };
        let tensor = |name: &str, shape: &[u64]| TensorEntry {
            name: name.into(),
            shape: shape.to_vec(),
            object: "model.safetensors".into(),
        };
        Manifest {
            version: 1,
            name: CheckpointName { step: 3, attempt: 1, id: "ab12".into() },
            sequences_consumed: 24,
            updates: 3,
            grad_norms: Vec::new(),
            skipped_in_a_row: 0,
            changes: Vec::new(),
            world_size: 2,
            tokenizer_hash: "00".into(),
            data_sequences: 100,
            data_order: 2,
            config: "[run]\nname = \"a \\\"quoted\\\" name\"\n".into(),
            objects: vec![
                ObjectEntry::describe("model.safetensors", &content),
                ObjectEntry::describe("optimizer", &content),
            ],
            tensors: vec![tensor("a", &[2, 3]), tensor("b", &[4]), tensor("none", &[0, 8]), tensor("scalar", &[])],
            optimizer: vec![slice("a", 4, 6), slice("b", 0, 4), slice("a", 0, 4), slice("scalar", 0, 1)],
        }
    }

    fn reason(change: impl FnOnce(&mut Manifest)) -> String {
        let mut manifest = good();
        change(&mut manifest);
        Manifest::parse("x/manifest.json", &manifest.to_json()).unwrap_err().to_string()
    }

    #[test]
    fn a_manifest_that_names_no_order_of_the_data_is_of_the_first() {
        let mut fields = serde_json::to_value(good()).unwrap();
        assert_eq!(fields.as_object_mut().unwrap().remove("data_order"), Some(2.into()));
        assert_eq!(serde_json::from_value::<Manifest>(fields).unwrap(), Manifest { data_order: 1, ..good() });
    }

    #[test]
    fn a_manifest_reads_back_and_is_plain_json() {
        let manifest = good();
        assert_eq!(Manifest::parse("x", &manifest.to_json()).unwrap(), manifest);
        let json: serde_json::Value = serde_json::from_slice(&manifest.to_json()).unwrap();
        assert_eq!(json["manifest_sha256"].as_str().unwrap().len(), 64);
        // Its own seal within a string is no seal.
        let mut strange = good();
        strange.config = manifest.to_json().iter().map(|b| char::from(*b)).collect();
        assert_eq!(Manifest::parse("x", &strange.to_json()).unwrap(), strange);
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for name in ["../x", "a/b", "", ".", "..", ".hidden", "a\\b", "a\0b", "manifest.json", "ä"] {
            let text = reason(|m| m.objects[0].name = name.into());
            assert!(text.contains("is no name of a file"), "{text}");
        }
        assert!(reason(|m| m.name.id = "../x".into()).contains("is no name of a checkpoint"));
    }

    #[test]
    fn what_is_no_hash_is_refused() {
        let manifest = good();
        let (json, hash) =
            (String::from_utf8(manifest.to_json().to_vec()).unwrap(), manifest.objects[1].sha256.to_string());
        for wrong in ["x".to_owned(), hash.to_uppercase(), format!("{hash}00"), "../".repeat(21) + "x"] {
            let (head, _) = json.rsplit_once(SEAL).unwrap();
            let error = Manifest::parse("x", &seal(&head.replace(&hash, &wrong))).unwrap_err().to_string();
            assert!(error.contains("is no SHA-256"), "{error}");
        }
    }

    #[test]
    fn contradictions_are_named() {
        const HUGE: u64 = u64::MAX / 2;
        type Change = fn(&mut Manifest);
        let cases: [(&str, Change); 20] = [
            ("version 2, expected 1", |m| m.version = 2),
            ("step is 18446744073709551615, expected at most", |m| m.name.step = u64::MAX),
            ("sequences_consumed is 9223372036854775808, expected", |m| m.sequences_consumed = 1 << 63),
            ("skipped_in_a_row is 9223372036854775807, expected", |m| m.skipped_in_a_row = HUGE),
            ("a world of 0 ranks", |m| m.world_size = 0),
            ("optimizer is listed twice", |m| m.objects[0].name = "optimizer".into()),
            ("2 block hashes do not fit", |m| m.objects[0].bytes = 5),
            ("2 block hashes do not fit", |m| m.objects[0].bytes = HUGE),
            ("tensor b is listed twice", |m| m.tensors[0].name = "b".into()),
            ("\"y\", which is not listed", |m| m.tensors[1].object = "y".into()),
            ("tensor b: shape [9223", |m| m.tensors[1].shape = vec![HUGE, 3]),
            ("do not fit into model.safetensors", |m| m.tensors[1].shape = vec![1 << 20]),
            ("a: slice 4..7 after elements 0..4 of 6", |m| m.optimizer[0].end = 7),
            ("a: slice 3..6 after elements 0..4", |m| m.optimizer[0].start = 3),
            ("a: slice 5..6 after elements 0..4", |m| m.optimizer[0].start = 5),
            ("a: slice 4..4 after elements 0..4", |m| m.optimizer[0].end = 4),
            ("cover 4 of 6 elements", |m| drop(m.optimizer.remove(0))),
            ("slices cover 0 of 4", |m| drop(m.optimizer.remove(1))),
            ("a slice of no tensor: c", |m| m.optimizer[1].tensor = "c".into()),
            ("\"y\", which is not listed", |m| m.optimizer[1].object = "y".into()),
        ];
        for (expected, change) in cases {
            let text = reason(change);
            assert!(text.contains(expected), "expected {expected:?} in {text}");
        }
    }

    #[test]
    fn a_cursor_that_no_run_has_is_refused() {
        let change_after = |sequences_consumed: u64| {
            let (from, to) = ("8".into(), "4".into());
            ConfigChange { key: "batch.global_sequences".into(), from, to, step: 3, sequences_consumed, attempt: 1 }
        };
        reason(|m| m.sequences_consumed = 1 << 63);
        assert!(reason(|m| m.sequences_consumed = RUN_SEQUENCES + 1).contains("no run consumes more than"));
        let text = reason(|m| m.changes.push(change_after(25)));
        assert!(text.contains("batch.global_sequences changed after 25 sequences, and only 24 are consumed"), "{text}");
    }

    #[test]
    fn no_truncation_and_no_flipped_bit_is_accepted() {
        let json = good().to_json();
        for end in 0..json.len() {
            Manifest::parse("x", &json[..end]).unwrap_err();
        }
        for byte in 0..json.len() {
            let mut flipped = json.to_vec();
            flipped[byte] ^= 1 << (byte % 8);
            Manifest::parse("x", &flipped).unwrap_err();
        }
    }

    /// Behind the seal, mutated content must be refused or be a manifest that holds, and never panic.
    #[test]
    fn mutated_content_under_a_right_seal_never_panics() {
        let json = good().to_json();
        let head = std::str::from_utf8(&json).unwrap().rsplit_once(SEAL).unwrap().0.as_bytes();
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % below as u64) as usize
        };
        let alphabet = b"0123456789-.e\"{}[],:\\/ntrufals";
        let mut accepted = 0;
        for _ in 0..20_000 {
            let mut bytes = head.to_vec();
            for _ in 0..=random(3) {
                let at = random(bytes.len());
                match random(4) {
                    0 => bytes[at] = alphabet[random(alphabet.len())],
                    1 => bytes.insert(at, alphabet[random(alphabet.len())]),
                    2 => drop(bytes.remove(at)),
                    _ => {
                        let end = (at + random(40)).min(bytes.len());
                        bytes.drain(at..end);
                    }
                }
            }
            let sealed = seal(&String::from_utf8_lossy(&bytes));
            if let Ok(manifest) = Manifest::parse("x", &sealed) {
                manifest.check("x").unwrap();
                accepted += 1;
            }
        }
        // Some changes are harmless, such as a digit of the cursor; if none were, nothing behind the seal was tried.
        assert!((1..10_000).contains(&accepted), "{accepted} of 20000 accepted");
    }
}
