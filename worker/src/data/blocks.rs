//! Verified blocks, held in memory, in the node cache, or, for local files, in the shard itself.
//!
//! A block is read and verified by one thread at a time. Then it is *here*: any thread gets bytes of it from memory,
//! or by a read of just these bytes. A shard on a local disk is its own cache. Of other shards, memory keeps the
//! blocks read last, and the node cache the others.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::cache::BlockCache;
use super::error::DataError;
use super::local_files::LocalFiles;
use super::node_cache::NodeCache;
use super::shards::{BlockId, Shards};

/// The blocks of a data set.
#[derive(Debug)]
pub(super) struct Blocks {
    shards: Shards,
    place: Place,
    memory: Mutex<BlockCache>,
    states: Mutex<States>,
    changed: Condvar,
}

/// Place for blocks that memory has no room for.
#[derive(Debug)]
enum Place {
    /// The shards themselves, which are local files.
    LocalFiles(LocalFiles),
    /// The node cache.
    NodeCache(NodeCache),
    /// No place: such blocks are read again.
    Nowhere,
}

#[derive(Debug, Default)]
struct States {
    /// Blocks that are verified, and kept where `place` says.
    here: HashSet<BlockId>,
    /// Blocks that are being read, or about to be.
    under_way: HashSet<BlockId>,
}

impl Blocks {
    /// Creates the blocks of `shards`, of which memory keeps up to `memory_bytes`.
    pub fn new(shards: Shards, node_cache: Option<NodeCache>, memory_bytes: u64) -> Self {
        let place = match (shards.local_folder(), node_cache) {
            (Some(folder), _) => Place::LocalFiles(LocalFiles::new(folder, &shards)),
            (None, Some(cache)) if shards.has_hashes() => Place::NodeCache(cache),
            (None, _) => Place::Nowhere,
        };
        let memory = Mutex::new(BlockCache::new(memory_bytes));
        Blocks { shards, place, memory, states: Mutex::default(), changed: Condvar::new() }
    }

    /// Returns the shards.
    pub fn shards(&self) -> &Shards {
        &self.shards
    }

    /// Claims a block that is neither here nor under way. Returns whether it did; the caller must then load the
    /// block, by [`Blocks::load`].
    pub fn claim(&self, id: BlockId) -> bool {
        let mut states = self.states();
        !self.is_here(&states, id) && states.under_way.insert(id)
    }

    /// Reads a block that was claimed. Threads that wait for the block go on, even after a failure.
    pub fn load(&self, id: BlockId) -> Result<Bytes, DataError> {
        let loaded = self.read_verified(id);
        let mut states = self.states();
        states.under_way.remove(&id);
        if let Ok(content) = &loaded {
            match self.place {
                // The file's content is in the page cache.
                Place::LocalFiles(_) => drop(states.here.insert(id)),
                Place::NodeCache(_) => {
                    states.here.insert(id);
                    self.memory().insert(id, content.clone());
                }
                Place::Nowhere => self.memory().insert(id, content.clone()),
            }
        }
        drop(states);
        self.changed.notify_all();
        loaded
    }

    /// Returns whether blocks are better loaded in pairs, by [`Blocks::load_pair`].
    pub fn prefers_pairs(&self) -> bool {
        matches!(self.place, Place::LocalFiles(_))
    }

    /// Reads two blocks that were claimed. Failures are not reported: a thread that needs the block meets them.
    pub fn load_pair(&self, ids: [BlockId; 2]) {
        match &self.place {
            Place::LocalFiles(files) if files.are_right(&self.shards, ids) => {
                ids.iter().for_each(|id| self.shards.count_as_read(*id));
                let mut states = self.states();
                for id in ids {
                    states.under_way.remove(&id);
                    states.here.insert(id);
                }
                drop(states);
                self.changed.notify_all();
            }
            _ => ids.iter().for_each(|id| drop(self.load(*id))),
        }
    }

    /// Calls `show` with `range` of a block, which is read if it is not here.
    pub fn show(&self, id: BlockId, range: Range<usize>, mut show: impl FnMut(&[u8])) -> Result<(), DataError> {
        loop {
            if self.show_here(id, range.clone(), &mut show)? {
                return Ok(());
            }
            // The block was evicted, never read, or changed since.
            self.states().here.remove(&id);
            if self.claim(id) {
                show(&self.load(id)?[range]);
                return Ok(());
            }
            let states = self.states();
            let is_under_way = |states: &mut States| states.under_way.contains(&id);
            drop(self.changed.wait_while(states, is_under_way).unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Calls `show` with `range` of a block that is here. Returns false if the block is not here, or no longer as it
    /// was verified. Disks that others can write to are not trusted: ids beyond the vocabulary are never shown, and
    /// the caller reads and verifies the block once more.
    fn show_here(&self, id: BlockId, range: Range<usize>, show: &mut impl FnMut(&[u8])) -> Result<bool, DataError> {
        let in_memory = self.memory().get(id);
        if let Some(content) = in_memory {
            show(&content[range]);
            return Ok(true);
        }
        if !self.states().here.contains(&id) {
            return Ok(false);
        }
        let mut is_sound = false;
        let show_sound = |content: &[u8]| {
            is_sound = self.shards.check_content(id, range.start as u64, content).is_ok();
            if is_sound {
                show(content);
            }
        };
        match &self.place {
            Place::LocalFiles(files) => {
                let start = id.range(&self.shards.index().shards[id.shard]).start + range.start as u64;
                let shown = files.show(&self.shards, (id.shard, start, range.len()), show_sound);
                shown.map_err(|error| self.shards.explain_local(id.shard, error))?;
            }
            Place::NodeCache(cache) => {
                // A block that has left the cache is not shown.
                self.shards.hash(id).map(|hash| cache.show(hash, range.clone(), show_sound));
            }
            Place::Nowhere => {}
        }
        Ok(is_sound)
    }

    fn read_verified(&self, id: BlockId) -> Result<Bytes, DataError> {
        match &self.place {
            Place::LocalFiles(files) => {
                let range = id.range(&self.shards.index().shards[id.shard]);
                self.shards.verified(id, || {
                    let mut content = vec![0; (range.end - range.start) as usize];
                    let read = files.read(&self.shards, id.shard, range.start, &mut content);
                    read.map_err(|error| self.shards.explain_local(id.shard, error))?;
                    Ok(content.into())
                })
            }
            Place::NodeCache(cache) => match self.shards.hash(id) {
                Some(hash) => cache.get(hash, || self.shards.read(id)),
                None => self.shards.read(id),
            },
            Place::Nowhere => self.shards.read(id),
        }
    }

    /// Returns whether a block need not be loaded.
    fn is_here(&self, states: &States, id: BlockId) -> bool {
        states.here.contains(&id) || self.memory().get(id).is_some()
    }

    fn states(&self) -> MutexGuard<'_, States> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn memory(&self) -> MutexGuard<'_, BlockCache> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
