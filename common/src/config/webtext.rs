//! `[webtext]`: the rules of the stages that make documents of web pages.
//!
//! What keys a stage has is known to the package that does its work. Here they are tables, which the prepare job reads before
//! it begins.

use serde::Serialize;
use toml::Table;

use super::section::Section;

/// Section `[webtext]`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct WebtextConfig {
    /// Limits of the stage `extract`, by key. Default none, which leaves all at their defaults.
    pub extract: Table,
    /// Rules of the stage `clean`, by key: `set`, and values that differ from that set's. Default none.
    pub clean: Table,
}

impl WebtextConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        WebtextConfig { extract: section.or("extract", Table::new()), clean: section.or("clean", Table::new()) }
    }
}
