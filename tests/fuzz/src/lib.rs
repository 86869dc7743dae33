//! The readers that the fuzz targets call, which the tests of `common` call, too: one for each kind of file.

#![allow(clippy::unwrap_used, reason = "a fuzz target fails by panicking")]

#[path = "../../../common/tests/shared/formats.rs"]
pub mod formats;
