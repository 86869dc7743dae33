//! Retries one operation on a store, after random pauses that grow, until it is done, refused, or out of time.

use std::future::Future;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::error::{AttemptError, Result, StorageError, Verdict, credential_variables};
use super::folder::Folder;
use super::open::Opened;
use super::store::Store;
use crate::config::StorageConfig;

/// How long to look for credentials if none were ever found. Most often no service gives them, and a person waits for the
/// message.
const CREDENTIALS_DEADLINE: Duration = Duration::from_secs(3);

/// An operation, and what has been tried for it. Its deadline counts from its creation and covers everything: waiting for a
/// free place among the requests of this process, answers, bodies, pauses.
pub(super) struct Operation<'f> {
    store: &'f Store,
    url: String,
    verb: &'static str,
    started: Instant,
    attempts: u32,
    pause: Duration,
    has_renewed: bool,
    last: Option<String>,
}

impl Folder {
    /// Begins the operation `verb` on the object `name`.
    pub(super) fn operation(&self, verb: &'static str, name: &str) -> Operation<'_> {
        Operation {
            store: &self.store,
            url: self.url_of(name),
            verb,
            started: Instant::now(),
            attempts: 0,
            pause: Duration::ZERO,
            has_renewed: false,
            last: None,
        }
    }
}

impl Operation<'_> {
    /// Returns the client for the next attempt.
    pub(super) fn opened(&self) -> Opened {
        self.store.opened()
    }

    /// Makes one request, and retries it until it succeeds.
    pub(super) async fn request<T, F>(mut self, mut request: impl FnMut(Opened) -> F) -> Result<T>
    where
        F: Future<Output = object_store::Result<T>>,
    {
        loop {
            let answer = answered(self.store, request(self.opened()));
            if let Some(value) = self.attempt(answer).await? {
                return Ok(value);
            }
        }
    }

    /// Makes one attempt. Returns `None` if it failed and should be made again now: the pause is over.
    pub(super) async fn attempt<T>(
        &mut self,
        work: impl Future<Output = std::result::Result<T, AttemptError>>,
    ) -> Result<Option<T>> {
        if !self.store.is_remote() {
            return work.await.map(Some).map_err(|error| self.local(error));
        }
        let permit = self.permit().await?;
        self.attempts += 1;
        match timeout_at(self.deadline(), work).await {
            Ok(Ok(value)) => {
                self.store.note_answer();
                return Ok(Some(value));
            }
            Ok(Err(error)) => self.judge(&error)?,
            Err(_) => return Err(self.unreachable()),
        }
        drop(permit);
        self.wait().await?;
        Ok(None)
    }

    /// Notes that something has arrived, so that the next pause is short again.
    pub(super) fn note_progress(&mut self) {
        self.pause = Duration::ZERO;
    }

    async fn permit(&mut self) -> Result<OwnedSemaphorePermit> {
        let permit = timeout_at(self.deadline(), self.store.requests.clone().acquire_owned()).await;
        // The semaphore is never closed.
        permit.ok().and_then(std::result::Result::ok).ok_or_else(|| {
            let busy = format!("all storage.concurrency = {} requests were busy", self.config().concurrency);
            self.last.get_or_insert(busy);
            self.unreachable()
        })
    }

    fn config(&self) -> &StorageConfig {
        &self.store.config
    }

    fn deadline(&self) -> Instant {
        self.started + Duration::from_secs(self.config().deadline_s)
    }

    /// Fails if a retry is of no use.
    fn judge(&mut self, error: &AttemptError) -> Result<()> {
        let (verdict, reason) = (error.verdict(), error.reason());
        let (url, operation) = (self.url.clone(), self.verb);
        tracing::debug!("{operation} {url}: attempt {}: {reason}", self.attempts);
        self.last = Some(reason.clone());
        match verdict {
            Verdict::Again => Ok(()),
            // A plain web server refuses a request for a listing in one way or another.
            _ if operation == "list" && self.store.is_web() => Err(StorageError::Unlisted { url, reason }),
            Verdict::NotFound => Err(StorageError::NotFound { url }),
            Verdict::Full => Err(StorageError::StoreFull { url, operation, reason }),
            Verdict::Unexplained if !self.has_renewed => {
                self.renew();
                Ok(())
            }
            Verdict::Refused | Verdict::Unexplained => {
                Err(StorageError::Refused { url, operation, reason: self.explain(reason) })
            }
            Verdict::Denied if self.has_renewed => Err(StorageError::Denied { url, operation, reason }),
            Verdict::Expired | Verdict::Denied => {
                self.renew();
                Ok(())
            }
            // In a run of days, the service that gives credentials may be away for a moment.
            Verdict::NoCredentials if self.store.has_answered() => Ok(()),
            Verdict::NoCredentials if self.started.elapsed() < CREDENTIALS_DEADLINE => {
                self.pause = Duration::ZERO;
                Ok(())
            }
            Verdict::NoCredentials => {
                let set = credential_variables(&url);
                let reason =
                    format!("no credentials were found; set {set}, or run where the cloud gives them ({reason})");
                Err(StorageError::Denied { url, operation, reason })
            }
        }
    }

    /// Looks for credentials as at the start.
    fn renew(&mut self) {
        self.has_renewed = true;
        self.store.reopen();
    }

    /// Adds to a refusal what a person may not know.
    fn explain(&self, reason: String) -> String {
        match self.verb {
            "read" if self.store.is_web() => format!("the web server must answer range requests: {reason}"),
            _ => reason,
        }
    }

    /// Pauses for a random time, longer on average each time, so that clients that failed together do not come back together.
    async fn wait(&mut self) -> Result<()> {
        let (min, max) = (self.config().backoff_min_ms, self.config().backoff_max_ms);
        let longest = (self.pause.as_millis() as u64 * 3).clamp(min, max);
        self.pause = Duration::from_millis(min + random() % (longest - min + 1));
        let left = self.deadline().saturating_duration_since(Instant::now());
        sleep(self.pause.min(left)).await;
        if self.pause < left { Ok(()) } else { Err(self.unreachable()) }
    }

    fn unreachable(&self) -> StorageError {
        StorageError::Unreachable {
            url: self.url.clone(),
            operation: self.verb,
            deadline_s: self.config().deadline_s,
            attempts: self.attempts,
            reason: self.last.clone().unwrap_or_else(|| "there was no answer".to_owned()),
        }
    }

    /// Returns an error of this machine, for which a retry is of no use.
    pub(super) fn local(&self, error: impl Into<AttemptError>) -> StorageError {
        let (error, url, operation) = (error.into(), self.url.clone(), self.verb);
        match error {
            AttemptError::Store(object_store::Error::NotFound { .. }) => StorageError::NotFound { url },
            error if error.is_full() => StorageError::Full { url, operation, reason: error.reason() },
            error => StorageError::Local { url, operation, reason: error.reason() },
        }
    }
}

/// Awaits the answer to one request that is not a read, within `storage.request_timeout_s`.
pub(super) async fn answered<T>(
    store: &Store,
    request: impl Future<Output = object_store::Result<T>>,
) -> std::result::Result<T, AttemptError> {
    if !store.is_remote() {
        return Ok(request.await?);
    }
    let limit_s = store.config.request_timeout_s;
    let answer = timeout(Duration::from_secs(limit_s), request).await;
    Ok(answer.map_err(|_| AttemptError::NoAnswer(limit_s))??)
}

/// Returns 64 random bits. The standard library keys every `RandomState` from the operating system's randomness.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
