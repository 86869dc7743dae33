//! Keeps a claim: a thread refreshes it, looks for a newer claim, and hears requests from elsewhere.
//!
//! Each request is an object in `requests/`, which the holder removes when it takes the request up.

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

/// Folder of requests to a run, in the run folder.
pub(super) const REQUESTS_FOLDER: &str = "requests";
/// Beginnings of the names of requests.
const PREFIXES: [(&str, Request); 2] = [("save-", Request::Save), ("stop-", Request::Stop)];
/// Number of refreshes of a claim during its time of expiry.
pub(super) const REFRESHES: u32 = 6;
/// Longest time that a request waits to be heard.
pub(super) const REQUEST_INTERVAL: Duration = Duration::from_secs(5);
/// Longest time that an end waits until the store knows of it.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// Last sign of life of an attempt: the object `NNNN.alive`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Alive {
    /// Id of the claim.
    id: String,
    /// Number of refreshes, so that any two signs differ.
    count: u64,
    /// Time of the refresh, in seconds since 1970 by the claimant's clock.
    pub refreshed_at_unix_s: u64,
    /// Whether the claimant has seen the attempt's end, so that nobody needs to wait.
    pub has_ended: bool,
}

impl Alive {
    /// Reads the last sign of life of `attempt`. Returns `None` if there is none yet, it cannot be read, or it is another
    /// claim's.
    pub async fn read(run: &impl Surroundings, attempt: &Attempt) -> Result<Option<Self>, StorageError> {
        let content = run.read(&format!("{ATTEMPTS_FOLDER}/{}", attempt.alive_name())).await?;
        let alive = content.and_then(|content| serde_json::from_slice(&content).ok());
        Ok(alive.filter(|alive: &Alive| alive.id == attempt.id))
    }
}

/// A request to a run from elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Saves a checkpoint.
    Save,
    /// Saves a checkpoint, and then ends the run.
    Stop,
}

/// An event that a holder hears of.
#[derive(Debug)]
pub enum News {
    /// Somebody has made a request to the run.
    Asked(Request),
    /// The run belongs to another attempt: [`AttemptError::Fenced`] or [`AttemptError::Vanished`].
    Fenced(AttemptError),
}

/// Holds a run for an attempt. Dropping it records that the attempt has ended.
pub struct Holder {
    claim: Claim,
    /// Ends the thread when it is dropped.
    stop: Option<Sender<()>>,
    ended: Receiver<()>,
}

impl Holder {
    /// Keeps `attempt`'s claim to `run`, which expires after `expiry` without a refresh. Calls `on_news` on the thread that
    /// keeps the claim.
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
            // The receiver may have given up waiting for the end.
            let _ = end.send(());
        })?;
        Ok(Holder { claim, stop: Some(stop), ended })
    }

    /// Returns the claim that is kept.
    pub fn claim(&self) -> &Claim {
        &self.claim
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.stop.take());
        // An unreachable store must not hold up an end: the claim expires by itself.
        let _ = self.ended.recv_timeout(END_TIMEOUT);
    }
}

/// Keeps a claim, one look at a time.
pub(super) struct Keeper<R> {
    run: R,
    attempt: Attempt,
    count: u64,
}

impl<R: Surroundings> Keeper<R> {
    pub fn new(run: R, attempt: Attempt) -> Self {
        Keeper { run, attempt, count: 0 }
    }

    /// Gives a sign of life, unless the run belongs to another attempt: it puts nothing beside a claim that is not its own.
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
            // A listing may still show a request that was heard already, such as the stop that ended an earlier attempt.
            if folder.exists(&object.name)? {
                // The request may be for the attempt that holds the run now.
                blocking(fence(&self.run, &self.attempt.claim()))?;
                folder.delete(&object.name)?;
                on_news(News::Asked(*request));
            }
        }
        Ok(())
    }

    /// Warns of a failure. An unreachable store is no reason to end: others cannot reach it either, or the check before the
    /// next commit tells.
    fn warn_of(&self, result: Result<(), AttemptError>, what: &str) {
        match result {
            // A launcher goes on from attempt to attempt: the next claim tells that one has ended.
            Err(AttemptError::Fenced { .. }) | Ok(()) => {}
            Err(error) => tracing::warn!("cannot {what} attempt {}: {error}", self.attempt.attempt),
        }
    }
}

/// Makes `request` to the attempt that holds `run`.
pub fn ask(run: &Folder, request: Request) -> Result<(), StorageError> {
    let prefix = PREFIXES.iter().find(|(_, of)| *of == request).map_or("", |(prefix, _)| prefix);
    let name = format!("{prefix}{}.json", random_hex());
    let json = serde_json::json!({ "requested_at_unix_s": unix_s(), "host": host_name() });
    run.folder(REQUESTS_FOLDER).create(&name, Bytes::from(json.to_string()))
}

/// Returns the names of the requests to `run` that are pending, which a new claimant ignores since they were made to others.
pub(super) async fn pending(run: &impl Surroundings) -> Result<Vec<String>, StorageError> {
    Ok(run.list(REQUESTS_FOLDER).await?.into_iter().map(|object| object.name).collect())
}

/// Deletes the requests called `names`.
pub(super) async fn forget(run: &impl Surroundings, names: &[String]) -> Result<(), StorageError> {
    for name in names {
        run.delete(&format!("{REQUESTS_FOLDER}/{name}")).await?;
    }
    Ok(())
}
