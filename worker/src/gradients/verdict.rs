//! Judges the norm of a step's gradients: clipping, and whether the update is made at all.
//!
//! Everything stays on the device of the gradients: the host learns of it a step later.

use common::config::OptimizerConfig;
use tch::{Kind, Tensor};

/// Window of recent norms for outlier detection, as long as llm.c's.
const WINDOW: i64 = 128;

/// Result of judging the norm of a step's gradients. All ranks have an identical one.
#[derive(Debug)]
pub struct Verdict {
    /// Norm of all gradients before clipping: a float64 scalar.
    pub norm: Tensor,
    /// Divisor of the gradients: 1, or norm / clip_norm if that is more. A float32 scalar.
    pub grad_scale: Tensor,
    /// 1 if the update must be skipped, because the norm is not finite or is an outlier; otherwise 0. A float32
    /// scalar.
    pub skip: Tensor,
}

/// Norms of recent steps, which a new norm is compared with to find outliers.
#[derive(Debug)]
pub struct NormHistory {
    /// [`WINDOW`] float64 values, of which each step overwrites one.
    window: Tensor,
    /// Number of norms seen so far.
    seen: i64,
    clip_norm: f64,
    skip_z_score: f64,
}

impl NormHistory {
    /// Creates an empty history on the device of `like`.
    pub fn new(config: &OptimizerConfig, like: &Tensor) -> Self {
        let window = Tensor::zeros([WINDOW], (Kind::Double, like.device()));
        NormHistory { window, seen: 0, clip_norm: config.clip_norm, skip_z_score: config.skip_z_score }
    }

    /// Judges the gradients whose squares sum to `sum_of_squares`, a float64 scalar that all ranks agree on.
    pub fn judge(&mut self, sum_of_squares: &Tensor) -> Verdict {
        let norm = sum_of_squares.sqrt();
        let grad_scale = match self.clip_norm {
            0.0 => norm.ones_like(),
            // The small constant is that of PyTorch's clip_grad_norm_.
            clip => ((&norm + 1e-6) / clip).clamp_min(1.0),
        };
        let is_finite = norm.isfinite();
        let mut skip = is_finite.logical_not();
        if self.skip_z_score > 0.0 {
            let mean = self.window.mean(Kind::Double);
            if self.seen >= WINDOW {
                let z_score = (&norm - &mean) / self.window.std(false);
                skip = skip.logical_or(&z_score.gt(self.skip_z_score));
            }
            // A norm that is not finite would poison the window.
            let kept = norm.where_self(&is_finite, &mean);
            self.window.select(0, self.seen % WINDOW).copy_(&kept);
            self.seen += 1;
        }
        Verdict { norm, grad_scale: grad_scale.to_kind(Kind::Float), skip: skip.to_kind(Kind::Float) }
    }

    /// Returns the norms of recent steps, oldest first, for a checkpoint; empty if outliers are not skipped.
    pub fn to_host(&self) -> Vec<f64> {
        let mut norms = Vec::<f64>::try_from(&self.window).unwrap_or_default();
        norms.rotate_left(if self.seen < WINDOW { 0 } else { (self.seen % WINDOW) as usize });
        norms.truncate(self.seen.min(WINDOW) as usize);
        norms
    }

    /// Restores the history from the result of [`to_host`](Self::to_host).
    pub fn restore(&mut self, norms: &[f64]) {
        let kept = &norms[norms.len().saturating_sub(WINDOW as usize)..];
        self.window.narrow(0, 0, kept.len() as i64).copy_(&Tensor::from_slice(kept));
        self.seen = kept.len() as i64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(clip_norm: f64, skip_z_score: f64) -> NormHistory {
        let window = Tensor::zeros([WINDOW], (Kind::Double, tch::Device::Cpu));
        NormHistory { window, seen: 0, clip_norm, skip_z_score }
    }

    fn judge(history: &mut NormHistory, norm: f64) -> (f64, f64, bool) {
        let verdict = history.judge(&Tensor::from(norm * norm));
        let [norm, scale, skip] = [verdict.norm, verdict.grad_scale, verdict.skip].map(|t| t.double_value(&[]));
        (norm, scale, skip == 1.0)
    }

    #[test]
    fn clipping_divides_by_the_excess_and_what_is_not_finite_is_skipped() {
        let (norm, scale, skip) = judge(&mut history(1.0, 0.0), 5.0);
        assert!(norm == 5.0 && (scale - 5.0).abs() < 1e-5 && !skip);
        assert_eq!(judge(&mut history(10.0, 0.0), 5.0), (5.0, 1.0, false));
        assert_eq!(judge(&mut history(0.0, 0.0), 5.0), (5.0, 1.0, false));
        assert!(judge(&mut history(1.0, 0.0), f64::NAN).2);
        assert!(judge(&mut history(1.0, 0.0), f64::INFINITY).2);
    }

    /// Returns norms around 1 with a deviation of about 0.1.
    fn usual(step: i64) -> f64 {
        1.0 + 0.14 * (step as f64 * 0.7).sin()
    }

    #[test]
    fn an_outlier_is_skipped_once_there_are_enough_norms() {
        let mut history = history(0.0, 3.0);
        for step in 0..WINDOW {
            assert!(!judge(&mut history, usual(step)).2, "step {step}");
        }
        assert!(!judge(&mut history, 1.2).2);
        assert!(judge(&mut history, 2.0).2);
        assert!(judge(&mut history, f64::NAN).2);
        assert!(!judge(&mut history, 1.0).2, "a NaN must not stay in the window");
    }

    #[test]
    fn a_history_goes_on_after_a_restart() {
        for steps in [3, WINDOW - 1, WINDOW, WINDOW + 40] {
            let mut first = history(0.0, 2.0);
            (0..steps).for_each(|step| _ = judge(&mut first, usual(step)));
            let mut second = history(0.0, 2.0);
            second.restore(&first.to_host());
            for step in steps..steps + 2 * WINDOW {
                let norm = if step % 50 == 0 { 1.6 } else { usual(step) };
                assert_eq!(judge(&mut first, norm), judge(&mut second, norm), "{steps} steps, then {step}");
            }
        }
    }
}
