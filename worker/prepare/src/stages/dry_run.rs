//! What a job would do, and what is done already: `prepare dry-run`. Nothing is written.

use std::fmt;

use common::storage::{Folder, ObjectInfo};
use common::untrusted::printable;
use serde::Serialize;

use super::folders::{StageFolder, all_folders};
use super::names::{STAGE_NAME, STAGES_FOLDER, stage_of};
use super::record::units_done;
use crate::PrepareError;

/// Number of ranges of missing units that are named.
const RANGES_MAX: usize = 20;

/// A stage that a config asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// Name of the stage's folder, `clean-0123456789abcdef`.
    pub folder: String,
    /// Number of units of work.
    pub units: u32,
}

/// What a job would read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Inputs {
    /// Number of objects.
    pub objects: u64,
    /// Size of these objects in bytes, as they are stored.
    pub bytes: u64,
}

/// What there is of the token shards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenShards {
    /// Nothing.
    Missing,
    /// Documents that were tokenized, on their way to the shards.
    Begun,
    /// All of them.
    Made,
    /// Those of another job, which prepare does not overwrite. Holds what it says.
    Refused(String),
}

/// What a job would do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DryRun {
    /// What it would read.
    pub inputs: Inputs,
    /// URL of the folder that it would write to.
    pub output: String,
    /// Stages, in order.
    pub stages: Vec<StageState>,
    /// What there is of the token shards.
    pub token_shards: TokenShards,
    /// Folders of stages that do not belong to this config.
    pub other_folders: Vec<OtherFolder>,
    /// Whether all is done already.
    pub is_done: bool,
}

/// How far a stage is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StageState {
    /// Name of the stage.
    pub stage: String,
    /// URL of its folder.
    pub folder: String,
    /// Number of units of work.
    pub units: u32,
    /// Number of units that are done.
    pub units_done: u32,
    /// Units that are missing, as ranges such as `3-7`; the first 20.
    pub missing: Vec<String>,
    /// Whether the stage as a whole is done.
    pub is_done: bool,
    /// Size of what there is of it, in bytes.
    pub bytes: u64,
}

/// Folder of a stage that another config, or other inputs, have made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OtherFolder {
    /// URL of the folder.
    pub folder: String,
    /// Number of objects in it.
    pub objects: u64,
    /// Size of these objects in bytes.
    pub bytes: u64,
}

/// Returns what a job with the stages of `plan` would do in `output`.
pub fn dry_run(
    output: &Folder,
    inputs: Inputs,
    plan: &[Planned],
    token_shards: TokenShards,
) -> Result<DryRun, PrepareError> {
    let stages = plan.iter().map(|planned| state(output, planned)).collect::<Result<Vec<_>, _>>()?;
    let is_planned = |name: &String| plan.iter().any(|planned| planned.folder == *name);
    let others = all_folders(output)?.into_iter().filter(|name| !is_planned(name));
    let other_folders = others.filter_map(|name| StageFolder::named(output, &name)).map(|other| {
        let objects = other.folder.list()?;
        let (count, bytes) = (objects.len() as u64, bytes_of(&objects));
        Ok(OtherFolder { folder: other.folder.url().to_owned(), objects: count, bytes })
    });
    let other_folders = other_folders.collect::<Result<Vec<_>, PrepareError>>()?;
    let is_done = token_shards == TokenShards::Made;
    Ok(DryRun { inputs, output: output.url().to_owned(), stages, token_shards, other_folders, is_done })
}

/// Looks at the objects of a stage.
fn state(output: &Folder, planned: &Planned) -> Result<StageState, PrepareError> {
    let folder = output.folder(STAGES_FOLDER).folder(&planned.folder);
    let objects = folder.list()?;
    let done = units_done(&objects, planned.units);
    let missing: Vec<u32> = (0..planned.units).filter(|number| !done.contains(number)).collect();
    Ok(StageState {
        stage: stage_of(&planned.folder).unwrap_or(&planned.folder).to_owned(),
        folder: folder.url().to_owned(),
        units: planned.units,
        units_done: u32::try_from(done.len()).unwrap_or(u32::MAX),
        missing: ranges(&missing),
        is_done: objects.iter().any(|object| object.name == STAGE_NAME),
        bytes: bytes_of(&objects),
    })
}

