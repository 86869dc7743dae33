//! What is computed from scores: measures, their values over items, and standard errors.

mod judged;
mod measure;
mod results;
mod samples;
mod standard_error;

pub use judged::Judged;
pub use measure::{Direction, Measure};
pub use results::{Metric, Results, results};
pub use samples::{Sample, SampleRequest, samples};
pub use standard_error::{mean, of_mean, of_sum};
