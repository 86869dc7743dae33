//! An operation that the communicator's thread is given.

use std::ffi::c_void;

use crate::operation::{Kind, Operation};

/// An operation on the caller's buffers.
pub struct Job {
    pub operation: Operation,
    pub kind: Kind,
    send: (*const u8, usize),
    receive: (*mut u8, usize),
}

// SAFETY: the caller of an operation leaves its buffers alone until the operation is complete.
unsafe impl Send for Job {}

impl Job {
    /// Creates an operation on buffers of the given sizes in bytes.
    ///
    /// # Safety
    /// The buffers must be valid, and nothing else may use them, until the operation is complete.
    pub unsafe fn new(
        operation: Operation,
        kind: Kind,
        (send, send_bytes): (*const c_void, usize),
        (receive, receive_bytes): (*mut c_void, usize),
    ) -> Self {
        Job { operation, kind, send: (send.cast(), send_bytes), receive: (receive.cast(), receive_bytes) }
    }

    /// Returns the bytes that this rank contributes.
    pub fn sent(&self) -> &[u8] {
        // SAFETY: the promise to `new`.
        unsafe { std::slice::from_raw_parts(self.send.0, self.send.1) }
    }

    /// Returns the buffer for the result. The contribution must have been read before, since it may be the same memory.
    pub fn received(&mut self) -> &mut [u8] {
        // SAFETY: the promise to `new`.
        unsafe { std::slice::from_raw_parts_mut(self.receive.0, self.receive.1) }
    }
}
