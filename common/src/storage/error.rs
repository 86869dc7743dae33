//! Why an operation on a store failed, and what a person should check.

use std::io;

use crate::exit_code::ExitCode;
use crate::figures::counted;
use crate::secrets::without_secrets;

/// An operation on a store failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StorageError {
    /// The URL cannot be opened.
    #[error("cannot open {url}: {reason}; use s3://, gs://, az://, http(s)://, file:// or a path")]
    Url {
        /// URL as given.
        url: String,
        /// What is wrong with the URL.
        reason: String,
    },
    /// The pattern matches nothing, or is ambiguous.
    #[error("{pattern}: {reason}")]
    Pattern {
        /// Pattern as given, without secrets.
        pattern: String,
        /// What is wrong with the pattern.
        reason: String,
    },
    /// The web server serves objects but cannot list them.
    #[error("{url} cannot be listed: only a web server that speaks WebDAV can be; name each object ({reason})")]
    Unlisted {
        /// URL of the folder.
        url: String,
        /// Answer of the server.
        reason: String,
    },
    /// The object does not exist.
    #[error("{url} does not exist")]
    NotFound {
        /// URL of the object.
        url: String,
    },
    /// A create-only put found an object of another writer.
    #[error("{url} exists already")]
    AlreadyExists {
        /// URL of the object.
        url: String,
    },
    /// The store refuses the credentials, or there are none.
    #[error("{operation} {url}: access denied: {reason}; check the credentials in this process's environment")]
    Denied {
        /// URL of the object.
        url: String,
        /// Operation that failed.
        operation: &'static str,
        /// Answer of the store.
        reason: String,
    },
    /// The store refuses the operation for good, so that a retry would not help.
    #[error("{operation} {url}: the store refuses: {reason}; check the URL, the bucket's region and the endpoint")]
    Refused {
        /// URL of the object.
        url: String,
        /// Operation that failed.
        operation: &'static str,
        /// Answer of the store.
        reason: String,
    },
    /// The store gave no answer, or only errors, until the deadline.
    #[error(
        "{operation} {url}: storage did not do it within storage.deadline_s = {deadline_s}, tried {}: {reason}; \
         check that the store is up and reachable from here",
        counted((*attempts).into(), "time")
    )]
    Unreachable {
        /// URL of the object.
        url: String,
        /// Operation that failed.
        operation: &'static str,
        /// `storage.deadline_s`.
        deadline_s: u64,
        /// Number of attempts.
        attempts: u32,
        /// Cause of the last failure.
        reason: String,
    },
    /// A disk of this machine is full.
    #[error(
        "{operation} {url}: the disk is full, or a limit on what may be written is reached: {reason}; make room (df, quota, ulimit -f), \
         and run the same command again"
    )]
    Full {
        /// URL of the object.
        url: String,
        /// Operation that failed.
        operation: &'static str,
        /// Error of the system.
        reason: String,
    },
    /// The store has no room left.
    #[error(
        "{operation} {url}: the store is full, or a quota on it is reached: {reason}; make room in the store or raise the quota, \
         and run the same command again"
    )]
    StoreFull {
        /// URL of the object.
        url: String,
        /// Operation that failed.
        operation: &'static str,
        /// Answer of the store.
        reason: String,
    },
    /// The local file system refused the operation.
    #[error("{operation} {url}: {reason}")]
    Local {
        /// URL of the object.
        url: String,
        /// Operation that failed.
        operation: &'static str,
        /// Error of the system.
        reason: String,
    },
}

impl StorageError {
    /// Returns the exit code of a process that ends because of this error.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            StorageError::Url { .. } | StorageError::Pattern { .. } => ExitCode::Config,
            StorageError::NotFound { .. }
            | StorageError::AlreadyExists { .. }
            | StorageError::Denied { .. }
            | StorageError::Refused { .. }
            | StorageError::Unlisted { .. }
            // A restart would not make room.
            | StorageError::Full { .. }
            | StorageError::StoreFull { .. } => ExitCode::Data,
            StorageError::Unreachable { .. } | StorageError::Local { .. } => ExitCode::Storage,
        }
    }
}

