//! Compiled kernels on disk, in the user's cache: to compile takes seconds, and every rank of every attempt needs them.
//!
//! Whatever goes wrong here costs only time: a folder that cannot be written, a file that is damaged (the driver refuses it).

use std::fs;
use std::path::PathBuf;

use common::token_shard::hex_sha256;

/// What is known by all of `parts`.
pub fn key(parts: &[&str]) -> String {
    hex_sha256(parts.join("\0").as_bytes())
}

/// What was kept by `key`.
pub fn look_up(key: &str) -> Option<Vec<u8>> {
    fs::read(folder()?.join(name(key))).ok()
}

/// Keeps `code` by `key`; nobody sees a part of it.
pub fn keep(key: &str, code: &[u8]) {
    let Some(folder) = folder() else { return };
    let whole = folder.join(name(key));
    let part = folder.join(format!("{}.{}", name(key), std::process::id()));
    let kept =
        fs::create_dir_all(&folder).and_then(|()| fs::write(&part, code)).and_then(|()| fs::rename(&part, &whole));
    if let Err(error) = kept {
        tracing::debug!("compiled kernels are not kept in {}: {error}", folder.display());
        let _ = fs::remove_file(&part);
    }
}

fn name(key: &str) -> String {
    format!("{key}.cubin")
}

/// `kernels` in Convoy's cache.
fn folder() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    set("CONVOY_CACHE").or_else(|| cache.map(|cache| cache.join("convoy"))).map(|cache| cache.join("kernels"))
}
