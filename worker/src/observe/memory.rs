//! Memory that this process has taken.

use tch::Device;

use crate::libtorch::streams;

/// Returns the peak memory of this process, in bytes: of tensors on its GPU, or resident on the host. 0 if the system
/// does not say.
pub fn peak_memory_bytes(device: Device) -> u64 {
    if let Device::Cuda(index) = device {
        return streams::peak_bytes(index).unwrap_or(0);
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()).map_or(0, |kib| kib * 1024)
}

/// Resets the peak memory of this process, and returns the memory that it takes now.
pub fn reset_peak_memory() -> u64 {
    // If it cannot be reset, earlier memory is counted too.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    peak_memory_bytes(Device::Cpu)
}
