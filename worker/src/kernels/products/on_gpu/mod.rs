//! Matrix products of bfloat16 on a GPU, by cuBLASLt, which libtorch also uses. cuBLASLt has several kernels for a
//! product, and its own choice is often not the fastest. In a run's first steps the kernels take turns ([`trial`]),
//! and the fastest stays. cuBLASLt also applies GELU, or its derivative, to values still in registers.
//!
//! - [`shape`]: the properties that a plan depends on.
//! - [`then`]: operations on a product before it is stored.
//! - [`trial`]: finds the fastest way.
//! - [`library`]: cuBLASLt's functions.

mod library;
mod shape;
mod then;
mod trial;

use std::collections::HashMap;
use std::ffi::{c_int, c_void};
use std::sync::{Mutex, Once, OnceLock, PoisonError};

use tch::{Device, Kind, TchError, Tensor};

use crate::libtorch::{self, streams::Stream};
use library::{Attribute, Description, Library, Pointers, Way};
use shape::Shape;
pub use then::Then;
use then::{BESIDE, ROW};
use trial::Trial;

/// Size of the workspace, as cuBLAS itself has on Hopper.
const WORKSPACE_BYTES: usize = 32 << 20;
/// Number of ways that are asked for; there are hardly ever more.
const WAYS_MAX: usize = 8;

/// Ways to compute products of one shape, and the trial that chooses among them.
struct Plan {
    description: Description,
    ways: Vec<Way>,
    trial: Trial,
}

/// cuBLASLt on one GPU.
struct Products {
    device: usize,
    /// Workspace that all products share, since products of one stream run one after the other.
    workspace: Tensor,
    state: Mutex<(Library, HashMap<Shape, Option<Plan>>)>,
}

static PRODUCTS: OnceLock<Products> = OnceLock::new();

/// Prepares products on GPU number `device`, which the calling thread must have set; the error says why that is not
/// possible.
pub fn prepare(device: usize) -> Result<(), String> {
    if PRODUCTS.get().is_none() {
        let library = Library::load()?;
        let place = (Kind::Uint8, Device::Cuda(device));
        let workspace = Tensor::f_empty([WORKSPACE_BYTES as i64], place).map_err(|error| error.to_string())?;
        // If two threads do this at once, the first one's result stays.
        let _ = PRODUCTS.set(Products { device, workspace, state: Mutex::new((library, HashMap::new())) });
    }
    Ok(())
}

// SAFETY: the tensor is memory for cuBLASLt, and its handle never changes.
unsafe impl Sync for Products {}

/// Sets `out [M, N]` to `a [M, K]` times `b [K, N]`, added to its present values if `accumulate`, and applies `then`.
/// Operands are bfloat16, and `out` is bfloat16 or float32. Returns false, and does nothing, if cuBLASLt is not
/// available or does not support this.
pub fn multiply(out: &Tensor, a: &Tensor, b: &Tensor, accumulate: bool, then: Then) -> bool {
    let Some(products) = PRODUCTS.get().filter(|products| out.device() == Device::Cuda(products.device)) else {
        return false;
    };
    let Some(shape) = Shape::of(out, a, b, accumulate, then) else { return false };
    match products.run(shape, out, a, b, then) {
        Ok(is_done) => is_done,
        Err(Failure(message)) => {
            left_to_libtorch(&message);
            false
        }
    }
}

/// Logs that a product is left to libtorch, the first time as a warning.
fn left_to_libtorch(message: &str) {
    static SAID: Once = Once::new();
    tracing::debug!("a product is left to libtorch: {message}");
    SAID.call_once(|| tracing::warn!("some matrix products are left to libtorch, which takes longer: {message}"));
}

/// Reason why cuBLASLt did not multiply.
struct Failure(String);

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Failure(message)
    }
}

impl From<TchError> for Failure {
    fn from(error: TchError) -> Self {
        Failure(error.to_string())
    }
}

