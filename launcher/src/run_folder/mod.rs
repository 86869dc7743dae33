//! The launcher's part of a run folder: what it writes there, and what it reads there for a person.
//!
//! - [`journal`]: the launcher's own events. [`logs`]: what ranks print.
//! - [`status`]: the state of the run. [`checkpoints`]: its checkpoints. [`metrics`]: a row for each step.
//!
//! Absent on purpose: claims and requests (`common::attempt`), whether a run may start (`common::start`), and deleting and copying
//! checkpoints (`common::checkpoint_store`).

pub mod checkpoints;
pub mod journal;
pub mod logs;
pub mod metrics;
pub mod status;
