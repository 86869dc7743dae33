//! Host memory that is written as a tensor and then read as bytes by any thread.

use std::sync::Arc;

use bytes::Bytes;
use tch::{Device, Kind, TchError, Tensor};

#[cfg(target_endian = "big")]
compile_error!("checkpoints hold float32 values as they lie in memory, little-endian");

/// Elements in a page of memory. A disk takes whole pages past its page cache without a copy.
pub const PAGE_ELEMENTS: usize = 4096 / size_of::<f32>();

/// Memory for float32 values that begins at a page: pinned if a GPU copies to it, so that its copies do not block.
pub struct HostMemory {
    floats: Tensor,
}

// SAFETY: threads that share a `HostMemory` read the tensor's address and size, which do not change, and its bytes,
// which nothing writes while it is shared: `floats` takes it exclusively.
unsafe impl Sync for HostMemory {}

impl HostMemory {
    /// Allocates memory for `elements` values, for copies from `device`. The content is undefined.
    pub fn new(elements: usize, device: Device) -> Result<Self, TchError> {
        // Memory of no size has no address. With a page more than asked for, a page begins within it.
        let floats = Tensor::f_empty([(elements.max(1) + PAGE_ELEMENTS) as i64], (Kind::Float, Device::Cpu))?;
        let floats = if device.is_cuda() { super::pin_memory(&floats)? } else { floats };
        let before_page = floats.data_ptr().cast::<f32>().align_offset(PAGE_ELEMENTS * size_of::<f32>());
        let floats = floats.f_narrow(0, before_page.min(PAGE_ELEMENTS) as i64, elements.max(1) as i64)?;
        Ok(HostMemory { floats })
    }

    /// Returns the memory as a tensor, to be written before it is shared.
    pub fn floats(&mut self) -> &Tensor {
        &self.floats
    }

    /// Returns the number of values that fit.
    pub fn elements(&self) -> usize {
        self.floats.numel()
    }

    /// Returns the memory as bytes, which keep it alive.
    pub fn share(self: Arc<Self>) -> Bytes {
        Bytes::from_owner(Shared(self))
    }
}

/// Returns the elements of a contiguous float32 tensor in host memory. Nothing may use another view of the tensor
/// while it is borrowed.
pub fn floats_mut(tensor: &mut Tensor) -> &mut [f32] {
    let is_plain = tensor.kind() == Kind::Float && tensor.device() == Device::Cpu && tensor.is_contiguous();
    assert!(is_plain, "no contiguous float32 tensor in host memory: {tensor:?}");
    if tensor.numel() == 0 {
        return &mut [];
    }
    // SAFETY: the memory holds that many float32 values and lives as long as the tensor, which is borrowed
    // exclusively. The caller makes sure that no other view of it is used meanwhile, as for every operation of
    // libtorch.
    unsafe { std::slice::from_raw_parts_mut(tensor.data_ptr().cast(), tensor.numel()) }
}

struct Shared(Arc<HostMemory>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        let floats = &self.0.floats;
        // SAFETY: the tensor is contiguous, on the host, and lives as long as the returned slice; any bytes are
        // bytes.
        unsafe { std::slice::from_raw_parts(floats.data_ptr().cast(), size_of::<f32>() * floats.numel()) }
    }
}
