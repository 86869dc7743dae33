//! Metrics, events and traces that a run records of itself.
//!
//! - [`observer`]: metrics, events, and progress for people.
//! - [`communication`]: warns if ranks wait for each other too long.
//! - [`profile`]: a trace of some steps.
//! - [`memory`]: memory that a process has taken.
//!
//! Absent on purpose: the connection to the launcher, which is [`crate::control`], and the spans of a trace, which
//! each part of the worker records with [`crate::trace`].

pub mod communication;
pub mod memory;
pub mod observer;
pub mod profile;
