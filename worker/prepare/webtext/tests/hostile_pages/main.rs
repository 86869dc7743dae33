//! Pages and documents that are too large for `make test`: bounded in processor time and memory, all counted, nothing lost.
//!
//! CONVOY_TEST_HOSTILE=1 runs them, as `make soak` does. They are run one after another, since the most memory is the process's.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking")]

mod children;
mod cost;
mod documents;
mod objects;

#[test]
fn pages_and_documents_beyond_all_limits_cost_what_is_bounded() {
    if std::env::var_os("CONVOY_TEST_HOSTILE").is_none() {
        println!("skipped: CONVOY_TEST_HOSTILE is not set; hostile pages of up to 1 GB take minutes (`make soak`)");
        return;
    }
    objects::check();
    documents::check();
    children::check();
}
