//! Figures that others have published, to compare a result with.

use crate::metrics::Measure;

/// A published figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Published {
    /// Name of the task.
    pub task: &'static str,
    /// The measure. What windows a text was cut into is not published.
    pub measure: Measure,
    /// Size of OpenAI's GPT-2, in millions of parameters: 124, 355, 774 or 1558. The paper calls them 117, 345, 762 and 1542.
    pub parameters_millions: u32,
    /// The figure; shares are from 0 to 1.
    pub value: f64,
    /// Where it is published.
    pub source: &'static str,
}

/// Sizes of OpenAI's GPT-2, in millions of parameters.
pub const SIZES: [u32; 4] = [124, 355, 774, 1558];

const TABLE_3: &str = "Radford and others, Language Models are Unsupervised Multitask Learners (2019), table 3";
const SECTION_3: &str = "Radford and others, Language Models are Unsupervised Multitask Learners (2019), section 3";
const LLMC: &str = "karpathy/llm.c, dev/data/hellaswag.py";
const LLMC_LOG: &str = "karpathy/llm.c, dev/vislog.ipynb";

/// A row of table 3: a task, a measure, and its figure for each size.
type Row = (&'static str, Measure, [f64; 4]);

const ROWS: [Row; 9] = [
    ("lambada_openai_last_token", Measure::LastTokenPerplexity, [35.13, 15.60, 10.87, 8.63]),
    ("cbt_cn", Measure::Accuracy, [0.8765, 0.9235, 0.9345, 0.9330]),
    ("cbt_ne", Measure::Accuracy, [0.834, 0.871, 0.880, 0.8905]),
    ("wikitext2", Measure::WordPerplexity, [29.41, 22.76, 19.93, 18.34]),
    ("ptb", Measure::WordPerplexity, [65.85, 47.33, 40.31, 35.76]),
    ("enwik8", Measure::BitsPerByte, [1.16, 1.01, 0.97, 0.93]),
    ("text8", Measure::BitsPerCharacter, [1.17, 1.06, 1.02, 0.98]),
    ("wikitext103", Measure::WordPerplexity, [37.50, 26.37, 22.05, 17.48]),
    ("1bw", Measure::WordPerplexity, [75.20, 55.72, 44.575, 42.16]),
];

/// Figures that stand alone.
const OTHERS: [Published; 16] = [
    // The paper says only of the largest model that stop words are barred, and what its accuracy is without.
    one("lambada_openai_last_token", Measure::Accuracy, 124, 0.4599, TABLE_3),
    one("lambada_openai_last_token", Measure::Accuracy, 355, 0.5548, TABLE_3),
    one("lambada_openai_last_token", Measure::Accuracy, 774, 0.6012, TABLE_3),
    one("lambada_openai_last_token", Measure::Accuracy, 1558, 0.5266, SECTION_3),
    one("lambada_openai_last_token", Measure::AccuracyStopWordsBarred, 1558, 0.6324, TABLE_3),
    // The paper does not say by which of its two scorings.
    one("wsc273_partial", Measure::Accuracy, 1558, 0.7070, SECTION_3),
    one("hellaswag_mean_token", Measure::Accuracy, 124, 0.2859, LLMC),
    one("hellaswag_mean_token", Measure::Accuracy, 1558, 0.3842, LLMC),
    one("hellaswag_mean_token", Measure::AccuracyPerToken, 124, 0.2955, LLMC),
    one("hellaswag_mean_token", Measure::AccuracyPerToken, 355, 0.375_224, LLMC_LOG),
    one("hellaswag_mean_token", Measure::AccuracyPerToken, 774, 0.431_986, LLMC_LOG),
    one("hellaswag_mean_token", Measure::AccuracyPerToken, 1558, 0.4893, LLMC),
    one("hellaswag_harness", Measure::AccuracyPerCharacter, 124, 0.3114, LLMC),
    one("hellaswag_harness", Measure::AccuracyPerCharacter, 1558, 0.5089, LLMC),
    one("hellaswag_harness", Measure::Accuracy, 124, 0.2892, LLMC),
    one("hellaswag_harness", Measure::Accuracy, 1558, 0.4004, LLMC),
];

const fn one(
    task: &'static str,
    measure: Measure,
    parameters_millions: u32,
    value: f64,
    source: &'static str,
) -> Published {
    Published { task, measure, parameters_millions, value, source }
}

/// Returns the published figures of a task's measure, by size.
pub fn published(task: &str, measure: Measure) -> Vec<Published> {
    let of_table = ROWS
        .iter()
        .filter(|row| row.0 == task && row.1 == measure)
        .flat_map(|row| SIZES.into_iter().zip(row.2).map(|(size, value)| one(row.0, row.1, size, value, TABLE_3)));
    let others = OTHERS.into_iter().filter(|other| other.task == task && other.measure == measure);
    let mut all: Vec<Published> = of_table.chain(others).collect();
    all.sort_by_key(|figure| figure.parameters_millions);
    all
}

/// Returns which of OpenAI's sizes, in millions of parameters, is nearest to a model's number of parameters, by ratio.
pub fn nearest_size(parameters: u64) -> u32 {
    let distance = |size: u32| (parameters.max(1) as f64 / (f64::from(size) * 1e6)).ln().abs();
    SIZES.into_iter().min_by(|left, right| distance(*left).total_cmp(&distance(*right))).unwrap_or(SIZES[0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Direction;
    use crate::tasks::find;

    #[test]
    fn every_figure_is_of_a_measure_that_its_task_has() {
        let all = ROWS.iter().map(|row| (row.0, row.1)).chain(OTHERS.iter().map(|other| (other.task, other.measure)));
        for (task, measure) in all {
            assert!(find(task).unwrap().measures.contains(&measure), "{task}: {}", measure.name());
            assert!(!published(task, measure).is_empty());
        }
    }

    #[test]
    fn figures_are_in_order_of_size_and_shares_are_shares() {
        let hellaswag = published("hellaswag_mean_token", Measure::AccuracyPerToken);
        assert_eq!(hellaswag.iter().map(|figure| figure.parameters_millions).collect::<Vec<_>>(), SIZES);
        for row in ROWS {
            let first_is_worse = (row.2[3] > row.2[0]) == (row.1.better() == Direction::Higher);
            assert!(first_is_worse, "{}: {:?}", row.0, row.2);
            assert!(row.1.better() == Direction::Lower || row.2.iter().all(|value| *value < 1.0));
        }
        assert_eq!(published("lambada_harness", Measure::Accuracy), []);
    }

    #[test]
    fn a_size_is_found_by_ratio() {
        assert_eq!(
            [1, 124_000_000, 300_000_000, 1_100_000_000, u64::MAX].map(nearest_size),
            [124, 124, 355, 1558, 1558]
        );
        assert_eq!(nearest_size(1_050_000_000), 774);
    }
}
