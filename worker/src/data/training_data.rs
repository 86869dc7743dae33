//! Training data: some data sets, and the order in which their sequences are consumed.

use std::ops::Range;

use common::config::{DataConfig, DataSource, StorageConfig};
use common::preflight::DataSize;
use common::token_shard::TOKEN_BYTES;

use super::data_set::{Budget, DataSet};
use super::error::DataError;
use super::order::{Order, Place, SetSize};
use super::shards::BlockId;

/// The data sets of `data.train`, in one order. Shared by the threads that read it.
#[derive(Debug)]
pub struct TrainingData {
    sets: Vec<DataSet>,
    order: Order,
}

/// A block of one of the data sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct SetBlock {
    pub set: usize,
    pub block: BlockId,
}

/// Makes the order of `sets`, weighted as the config says.
fn order(sets: &[DataSet], data: &DataConfig, seed: u64, global_sequences: u64) -> Order {
    let size = |(set, source): (&DataSet, &DataSource)| SetSize {
        sequences: set.sequences(),
        sequence_bytes: set.sequence_tokens() * TOKEN_BYTES,
        weight: source.weight,
    };
    let sizes: Vec<_> = sets.iter().zip(&data.train).map(size).collect();
    Order::new(seed, &sizes, global_sequences)
}

impl TrainingData {
    /// Opens the data sets of the config, for global batches of `global_sequences` sequences of `sequence_tokens`
    /// tokens, in the order of `seed`.
    pub fn open(
        data: &DataConfig,
        storage: &StorageConfig,
        seed: u64,
        global_sequences: u64,
        sequence_tokens: u64,
    ) -> Result<Self, DataError> {
        let open = |source| DataSet::open(source, data, storage, sequence_tokens);
        let sets = data.train.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        Ok(TrainingData { order: order(&sets, data, seed, global_sequences), sets })
    }

    /// Reorders the data from the point where `since` sequences have been consumed: sequences are numbered from
    /// there, and every data set begins an epoch with an order of its own. 0 is the beginning of the run.
    pub fn reordered(mut self, data: &DataConfig, seed: u64, global_sequences: u64, since: u64) -> Self {
        // Odd, so that no two values of `since` give one seed.
        const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;
        self.order = order(&self.sets, data, seed ^ since.wrapping_mul(SPREAD), global_sequences);
        self
    }

    /// Returns the data sets, in the order of the config.
    pub fn sets(&self) -> &[DataSet] {
        &self.sets
    }

    /// Returns the size of each data set, weighted as the config says.
    pub fn sizes(&self, data: &DataConfig) -> Vec<DataSize> {
        let size = |(set, source): (&DataSet, &DataSource)| DataSize {
            url: set.url().to_owned(),
            tokens: set.tokens(),
            sequences: set.sequences(),
            weight: source.weight,
        };
        self.sets.iter().zip(&data.train).map(size).collect()
    }

    /// Reads the training sequences `numbers`, in that order, each of T+1 tokens: a row-major \[B, T+1\].
    pub fn read(&self, numbers: Range<u64>) -> Result<Vec<i32>, DataError> {
        let places: Vec<Place> = numbers.map(|number| self.place(number)).collect();
        for (set, data) in self.sets.iter().enumerate() {
            data.load(places.iter().filter(|place| place.set == set).map(|place| place.position))?;
        }
        let row = self.sets[0].sequence_tokens() as usize + 1;
        let mut tokens = Vec::with_capacity(places.len() * row); // [B, T+1]
        places.iter().try_for_each(|place| self.sets[place.set].append(place.position, &mut tokens))?;
        Ok(tokens)
    }

    /// Returns the place of training sequence `number`.
    pub fn place(&self, number: u64) -> Place {
        self.order.place(number)
    }

    /// Returns the blocks that training sequence `number` lies in.
    pub(super) fn blocks_of(&self, number: u64) -> Result<impl Iterator<Item = SetBlock> + use<>, DataError> {
        let place = self.place(number);
        let blocks = self.sets[place.set].blocks_of(place.position)?;
        Ok(blocks.map(move |block| SetBlock { set: place.set, block }))
    }

    /// Returns the division of a rank's memory, equal for all data sets.
    pub(super) fn budget(&self) -> Budget {
        self.sets[0].budget()
    }
}
