//! Checkpoints of a run: connects the state of the ranks with the files that [`crate::checkpoint`] writes and reads.
//!
//! - [`save`]: moves a save through its stages, beside the steps.
//! - [`resume`]: resumes a run from its newest checkpoint.
//! - [`snapshot`]: copies the state into the objects of a checkpoint.
//! - [`restore`], `parts`: put a checkpoint into the state.
//! - [`changes`]: decides whether a run may go on with another config.
//! - `clock`: says when the next save is due by time.
//! - `tokenizer_files`: makes the tokenizer's files, which each checkpoint of the run folder has.
//! - `failure`: messages between ranks about their parts of a save, and about why one failed.
//!
//! Absent on purpose: the choice of steps after which to save, which is [`mod@crate::train::due`]'s.

pub mod changes;
mod clock;
mod failure;
mod parts;
pub mod restore;
pub mod resume;
pub mod save;
pub mod snapshot;
mod tokenizer_files;
