//! Shows a command to a person: its progress on standard error, its result on standard output.
//!
//! - [`train`]: the progress of a run. [`prepare`]: the progress of a prepare job.
//!   [`evaluation`]: that of an evaluation. [`byte_bar`]: a progress bar of bytes.
//! - [`parts`]: a line that fits its terminal. [`terminal`]: lines on the two streams, which a terminal shows and does not obey.
//! - [`figures`]: numbers and durations in a person's format.
//!
//! Absent on purpose: what is kept in the run folder ([`crate::run_folder`]), and the words of each command's own result,
//! which are beside the command ([`crate::commands`]).

pub mod byte_bar;
pub mod evaluation;
pub mod figures;
pub mod parts;
pub mod prepare;
pub mod terminal;
pub mod train;
