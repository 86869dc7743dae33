//! CUDA's driver, which loads machine code and launches its kernels on the stream that libtorch computes on.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::path::Path;
use std::ptr;

use tch::TchError;

use super::cache;
use super::compiler::Compiler;
use super::error::NoKernels;
use super::launch::{Grid, Launch};
use super::source::Source;
use crate::libtorch::streams::Stream;
use crate::shared_library::{SharedLibrary, Symbols};

/// Library of the driver, which is installed with it and not with CUDA's other libraries.
const NAME: &str = "libcuda.so.1";
/// `CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR` and `_MINOR`.
const CAPABILITY: [c_int; 2] = [75, 76];
/// `CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT`.
const MULTIPROCESSORS: c_int = 16;

type LaunchKernel = unsafe extern "C" fn(
    function: *mut c_void,
    grid_x: c_uint,
    grid_y: c_uint,
    grid_z: c_uint,
    block_x: c_uint,
    block_y: c_uint,
    block_z: c_uint,
    shared_bytes: c_uint,
    stream: *mut c_void,
    arguments: *mut *mut c_void,
    extra: *mut *mut c_void,
) -> c_int;

/// The functions of the driver that Convoy calls.
struct Driver {
    get_device: unsafe extern "C" fn(*mut c_int, number: c_int) -> c_int,
    get_attribute: unsafe extern "C" fn(*mut c_int, attribute: c_int, device: c_int) -> c_int,
    retain_primary_context: unsafe extern "C" fn(*mut *mut c_void, device: c_int) -> c_int,
    set_current_context: unsafe extern "C" fn(*mut c_void) -> c_int,
    load_module: unsafe extern "C" fn(*mut *mut c_void, code: *const c_void) -> c_int,
    get_function: unsafe extern "C" fn(*mut *mut c_void, module: *mut c_void, name: *const c_char) -> c_int,
    launch_kernel: LaunchKernel,
    resident_blocks: unsafe extern "C" fn(*mut c_int, *mut c_void, threads: c_int, shared_bytes: usize) -> c_int,
    get_error_name: unsafe extern "C" fn(c_int, *mut *const c_char) -> c_int,
}

