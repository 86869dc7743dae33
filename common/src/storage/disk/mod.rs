//! A local disk.
//!
//! - [`Disk`]: the store; nothing outside the folder that was opened is deleted or overwritten.
//! - [`DiskUpload`]: a large object, written past the page cache or through it, by what is faster; [`Ways`] knows which that is.

mod store;
mod upload;
mod way;

pub(crate) use store::Disk;
pub(crate) use upload::DiskUpload;
pub(crate) use way::Ways;
