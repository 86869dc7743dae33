//! Whether ranks of one host may copy straight from each other's memory ("CMA"), as Open MPI does with large messages.
//!
//! By way of shared memory, everything is copied twice, by processors that are computing: two ranks of a 124M model take a
//! quarter longer per step. Some containers forbid direct copies, and Open MPI notices too late. A process therefore asks
//! the kernel before it starts MPI, and makes Open MPI use shared memory if the answer is no.

/// Open MPI's parameter, as an environment variable.
const PARAMETER: &str = "OMPI_MCA_btl_vader_single_copy_mechanism";

/// Makes Open MPI copy by way of shared memory if the kernel forbids direct copies, unless the variable is set already. Must
/// be called before other threads exist, and before MPI starts.
#[allow(unsafe_code, reason = "sets the environment, from which MPI takes its parameters")]
pub fn forbid_where_refused() {
    if std::env::var_os(PARAMETER).is_none() && !is_allowed() {
        // SAFETY: no other thread has been started yet that could read the environment.
        unsafe { std::env::set_var(PARAMETER, "none") };
    }
}

/// Returns whether this process may use the system call at all. Open MPI itself checks which processes may read each other.
#[allow(unsafe_code, reason = "only the system call itself tells whether it is permitted")]
fn is_allowed() -> bool {
    #[cfg(target_os = "linux")]
    {
        let (from, mut to) = ([0x5a_u8; 8], [0_u8; 8]);
        let local = libc::iovec { iov_base: to.as_mut_ptr().cast(), iov_len: to.len() };
        let remote = libc::iovec { iov_base: from.as_ptr().cast_mut().cast(), iov_len: from.len() };
        // SAFETY: both ranges are this process's own arrays of these lengths, and only `to` is written.
        let read = unsafe { libc::process_vm_readv(libc::getpid(), &raw const local, 1, &raw const remote, 1, 0) };
        read == from.len() as isize && to == from
    }
    #[cfg(not(target_os = "linux"))]
    false
}
