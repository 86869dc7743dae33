//! Keeps what ranks print: `logs/attempt-NNNN/rank-N.log` in the run folder, and the last lines of each for a cause.
//!
//! Objects cannot be appended to, so each log is kept in memory and written whole, every 30 s and at the end. A thread of its
//! own writes it, so that nobody who watches an attempt waits for storage.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::storage::Folder;
use common::topology::Rank;

use crate::cause::words::is_error;

/// How long a line may wait for its upload.
const UPLOAD_INTERVAL: Duration = Duration::from_secs(30);
/// Longest log that is kept, in bytes; lines beyond it are only shown.
const LOG_BYTES_MAX: usize = 16 << 20;
/// Number of last lines that are kept for a cause.
const TAIL_LINES: usize = 10;

/// Collects the output of one attempt's processes.
pub struct Logs {
    url: String,
    tails: BTreeMap<Option<Rank>, VecDeque<String>>,
    first_error: Option<(Rank, String)>,
    lines: Option<Sender<(Option<Rank>, String)>>,
    thread: Option<JoinHandle<()>>,
}

impl Logs {
    /// Starts the logs of `attempt` in the run folder `run`.
    pub fn start(run: &Folder, attempt: u32) -> io::Result<Self> {
        let folder = run.folder(&format!("logs/attempt-{attempt:04}"));
        let url = folder.url().to_owned();
        let (lines, receiver) = mpsc::channel();
        let thread = Builder::new().name("logs".into()).spawn(move || upload(&folder, &receiver))?;
        let (lines, thread) = (Some(lines), Some(thread));
        Ok(Logs { url, tails: BTreeMap::new(), first_error: None, lines, thread })
    }

    /// Returns the URL of the logs.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Creates logs that keep only the last lines: another launcher stores the output.
    pub fn not_kept() -> Self {
        let url = "the pods' logs".to_owned();
        Logs { url, tails: BTreeMap::new(), first_error: None, lines: None, thread: None }
    }

    /// Appends a line of `rank`, or of mpirun itself. Never waits.
    pub fn append(&mut self, rank: Option<Rank>, line: &str) {
        let tail = self.tails.entry(rank).or_default();
        if tail.len() == TAIL_LINES {
            tail.pop_front();
        }
        tail.push_back(line.to_owned());
        if let (Some(rank), None) = (rank, &self.first_error) {
            self.first_error = is_error(line).then(|| (rank, line.to_owned()));
        }
        // The thread ends only when this sender is dropped.
        let _ = self.lines.as_ref().map(|lines| lines.send((rank, line.to_owned())));
    }

    /// Returns the first error that a rank has printed.
    pub fn first_error(&self) -> Option<(Rank, String)> {
        self.first_error.clone()
    }

    /// Returns the last lines of `rank`, or of mpirun itself.
    pub fn tail(&self, rank: Option<Rank>) -> Vec<String> {
        self.tails.get(&rank).map(|tail| tail.iter().cloned().collect()).unwrap_or_default()
    }
}

impl Drop for Logs {
    /// Uploads the remaining lines, and waits until they are stored.
    fn drop(&mut self) {
        drop(self.lines.take());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn upload(folder: &Folder, lines: &Receiver<(Option<Rank>, String)>) {
    let mut logs: BTreeMap<Option<Rank>, Log> = BTreeMap::new();
    let mut due = Instant::now() + UPLOAD_INTERVAL;
    loop {
        match lines.recv_timeout(due.saturating_duration_since(Instant::now())) {
            Ok((rank, line)) => {
                logs.entry(rank).or_default().append(&line);
                continue;
            }
            Err(reason) => {
                for (rank, log) in &mut logs {
                    log.write(folder, *rank);
                }
                if reason == RecvTimeoutError::Disconnected {
                    return;
                }
            }
        }
        due = Instant::now() + UPLOAD_INTERVAL;
    }
}

#[derive(Default)]
struct Log {
    text: String,
    has_news: bool,
    is_cut: bool,
}

impl Log {
    fn append(&mut self, line: &str) {
        if self.is_cut {
            return;
        }
        self.has_news = true;
        self.is_cut = self.text.len() + line.len() >= LOG_BYTES_MAX;
        self.text.push_str(if self.is_cut { "(the log was cut off here: it grew too large)" } else { line });
        self.text.push('\n');
    }

    fn write(&mut self, folder: &Folder, rank: Option<Rank>) {
        if !self.has_news {
            return;
        }
        let name = rank.map_or_else(|| "mpirun.log".to_owned(), |rank| format!("rank-{rank}.log"));
        match folder.put(&name, Bytes::from(self.text.clone())) {
            Ok(()) => self.has_news = false,
            // The next round tries again; at an attempt's end, that is the last round.
            Err(error) => tracing::warn!("a log waits for storage: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::config::StorageConfig;

    #[test]
    fn each_rank_has_its_log_and_its_tail() {
        let run = Folder::open("memory://logs", &StorageConfig::default()).unwrap();
        let mut logs = Logs::start(&run, 3).unwrap();
        for n in 0..12 {
            logs.append(Some(Rank(1)), &format!("line {n}"));
        }
        logs.append(None, "mpirun noticed");
        assert_eq!(logs.tail(Some(Rank(1))).first().unwrap(), "line 2");
        assert_eq!(logs.tail(None), ["mpirun noticed"]);
        assert_eq!(logs.tail(Some(Rank(7))), [""; 0]);
        drop(logs);
        let folder = run.folder("logs/attempt-0003");
        assert!(folder.get("rank-1.log").unwrap().starts_with(b"line 0\nline 1\n"));
        assert_eq!(folder.get("mpirun.log").unwrap(), "mpirun noticed\n");
    }

    #[test]
    fn a_log_is_cut_once() {
        let mut log = Log::default();
        log.append(&"x".repeat(LOG_BYTES_MAX - 10));
        log.append("more than ten bytes");
        log.append("nothing");
        assert!(log.text.ends_with("grew too large)\n"));
        assert!(log.text.len() < LOG_BYTES_MAX + 100);
    }
}
