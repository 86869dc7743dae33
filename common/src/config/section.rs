//! Reads sections key by key, so that one pass finds every fault.

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::bounds;
use super::error::Fault;

/// Sections of a file, taken out one by one.
pub(super) struct Sections {
    table: Table,
    faults: Vec<Fault>,
}

impl Sections {
    pub fn new(table: Table) -> Self {
        Sections { table, faults: Vec::new() }
    }

    /// Takes section `name` out and lets `read` take its keys. The remaining keys are unknown, which is a fault.
    pub fn read<T>(&mut self, name: &'static str, read: impl FnOnce(&mut Section<'_>) -> T) -> T {
        let table = match self.table.remove(name) {
            Some(Value::Table(table)) => table,
            Some(other) => {
                self.faults.push(Fault {
                    key: name.into(),
                    value: Some(other.to_string()),
                    hint: format!("is a section: write [{name}] and its keys below"),
                });
                Table::new()
            }
            None => Table::new(),
        };
        let mut section = Section { name, table, asked: Vec::new(), faults: &mut self.faults };
        let value = read(&mut section);
        section.refuse_unknown();
        value
    }

    /// Returns all faults. Sections that were not read are faults, unless they belong to other jobs.
    pub fn finish(mut self, of_other_jobs: &[&str]) -> Vec<Fault> {
        for (name, _) in self.table.iter().filter(|(name, _)| !of_other_jobs.contains(&name.as_str())) {
            self.faults.push(Fault {
                key: name.clone(),
                value: None,
                hint: "unknown section; configs/README.md lists them".into(),
            });
        }
        self.faults
    }
}

/// A section while it is being read.
pub(super) struct Section<'a> {
    name: &'static str,
    table: Table,
    asked: Vec<&'static str>,
    faults: &'a mut Vec<Fault>,
}

impl Section<'_> {
    /// Returns the value of `key` if it is present, of the right type, and within its [`bounds`].
    pub fn optional<T: DeserializeOwned>(&mut self, key: &'static str) -> Option<T> {
        self.asked.push(key);
        let value = self.table.remove(key)?;
        let shown = value.to_string();
        if let Some(beyond) = bounds::fault(&format!("{}.{key}", self.name), &value) {
            self.fault(key, Some(shown), beyond);
            return None;
        }
        match value.try_into() {
            Ok(value) => Some(value),
            Err(error) => {
                let error = error.to_string();
                self.fault(key, Some(shown), error.trim().replace('\n', " "));
                None
            }
        }
    }

    /// Returns the value of `key`, or `default`.
    pub fn or<T: DeserializeOwned>(&mut self, key: &'static str, default: T) -> T {
        self.optional(key).unwrap_or(default)
    }

    /// Returns the value of `key`. If it is missing, records a fault and returns `T::default()` so that reading can go on.
    pub fn required<T: DeserializeOwned + Default>(&mut self, key: &'static str, hint: &str) -> T {
        let faults_before = self.faults.len();
        match self.optional(key) {
            Some(value) => value,
            None => {
                if self.faults.len() == faults_before {
                    self.fault(key, None, format!("missing; {hint}"));
                }
                T::default()
            }
        }
    }

    /// Returns whether the file gives `key`.
    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Returns whether `key` has no fault so far. The value read for a faulty key is a default.
    pub fn is_sound(&self, key: &str) -> bool {
        let path = format!("{}.{key}", self.name);
        !self.faults.iter().any(|fault| fault.key == path)
    }

    /// Records a fault about `key`, with the value that was read, unless `holds` or unless the key has a fault already.
    pub fn require(&mut self, holds: bool, key: &str, value: impl ToString, hint: impl Into<String>) {
        if !holds && self.is_sound(key) {
            self.fault(key, Some(value.to_string()), hint.into());
        }
    }

    fn fault(&mut self, key: &str, value: Option<String>, hint: String) {
        self.faults.push(Fault { key: format!("{}.{key}", self.name), value, hint });
    }

    fn refuse_unknown(mut self) {
        for (key, value) in std::mem::take(&mut self.table) {
            let near = self.asked.iter().min_by_key(|known| edit_distance(known, &key));
            let hint = match near.filter(|known| edit_distance(known, &key) <= 3) {
                Some(known) => format!("unknown key; did you mean {known}?"),
                None => format!("unknown key; [{}] has {}", self.name, self.asked.join(", ")),
            };
            self.fault(&key, Some(value.to_string()), hint);
        }
    }
}

/// Returns the Levenshtein distance in bytes. Keys are ASCII.
fn edit_distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let substitute = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substitute.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
