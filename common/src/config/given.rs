//! `--set section.key=value` as a person types it: its parts, what its value may mean, and what it should have been.
//!
//! A value is TOML, or else text. On a command line much is clear that TOML would spell in another way: one string where a
//! list is expected, `2e2` for a whole number, a date as a name. Such [`readings`](Given::readings) count where the value
//! itself is not of the key's type. They do not count in files.

use toml::{Table, Value};

use super::error::ConfigError;
use super::known::Keys;
use crate::shell::quoted;

/// A `--set`, in its parts.
#[derive(Debug, Clone)]
pub(super) struct Given {
    /// Section and key, as `section.key`.
    pub path: String,
    /// Text after the `=`.
    text: String,
    /// The text as TOML, or as a string if it is not TOML.
    value: Value,
}

impl Given {
    /// Parses `section.key=value`, where `keys` are all that a config may have.
    pub fn parse(given: &str, keys: &Keys) -> Result<Self, ConfigError> {
        let refused = |reason| ConfigError::Override { given: quoted(given), reason };
        let (path, text) = given.split_once('=').map_or((given, None), |(path, text)| (path, Some(text.trim())));
        let path = path.trim();
        let Some(text) = text else {
            let path = if path.contains('.') { path } else { "train.max_steps" };
            return Err(refused(not_a_setting(path)));
        };
        if !path.contains('.') {
            let hint = keys.without_section(path, &|path| set(path, text));
            return Err(refused(hint.unwrap_or_else(|| not_a_setting("train.max_steps"))));
        }
        match as_toml(text) {
            Some(value) => Ok(Given { path: path.to_owned(), text: text.to_owned(), value }),
            None if is_quoted_wrong(text) => Err(refused(right_quotes(path, text))),
            None => Ok(Given { path: path.to_owned(), text: text.to_owned(), value: Value::String(text.to_owned()) }),
        }
    }

    /// Puts the value into `table`. A path of more than two parts leads into the tables of a section.
    pub fn apply(&self, table: &mut Table) -> Result<(), ConfigError> {
        let (sections, key) = self.path.rsplit_once('.').unwrap_or_else(|| unreachable!("a path has a section"));
        let mut keys = table;
        for (end, _) in sections.match_indices('.').chain([(sections.len(), "")]) {
            let section = &sections[..end];
            let name = section.rsplit_once('.').map_or(section, |(_, name)| name);
            let entry = keys.entry(name.to_owned()).or_insert_with(|| Value::Table(Table::new()));
            let Some(inner) = entry.as_table_mut() else {
                let reason = format!("{section} is no section in this config; write [{section}] and its keys below");
                return Err(ConfigError::Override { given: quoted(&self.argument()), reason });
            };
            keys = inner;
        }
        keys.insert(key.to_owned(), self.value.clone());
        Ok(())
    }

    /// Returns what the value may mean where it is not of the type that the key has, the likeliest first.
    pub fn readings(&self) -> Vec<Value> {
        /// Above it not every whole number is a float.
        const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;
        let whole = match self.value {
            Value::Float(number) if number.fract() == 0.0 && number.abs() <= WHOLE_MAX => {
                Some(Value::Integer(number as i64))
            }
            _ => None,
        };
        let text = match &self.value {
            Value::String(text) => text.clone(),
            Value::Array(_) | Value::Table(_) => return Vec::new(),
            Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => self.text.clone(),
        };
        let text = Value::String(text);
        let source = Value::Table(Table::from_iter([("url".to_owned(), text.clone())]));
        let others = [text.clone(), Value::Array(vec![text]), Value::Array(vec![source])];
        whole.into_iter().chain(others).collect()
    }

    /// Returns whether `key`, a section or `section.key`, is about this.
    pub fn is_of(&self, key: &str) -> bool {
        self.path.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }

    /// Returns the flag with its argument, as a shell takes it.
    pub fn typed(&self) -> String {
        format!("--set {}", quoted(&self.argument()))
    }

    fn argument(&self) -> String {
        format!("{}={}", self.path, self.text)
    }
}

