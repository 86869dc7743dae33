//! A rank's place in the world: starting MPI, sharing rank 0's start with all, and ending everyone when one rank fails.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use common::attempt::{Attempt, Claim, Claimant, Holder, News, Request, acquire, claim_of, host_name};
use common::config::change::check_accepted;
use common::config::{CollectivesKind, DeviceKind, RawConfig, RunConfig};
use common::limits::describe_panic;
use common::start::{self, Wanted};
use common::storage::Folder;
use common::topology::{Rank, WorldSize};
use common::worker_contract::{ExitCode, FromRank, PROTOCOL_VERSION, START_LINE_BYTES_MAX, StartLine, read_line};
use serde::{Deserialize, Serialize};
use tch::Device;

use crate::collectives::faulty::Faulty;
use crate::collectives::mpi::{self, Mpi};
use crate::collectives::nccl::{Ending, Nccl};
use crate::collectives::single::Single;
use crate::collectives::{Collectives, CollectivesError};
use crate::control::{Control, LauncherAddress, Requests};
use crate::error::JobError;
use crate::kernels;
use crate::libtorch::{self, cuda, streams};

/// How long ranks may need to find each other, before the config says how long a collective may take.
const START_TIMEOUT: Duration = Duration::from_secs(300);

/// How long a rank that has lost others leaves these to say the same, before it ends all.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Everything that a job on this rank works with.
pub struct World {
    /// The config, the same on all ranks.
    pub config: RunConfig,
    /// The claim of the attempt that this is.
    pub claim: Claim,
    /// Keys of the config that may differ from the checkpoint's.
    pub accepted_changes: Vec<String>,
    /// Keeps its claim to the run, on rank 0 where no launcher does.
    pub holder: Option<Holder>,
    /// The other ranks.
    pub collectives: Arc<dyn Collectives>,
    /// What this rank has to compute on.
    pub device: Device,
    /// Number of hosts.
    pub hosts: usize,
    /// The launcher, if there is one.
    pub control: Control,
    /// What is asked of this job.
    pub requests: Requests,
}

/// Where rank 0 learns what to do.
pub enum Origin {
    /// A [`StartLine`] on standard input.
    Launcher,
    /// A config file, of which nothing is started.
    Look {
        /// Where it is.
        path: PathBuf,
        /// Values that count instead of its own.
        overrides: Vec<String>,
    },
    /// A config file.
    File {
        /// Where it is.
        path: PathBuf,
        /// Values that count instead of its own.
        overrides: Vec<String>,
        /// Keys that may differ from the checkpoint's.
        accepted_changes: Vec<String>,
    },
}

/// What rank 0 tells the others at the start.
#[derive(Serialize, Deserialize)]
struct Start {
    config: String,
    claim: Claim,
    accepted_changes: Vec<String>,
    control: Option<(String, String)>,
}

/// Who this process is, for what it says when it fails; set once it is known.
static RANK: OnceLock<Rank> = OnceLock::new();
/// The connection over which a failing rank says why; set once there is one.
static CONTROL: OnceLock<Control> = OnceLock::new();
/// Keeps MPI up while an error is on its way to [`fail`]: ending MPI in good order waits for all ranks, and the others
/// wait for this one.
static COLLECTIVES: Mutex<Option<Arc<dyn Collectives>>> = Mutex::new(None);

impl World {
    /// Starts MPI if this process is one of several, shares rank 0's config, and connects to the launcher.
    pub fn enter(origin: &Origin) -> Result<Self, JobError> {
        let requests =
            Requests::from_signals().map_err(|error| JobError::Usage(format!("signals cannot be handled: {error}")))?;
        let collectives = start_collectives()?;
        let (start, claim) = match collectives.rank().is_zero() {
            true => {
                let (start, claim) = Start::read(origin, collectives.world_size().get())?;
                (start.to_json(), claim)
            }
            false => (Vec::new(), None),
        };
        let start = Start::from_json(&collectives.broadcast_bytes(&start)?)?;
        let config = RawConfig::parse("from rank 0", &start.config, &[])?.run()?;
        check_collectives(&config, collectives.as_ref())?;
        collectives.set_timeout(Duration::from_secs(config.parallel.timeout_s));

        let control = match &start.control {
            Some((address, token)) => {
                let lost_timeout = Duration::from_secs(config.launch.stall_timeout_s);
                let launcher = LauncherAddress { address, token, lost_timeout };
                let me = (collectives.rank(), collectives.world_size());
                let in_flight = collectives.in_flight().clone();
                let on_lost = |error: JobError| fail(&error.to_string(), error.exit_code());
                Control::connect(&launcher, me, in_flight, &requests, on_lost)?
            }
            None => Control::default(),
        };
        let _ = CONTROL.set(control.clone());
        let Equipment { device, hosts, collectives } = Equipment::choose(&config, collectives)?;
        let holder = claim.map(|claim| hold(&config, claim, &requests)).transpose()?;
        let Start { claim, accepted_changes, .. } = start;
        Ok(World { config, claim, accepted_changes, holder, collectives, device, hosts, control, requests })
    }
}

