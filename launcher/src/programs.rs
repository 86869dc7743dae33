//! Finds the programs that the launcher starts.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use common::shell::quoted;

use crate::backend::open_mpi::OpenMpi;
use crate::error::LaunchError;

/// Returns the path of the worker: beside the launcher, or as `CONVOY_WORKER` says.
pub fn worker() -> Result<PathBuf, LaunchError> {
    sibling("worker", "CONVOY_WORKER")
}

/// Returns the path of the prepare program: beside the launcher, or as `CONVOY_PREPARE` says.
pub fn prepare() -> Result<PathBuf, LaunchError> {
    sibling("prepare", "CONVOY_PREPARE")
}

/// Returns the Open MPI whose mpirun is the first on `PATH`; `ranks` is for the error.
pub fn open_mpi(ranks: u32) -> Result<OpenMpi, LaunchError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mpirun = find("mpirun".as_ref(), &path).ok_or(LaunchError::NoMpirun { ranks })?;
    Ok(OpenMpi::ask(mpirun)?)
}

/// Returns how a person calls this program in a command: by its name where the shell finds it by that, otherwise as it was
/// called this time.
pub fn own_name() -> String {
    let called = std::env::args_os().next().map_or_else(|| "launcher".into(), PathBuf::from);
    let this = std::env::current_exe().unwrap_or_default();
    quoted(&name_of(&called, &this, &std::env::var_os("PATH").unwrap_or_default()).display().to_string())
}

/// Returns how `this` program is called, which was `called` so, where `path` is the value of `PATH`.
fn name_of(called: &Path, this: &Path, path: &OsStr) -> PathBuf {
    let name = called.file_name().unwrap_or(called.as_os_str());
    let is_this = |found: PathBuf| found.canonicalize().is_ok_and(|found| found == this);
    let is_on_path = find(name, path).is_some_and(is_this);
    if is_on_path { name.into() } else { called.into() }
}

/// Returns the first file `name` in the folders of `path`, a value of `PATH`.
fn find(name: &OsStr, path: &OsStr) -> Option<PathBuf> {
    std::env::split_paths(path).map(|folder| folder.join(name)).find(|candidate| candidate.is_file())
}

/// Returns whether the shell finds a program called `name`.
pub fn is_on_path(name: &str) -> bool {
    find(name.as_ref(), &std::env::var_os("PATH").unwrap_or_default()).is_some()
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
    if path.is_file() { Ok(path) } else { Err(LaunchError::NotBuilt { path, variable }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_on_path_is_called_by_its_name_and_another_as_it_was_called() {
        let folder = tempfile::tempdir().unwrap();
        let this = folder.path().canonicalize().unwrap().join("launcher");
        let elsewhere = tempfile::tempdir().unwrap();
        for folder in [folder.path(), elsewhere.path()] {
            std::fs::write(folder.join("launcher"), "").unwrap();
        }
        let name = |called: &str, path: &Path| name_of(Path::new(called), &this, path.as_os_str());
        assert_eq!(name("target/release/launcher", folder.path()), Path::new("launcher"));
        assert_eq!(name("target/release/launcher", elsewhere.path()), Path::new("target/release/launcher"));
        // A script of that name has started it.
        assert_eq!(name("launcher", elsewhere.path()), Path::new("launcher"));
        assert_eq!(name("./launcher", Path::new("/nonexistent")), Path::new("./launcher"));
    }
}
