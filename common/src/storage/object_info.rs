//! What a store says about an object apart from its content.

use object_store::ObjectMeta;

/// Description of an object in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Name relative to the folder.
    pub name: String,
    /// Size in bytes.
    pub bytes: u64,
    /// Version, which changes with the content: the store's entity tag, or the time of the last change if there is none.
    pub version: String,
    /// Time of the last change, in seconds since 1970, by the store's clock.
    pub changed_unix_s: u64,
}

impl ObjectInfo {
    pub(super) fn new(name: String, meta: ObjectMeta) -> Self {
        let changed_unix_s = u64::try_from(meta.last_modified.timestamp()).unwrap_or(0);
        ObjectInfo { name, bytes: meta.size, version: version_of(&meta), changed_unix_s }
    }
}

pub(super) fn version_of(meta: &ObjectMeta) -> String {
    meta.e_tag.clone().unwrap_or_else(|| meta.last_modified.to_rfc3339())
}
