//! One attempt: from the start of its ranks to the cause of its end.
//!
//! One loop takes what happens from one channel and looks at the clock in between. The ways out are few: the processes
//! end by themselves, or the launcher sets a deadline after which it kills them.

use std::collections::BTreeMap;
use std::io;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use common::attempt::{Claim, News, Request as Asked};
use common::config::RunConfig;
use common::metrics::ValidationRecord;
use common::storage::Folder;
use common::topology::{Rank, WorldSize};
use common::worker_contract::{ExitCode, FromRank, PROTOCOL_VERSION, StartLine, ToRank, write_line};
use nix::sys::signal::Signal;
use serde_json::json;

use super::heard::Heard;
use super::pace::{Pace, seconds};
use super::patience::Patience;
use super::returning::Returning;
use super::stragglers::{Straggler, Stragglers};
use crate::backend::relay::Relay;
use crate::backend::{AttemptStart, Backend, HostPlace, Placement, Ranks, where_they_are};
use crate::cause::Cause;
use crate::cause::evidence::{Evidence, Killed, RankExit};
use crate::cause::last_heard::LastHeard;
use crate::cause::words::is_worth_showing;
use crate::cause::words::says_that_mpi_failed;
use crate::control::ControlServer;
use crate::error::{A_THREAD, LaunchError};
use crate::event::Event;
use crate::interrupts::{Interrupts, Request};
use crate::run_folder::journal::Journal;
use crate::run_folder::logs::Logs;
use crate::view::train::View;

/// How often the clock, the signals and the processes are looked at when nothing else happens.
const TICK: Duration = Duration::from_millis(100);
/// How long ranks that stand still have to print their stacks.
const STACKS: Duration = Duration::from_secs(5);
/// How long ranks may take to end by themselves after SIGTERM, or after one of them has announced its exit.
const LINGER: Duration = Duration::from_secs(10);
/// How much longer a stop may take where another launcher sees to it that it takes no longer.
const ELSEWHERE_MARGIN: Duration = Duration::from_secs(60);
/// How long what ended ranks have said may still be on its way over the network.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How long what ended processes have printed may still be on its way.
const DRAIN: Duration = Duration::from_secs(5);

/// What all attempts of one launch have in common.
pub struct Job {
    /// Resolved, with absolute URLs.
    pub config: RunConfig,
    /// Keys of it that may differ from the checkpoint's.
    pub accepted_changes: Vec<String>,
    /// How its ranks are started.
    pub backend: Box<dyn Backend>,
    /// The run folder.
    pub run: Folder,
    /// The attempt that a launcher elsewhere has claimed, keeps alive, and has this one run.
    pub handed: Option<Claim>,
}

/// What the ranks have reported, over all attempts of one launch.
#[derive(Debug, Default)]
pub struct Seen {
    /// The highest completed step.
    pub step_max: u64,
    /// The last validation loss.
    pub validation: Option<ValidationRecord>,
    /// How long steps take.
    pub pace: Pace,
}

/// Those who follow an attempt.
pub struct Audience<'a> {
    /// The person.
    pub view: &'a mut View,
    /// The events in the run folder.
    pub journal: &'a Journal,
    /// The logs in the run folder.
    pub logs: &'a mut Logs,
    /// What is remembered across attempts.
    pub seen: &'a mut Seen,
    /// The launcher elsewhere for which this one runs the attempt.
    pub relay: Option<Relay>,
}

/// How an attempt ended.
pub struct Outcome {
    /// Why.
    pub cause: Cause,
    /// Whether somebody asked for the end, so that nothing is to be started again.
    pub stop_requested: bool,
    /// Whether it was stopped so that the next can have more ranks.
    pub makes_way: bool,
    /// How long it took to make sure that nothing of it is left, on any host.
    pub cleared_in: Duration,
}

