//! `[metrics]`: records in addition to the metrics of every step.

use std::ops::RangeInclusive;

use serde::{Serialize, Serializer};

use super::bounds::STEPS;
use super::section::Section;

/// Section `[metrics]`; may change on resume.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct MetricsConfig {
    /// Steps for which every rank writes a trace for Perfetto: `"FIRST..LAST"`, both inclusive, or one step; `""` for none.
    /// Default `""`.
    #[serde(serialize_with = "steps_to_text")]
    pub profile: Option<RangeInclusive<u64>>,
}

impl MetricsConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let text = section.or("profile", String::new());
        let profile = parse_steps(&text);
        section.require(
            text.is_empty() || profile.is_some(),
            "profile",
            format!("{text:?}"),
            format!("must be steps from 1 to {STEPS}, such as \"10..12\" or \"10\""),
        );
        MetricsConfig { profile }
    }
}

fn parse_steps(text: &str) -> Option<RangeInclusive<u64>> {
    let (first, last) = text.split_once("..").unwrap_or((text, text));
    let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    (1 <= first && first <= last && last <= STEPS).then_some(first..=last)
}

fn steps_to_text<S: Serializer>(steps: &Option<RangeInclusive<u64>>, serializer: S) -> Result<S::Ok, S::Error> {
    let text = steps.as_ref().map(|steps| format!("{}..{}", steps.start(), steps.end()));
    serializer.serialize_str(&text.unwrap_or_default())
}
