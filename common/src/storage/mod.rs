//! A URL becomes a [`Folder`] in an object store: `s3://`, `gs://`, `az://`, `http(s)://` (read only), `file://` or a
//! plain path, and `memory://` for tests.
//!
//! Operations block the calling thread while a small shared runtime does the I/O; callers that must not wait run them
//! on threads of their own. Credentials come from the standard chain of each cloud (for S3: environment, web identity,
//! profile, container, instance), and are looked for again when they run out. What fails for a while is tried again, until
//! `storage.deadline_s` has passed since the operation began.
//!
//! - [`Folder`]: a prefix in a store, and the operations on it.
//! - [`Reader`]: an object from front to back, fetched ahead of its reader.
//! - [`Upload`]: an object that is written piece by piece.
//! - `disk/`: a local disk: how nothing outside a folder is deleted, and which way large objects take to it.
//! - `listing.rs`: what lies in a folder, and what a store may answer instead; `odd_keys.rs`: keys that no object can have here.
//! - [`Wanted`]: what a person names, by URL, path or pattern, to the objects. [`absolute_url`], [`make_urls_absolute`]: what means the
//!   same in every working directory. What of a URL is shown is in [`crate::secrets`].
//! - `store.rs`: the bucket, server or file system that a URL is in; `open.rs`: its client; `aws_profile.rs`: files of Amazon's tools;
//!   `runtime.rs`: the threads that do I/O.
//! - `retry.rs`: one operation, tried until its deadline. `read.rs`: a read goes on where it broke off. `error.rs`: what failed,
//!   and whether to try again.
//! - [`Layer`]: what every request goes through, for tests of stores that fail.
//!
//! Absent on purpose: renaming and appending, which object stores do not have.

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

pub use absolute::{absolute_url, make_urls_absolute};
pub use error::StorageError;
pub use folder::{Folder, PART_BYTES};
pub use layer::Layer;
pub use object_info::ObjectInfo;
pub use reader::Reader;
pub use select::{Selected, Wanted};
pub use upload::Upload;

// What every store must do is in the package `tests`, which has an S3 server: tests/src/storage_conformance.rs.
