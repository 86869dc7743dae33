//! A local disk.
//!
//! - [`Disk`]: the store, which deletes and overwrites nothing outside the folder that was opened.
//! - [`DiskUpload`]: writes a large object past the page cache or through it; [`Ways`] knows which is faster.

mod store;
mod upload;
mod way;
mod write_back;

pub(crate) use store::Disk;
pub(crate) use upload::DiskUpload;
pub(crate) use way::Ways;
