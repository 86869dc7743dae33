//! Messages between ranks: a value becomes bytes, which are exchanged and read again.
//!
//! An error in reading is the same on all ranks, since all read the same bytes. A rank that cannot send its value fails alone, which
//! ends all ranks, as every failure of one does.

use common::rank_message::{from_bytes, to_bytes};
use common::topology::Rank;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Collectives, CollectivesError};

impl dyn Collectives + '_ {
    /// Every rank receives what `make` makes on rank 0; `what` names it in messages. A failure to make it ends the job, so the
    /// others need not hear of it.
    pub fn share<T, E>(&self, what: &'static str, make: impl FnOnce() -> Result<T, E>) -> Result<T, E>
    where
        T: Serialize + DeserializeOwned,
        E: From<CollectivesError>,
    {
        let mine = match self.rank().is_zero() {
            true => to_bytes(what, &make()?).map_err(CollectivesError::from)?,
            false => Vec::new(),
        };
        let bytes = self.broadcast_bytes(&mine)?;
        Ok(from_bytes(what, Rank::ZERO, &bytes).map_err(CollectivesError::from)?)
    }

    /// Every rank receives the `value` of all ranks, in rank order; `what` names it in messages.
    pub fn gather<T>(&self, what: &'static str, value: &T) -> Result<Vec<T>, CollectivesError>
    where
        T: Serialize + DeserializeOwned,
    {
        let all = self.gather_bytes(&to_bytes(what, value)?)?;
        let read = |(rank, bytes): (u32, &Vec<u8>)| from_bytes(what, Rank(rank), bytes);
        Ok((0..).zip(&all).map(read).collect::<Result<_, _>>()?)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use common::exit_code::ExitCode;
    use common::rank_message::MessageError;

    use super::*;
    use crate::collectives::single::Single;
    use crate::error::JobError;

    #[test]
    fn what_cannot_be_read_is_a_bug_and_names_the_rank() {
        let alone: &dyn Collectives = &Single::default();
        // JSON has no such number, so that `null` arrives.
        let error = alone.gather("a number", &f64::NAN).unwrap_err();
        assert!(
            matches!(&error, CollectivesError::Message(MessageError::Unreadable { rank: Rank::ZERO, .. })),
            "{error:?}"
        );
        let error = alone.share("a number", || Ok::<_, JobError>(f64::NAN)).unwrap_err();
        assert_eq!(error.exit_code(), ExitCode::Bug);
        assert!(error.to_string().contains("rank 0 sent a number that this rank cannot read"), "{error}");
    }

    #[test]
    fn what_cannot_be_sent_is_an_error_and_not_an_empty_message() {
        let alone: &dyn Collectives = &Single::default();
        let error = JobError::from(alone.gather("a table", &BTreeMap::from([((1, 2), 3)])).unwrap_err());
        assert_eq!(error.exit_code(), ExitCode::Bug);
        assert!(error.to_string().starts_with("a table cannot be sent"), "{error}");
    }

    #[test]
    fn a_failure_to_make_what_is_shared_stays_what_it_is() {
        let alone: &dyn Collectives = &Single::default();
        let lost = || Err::<u32, _>(JobError::LauncherLost("gone".into()));
        assert_eq!(alone.share("a number", lost).unwrap_err().exit_code(), ExitCode::Communication);
    }
}
