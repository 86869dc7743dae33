//! Reads sections key by key, so that one pass finds every fault.

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::bounds;
use super::error::Fault;
use super::given::{Given, set};
use super::known::Keys;

/// Sections of a file, taken out one by one.
pub(super) struct Sections {
    table: Table,
    /// Overrides that `table` holds already.
    given: Vec<Given>,
    keys: &'static Keys,
    faults: Vec<Fault>,
    /// Every key that was asked for, with its section.
    asked: Vec<(&'static str, &'static str)>,
}

impl Sections {
    /// Creates the sections of `table`, some of it from flags. `keys` are all that a config may have.
    pub fn new(table: Table, given: Vec<Given>, keys: &'static Keys) -> Self {
        Sections { table, given, keys, faults: Vec::new(), asked: Vec::new() }
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
        let Sections { given, keys, asked, faults, .. } = self;
        let mut section = Section { name, table, given, keys, asked, faults };
        let value = read(&mut section);
        section.refuse_unknown();
        value
    }

    /// Returns every key that was asked for, with its section, in their order.
    pub fn asked(self) -> Vec<(&'static str, &'static str)> {
        self.asked
    }

    /// Returns all faults. Sections that were not read are faults, unless they belong to other jobs.
    pub fn finish(&mut self, of_other_jobs: &[&str]) -> Vec<Fault> {
        for (name, _) in self.table.iter().filter(|(name, _)| !of_other_jobs.contains(&name.as_str())) {
            self.faults.push(Fault { key: name.clone(), value: None, hint: self.keys.unknown_section(name) });
        }
        std::mem::take(&mut self.faults)
    }

    /// Adds to each fault of what a `--set` has given how it was typed.
    pub fn with_flags(&self, mut faults: Vec<Fault>) -> Vec<Fault> {
        for fault in &mut faults {
            if let Some(given) = self.given.iter().rfind(|given| given.is_of(&fault.key)) {
                fault.hint.push_str(&format!(" (given as {})", given.typed()));
            }
        }
        faults
    }
}

/// A section while it is being read.
pub(super) struct Section<'a> {
    name: &'static str,
    table: Table,
    given: &'a [Given],
    keys: &'static Keys,
    asked: &'a mut Vec<(&'static str, &'static str)>,
    faults: &'a mut Vec<Fault>,
}

impl Section<'_> {
    /// Returns the value of `key` if it is present, of the right type, and within its [`bounds`].
    pub fn optional<T: DeserializeOwned>(&mut self, key: &'static str) -> Option<T> {
        self.asked.push((self.name, key));
        let value = self.table.remove(key)?;
        let (path, shown) = (format!("{}.{key}", self.name), value.to_string());
        let given = self.given.iter().rfind(|given| given.path == path);
        let (value, read) = read_as::<T>(value, given);
        if let Some(beyond) = bounds::fault(&path, &value) {
            self.fault(key, Some(shown), beyond);
            return None;
        }
        match read {
            Ok(value) => Some(value),
            Err(error) => {
                let error = error.to_string().trim().replace('\n', " ");
                let right = given.and_then(|_| right_value::<T>(&path)).unwrap_or_default();
                self.fault(key, Some(shown), error + &right);
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
            self.fault(&key, Some(value.to_string()), self.keys.unknown_key(self.name, &key));
        }
    }
}

/// Reads `value` as a `T`, or what else it may mean if somebody has `given` it on the command line. Returns what was read,
/// too.
fn read_as<T: DeserializeOwned>(value: Value, given: Option<&Given>) -> (Value, Result<T, toml::de::Error>) {
    let read = value.clone().try_into();
    if read.is_err() {
        for reading in given.map(Given::readings).unwrap_or_default() {
            if let Ok(read) = reading.clone().try_into() {
                return (reading, Ok(read));
            }
        }
    }
    (value, read)
}

/// Says what the key at `path`, which is a `T`, may be on a command line. Returns `None` for the values of an enumeration,
/// which the error of reading lists.
fn right_value<T: DeserializeOwned>(path: &str) -> Option<String> {
    let text = |text: &str| Value::String(text.into());
    let source = Table::from_iter([("url".to_owned(), text("data/train"))]);
    let kinds = [
        ("a number", Value::Float(0.5)),
        ("a whole number", Value::Integer(bounds::example(path))),
        ("true or false", Value::Boolean(true)),
        ("text", text("text")),
        ("a list of strings", Value::Array(vec![text("a"), text("b")])),
        ("a list of data sets", Value::Array(vec![Value::Table(source)])),
    ];
    let (kind, example) = kinds.into_iter().find(|(_, example)| example.clone().try_into::<T>().is_ok())?;
    Some(format!("; give {kind}, as in {}", set(path, &example.to_string())))
}