/// Starts the attempt of `claim` of `job` at `placement` and follows it to its end. No process of it is left when this
/// returns.
pub fn attempt(
    job: &Job,
    (claim, placement): (&Claim, &Placement),
    (interrupts, news): (&mut Interrupts, &Receiver<News>),
    audience: Audience<'_>,
) -> Result<Outcome, LaunchError> {
    let (sender, events) = mpsc::channel();
    let address = job.backend.control_address(placement)?;
    let control = ControlServer::start(address, placement.world_size, sender.clone())
        .map_err(LaunchError::system("listen for control connections"))?;
    let start_line = StartLine {
        version: PROTOCOL_VERSION,
        config: job.config.to_toml(),
        attempt: claim.number,
        claim_id: claim.id.clone(),
        accepted_changes: job.accepted_changes.clone(),
        control_address: control.address(),
        control_token: control.token().to_owned(),
    };
    let gives_up = interrupts.signalled();
    let start = AttemptStart { number: claim.number, placement, start_line: Some(&start_line), gives_up: &gives_up };
    let ranks = job.backend.start(&start, &sender)?;
    let poll_s = job.config.launch.host_poll_s;
    let scout = job.backend.scout().filter(|_| poll_s > 0 && !placement.left_out.is_empty());
    let returning = scout.map(|scout| Returning::start(scout, Duration::from_secs(poll_s), placement.world_size));
    let returning = returning.transpose().map_err(LaunchError::system(A_THREAD))?;
    // The channel has to end with those who have something to say, or every attempt would end after DRAIN.
    drop(sender);
    let watch = Watch {
        job,
        world_size: placement.world_size,
        places: &placement.hosts,
        ranks,
        audience,
        links: BTreeMap::new(),
        hosts: BTreeMap::new(),
        stragglers: Stragglers::default(),
        heard: Heard::default(),
        last_heard: None,
        patience: Patience::new(Instant::now()),
        first_failure: None,
        announced: BTreeMap::new(),
        killed: None,
        told: None,
        deadline: None,
        is_stopping: false,
        stop_requested: false,
        returning,
        makes_way: false,
    };
    watch.follow(control, &events, (interrupts, news))
}

struct Watch<'a> {
    job: &'a Job,
    world_size: WorldSize,
    /// The hosts, by rank.
    places: &'a [HostPlace],
    ranks: Box<dyn Ranks>,
    audience: Audience<'a>,
    links: BTreeMap<Rank, Arc<TcpStream>>,
    /// Where each rank is that has connected.
    hosts: BTreeMap<Rank, String>,
    stragglers: Stragglers,
    heard: Heard,
    /// What all ranks had been heard to do when the first of them failed: as they end, they may say other things.
    last_heard: Option<Vec<LastHeard>>,
    patience: Patience,
    first_failure: Option<RankExit>,
    /// What each rank said that it would exit with.
    announced: BTreeMap<Rank, ExitCode>,
    killed: Option<Killed>,
    /// What the place where the ranks run says about the end.
    told: Option<Cause>,
    /// When the ranks are killed if they are still there, and why.
    deadline: Option<(Instant, Killed)>,
    /// Whether ranks are to save and stop, for whatever reason.
    is_stopping: bool,
    /// Whether a person wants that.
    stop_requested: bool,
    returning: Option<Returning>,
    makes_way: bool,
}

