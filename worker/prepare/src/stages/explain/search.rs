//! Finds the lines of documents in the lineage of every stage.

use common::storage::Folder;
use common::threads;

use super::made::Made;
use super::title::title_of;
use super::wanted::{Wanted, compared};
use super::way::{Ending, Explained, Step, Way};
use crate::PrepareError;
use crate::stages::folders::StageFolder;
use crate::stages::lineage::line::id_in_words;
use crate::stages::lineage::{Line, LineageFile, UnitFile, Verdict, lineage_of};
use crate::stages::shards::Shards;

/// Number of documents of one URL that are explained, and of candidates that are named for a beginning of ids.
const SHOWN_MAX: usize = 20;

/// Lineage of a stage, of which the list of files was read.
struct Lineage<'s> {
    stage: &'s str,
    folder: &'s Folder,
    units: Vec<UnitFile>,
}

/// A line, with the number of the unit in whose file it is.
type Found = (u32, Line);

/// Returns the way of the `wanted` document through the stages that have `made` something.
///
/// A beginning of ids that is that of several documents is an error that names them, and so is a document that no stage has
/// seen.
pub fn explain(wanted: &Wanted, made: &Made) -> Result<Explained, PrepareError> {
    let lineage = |stage: &StageFolder| lineage_of(&stage.folder);
    let units = made.stages.iter().map(lineage).collect::<Result<Vec<_>, _>>()?;
    let lineages = made.stages.iter().zip(units);
    let lineages: Vec<Lineage<'_>> =
        lineages.map(|(stage, units)| Lineage { stage: &stage.stage, folder: &stage.folder, units }).collect();
    // A later stage has seen nothing else than the first. But the first may have begun anew since.
    let mut firsts = Vec::new();
    for lineage in &lineages {
        firsts = lineage.first_lines(wanted)?;
        if !firsts.is_empty() {
            break;
        }
    }
    if firsts.is_empty() {
        let files = lineages.iter().map(|lineage| lineage.units.len()).sum();
        return Err(PrepareError::NoDocument { wanted: wanted.to_string(), files });
    }
    if let (Wanted::Prefix(..), true) = (wanted, firsts.len() > 1) {
        return Err(ambiguous(wanted, &firsts));
    }
    let found = firsts.len() as u64;
    firsts.truncate(SHOWN_MAX);
    let documents = firsts.iter().map(|first| way(first, &lineages, made)).collect::<Result<_, _>>()?;
    Ok(Explained { wanted: wanted.to_string(), note: made.note.clone(), documents, found })
}

impl Lineage<'_> {
    fn first_lines(&self, wanted: &Wanted) -> Result<Vec<Found>, PrepareError> {
        match wanted {
            Wanted::Id(id) => self.search(&self.units, |file| file.with_id(*id)),
            Wanted::Prefix(_, first, last) => {
                self.search(&self.units, |file| file.where_id(|id| (*first..=*last).contains(&id)))
            }
            Wanted::Url(url) => self.search(&self.units, |file| file.where_url(|other| compared(other) == *url)),
        }
    }

    /// Returns the lines with this id. They are looked for in the file of the unit first in which another stage has them.
    fn lines_of(&self, id: u128, unit: u32) -> Result<Vec<Found>, PrepareError> {
        let (likely, others): (Vec<_>, Vec<_>) = self.units.iter().cloned().partition(|file| file.number == unit);
        let found = self.search(&likely, |file| file.with_id(id))?;
        if found.is_empty() { self.search(&others, |file| file.with_id(id)) } else { Ok(found) }
    }

    fn search(
        &self,
        units: &[UnitFile],
        find: impl Fn(&LineageFile) -> Result<Vec<Line>, PrepareError> + Sync,
    ) -> Result<Vec<Found>, PrepareError> {
        let found = threads::map(units, self.folder.concurrency(), |unit| {
            let lines = find(&LineageFile::open(self.folder, unit)?)?;
            Ok(lines.into_iter().map(|line| (unit.number, line)).collect::<Vec<Found>>())
        });
        found.into_iter().collect::<Result<Vec<_>, PrepareError>>().map(|found| found.concat())
    }
}

/// Follows a document from the line of the first stage that has seen it.
fn way((unit, first): &Found, lineages: &[Lineage<'_>], made: &Made) -> Result<Way, PrepareError> {
    let mut way = Way::begin(first);
    for lineage in lineages {
        let lines = lineage.lines_of(first.id, *unit)?;
        let Some((unit, line)) = lines.first() else { continue };
        way.steps.push(Step::of(lineage.stage, line));
        if line.verdict != Verdict::Kept {
            way.ending = Ending::NotKept;
            return Ok(way);
        }
        if let Some(title) = title_of(lineage.folder, *unit, line.id)? {
            way.title = Some(title);
        }
    }
    let seen_by_last = made.is_whole
        && way.steps.last().is_some_and(|step| lineages.last().is_some_and(|last| last.stage == step.stage));
    way.ending = match (seen_by_last, made.shards) {
        (false, _) => Ending::NotSeenYet,
        (true, Shards::Missing) => Ending::KeptByAll,
        (true, Shards::Made) => Ending::InShards,
        (true, Shards::MadeWithFilter) => Ending::InShardsUnlessOverlapping,
    };
    Ok(way)
}

fn ambiguous(wanted: &Wanted, found: &[Found]) -> PrepareError {
    let candidate = |(_, line): &Found| {
        let of = line.url.as_deref().unwrap_or(&line.source);
        format!("  {} {} {}", id_in_words(line.id), line.verdict, of)
    };
    let mut candidates: Vec<String> = found.iter().take(SHOWN_MAX).map(candidate).collect();
    if found.len() > SHOWN_MAX {
        candidates.push(format!("  and {} more", found.len() - SHOWN_MAX));
    }
    PrepareError::AmbiguousDocument {
        wanted: wanted.to_string(),
        count: found.len(),
        candidates: candidates.join("\n"),
    }
}
