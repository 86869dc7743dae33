//! A step of training: its state, its two halves, and its results.
//!
//! - [`state`]: all state that training changes.
//! - [`accumulate`], [`update`]: the two halves of a step, between which gradients are exchanged.
//! - [`upload`], [`readback`]: copies of tokens to the device, and of numbers back from it.
//! - [`results`]: results of a step, which the host reads once the device has computed them.
//! - [`timeline`]: time of a step's phases.
//! - [`agreement`]: flags that the ranks exchange in every step.
//! - [`verify`], [`replicas`]: compare the state that all ranks hold; which parts of it, and in which steps.
//! - [`cost`]: cost of a step by formula.
//! - [`cadence`]: work that is done every N steps.
//!
//! Absent on purpose: what follows a step, which is [`crate::train`]'s, and checkpoints, which are
//! [`crate::saving`]'s.

pub mod accumulate;
pub mod agreement;
pub mod cadence;
pub mod cost;
pub mod readback;
pub mod replicas;
pub mod results;
pub mod state;
pub mod timeline;
pub mod update;
pub mod upload;
pub mod verify;