impl Watch<'_> {
    fn follow(
        mut self,
        mut control: ControlServer,
        events: &Receiver<Event>,
        (interrupts, news): (&mut Interrupts, &Receiver<News>),
    ) -> Result<Outcome, LaunchError> {
        while !self.ranks.have_ended() {
            control.admit(Instant::now());
            match events.recv_timeout(TICK) {
                Ok(event) => self.on_event(event),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => unreachable!("the control server holds a sender"),
            }
            if let Some(request) = interrupts.poll() {
                self.on_request(request, interrupts);
            }
            if let Ok(news) = news.try_recv() {
                self.on_news(news);
            }
            if let Some(found) = self.returning.as_ref().and_then(Returning::poll) {
                self.on_return(&found);
            }
            self.on_clock(Instant::now());
        }
        let ended_at = Instant::now();
        let process = self.ranks.finish().map_err(LaunchError::system("wait for the ranks"))?;
        let cleared_in = ended_at.elapsed();
        // What the ranks said last may still wait in sockets and pipes; the channel ends when all of them have.
        control.close(LAST_WORDS);
        self.drain(events, LAST_WORDS);
        // A host that was cut off never closes its ranks' connections.
        for link in self.links.values() {
            let _ = link.shutdown(Shutdown::Both);
        }
        self.drain(events, DRAIN);
        let last_heard = self.last_heard.take().unwrap_or_else(|| self.heard.all());
        let (first_failure, killed, told) = (self.first_failure, self.killed, self.told);
        let mpirun_words = self.audience.logs.tail(None);
        let first_error = self.audience.logs.first_error();
        let cause =
            Cause::of(&Evidence { first_failure, killed, told, process, mpirun_words, first_error, last_heard });
        if self.audience.relay.is_some() {
            Relay::end(&cause);
        }
        let makes_way = self.makes_way && cause.code == ExitCode::Stopped;
        Ok(Outcome { cause, stop_requested: self.stop_requested, makes_way, cleared_in })
    }

    /// Takes what is still on its way, for at most `patience`.
    fn drain(&mut self, events: &Receiver<Event>, patience: Duration) {
        let until = Instant::now() + patience;
        while let Ok(event) = events.recv_timeout(until.saturating_duration_since(Instant::now())) {
            self.on_event(event);
        }
    }

    fn on_event(&mut self, event: Event) {
        if let Some(relay) = &mut self.audience.relay {
            relay.pass_on(&event);
        }
        match event {
            Event::Connected { rank, host, link } => {
                self.links.insert(rank, link);
                self.hosts.insert(rank, host);
                if self.is_stopping {
                    self.tell_to_stop(&[rank]);
                }
            }
            Event::Message { rank, message } => self.on_message(rank, message),
            Event::Left { rank } => self.on_left(rank),
            Event::Misfit { reason } => {
                self.killed = Some(Killed::Misfit { reason });
                self.ranks.kill();
            }
            Event::Unheard { rank, reason } => {
                self.killed.get_or_insert(Killed::Unheard { rank, reason });
                self.ranks.kill();
            }
            Event::Notice { text } => {
                self.audience.view.say(&text);
                self.audience.journal.note("notice", json!({ "text": text }));
            }
            Event::Ended { cause } => self.told = Some(cause),
            Event::Output { rank, line, .. } => {
                self.audience.logs.append(rank, &line);
                if says_that_mpi_failed(&line) {
                    self.kill_after(LAST_WORDS, Killed::NoMpi { rank });
                }
                if let (Some(rank), true) = (rank, is_worth_showing(&line)) {
                    self.audience.view.say_of(rank, &line);
                }
            }
        }
    }

    fn on_message(&mut self, rank: Rank, message: FromRank) {
        match message {
            FromRank::Hello { .. } => {}
            FromRank::Heartbeat { step, phase, exchange, busy_s } => {
                let has_advanced = self.heard.note(rank, step, phase, exchange);
                self.on_position(step, has_advanced);
                self.on_busy(rank, step, busy_s);
            }
            FromRank::Progress(record) => {
                let has_advanced = self.heard.note_step(rank, record.step);
                self.on_position(record.step, has_advanced);
                self.audience.view.step(&record);
                if let Some(warning) = self.audience.seen.pace.hear(record.step_ms, self.job.config.launch.grace_s) {
                    self.audience.view.say(&warning);
                    self.audience.journal.note("short_grace", json!({ "step_ms": record.step_ms }));
                }
            }
            FromRank::Validation(record) => {
                self.audience.view.validation(&record);
                self.audience.seen.validation = Some(record);
            }
            FromRank::Notice { text } => self.audience.view.say(&text),
            FromRank::Exit { code, message } => {
                self.announced.insert(rank, code);
                let is_failure = !matches!(code, ExitCode::Done | ExitCode::Stopped);
                if is_failure && self.first_failure.is_none() {
                    self.last_heard = Some(self.heard.all());
                    self.first_failure = Some(RankExit { rank, code, message });
                    self.kill_after(LINGER, Killed::Lingered);
                }
            }
        }
    }

    /// Processes end soon after their ranks; where something holds them up, for example a stray child, they are killed.
    fn on_left(&mut self, rank: Rank) {
        self.links.remove(&rank);
        match self.announced.get(&rank) {
            None => self.kill_after(LINGER, Killed::RankLost { rank }),
            Some(code) if self.announced.len() == self.world_size.get() as usize && self.links.is_empty() => {
                // Instead of an earlier deadline: that of a stop has been met, and its checkpoint is committed.
                self.deadline = Some((Instant::now() + LINGER, Killed::Finished { code: *code }));
            }
            Some(_) => {}
        }
    }

    fn on_position(&mut self, step: u64, has_advanced: bool) {
        if has_advanced {
            self.patience.renew();
        }
        self.audience.seen.step_max = self.audience.seen.step_max.max(step);
    }

    fn on_busy(&mut self, rank: Rank, step: u64, busy_s: f64) {
        let Some(straggler) = self.stragglers.hear(rank, step, busy_s) else { return };
        let Straggler { rank, step_ms, others_ms } = straggler;
        let host = self.hosts.get(&rank).map_or("an unknown host", |host| host);
        self.audience.view.say(&format!(
            "rank {rank} on {host} is slow: a step keeps it busy for {step_ms:.0} ms, the others for {others_ms:.0} ms; all \
             wait for it (other work on its cores or GPU, heat, slow storage?)"
        ));
        let details = json!({ "rank": rank, "host": host, "step_ms": step_ms, "others_ms": others_ms });
        self.audience.journal.note("straggler", details);
    }

    fn on_request(&mut self, request: Request, interrupts: &Interrupts) {
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

    /// Has all ranks save and stop, within the time that they have for it.
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

    /// Makes way for an attempt that also has the hosts that answer again.
    fn on_return(&mut self, found: &Placement) {
        if self.is_stopping || self.killed.is_some() || self.deadline.is_some() {
            return;
        }
        let is_new = |host: &&String| !self.places.iter().any(|place| place.host == **host);
        let back: Vec<&String> = found.hosts.iter().map(|place| &place.host).filter(is_new).collect();
        let (names, ranks) = (back.iter().map(|host| host.as_str()).collect::<Vec<_>>().join(", "), found.world_size);
        self.audience.view.say(&format!("{names} can be had again: saving a checkpoint, to go on with {ranks} ranks"));
        self.audience.journal.note("hosts_back", json!({ "hosts": back, "ranks": ranks.get() }));
        self.makes_way = true;
        self.begin_stop();
    }

    fn on_news(&mut self, news: News) {
        match news {
            // The supervisor hears of a stop: it also comes between two attempts.
            News::Asked(Asked::Stop) => {}
            News::Asked(Asked::Save) => {
                self.audience.journal.note("save_requested", json!({}));
                if self.ranks.are_watched_elsewhere() {
                    return self.ranks.pass_on(ToRank::Save);
                }
                // One rank that hears it is enough: they agree.
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

    /// Tells `ranks`, which are connected, to save and stop. Those that are not yet are told when they are.
    ///
    /// Once all have connected a signal says the same, for a rank whose connection hangs. Not before: a rank that is
    /// still starting may not handle the signal yet, and would die of it.
    fn tell_to_stop(&mut self, ranks: &[Rank]) {
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

    fn on_clock(&mut self, now: Instant) {
        if let Some((_, mut why)) = self.deadline.take_if(|(at, _)| now >= *at) {
            if let Killed::OutOfGrace { in_step, .. } = &mut why {
                // The one that it has waited for ever since.
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
            // One that does not take it is in its last words all the same.
            let _ = tell(link, ToRank::Stacks);
        }
        // Signals alone would leave a rank that hangs in MPI as it is.
        self.kill_after(STACKS, Killed::Stalled { stall_timeout_s });
    }

    /// Ends an attempt whose ranks are not all there: mpirun waits for ever for a daemon that died as it began.
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

    /// Sets the deadline; an earlier one stands.
    fn kill_after(&mut self, patience: Duration, why: Killed) {
        let at = Instant::now() + patience;
        if self.deadline.as_ref().is_none_or(|(earlier, _)| at < *earlier) {
            self.deadline = Some((at, why));
        }
    }
}

/// Says `request` to the rank at the other end of `link`.
fn tell(mut link: &TcpStream, request: ToRank) -> io::Result<()> {
    write_line(&mut link, &request)
}
