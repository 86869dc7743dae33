//! Where a step's time goes, on whatever device it goes there: the host only marks moments, and learns later how far they
//! are from each other.

use std::time::{Duration, Instant};

use tch::Device;

use crate::libtorch::streams::{Event, Stream};
use crate::trace::{self, Lane};

/// A part of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Waiting for tokens; on the host in any case.
    DataWait,
    /// Forward.
    Forward,
    /// Loss and backward.
    Backward,
    /// Waiting for the exchange of gradients, or of weights, with nothing else to do.
    ExposedComm,
    /// Norm, clipping and update.
    Optimizer,
}

/// Time of each phase of a step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "see Phase")]
pub struct Phases {
    pub data_wait: Duration,
    pub forward: Duration,
    pub backward: Duration,
    pub exposed_comm: Duration,
    pub optimizer: Duration,
}

impl Phases {
    /// Everything but waiting for other ranks.
    pub fn busy(&self) -> Duration {
        self.data_wait + self.forward + self.backward + self.optimizer
    }

    fn of(&mut self, phase: Phase) -> &mut Duration {
        match phase {
            Phase::DataWait => &mut self.data_wait,
            Phase::Forward => &mut self.forward,
            Phase::Backward => &mut self.backward,
            Phase::ExposedComm => &mut self.exposed_comm,
            Phase::Optimizer => &mut self.optimizer,
        }
    }
}

impl Phase {
    /// As a trace names it.
    fn name(self) -> &'static str {
        match self {
            Phase::DataWait => "wait for tokens",
            Phase::Forward => "forward",
            Phase::Backward => "backward",
            Phase::ExposedComm => "wait for the exchange",
            Phase::Optimizer => "norm and update",
        }
    }
}

/// A moment: of the host, or of what it has queued on a GPU.
#[derive(Debug)]
pub enum Mark {
    /// Of the host.
    Host(Instant),
    /// When the GPU's stream gets there.
    Device(Event),
}

/// The marks of a step.
#[derive(Debug)]
pub struct Timeline {
    device: Device,
    /// One moment twice, by which those of the GPU become moments of the host.
    origin: (Instant, Mark),
    spans: Vec<(Phase, Mark, Mark)>,
}

impl Timeline {
    /// Of a step that begins now on `device`.
    pub fn start(device: Device) -> Self {
        Timeline { device, origin: (Instant::now(), mark(device)), spans: Vec::new() }
    }

    /// This moment.
    pub fn mark(&self) -> Mark {
        mark(self.device)
    }

    /// `phase` went on from `start` until now.
    pub fn add(&mut self, phase: Phase, start: Mark) {
        let end = match start {
            Mark::Host(_) => Mark::Host(Instant::now()),
            Mark::Device(_) => self.mark(),
        };
        self.spans.push((phase, start, end));
    }

    /// The time of each phase, which everything that was marked must have passed; a trace gets them, too.
    pub fn phases(&self) -> Phases {
        let mut phases = Phases::default();
        for (phase, start, end) in &self.spans {
            let (start, end) = (self.host_time(start), self.host_time(end));
            *phases.of(*phase) += end.saturating_duration_since(start);
            trace::record_span(Lane::Compute, phase.name(), start, end);
        }
        phases
    }

    fn host_time(&self, mark: &Mark) -> Instant {
        match (mark, &self.origin) {
            (Mark::Host(at), _) => *at,
            // A GPU that has failed says so where its results are read.
            (Mark::Device(event), (at, Mark::Device(origin))) => *at + origin.until(event).unwrap_or_default(),
            (Mark::Device(_), (at, Mark::Host(_))) => *at,
        }
    }
}

/// This moment on `device`. A GPU that takes no mark gets the host's, and fails where its results are read.
fn mark(device: Device) -> Mark {
    match device {
        Device::Cuda(index) => match Stream::current(index).and_then(|stream| stream.record()) {
            Ok(event) => Mark::Device(event),
            Err(_) => Mark::Host(Instant::now()),
        },
        _ => Mark::Host(Instant::now()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_add_up() {
        let mut timeline = Timeline::start(Device::Cpu);
        for _ in 0..2 {
            let start = timeline.mark();
            std::thread::sleep(Duration::from_millis(2));
            timeline.add(Phase::Forward, start);
        }
        let phases = timeline.phases();
        assert!(phases.forward >= Duration::from_millis(4), "{phases:?}");
        assert_eq!(Phases { forward: Duration::ZERO, ..phases }, Phases::default());
    }
}
