//! Cost of a step for a rank: `common::cost` has the formulas, and this file their inputs.

use common::config::RunConfig;
use common::cost::StepCost;
use common::topology::WorldSize;
use tch::Device;

use crate::model::{head, kind};

/// Returns the cost of a step of `config` for each of `world` ranks on a device like `device`.
pub fn step_cost(config: &RunConfig, world: WorldSize, device: Device) -> StepCost {
    let rows = head::chunk_rows(device) as u64;
    StepCost::of(config, world, rows, head::logit_bytes(device, kind(config.train.precision)))
}
