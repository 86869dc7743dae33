//! A hash table, with open addressing, from pairs of neighbouring tokens to what they become.

/// Value that says that a pair does not merge. No other value is as high.
pub(super) const NEVER: u32 = u32::MAX;

/// A number for each of some pairs of tokens.
pub(super) struct PairTable {
    /// (left << 16 | right) << 32 | value, or [`EMPTY`].
    slots: Vec<u64>,
}

/// Marks a free slot. Its low half, the value, is [`NEVER`].
const EMPTY: u64 = u64::MAX;

impl PairTable {
    /// Returns an empty table with room for `pairs`.
    pub fn new(pairs: usize) -> Self {
        PairTable { slots: vec![EMPTY; (pairs * 2).next_power_of_two().max(2)] }
    }

    /// Sets the value of a pair. A value that was set before stays.
    pub fn insert(&mut self, left: u16, right: u16, value: u32) {
        let slot = self.slot(left, right);
        if self.slots[slot] == EMPTY {
            self.slots[slot] = u64::from(pair(left, right)) << 32 | u64::from(value);
        }
    }

    /// Returns the value of a pair, or [`NEVER`].
    #[inline]
    pub fn get(&self, left: u16, right: u16) -> u32 {
        self.slots[self.slot(left, right)] as u32
    }

    /// Returns the slot of the pair, or the free slot where it would be.
    #[inline]
    fn slot(&self, left: u16, right: u16) -> usize {
        let pair = pair(left, right);
        let mask = self.slots.len() - 1;
        let mut slot = (hash(pair) >> 32) as usize & mask;
        while self.slots[slot] != EMPTY && (self.slots[slot] >> 32) as u32 != pair {
            slot = (slot + 1) & mask;
        }
        slot
    }
}

#[inline]
pub(super) fn pair(left: u16, right: u16) -> u32 {
    u32::from(left) << 16 | u32::from(right)
}

#[inline]
pub(super) fn hash(pair: u32) -> u64 {
    u64::from(pair).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}
