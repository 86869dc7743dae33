//! The functions of `libnccl.so.2` that Convoy calls, loaded at run time and declared as in NCCL's header of 2.28.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::path::{Path, PathBuf};
use std::ptr;

use crate::libtorch::cuda;
use crate::shared_library::{SharedLibrary, Symbols};

/// Variable that names the library to load instead of libtorch's or the system's.
pub const LIBRARY_VARIABLE: &str = "CONVOY_NCCL_LIBRARY";

const NAME: &str = "libnccl.so.2";
/// First version with communicators that do not block.
const VERSION_MIN: c_int = 21_400;

/// `ncclSuccess` of `ncclResult_t`; anything but this and [`IN_PROGRESS`] is an error.
pub const SUCCESS: c_int = 0;
/// `ncclInProgress`.
pub const IN_PROGRESS: c_int = 7;

/// `ncclComm_t`, as NCCL hands it out.
pub type RawCommunicator = *mut c_void;

/// `ncclUniqueId`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct UniqueId(pub [u8; 128]);

/// `ncclConfig_t` of NCCL 2.28. Other versions read the fields they know, by its size and version.
#[repr(C)]
pub struct Config {
    size: usize,
    magic: c_uint,
    version: c_uint,
    blocking: c_int,
    cga_cluster_size: c_int,
    min_ctas: c_int,
    max_ctas: c_int,
    net_name: *const c_char,
    split_share: c_int,
    traffic_class: c_int,
    comm_name: *const c_char,
    collnet_enable: c_int,
    cta_policy: c_int,
    shrink_share: c_int,
    nvls_ctas: c_int,
    channels_per_net_peer: c_int,
    nvlink_centric_sched: c_int,
}

const _: () = assert!(size_of::<Config>() == 80, "not the layout of ncclConfig_v22800");

impl Config {
    /// Returns NCCL_CONFIG_INITIALIZER, with calls that never block.
    pub fn non_blocking() -> Self {
        /// NCCL_CONFIG_UNDEF_INT.
        const UNDEFINED: c_int = c_int::MIN;
        Config {
            size: size_of::<Config>(),
            magic: 0xcafe_beef,
            version: 22_809,
            blocking: 0,
            cga_cluster_size: UNDEFINED,
            min_ctas: UNDEFINED,
            max_ctas: UNDEFINED,
            net_name: ptr::null(),
            split_share: UNDEFINED,
            traffic_class: UNDEFINED,
            comm_name: ptr::null(),
            collnet_enable: UNDEFINED,
            cta_policy: UNDEFINED,
            shrink_share: UNDEFINED,
            nvls_ctas: UNDEFINED,
            channels_per_net_peer: UNDEFINED,
            nvlink_centric_sched: UNDEFINED,
        }
    }
}

type OnCommunicator = unsafe extern "C" fn(RawCommunicator) -> c_int;
type Reduce = unsafe extern "C" fn(
    send: *const c_void,
    receive: *mut c_void,
    count: usize,
    data_type: c_int,
    op: c_int,
    RawCommunicator,
    stream: *mut c_void,
) -> c_int;

/// The functions of NCCL, named as there without their prefix.
#[allow(missing_docs, reason = "NCCL's documentation says what they do")]
pub struct Library {
    pub get_unique_id: unsafe extern "C" fn(*mut UniqueId) -> c_int,
    pub comm_init_rank_config:
        unsafe extern "C" fn(*mut RawCommunicator, world: c_int, UniqueId, rank: c_int, *mut Config) -> c_int,
    pub comm_get_async_error: unsafe extern "C" fn(RawCommunicator, *mut c_int) -> c_int,
    pub comm_abort: OnCommunicator,
    pub comm_finalize: OnCommunicator,
    pub comm_destroy: OnCommunicator,
    pub all_reduce: Reduce,
    pub reduce_scatter: Reduce,
    pub all_gather: unsafe extern "C" fn(
        send: *const c_void,
        receive: *mut c_void,
        count: usize,
        data_type: c_int,
        RawCommunicator,
        stream: *mut c_void,
    ) -> c_int,
    pub broadcast: Reduce,
    get_error_string: unsafe extern "C" fn(c_int) -> *const c_char,
    get_last_error: unsafe extern "C" fn(RawCommunicator) -> *const c_char,
    /// Functions of the tests' stand-in, which works on host memory; `None` for NCCL itself.
    pub stand_in: Option<StandIn>,
}

/// Functions that only the tests' stand-in for NCCL has; see its crate in `tests/nccl-stand-in`.
#[derive(Clone, Copy)]
pub struct StandIn {
    /// Returns whether the stand-in takes host tensors of the data type.
    pub carries: unsafe extern "C" fn(data_type: c_int) -> c_int,
    /// Waits until `number` operations are complete, at most `timeout_ms`. Returns whether they are.
    pub wait: unsafe extern "C" fn(RawCommunicator, number: u64, timeout_ms: u32) -> c_int,
}

