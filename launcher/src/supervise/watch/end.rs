//! Ends of an attempt that come from outside of its ranks: requests, loss of the claim, hosts that are back, and the clock.

use std::io;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use common::attempt::{News, Request as Asked};
use common::exit_code::ExitCode;
use common::figures::counted;
use common::topology::Rank;
use common::worker_contract::{ToRank, write_line};
use nix::sys::signal::Signal;
use serde_json::json;

use super::Watch;
use crate::backend::placement::{Placement, where_they_are};
use crate::cause::evidence::Killed;
use crate::interrupts::{Interrupts, Request};
use crate::supervise::pace::seconds;

/// How long ranks that stand still have to print their stacks.
const STACKS: Duration = Duration::from_secs(5);
/// How much longer a stop may take where another launcher enforces its limit.
const ELSEWHERE_MARGIN: Duration = Duration::from_secs(60);

impl Watch<'_> {
    pub(super) fn on_request(&mut self, request: Request, interrupts: &Interrupts) {
        self.audience.journal.note("stop_requested", json!({ "at_once": request == Request::EndNow }));
        self.stop_requested = true;
        match request {
            Request::Stop if !self.ranks.are_watched_elsewhere() && !self.heard.has_trained() => {
                self.audience.view.say("stopping: no step has begun, so there is nothing to save");
                self.killed = Some(Killed::NotBegun);
                self.ranks.kill();
            }
            Request::Stop => {
                let grace_s = self.job.config.launch.grace_s;
                let long = self.audience.seen.pace.longer_than(grace_s).map_or_else(String::new, |step| {
                    let step = seconds(step);
                    format!("; a step takes {step}, and ranks that have not ended theirs in {grace_s} s are killed")
                });
                self.audience.view.say(&format!("stopping: saving a checkpoint (Ctrl-C again ends at once){long}"));
                self.begin_stop();
            }
            Request::EndNow => {
                interrupts.let_the_next_one_end_this_process(ExitCode::Communication);
                self.killed = Some(Killed::EndNow);
                self.ranks.kill();
            }
        }
    }

    /// Makes all ranks save and stop, within the time that they have for it.
    fn begin_stop(&mut self) {
        let grace_s = self.job.config.launch.grace_s;
        let margin = if self.ranks.are_watched_elsewhere() { ELSEWHERE_MARGIN } else { Duration::ZERO };
        self.is_stopping = true;
        let in_step = Some(self.heard.step() + 1);
        self.kill_after(Duration::from_secs(grace_s) + margin, Killed::OutOfGrace { grace_s, in_step });
        self.ranks.pass_on(ToRank::Stop);
        let connected: Vec<Rank> = self.links.keys().copied().collect();
        self.tell_to_stop(&connected);
    }

    /// Stops this attempt for one that also has the hosts that answer again.
    pub(super) fn on_return(&mut self, found: &Placement) {
        if self.is_stopping || self.killed.is_some() || self.deadline.is_some() {
            return;
        }
        let is_new = |host: &&String| !self.places.iter().any(|place| place.host == **host);
        let back: Vec<&String> = found.hosts.iter().map(|place| &place.host).filter(is_new).collect();
        let (names, ranks) = (back.iter().map(|host| host.as_str()).collect::<Vec<_>>().join(", "), found.world_size);
        let more = counted(ranks.get().into(), "rank");
        self.audience.view.say(&format!("{names} can be had again: saving a checkpoint, to go on with {more}"));
        self.audience.journal.note("hosts_back", json!({ "hosts": back, "ranks": ranks.get() }));
        self.makes_way = true;
        self.begin_stop();
    }

    pub(super) fn on_news(&mut self, news: News) {
        match news {
            // The supervisor handles a stop, which may also come between two attempts.
            News::Asked(Asked::Stop) => {}
            News::Asked(Asked::Save) => {
                self.audience.journal.note("save_requested", json!({}));
                if self.ranks.are_watched_elsewhere() {
                    return self.ranks.pass_on(ToRank::Save);
                }
                // One rank that receives the request is enough: the ranks agree.
                let told = self.links.values().any(|link| tell(link, ToRank::Save).is_ok());
                if !told {
                    self.audience.view.say("a checkpoint was asked for, but no rank is connected yet");
                }
            }
            News::Fenced(error) => {
                self.audience.journal.note("fenced", json!({}));
                self.killed = Some(Killed::Fenced { reason: error.to_string() });
                self.ranks.kill();
            }
        }
    }

    pub(super) fn on_clock(&mut self, now: Instant) {
        if let Some((_, mut why)) = self.deadline.take_if(|(at, _)| now >= *at) {
            if let Killed::OutOfGrace { in_step, .. } = &mut why {
                // The attempt is not in that step any more if it has ended, or if no rank trains.
                in_step.take_if(|step| self.heard.step() >= *step || !self.heard.is_training());
            }
            self.killed.get_or_insert(why);
            self.ranks.kill();
        }
        if self.ranks.are_watched_elsewhere() {
            return;
        }
        self.patience.look(now);
        if self.deadline.is_some() || self.killed.is_some() {
            return;
        }
        let launch = &self.job.config.launch;
        if self.patience.still() >= Duration::from_secs(launch.stall_timeout_s) {
            self.on_stall(launch.stall_timeout_s);
        } else if self.patience.running() >= Duration::from_secs(launch.start_timeout_s) {
            self.on_late_start(launch.start_timeout_s);
        }
    }

    fn on_stall(&mut self, stall_timeout_s: u64) {
        self.audience.view.say(&format!(
            "no rank advanced for {stall_timeout_s} s: ending this attempt; where its ranks were is in {}",
            self.audience.logs.url()
        ));
        self.audience.journal.note("stall", json!({ "stood_still_s": self.patience.still().as_secs_f64() }));
        self.last_heard = Some(self.heard.all());
        for link in self.links.values() {
            // A rank that does not receive the request is in `last_heard` all the same.
            let _ = tell(link, ToRank::Stacks);
        }
        // Signals alone would leave a rank that hangs in MPI as it is.
        self.kill_after(STACKS, Killed::Stalled { stall_timeout_s });
    }

    /// Ends an attempt whose ranks have not all connected: mpirun waits for ever for a daemon that died as it began.
    fn on_late_start(&mut self, start_timeout_s: u64) {
        if self.hosts.len() == self.world_size.get() as usize {
            return;
        }
        let missing: Vec<Rank> = self.world_size.ranks().filter(|rank| !self.hosts.contains_key(rank)).collect();
        let numbers: Vec<u32> = missing.iter().map(|rank| rank.0).collect();
        self.audience.journal.note("not_started", json!({ "ranks": numbers }));
        self.killed = Some(Killed::NotStarted { missing: where_they_are(&missing, self.places), start_timeout_s });
        self.ranks.kill();
    }

    /// Sets the deadline, unless there is an earlier one.
    pub(super) fn kill_after(&mut self, patience: Duration, why: Killed) {
        let at = Instant::now() + patience;
        if self.deadline.as_ref().is_none_or(|(earlier, _)| at < *earlier) {
            self.deadline = Some((at, why));
        }
    }

    /// Tells the connected ones of `ranks` to save and stop. Others are told when they connect.
    ///
    /// Once all ranks have connected, a signal says so, too, for a rank whose connection hangs. It must not come before: a
    /// rank that is still starting may not handle the signal yet, and would die of it.
    pub(super) fn tell_to_stop(&mut self, ranks: &[Rank]) {
        for rank in ranks {
            let Some(link) = self.links.get(rank) else { continue };
            if let Err(error) = tell(link, ToRank::Stop) {
                tracing::warn!("rank {rank} cannot be told to stop: {error}");
            }
        }
        if self.links.len() == self.world_size.get() as usize {
            self.ranks.signal(Signal::SIGUSR2);
        }
    }
}

/// Sends `request` to the rank at the other end of `link`.
fn tell(mut link: &TcpStream, request: ToRank) -> io::Result<()> {
    write_line(&mut link, &request)
}
