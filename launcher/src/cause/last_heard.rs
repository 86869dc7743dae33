//! Records what a rank did last.

use std::fmt;
use std::time::Duration;

use common::figures::counted;
use common::topology::Rank;
use common::worker_contract::Phase;

/// What a rank was doing when it was last heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastHeard {
    /// Rank that was heard.
    pub rank: Rank,
    /// Number of completed steps.
    pub step: u64,
    /// Phase that the rank was in.
    pub phase: Phase,
    /// Exchanges of the rank with others, in its words.
    pub exchange: Option<String>,
    /// Time since the rank was last heard, when the first rank failed.
    pub silence: Duration,
}

/// Shortest silence that means something: a live rank says something every second.
pub(super) const SILENCE_MIN: Duration = Duration::from_secs(3);

impl fmt::Display for LastHeard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LastHeard { rank, step, phase, exchange, silence } = self;
        write!(f, "rank {rank}: {phase}, {} completed", counted(*step, "step"))?;
        if let Some(exchange) = exchange {
            write!(f, "; {exchange}")?;
        }
        if *silence >= SILENCE_MIN {
            write!(f, "; not heard from for {:.0} s", silence.as_secs_f64())?;
        }
        Ok(())
    }
}
