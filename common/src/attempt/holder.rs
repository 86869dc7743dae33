//! Keeping a claim: a thread refreshes it, looks for a newer one, and hears what is asked of the run from elsewhere.
//!
//! What is asked lies in `requests/`, one object each, which the holder removes when it takes it up.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::Builder;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{ATTEMPTS_FOLDER, Attempt, AttemptError, check_fence, random_hex, unix_s};
use crate::storage::{Folder, StorageError};

/// Folder of what is asked of a run.
pub(super) const REQUESTS_FOLDER: &str = "requests";
/// What the name of an object begins with that asks for a checkpoint, and for one and the end.
const PREFIXES: [(&str, Request); 2] = [("save-", Request::Save), ("stop-", Request::Stop)];
/// A claim is refreshed so many times before it would expire.
const REFRESHES: u32 = 6;
/// How long a request may wait to be heard.
pub(super) const REQUEST_INTERVAL: Duration = Duration::from_secs(5);
/// How long an end waits until it is known in the store.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// The last sign of life of an attempt: the object `NNNN.alive`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Alive {
    /// The claim's.
    id: String,
    /// Counts the refreshes, so that any two differ.
    count: u64,
    /// Seconds since 1970, by the claimant's clock.
    pub refreshed_at_unix_s: u64,
    /// Its claimant has seen its end: nobody need wait.
    pub has_ended: bool,
}

impl Alive {
    /// Of `attempt`; `None` where there is none yet, or it cannot be read.
    pub fn read(folder: &Folder, attempt: &Attempt) -> Result<Option<Self>, StorageError> {
        let content = folder.get_if_exists(&attempt.alive_name())?;
        Ok(content.and_then(|content| serde_json::from_slice(&content).ok()))
    }
}

/// What can be asked of a run from elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// A checkpoint.
    Save,
    /// A checkpoint, and then the end.
    Stop,
}

/// What a holder hears.
#[derive(Debug)]
pub enum News {
    /// Somebody asks something of the run.
    Asked(Request),
    /// A newer attempt has taken the run over: always [`AttemptError::Fenced`].
    Fenced(AttemptError),
}

/// Holds a run for an attempt. Dropping it says that the attempt has ended.
pub struct Holder {
    number: u32,
    /// Dropped to end the thread.
    stop: Option<Sender<()>>,
    ended: Receiver<()>,
}

impl Holder {
    /// Keeps `attempt`'s claim to `run`, which expires after `expiry` where it is not refreshed. `on_news` is called on the
    /// thread that does it.
    pub fn start(
        run: &Folder,
        attempt: Attempt,
        expiry: Duration,
        on_news: impl Fn(News) + Send + 'static,
    ) -> io::Result<Self> {
        let (stop, stopped) = channel();
        let (end, ended) = channel();
        let number = attempt.attempt;
        let keeper = Keeper { run: run.clone(), attempt, count: 0, on_news: Box::new(on_news) };
        Builder::new().name("claim".into()).spawn(move || {
            keeper.keep(expiry, &stopped);
            // Whoever waits for the end may have given up.
            let _ = end.send(());
        })?;
        Ok(Holder { number, stop: Some(stop), ended })
    }

    /// The attempt's number.
    pub fn number(&self) -> u32 {
        self.number
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.stop.take());
        // A store that is away must not hold up an end: the claim expires by itself.
        let _ = self.ended.recv_timeout(END_TIMEOUT);
    }
}

struct Keeper {
    run: Folder,
    attempt: Attempt,
    count: u64,
    on_news: Box<dyn Fn(News) + Send>,
}

impl Keeper {
    fn keep(mut self, expiry: Duration, stopped: &Receiver<()>) {
        let refresh_interval = expiry / REFRESHES;
        let mut refresh_at = Instant::now();
        loop {
            if Instant::now() >= refresh_at {
                refresh_at = Instant::now() + refresh_interval;
                self.warn_of(self.refresh(false), "refresh");
                match check_fence(&self.run, self.attempt.attempt) {
                    Err(error @ AttemptError::Fenced { .. }) => return (self.on_news)(News::Fenced(error)),
                    other => self.warn_of(other, "look for others beside"),
                }
                self.count += 1;
            }
            self.warn_of(self.hear(), "hear what is asked of");
            match stopped.recv_timeout(refresh_interval.min(REQUEST_INTERVAL)) {
                Err(RecvTimeoutError::Timeout) => {}
                _ => return self.warn_of(self.refresh(true), "end"),
            }
        }
    }

    fn refresh(&self, has_ended: bool) -> Result<(), AttemptError> {
        let Attempt { id, .. } = &self.attempt;
        let alive = Alive { id: id.clone(), count: self.count, refreshed_at_unix_s: unix_s(), has_ended };
        let json = serde_json::to_vec(&alive).unwrap_or_else(|e| unreachable!("a sign of life is JSON: {e}"));
        Ok(self.run.folder(ATTEMPTS_FOLDER).put(&self.attempt.alive_name(), Bytes::from(json))?)
    }

    fn hear(&self) -> Result<(), AttemptError> {
        let folder = self.run.folder(REQUESTS_FOLDER);
        for object in folder.list()? {
            let Some((_, request)) = PREFIXES.iter().find(|(prefix, _)| object.name.starts_with(prefix)) else {
                continue;
            };
            folder.delete(&object.name)?;
            (self.on_news)(News::Asked(*request));
        }
        Ok(())
    }

    /// A store that is away is no reason to end: others cannot reach it either, or the next look before a commit tells.
    fn warn_of(&self, result: Result<(), AttemptError>, what: &str) {
        if let Err(error) = result {
            tracing::warn!("cannot {what} attempt {}: {error}", self.attempt.attempt);
        }
    }
}

/// Asks `request` of whoever holds `run`.
pub fn ask(run: &Folder, request: Request) -> Result<(), StorageError> {
    let prefix = PREFIXES.iter().find(|(_, of)| *of == request).map_or("", |(prefix, _)| prefix);
    let name = format!("{prefix}{}.json", random_hex());
    let json = serde_json::json!({ "requested_at_unix_s": unix_s(), "host": super::host_name() });
    run.folder(REQUESTS_FOLDER).create(&name, Bytes::from(json.to_string()))
}

/// What is asked of `run` at the moment, for a claimant that has just come: it was not asked of it.
pub(super) fn pending(run: &Folder) -> Result<Vec<String>, StorageError> {
    Ok(run.folder(REQUESTS_FOLDER).list()?.into_iter().map(|object| object.name).collect())
}

/// Forgets the requests called `names`.
pub(super) fn forget(run: &Folder, names: &[String]) -> Result<(), StorageError> {
    names.iter().try_for_each(|name| run.folder(REQUESTS_FOLDER).delete(name))
}
