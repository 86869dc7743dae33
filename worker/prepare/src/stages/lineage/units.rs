//! Lineage files of a stage, one for each unit of work.

use common::storage::Folder;

use crate::PrepareError;

/// End of the name of a lineage file.
const LINEAGE_END: &str = ".lineage.parquet";
/// Beginning of the name of every object of a unit.
pub(in crate::stages) const UNIT_START: &str = "unit-";

/// Returns the name of the lineage file of the unit `number`.
pub fn lineage_name(number: u32) -> String {
    format!("{UNIT_START}{number:06}{LINEAGE_END}")
}

/// Returns the number of the unit to which an object called `name` belongs, if the name ends in `end`.
pub fn unit_of(name: &str, end: &str) -> Option<u32> {
    name.strip_prefix(UNIT_START)?.strip_suffix(end)?.parse().ok()
}

/// A lineage file in a stage's folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnitFile {
    /// Number of the unit.
    pub number: u32,
    /// Name of the file in the folder.
    pub name: String,
    /// Size in bytes.
    pub bytes: u64,
}

/// Returns the lineage files in a stage's `folder`, in the order of units.
pub fn lineage_of(folder: &Folder) -> Result<Vec<UnitFile>, PrepareError> {
    let unit = |object: common::storage::ObjectInfo| {
        let number = unit_of(&object.name, LINEAGE_END)?;
        Some(UnitFile { number, name: object.name, bytes: object.bytes })
    };
    let mut units: Vec<UnitFile> = folder.list()?.into_iter().filter_map(unit).collect();
    units.sort();
    Ok(units)
}
