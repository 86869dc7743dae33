//! A rank's part of the preflight: ranks gather facts about their hosts for `launcher check`, before a run is paid
//! for, and before their own first step. Only facts are here; [`common::preflight`] judges them. The launcher's part
//! is its own `preflight`.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use common::config::RunConfig;
use common::host_name::host_name;
use common::preflight::{
    Exchange, Finding, GpuFacts, RankFacts, SHARED_GPU_VARIABLE, Verdict, WorldFacts, available_memory,
};
use common::storage::Folder;
use common::topology::Rank;
use nix::sys::statvfs::statvfs;
use sha2::{Digest, Sha256};
use tch::Device;

use crate::collectives::Label;
use crate::collectives::bandwidth::Bandwidth;
use crate::error::JobError;
use crate::libtorch::cuda;
use crate::step::cost::step_cost;
use crate::world::World;

/// Gathers the facts of all ranks and measures how fast they exchange. All ranks get an identical result.
pub fn check(world: &World) -> Result<WorldFacts, JobError> {
    let World { collectives, device, hosts, .. } = world;
    let exchange = Bandwidth::measure(collectives.as_ref(), *hosts, *device)?.map(|bandwidth| Exchange {
        carrier: if device.is_cuda() { "NCCL" } else { "MPI" }.to_owned(),
        bytes_per_second: bandwidth.bytes_per_second(),
        text: bandwidth.to_string(),
    });
    Ok(WorldFacts { exchange: exchange.into_iter().collect(), ..gather(world)? })
}

/// Refuses to train if hosts and ranks do not fit together. Returns what is shown of all other findings: those that
/// describe the run, and those that something is wrong.
///
/// Short memory or disk space is a finding and no reason to refuse: it is an estimate, and an attempt that has just
/// been killed may be about to give back what is missing.
pub fn before_training(world: &World) -> Result<Vec<Finding>, JobError> {
    let facts = gather(world)?;
    let (failed, rest): (Vec<_>, Vec<_>) = facts.fit().into_iter().partition(|found| found.verdict == Verdict::Failed);
    if failed.is_empty() {
        return Ok(rest.into_iter().chain(facts.supplies()).filter(Finding::is_for_a_start).collect());
    }
    let found = |found: &Finding| format!("{} {}", found.subject, found.text);
    Err(JobError::UnfitRanks(failed.iter().map(found).collect::<Vec<_>>().join("; ")))
}

/// Gathers the facts of all ranks, without their exchange. All ranks get an identical result.
fn gather(world: &World) -> Result<WorldFacts, JobError> {
    let World { config, collectives, device, without_gpu, .. } = world;
    let ranks = collectives.as_ref();
    let mut facts = RankFacts::look(config, ranks.rank(), (*device, without_gpu.as_deref()));
    // All ranks leave the barrier at the same moment, to some milliseconds.
    ranks.barrier(Label::new("reading the clocks")).wait()?;
    facts.clock_unix_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
    let all = ranks.gather("facts about its host", &facts)?;
    Ok(WorldFacts {
        ranks: all,
        step_bytes: step_cost(config, ranks.world_size(), *device).memory().total(),
        global_sequences: config.batch.global_sequences,
        parameters: config.model.parameters(),
        precision: config.train.precision,
        exchange: Vec::new(),
    })
}

trait Look {
    /// Gathers the facts of `rank`, which computes on `device`; `without_gpu` says why not on a GPU, if nobody chose that.
    fn look(config: &RunConfig, rank: Rank, device: (Device, Option<&str>)) -> Self;
}

impl Look for RankFacts {
    fn look(config: &RunConfig, rank: Rank, (device, without_gpu): (Device, Option<&str>)) -> Self {
        RankFacts {
            rank,
            host: host_name(),
            binary_sha256: std::env::current_exe().and_then(|path| sha256_of(&path)).unwrap_or_else(|e| e.to_string()),
            libtorch: libtorch(),
            clock_unix_s: 0.0,
            threads: tch::get_num_threads().unsigned_abs(),
            cores: std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32),
            memory_bytes: available_memory(),
            free_bytes: folders(config).into_iter().filter_map(room_in).collect(),
            shared_memory_bytes: statvfs("/dev/shm").map_or(0, |shm| shm.blocks() * shm.fragment_size()),
            device: match device {
                Device::Cuda(index) => format!("cuda:{index}"),
                _ => "cpu".to_owned(),
            },
            without_gpu: without_gpu.map(str::to_owned),
            visible_gpus: if device.is_cuda() { tch::Cuda::device_count() as u32 } else { 0 },
            may_share: std::env::var_os(SHARED_GPU_VARIABLE).is_some_and(|value| value == "1"),
            gpus: if device.is_cuda() || without_gpu.is_some() { gpus() } else { Vec::new() },
        }
    }
}

fn sha256_of(path: &Path) -> io::Result<String> {
    let (mut file, mut hasher, mut part) = (File::open(path)?, Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut part)? {
            0 => return Ok(common::hex::hex(&hasher.finalize())),
            read => hasher.update(&part[..read]),
        }
    }
}

/// Describes libtorch, which has no version at run time, by its size: two builds hardly ever have equal sizes.
fn libtorch() -> String {
    let library = cuda::folder().map(|folder| folder.join("libtorch_cpu.so"));
    let bytes = library.and_then(|library| library.metadata().ok()).map_or(0, |metadata| metadata.len());
    format!("libtorch_cpu.so of {bytes} bytes")
}

/// Returns the folders on this host that a run writes to.
fn folders(config: &RunConfig) -> Vec<PathBuf> {
    let mut folders = vec![std::env::temp_dir()];
    if config.data.cache_bytes > 0 && !config.data.cache_dir.is_empty() {
        folders.push(PathBuf::from(&config.data.cache_dir));
    }
    folders.extend(Folder::open(&config.run.output, &config.storage).ok().and_then(|run| run.local()));
    folders
}

/// Returns a folder as it was named, and the bytes that are free where it is, or will be.
fn room_in(folder: PathBuf) -> Option<(String, u64)> {
    let there = folder.ancestors().find(|ancestor| ancestor.is_dir())?;
    let room = statvfs(there).ok()?;
    Some((folder.display().to_string(), room.blocks_available() * room.fragment_size()))
}

/// Returns the GPUs of this host; none if their driver does not list them.
fn gpus() -> Vec<GpuFacts> {
    let [program, arguments @ ..] = GpuFacts::COMMAND;
    let output = Command::new(program).args(arguments).output();
    GpuFacts::parse_all(&output.map(|output| output.stdout).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_has_room_and_a_hash() {
        let (name, free) = room_in(std::env::temp_dir().join("not/there/yet")).unwrap();
        assert!(name.ends_with("not/there/yet") && free > 0);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "abc").unwrap();
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256_of(file.path()).unwrap(), expected);
    }
}
