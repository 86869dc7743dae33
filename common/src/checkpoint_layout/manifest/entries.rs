//! Entries of a manifest: for an object, a tensor, and a part of the optimizer's state.

use serde::{Deserialize, Serialize};

use crate::sha256::{BlockedSha256, Sha256Sum};
use crate::token_shard::BLOCK_BYTES;
use crate::untrusted;

/// Size of a stored element, float32, in bytes.
pub(super) const ELEMENT_BYTES: u64 = 4;

/// An object of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectEntry {
    /// Name in the checkpoint's folder.
    #[serde(deserialize_with = "untrusted::file_name")]
    pub name: String,
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256 of the whole object.
    pub sha256: Sha256Sum,
    /// SHA-256 of each block of [`BLOCK_BYTES`]; the last block may be shorter.
    pub block_sha256: Vec<Sha256Sum>,
}

impl ObjectEntry {
    /// Describes the object `name` with content `content`.
    pub fn describe(name: &str, content: &[u8]) -> Self {
        let mut hash = Self::hash();
        hash.update(content);
        Self::hashed(name, content.len() as u64, hash)
    }

    /// Returns a hasher for [`hashed`](Self::hashed).
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

/// A float32 tensor of the model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorEntry {
    /// Name of the tensor in Hugging Face's model, and key in the object.
    pub name: String,
    /// Shape, row-major and unpadded.
    pub shape: Vec<u64>,
    /// Name of the safetensors object that holds the tensor.
    pub object: String,
}

impl TensorEntry {
    /// Returns the number of elements, or `None` if it exceeds 64 bits.
    pub fn elements(&self) -> Option<u64> {
        self.shape.iter().try_fold(1_u64, |product, size| product.checked_mul(*size))
    }

    /// Returns the size of the stored elements in bytes, or `None` if it exceeds 64 bits.
    pub fn bytes(&self) -> Option<u64> {
        self.elements()?.checked_mul(ELEMENT_BYTES)
    }
}

/// A contiguous part of one tensor's two moments, both float32, in one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OptimizerSlice {
    /// Name of the parameter in Hugging Face's model.
    pub tensor: String,
    /// First element, counted in the row-major, unpadded tensor.
    pub start: u64,
    /// One past the last element.
    pub end: u64,
    /// Name of the safetensors object that holds the slice.
    pub object: String,
    /// Key of the first moment in the object.
    pub exp_avg: String,
    /// Key of the second moment in the object.
    pub exp_avg_sq: String,
}