fn bytes_of(objects: &[ObjectInfo]) -> u64 {
    objects.iter().map(|object| object.bytes).sum()
}

/// Formats ascending numbers as ranges.
fn ranges(numbers: &[u32]) -> Vec<String> {
    let neighbours = numbers.chunk_by(|one, next| one + 1 == *next);
    let range = |range: &[u32]| match range {
        [first, .., last] => format!("{first}-{last}"),
        _ => range.iter().map(u32::to_string).collect(),
    };
    neighbours.take(RANGES_MAX).map(range).collect()
}

impl DryRun {
    /// Leaves out folders of other configs that this one uses, too.
    #[must_use]
    pub fn without(mut self, used: &[String]) -> Self {
        self.other_folders.retain(|other| !used.contains(&other.folder));
        self
    }
}

impl TokenShards {
    fn in_words(&self) -> String {
        match self {
            TokenShards::Missing => "to do".to_owned(),
            TokenShards::Begun => "begun; the rest is to do".to_owned(),
            TokenShards::Made => "done".to_owned(),
            TokenShards::Refused(reason) => format!("refused: {}", printable(reason)),
        }
    }
}

impl fmt::Display for DryRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "reads         {} objects, {} bytes", self.inputs.objects, self.inputs.bytes)?;
        writeln!(f, "writes        {}", printable(&self.output))?;
        for stage in &self.stages {
            write!(f, "{stage}")?;
        }
        writeln!(f, "token shards  {}", self.token_shards.in_words())?;
        for other in &self.other_folders {
            writeln!(
                f,
                "not used      {}: {} objects, {} bytes, of another config or other inputs",
                printable(&other.folder),
                other.objects,
                other.bytes
            )?;
        }
        let end = match &self.token_shards {
            TokenShards::Made => "there is nothing to do",
            TokenShards::Refused(_) => "nothing was written, and launcher prepare would refuse",
            TokenShards::Missing | TokenShards::Begun => "nothing was written; leave out --dry-run to do it",
        };
        writeln!(f, "{end}")
    }
}