/// Returns `--set PATH=VALUE` as a shell takes it.
pub(super) fn set(path: &str, value: &str) -> String {
    format!("--set {}", quoted(&format!("{path}={value}")))
}

fn not_a_setting(path: &str) -> String {
    format!("it is not section.key=value; write {}", set(path, "VALUE"))
}

fn as_toml(text: &str) -> Option<Value> {
    toml::from_str::<Table>(&format!("value = {text}")).ok()?.remove("value")
}

/// Returns whether `text`, which is not TOML, was meant to be: a shell takes double quotes away unless single ones surround
/// them.
fn is_quoted_wrong(text: &str) -> bool {
    let is_in = |open: char, close: char| text.starts_with(open) && text.ends_with(close);
    text.starts_with(['"', '\'']) || is_in('[', ']') || is_in('{', '}')
}

/// Returns what is wrong with `text`, and how it is typed.
fn right_quotes(path: &str, text: &str) -> String {
    let bare = |text: &str| Value::String(text.trim().trim_matches(['"', '\'']).to_owned()).to_string();
    let right = match text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        _ if text.contains('{') => r#"[{ url = "data/train" }]"#.to_owned(),
        Some(items) => format!("[{}]", items.split(',').map(bare).collect::<Vec<_>>().join(", ")),
        None => bare(text),
    };
    let example = if text.contains('{') { "as in" } else { "write" };
    let right = set(path, &right);
    format!("strings need double quotes here, and a shell takes these away outside of single ones; {example} {right}")
}

#[cfg(test)]
mod tests {
    use super::super::known::tests::known;
    use super::*;

    fn refusal(given: &str) -> String {
        Given::parse(given, &known()).unwrap_err().to_string()
    }

    #[test]
    fn a_value_is_toml_or_else_text() {
        for (text, value) in [
            ("7", Value::Integer(7)),
            ("\"7\"", Value::String("7".into())),
            ("plain words", Value::String("plain words".into())),
            ("s3://bucket/a?b=c", Value::String("s3://bucket/a?b=c".into())),
            ("web/[ab]*.txt", Value::String("web/[ab]*.txt".into())),
            ("[ab]*.txt", Value::String("[ab]*.txt".into())),
            ("", Value::String(String::new())),
        ] {
            assert_eq!(Given::parse(&format!("a.b={text}"), &known()).unwrap().value, value, "{text}");
        }
    }

    #[test]
    fn a_value_that_lost_its_quotes_is_answered_with_the_right_ones() {
        for (given, right) in [
            ("prepare.inputs=[book.txt]", r#"--set 'prepare.inputs=["book.txt"]'"#),
            ("prepare.inputs=['a.txt, b.txt]", r#"--set 'prepare.inputs=["a.txt", "b.txt"]'"#),
            ("run.name='tis", r#"--set 'run.name="tis"'"#),
            ("data.train=[{url=data/train}]", r#"as in --set 'data.train=[{ url = "data/train" }]'"#),
        ] {
            let text = refusal(given);
            assert!(text.starts_with(&format!("--set {}: strings need", quoted(given))), "{text}");
            assert!(text.ends_with(right), "{text}");
        }
    }

    #[test]
    fn a_key_without_its_section_or_value_is_answered_with_the_whole() {
        for (given, expected) in [
            ("max_steps=200", "--set max_steps=200: max_steps belongs to [train]; write --set train.max_steps=200"),
            ("max_step=200", "--set max_step=200: it names no section; did you mean --set train.max_steps=200?"),
            (
                "seed=2",
                "--set seed=2: seed belongs to [run] or [prepare]; write --set run.seed=2 or --set prepare.seed=2",
            ),
            (
                "train.max_steps",
                "--set train.max_steps: it is not section.key=value; write --set train.max_steps=VALUE",
            ),
            ("=", "--set =: it is not section.key=value; write --set train.max_steps=VALUE"),
            ("", "--set '': it is not section.key=value; write --set train.max_steps=VALUE"),
        ] {
            assert_eq!(refusal(given), expected);
        }
        let secret = refusal("url=https://u:SECRET@host/a?sig=SECRET");
        assert!(!secret.contains("SECRET"), "{secret}");
    }
}
