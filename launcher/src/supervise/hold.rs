//! This launcher's hold on the run.

use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use common::attempt::{Attempt, Claimant, Holder, News, Request, acquire};

use super::job::Job;
use crate::backend::placement::Placement;
use crate::error::{A_THREAD, LaunchError};
use crate::interrupts::Interrupts;
use crate::view::train::View;

/// This launcher's hold on the run: it lasts from attempt to attempt.
pub struct Hold {
    /// The attempt that is claimed.
    pub claim: Attempt,
    /// Keeps it alive.
    holder: Holder,
    /// What is heard of it in the run folder.
    pub news: Receiver<News>,
}

impl Hold {
    /// Claims the next attempt; `before` is that of the attempt before. `None` if somebody asked to stop while it waited
    /// for another claim to expire.
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
            // A channel of its own: what the attempt before still hears is of this one.
            let (speaker, news) = channel();
            let asked_to_stop = interrupts.asked_to_stop();
            let holder = Holder::start(&job.run, claim.clone(), expiry, move |heard| match heard {
                // Also where no attempt goes on, between two.
                News::Asked(Request::Stop) => asked_to_stop.store(true, Ordering::Relaxed),
                other => drop(speaker.send(other)),
            });
            Ok(Hold { claim, holder: holder.map_err(LaunchError::system(A_THREAD))?, news })
        };
        claim.map(hold).transpose()
    }
}
