//! The functions of `libcublasLt` that Convoy calls, declared as in `cublasLt.h` of CUDA 13. libtorch's CUDA
//! libraries include and load it.

use std::ffi::{c_float, c_int, c_void};
use std::path::Path;
use std::ptr;

use crate::shared_library::{SharedLibrary, Symbols};

/// cuBLASLt of the CUDA version that the pinned libtorch is built for.
const NAME: &str = "libcublasLt.so.13";
const SUCCESS: c_int = 0;

/// `CUBLAS_COMPUTE_32F`.
const COMPUTE_FLOAT32: c_int = 68;
/// `cudaDataType_t`.
pub const FLOAT32: c_int = 0;
/// `cudaDataType_t`.
pub const BFLOAT16: c_int = 14;

/// `cublasLtMatmulDescAttributes_t`.
#[derive(Debug, Clone, Copy)]
pub enum Attribute {
    TransposeA = 3,
    TransposeB = 4,
    Epilogue = 7,
    BiasPointer = 8,
    AuxiliaryPointer = 11,
    AuxiliaryLeadingDimension = 12,
}

/// `cublasLtMatmulPreferenceAttributes_t`: the bytes of the workspace, and the alignments of the pointers of A, B, C
/// and D.
const WORKSPACE_BYTES: c_int = 1;
const ALIGNMENTS: [c_int; 4] = [5, 6, 7, 8];

/// `cublasLtMatmulHeuristicResult_t`: one way to compute a product.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Way {
    algorithm: [u64; 8],
    workspace_bytes: usize,
    status: c_int,
    _waves: c_float,
    _reserved: [c_int; 4],
}

const _: () = assert!(size_of::<Way>() == 96, "not the layout of cublasLtMatmulHeuristicResult_t");

/// Description of a product for cuBLASLt: matrices are column-major.
pub struct Description {
    operation: *mut c_void,
    /// Layouts of A, B and D, which is also C.
    layouts: [*mut c_void; 3],
}

// SAFETY: plain descriptions behind a lock, so no thread changes one while another reads it.
unsafe impl Send for Description {}

/// Layout of a matrix in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Layout {
    /// `cudaDataType_t`.
    pub kind: c_int,
    /// Number of rows of the column-major matrix.
    pub rows: u64,
    /// Number of columns.
    pub columns: u64,
    /// Distance from a column to the next, in elements.
    pub leading: i64,
}

/// Addresses of A, B, D and a workspace.
pub struct Pointers {
    pub a: *const c_void,
    pub b: *const c_void,
    pub d: *mut c_void,
    pub workspace: *mut c_void,
}

type Multiply = unsafe extern "C" fn(
    handle: *mut c_void,
    operation: *mut c_void,
    alpha: *const c_void,
    a: *const c_void,
    a_layout: *mut c_void,
    b: *const c_void,
    b_layout: *mut c_void,
    beta: *const c_void,
    c: *const c_void,
    c_layout: *mut c_void,
    d: *mut c_void,
    d_layout: *mut c_void,
    algorithm: *const c_void,
    workspace: *mut c_void,
    workspace_bytes: usize,
    stream: *mut c_void,
) -> c_int;

type Suggest = unsafe extern "C" fn(
    handle: *mut c_void,
    operation: *mut c_void,
    a: *mut c_void,
    b: *mut c_void,
    c: *mut c_void,
    d: *mut c_void,
    preference: *mut c_void,
    asked: c_int,
    ways: *mut Way,
    found: *mut c_int,
) -> c_int;

type Set = unsafe extern "C" fn(object: *mut c_void, attribute: c_int, value: *const c_void, bytes: usize) -> c_int;

/// cuBLASLt, with a handle for the device that the calling thread had set.
pub struct Library {
    handle: *mut c_void,
    preference: *mut c_void,
    create_operation: unsafe extern "C" fn(*mut *mut c_void, compute: c_int, scale: c_int) -> c_int,
    set_operation: Set,
    create_layout: unsafe extern "C" fn(*mut *mut c_void, kind: c_int, rows: u64, columns: u64, leading: i64) -> c_int,
    set_preference: Set,
    suggest: Suggest,
    multiply: Multiply,
}

// SAFETY: cuBLASLt's functions may be called from any thread, and the preference is used behind a lock.
unsafe impl Send for Library {}