/// What a rank computes on, and what it exchanges with.
pub struct Equipment {
    /// What this rank computes on.
    pub device: Device,
    /// Number of hosts over all ranks.
    pub hosts: usize,
    /// The other ranks.
    pub collectives: Arc<dyn Collectives>,
}

impl Equipment {
    /// As `config` says, of what is there; `collectives` are those that the process started with.
    pub fn choose(config: &RunConfig, collectives: Arc<dyn Collectives>) -> Result<Self, JobError> {
        let neighbours = Neighbours::meet(collectives.as_ref())?;
        let device = neighbours.device(config.run.device, collectives.as_ref())?;
        if device.is_cuda() && config.train.deterministic {
            libtorch::set_deterministic()?;
        }
        let collectives = Faulty::if_asked(for_device(config, collectives, device)?);
        *COLLECTIVES.lock().unwrap_or_else(PoisonError::into_inner) = Some(collectives.clone());
        Ok(Equipment { device, hosts: neighbours.hosts, collectives })
    }
}

/// Who else is on this rank's host.
struct Neighbours {
    /// Number of hosts over all ranks.
    hosts: usize,
    /// Ranks on this host that come before this one.
    local_rank: usize,
}

impl Neighbours {
    fn meet(collectives: &dyn Collectives) -> Result<Self, CollectivesError> {
        // Hosts of one name are told apart by when they were started, containers of one host by their names.
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let mut hosts = collectives.gather_bytes(format!("{} {}", host_name(), boot.trim()).as_bytes())?;
        let (before, from) = hosts.split_at(collectives.rank().index());
        let local_rank = before.iter().filter(|host| **host == from[0]).count();
        hosts.sort_unstable();
        hosts.dedup();
        Ok(Neighbours { hosts: hosts.len(), local_rank })
    }

