//! Records what the launcher did in an attempt: `events/attempt-NNNN-launcher/` in the run folder, one JSON object per event.

use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use common::metrics::RecordWriter;
use common::storage::Folder;
use serde::Serialize;
use serde_json::Value;

/// Writes the launcher's events of one attempt. Dropping it waits until they are stored.
pub struct Journal {
    records: RecordWriter,
}

#[derive(Serialize)]
struct Entry<'a> {
    time_unix_ms: u64,
    kind: &'a str,
    #[serde(flatten)]
    details: Value,
}

impl Journal {
    /// Starts the journal of `attempt` in the run folder `run`.
    pub fn start(run: &Folder, attempt: u32) -> io::Result<Self> {
        Self::of(run, &format!("attempt-{attempt:04}-launcher"))
    }

    /// Starts the journal of a launcher that runs `attempt` for another launcher, which has claimed it.
    pub fn beside_the_ranks(run: &Folder, attempt: u32) -> io::Result<Self> {
        Self::of(run, &format!("attempt-{attempt:04}-inner-launcher"))
    }

    fn of(run: &Folder, writer: &str) -> io::Result<Self> {
        Ok(Journal { records: RecordWriter::start(run.folder(&format!("events/{writer}")))? })
    }

    /// Records an event; `details` is a JSON object. Never waits.
    pub fn note(&self, kind: &str, details: Value) {
        let time_unix_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_millis() as u64);
        self.records.append(&Entry { time_unix_ms, kind, details });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::config::StorageConfig;
    use serde_json::json;

    #[test]
    fn an_event_is_one_flat_object_with_its_time() {
        let run = Folder::open("memory://journal", &StorageConfig::default()).unwrap();
        let journal = Journal::start(&run, 7).unwrap();
        journal.note("restart", json!({ "delay_s": 1.5 }));
        drop(journal);
        let stored = run.get("events/attempt-0007-launcher/part-000000.jsonl").unwrap();
        let event: Value = serde_json::from_slice(&stored).unwrap();
        assert_eq!((&event["kind"], &event["delay_s"]), (&json!("restart"), &json!(1.5)));
        assert!(event["time_unix_ms"].as_u64().unwrap() > 1_700_000_000_000);
    }
}
