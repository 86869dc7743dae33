//! Checks the run folder: tries every kind of access that a run needs once.

use bytes::Bytes;
use common::config::StorageConfig;
use common::preflight::Finding;
use common::random::random_hex;
use common::storage::{Folder, StorageError};

const SUBJECT: &str = "run folder";

/// Folders that a run writes to. Links are refused: `checkpoints` may well lead to a large disk, but then old checkpoints
/// could not be deleted.
const FOLDERS: [&str; 7] = ["attempts", "checkpoints", "events", "logs", "metrics", "profile", "requests"];

/// Tries the run folder at `url`.
pub fn check(url: &str, storage: &StorageConfig) -> Finding {
    match Folder::open(url, storage).and_then(|run| try_all(&run)) {
        Ok(finding) => finding,
        Err(error) => Finding::failed(SUBJECT, error.to_string()),
    }
}

/// Tries an open run folder. An error is the store's.
pub fn try_all(run: &Folder) -> Result<Finding, StorageError> {
    // A refusal now is better than one when the first checkpoint is saved.
    FOLDERS.iter().try_for_each(|name| run.folder(name).refuse_links())?;
    let (name, content) = (format!("preflight-{}", random_hex()), Bytes::from_static(b"a trial of launcher check\n"));
    run.create(&name, content.clone())?;
    let tried = try_existing(run, &name, content);
    let removed = run.delete(&name);
    let finding = tried?;
    removed?;
    Ok(finding)
}

fn try_existing(run: &Folder, name: &str, content: Bytes) -> Result<Finding, StorageError> {
    // The content differs: equal content would look like a repeated request whose answer was lost.
    let other = Bytes::from_static(b"another run\n");
    let is_exclusive = matches!(run.create(name, other), Err(StorageError::AlreadyExists { .. }));
    run.put(name, content.clone())?;
    let read = run.get(name)?;
    let is_listed = run.list()?.iter().any(|object| object.name == name);
    let url = run.url();
    Ok(if !is_exclusive {
        let advice = "two runs could take it at the same time; use a store that has conditional puts";
        Finding::failed(SUBJECT, format!("{url}: an object that exists was created again: {advice}"))
    } else if read != content || !is_listed {
        let advice = "checkpoints would not be found; use a store that is consistent";
        Finding::failed(SUBJECT, format!("{url}: what was just written is not read or listed: {advice}"))
    } else {
        Finding::ok(SUBJECT, format!("{url} can be written, read, listed, created in once, and deleted from"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::preflight::Verdict;

    #[test]
    fn a_folder_that_can_be_used_is_left_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let url = folder.path().join("run").display().to_string();
        let finding = check(&url, &StorageConfig::default());
        assert_eq!(finding.verdict, Verdict::Ok, "{finding:?}");
        assert_eq!(Folder::open(&url, &StorageConfig::default()).unwrap().list().unwrap(), []);
    }

    #[test]
    fn one_whose_checkpoints_are_linked_elsewhere_is_refused_before_the_first_is_saved() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("checkpoints");
        std::os::unix::fs::symlink("/tmp", &link).unwrap();
        let finding = check(folder.path().to_str().unwrap(), &StorageConfig::default());
        assert_eq!(finding.verdict, Verdict::Failed);
        assert!(finding.text.contains(&format!("{} is a symbolic link", link.display())), "{finding:?}");
    }

    #[test]
    fn one_that_cannot_be_written_says_why() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let url = file.path().join("run").display().to_string();
        let finding = check(&url, &StorageConfig::default());
        assert_eq!(finding.verdict, Verdict::Failed);
        assert!(finding.text.contains(&url), "{finding:?}");
    }
}
