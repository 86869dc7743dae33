//! Huge pages for all of the process's memory, where Linux gives them to who asks: a CPU's step then misses fewer entries of the
//! tables of pages, and is 3 to 5 % faster. For libtorch's large tensors alone (its `THP_MEM_ALLOC_ENABLE`) it was 1 to 3 %.

#![allow(unsafe_code, reason = "calls the C library, before anything else runs")]

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Where glibc looks for its settings.
const TUNABLES: &str = "GLIBC_TUNABLES";
/// The one by which its allocator asks for huge pages.
const HUGE_PAGES: &str = "glibc.malloc.hugetlb";

/// Has the allocator ask for huge pages, where Linux has `[madvise]` in its setting; `GLIBC_TUNABLES=glibc.malloc.hugetlb=0` keeps
/// it from that.
///
/// glibc, from 2.35 on, reads such settings when a program begins, which the process therefore does once more, as itself and with the
/// same arguments; it must not have done anything else before. It takes a quarter of a second, for libtorch is loaded
/// twice. What cannot be had is done without.
pub fn ask_for_them() {
    if !reads_tunables() {
        return;
    }
    let enabled = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").unwrap_or_default();
    let Some(tunables) = with_huge_pages(std::env::var_os(TUNABLES), &enabled) else { return };
    let Ok(program) = std::env::current_exe() else { return };
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_else(|| program.clone().into());
    // Returns only if it fails.
    let _ = Command::new(program).arg0(name).args(arguments).env(TUNABLES, tunables).exec();
    // It has made SIGPIPE deadly, as programs expect it that are not Rust's.
    // SAFETY: nothing else has been started.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}

/// Whether this is glibc, and it lets the environment set what it does: not where a program has more rights than its user, and
/// there the variable may vanish, so that the process would begin again without end.
fn reads_tunables() -> bool {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: reads what the system said when the process began.
    return unsafe { libc::getauxval(libc::AT_SECURE) } == 0;
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    false
}

/// The tunables that are to be set in the place of `present`; None where they say it already, or where it would change nothing:
/// `enabled` is what Linux says about who gets huge pages.
fn with_huge_pages(present: Option<OsString>, enabled: &str) -> Option<OsString> {
    let mut tunables = present.unwrap_or_default();
    if !enabled.contains("[madvise]") || tunables.to_string_lossy().contains(HUGE_PAGES) {
        return None;
    }
    if !tunables.is_empty() {
        tunables.push(":");
    }
    tunables.push(HUGE_PAGES);
    tunables.push("=1");
    Some(tunables)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_settings_stay() {
        let asked = |present: Option<&str>, enabled| with_huge_pages(present.map(OsString::from), enabled);
        let madvise = "always [madvise] never\n";
        assert_eq!(asked(None, madvise).unwrap(), "glibc.malloc.hugetlb=1");
        assert_eq!(
            asked(Some("glibc.malloc.check=3"), madvise).unwrap(),
            "glibc.malloc.check=3:glibc.malloc.hugetlb=1"
        );
        // What it set itself, and what a user did.
        assert_eq!(asked(Some("glibc.malloc.hugetlb=1"), madvise), None);
        assert_eq!(asked(Some("glibc.malloc.hugetlb=0:glibc.malloc.check=3"), madvise), None);
        for enabled in ["[always] madvise never\n", "always madvise [never]\n", ""] {
            assert_eq!(asked(None, enabled), None, "{enabled}");
        }
    }
}