/// Result of an operation on a store.
pub(super) type Result<T> = std::result::Result<T, StorageError>;

/// Why one attempt at an operation failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum AttemptError {
    #[error("{0}")]
    Store(#[from] object_store::Error),
    #[error("no answer within storage.request_timeout_s = {0}")]
    NoAnswer(u64),
    #[error("a read delivered nothing for storage.stall_timeout_s = {0}")]
    Stalled(u64),
    #[error("the body ended after {got} of {expected} bytes")]
    Length { got: usize, expected: u64 },
    #[error("the object changed while it was read")]
    Changed,
}

/// What to do about a failed attempt.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    /// Trying again may help.
    Again,
    /// Credentials have expired. New ones may be available, now or soon.
    Expired,
    /// The credentials are refused. Others may be available.
    Denied,
    /// No credentials were found.
    NoCredentials,
    /// A refusal without explanation. The answer to whether an object exists has no body, even where S3 would say in it that
    /// the credentials have expired.
    Unexplained,
    NotFound,
    /// The store has no room. A retry does not help: room is made by people.
    Full,
    /// A retry does not help.
    Refused,
}

impl AttemptError {
    /// Returns the messages of this error and of all its causes, without repetition and limited in length.
    pub(super) fn reason(&self) -> String {
        const MOST_CHARACTERS: usize = 600;
        let text = match self {
            AttemptError::Store(error) => without_secrets(&root_cause(error)).into_owned(),
            other => other.to_string(),
        };
        match text.char_indices().nth(MOST_CHARACTERS) {
            Some((end, _)) => format!("{} ...", &text[..end]),
            None => text,
        }
    }

    /// Returns whether a disk of this machine is full.
    pub(super) fn is_full(&self) -> bool {
        let AttemptError::Store(error) = self else { return false };
        let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
        while let Some(error) = next {
            let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
            if matches!(
                kind,
                Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
            ) {
                return true;
            }
            next = error.source();
        }
        false
    }

    pub(super) fn verdict(&self) -> Verdict {
        use object_store::Error as E;
        let AttemptError::Store(error) = self else { return Verdict::Again };
        let reason = root_cause(error);
        match (error, status(&reason)) {
            (E::NotFound { .. }, _) | (_, Some(404)) => Verdict::NotFound,
            _ if contains(&reason, EXPIRED) => Verdict::Expired,
            (_, Some(507)) => Verdict::Full,
            _ if contains(&reason, FULL) => Verdict::Full,
            (E::PermissionDenied { .. } | E::Unauthenticated { .. }, _) | (_, Some(401 | 403)) => Verdict::Denied,
            _ if reason.ends_with(UNEXPLAINED) => Verdict::Unexplained,
            // A conflict with a concurrent operation of another client.
            (E::AlreadyExists { .. }, _) => Verdict::Again,
            (E::Generic { .. }, None) if reason.contains(NO_LISTING) => Verdict::Refused,
            (E::Generic { .. }, Some(status)) if !contains(&reason, DAMAGED) && !is_passing(status) => Verdict::Refused,
            (E::Generic { .. }, None) if contains(&reason, CREDENTIALS) => Verdict::NoCredentials,
            (E::Generic { .. } | E::JoinError { .. }, _) => Verdict::Again,
            _ => Verdict::Refused,
        }
    }
}

/// How stores say that credentials have expired. S3 does so with status 400.
const EXPIRED: &[&str] = &["ExpiredToken", "TokenRefreshRequired", "token has expired", "RequestTimeTooSkewed"];

/// Codes of a store without room: of MinIO, which answers 507, or 400 where a bucket is over its quota, and of Ceph, which
/// answers 403.
const FULL: &[&str] = &["<Code>XMinioStorageFull<", "<Code>XMinioAdminBucketQuotaExceeded<", "<Code>QuotaExceeded<"];

/// Error for a page, or any other body that is not a listing, with which a web server answers a request for one.
const NO_LISTING: &str = "Error decoding PROPFIND response";

/// End of the message for a refusal that has no body.
const UNEXPLAINED: &str = "400 Bad Request:";