impl Products {
    fn run(&self, shape: Shape, out: &Tensor, a: &Tensor, b: &Tensor, then: Then) -> Result<bool, Failure> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (library, plans) = &mut *state;
        let plan = plans.entry(shape).or_insert_with(|| match Plan::make(library, &shape) {
            Ok(plan) => Some(plan),
            Err(message) => {
                left_to_libtorch(&message);
                None
            }
        });
        let Some(Plan { description, ways, trial }) = plan else { return Ok(false) };
        if let Some(row) = then.row() {
            library.set(description, Attribute::BiasPointer, row.data_ptr())?;
        }
        if let Some(beside) = then.beside() {
            library.set(description, Attribute::AuxiliaryPointer, beside.data_ptr())?;
        }
        let stream = Stream::current(self.device)?;
        let native = stream.native()?;
        let workspace = self.workspace.data_ptr();
        let pointers = Pointers { a: b.data_ptr(), b: a.data_ptr(), d: out.data_ptr(), workspace };
        let beta = if shape.accumulate { 1.0 } else { 0.0 };
        let multiply = |way: usize| {
            // SAFETY: tensors of the described shape, which libtorch keeps alive until the stream has passed; the
            // workspace has the size that was stated.
            let done = unsafe { library.multiply(description, &ways[way], &pointers, beta, native) };
            done.map_err(Failure)
        };
        trial.run(&stream, multiply).map(|()| true)
    }
}

