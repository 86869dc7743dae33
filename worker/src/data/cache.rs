//! The blocks that were read last, within a limit on their memory.

use std::collections::HashMap;

use bytes::Bytes;

use super::shards::BlockId;

/// A least-recently-used cache of verified blocks.
#[derive(Debug)]
pub(super) struct BlockCache {
    capacity_bytes: u64,
    bytes: u64,
    /// Number of uses so far; the entry with the lowest stamp is the one used longest ago.
    clock: u64,
    entries: HashMap<BlockId, (u64, Bytes)>,
}

impl BlockCache {
    /// Creates an empty cache that never holds more than `capacity_bytes`.
    pub fn new(capacity_bytes: u64) -> Self {
        BlockCache { capacity_bytes, bytes: 0, clock: 0, entries: HashMap::new() }
    }

    /// Returns the block, if it is here, and counts it as used now.
    pub fn get(&mut self, id: BlockId) -> Option<Bytes> {
        self.clock += 1;
        let (stamp, content) = self.entries.get_mut(&id)?;
        *stamp = self.clock;
        Some(content.clone())
    }

    /// Adds a block, and evicts those used longest ago to make room. A block larger than the capacity is not kept.
    pub fn insert(&mut self, id: BlockId, content: Bytes) {
        self.remove(id);
        let bytes = content.len() as u64;
        if bytes > self.capacity_bytes {
            return;
        }
        while self.bytes + bytes > self.capacity_bytes {
            // A scan of some hundred entries costs nothing compared with reading and hashing the new block.
            let oldest = self.entries.iter().min_by_key(|(_, (stamp, _))| *stamp).map(|(id, _)| *id);
            oldest.into_iter().for_each(|id| self.remove(id));
        }
        self.clock += 1;
        self.bytes += bytes;
        self.entries.insert(id, (self.clock, content));
    }

    fn remove(&mut self, id: BlockId) {
        if let Some((_, content)) = self.entries.remove(&id) {
            self.bytes -= content.len() as u64;
        }
    }

    /// Returns the memory of the blocks that are here, in bytes.
    #[cfg(test)]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(block: u64) -> BlockId {
        BlockId { shard: 0, block }
    }

    #[test]
    fn the_block_used_longest_ago_goes_first() {
        let mut cache = BlockCache::new(30);
        for block in 0..3 {
            cache.insert(id(block), Bytes::from(vec![block as u8; 10]));
        }
        assert_eq!(cache.get(id(0)).unwrap(), vec![0; 10]);
        cache.insert(id(3), Bytes::from(vec![3; 10]));
        let kept: Vec<_> = (0..4).filter(|block| cache.get(id(*block)).is_some()).collect();
        assert_eq!(kept, [0, 2, 3]);
    }

    #[test]
    fn the_bound_holds_for_blocks_of_any_size() {
        let mut cache = BlockCache::new(100);
        for block in 0..200 {
            let bytes = (block * 37 % 120) as usize;
            cache.insert(id(block % 50), Bytes::from(vec![0; bytes]));
            let held: usize = cache.entries.values().map(|(_, content)| content.len()).sum();
            assert!(held as u64 == cache.bytes() && held <= 100, "{held} bytes held, {} counted", cache.bytes());
            assert_eq!(cache.get(id(block % 50)).is_some(), bytes <= 100);
        }
    }
}
