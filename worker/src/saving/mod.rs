//! Checkpoints of a run: between the state of the ranks and what [`crate::checkpoint`] writes and reads.
//!
//! - [`save`]: a save moves through its stages beside the steps.
//! - [`resume`]: a run goes on from its newest checkpoint.
//! - [`snapshot`]: from the tensors of a run to what a checkpoint holds of them.
//! - [`restore`], `parts`: and back.
//! - [`changes`]: whether a run may go on with another config.
//! - `clock`: when the next save is due by time.
//! - `failure`: what ranks tell each other about their parts of a save, and why one failed.
//!
//! Absent on purpose: after which steps to save, which is [`mod@crate::train::due`]'s.

pub mod changes;
mod clock;
mod failure;
mod parts;
pub mod restore;
pub mod resume;
pub mod save;
pub mod snapshot;
