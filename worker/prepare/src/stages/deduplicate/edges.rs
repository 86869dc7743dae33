//! The second step: edges between documents with equal keys.
//!
//! All objects with keys of a space are merged, which brings equal keys together. So spaces are divided over ranks and their threads.
//! A space counts when its JSON object is there.

use bytes::Bytes;
use common::storage::Folder;
use serde::{Deserialize, Serialize};
use webtext::deduplicate::record::{Edge, Keyed};
use webtext::deduplicate::{Content, DeduplicateOptions, Stars};

use super::objects::{Spill, merged, run_name};
use super::spaces::Space;
use crate::PrepareError;
use crate::progress::Progress;

/// A space whose edges are there.
#[derive(Debug, Serialize, Deserialize)]
pub struct SpaceRecord {
    /// Number of objects with edges.
    runs: u32,
    /// Number of edges.
    edges: u64,
}

impl SpaceRecord {
    /// Returns the name of the object that makes `space` count.
    pub fn name(space: Space) -> String {
        format!("{}.json", edges_of(space))
    }

    /// Returns the names of the objects with edges of `space`, and the number of edges.
    pub fn names(work: &Folder, space: Space) -> Result<(Vec<String>, u64), PrepareError> {
        let name = SpaceRecord::name(space);
        let record: SpaceRecord = serde_json::from_slice(&work.get(&name)?)
            .map_err(|error| crate::stages::damaged(work, &name, error.to_string()))?;
        Ok(((0..record.runs).map(|run| run_name(&edges_of(space), run)).collect(), record.edges))
    }
}

fn edges_of(space: Space) -> String {
    format!("edges-{}", space.name())
}

/// Makes the edges of `space`, of which the objects `names` have the keys, in `memory_bytes`.
pub fn make(
    work: &Folder,
    (space, names): (Space, Vec<String>),
    options: &DeduplicateOptions,
    (memory_bytes, progress): (u64, &Progress),
) -> Result<(), PrepareError> {
    let half = memory_bytes / 2;
    let keys = merged::<Keyed>(work, names, space.content(options), (half, progress))?;
    let edges_max = half as usize / size_of::<Edge>();
    let mut edges = Spill::new(work, edges_of(space), Content::Edges, edges_max);
    for edge in Stars::new(keys) {
        edges.push(edge?)?;
    }
    let count = edges.count();
    let record = SpaceRecord { runs: edges.finish()?, edges: count };
    let record = serde_json::to_vec(&record).unwrap_or_else(|e| unreachable!("it is JSON: {e}"));
    Ok(work.put(&SpaceRecord::name(space), Bytes::from(record))?)
}
