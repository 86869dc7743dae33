//! Object stores behind URLs: a URL opens as a [`Folder`]. Supported are `s3://`, `gs://`, `az://`, `http(s)://` (read
//! only), `file://` or a plain path, and `memory://` for tests.
//!
//! Operations block the calling thread while a small shared runtime does the I/O. Callers that must not wait run them on
//! threads of their own. Credentials come from the standard chain of each cloud (for S3: environment, web identity, profile,
//! container, instance), and are looked for again when they expire. Transient failures are retried until
//! `storage.deadline_s` has passed since the operation began.
//!
//! - [`Folder`]: a prefix in a store, and the operations on it.
//! - [`Reader`]: reads an object from front to back, and fetches ahead.
//! - [`Upload`]: writes an object piece by piece.
//! - `disk/`: a local disk: deletes nothing outside a folder, and chooses how large objects are written.
//! - `listing.rs`: lists a folder, and copes with stale or odd listings; `odd_keys.rs`: keys that no object can have here.
//! - [`Wanted`]: finds the objects that a person names by URL, path or pattern. [`absolute_url`], [`make_urls_absolute`]:
//!   names that do not depend on the working directory. [`crate::secrets`] decides which parts of a URL are shown.
//! - `store.rs`: the bucket, server or file system of a URL; `open.rs`: its client; `aws_profile.rs`: files of Amazon's
//!   tools; `runtime.rs`: the threads that do I/O.
//! - `retry.rs`: one operation, tried until its deadline; `read.rs`: reads that continue where they broke off; `error.rs`:
//!   what failed, and whether to try again.
//! - [`Layer`]: wraps every request, for tests of stores that fail.
//!
//! Renaming and appending are absent on purpose, since object stores do not have them.

mod absolute;
mod aws_profile;
mod disk;
mod error;
mod folder;
mod layer;
mod listing;
mod object_info;
mod odd_keys;
mod open;
mod read;
mod reader;
mod retry;
mod runtime;
mod select;
mod store;
mod upload;

pub use absolute::{absolute_url, absolute_words, make_urls_absolute};
pub use error::StorageError;
pub use folder::{Folder, PART_BYTES};
pub use layer::Layer;
pub use object_info::ObjectInfo;
pub use reader::Reader;
pub use select::{Selected, Wanted};
pub use upload::Upload;

// The conformance suite for all stores is in the package `tests`, which has an S3 server: tests/src/storage_conformance.rs.
