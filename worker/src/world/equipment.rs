//! The equipment of a rank: its device and its collectives, chosen by the config among what the host has.

use std::sync::Arc;
use std::time::Duration;

use common::config::{CollectivesKind, DeviceKind, RunConfig};
use common::exit_code::ExitCode;
use common::host_name::host_name;
use common::topology::WorldSize;
use tch::Device;

use super::error::WorldError;
use super::failure::{announce_failure, fail};
use super::membership;
use crate::collectives::faulty::Faulty;
use crate::collectives::nccl::{Ending, Nccl};
use crate::collectives::single::Single;
use crate::collectives::{Collectives, CollectivesError, mpi};
use crate::error::JobError;
use crate::kernels;
use crate::libtorch::{self, cuda, streams};

/// Device and collectives of a rank.
pub struct Equipment {
    /// Device that this rank computes on.
    pub device: Device,
    /// Why `run.device = "auto"` chose the CPU; `None` where it did not.
    pub without_gpu: Option<String>,
    /// Number of hosts over all ranks.
    pub hosts: usize,
    /// Collectives over all ranks.
    pub collectives: Arc<dyn Collectives>,
}

impl Equipment {
    /// Chooses the equipment by `config`; `collectives` are those that the process started with.
    pub fn choose(config: &RunConfig, collectives: Arc<dyn Collectives>) -> Result<Self, JobError> {
        let neighbours = Neighbours::meet(collectives.as_ref())?;
        let (device, without_gpu) = neighbours.device(config.run.device, collectives.as_ref())?;
        if device.is_cuda() && config.train.deterministic {
            libtorch::set_deterministic()?;
        }
        let collectives = Faulty::if_asked(for_device(config, collectives, device)?);
        membership::keep(&collectives);
        Ok(Equipment { device, without_gpu, hosts: neighbours.hosts, collectives })
    }
}

/// Position of this rank among the ranks of its host.
struct Neighbours {
    /// Number of hosts over all ranks.
    hosts: usize,
    /// Number of ranks on this host that come before this one.
    local_rank: usize,
}

impl Neighbours {
    fn meet(collectives: &dyn Collectives) -> Result<Self, CollectivesError> {
        // Hosts with equal names differ in their boot ids, and containers of one host in their names.
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let mut hosts = collectives.gather("its host's name", &format!("{} {}", host_name(), boot.trim()))?;
        let (before, from) = hosts.split_at(collectives.rank().index());
        let local_rank = before.iter().filter(|host| **host == from[0]).count();
        hosts.sort_unstable();
        hosts.dedup();
        Ok(Neighbours { hosts: hosts.len(), local_rank })
    }

    /// Returns the device that this rank computes on, of one kind on all ranks, and, if `kind` left the choice and there is
    /// no GPU, why there is none. A GPU is set for the calling thread, and gets Convoy's kernels. Nothing may have asked
    /// libtorch about CUDA before.
    fn device(&self, kind: DeviceKind, collectives: &dyn Collectives) -> Result<(Device, Option<String>), JobError> {
        let gpus = match kind {
            DeviceKind::Cpu => return Ok((Device::Cpu, None)),
            DeviceKind::Cuda => cuda::load()?,
            DeviceKind::Auto => {
                let gpus = cuda::load();
                let mine = match &gpus {
                    Ok(_) => "a GPU".to_owned(),
                    Err(why) => format!("the CPU ({why})"),
                };
                let is_cuda = gpus.is_ok();
                check_kinds(&collectives.gather("its kind of device", &(is_cuda, host_name(), mine))?)?;
                match gpus {
                    Ok(gpus) => gpus,
                    Err(why) => return Ok((Device::Cpu, Some(why.to_string()))),
                }
            }
        };
        let gpu = self.local_rank % gpus;
        streams::set_device(gpu)?;
        if let Err(why) = kernels::prepare(gpu) {
            tracing::warn!(
                "not all of Convoy's kernels can be had, so that a step takes longer and more memory: {why}"
            );
        }
        Ok((Device::Cuda(gpu), None))
    }
}

/// Fails unless all ranks compute on the same kind of device; of each, whether it is a GPU, the host, and what it is.
fn check_kinds(ranks: &[(bool, String, String)]) -> Result<(), WorldError> {
    let of_kind = |is_cuda: bool| ranks.iter().enumerate().find(|(_, rank)| rank.0 == is_cuda);
    let (Some(gpu), Some(cpu)) = (of_kind(true), of_kind(false)) else { return Ok(()) };
    let named =
        |(rank, (_, host, device)): (usize, &(bool, String, String))| format!("rank {rank} on {host} on {device}");
    Err(WorldError::MixedDevices { gpu: named(gpu), cpu: named(cpu) })
}

/// Returns `collectives`, or, if this rank computes on a GPU or the config wants it, collectives that also carry GPU
/// memory.
fn for_device(
    config: &RunConfig,
    collectives: Arc<dyn Collectives>,
    device: Device,
) -> Result<Arc<dyn Collectives>, JobError> {
    match config.parallel.collectives {
        CollectivesKind::Mpi if device.is_cuda() => return Err(WorldError::MpiForGpu.into()),
        CollectivesKind::Auto if device.is_cuda() && collectives.world_size() == WorldSize::ONE => {
            return Ok(Arc::new(Single::default()));
        }
        CollectivesKind::Auto if !device.is_cuda() => return Ok(collectives),
        CollectivesKind::Single | CollectivesKind::Mpi => return Ok(collectives),
        CollectivesKind::Auto | CollectivesKind::Nccl => {}
    }
    let timeout = Duration::from_secs(config.parallel.timeout_s);
    let ending = Ending {
        announce: |error| announce_failure(&error.to_string(), ExitCode::Communication),
        end: |error| fail(&error.to_string(), ExitCode::Communication),
    };
    Ok(Arc::new(Nccl::start(collectives, device, timeout, ending)?))
}

/// Refuses a config whose `parallel.collectives` does not fit how this process was started.
pub(super) fn check_collectives(config: &RunConfig, collectives: &dyn Collectives) -> Result<(), WorldError> {
    let refuse = |given, start: String| Err(WorldError::UnfitCollectives { given, start });
    let world = collectives.world_size();
    let is_mpi = mpi::is_launched_by_mpi();
    match config.parallel.collectives {
        CollectivesKind::Single if world.get() > 1 => refuse("single", format!("there are {world} ranks")),
        CollectivesKind::Nccl if world.get() == 1 => {
            refuse("nccl", "there is one rank, which exchanges nothing".into())
        }
        CollectivesKind::Mpi if !is_mpi => refuse("mpi", "this worker was not started by mpirun".into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_on_different_kinds_of_devices_are_refused() {
        let rank = |is_cuda, host: &str| {
            let device = if is_cuda { "a GPU" } else { "the CPU (no driver)" };
            (is_cuda, host.to_owned(), device.to_owned())
        };
        for alike in [vec![rank(true, "a"), rank(true, "b")], vec![rank(false, "a")], vec![]] {
            assert!(check_kinds(&alike).is_ok(), "{alike:?}");
        }
        let error = check_kinds(&[rank(true, "a"), rank(true, "a"), rank(false, "b")]).unwrap_err();
        assert_eq!(error.exit_code(), ExitCode::Config);
        let text = error.to_string();
        assert!(text.contains("rank 0 on a on a GPU") && text.contains("rank 2 on b on the CPU (no driver)"), "{text}");
    }
}