/// Error that NCCL cannot be loaded.
#[derive(Debug, Clone, thiserror::Error)]
#[error(
    "NCCL cannot be loaded:\n{}\ninstall it beside libtorch (a clone: `CONVOY_CUDA=1 make setup`; a release: docs/install.md), or \
     the system's package libnccl2, or name the file in {LIBRARY_VARIABLE}",
    tried.iter().map(|reason| format!("  {reason}")).collect::<Vec<_>>().join("\n")
)]
pub struct NoNccl {
    /// Places that were tried, each with the reason why it did not work.
    pub tried: Vec<String>,
}

impl Library {
    /// Loads the library that [`LIBRARY_VARIABLE`] names; otherwise libtorch's, or else the system's.
    pub fn load() -> Result<Self, NoNccl> {
        let candidates = match std::env::var_os(LIBRARY_VARIABLE) {
            Some(path) => vec![PathBuf::from(path)],
            None => {
                let beside = cuda::folder().map(|folder| folder.join("../../nvidia/nccl/lib").join(NAME));
                beside.into_iter().chain([PathBuf::from(NAME)]).collect()
            }
        };
        let mut tried = Vec::new();
        for path in candidates {
            match Self::load_from(&path) {
                Ok(library) => return Ok(library),
                Err(reason) => tried.push(reason),
            }
        }
        Err(NoNccl { tried })
    }

    fn load_from(path: &Path) -> Result<Self, String> {
        // libtorch may have loaded another version, of which this one must not call any function.
        let library = SharedLibrary::open(path, Symbols::OwnFirst)?;
        let missing = || format!("{}: not NCCL, or too old: it lacks a function", path.display());
        // SAFETY: the types are those of nccl.h, and of the stand-in's own functions.
        let this = unsafe { Self::with_functions_of(library) }.ok_or_else(missing)?;
        let mut version = 0;
        // SAFETY: the type is that of nccl.h; the version is written.
        unsafe {
            let get_version: unsafe extern "C" fn(*mut c_int) -> c_int =
                library.function(c"ncclGetVersion").ok_or_else(missing)?;
            get_version(&mut version);
        }
        match version >= VERSION_MIN {
            true => Ok(this),
            false => Err(format!("{}: version {version}, expected {VERSION_MIN} or later", path.display())),
        }
    }

    /// # Safety
    /// The symbols of `library` with these names must have these types.
    unsafe fn with_functions_of(library: SharedLibrary) -> Option<Self> {
        // SAFETY: the caller's promise.
        unsafe {
            let carries = library.function(c"convoy_stand_in_carries");
            let wait = library.function(c"convoy_stand_in_wait");
            Some(Library {
                get_unique_id: library.function(c"ncclGetUniqueId")?,
                comm_init_rank_config: library.function(c"ncclCommInitRankConfig")?,
                comm_get_async_error: library.function(c"ncclCommGetAsyncError")?,
                comm_abort: library.function(c"ncclCommAbort")?,
                comm_finalize: library.function(c"ncclCommFinalize")?,
                comm_destroy: library.function(c"ncclCommDestroy")?,
                all_reduce: library.function(c"ncclAllReduce")?,
                reduce_scatter: library.function(c"ncclReduceScatter")?,
                all_gather: library.function(c"ncclAllGather")?,
                broadcast: library.function(c"ncclBroadcast")?,
                get_error_string: library.function(c"ncclGetErrorString")?,
                get_last_error: library.function(c"ncclGetLastError")?,
                stand_in: carries.zip(wait).map(|(carries, wait)| StandIn { carries, wait }),
            })
        }
    }

    /// Describes `result`, and adds NCCL's last message about it.
    pub fn describe(&self, result: c_int) -> String {
        // SAFETY: both functions take any value and return C strings that stay; a null communicator asks for the last
        // error of all.
        let [meaning, last] =
            unsafe { [(self.get_error_string)(result), (self.get_last_error)(ptr::null_mut())] }.map(|text| match text
                .is_null()
            {
                true => String::new(),
                // SAFETY: not null, so it is a C string of NCCL's.
                false => unsafe { CStr::from_ptr(text) }.to_string_lossy().trim().to_owned(),
            });
        if last.is_empty() { meaning } else { format!("{meaning} ({last})") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_nccl_is_named_with_what_was_tried() {
        let nothing = Library::load_from(Path::new("/nowhere/libnccl.so.2")).err().unwrap();
        assert!(nothing.contains("/nowhere/libnccl.so.2"), "{nothing}");
        let c = Library::load_from(Path::new("libc.so.6")).err().unwrap();
        assert!(c.contains("libc.so.6: not NCCL"), "{c}");
        let text = NoNccl { tried: vec![nothing, c] }.to_string();
        for expected in ["  /nowhere/libnccl.so.2: ", "\n  libc.so.6: ", "CONVOY_CUDA=1 make setup", LIBRARY_VARIABLE] {
            assert!(text.contains(expected), "no {expected:?} in {text}");
        }
    }
}
