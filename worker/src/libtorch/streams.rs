//! Streams and events of a GPU, for work beside the computation.

use std::ffi::{c_char, c_int, c_void};
use std::ptr::NonNull;
use std::time::Duration;

use tch::{TchError, Tensor};
use torch_sys::C_tensor;

use super::check;

/// `c10::StreamData3`: a stream of a device. The stream lives as long as the process, so copies are harmless.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Stream {
    stream_id: i64,
    device_index: i8,
    device_type: i8,
}

#[allow(non_camel_case_types, reason = "the C side's names")]
mod ffi {
    use super::{C_tensor, Stream, c_char, c_int, c_void};

    #[repr(C)]
    pub struct Event {
        _opaque: [u8; 0],
    }

    unsafe extern "C" {
        pub fn convoy_stream_current(device: c_int, out: *mut Stream) -> *mut c_char;
        pub fn convoy_stream_new(device: c_int, out: *mut Stream) -> *mut c_char;
        pub fn convoy_stream_native(stream: *const Stream, out: *mut *mut c_void) -> *mut c_char;
        pub fn convoy_device_set(device: c_int) -> *mut c_char;
        pub fn convoy_event_record(stream: *const Stream, out: *mut *mut Event) -> *mut c_char;
        pub fn convoy_event_block(event: *const Event, stream: *const Stream) -> *mut c_char;
        pub fn convoy_event_query(event: *const Event, out: *mut bool) -> *mut c_char;
        pub fn convoy_event_synchronize(event: *const Event) -> *mut c_char;
        pub fn convoy_event_elapsed(from: *const Event, to: *const Event, out: *mut f64) -> *mut c_char;
        pub fn convoy_stream_enter(stream: *const Stream) -> *mut c_char;
        pub fn convoy_stream_uses(stream: *const Stream, tensor: *const C_tensor) -> *mut c_char;
        pub fn convoy_device_peak_bytes(device: c_int, out: *mut i64) -> *mut c_char;
        pub fn convoy_event_free(event: *mut Event);
    }
}

/// Sets GPU number `device` for calls into CUDA from this thread.
pub fn set_device(device: usize) -> Result<(), TchError> {
    // SAFETY: the shim takes any number, and refuses one that is no device.
    check(unsafe { ffi::convoy_device_set(device as c_int) })
}

/// Returns the peak of the bytes that tensors have taken on GPU number `device`.
pub fn peak_bytes(device: usize) -> Result<u64, TchError> {
    let mut bytes = 0;
    // SAFETY: the shim writes the number or returns a message.
    check(unsafe { ffi::convoy_device_peak_bytes(device as c_int, &mut bytes) })?;
    Ok(bytes.unsigned_abs())
}

impl Stream {
    /// Returns the stream on which this thread's operations on GPU number `device` run.
    pub fn current(device: usize) -> Result<Self, TchError> {
        let mut stream = Stream::default();
        // SAFETY: the shim writes the stream or returns a message.
        check(unsafe { ffi::convoy_stream_current(device as c_int, &mut stream) })?;
        Ok(stream)
    }

    /// Returns another stream, of high priority, which libtorch computes nothing on.
    pub fn beside(device: usize) -> Result<Self, TchError> {
        let mut stream = Stream::default();
        // SAFETY: the shim writes the stream or returns a message.
        check(unsafe { ffi::convoy_stream_new(device as c_int, &mut stream) })?;
        Ok(stream)
    }

    /// Returns the `cudaStream_t`.
    pub fn native(&self) -> Result<*mut c_void, TchError> {
        let mut native = std::ptr::null_mut();
        // SAFETY: the stream comes from libtorch; the shim writes the handle or returns a message.
        check(unsafe { ffi::convoy_stream_native(self, &mut native) })?;
        Ok(native)
    }

    /// Returns an event that completes when all work queued so far on this stream has.
    pub fn record(&self) -> Result<Event, TchError> {
        let mut event = std::ptr::null_mut();
        // SAFETY: the stream comes from libtorch; the shim allocates the event or returns a message.
        check(unsafe { ffi::convoy_event_record(self, &mut event) })?;
        NonNull::new(event).map(Event).ok_or_else(|| TchError::Torch("no event was made".into()))
    }

    /// Runs `body` with this thread's operations on this stream.
    pub fn enter<T>(&self, body: impl FnOnce() -> T) -> Result<T, TchError> {
        let before = Stream::current(self.device_index.unsigned_abs().into())?;
        // SAFETY: both streams come from libtorch.
        check(unsafe { ffi::convoy_stream_enter(self) })?;
        let result = body();
        // SAFETY: as above.
        check(unsafe { ffi::convoy_stream_enter(&before) })?;
        Ok(result)
    }

    /// Records that this stream uses `tensor`: its memory is not reused until the stream has passed this point.
    pub fn uses(&self, tensor: &Tensor) -> Result<(), TchError> {
        // SAFETY: both are alive.
        check(unsafe { ffi::convoy_stream_uses(self, tensor.as_ptr()) })
    }

    /// Makes later work on this stream wait for `event`; the calling thread does not wait.
    pub fn wait_for(&self, event: &Event) -> Result<(), TchError> {
        // SAFETY: both are alive.
        check(unsafe { ffi::convoy_event_block(event.0.as_ptr(), self) })
    }
}

/// A point in a stream's work.
#[derive(Debug)]
pub struct Event(NonNull<ffi::Event>);

// SAFETY: an event is recorded once, before it is shared; CUDA lets any thread query it and make streams wait for it.
unsafe impl Send for Event {}
// SAFETY: as above.
unsafe impl Sync for Event {}

impl Event {
    /// Returns whether the event has passed.
    pub fn has_passed(&self) -> Result<bool, TchError> {
        let mut passed = false;
        // SAFETY: the event is alive; the shim writes the answer or returns a message.
        check(unsafe { ffi::convoy_event_query(self.0.as_ptr(), &mut passed) })?;
        Ok(passed)
    }
}

impl Event {
    /// Waits until the event has passed.
    pub fn synchronize(&self) -> Result<(), TchError> {
        // SAFETY: the event is alive.
        check(unsafe { ffi::convoy_event_synchronize(self.0.as_ptr()) })
    }

    /// Returns the time from this event to a later one; both must have passed.
    pub fn until(&self, later: &Event) -> Result<Duration, TchError> {
        let mut milliseconds = 0.0;
        // SAFETY: both are alive; the shim writes the time or returns a message.
        check(unsafe { ffi::convoy_event_elapsed(self.0.as_ptr(), later.0.as_ptr(), &mut milliseconds) })?;
        Ok(Duration::from_secs_f64((milliseconds / 1e3).max(0.0)))
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: the shim allocated it, and nothing uses it after its drop.
        unsafe { ffi::convoy_event_free(self.0.as_ptr()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_cuda_a_stream_is_an_error() {
        if crate::libtorch::cuda::load().is_ok() {
            println!("skipped: there is a GPU here");
            return;
        }
        let error = Stream::current(0).unwrap_err().to_string();
        assert!(error.contains("CUDA") || error.contains("cuda"), "{error}");
    }
}
