//! Hosts that are this machine under other names: a script in ssh's place runs its command here, with as little environment
//! as sshd would give. [`crate::hosts`] has real hosts with a real sshd.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Script that runs `remote-shell HOST COMMAND...` as ssh would with a shell on that host.
///
/// Daemons of one attempt share a folder on a host. Those of two hosts that are one machine would overwrite each other's
/// files there, and sometimes crash, so each host has a folder of its own in it. Hosts called `gone...` are absent until
/// there is a file `back` beside the script. On hosts called `lost...` Open MPI's daemon never starts, and nobody reports
/// that. Hosts called `silent...` never answer.
const SCRIPT: &str = r#"#!/bin/sh
host=$1; shift
case $host in
gone*) [ -e "$(dirname "$0")/back" ] || { echo "connect to host $host: No route to host" >&2; exit 255; };;
silent*) exec sleep 1000;;
lost*) case "$*" in *orted*) exit 0;; esac;;
esac
command=$(printf %s "$*" | sed "s|orte_tmpdir_base [^ ]*|&/$host|")
exec env -i PATH="$PATH" HOME="$HOME" REACHED="$host" sh -c "$command"
"#;

/// Writes the script into `folder`, and returns its path for the config's `launch.remote_shell`.
pub fn write(folder: &Path) -> PathBuf {
    let path = folder.join("remote-shell");
    fs::write(&path, SCRIPT).expect("the folder can be written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("the file is ours");
    path
}

/// Lets absent hosts answer from now on, for the script in `folder`.
pub fn let_back(folder: &Path) {
    fs::write(folder.join("back"), "").expect("the folder can be written");
}
