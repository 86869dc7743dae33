//! NVRTC, NVIDIA's compiler as a library, which comes with libtorch's CUDA libraries.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::ptr;

use super::error::NoKernels;
use crate::libtorch::cuda;
use crate::shared_library::{SharedLibrary, Symbols};

/// Variable that names the library to load instead of the one beside libtorch.
const LIBRARY_VARIABLE: &str = "CONVOY_NVRTC_LIBRARY";
/// NVRTC of the CUDA version that the pinned libtorch is built for.
const NAME: &str = "libnvrtc.so.13";

/// `nvrtcProgram`.
type Program = *mut c_void;

type OnProgram = unsafe extern "C" fn(*mut Program) -> c_int;
type Size = unsafe extern "C" fn(Program, *mut usize) -> c_int;
type Content = unsafe extern "C" fn(Program, *mut c_char) -> c_int;

/// The functions of NVRTC that Convoy calls, named as there without their prefix.
pub struct Compiler {
    create_program: unsafe extern "C" fn(
        *mut Program,
        source: *const c_char,
        name: *const c_char,
        headers: c_int,
        *const *const c_char,
        *const *const c_char,
    ) -> c_int,
    compile_program: unsafe extern "C" fn(Program, options: c_int, *const *const c_char) -> c_int,
    destroy_program: OnProgram,
    get_cubin_size: Size,
    get_cubin: Content,
    get_program_log_size: Size,
    get_program_log: Content,
    get_error_string: unsafe extern "C" fn(c_int) -> *const c_char,
    version: (c_int, c_int),
}

impl Compiler {
    /// Loads the library that [`LIBRARY_VARIABLE`] names, or the one that came with libtorch.
    pub fn load() -> Result<Self, NoKernels> {
        let path = match std::env::var_os(LIBRARY_VARIABLE) {
            Some(path) => PathBuf::from(path),
            None => {
                let beside = cuda::folder().map(|folder| folder.join("../../nvidia/cu13/lib").join(NAME));
                beside.filter(|path| path.exists()).unwrap_or_else(|| PathBuf::from(NAME))
            }
        };
        Self::load_from(&path)
    }

    fn load_from(path: &Path) -> Result<Self, NoKernels> {
        load_builtins(path);
        let library = SharedLibrary::open(path, Symbols::Local);
        // SAFETY: the types are those of nvrtc.h.
        let compiler = library.and_then(|library| unsafe { Self::with_functions_of(library) });
        compiler.map_err(|message| NoKernels(format!("NVRTC cannot be loaded: {message}")))
    }

    /// # Safety
    /// The symbols of `library` with these names must have these types.
    unsafe fn with_functions_of(library: SharedLibrary) -> Result<Self, String> {
        // SAFETY: the caller's promise; the version is written.
        unsafe {
            let version: unsafe extern "C" fn(*mut c_int, *mut c_int) -> c_int = library.required(c"nvrtcVersion")?;
            let mut numbers = (0, 0);
            version(&mut numbers.0, &mut numbers.1);
            Ok(Compiler {
                create_program: library.required(c"nvrtcCreateProgram")?,
                compile_program: library.required(c"nvrtcCompileProgram")?,
                destroy_program: library.required(c"nvrtcDestroyProgram")?,
                get_cubin_size: library.required(c"nvrtcGetCUBINSize")?,
                get_cubin: library.required(c"nvrtcGetCUBIN")?,
                get_program_log_size: library.required(c"nvrtcGetProgramLogSize")?,
                get_program_log: library.required(c"nvrtcGetProgramLog")?,
                get_error_string: library.required(c"nvrtcGetErrorString")?,
                version: numbers,
            })
        }
    }

    /// Returns the version, which is part of the key of compiled code.
    pub fn version(&self) -> String {
        format!("{}.{}", self.version.0, self.version.1)
    }

    /// Compiles `source` to machine code for GPUs of `architecture`, for example `sm_90`.
    pub fn compile(&self, source: &str, architecture: &str) -> Result<Vec<u8>, NoKernels> {
        let source = c_string(source)?;
        let options = [format!("--gpu-architecture={architecture}"), "--std=c++17".to_owned()];
        let options = options.iter().map(|option| c_string(option)).collect::<Result<Vec<_>, _>>()?;
        let options: Vec<_> = options.iter().map(|option| option.as_ptr()).collect();
        let mut program = ptr::null_mut();
        // SAFETY: C strings that outlive the calls; a program that is made here and destroyed below.
        unsafe {
            let made = (self.create_program)(
                &mut program,
                source.as_ptr(),
                c"convoy.cu".as_ptr(),
                0,
                ptr::null(),
                ptr::null(),
            );
            self.check(made, "create a program")?;
            let compiled = (self.compile_program)(program, options.len() as c_int, options.as_ptr());
            let code = match compiled {
                0 => self.content(program, self.get_cubin_size, self.get_cubin),
                status => {
                    let log = self.content(program, self.get_program_log_size, self.get_program_log);
                    let log = log.unwrap_or_default();
                    let log = String::from_utf8_lossy(&log).trim_end_matches('\0').to_owned();
                    self.check(status, &format!("compile the kernels for {architecture}:\n{log}")).map(|()| Vec::new())
                }
            };
            (self.destroy_program)(&mut program);
            code
        }
    }