impl fmt::Display for StageState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let StageState { stage, units, units_done, bytes, .. } = self;
        write!(f, "{stage:<13} ")?;
        match (self.is_done, self.missing.is_empty()) {
            (true, _) => write!(f, "done, {units} units")?,
            (false, true) => write!(f, "{units} of {units} units done; their sums are to do")?,
            (false, false) => {
                let more = if self.missing.len() == RANGES_MAX { ", ..." } else { "" };
                write!(f, "{units_done} of {units} units done; to do: {}{more}", self.missing.join(", "))?;
            }
        }
        writeln!(f, "; {bytes} bytes in {}", printable(&self.folder))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::lineage::tests::folder;

    const INPUTS: Inputs = Inputs { objects: 2, bytes: 1000 };

    fn plan() -> Vec<Planned> {
        let planned = |folder: &str| Planned { folder: folder.into(), units: 5 };
        vec![planned("extract-0123456789abcdef"), planned("clean-0123456789abcdef")]
    }

    /// Puts the three objects of a unit into a stage's folder.
    fn put_unit(output: &Folder, stage: &str, unit: u32) {
        let stage = output.folder(STAGES_FOLDER).folder(stage);
        for end in ["documents.parquet", "lineage.parquet", "json"] {
            stage.put(&format!("unit-{unit:06}.{end}"), "1234567890".into()).unwrap();
        }
    }

    #[test]
    fn where_nothing_is_done_all_is_to_do() {
        let output = folder("dry-nothing");
        let planned = dry_run(&output, INPUTS, &plan(), TokenShards::Missing).unwrap();
        for stage in &planned.stages {
            assert_eq!((stage.units, stage.units_done, stage.is_done, stage.bytes), (5, 0, false, 0));
            assert_eq!(stage.missing, ["0-4"]);
        }
        assert!(!planned.is_done && planned.other_folders.is_empty());
        let text = planned.to_string();
        assert!(text.starts_with("reads         2 objects, 1000 bytes\nwrites        memory://"), "{text}");
        assert!(text.contains("\nextract       0 of 5 units done; to do: 0-4; 0 bytes in memory://"), "{text}");
        assert!(text.contains("\ntoken shards  to do\nnothing was written; leave out --dry-run to do it\n"), "{text}");
        assert_eq!(output.list().unwrap(), []);
    }

    #[test]
    fn where_half_is_done_the_rest_is_named() {
        let output = folder("dry-half");
        (0..5).for_each(|unit| put_unit(&output, "extract-0123456789abcdef", unit));
        output.folder(STAGES_FOLDER).folder("extract-0123456789abcdef").put(STAGE_NAME, "{}".into()).unwrap();
        [1, 3].into_iter().for_each(|unit| put_unit(&output, "clean-0123456789abcdef", unit));
        // A unit without its JSON object is not done.
        output.folder(STAGES_FOLDER).folder("clean-0123456789abcdef").delete("unit-000003.json").unwrap();
        [0, 1].into_iter().for_each(|unit| put_unit(&output, "clean-fedcba9876543210", unit));
        let planned = dry_run(&output, INPUTS, &plan(), TokenShards::Begun).unwrap();
        let [extract, clean] = &planned.stages[..] else { panic!("two stages") };
        assert_eq!((extract.units_done, extract.is_done, extract.bytes), (5, true, 152));
        assert_eq!((clean.units_done, clean.is_done, clean.bytes), (1, false, 50));
        assert_eq!(clean.missing, ["0", "2-4"]);
        let [other] = &planned.other_folders[..] else { panic!("one folder") };
        assert_eq!((other.objects, other.bytes), (6, 60));
        let text = planned.to_string();
        assert!(text.contains("\nextract       done, 5 units; 152 bytes in "), "{text}");
        assert!(text.contains("\nclean         1 of 5 units done; to do: 0, 2-4; 50 bytes in "), "{text}");
        assert!(text.contains("clean-fedcba9876543210: 6 objects, 60 bytes, of another config"), "{text}");
    }

    #[test]
    fn where_all_is_done_there_is_nothing_to_do() {
        let output = folder("dry-all");
        for planned in plan() {
            (0..5).for_each(|unit| put_unit(&output, &planned.folder, unit));
            output.folder(STAGES_FOLDER).folder(&planned.folder).put(STAGE_NAME, "{}".into()).unwrap();
        }
        let planned = dry_run(&output, INPUTS, &plan(), TokenShards::Made).unwrap();
        assert!(planned.is_done && planned.stages.iter().all(|stage| stage.is_done && stage.missing.is_empty()));
        let json = serde_json::to_value(&planned).unwrap();
        assert_eq!((&json["inputs"]["objects"], &json["token_shards"]), (&2.into(), &"made".into()), "{json}");
        assert!(planned.to_string().ends_with("token shards  done\nthere is nothing to do\n"), "{planned}");
        let other = dry_run(&output, INPUTS, &plan(), TokenShards::Refused("others are there".into())).unwrap();
        let end = "token shards  refused: others are there\nnothing was written, and launcher prepare would refuse\n";
        assert!(!other.is_done && other.to_string().ends_with(end), "{other}");
    }

    #[test]
    fn many_gaps_are_named_as_far_as_a_person_reads() {
        let numbers: Vec<u32> = (0..1000).filter(|n| n % 3 != 0).collect();
        assert_eq!(ranges(&numbers).len(), RANGES_MAX);
        assert_eq!(ranges(&[1, 2, 4, 6, 7, 8]), ["1-2", "4", "6-8"]);
        assert!(ranges(&[]).is_empty());
    }
}
