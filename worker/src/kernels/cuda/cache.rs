//! Compiled kernels on disk, in the user's cache folder: compiling takes seconds, and every rank of every attempt
//! needs them.
//!
//! A file begins with the SHA-256 of its code. A fault here costs only time: a folder that cannot be written or that
//! others can write to, or a damaged file.

use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use common::sha256::Sha256Sum;
use common::sha256::hex_sha256;

use crate::own_folder;

/// Limit of the size of code that is read; Convoy's own takes a few hundred kilobytes.
const CODE_BYTES_MAX: u64 = 64 << 20;
/// Length of a hash, as text.
const HASH_BYTES: usize = 64;

/// Returns the key for the combination of all `parts`.
pub fn key(parts: &[&str]) -> String {
    hex_sha256(parts.join("\0").as_bytes())
}

/// Returns the code that was kept under `key`; `None` if there is none.
pub fn look_up(key: &str) -> Option<Vec<u8>> {
    read_from(&folder()?, key)
}

/// Keeps `code` under `key`; no process sees a part of it.
pub fn keep(key: &str, code: &[u8]) {
    let Some(folder) = folder() else { return };
    if let Err(error) = write_to(&folder, key, code) {
        tracing::debug!("compiled kernels are not kept in {}: {error}", folder.display());
    }
}

fn read_from(folder: &Path, key: &str) -> Option<Vec<u8>> {
    let path = folder.join(name(key));
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(&path).ok()?;
    if let Err(error) = own_folder::make(folder) {
        tracing::warn!("compiled kernels in {} are not used: {error}", folder.display());
        return None;
    }
    let mut content = Vec::new();
    file.take(CODE_BYTES_MAX + HASH_BYTES as u64).read_to_end(&mut content).ok()?;
    let (hash, code) = content.split_at_checked(HASH_BYTES)?;
    if hash == Sha256Sum::of(code).to_string().as_bytes() {
        return Some(code.to_vec());
    }
    tracing::warn!("{} is damaged: the kernels are compiled again", path.display());
    None
}

fn write_to(folder: &Path, key: &str, code: &[u8]) -> io::Result<()> {
    own_folder::make(folder)?;
    let whole = folder.join(name(key));
    let part = folder.join(format!("{}.{}", name(key), std::process::id()));
    let content = [Sha256Sum::of(code).to_string().as_bytes(), code].concat();
    fs::write(&part, content).and_then(|()| fs::rename(&part, &whole)).inspect_err(|_| drop(fs::remove_file(&part)))
}

fn name(key: &str) -> String {
    format!("{key}.cubin+sha256")
}

/// Returns the folder `kernels` in Convoy's cache.
fn folder() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    set("CONVOY_CACHE").or_else(|| cache.map(|cache| cache.join("convoy"))).map(|cache| cache.join("kernels"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn kernels_that_were_tampered_with_are_not_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, key, code) = (dir.path().join("kernels"), key(&["source", "sm_90"]), b"code of some length");
        assert_eq!(read_from(&folder, &key), None);
        write_to(&folder, &key, code).unwrap();
        assert_eq!(read_from(&folder, &key).unwrap(), code);
        let path = folder.join(name(&key));
        let whole = fs::read(&path).unwrap();
        for position in [0, HASH_BYTES, whole.len() - 1] {
            let mut damaged = whole.clone();
            damaged[position] ^= 1;
            fs::write(&path, damaged).unwrap();
            assert_eq!(read_from(&folder, &key), None, "byte {position}");
        }
        fs::write(&path, &whole[..HASH_BYTES - 1]).unwrap();
        assert_eq!(read_from(&folder, &key), None);

        // A link to a file with the right content.
        fs::rename(&path, folder.join("elsewhere")).unwrap();
        fs::write(folder.join("elsewhere"), &whole).unwrap();
        symlink(folder.join("elsewhere"), &path).unwrap();
        assert_eq!(read_from(&folder, &key), None);

        // A folder that others can write to.
        fs::remove_file(&path).unwrap();
        write_to(&folder, &key, code).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(read_from(&folder, &key), None);
        assert!(write_to(&folder, &key, code).is_err());
    }
}
