//! Learning-rate schedule: linear warm-up, cosine decay to a fraction of the peak (GPT-3, appendix B; llm.c).

use std::f64::consts::PI;

/// Learning-rate schedule of a run. Steps count from 0: the first update uses `at(0)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LrSchedule {
    /// Learning rate at the end of the warm-up.
    pub peak: f64,
    /// Final learning rate as a fraction of the peak.
    pub final_fraction: f64,
    /// Number of steps of the linear warm-up; 0 starts at the peak.
    pub warmup_steps: u64,
    /// Step at which the decay ends, counted from the start of the run.
    pub decay_steps: u64,
}

impl LrSchedule {
    /// Returns the learning rate of the update after `steps_done` completed steps.
    pub fn at(&self, steps_done: u64) -> f64 {
        if steps_done < self.warmup_steps {
            return self.peak * (steps_done + 1) as f64 / self.warmup_steps as f64;
        }
        let floor = self.peak * self.final_fraction;
        if steps_done >= self.decay_steps {
            return floor;
        }
        let progress = (steps_done - self.warmup_steps) as f64 / (self.decay_steps - self.warmup_steps) as f64;
        floor + (self.peak - floor) * 0.5 * (1.0 + (PI * progress).cos())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEDULE: LrSchedule = LrSchedule { peak: 1.0, final_fraction: 0.1, warmup_steps: 4, decay_steps: 14 };

    #[test]
    fn warms_up_linearly_and_decays_to_the_floor() {
        assert_eq!(SCHEDULE.at(0), 0.25);
        assert_eq!(SCHEDULE.at(3), 1.0);
        assert_eq!(SCHEDULE.at(4), 1.0);
        assert!((SCHEDULE.at(9) - 0.55).abs() < 1e-12, "half way between peak and floor");
        assert!((SCHEDULE.at(14) - 0.1).abs() < 1e-12);
        assert!((SCHEDULE.at(1000) - 0.1).abs() < 1e-12);
    }

    #[test]
    fn no_warm_up_starts_at_the_peak() {
        assert_eq!(LrSchedule { warmup_steps: 0, ..SCHEDULE }.at(0), 1.0);
    }
}
