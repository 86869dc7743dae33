//! A world of one rank: a real implementation, in which every operation is already done.

use std::time::Duration;

use common::topology::{Rank, WorldSize};
use tch::Tensor;

use super::{Collectives, Pending, ReduceOp};

/// One rank without peers.
#[derive(Debug, Default)]
pub struct Single;

impl Collectives for Single {
    fn rank(&self) -> Rank {
        Rank::ZERO
    }

    fn world_size(&self) -> WorldSize {
        WorldSize::ONE
    }

    fn set_timeout(&self, _timeout: Duration) {}

    fn all_reduce(&self, _tensor: &Tensor, _op: ReduceOp) -> Pending {
        Pending::complete("all-reduce")
    }

    fn reduce_scatter(&self, input: &Tensor, output: &Tensor) -> Pending {
        copy(input, output);
        Pending::complete("reduce-scatter")
    }

    fn all_gather(&self, input: &Tensor, output: &Tensor) -> Pending {
        copy(input, output);
        Pending::complete("all-gather")
    }

    fn broadcast(&self, _tensor: &Tensor, _root: Rank) -> Pending {
        Pending::complete("broadcast")
    }

    fn barrier(&self) -> Pending {
        Pending::complete("barrier")
    }
}

/// Copies what is not the same memory already.
fn copy(input: &Tensor, output: &Tensor) {
    if input.data_ptr() != output.data_ptr() {
        output.shallow_clone().copy_(input);
    }
}
