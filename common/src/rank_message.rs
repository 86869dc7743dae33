//! Messages between the ranks of a job: a value becomes bytes, and a value again. Sending the bytes is not here: the worker's
//! collectives and prepare's ranks each have their own way.
//!
//! All ranks of a job are one program, so a message that cannot be read is a bug, or one host has another build.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::exit_code::ExitCode;
use crate::topology::Rank;

/// Why a value did not get from one rank to another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// The value has no form as bytes.
    #[error("{what} cannot be sent to other ranks: {reason}; this is a bug in Convoy, please report it")]
    Unsendable {
        /// The message.
        what: &'static str,
        /// Why, from the serializer.
        reason: String,
    },
    /// The bytes are no such value.
    #[error(
        "rank {rank} sent {what} that this rank cannot read: {reason}; use one binary everywhere, and where that is so, report this \
         bug in Convoy"
    )]
    Unreadable {
        /// The rank whose bytes they are.
        rank: Rank,
        /// The message.
        what: &'static str,
        /// Why, from the parser.
        reason: String,
    },
}

impl MessageError {
    /// What a process that ends because of this exits with.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::Bug
    }
}

/// The bytes of `value`; `what` names the message, such as `a checkpoint's name`.
pub fn to_bytes(what: &'static str, value: &impl Serialize) -> Result<Vec<u8>, MessageError> {
    serde_json::to_vec(value).map_err(|error| MessageError::Unsendable { what, reason: error.to_string() })
}

/// The value that `rank` has sent as `bytes`.
pub fn from_bytes<T: DeserializeOwned>(what: &'static str, rank: Rank, bytes: &[u8]) -> Result<T, MessageError> {
    let unreadable = |error: serde_json::Error| MessageError::Unreadable { rank, what, reason: error.to_string() };
    serde_json::from_slice(bytes).map_err(unreadable)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn values_arrive_as_they_were_sent() {
        let sent = (Rank(3), Some("text".to_owned()), vec![true, false]);
        let bytes = to_bytes("a trial", &sent).unwrap();
        assert_eq!(from_bytes("a trial", Rank(3), &bytes), Ok(sent));
    }

    #[test]
    fn bytes_that_are_no_message_are_a_bug_and_name_the_message_and_its_rank() {
        for broken in [&b""[..], b"{", b"\"text\"", b"1 2"] {
            let error = from_bytes::<u64>("a number", Rank(7), broken).unwrap_err();
            assert_eq!(error.exit_code(), ExitCode::Bug);
            assert!(error.to_string().starts_with("rank 7 sent a number that this rank cannot read: "), "{error}");
        }
    }

    #[test]
    fn a_value_without_a_form_as_bytes_is_an_error_and_not_an_empty_message() {
        let error = to_bytes("a table", &BTreeMap::from([((1, 2), 3)])).unwrap_err();
        assert_eq!(error.exit_code(), ExitCode::Bug);
        assert!(error.to_string().starts_with("a table cannot be sent to other ranks: "), "{error}");
    }
}
