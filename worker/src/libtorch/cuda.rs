//! Loads libtorch's CUDA libraries at start if a job wants a GPU, so that one binary serves machines with and without
//! one.

use std::path::{Path, PathBuf};

use crate::shared_library::{SharedLibrary, Symbols};

/// Reason why there is no GPU to compute on.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CudaError {
    /// The CUDA libraries cannot be loaded.
    #[error(
        "libtorch's CUDA library cannot be loaded: {message}; install it beside the others (a clone: `CONVOY_CUDA=1 make \
         setup`; a release: docs/install.md), or set run.device = \"cpu\""
    )]
    Library {
        /// The loader's message, which names the file.
        message: String,
    },
    /// The CUDA libraries are loaded, but see no GPU.
    #[error(
        "libtorch's CUDA library is loaded, but sees no GPU; check that `nvidia-smi` lists one and that \
         CUDA_VISIBLE_DEVICES does not hide it, or set run.device = \"cpu\""
    )]
    NoDevice,
}

/// Loads the CUDA libraries and returns the number of GPUs, at least one.
///
/// libtorch looks for CUDA once, when it is first asked about it, so nothing may ask before this has been called.
pub fn load() -> Result<usize, CudaError> {
    let folder = folder().ok_or_else(|| CudaError::Library { message: "libtorch_cpu.so is not loaded".into() })?;
    load_from(&folder)?;
    match tch::Cuda::device_count() {
        count @ 1.. => Ok(count as usize),
        _ => Err(CudaError::NoDevice),
    }
}

fn load_from(folder: &Path) -> Result<(), CudaError> {
    let path = folder.join("libtorch_cuda.so");
    // Global, as if it had been linked.
    SharedLibrary::open(&path, Symbols::Global).map(drop).map_err(|message| CudaError::Library { message })
}

/// Returns the folder of the libtorch libraries that this process uses.
pub fn folder() -> Option<PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let line = maps.lines().find(|line| line.ends_with("/libtorch_cpu.so"))?;
    Some(Path::new(&line[line.find('/')?..]).parent()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_holds_what_this_test_runs_with() {
        assert!(folder().unwrap().join("libtorch_cpu.so").is_file());
    }

    #[test]
    fn a_folder_without_the_cuda_library_says_what_to_install() {
        let error = load_from(tempfile::tempdir().unwrap().path()).unwrap_err().to_string();
        assert!(error.contains("libtorch_cuda.so") && error.contains("CONVOY_CUDA=1 make setup"), "{error}");
    }
}
