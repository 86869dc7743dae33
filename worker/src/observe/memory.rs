//! The memory that this process has taken.

use tch::Device;

use crate::libtorch::streams;

/// The most memory that this process has taken: of tensors on its GPU, or resident on the host. 0 where the system does
/// not say.
pub fn peak_memory_bytes(device: Device) -> u64 {
    if let Device::Cuda(index) = device {
        return streams::peak_bytes(index).unwrap_or(0);
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()).map_or(0, |kib| kib * 1024)
}

/// Forgets the most memory that this process has taken so far. What it takes now.
pub fn reset_peak_memory() -> u64 {
    // Where it cannot be reset, what was taken before is counted too.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    peak_memory_bytes(Device::Cpu)
}
