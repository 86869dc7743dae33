//! A step of training: what it changes, and what comes of it.
//!
//! - [`state`]: everything that training changes, and one step of it.
//! - [`upload`], [`readback`]: tokens on their way to the device, numbers on their way back.
//! - [`timeline`]: where a step's time goes.
//! - [`agreement`]: what the ranks tell each other in every step.
//! - [`verify`]: whether all ranks hold the same state.
//! - [`cadence`]: what happens every N steps.
//!
//! Absent on purpose: what follows a step, which is [`crate::train`]'s, and checkpoints, which are [`crate::saving`]'s.

pub mod agreement;
pub mod cadence;
pub mod readback;
pub mod state;
pub mod timeline;
pub mod upload;
pub mod verify;
