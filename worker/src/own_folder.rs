//! Folders that belong to this user alone, on a disk that others use too: only this user can have put files there.

use std::fs::{self, DirBuilder, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

/// Mode bits that let the group, or all, write.
const OTHERS_WRITE: u32 = 0o022;

/// Creates `folder`, for this user alone, if it is missing.
///
/// # Errors
///
/// If the folder cannot be created, belongs to another user, or can be written by others, who could put links to
/// elsewhere there, or take the files away.
pub fn make(folder: &Path) -> io::Result<()> {
    if let Some(above) = folder.parent() {
        fs::create_dir_all(above)?;
    }
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    // A link is followed if this user has made it.
    check_owner(&fs::symlink_metadata(folder)?)?;
    let there = fs::metadata(folder)?;
    check_owner(&there)?;
    match there.mode() & OTHERS_WRITE {
        0 => Ok(()),
        _ => Err(refused(format!(
            "others can write to it (its mode is {:o}): name a folder of your own, or `chmod go-w` it",
            there.mode() & 0o7777
        ))),
    }
}

/// Returns whether `error` of [`make`] means that others can put files there, and not that the disk has failed.
pub fn is_anothers(error: &io::Error) -> bool {
    error.raw_os_error().is_none()
}

fn check_owner(there: &Metadata) -> io::Result<()> {
    let user = nix::unistd::geteuid().as_raw();
    match there.uid() {
        owner if owner == user => Ok(()),
        owner => {
            Err(refused(format!("it belongs to user {owner}, and this is user {user}: name a folder of your own")))
        }
    }
}

fn refused(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, reason)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::*;

    #[test]
    fn a_folder_that_another_user_owns_or_can_write_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let [own, open, linked] = ["new/own", "open", "linked"].map(|name| dir.path().join(name));
        make(&own).unwrap();
        make(&own).unwrap();
        assert_eq!(fs::metadata(&own).unwrap().mode() & 0o777, 0o700);
        symlink(&own, &linked).unwrap();
        make(&linked).unwrap();

        fs::create_dir(&open).unwrap();
        for mode in [0o777, 0o770, 0o1777] {
            fs::set_permissions(&open, fs::Permissions::from_mode(mode)).unwrap();
            let error = make(&open).unwrap_err().to_string();
            assert!(error.contains("others can write"), "{error}");
        }
        // Root can give folders away; any other user finds a folder of somebody else.
        let another = if nix::unistd::geteuid().is_root() {
            chown(&own, Some(54_321), None).unwrap();
            own
        } else {
            "/usr".into()
        };
        assert!(is_anothers(&make(&open).unwrap_err()));
        assert!(!is_anothers(&make(Path::new("/dev/null/folder")).unwrap_err()));
        for folder in [&another, &linked] {
            if fs::metadata(folder).unwrap().uid() != nix::unistd::geteuid().as_raw() {
                let error = make(folder).unwrap_err().to_string();
                assert!(error.contains("it belongs to user"), "{error}");
            }
        }
        assert!(make(&another).is_err());
    }
}
