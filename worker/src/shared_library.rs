//! Shared libraries that are loaded at run time, because not every machine has them.

#![allow(unsafe_code, reason = "a symbol has no type until a caller gives it one")]

use std::ffi::{CStr, CString, c_int, c_void};
use std::path::Path;

/// Visibility of a library's symbols.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Symbols {
    /// Libraries that are loaded later see the symbols.
    Global,
    /// The symbols are found through this handle only.
    Local,
    /// The symbols are found through this handle only, and the library prefers its own symbols to those of others:
    /// the process has two versions of it. It also uses the C library's allocator, even if another one was loaded in
    /// its place.
    OwnFirst,
}

/// A loaded library. It stays loaded until the process ends.
#[derive(Debug, Clone, Copy)]
pub struct SharedLibrary {
    handle: *mut c_void,
}

impl SharedLibrary {
    /// Loads `path`, or the library of that name from the loader's search path; the error is the loader's.
    pub fn open(path: &Path, symbols: Symbols) -> Result<Self, String> {
        let name = CString::new(path.as_os_str().as_encoded_bytes()).map_err(|error| error.to_string())?;
        let scope: c_int = match symbols {
            Symbols::Global => libc::RTLD_GLOBAL,
            Symbols::Local => libc::RTLD_LOCAL,
            #[cfg(target_env = "gnu")]
            Symbols::OwnFirst => libc::RTLD_LOCAL | libc::RTLD_DEEPBIND,
            #[cfg(not(target_env = "gnu"))]
            Symbols::OwnFirst => libc::RTLD_LOCAL,
        };
        // SAFETY: the name is a C string. The library's initialisers run, as those of every library in the process
        // do.
        let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | scope) };
        match handle.is_null() {
            false => Ok(SharedLibrary { handle }),
            // SAFETY: after a failure the loader has a message, a C string that is copied before the next call.
            true => Err(unsafe { CStr::from_ptr(libc::dlerror()) }.to_string_lossy().into_owned()),
        }
    }

    /// Returns the function `name`; `None` if the library has none.
    ///
    /// # Safety
    /// `F` must be the type of a pointer to that function.
    pub unsafe fn function<F: Copy>(self, name: &CStr) -> Option<F> {
        assert_eq!(size_of::<F>(), size_of::<*mut c_void>(), "a function is asked for as another type");
        // SAFETY: the library stays loaded, and the name is a C string.
        let address = unsafe { libc::dlsym(self.handle, name.as_ptr()) };
        // SAFETY: by the caller's promise, the address is one that F can hold.
        (!address.is_null()).then(|| unsafe { std::mem::transmute_copy(&address) })
    }

    /// Returns the function `name`, or an error that names it if the library has none.
    ///
    /// # Safety
    /// As for [`SharedLibrary::function`].
    pub unsafe fn required<F: Copy>(self, name: &CStr) -> Result<F, String> {
        // SAFETY: the caller's promise.
        unsafe { self.function(name) }.ok_or_else(|| format!("it has no {}", name.to_string_lossy()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_found_by_name_and_a_library_that_is_none_is_refused() {
        let c = SharedLibrary::open(Path::new("libc.so.6"), Symbols::Local).unwrap();
        // SAFETY: this is the signature of `abs` in C.
        let abs: extern "C" fn(c_int) -> c_int = unsafe { c.function(c"abs") }.unwrap();
        assert_eq!(abs(-7), 7);
        // SAFETY: there is no such function, so nothing is called.
        assert!(unsafe { c.function::<extern "C" fn()>(c"convoy_has_no_such_function") }.is_none());
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = SharedLibrary::open(file.path(), Symbols::Local).unwrap_err();
        assert!(error.contains("file too short"), "{error}");
    }
}
