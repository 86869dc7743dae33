//! What is computed from scores: measures, their values over items, and standard errors.

mod judged;
mod measure;
mod results;
mod standard_error;

pub use judged::Judged;
pub use measure::{Direction, Measure};
pub use results::{Metric, Results, Sample, SampleRequest, results, samples};
pub use standard_error::{mean, of_mean, of_sum};
