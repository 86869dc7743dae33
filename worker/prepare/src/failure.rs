//! The first failure of several threads.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::PrepareError;

/// The first failure of any thread.
#[derive(Default)]
pub(crate) struct Failure {
    is_set: AtomicBool,
    error: Mutex<Option<PrepareError>>,
}

impl Failure {
    /// Keeps `error`, if it is the first.
    pub fn set(&self, error: PrepareError) {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        self.is_set.store(true, Ordering::SeqCst);
    }

    /// Returns whether a thread has failed.
    pub fn is_set(&self) -> bool {
        self.is_set.load(Ordering::SeqCst)
    }

    /// Returns the failure, if there was one.
    pub fn into_result(self) -> Result<(), PrepareError> {
        match self.error.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}
