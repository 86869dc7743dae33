//! Watches one attempt, from the start of its ranks to the cause of its end.
//!
//! One loop takes events from one channel and looks at the clock in between. There are two ways out: the processes end by
//! themselves, or the launcher sets a deadline after which it kills them. [`ranks`] handles what ranks say, and [`end`] what
//! ends an attempt from outside of them.

mod end;
mod ranks;

use std::collections::BTreeMap;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use common::attempt::{Claim, News};
use common::exit_code::ExitCode;
use common::topology::{Rank, WorldSize};
use common::worker_contract::{PROTOCOL_VERSION, StartLine};
use serde_json::json;

use super::heard::Heard;
use super::job::{Job, Seen};
use super::patience::Patience;
use super::returning::Returning;
use super::stragglers::Stragglers;
use crate::backend::placement::{HostPlace, Placement};
use crate::backend::relay::Relay;
use crate::backend::{AttemptStart, Ranks};
use crate::cause::Cause;
use crate::cause::evidence::{Evidence, Killed, RankExit};
use crate::cause::last_heard::LastHeard;
use crate::cause::words::{is_worth_showing, says_that_mpi_failed};
use crate::control::ControlServer;
use crate::error::{A_THREAD, LaunchError};
use crate::event::Event;
use crate::interrupts::Interrupts;
use crate::run_folder::journal::Journal;
use crate::run_folder::logs::Logs;
use crate::view::train::View;

/// Longest pause between looks at the clock, the signals and the processes.
const TICK: Duration = Duration::from_millis(100);
/// How long messages of ended ranks may still be on their way over the network.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How long output of ended processes may still be on its way.
const DRAIN: Duration = Duration::from_secs(5);

/// Receivers of an attempt's events.
pub struct Audience<'a> {
    /// What a person sees.
    pub view: &'a mut View,
    /// Events in the run folder.
    pub journal: &'a Journal,
    /// Logs in the run folder.
    pub logs: &'a mut Logs,
    /// Reports that are remembered across attempts.
    pub seen: &'a mut Seen,
    /// Relay to the launcher elsewhere for which this one runs the attempt.
    pub relay: Option<Relay>,
}

/// How an attempt ended.
pub struct Outcome {
    /// Cause of the end.
    pub cause: Cause,
    /// Whether somebody asked for the end, so that there is no restart.
    pub stop_requested: bool,
    /// Whether the attempt was stopped so that the next one can have more ranks.
    pub makes_way: bool,
    /// How long it took to make sure that nothing of the attempt is left, on any host.
    pub cleared_in: Duration,
}

/// Starts the attempt `claim` of `job` at `placement` and follows it to its end. No process of the attempt is left when this
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
    // The channel must close when nothing more can be sent, or every attempt would end only after DRAIN.
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
    /// Hosts in the order of their ranks.
    places: &'a [HostPlace],
    ranks: Box<dyn Ranks>,
    audience: Audience<'a>,
    links: BTreeMap<Rank, Arc<TcpStream>>,
    /// Host of each rank that has connected.
    hosts: BTreeMap<Rank, String>,
    stragglers: Stragglers,
    heard: Heard,
    /// What all ranks were doing when the first of them failed: as they end, their reports change.
    last_heard: Option<Vec<LastHeard>>,
    patience: Patience,
    first_failure: Option<RankExit>,
    /// Exit code that each rank has announced.
    announced: BTreeMap<Rank, ExitCode>,
    killed: Option<Killed>,
    /// Cause that the place where the ranks run reports.
    told: Option<Cause>,
    /// When the ranks are killed if they are still there, and why.
    deadline: Option<(Instant, Killed)>,
    /// Whether ranks are to save and stop, for any reason.
    is_stopping: bool,
    /// Whether a person asked to stop.
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
        // The ranks' last messages may still be in sockets and pipes. The channel closes when all of them have ended.
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
        if let Some(relay) = &mut self.audience.relay {
            relay.end(&cause);
        }
        let makes_way = self.makes_way && cause.code == ExitCode::Stopped;
        Ok(Outcome { cause, stop_requested: self.stop_requested, makes_way, cleared_in })
    }

    /// Handles the events that are still on their way, for at most `patience`.
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
}
