//! Exit codes of the launcher, the worker and prepare: what a script, a scheduler or the launcher learns from how a process ended.

use serde::{Deserialize, Serialize};

/// Exit codes of worker and launcher alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitCode {
    /// The job is complete.
    Done,
    /// Wrong usage or an impossible config.
    Config,
    /// Data missing, corrupt, or access to it denied; or no room to write.
    Data,
    /// Communication failed, a rank was lost, or ranks do not hold the same weights.
    Communication,
    /// Loss or gradients were not finite, or outliers.
    Numeric,
    /// Storage stayed away past its deadline.
    Storage,
    /// A bug: every panic ends here, but where the system refused a thread.
    Bug,
    /// Stopped on request after a committed checkpoint; the same command again goes on.
    Stopped,
}

impl ExitCode {
    /// Every code with its number.
    const NUMBERS: [(ExitCode, u8); 8] = [
        (ExitCode::Done, 0),
        (ExitCode::Config, 2),
        (ExitCode::Data, 3),
        (ExitCode::Communication, 4),
        (ExitCode::Numeric, 5),
        (ExitCode::Storage, 6),
        (ExitCode::Bug, 70),
        (ExitCode::Stopped, 75),
    ];

    /// The process exit status.
    pub fn number(self) -> u8 {
        match Self::NUMBERS.iter().find(|(code, _)| *code == self) {
            Some((_, number)) => *number,
            None => unreachable!("every code has a number"),
        }
    }

    /// The meaning of a process exit status; anything that no Convoy process returns counts as lost communication,
    /// which is how mpirun reports a rank that died.
    pub fn from_number(number: i32) -> Self {
        Self::NUMBERS.iter().find(|(_, n)| i32::from(*n) == number).map_or(ExitCode::Communication, |(code, _)| *code)
    }

    /// Whether starting the processes again can help.
    pub fn is_worth_a_restart(self) -> bool {
        matches!(self, ExitCode::Communication | ExitCode::Storage)
    }

    /// What the code means, for people.
    pub fn meaning(self) -> &'static str {
        match self {
            ExitCode::Done => "done",
            ExitCode::Config => "usage or config",
            ExitCode::Data => "data missing, corrupt or denied, or a disk is full",
            ExitCode::Communication => "communication failed, a rank was lost, or ranks differ",
            ExitCode::Numeric => "loss or gradients not finite, or outliers",
            ExitCode::Storage => "storage unreachable past its deadline",
            ExitCode::Bug => "a bug in Convoy",
            ExitCode::Stopped => "stopped on request after a checkpoint; run the same command to go on",
        }
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        std::process::ExitCode::from(code.number())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_round_trip_and_unknown_ones_are_communication() {
        for (code, number) in ExitCode::NUMBERS {
            assert_eq!(ExitCode::from_number(i32::from(number)), code);
            assert_eq!(code.number(), number);
        }
        assert_eq!(ExitCode::from_number(137), ExitCode::Communication);
        assert_eq!(ExitCode::from_number(1), ExitCode::Communication);
    }
}
