//! Ends all ranks when one fails: the rank reports the reason, to people and to the launcher, and aborts the world.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::exit_code::ExitCode;
use common::limits::describe_panic;
use common::topology::Rank;
use common::worker_contract::FromRank;

use crate::collectives::mpi;
use crate::control::Control;

/// Time that a rank that has lost others gives these to report the loss too, before it ends all.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Rank of this process, for its failure message; set once it is known.
static RANK: OnceLock<Rank> = OnceLock::new();
/// Connection over which a failing rank reports the reason; set once there is one.
static CONTROL: OnceLock<Control> = OnceLock::new();

/// Makes later failures name `rank`.
pub(super) fn speak_as(rank: Rank) {
    let _ = RANK.set(rank);
}

/// Makes later failures be reported over `control`, too.
pub(super) fn tell_over(control: &Control) {
    let _ = CONTROL.set(control.clone());
}

/// Reports why this rank is about to end every rank, to people and to the launcher. Only the first call has an
/// effect.
pub fn announce_failure(message: &str, code: ExitCode) {
    static ANNOUNCED: AtomicBool = AtomicBool::new(false);
    if ANNOUNCED.swap(true, Ordering::SeqCst) {
        return;
    }
    match RANK.get() {
        Some(rank) => tracing::error!("rank {rank}: {message}"),
        None => tracing::error!("{message}"),
    }
    if let Some(control) = CONTROL.get() {
        control.send(&FromRank::Exit { code, message: message.to_owned() });
    }
}

/// Ends every rank because this one failed: reports the reason, and aborts the world.
///
/// If ranks have lost each other, other ranks are about to report that too, with their last operations, and are given
/// a moment.
pub fn fail(message: &str, code: ExitCode) {
    announce_failure(message, code);
    if code == ExitCode::Communication {
        std::thread::sleep(LAST_WORDS);
    }
    mpi::abort_world(i32::from(code.number()));
}

/// Makes a panic of any thread end every rank: as a bug, unless the system refused a thread.
pub fn abort_on_panic() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        // A library's panic over a damaged file of documents becomes that file's fault.
        if prepare::panics::is_guarded() {
            return;
        }
        print(info);
        let (message, code) = describe_panic(info);
        fail(&message, code);
    }));
}
