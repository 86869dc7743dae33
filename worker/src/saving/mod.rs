//! Checkpoints of a run: between the state of the ranks and what [`crate::checkpoint`] writes and reads.
//!
//! - [`save`]: checkpoints in the background, and resuming from them.
//! - [`snapshot`]: from the tensors of a run to what a checkpoint holds of them.
//! - [`restore`], `parts`: and back.
//! - [`changes`]: whether a run may go on with another config.

pub mod changes;
mod parts;
pub mod restore;
pub mod save;
pub mod snapshot;
