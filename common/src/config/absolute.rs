//! Paths of a config for processes in other folders, where relative ones mean something else.

/// Returns a path as an absolute one. A URL stays as it is.
pub(super) fn absolute(given: &str) -> String {
    match std::path::absolute(given) {
        Ok(path) if !given.contains("://") => path.display().to_string(),
        _ => given.to_owned(),
    }
}