    /// Returns the `content` of `program`, whose length `size` returns.
    ///
    /// # Safety
    /// The program has been made and not destroyed, and the functions belong together.
    unsafe fn content(&self, program: Program, size: Size, content: Content) -> Result<Vec<u8>, NoKernels> {
        let mut bytes = 0;
        // SAFETY: the caller's promise; there is room for all that is written.
        unsafe {
            self.check(size(program, &mut bytes), "tell a size")?;
            let mut text = vec![0_u8; bytes];
            self.check(content(program, text.as_mut_ptr().cast()), "give what it made")?;
            Ok(text)
        }
    }

    fn check(&self, status: c_int, what: &str) -> Result<(), NoKernels> {
        if status == 0 {
            return Ok(());
        }
        // SAFETY: NVRTC has a constant C string for every number.
        let words = unsafe { CStr::from_ptr((self.get_error_string)(status)) }.to_string_lossy();
        Err(NoKernels(format!("NVRTC could not {what} ({words})")))
    }
}

/// Loads the library of NVRTC's built-ins, which NVRTC looks for by its bare name and not in its own folder. Once
/// loaded, NVRTC finds it.
fn load_builtins(nvrtc: &Path) {
    let folder = nvrtc.parent().filter(|folder| !folder.as_os_str().is_empty());
    let entries = folder.and_then(|folder| folder.read_dir().ok());
    for entry in entries.into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with("libnvrtc-builtins.so.")
            && let Err(error) = SharedLibrary::open(&entry.path(), Symbols::Local)
        {
            tracing::debug!("{error}");
        }
    }
}

fn c_string(text: &str) -> Result<CString, NoKernels> {
    CString::new(text).map_err(|error| NoKernels(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::SOURCES;

    #[test]
    fn what_is_no_library_says_so() {
        let Err(error) = Compiler::load_from(Path::new("/nowhere/libnvrtc.so.13")) else { panic!("it was loaded") };
        assert!(error.to_string().starts_with("NVRTC cannot be loaded: /nowhere/libnvrtc.so.13"), "{error}");
    }

    /// Returns libtorch's NVRTC, or else the one that set-up installs for this test.
    fn compiler() -> Result<Compiler, NoKernels> {
        let of_libtorch = Compiler::load();
        let set = |name: &str| std::env::var_os(name).map(PathBuf::from);
        let home_cache = || Some(set("HOME")?.join(".cache"));
        let cache = set("CONVOY_CACHE").or_else(|| Some(set("XDG_CACHE_HOME").or_else(home_cache)?.join("convoy")));
        let pythons = cache.and_then(|cache| cache.join("servers/python/lib").read_dir().ok());
        let in_python = |python: PathBuf| python.join("site-packages/nvidia/cu13/lib").join(NAME);
        let mut brought = pythons.into_iter().flatten().flatten().map(|python| in_python(python.path()));
        match brought.find(|path| path.exists()) {
            Some(path) if of_libtorch.is_err() => Compiler::load_from(&path),
            _ => of_libtorch,
        }
    }

    /// Even without a GPU, the sources are shown to be valid CUDA for several generations of GPUs.
    #[test]
    fn the_sources_compile_and_a_fault_is_told_with_its_line() {
        let compiler = match compiler() {
            Ok(compiler) => compiler,
            Err(why) => return println!("skipped: {why}; scripts/setup installs it"),
        };
        let source: String = SOURCES.iter().map(|source| source.text).collect();
        for architecture in ["sm_75", "sm_80", "sm_89", "sm_90", "sm_100"] {
            let code = compiler.compile(&source, architecture).unwrap();
            assert!(code.starts_with(b"\x7fELF"), "no machine code for {architecture}");
            for kernel in SOURCES.iter().flat_map(|source| source.kernels) {
                let name = kernel.to_bytes();
                assert!(code.windows(name.len()).any(|part| part == name), "{architecture} lacks {kernel:?}");
            }
        }
        let error = compiler.compile("__global__ void f() { g(); }", "sm_90").unwrap_err().to_string();
        assert!(error.contains("convoy.cu(1): error: identifier \"g\" is undefined"), "{error}");
    }
}