/// Codes for a request that arrived damaged or too slowly, to which S3 also answers 400.
const DAMAGED: &[&str] = &["BadDigest", "IncompleteBody", "RequestTimeout", "SHA256Mismatch", "InvalidDigest"];

/// Marks of missing credentials, which only show when the last link of the chain, the cloud's metadata service, does not answer.
const CREDENTIALS: &[&str] = &[
    "169.254.169.254",
    "169.254.170.2",
    "/latest/api/token",
    "metadata.google.internal",
    "computeMetadata",
    "redential",
];

fn contains(reason: &str, marks: &[&str]) -> bool {
    marks.iter().any(|mark| reason.contains(mark))
}

/// Returns whether a retry may give another HTTP status. 501 means that the server lacks a feature, 505 that it does not
/// speak the protocol version.
fn is_passing(status: u16) -> bool {
    matches!(status, 408 | 409 | 425 | 429) || (status >= 500 && status != 501 && status != 505)
}

/// Returns the HTTP status of the server's last answer, which only the text of the error contains.
fn status(reason: &str) -> Option<u16> {
    const MARK: &str = "non-2xx status code: ";
    reason.split_once(MARK)?.1.get(..3)?.parse().ok()
}

/// Returns the environment variables that give credentials for `url`, to name in an error.
pub(super) fn credential_variables(url: &str) -> &'static str {
    match url.split("://").next() {
        Some("s3" | "s3a") => "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
        Some("gs") => "GOOGLE_APPLICATION_CREDENTIALS",
        _ => "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
    }
}

/// Returns the messages of an error and of all its causes, without repetition.
pub(super) fn root_cause(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_without_room_is_called_that() {
        let of = |kind: io::ErrorKind| {
            let within = io::Error::new(kind, "within");
            AttemptError::from(object_store::Error::Generic { store: "disk", source: within.into() })
        };
        assert!(of(io::ErrorKind::StorageFull).is_full() && of(io::ErrorKind::QuotaExceeded).is_full());
        assert!(!of(io::ErrorKind::NotADirectory).is_full() && !AttemptError::Changed.is_full());
    }

    #[test]
    fn verdicts_follow_what_the_server_said() {
        for (said, expected) in [
            ("Server returned non-2xx status code: 503 Service Unavailable: SlowDown", Verdict::Again),
            ("Server returned non-2xx status code: 429 Too Many Requests:", Verdict::Again),
            ("Server returned non-2xx status code: 400 Bad Request: <Code>BadDigest</Code>", Verdict::Again),
            ("Server returned non-2xx status code: 400 Bad Request: <Code>ExpiredToken</Code>", Verdict::Expired),
            ("Server returned non-2xx status code: 400 Bad Request: <Code>InvalidArgument</Code>", Verdict::Refused),
            ("Server returned non-2xx status code: 400 Bad Request: ", Verdict::Unexplained),
            ("Server returned non-2xx status code: 403 Forbidden: ", Verdict::Denied),
            ("Server returned non-2xx status code: 404 Not Found: ", Verdict::NotFound),
            ("Server returned non-2xx status code: 501 Not Implemented: ", Verdict::Refused),
            ("Server returned non-2xx status code: 507 Insufficient Storage: ", Verdict::Full),
            ("Server returned error response: <Error><Code>XMinioStorageFull</Code></Error>", Verdict::Full),
            (
                "Server returned non-2xx status code: 400 Bad Request: <Code>XMinioAdminBucketQuotaExceeded</Code>",
                Verdict::Full,
            ),
            ("Server returned non-2xx status code: 403 Forbidden: <Code>QuotaExceeded</Code>", Verdict::Full),
            ("error sending request: http://169.254.169.254/latest/api/token", Verdict::NoCredentials),
            ("connection reset by peer", Verdict::Again),
        ] {
            let error = object_store::Error::Generic { store: "test", source: said.into() };
            assert_eq!(AttemptError::from(error).verdict(), expected, "{said}");
        }
        assert_eq!(AttemptError::Changed.verdict(), Verdict::Again);
    }
}
