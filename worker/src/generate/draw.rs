//! Draws one token from a model's distribution.

use tch::{Device, Kind, Tensor};

use super::error::GenerateError;
use crate::libtorch::random::Random;

/// Settings by which tokens are drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct Draw {
    /// Temperature, which divides the logits; 0 takes the likeliest token.
    pub temperature: f64,
    /// Number of likeliest tokens to draw from; 0 for all.
    pub top_k: u64,
    /// Total probability of the likeliest tokens to draw from; 1 for all.
    pub top_p: f64,
}

impl Draw {
    /// Refuses what no token can be drawn with.
    pub fn check(&self) -> Result<(), GenerateError> {
        let refuse = |flag, value, expected| Err(GenerateError::Flag { flag, value, expected });
        if !(self.temperature.is_finite() && self.temperature >= 0.0) {
            return refuse("--temperature", self.temperature, "at least 0");
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return refuse("--top-p", self.top_p, "above 0 and at most 1");
        }
        Ok(())
    }

    /// Draws one token from `logits [V]`.
    pub fn token(&self, logits: &Tensor, random: &Random) -> i64 {
        if self.temperature == 0.0 {
            return logits.argmax(-1, false).int64_value(&[]);
        }
        let (sorted, ids) = (logits / self.temperature).sort(-1, true);
        let probabilities = sorted.softmax(-1, Kind::Float);
        let likelier = probabilities.cumsum(0, Kind::Float) - &probabilities;
        let rank = Tensor::arange(logits.size()[0], (Kind::Int64, Device::Cpu));
        let mut excluded = likelier.ge(self.top_p);
        if self.top_k > 0 {
            excluded = excluded.logical_or(&rank.ge(self.top_k as i64));
        }
        let drawn = random.index(&probabilities.masked_fill(&excluded, 0.0));
        ids.int64_value(&[drawn])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Draw = Draw { temperature: 1.0, top_k: 0, top_p: 1.0 };

    /// Returns how often each of four tokens is drawn in 4,000 draws.
    fn frequencies(draw: &Draw) -> Vec<f64> {
        let random = Random::seeded(7);
        let logits = Tensor::from_slice(&[0.4f32, 0.3, 0.2, 0.1]).log();
        let mut counts = vec![0.0; 4];
        for _ in 0..4000 {
            counts[draw.token(&logits, &random) as usize] += 1.0 / 4000.0;
        }
        counts
    }

    fn assert_near(got: &[f64], expected: &[f64]) {
        assert!(got.iter().zip(expected).all(|(g, e)| (g - e).abs() < 0.05), "{got:?}, expected {expected:?}");
    }

    #[test]
    fn draws_follow_the_distribution_and_its_cuts() {
        assert_near(&frequencies(&PLAIN), &[0.4, 0.3, 0.2, 0.1]);
        assert_near(&frequencies(&Draw { top_k: 2, ..PLAIN }), &[4.0 / 7.0, 3.0 / 7.0, 0.0, 0.0]);
        assert_near(&frequencies(&Draw { top_p: 0.8, ..PLAIN }), &[4.0 / 9.0, 3.0 / 9.0, 2.0 / 9.0, 0.0]);
        assert_eq!(frequencies(&Draw { temperature: 0.0, ..PLAIN })[0].round(), 1.0);
    }
}