impl Library {
    /// Loads the library; the error names what is missing.
    pub fn load() -> Result<Self, String> {
        let library = SharedLibrary::open(Path::new(NAME), Symbols::Local)?;
        // SAFETY: the types are those of the header; each object is written before it is used.
        unsafe {
            let create: unsafe extern "C" fn(*mut *mut c_void) -> c_int = library.required(c"cublasLtCreate")?;
            let create_preference: unsafe extern "C" fn(*mut *mut c_void) -> c_int =
                library.required(c"cublasLtMatmulPreferenceCreate")?;
            let (mut handle, mut preference) = (ptr::null_mut(), ptr::null_mut());
            check(create(&mut handle), "cublasLtCreate")?;
            check(create_preference(&mut preference), "cublasLtMatmulPreferenceCreate")?;
            Ok(Library {
                handle,
                preference,
                create_operation: library.required(c"cublasLtMatmulDescCreate")?,
                set_operation: library.required(c"cublasLtMatmulDescSetAttribute")?,
                create_layout: library.required(c"cublasLtMatrixLayoutCreate")?,
                set_preference: library.required(c"cublasLtMatmulPreferenceSetAttribute")?,
                suggest: library.required(c"cublasLtMatmulAlgoGetHeuristic")?,
                multiply: library.required(c"cublasLtMatmul")?,
            })
        }
    }

    /// Describes a product with sums in float32. The description stays until the process ends.
    pub fn describe(&self, layouts: [Layout; 3]) -> Result<Description, String> {
        let mut operation = ptr::null_mut();
        // SAFETY: the object is written.
        check(unsafe { (self.create_operation)(&mut operation, COMPUTE_FLOAT32, FLOAT32) }, "a product")?;
        let mut made = [ptr::null_mut(); 3];
        for (made, of) in made.iter_mut().zip(layouts) {
            // SAFETY: the object is written.
            check(unsafe { (self.create_layout)(made, of.kind, of.rows, of.columns, of.leading) }, "a layout")?;
        }
        Ok(Description { operation, layouts: made })
    }

    /// Sets `attribute` of the product.
    pub fn set<T: Copy>(&self, description: &Description, attribute: Attribute, value: T) -> Result<(), String> {
        let (at, bytes) = (ptr::from_ref(&value).cast(), size_of::<T>());
        // SAFETY: the value is read during the call.
        let status = unsafe { (self.set_operation)(description.operation, attribute as c_int, at, bytes) };
        check(status, "an attribute")
    }

    /// Returns at most `most` ways to compute the product, beginning with the one that the library considers fastest.
    pub fn ways(
        &self,
        description: &Description,
        workspace_bytes: usize,
        alignment: u32,
        most: usize,
    ) -> Result<Vec<Way>, String> {
        let prefer = |attribute, value: *const c_void, bytes| {
            // SAFETY: the value is read during the call.
            check(unsafe { (self.set_preference)(self.preference, attribute, value, bytes) }, "a preference")
        };
        prefer(WORKSPACE_BYTES, ptr::from_ref(&workspace_bytes).cast(), size_of::<usize>())?;
        for attribute in ALIGNMENTS {
            prefer(attribute, ptr::from_ref(&alignment).cast(), size_of::<u32>())?;
        }
        let none = Way { algorithm: [0; 8], workspace_bytes: 0, status: SUCCESS, _waves: 0.0, _reserved: [0; 4] };
        let (mut ways, mut found) = (vec![none; most], 0);
        let (operation, [a, b, d]) = (description.operation, description.layouts);
        // SAFETY: live objects; at most `most` ways are written, and their number.
        let status = unsafe {
            let (asked, ways) = (most as c_int, ways.as_mut_ptr());
            (self.suggest)(self.handle, operation, a, b, d, d, self.preference, asked, ways, &mut found)
        };
        check(status, "no way to compute it")?;
        ways.truncate(found.unsigned_abs() as usize);
        ways.retain(|way| way.status == SUCCESS);
        Ok(ways)
    }

    /// Sets D to A times B plus `beta` times D, in this way, on `stream`.
    ///
    /// # Safety
    /// The pointers are of matrices as described, and of a workspace as large as the one that the way was asked for
    /// with.
    pub unsafe fn multiply(
        &self,
        description: &Description,
        way: &Way,
        pointers: &Pointers,
        beta: f32,
        stream: *mut c_void,
    ) -> Result<(), String> {
        let (alpha, [a, b, d]) = (1.0_f32, description.layouts);
        // SAFETY: the caller's promise; both factors are read during the call.
        let status = unsafe {
            (self.multiply)(
                self.handle,
                description.operation,
                ptr::from_ref(&alpha).cast(),
                pointers.a,
                a,
                pointers.b,
                b,
                ptr::from_ref(&beta).cast(),
                pointers.d,
                d,
                pointers.d,
                d,
                way.algorithm.as_ptr().cast(),
                pointers.workspace,
                way.workspace_bytes,
                stream,
            )
        };
        check(status, "cublasLtMatmul")
    }
}

fn check(status: c_int, what: &str) -> Result<(), String> {
    if status == SUCCESS { Ok(()) } else { Err(format!("{what}: cuBLASLt's status {status}")) }
}
