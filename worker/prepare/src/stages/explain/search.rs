//! Finds the lines of documents in the lineage of every stage.

use common::storage::Folder;
use common::threads;
use common::untrusted::printable;

use super::made::Made;
use super::title::title_of;
use super::wanted::{Wanted, compared};
use super::way::{Ending, Explained, Step, Way};
use crate::PrepareError;
use crate::stages::folders::StageFolder;
use crate::stages::lineage::line::id_in_words;
use crate::stages::lineage::{Hits, Line, LineageFile, UnitFile, Verdict, lineage_of};
use crate::stages::shards::Shards;

/// Number of documents of one URL that are explained, and of candidates that are named for a beginning of ids.
const SHOWN_MAX: usize = 20;
/// Number of files, for each request under way, after which what was found is cut to what is shown.
const FILES_PER_REQUEST: usize = 8;

/// Lineage of a stage, of which the list of files was read.
struct Lineage<'s> {
    stage: &'s str,
    folder: &'s Folder,
    units: Vec<UnitFile>,
}

/// A line, with the number of the unit in whose file it is.
type Placed = (u32, Line);

/// What was found in the lineage of a stage.
#[derive(Default)]
struct Found {
    /// The first lines, in the order of units; as many as were asked for.
    lines: Vec<Placed>,
    /// Number of all lines that were found.
    count: u64,
}

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
    let mut firsts = Found::default();
    for lineage in &lineages {
        firsts = lineage.first_lines(wanted)?;
        if firsts.count > 0 {
            break;
        }
    }
    if firsts.count == 0 {
        let files = lineages.iter().map(|lineage| lineage.units.len()).sum();
        return Err(PrepareError::NoDocument { wanted: wanted.to_string(), files });
    }
    if let (Wanted::Prefix(..), true) = (wanted, firsts.count > 1) {
        return Err(ambiguous(wanted, &firsts));
    }
    let documents = firsts.lines.iter().map(|first| way(first, &lineages, made)).collect::<Result<_, _>>()?;
    Ok(Explained { wanted: wanted.to_string(), note: made.note.clone(), documents, found: firsts.count })
}

impl Lineage<'_> {
    fn first_lines(&self, wanted: &Wanted) -> Result<Found, PrepareError> {
        self.search(&self.units, SHOWN_MAX, |file, most| match wanted {
            Wanted::Id(id) => file.with_id(*id, most),
            Wanted::Prefix(_, first, last) => file.where_id(|id| (*first..=*last).contains(&id), most),
            Wanted::Url(url) => file.where_url(|other| compared(other) == *url, most),
        })
    }

    /// Returns the line with this id. It is looked for in the file of the unit first in which another stage has it.
    fn line_of(&self, id: u128, unit: u32) -> Result<Option<Placed>, PrepareError> {
        let (likely, others): (Vec<_>, Vec<_>) = self.units.iter().cloned().partition(|file| file.number == unit);
        for units in [likely, others] {
            let found = self.search(&units, 1, |file, most| file.with_id(id, most))?;
            if let Some(line) = found.lines.into_iter().next() {
                return Ok(Some(line));
            }
        }
        Ok(None)
    }

    /// Finds lines in the files of `units`, and returns at most `most` of them. Memory is bounded, however many there are.
    fn search(
        &self,
        units: &[UnitFile],
        most: usize,
        find: impl Fn(&LineageFile, usize) -> Result<Hits, PrepareError> + Sync,
    ) -> Result<Found, PrepareError> {
        let (mut found, requests) = (Found::default(), self.folder.concurrency().max(1));
        for units in units.chunks(requests * FILES_PER_REQUEST) {
            let wanted = most - found.lines.len();
            let hits = threads::map(units, requests, |unit| find(&LineageFile::open(self.folder, unit)?, wanted));
            for (unit, hits) in units.iter().zip(hits) {
                let Hits { lines, count } = hits?;
                found.count += count;
                found.lines.extend(lines.into_iter().map(|line| (unit.number, line)));
                found.lines.truncate(most);
            }
        }
        Ok(found)
    }
}

/// Follows a document from the line of the first stage that has seen it.
fn way((unit, first): &Placed, lineages: &[Lineage<'_>], made: &Made) -> Result<Way, PrepareError> {
    let mut way = Way::begin(first);
    for lineage in lineages {
        let Some((unit, line)) = lineage.line_of(first.id, *unit)? else { continue };
        way.steps.push(Step::of(lineage.stage, &line));
        if line.verdict != Verdict::Kept {
            way.ending = Ending::NotKept;
            return Ok(way);
        }
        if let Some(title) = title_of(lineage.folder, unit, line.id)? {
            way.title = Some(title);
        }
    }
    let is_last = |step: &&Step| made.is_whole && lineages.last().is_some_and(|last| last.stage == step.stage);
    way.ending = match way.steps.last().filter(is_last) {
        None => Ending::NotSeenYet,
        Some(step) => ending_of_kept(step.bytes_out, made),
    };
    Ok(way)
}

/// Returns where the way of a document ends of which the last stage has kept a text of `bytes`.
fn ending_of_kept(bytes: u64, made: &Made) -> Ending {
    match made.shards {
        _ if bytes == 0 => Ending::Empty,
        _ if bytes > made.document_bytes_max => Ending::TooLong,
        Shards::Missing => Ending::KeptByAll,
        Shards::Made => Ending::InShards,
        Shards::MadeWithFilter => Ending::InShardsUnlessOverlapping,
    }
}

fn ambiguous(wanted: &Wanted, found: &Found) -> PrepareError {
    let candidate = |(_, line): &Placed| {
        let of = line.url.as_deref().unwrap_or(&line.source);
        format!("  {} {} {}", id_in_words(line.id), line.verdict, printable(of))
    };
    let mut candidates: Vec<String> = found.lines.iter().map(candidate).collect();
    let more = found.count.saturating_sub(candidates.len() as u64);
    if more > 0 {
        candidates.push(format!("  and {more} more"));
    }
    PrepareError::AmbiguousDocument {
        wanted: wanted.to_string(),
        count: usize::try_from(found.count).unwrap_or(usize::MAX),
        candidates: candidates.join("\n"),
    }
}
