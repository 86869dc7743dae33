//! Finds the programs that the launcher starts.

use std::path::{Path, PathBuf};

use crate::error::LaunchError;

/// Returns the path of the worker: beside the launcher, or as `CONVOY_WORKER` says.
pub fn worker() -> Result<PathBuf, LaunchError> {
    sibling("worker", "CONVOY_WORKER")
}

/// Returns the path of the prepare program: beside the launcher, or as `CONVOY_PREPARE` says.
pub fn prepare() -> Result<PathBuf, LaunchError> {
    sibling("prepare", "CONVOY_PREPARE")
}

/// Returns the first mpirun on `PATH`; `ranks` is for the error.
pub fn mpirun(ranks: u32) -> Result<PathBuf, LaunchError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join("mpirun"))
        .find(|candidate| candidate.is_file())
        .ok_or(LaunchError::NoMpirun { ranks })
}

fn sibling(name: &'static str, variable: &'static str) -> Result<PathBuf, LaunchError> {
    let path = match std::env::var_os(variable) {
        Some(path) => PathBuf::from(path),
        None => std::env::current_exe()
            .map_err(LaunchError::system("find the launcher's own executable"))?
            .parent()
            .unwrap_or(Path::new("."))
            .join(name),
    };
    // mpirun would look for a bare name on PATH, where it is not.
    let path = std::path::absolute(&path).unwrap_or(path);
    if path.is_file() { Ok(path) } else { Err(LaunchError::NotBuilt { path, package: name, variable }) }
}
