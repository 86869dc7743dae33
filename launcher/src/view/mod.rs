//! What a person sees of a command: on standard error what goes on, on standard output its result.
//!
//! - [`train`]: the progress of a run. [`prepare`]: the progress of a prepare job.
//!
//! Absent on purpose: what is kept in the run folder ([`crate::run_folder`]), and the words of each command's own result,
//! which are beside the command ([`crate::commands`]).

pub mod prepare;
pub mod train;
