//! Numbers that JSON has no words for.

use serde::{Deserialize, Deserializer};

/// Reads null as NaN: JSON has only finite numbers, and serde_json writes others as null.
pub(crate) fn null_is_nan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}
