//! Handles what ranks say, and that they leave.

use std::time::{Duration, Instant};

use common::exit_code::ExitCode;
use common::topology::Rank;
use common::worker_contract::FromRank;
use serde_json::json;

use super::Watch;
use crate::cause::evidence::{Killed, RankExit};
use crate::supervise::heard::Place;
use crate::supervise::stragglers::Straggler;

/// How long ranks may take to end by themselves after SIGTERM, or after one of them has announced its exit.
const LINGER: Duration = Duration::from_secs(10);

impl Watch<'_> {
    pub(super) fn on_message(&mut self, rank: Rank, message: FromRank) {
        match message {
            FromRank::Hello { .. } => {}
            FromRank::Heartbeat { step, phase, exchange, busy_s, micro_batches } => {
                let has_advanced = self.heard.note(rank, Place { step, phase, micro_batches }, exchange);
                self.on_position(step, has_advanced);
                self.on_busy(rank, step, busy_s);
                // Every rank sends a heartbeat each second; those of one are often enough.
                if rank.is_zero()
                    && let Some(underway) = self.heard.underway()
                {
                    self.audience.view.underway(&underway);
                }
            }
            FromRank::Finding { verdict, text } => self.audience.view.finding(verdict, &text),
            FromRank::Trouble { text } => self.audience.view.warn(&text),
            FromRank::Progress(record) => {
                let has_advanced = self.heard.note_step(rank, record.step);
                self.on_position(record.step, has_advanced);
                self.audience.view.step(&record);
                self.audience.seen.loss = Some(record.loss);
                if let Some(warning) = self.audience.seen.pace.hear(record.step_ms, self.job.config.launch.grace_s) {
                    self.audience.view.warn(&warning);
                    self.audience.journal.note("short_grace", json!({ "step_ms": record.step_ms }));
                }
            }
            FromRank::Validation(record) => {
                self.audience.view.validation(&record);
                self.audience.seen.validation = Some(record);
            }
            FromRank::Tasks(record) => self.audience.view.tasks(&record),
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

    /// Handles a rank's leaving. Processes end soon after their ranks; where something holds them up, such as a stray child,
    /// they are killed.
    pub(super) fn on_left(&mut self, rank: Rank) {
        self.links.remove(&rank);
        match self.announced.get(&rank) {
            None => self.kill_after(LINGER, Killed::RankLost { rank }),
            Some(code) if self.announced.len() == self.world_size.get() as usize && self.links.is_empty() => {
                // This replaces an earlier deadline: that of a stop has been met, and its checkpoint is committed.
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
        let warning = format!(
            "rank {rank} on {host} is slow: a step keeps it busy for {step_ms:.0} ms, the others for {others_ms:.0} ms; all \
             wait for it (other work on its cores or GPU, heat, slow storage?)"
        );
        self.audience.view.warn(&warning);
        let details = json!({ "rank": rank, "host": host, "step_ms": step_ms, "others_ms": others_ms });
        self.audience.journal.note("straggler", details);
    }
}
