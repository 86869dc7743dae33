//! All keys of a config, and which of them an unknown name was probably meant to be.

/// Largest number of edits between a name and what it was meant to be.
const EDITS_MAX: usize = 3;
/// Length in bytes above which a name is compared with no other.
const NAME_BYTES_MAX: usize = 64;
/// Length in bytes from which a part of a name stands for all of it.
const PART_BYTES_MIN: usize = 4;

/// Every key with its section, in the order in which they are read.
#[derive(Debug, Default)]
pub(super) struct Keys(pub Vec<(&'static str, &'static str)>);

impl Keys {
    /// Returns a hint about `key`, which `section` does not have.
    pub fn unknown_key(&self, section: &str, key: &str) -> String {
        let mut here = self.0.iter().filter(|(of, _)| *of == section).map(|(_, key)| *key);
        let homes = self.homes(key);
        if !homes.is_empty() {
            return format!("unknown key; it belongs to {}", sections(&homes));
        }
        match nearest(key, here.clone()) {
            Some(known) => format!("unknown key; did you mean {known}?"),
            None => {
                let first = here.next().unwrap_or_default().to_owned();
                format!("unknown key; [{section}] has {}", here.fold(first, |all, key| all + ", " + key))
            }
        }
    }

    /// Returns a hint about `name`, which is no section.
    pub fn unknown_section(&self, name: &str) -> String {
        let homes = self.homes(name);
        if !homes.is_empty() {
            return format!("unknown section; {name} is a key of {}", sections(&homes));
        }
        match nearest(name, self.0.iter().map(|(section, _)| *section)) {
            Some(known) => format!("unknown section; did you mean [{known}]?"),
            None => "unknown section; configs/README.md lists them".to_owned(),
        }
    }

    /// Returns what is wrong with a `--set` that gives `name` without a section, in which `set` spells the flag for a
    /// `section.key`; `None` if nothing like it is known.
    pub fn without_section(&self, name: &str, set: &dyn Fn(&str) -> String) -> Option<String> {
        let flags = |sections: &[&str], key: &str| {
            let flags: Vec<_> = sections.iter().map(|section| set(&format!("{section}.{key}"))).collect();
            flags.join(" or ")
        };
        let found = self.homes(name);
        if !found.is_empty() {
            return Some(format!("{name} belongs to {}; write {}", sections(&found), flags(&found, name)));
        }
        let key = nearest(name, self.0.iter().map(|(_, key)| *key))?;
        Some(format!("it names no section; did you mean {}?", flags(&self.homes(key), key)))
    }

    /// Returns the sections that have `key`.
    fn homes(&self, key: &str) -> Vec<&'static str> {
        self.0.iter().filter(|(_, known)| *known == key).map(|(section, _)| *section).collect()
    }
}

/// Formats sections as `[run] or [prepare]`.
fn sections(names: &[&str]) -> String {
    names.iter().map(|name| format!("[{name}]")).collect::<Vec<_>>().join(" or ")
}

/// Returns the one of `known` that `name` was probably meant to be, if any is near enough.
fn nearest(name: &str, known: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    if name.len() > NAME_BYTES_MAX {
        return None;
    }
    let edits = |known: &str| match name.len() >= PART_BYTES_MIN && known.contains(name) {
        true => 1,
        false => edit_distance(known, name),
    };
    let near = known.map(|known| (edits(known), known)).min_by_key(|(edits, _)| *edits);
    let is_near = |(edits, known): &(usize, &str)| *edits <= EDITS_MAX && 2 * edits <= name.len().max(known.len());
    near.filter(is_near).map(|(_, known)| known)
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

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Some keys of a config.
    pub fn known() -> Keys {
        let sections: [(&str, &[&str]); 6] = [
            ("run", &["name", "output", "seed"]),
            ("model", &["layers", "width"]),
            ("optimizer", &["peak_learning_rate", "beta1"]),
            ("train", &["max_steps", "precision"]),
            (
                "evaluation",
                &["every_steps", "validation_sequences", "tasks", "tasks_every_steps", "tasks_items", "tasks_data"],
            ),
            ("prepare", &["inputs", "seed"]),
        ];
        Keys(sections.iter().flat_map(|(section, keys)| keys.iter().map(|key| (*section, *key))).collect())
    }

    #[test]
    fn a_name_is_answered_with_what_it_was_meant_to_be() {
        for (section, key, hint) in [
            ("optimizer", "learning_rate", "unknown key; did you mean peak_learning_rate?"),
            ("train", "max_step", "unknown key; did you mean max_steps?"),
            ("model", "max_steps", "unknown key; it belongs to [train]"),
            ("model", "seed", "unknown key; it belongs to [run] or [prepare]"),
            (
                "evaluation",
                "lr",
                "unknown key; [evaluation] has every_steps, validation_sequences, tasks, tasks_every_steps, tasks_items, \
                 tasks_data",
            ),
        ] {
            assert_eq!(known().unknown_key(section, key), hint);
        }
        for (name, hint) in [
            ("trains", "unknown section; did you mean [train]?"),
            ("max_steps", "unknown section; max_steps is a key of [train]"),
            ("nonsense", "unknown section; configs/README.md lists them"),
        ] {
            assert_eq!(known().unknown_section(name), hint);
        }
        assert!(known().unknown_key("run", &"x".repeat(1 << 20)).contains("has name, output, seed"));
    }
}
