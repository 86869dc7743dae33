//! Standard errors, by formula.

/// Returns the mean of `values`, and 0 of none. They are summed in their order.
pub fn mean(values: &[f64]) -> f64 {
    if values.is_empty() { 0.0 } else { values.iter().sum::<f64>() / values.len() as f64 }
}

/// Returns the standard error of the mean of `values`, as lm-evaluation-harness computes it: sqrt(sum (x - mean)^2 / (n - 1)) /
/// sqrt(n). There is none of fewer than two.
pub fn of_mean(values: &[f64]) -> Option<f64> {
    if values.len() < 2 {
        return None;
    }
    let mean = mean(values);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let n = values.len() as f64;
    Some((squares / (n - 1.0)).sqrt() / n.sqrt())
}

/// Returns the standard error of a sum of parts that differ in weight, given that the sum per weight is what is measured:
/// sqrt(n / (n - 1) x sum (part - ratio x weight)^2), where ratio = sum of parts / sum of weights. There is none of fewer than
/// two parts.
pub fn of_sum(parts: &[(f64, f64)]) -> Option<f64> {
    let n = parts.len() as f64;
    let (sum, weight) = parts.iter().fold((0.0, 0.0), |(sum, weight), part| (sum + part.0, weight + part.1));
    if parts.len() < 2 || weight <= 0.0 {
        return None;
    }
    let ratio = sum / weight;
    let squares: f64 = parts.iter().map(|(part, weight)| (part - ratio * weight).powi(2)).sum();
    Some((n / (n - 1.0) * squares).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_of_a_mean_equals_the_harness() {
        // mean_stderr([1, 0, 0, 1, 1]) of lm_eval.api.metrics.
        assert!((of_mean(&[1.0, 0.0, 0.0, 1.0, 1.0]).unwrap() - 0.244_948_974_278_317_8).abs() < 1e-15);
        assert_eq!((of_mean(&[1.0]), of_mean(&[])), (None, None));
    }

    #[test]
    fn parts_of_one_weight_have_the_error_of_their_mean() {
        let values = [-3.0, -1.0, -2.5, -7.0];
        let parts = values.map(|value| (value, 8.0));
        let n = values.len() as f64;
        assert!((of_sum(&parts).unwrap() - of_mean(&values).unwrap() * n).abs() < 1e-12);
    }

    #[test]
    fn parts_in_proportion_to_their_weight_have_no_error() {
        assert!(of_sum(&[(-2.0, 1.0), (-4.0, 2.0), (-10.0, 5.0)]).unwrap() < 1e-12);
        assert_eq!(of_sum(&[(-2.0, 1.0)]), None);
    }
}
