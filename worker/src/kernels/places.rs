//! Devices on which tests run the kernels.

use std::ffi::{CStr, c_char, c_uint, c_void};
use std::sync::{Mutex, PoisonError};

use tch::{Device, Kind, TchError, Tensor};

use super::cuda;
use super::cuda::launch::{Grid, Launch};
use crate::libtorch::{self, streams};

unsafe extern "C" {
    fn convoy_launch_on_cpu(name: *const c_char, blocks: c_uint, threads: c_uint, arguments: *mut *mut c_void) -> bool;
}

/// Runs kernels on tensors in host memory, with their sources compiled for a CPU (`worker/kernels/on_cpu.cpp`).
struct OnCpu;

impl Launch for OnCpu {
    fn resident_blocks(&self, _kernel: &CStr, _threads: u32) -> Result<u32, TchError> {
        Ok(3)
    }

    unsafe fn launch(&self, kernel: &CStr, grid: Grid, arguments: &mut [*mut c_void]) -> Result<(), TchError> {
        static TURN: Mutex<()> = Mutex::new(());
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the caller's promise; one kernel runs at a time, as the function requires.
        let is_there =
            unsafe { convoy_launch_on_cpu(kernel.as_ptr(), grid.blocks, grid.threads, arguments.as_mut_ptr()) };
        assert!(is_there, "there is no {kernel:?}");
        Ok(())
    }
}

/// Returns this CPU, and a GPU if there is one; with `CONVOY_TEST_ON_GPU` there must be one.
pub fn places() -> Vec<(&'static dyn Launch, Device)> {
    let mut places: Vec<(&dyn Launch, Device)> = vec![(&OnCpu, Device::Cpu)];
    let gpus = libtorch::cuda::load();
    if std::env::var_os("CONVOY_TEST_ON_GPU").is_some() || gpus.is_ok() {
        gpus.unwrap();
        streams::set_device(0).unwrap();
        super::prepare(0).unwrap();
        places.push((cuda::on(Device::Cuda(0)).unwrap(), Device::Cuda(0)));
    }
    places
}

/// Returns the GPU, if there is one; otherwise prints that a test is skipped.
pub fn gpu() -> Option<Device> {
    let device = places().into_iter().map(|(_, device)| device).find(|device| device.is_cuda());
    if device.is_none() {
        println!("skipped: there is no GPU here");
    }
    device
}

/// Panics if an element of `a` differs from that of `b` by more than `error` times the largest element of `b`.
pub fn assert_close(a: &Tensor, b: &Tensor, error: f64) {
    assert_eq!(a.size(), b.size());
    let (a, b) = (a.to_kind(Kind::Double), b.to_kind(Kind::Double));
    let off = ((&a - &b).abs().max() / b.abs().max().clamp_min(1e-30)).double_value(&[]);
    assert!(off <= error, "off by {off:e}: {a:?} {b:?}");
}
