//! Whether ranks of one host may copy straight from each other's memory ("CMA"), which Open MPI does with large messages.
//!
//! Copied by way of shared memory, everything is copied twice, by processors that are computing: two ranks of a 124M take a quarter
//! longer for a step. Some containers forbid it, and Open MPI finds out too late. So a process asks the kernel before it starts
//! MPI, and has Open MPI do without where the answer is no.

/// Open MPI's parameter, as it is set in the environment.
const PARAMETER: &str = "OMPI_MCA_btl_vader_single_copy_mechanism";

/// Has Open MPI copy by way of shared memory where the kernel forbids the other, unless somebody has chosen already. To be called
/// before there is another thread, and before MPI.
#[allow(unsafe_code, reason = "sets the environment, from which MPI takes its parameters")]
pub fn forbid_where_refused() {
    if std::env::var_os(PARAMETER).is_none() && !is_allowed() {
        // SAFETY: no other thread has been started yet that could read the environment.
        unsafe { std::env::set_var(PARAMETER, "none") };
    }
}

/// Whether this process may use the system call at all; which process may read which, Open MPI looks at by itself.
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
