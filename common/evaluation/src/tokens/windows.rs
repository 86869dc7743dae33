//! Windows over a text that is longer than a model's context.
//!
//! The first window predicts as many tokens as fit, from end-of-text on. Each further one predicts the next `stride` tokens,
//! from as many tokens before them as fit. So every token is predicted once, and the last window is full, too. With a stride
//! equal to the window, no more context than necessary is read twice. lm-evaluation-harness has the same windows.

/// A window: tokens, of which the last are predicted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Ids, the predicted ones at the end. A model is fed all but the last.
    pub ids: Vec<u16>,
    /// Index of the first predicted id, at least 1.
    pub first_scored: usize,
}

/// Returns the windows over `tokens`: each feeds a model at most `window` tokens, and, except the first, predicts at most
/// `stride` of them. There are none over no tokens.
///
/// # Panics
/// Panics unless 1 <= `stride` <= `window`.
pub fn windows(tokens: &[u16], end_of_text: u16, window: usize, stride: usize) -> Vec<Window> {
    assert!(1 <= stride && stride <= window, "a stride of {stride} with windows of {window} tokens");
    let mut windows = Vec::new();
    let mut predicted = tokens.len().min(window);
    if predicted > 0 {
        let ids = [&[end_of_text][..], &tokens[..predicted]].concat();
        windows.push(Window { ids, first_scored: 1 });
    }
    while predicted < tokens.len() {
        let next = stride.min(tokens.len() - predicted);
        let end = predicted + next;
        // At least `window` tokens lie before the end, and one more is what the first of them follows.
        let ids = tokens[end - window - 1..end].to_vec();
        windows.push(Window { first_scored: ids.len() - next, ids });
        predicted = end;
    }
    windows
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn windows_are_those_of_the_harness() {
        // The example in lm_eval/utils.py: nine tokens, windows of 3, context of 2.
        let tokens: Vec<u16> = (0..9).collect();
        let shown: Vec<(Vec<u16>, usize)> =
            windows(&tokens, 99, 3, 2).into_iter().map(|w| (w.ids, w.first_scored)).collect();
        let expected: [(&[u16], usize); 4] =
            [(&[99, 0, 1, 2], 1), (&[1, 2, 3, 4], 2), (&[3, 4, 5, 6], 2), (&[5, 6, 7, 8], 2)];
        assert_eq!(shown, expected.map(|(ids, first)| (ids.to_vec(), first)));
    }

    #[test]
    fn a_text_of_exactly_one_window_has_one_and_no_text_has_none() {
        assert_eq!(windows(&[1, 2, 3], 0, 3, 3), [Window { ids: vec![0, 1, 2, 3], first_scored: 1 }]);
        assert_eq!(windows(&[], 0, 3, 3), []);
    }

    proptest! {
        #[test]
        fn every_token_is_predicted_once_and_no_window_is_too_long(
            length in 0..200_usize, window in 1..40_usize, part in 0.0..1.0_f64
        ) {
            let stride = 1 + ((window - 1) as f64 * part) as usize;
            let tokens: Vec<u16> = (1..=length as u16).collect();
            let mut predicted = Vec::new();
            for (index, next) in windows(&tokens, 0, window, stride).into_iter().enumerate() {
                prop_assert!(next.ids.len() - 1 <= window && next.first_scored >= 1);
                prop_assert!(index == 0 || next.ids.len() - next.first_scored <= stride);
                prop_assert_eq!(next.ids.contains(&0), index == 0, "end-of-text is in front, once");
                predicted.extend_from_slice(&next.ids[next.first_scored..]);
            }
            prop_assert_eq!(predicted, tokens);
        }
    }
}
