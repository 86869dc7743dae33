//! A step of training: what it changes, its two halves, and what comes of it.
//!
//! - [`state`]: everything that training changes.
//! - [`accumulate`], [`update`]: the two halves of a step; between them the gradients travel.
//! - [`upload`], [`readback`]: tokens on their way to the device, numbers on their way back.
//! - [`results`]: what comes of a step, read by the host when the device has got there.
//! - [`timeline`]: where a step's time goes.
//! - [`agreement`]: what the ranks tell each other in every step.
//! - [`verify`], [`replicas`]: whether all ranks hold the same state; what of it, and in which steps.
//! - [`cost`]: what a step costs by formula.
//! - [`cadence`]: what happens every N steps.
//!
//! Absent on purpose: what follows a step, which is [`crate::train`]'s, and checkpoints, which are [`crate::saving`]'s.

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
