//! Decides who is let in, by the first line of a connection.

use std::hint::black_box;

use common::figures::counted;
use common::topology::{Rank, WorldSize};
use common::worker_contract::{FromRank, PROTOCOL_VERSION};

/// The token that a rank must show, and the number of ranks.
pub struct Door {
    /// Secret of the attempt.
    pub token: String,
    /// Number of ranks.
    pub world_size: WorldSize,
}

/// Judgement of a first line.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A rank of this attempt, on the host of this name.
    Rank(Rank, String),
    /// A rank that knows the token and cannot take part; holds the reason, and what to do.
    Misfit(String),
    /// A connection that does not know the token.
    Stranger,
}

impl Door {
    /// Judges `hello`, the first line of a connection.
    pub fn judge(&self, hello: &[u8]) -> Verdict {
        let Ok(FromRank::Hello { version, token, rank, world_size, host, .. }) = serde_json::from_slice(hello) else {
            return Verdict::Stranger;
        };
        if !are_equal_secrets(&token, &self.token) {
            return Verdict::Stranger;
        }
        if version != PROTOCOL_VERSION {
            return Verdict::Misfit(format!(
                "the worker speaks protocol {version}, this launcher {PROTOCOL_VERSION}; build both from one checkout"
            ));
        }
        if world_size != self.world_size || rank.0 >= world_size.get() {
            return Verdict::Misfit(format!(
                "a worker says that it is rank {rank} of {world_size}, expected {}; build it against the MPI that the mpirun on \
                 PATH belongs to",
                counted(self.world_size.get().into(), "rank")
            ));
        }
        Verdict::Rank(rank, host)
    }
}

/// Compares every byte, even after a difference, so that the time does not tell how much of a guess is right. The length of a
/// token is no secret.
fn are_equal_secrets(shown: &str, secret: &str) -> bool {
    let pairs = shown.bytes().zip(secret.bytes());
    let difference = pairs.fold(0, |difference, (a, b)| black_box(difference | (a ^ b)));
    shown.len() == secret.len() && difference == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_right_as_a_whole_or_not_at_all() {
        let secret = "0123456789abcdef";
        assert!(are_equal_secrets(secret, secret));
        for wrong in ["", "0", "0123456789abcde", "0123456789abcdef0", "0123456789abcdeF", "x123456789abcdef"] {
            assert!(!are_equal_secrets(wrong, secret), "{wrong}");
        }
    }
}
