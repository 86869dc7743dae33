//! Attempts that were handed on: the claimant keeps the claim in one place, while another launcher runs the attempt elsewhere.
//!
//! Requests to the run reach the claimant. It passes on those that it cannot fulfil itself as objects in `requests/`, whose
//! names contain the attempt.

use std::io;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::Builder;

use bytes::Bytes;

use super::claim::Claim;
use super::holder::{News, REQUEST_INTERVAL, REQUESTS_FOLDER, Request};
use crate::random::random_hex;
use crate::storage::{Folder, StorageError};

/// Asks the launcher that runs the attempt of `claim` for a checkpoint.
pub fn pass_on_save(run: &Folder, claim: &Claim) -> Result<(), StorageError> {
    let name = format!("{}{}.json", prefix(claim), random_hex());
    run.folder(REQUESTS_FOLDER).create(&name, Bytes::from_static(b"{}\n"))
}

/// Returns the beginning of a request's name. It contains the claim's tag, since another run may have been begun in this folder.
fn prefix(claim: &Claim) -> String {
    format!("attempt-{:04}-{}-save-", claim.number, claim.tag())
}

/// Hears the requests passed on to an attempt, until it is dropped.
pub struct Listener {
    _stop: Sender<()>,
}

impl Listener {
    /// Listens for requests to the attempt of `claim`. Calls `on_news` on the listening thread.
    pub fn start(run: &Folder, claim: &Claim, on_news: impl Fn(News) + Send + 'static) -> io::Result<Self> {
        let (stop, stopped) = channel();
        let (folder, claim) = (run.folder(REQUESTS_FOLDER), claim.clone());
        Builder::new().name("requests".into()).spawn(move || {
            while stopped.recv_timeout(REQUEST_INTERVAL) == Err(RecvTimeoutError::Timeout) {
                if let Err(error) = hear(&folder, &claim, &on_news) {
                    tracing::warn!("cannot hear what is asked of attempt {}: {error}", claim.number);
                }
            }
        })?;
        Ok(Listener { _stop: stop })
    }
}

fn hear(folder: &Folder, claim: &Claim, on_news: &impl Fn(News)) -> Result<(), StorageError> {
    let prefix = prefix(claim);
    for request in folder.list()?.iter().filter(|request| request.name.starts_with(&prefix)) {
        // A listing may still show a request that was heard already.
        if folder.exists(&request.name)? {
            folder.delete(&request.name)?;
            on_news(News::Asked(Request::Save));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::holder::ask;
    use super::*;
    use crate::config::StorageConfig;

    #[test]
    fn only_what_is_for_the_attempt_is_heard_and_once() {
        let run = Folder::open("memory://handed", &StorageConfig::default()).unwrap();
        ask(&run, Request::Save).unwrap();
        // An attempt of a run that was begun anew in this folder has another claim.
        let [other, earlier, mine] =
            [(12, "b"), (3, "a"), (12, "a")].map(|(number, id)| Claim { number, id: id.repeat(16) });
        [&other, &earlier, &mine].into_iter().for_each(|claim| pass_on_save(&run, claim).unwrap());
        let (speaker, news) = channel();
        let folder = run.folder(REQUESTS_FOLDER);
        for _ in 0..2 {
            hear(&folder, &mine, &|heard| drop(speaker.send(heard))).unwrap();
        }
        drop(speaker);
        assert!(matches!(news.recv(), Ok(News::Asked(Request::Save))));
        assert!(news.recv().is_err());
        assert_eq!(folder.list().unwrap().len(), 3);
    }
}
