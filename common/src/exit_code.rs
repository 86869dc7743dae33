//! Exit codes of the launcher, the worker and prepare, which tell scripts, schedulers and the launcher how a process ended.

use serde::{Deserialize, Serialize};

/// Exit code of the launcher, the worker and prepare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitCode {
    /// The job has completed.
    Done,
    /// The usage is wrong, or the config impossible.
    Config,
    /// Data is missing, corrupt or inaccessible, or there is no room to write.
    Data,
    /// Communication failed, a rank was lost, or ranks do not hold the same weights.
    Communication,
    /// The loss or the gradients were not finite, or outliers.
    Numeric,
    /// Storage could not be reached within its deadline.
    Storage,
    /// A bug was met. Every panic ends with this code, unless the system refused a thread or a file.
    Bug,
    /// The job stopped on request after a committed checkpoint. The same command continues it.
    Stopped,
}

impl ExitCode {
    /// Every code, with its number.
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

    /// Returns the process exit status.
    pub fn number(self) -> u8 {
        match Self::NUMBERS.iter().find(|(code, _)| *code == self) {
            Some((_, number)) => *number,
            None => unreachable!("every code has a number"),
        }
    }

    /// Returns the meaning of a process exit status. A status that no Convoy process returns counts as lost communication,
    /// which is how mpirun reports a rank that died.
    pub fn from_number(number: i32) -> Self {
        Self::NUMBERS.iter().find(|(_, n)| i32::from(*n) == number).map_or(ExitCode::Communication, |(code, _)| *code)
    }

    /// Returns whether starting the processes again can help.
    pub fn is_worth_a_restart(self) -> bool {
        matches!(self, ExitCode::Communication | ExitCode::Storage)
    }

    /// Returns the meaning of the code for people.
    pub fn meaning(self) -> &'static str {
        match self {
            ExitCode::Done => "done",
            ExitCode::Config => "usage or config",
            ExitCode::Data => "data missing, corrupt or denied, or a disk or store is full",
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

    #[test]
    fn the_page_of_exit_codes_lists_every_code_with_its_meaning_and_whether_it_is_restarted() {
        let page = include_str!("../../docs/exit-codes.md");
        let rows: Vec<&str> = page
            .lines()
            .skip_while(|line| !line.starts_with("|---"))
            .skip(1)
            .take_while(|line| line.starts_with('|'))
            .collect();
        let expected = ExitCode::NUMBERS.map(|(code, number)| {
            let restarted = match code {
                ExitCode::Done => "",
                ExitCode::Bug => "once ",
                _ if code.is_worth_a_restart() => "yes ",
                _ => "no ",
            };
            format!("| {number} | {} | {restarted}|", code.meaning())
        });
        assert_eq!(rows, expected);
    }
}
