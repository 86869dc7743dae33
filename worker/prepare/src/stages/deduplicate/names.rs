//! What the objects of a deduplication are called.

use crate::stages::lineage::units::UNIT_START;

/// Folder in the stage's folder of what is needed until the stage is done.
pub const WORK_FOLDER: &str = "work";
/// End of the name of the object with the signatures of the documents of a unit.
pub const SIGNATURES_END: &str = ".signatures";
/// Object in the work folder that says that all verdicts are there, with the sums over clusters.
pub const CLUSTERS_NAME: &str = "clusters.json";

/// Object in the work folder that says of what units the rest is.
pub const SOURCES_NAME: &str = "sources.json";

/// Returns the name of the object with what is known of the documents of unit `number`.
pub fn keys_name(number: u32) -> String {
    format!("{UNIT_START}{number:06}.keys")
}

/// Returns the name of the object with the signatures of the documents of unit `number`.
pub fn signatures_name(number: u32) -> String {
    format!("{UNIT_START}{number:06}{SIGNATURES_END}")
}

/// Returns the name of the object in the work folder with the paragraphs of the documents of unit `number` that are repeats.
pub fn repeats_name(number: u32) -> String {
    format!("{UNIT_START}{number:06}.repeats")
}

/// Returns the name of the object in the work folder with the verdicts on the documents of unit `number`.
pub fn verdicts_name(number: u32) -> String {
    format!("{UNIT_START}{number:06}.verdicts")
}
