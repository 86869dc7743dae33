//! An attempt that was handed on: its claimant keeps the claim in one place, while another launcher runs it in another.
//!
//! What is asked of the run reaches the claimant. It passes on what it cannot do itself, as an object in `requests/` whose
//! name says for which attempt it is.

use std::io;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::Builder;

use bytes::Bytes;

use super::holder::{REQUEST_INTERVAL, REQUESTS_FOLDER};
use super::{News, Request, random_hex};
use crate::storage::{Folder, StorageError};

/// Asks whoever runs `attempt` of `run` for a checkpoint.
pub fn pass_on_save(run: &Folder, attempt: u32) -> Result<(), StorageError> {
    let name = format!("{}{}.json", prefix(attempt), random_hex());
    run.folder(REQUESTS_FOLDER).create(&name, Bytes::from_static(b"{}\n"))
}

fn prefix(attempt: u32) -> String {
    format!("attempt-{attempt:04}-save-")
}

/// Hears what is passed on to an attempt, until it is dropped.
pub struct Listener {
    _stop: Sender<()>,
}

impl Listener {
    /// Listens for `attempt` of `run`; `on_news` is called on the thread that does it.
    pub fn start(run: &Folder, attempt: u32, on_news: impl Fn(News) + Send + 'static) -> io::Result<Self> {
        let (stop, stopped) = channel();
        let folder = run.folder(REQUESTS_FOLDER);
        Builder::new().name("requests".into()).spawn(move || {
            while stopped.recv_timeout(REQUEST_INTERVAL) == Err(RecvTimeoutError::Timeout) {
                if let Err(error) = hear(&folder, attempt, &on_news) {
                    tracing::warn!("cannot hear what is asked of attempt {attempt}: {error}");
                }
            }
        })?;
        Ok(Listener { _stop: stop })
    }
}

fn hear(folder: &Folder, attempt: u32, on_news: &impl Fn(News)) -> Result<(), StorageError> {
    let prefix = prefix(attempt);
    for request in folder.list()?.iter().filter(|request| request.name.starts_with(&prefix)) {
        // A listing may still show what was heard already.
        if folder.exists(&request.name)? {
            folder.delete(&request.name)?;
            on_news(News::Asked(Request::Save));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::StorageConfig;

    #[test]
    fn only_what_is_for_the_attempt_is_heard_and_once() {
        let run = Folder::open("memory://handed", &StorageConfig::default()).unwrap();
        super::super::ask(&run, Request::Save).unwrap();
        pass_on_save(&run, 3).unwrap();
        pass_on_save(&run, 12).unwrap();
        let (speaker, news) = channel();
        let folder = run.folder(REQUESTS_FOLDER);
        for _ in 0..2 {
            hear(&folder, 12, &|heard| drop(speaker.send(heard))).unwrap();
        }
        drop(speaker);
        assert!(matches!(news.recv(), Ok(News::Asked(Request::Save))));
        assert!(news.recv().is_err());
        assert_eq!(folder.list().unwrap().len(), 2);
    }
}