impl Plan {
    fn make(library: &Library, shape: &Shape) -> Result<Self, String> {
        let description = library.describe(shape.layouts)?;
        let [a, b] = shape.is_transposed.map(c_int::from);
        library.set(&description, Attribute::TransposeA, a)?;
        library.set(&description, Attribute::TransposeB, b)?;
        library.set(&description, Attribute::Epilogue, shape.epilogue)?;
        // The pointers come with each call; here only their alignment counts. A pointer that is not used must not be
        // set.
        let somewhere = shape.alignment as *const c_void;
        if shape.epilogue & ROW != 0 {
            library.set(&description, Attribute::BiasPointer, somewhere)?;
        }
        if shape.epilogue & BESIDE != 0 {
            library.set(&description, Attribute::AuxiliaryPointer, somewhere)?;
            library.set(&description, Attribute::AuxiliaryLeadingDimension, shape.layouts[2].leading)?;
        }
        let ways = library.ways(&description, WORKSPACE_BYTES, shape.alignment as u32, WAYS_MAX)?;
        if ways.is_empty() {
            return Err("cuBLASLt has no way to compute it".into());
        }
        let trial = Trial::new(ways.len(), libtorch::is_deterministic());
        Ok(Plan { description, ways, trial })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::gelu::{gelu_backward_twin, gelu_twin};
    use crate::kernels::places::{assert_close, gpu};
    use crate::libtorch::random::Random;

    /// Rows, inner length, columns.
    const SHAPES: [(i64, i64, i64); 4] = [(8, 16, 8), (64, 64, 192), (136, 1600, 4800), (1024, 776, 3072)];
    /// Number of calls that gives every way its turns, and the fastest some more.
    const CALLS: usize = 40;

    fn draw(random: &Random, size: [i64; 2], is_transposed: bool, device: Device) -> Tensor {
        let draw = |size: [i64; 2]| (random.normal(&size, (Kind::Float, device)) * 0.3).to_kind(Kind::BFloat16);
        if is_transposed { draw([size[1], size[0]]).tr() } else { draw(size) }
    }

    #[test]
    fn all_ways_make_the_product() {
        let Some(device) = gpu() else { return };
        let random = Random::seeded(7);
        for ((m, k, n), turned) in SHAPES.into_iter().flat_map(|shape| [0, 1, 2, 3].map(|turned| (shape, turned))) {
            let (a, b) = (draw(&random, [m, k], turned & 1 > 0, device), draw(&random, [k, n], turned & 2 > 0, device));
            let (row, x) = (draw(&random, [1, n], false, device).view([n]), draw(&random, [m, n], false, device));
            let [wide_a, wide_b, wide_row] = [&a, &b, &row].map(|t| t.to_kind(Kind::Double));
            let plain = wide_a.mm(&wide_b);
            let with_row = &plain + &wide_row;
            for kind in [Kind::BFloat16, Kind::Float] {
                let error = if kind == Kind::Float { 1e-4 } else { 8e-3 };
                let present = draw(&random, [m, n], false, device).to_kind(kind);
                let sum = &plain + present.to_kind(Kind::Double);
                for _ in 0..CALLS {
                    let out = present.copy();
                    assert!(multiply(&out, &a, &b, true, Then::Store), "{m} {k} {n} {turned} {kind:?}");
                    assert_close(&out, &sum, error);
                    assert!(multiply(&out, &a, &b, false, Then::Store), "{m} {k} {n} {turned} {kind:?}");
                    assert_close(&out, &plain, error);
                }
            }
            let [out, before] = [(); 2].map(|()| Tensor::empty([m, n], (Kind::BFloat16, device)));
            for _ in 0..CALLS {
                assert!(multiply(&out, &a, &b, false, Then::AddRow(&row)));
                assert_close(&out, &with_row, 8e-3);
                assert!(multiply(&out, &a, &b, false, Then::AddRowAndGelu { row: &row, before: &before }));
                assert_close(&before, &with_row, 8e-3);
                assert_close(&out, &gelu_twin(&with_row), 8e-3);
                assert!(multiply(&out, &a, &b, false, Then::TimesGeluDerivative(&x)));
                let twin = gelu_backward_twin(&x.to_kind(Kind::Double), &plain).unwrap().rows;
                assert_close(&out, &twin, 8e-3);
            }
        }
    }

    #[test]
    fn what_lies_in_something_larger_is_multiplied() {
        let Some(device) = gpu() else { return };
        let random = Random::seeded(8);
        // Aligned to 16 bytes and no more, as a parameter may be in a flat range.
        let part = |rows: i64, columns: i64| {
            let whole = draw(&random, [1, 8 + rows * columns], false, device).view([-1]);
            whole.narrow(0, 8, rows * columns).view([rows, columns])
        };
        let (a, b, row, x) = (part(128, 776), part(776, 3072), part(1, 3072).view([3072]), part(128, 3072));
        let plain = a.to_kind(Kind::Double).mm(&b.to_kind(Kind::Double));
        let (out, before) = (part(128, 3072), part(128, 3072));
        for _ in 0..CALLS {
            assert!(multiply(&out, &a, &b, false, Then::AddRowAndGelu { row: &row, before: &before }));
            assert_close(&before, &(&plain + row.to_kind(Kind::Double)), 8e-3);
            assert!(multiply(&out, &a, &b, false, Then::TimesGeluDerivative(&x)));
            let twin = gelu_backward_twin(&x.to_kind(Kind::Double), &plain).unwrap().rows;
            assert_close(&out, &twin, 8e-3);
        }
    }

    #[test]
    fn what_does_not_suit_is_left_alone() {
        let Some(device) = gpu() else { return };
        let [a, b] = [(); 2].map(|()| Tensor::ones([16, 16], (Kind::BFloat16, device)));
        let is_done = |out: &Tensor, a: &Tensor, b: &Tensor| multiply(out, a, b, false, Then::Store);
        assert!(is_done(&a.empty_like(), &a, &b));
        for (out, a, b) in [
            (a.empty_like(), a.to_kind(Kind::Float), b.shallow_clone()),
            (a.empty_like().to_kind(Kind::Double), a.shallow_clone(), b.shallow_clone()),
            (a.empty_like().tr(), a.shallow_clone(), b.shallow_clone()),
            (Tensor::zeros([16, 3], (Kind::BFloat16, device)), a.shallow_clone(), b.narrow(1, 0, 3)),
            (a.empty_like(), a.shallow_clone(), b.narrow(0, 0, 8)),
        ] {
            assert!(!is_done(&out, &a, &b), "{out:?} {a:?} {b:?}");
        }
        let (wide, row) = (a.empty_like().to_kind(Kind::Float), a.get(0));
        assert!(!multiply(&wide, &a, &b, false, Then::AddRow(&row)), "a row is of the result's kind");
        assert!(!multiply(&a.empty_like(), &a, &b, false, Then::AddRow(&row.to_device(Device::Cpu))));
    }
}
