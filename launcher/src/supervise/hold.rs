//! The launcher's hold on the run.

use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use common::attempt::{Attempt, Claimant, Holder, News, Request, acquire};

use super::job::Job;
use crate::backend::placement::Placement;
use crate::error::{A_THREAD, LaunchError};
use crate::interrupts::Interrupts;
use crate::view::train::View;

/// The launcher's hold on the run, which lasts from attempt to attempt.
pub struct Hold {
    /// Attempt that is claimed.
    pub claim: Attempt,
    /// Thread that keeps the claim alive.
    holder: Holder,
    /// News about the claim from the run folder.
    pub news: Receiver<News>,
}

impl Hold {
    /// Claims the next attempt, continuing from `before`, the hold of the attempt before. Returns `None` if somebody asked to
    /// stop while it waited for another claim to expire.
    pub fn claim(
        (job, placement): (&Job, &Placement),
        before: Option<&Hold>,
        interrupts: &mut Interrupts,
        view: &mut View,
    ) -> Result<Option<Self>, LaunchError> {
        let expiry = Duration::from_secs(job.config.launch.claim_expiry_s);
        let holds = before.map(|hold| hold.holder.claim().clone());
        let claimant = Claimant { ranks: placement.world_size.get(), expiry, holds };
        let mut is_told = false;
        let claim = acquire(&job.run, &claimant, &mut |waiting| {
            if !std::mem::replace(&mut is_told, true) {
                view.say(waiting);
            }
            interrupts.poll().is_none()
        })?;
        let hold = |claim: Attempt| {
            // Each claim has its own channel: news of the attempt before must not reach this one.
            let (speaker, news) = channel();
            let asked_to_stop = interrupts.asked_to_stop();
            let holder = Holder::start(&job.run, claim.clone(), expiry, move |heard| match heard {
                // A stop counts between two attempts as well.
                News::Asked(Request::Stop) => asked_to_stop.store(true, Ordering::Relaxed),
                other => drop(speaker.send(other)),
            });
            Ok(Hold { claim, holder: holder.map_err(LaunchError::system(A_THREAD))?, news })
        };
        claim.map(hold).transpose()
    }
}
