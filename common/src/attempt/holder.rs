//! Keeping a claim: a thread refreshes it, looks for a newer one, and hears what is asked of the run from elsewhere.
//!
//! What is asked lies in `requests/`, one object each, which the holder removes when it takes it up.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::Builder;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::claim::{ATTEMPTS_FOLDER, Attempt, Claim};
use super::claims::fence;
use super::error::AttemptError;
use super::surroundings::{Surroundings, blocking};
use crate::clock::unix_s;
use crate::host_name::host_name;
use crate::random::random_hex;
use crate::storage::{Folder, StorageError};

/// Folder of what is asked of a run.
pub(super) const REQUESTS_FOLDER: &str = "requests";
/// What the name of an object begins with that asks for a checkpoint, and for one and the end.
const PREFIXES: [(&str, Request); 2] = [("save-", Request::Save), ("stop-", Request::Stop)];
/// A claim is refreshed so many times before it would expire.
pub(super) const REFRESHES: u32 = 6;
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
    /// Of `attempt`; `None` where there is none yet, it cannot be read, or it is another claim's.
    pub async fn read(run: &impl Surroundings, attempt: &Attempt) -> Result<Option<Self>, StorageError> {
        let content = run.read(&format!("{ATTEMPTS_FOLDER}/{}", attempt.alive_name())).await?;
        let alive = content.and_then(|content| serde_json::from_slice(&content).ok());
        Ok(alive.filter(|alive: &Alive| alive.id == attempt.id))
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
    /// The run is another attempt's: [`AttemptError::Fenced`] or [`AttemptError::Vanished`].
    Fenced(AttemptError),
}

/// Holds a run for an attempt. Dropping it says that the attempt has ended.
pub struct Holder {
    claim: Claim,
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
        let claim = attempt.claim();
        let mut keeper = Keeper::new(run.clone(), attempt);
        Builder::new().name("claim".into()).spawn(move || {
            keeper.keep(expiry, &stopped, &on_news);
            // Whoever waits for the end may have given up.
            let _ = end.send(());
        })?;
        Ok(Holder { claim, stop: Some(stop), ended })
    }

    /// The claim that it keeps.
    pub fn claim(&self) -> &Claim {
        &self.claim
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.stop.take());
        // A store that is away must not hold up an end: the claim expires by itself.
        let _ = self.ended.recv_timeout(END_TIMEOUT);
    }
}

/// What keeps a claim, one look at a time.
pub(super) struct Keeper<R> {
    run: R,
    attempt: Attempt,
    count: u64,
}

impl<R: Surroundings> Keeper<R> {
    pub fn new(run: R, attempt: Attempt) -> Self {
        Keeper { run, attempt, count: 0 }
    }

    /// Gives a sign of life, unless the run is another attempt's: beside a claim that is not its own it puts nothing.
    pub async fn refresh(&mut self, has_ended: bool) -> Result<(), AttemptError> {
        let Attempt { id, .. } = &self.attempt;
        fence(&self.run, &self.attempt.claim()).await?;
        let refreshed_at_unix_s = self.run.unix_s();
        let alive = Alive { id: id.clone(), count: self.count, refreshed_at_unix_s, has_ended };
        self.count += 1;
        let json = serde_json::to_vec(&alive).unwrap_or_else(|e| unreachable!("a sign of life is JSON: {e}"));
        let name = format!("{ATTEMPTS_FOLDER}/{}", self.attempt.alive_name());
        Ok(self.run.put(&name, Bytes::from(json)).await?)
    }
}

impl Keeper<Folder> {
    fn keep(&mut self, expiry: Duration, stopped: &Receiver<()>, on_news: &impl Fn(News)) {
        let refresh_interval = expiry / REFRESHES;
        let mut refresh_at = Instant::now();
        loop {
            if Instant::now() >= refresh_at {
                refresh_at = Instant::now() + refresh_interval;
                match blocking(self.refresh(false)) {
                    Err(error) if error.is_another_attempts() => return on_news(News::Fenced(error)),
                    other => self.warn_of(other, "refresh"),
                }
            }
            match self.hear(on_news) {
                Err(error) if error.is_another_attempts() => return on_news(News::Fenced(error)),
                other => self.warn_of(other, "hear what is asked of"),
            }
            match stopped.recv_timeout(refresh_interval.min(REQUEST_INTERVAL)) {
                Err(RecvTimeoutError::Timeout) => {}
                _ => {
                    let ended = blocking(self.refresh(true));
                    return self.warn_of(ended, "end");
                }
            }
        }
    }

    fn hear(&self, on_news: &impl Fn(News)) -> Result<(), AttemptError> {
        let folder = self.run.folder(REQUESTS_FOLDER);
        for object in folder.list()? {
            let Some((_, request)) = PREFIXES.iter().find(|(prefix, _)| object.name.starts_with(prefix)) else {
                continue;
            };
            // A listing may still show what was heard already, a stop that ended the attempt before among it.
            if folder.exists(&object.name)? {
                // It may be asked of whoever holds the run now.
                blocking(fence(&self.run, &self.attempt.claim()))?;
                folder.delete(&object.name)?;
                on_news(News::Asked(*request));
            }
        }
        Ok(())
    }

    /// A store that is away is no reason to end: others cannot reach it either, or the next look before a commit tells.
    fn warn_of(&self, result: Result<(), AttemptError>, what: &str) {
        match result {
            // A launcher goes on from attempt to attempt: the end of one is said by the claim of the next.
            Err(AttemptError::Fenced { .. }) | Ok(()) => {}
            Err(error) => tracing::warn!("cannot {what} attempt {}: {error}", self.attempt.attempt),
        }
    }
}

/// Asks `request` of whoever holds `run`.
pub fn ask(run: &Folder, request: Request) -> Result<(), StorageError> {
    let prefix = PREFIXES.iter().find(|(_, of)| *of == request).map_or("", |(prefix, _)| prefix);
    let name = format!("{prefix}{}.json", random_hex());
    let json = serde_json::json!({ "requested_at_unix_s": unix_s(), "host": host_name() });
    run.folder(REQUESTS_FOLDER).create(&name, Bytes::from(json.to_string()))
}

/// What is asked of `run` at the moment, for a claimant that has just come: it was not asked of it.
pub(super) async fn pending(run: &impl Surroundings) -> Result<Vec<String>, StorageError> {
    Ok(run.list(REQUESTS_FOLDER).await?.into_iter().map(|object| object.name).collect())
}

/// Forgets the requests called `names`.
pub(super) async fn forget(run: &impl Surroundings, names: &[String]) -> Result<(), StorageError> {
    for name in names {
        run.delete(&format!("{REQUESTS_FOLDER}/{name}")).await?;
    }
    Ok(())
}
