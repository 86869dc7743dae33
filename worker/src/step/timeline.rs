//! Time of a step's phases, on any device: the host only marks points in time, and learns later how far they are
//! apart.

use std::time::{Duration, Instant};

use tch::Device;

use crate::libtorch::streams::{Event, Stream};
use crate::trace::{self, Lane};

/// Phase of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Waiting for tokens; always measured on the host.
    DataWait,
    /// Forward.
    Forward,
    /// Loss and backward.
    Backward,
    /// Waiting for the exchange of gradients or weights, with nothing else to do.
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
    /// Returns the time of all phases except waiting for other ranks.
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
    /// Returns the name of the phase in a trace.
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

/// A point in time: on the host, or in the work queued on a GPU.
#[derive(Debug)]
pub enum Mark {
    /// Time on the host.
    Host(Instant),
    /// Event that the GPU's stream reaches.
    Device(Event),
}

/// Marks of a step.
#[derive(Debug)]
pub struct Timeline {
    device: Device,
    /// One moment on the host and on the device, by which marks on a GPU are converted to times on the host.
    origin: (Instant, Mark),
    spans: Vec<(Phase, Mark, Mark)>,
}

impl Timeline {
    /// Starts the timeline of a step that begins now on `device`.
    pub fn start(device: Device) -> Self {
        Timeline { device, origin: (Instant::now(), mark(device)), spans: Vec::new() }
    }

    /// Returns a mark of this moment.
    pub fn mark(&self) -> Mark {
        mark(self.device)
    }

    /// Adds the time of `phase`, from `start` until now.
    pub fn add(&mut self, phase: Phase, start: Mark) {
        let end = match start {
            Mark::Host(_) => Mark::Host(Instant::now()),
            Mark::Device(_) => self.mark(),
        };
        self.spans.push((phase, start, end));
    }

    /// Returns the time of each phase, and adds the phases to a trace. All marks must have passed.
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
            // A GPU that has failed reports that where its results are read.
            (Mark::Device(event), (at, Mark::Device(origin))) => *at + origin.until(event).unwrap_or_default(),
            (Mark::Device(_), (at, Mark::Host(_))) => *at,
        }
    }
}

/// Marks this moment on `device`. If the GPU takes no mark, the host's time is used, and reading the results fails.
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
