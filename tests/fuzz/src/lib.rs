//! The readers that the fuzz targets call, which the tests of `common` and `prepare` call, too: one for each kind of file.

#![allow(clippy::unwrap_used, reason = "a fuzz target fails by panicking")]

#[path = "../../../common/tests/shared/formats.rs"]
pub mod formats;
#[path = "../../../worker/prepare/tests/shared/formats.rs"]
pub mod formats_of_prepare;

/// Lets panics pass that `prepare` turns into a file's damage. Without this, the fuzzer ends at every panic, before it unwinds.
pub fn let_guarded_panics_pass() {
    let end = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !prepare::panics::is_guarded() {
            end(panic);
        }
    }));
}
