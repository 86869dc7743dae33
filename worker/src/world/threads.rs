//! Compute threads of a rank: its share of the cores of its host.

/// Sets the number of compute threads of this process. For 0, this is `OMP_NUM_THREADS`, or else an even share of the
/// cores among the ranks of this node.
///
/// By default, libtorch would take every core for every rank.
pub fn set_threads(threads_per_rank: u32) {
    if threads_per_rank == 0 && std::env::var_os("OMP_NUM_THREADS").is_some() {
        return;
    }
    let local_ranks = std::env::var("OMPI_COMM_WORLD_LOCAL_SIZE").ok().and_then(|n| n.parse().ok()).unwrap_or(1).max(1);
    // The number respects a container's quota of time and the cores that this process is bound to.
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
    let share = if is_bound() { cores } else { (cores / local_ranks).max(1) };
    tch::set_num_threads(if threads_per_rank > 0 { threads_per_rank } else { share } as i32);
}

/// Returns whether mpirun has bound this process to some of the machine's processors, which then belong to it alone.
fn is_bound() -> bool {
    let online = nix::unistd::sysconf(nix::unistd::SysconfVar::_NPROCESSORS_ONLN).ok().flatten().unwrap_or(1);
    let allowed = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0))
        .map_or(0, |set| (0..nix::sched::CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap_or(false)).count());
    allowed > 0 && (allowed as i64) < online
}
