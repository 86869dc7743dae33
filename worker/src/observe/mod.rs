//! What a run tells of itself while it goes on.
//!
//! - [`observer`]: metrics, events, and what a person sees.
//! - [`communication`]: whether ranks wait for each other too long.
//! - [`profile`]: a trace of some steps.
//! - [`memory`]: the memory that a process has taken.
//!
//! Absent on purpose: the connection to the launcher, which is [`crate::control`], and the spans of a trace, which whoever does
//! something records with [`crate::trace`].

pub mod communication;
pub mod memory;
pub mod observer;
pub mod profile;