/// Kernels of a loaded module, by name.
type Functions = Vec<(&'static CStr, *mut c_void)>;

/// A GPU with Convoy's kernels loaded.
pub struct Gpu {
    device: usize,
    multiprocessors: u32,
    driver: Driver,
    functions: Functions,
}

// SAFETY: the driver's functions may be called from any thread, and kernels stay loaded until the process ends.
unsafe impl Send for Gpu {}
// SAFETY: as above.
unsafe impl Sync for Gpu {}

impl Gpu {
    /// Loads the kernels of `sources` on GPU number `device`. The sources are compiled as one, in their order, unless
    /// this machine has them compiled already.
    ///
    /// The calling thread must have set the device ([`crate::libtorch::streams::set_device`]).
    pub fn prepare(device: usize, sources: &[Source]) -> Result<Self, NoKernels> {
        let source: String = sources.iter().map(|source| source.text).collect();
        let driver = Driver::load()?;
        driver.enter(device)?;
        let [multiprocessors] = driver.attributes(device, [MULTIPROCESSORS])?;
        let multiprocessors = multiprocessors.unsigned_abs();
        let architecture = driver.architecture(device)?;
        let compiler = Compiler::load()?;
        let key = cache::key(&[&source, &architecture, &compiler.version()]);
        if let Some(code) = cache::look_up(&key)
            && let Ok(functions) = driver.functions(&code, sources)
        {
            return Ok(Gpu { device, multiprocessors, driver, functions });
        }
        let code = compiler.compile(&source, &architecture)?;
        let functions = driver.functions(&code, sources)?;
        cache::keep(&key, &code);
        Ok(Gpu { device, multiprocessors, driver, functions })
    }

    /// Returns the number of the GPU.
    pub fn device(&self) -> usize {
        self.device
    }

    fn function(&self, kernel: &CStr) -> *mut c_void {
        let found = self.functions.iter().find(|(name, _)| *name == kernel);
        found.map_or_else(|| unreachable!("no kernel {kernel:?}"), |(_, function)| *function)
    }
}

impl Launch for Gpu {
    fn resident_blocks(&self, kernel: &CStr, threads: u32) -> Result<u32, TchError> {
        let mut blocks = 0;
        let function = self.function(kernel);
        // SAFETY: a function of a loaded module; one number is written.
        let status = unsafe { (self.driver.resident_blocks)(&mut blocks, function, threads as c_int, 0) };
        let checked = self.driver.check(status, || format!("fit {} in", kernel.to_string_lossy()));
        checked.map_err(|NoKernels(message)| TchError::Torch(message))?;
        Ok(self.multiprocessors * blocks.unsigned_abs().max(1))
    }

    unsafe fn launch(&self, kernel: &CStr, grid: Grid, arguments: &mut [*mut c_void]) -> Result<(), TchError> {
        let stream = Stream::current(self.device)?.native()?;
        let function = self.function(kernel);
        // SAFETY: a function of a loaded module, a stream of libtorch's, and arguments by the caller's promise.
        let status = unsafe {
            let extra = ptr::null_mut();
            let arguments = arguments.as_mut_ptr();
            let Grid { blocks, threads } = grid;
            (self.driver.launch_kernel)(function, blocks, 1, 1, threads, 1, 1, 0, stream, arguments, extra)
        };
        let what = || format!("launch {}", kernel.to_string_lossy());
        self.driver.check(status, what).map_err(|NoKernels(message)| TchError::Torch(message))
    }
}

impl Driver {
    fn load() -> Result<Self, NoKernels> {
        let library = SharedLibrary::open(Path::new(NAME), Symbols::Local);
        // SAFETY: the types are those of cuda.h; a later version of a function has a name of its own.
        let driver = library.and_then(|library| unsafe { Self::with_functions_of(library) });
        driver.map_err(|message| NoKernels(format!("CUDA's driver cannot be loaded: {message}")))
    }

    /// # Safety
    /// The symbols of `library` with these names must have these types.
    unsafe fn with_functions_of(library: SharedLibrary) -> Result<Self, String> {
        // SAFETY: the caller's promise.
        unsafe {
            Ok(Driver {
                get_device: library.required(c"cuDeviceGet")?,
                get_attribute: library.required(c"cuDeviceGetAttribute")?,
                retain_primary_context: library.required(c"cuDevicePrimaryCtxRetain")?,
                set_current_context: library.required(c"cuCtxSetCurrent")?,
                load_module: library.required(c"cuModuleLoadData")?,
                get_function: library.required(c"cuModuleGetFunction")?,
                launch_kernel: library.required(c"cuLaunchKernel")?,
                resident_blocks: library.required(c"cuOccupancyMaxActiveBlocksPerMultiprocessor")?,
                get_error_name: library.required(c"cuGetErrorName")?,
            })
        }
    }

    /// Makes the primary context of GPU number `number`, which libtorch shares, current on the calling thread:
    /// libtorch creates none before it computes.
    fn enter(&self, number: usize) -> Result<(), NoKernels> {
        let (mut device, mut context) = (0, ptr::null_mut());
        // SAFETY: each call writes one value; the context is kept until the process ends, as kernels are.
        unsafe {
            self.check((self.get_device)(&mut device, number as c_int), || format!("find GPU {number}"))?;
            let retained = (self.retain_primary_context)(&mut context, device);
            self.check(retained, || format!("make a context of GPU {number}"))?;
            self.check((self.set_current_context)(context), || format!("enter the context of GPU {number}"))
        }
    }

    /// Returns the values of `attributes` for GPU number `number`.
    fn attributes<const N: usize>(&self, number: usize, attributes: [c_int; N]) -> Result<[c_int; N], NoKernels> {
        let (mut device, mut values) = (0, [0; N]);
        // SAFETY: each call writes one number.
        unsafe {
            self.check((self.get_device)(&mut device, number as c_int), || format!("find GPU {number}"))?;
            for (value, attribute) in values.iter_mut().zip(attributes) {
                let told = (self.get_attribute)(value, attribute, device);
                self.check(told, || format!("tell what GPU {number} can do"))?;
            }
        }
        Ok(values)
    }

    /// Returns the name of machine code for GPU number `number`, for example `sm_90`.
    fn architecture(&self, number: usize) -> Result<String, NoKernels> {
        let [major, minor] = self.attributes(number, CAPABILITY)?;
        Ok(format!("sm_{major}{minor}"))
    }

    /// Loads the compiled module of `sources`, which stays loaded, and returns its kernels.
    fn functions(&self, code: &[u8], sources: &[Source]) -> Result<Functions, NoKernels> {
        let mut module = ptr::null_mut();
        let names = sources.iter().flat_map(|source| source.kernels);
        let mut functions: Functions = names.map(|name| (*name, ptr::null_mut())).collect();
        // SAFETY: the driver checks the code, which contains its length; names are C strings.
        unsafe {
            self.check((self.load_module)(&mut module, code.as_ptr().cast()), || "load the kernels".into())?;
            for (name, function) in &mut functions {
                let found = (self.get_function)(function, module, name.as_ptr());
                self.check(found, || format!("find {}", name.to_string_lossy()))?;
            }
        }
        Ok(functions)
    }

    fn check(&self, status: c_int, what: impl FnOnce() -> String) -> Result<(), NoKernels> {
        if status == 0 {
            return Ok(());
        }
        let mut name = ptr::null();
        // SAFETY: the driver has a constant C string for every error that it knows, and leaves null for others.
        let name = unsafe {
            (self.get_error_name)(status, &mut name);
            if name.is_null() { "an unknown error".into() } else { CStr::from_ptr(name).to_string_lossy() }
        };
        Err(NoKernels(format!("CUDA's driver could not {} ({name}, {status})", what())))
    }
}