    /// What this rank computes on, of the same kind on all; a GPU becomes the calling thread's, with Convoy's kernels on it. Nothing
    /// may have asked libtorch about CUDA before.
    fn device(&self, kind: DeviceKind, collectives: &dyn Collectives) -> Result<Device, JobError> {
        let gpus = match kind {
            DeviceKind::Cpu => return Ok(Device::Cpu),
            DeviceKind::Cuda => cuda::load()?,
            DeviceKind::Auto => {
                let gpus = cuda::load();
                let mine = match &gpus {
                    Ok(_) => "a GPU".to_owned(),
                    Err(why) => format!("the CPU ({why})"),
                };
                let is_cuda = gpus.is_ok();
                let kinds =
                    collectives.gather_bytes(&serde_json::to_vec(&(is_cuda, host_name(), mine)).unwrap_or_default())?;
                check_kinds(&kinds.iter().filter_map(|kind| serde_json::from_slice(kind).ok()).collect::<Vec<_>>())?;
                match gpus {
                    Ok(gpus) => gpus,
                    Err(_) => return Ok(Device::Cpu),
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
        Ok(Device::Cuda(gpu))
    }
}

/// Fails unless all ranks compute on the same kind of device; of each, whether it is a GPU, the host, and what it is.
fn check_kinds(ranks: &[(bool, String, String)]) -> Result<(), JobError> {
    let of_kind = |is_cuda: bool| ranks.iter().enumerate().find(|(_, rank)| rank.0 == is_cuda);
    let (Some(gpu), Some(cpu)) = (of_kind(true), of_kind(false)) else { return Ok(()) };
    let named =
        |(rank, (_, host, device)): (usize, &(bool, String, String))| format!("rank {rank} on {host} on {device}");
    Err(JobError::Usage(format!(
        "all ranks must compute on the same kind of device, but {} would, and {}; set run.device = \"cpu\" for all, or see to it that \
         every host's GPUs can be used",
        named(gpu),
        named(cpu)
    )))
}

/// `collectives`, or what carries GPUs' memory as well, where this rank computes on one or the config wants it.
fn for_device(
    config: &RunConfig,
    collectives: Arc<dyn Collectives>,
    device: Device,
) -> Result<Arc<dyn Collectives>, JobError> {
    match config.parallel.collectives {
        CollectivesKind::Mpi if device.is_cuda() => {
            return Err(JobError::Usage(
                "parallel.collectives = \"mpi\" exchanges what is in host memory, but this rank computes on a GPU; leave it out, \
                 or set run.device = \"cpu\""
                    .into(),
            ));
        }
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

/// MPI if this process is one of several, a world of one otherwise. It is up until [`leave`] or [`fail`].
pub fn start_collectives() -> Result<Arc<dyn Collectives>, JobError> {
    let collectives: Arc<dyn Collectives> = match mpi::is_launched_by_mpi() {
        true => Arc::new(Mpi::start(START_TIMEOUT)?),
        false => Arc::new(Single::default()),
    };
    let _ = RANK.set(collectives.rank());
    *COLLECTIVES.lock().unwrap_or_else(PoisonError::into_inner) = Some(collectives.clone());
    Ok(collectives)
}

/// Ends MPI in good order, once nobody holds the collectives any more; every rank must get here, or none returns.
pub fn leave() {
    drop(COLLECTIVES.lock().unwrap_or_else(PoisonError::into_inner).take());
}

/// Sets the compute threads of this process; for 0, what `OMP_NUM_THREADS` says, or else an even share of the cores
/// among the ranks of this node.
///
/// Left alone, libtorch would take every core for every rank.
pub fn set_threads(threads_per_rank: u32) {
    if threads_per_rank == 0 && std::env::var_os("OMP_NUM_THREADS").is_some() {
        return;
    }
    let local_ranks = std::env::var("OMPI_COMM_WORLD_LOCAL_SIZE").ok().and_then(|n| n.parse().ok()).unwrap_or(1).max(1);
    // Counts a container's quota of time as well as the cores that this process is bound to.
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
    let share = if is_bound() { cores } else { (cores / local_ranks).max(1) };
    tch::set_num_threads(if threads_per_rank > 0 { threads_per_rank } else { share } as i32);
}

/// Whether mpirun has bound this process to some of the machine's processors, which are then its own.
fn is_bound() -> bool {
    let online = nix::unistd::sysconf(nix::unistd::SysconfVar::_NPROCESSORS_ONLN).ok().flatten().unwrap_or(1);
    let allowed = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0))
        .map_or(0, |set| (0..nix::sched::CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap_or(false)).count());
    allowed > 0 && (allowed as i64) < online
}

impl Start {
    /// Rank 0 reads what to do. Without a launcher it claims the attempt, which it must keep then.
    fn read(origin: &Origin, ranks: u32) -> Result<(Self, Option<Attempt>), JobError> {
        match origin {
            Origin::Launcher => {
                let line: StartLine = read_line(&mut io::stdin().lock(), START_LINE_BYTES_MAX)
                    .map_err(|error| {
                        JobError::Usage(format!("standard input is not a launcher's start line: {error}"))
                    })?
                    .ok_or_else(|| JobError::Usage("standard input ended before the launcher's start line".into()))?;
                if line.version != PROTOCOL_VERSION {
                    return Err(JobError::Usage(format!(
                        "the launcher speaks protocol {}, this worker {PROTOCOL_VERSION}: build both from one source",
                        line.version
                    )));
                }
                let claim = claim_told(&line)?;
                let listens = !line.control_address.is_empty();
                let control = listens.then_some((line.control_address, line.control_token));
                let StartLine { config, accepted_changes, .. } = line;
                Ok((Start { config, claim, accepted_changes, control }, None))
            }
            Origin::Look { path, overrides } => {
                let mut config = RawConfig::load(path, overrides)?.run()?;
                config.make_urls_absolute()?;
                let claim = Claim { number: 0, id: String::new() };
                let start = Start { config: config.to_toml(), claim, accepted_changes: Vec::new(), control: None };
                Ok((start, None))
            }
            Origin::File { path, overrides, accepted_changes } => {
                let mut config = RawConfig::load(path, overrides)?.run()?;
                check_accepted(accepted_changes, &config).map_err(JobError::Usage)?;
                config.make_urls_absolute()?;
                let run = Folder::open(&config.run.output, &config.storage)?;
                start::look(&run, (&config, accepted_changes), None, &Wanted::Newest)?;
                let claim = claim(&run, &config, ranks)?;
                let (config, accepted_changes) = (config.to_toml(), accepted_changes.clone());
                Ok((Start { config, claim: claim.claim(), accepted_changes, control: None }, Some(claim)))
            }
        }
    }

    fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_else(|e| unreachable!("a start is JSON: {e}"))
    }

    fn from_json(bytes: &[u8]) -> Result<Self, JobError> {
        serde_json::from_slice(bytes).map_err(|error| {
            JobError::Usage(format!(
                "rank 0 sent a start that this rank cannot read: {error}; use one binary everywhere"
            ))
        })
    }
}

/// The claim that a launcher tells of. Of one that does not know its id, it is what stands under the number.
fn claim_told(line: &StartLine) -> Result<Claim, JobError> {
    let StartLine { attempt: number, claim_id, .. } = line;
    if !claim_id.is_empty() || *number == 0 {
        return Ok(Claim { number: *number, id: claim_id.clone() });
    }
    let config = RawConfig::parse("from the launcher", &line.config, &[])?.run()?;
    Ok(claim_of(&Folder::open(&config.run.output, &config.storage)?, *number)?)
}

/// Claims the next attempt of `run`, which may take as long as the claim before needs to expire.
fn claim(run: &Folder, config: &RunConfig, ranks: u32) -> Result<Attempt, JobError> {
    let claimant = Claimant { ranks, expiry: Duration::from_secs(config.launch.claim_expiry_s), holds: None };
    let mut is_told = false;
    let claim = acquire(run, &claimant, &mut |waiting| {
        if !std::mem::replace(&mut is_told, true) {
            tracing::info!("{waiting}");
        }
        true
    });
    Ok(claim?.unwrap_or_else(|| unreachable!("it waits as long as it takes")))
}

/// Keeps `claim`, and lets what is heard of the run from elsewhere come about.
fn hold(config: &RunConfig, claim: Attempt, requests: &Requests) -> Result<Holder, JobError> {
    let run = Folder::open(&config.run.output, &config.storage)?;
    let requests = requests.clone();
    let on_news = move |news| match news {
        News::Asked(Request::Save) => requests.ask_for_save(),
        News::Asked(Request::Stop) => requests.ask_for_stop(),
        News::Fenced(error) => fail(&error.to_string(), error.exit_code()),
    };
    let expiry = Duration::from_secs(config.launch.claim_expiry_s);
    Holder::start(&run, claim, expiry, on_news).map_err(JobError::Thread)
}

fn check_collectives(config: &RunConfig, collectives: &dyn Collectives) -> Result<(), JobError> {
    let world = collectives.world_size();
    let is_mpi = mpi::is_launched_by_mpi();
    match config.parallel.collectives {
        CollectivesKind::Single if world.get() > 1 => Err(JobError::Usage(format!(
            "parallel.collectives = \"single\", but there are {world} ranks; use \"auto\""
        ))),
        CollectivesKind::Nccl if world.get() == 1 => Err(JobError::Usage(
            "parallel.collectives = \"nccl\", but there is one rank, which exchanges nothing; use \"auto\"".into(),
        )),
        CollectivesKind::Mpi if !is_mpi => Err(JobError::Usage(
            "parallel.collectives = \"mpi\", but this worker was not started by mpirun; use \"auto\"".into(),
        )),
        _ => Ok(()),
    }
}

/// Says why this rank is about to end every rank, to people and to the launcher; the first time it is called.
pub fn announce_failure(message: &str, code: ExitCode) {
    static ANNOUNCED: AtomicBool = AtomicBool::new(false);
    if ANNOUNCED.swap(true, Ordering::SeqCst) {
        return;
    }
    match RANK.get() {
        Some(rank) => tracing::error!("rank {rank}: {message}"),
        None => tracing::error!("{message}"),
    }
    if let Some(control) = CONTROL.get() {
        control.send(&FromRank::Exit { code, message: message.to_owned() });
    }
}

/// Ends every rank because this one failed: says why, and aborts the world.
///
/// Where ranks have lost each other, others are about to say the same, with what they were doing; they are given a moment.
pub fn fail(message: &str, code: ExitCode) {
    announce_failure(message, code);
    if code == ExitCode::Communication {
        std::thread::sleep(LAST_WORDS);
    }
    mpi::abort_world(i32::from(code.number()));
}

/// Makes every panic of any thread end every rank: as a bug, unless the system refused a thread.
pub fn abort_on_panic() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        print(info);
        let (message, code) = describe_panic(info);
        fail(&message, code);
    }));
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
