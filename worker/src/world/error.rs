//! Why a rank cannot take its place in the world.

use std::io;

use common::exit_code::ExitCode;

/// Why a rank cannot take its place in the world: it was started as it cannot work, or was told what it cannot read.
#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    /// The system refuses to let signals be handled.
    #[error("signals cannot be handled: {0}")]
    Signals(#[source] io::Error),
    /// Standard input holds something, and no start line.
    #[error("standard input is not a launcher's start line: {reason}")]
    NoStartLine {
        /// Why not, from the parser.
        reason: String,
    },
    /// Nobody has written to standard input, as where a person types `--from-launcher`.
    #[error("standard input ended before the launcher's start line")]
    NoLauncher,
    /// The launcher and this worker were built from different sources.
    #[error("the launcher speaks protocol {launcher}, this worker {worker}: build both from one source")]
    OtherVersion {
        /// The launcher's version of the protocol.
        launcher: u64,
        /// This worker's.
        worker: u32,
    },
    /// With `run.device = "auto"` some ranks found a GPU, and some did not.
    #[error(
        "all ranks must compute on the same kind of device, but {gpu} would, and {cpu}; set run.device = \"cpu\" for all, or see to it that \
         every host's GPUs can be used"
    )]
    MixedDevices {
        /// A rank with a GPU: its number, host and device, in words.
        gpu: String,
        /// One without.
        cpu: String,
    },
    /// MPI cannot carry what is in a GPU's memory.
    #[error(
        "parallel.collectives = \"mpi\" exchanges what is in host memory, but this rank computes on a GPU; leave it out, \
         or set run.device = \"cpu\""
    )]
    MpiForGpu,
    /// `parallel.collectives` does not fit how the ranks were started.
    #[error("parallel.collectives = \"{given}\", but {start}; use \"auto\"")]
    UnfitCollectives {
        /// The value in the config.
        given: &'static str,
        /// How they were started.
        start: String,
    },
}

impl WorldError {
    /// What a process that ends because of this exits with.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            WorldError::NoStartLine { .. } => ExitCode::Bug,
            WorldError::Signals(_)
            | WorldError::NoLauncher
            | WorldError::OtherVersion { .. }
            | WorldError::MixedDevices { .. }
            | WorldError::MpiForGpu
            | WorldError::UnfitCollectives { .. } => ExitCode::Config,
        }
    }
}
