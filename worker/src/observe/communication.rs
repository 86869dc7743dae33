//! Warns if ranks wait for each other longer than a run should let them.

use std::time::Duration;

/// Number of first steps of an attempt that are skipped: they make connections and fill caches.
const SKIPPED_STEPS: u32 = 2;
/// Number of steps after those that are judged together.
const JUDGED_STEPS: u32 = 5;
/// Share of the time above which communication dominates.
const SHARE_MAX: f64 = 0.2;

/// Share of the first steps that was spent on nothing but waiting for the exchange of gradients.
///
/// The share is measured, and not computed from a bandwidth and an estimated step time.
#[derive(Debug)]
pub struct CommunicationShare {
    /// Number of hosts of all ranks.
    hosts: usize,
    steps: u32,
    total: Duration,
    exposed: Duration,
}

impl CommunicationShare {
    /// Creates the share of ranks on `hosts` hosts, before their first step.
    pub fn new(hosts: usize) -> Self {
        CommunicationShare { hosts, steps: 0, total: Duration::ZERO, exposed: Duration::ZERO }
    }

    /// Adds a step that took `elapsed`, of which it waited `exposed`. After the last judged step, returns a warning
    /// if communication dominates.
    pub fn add(&mut self, elapsed: Duration, exposed: Duration) -> Option<String> {
        self.steps = self.steps.saturating_add(1);
        if self.steps <= SKIPPED_STEPS || self.steps > SKIPPED_STEPS + JUDGED_STEPS {
            return None;
        }
        self.total += elapsed;
        self.exposed += exposed;
        let share = self.exposed.as_secs_f64() / self.total.as_secs_f64();
        (self.steps == SKIPPED_STEPS + JUDGED_STEPS && share > SHARE_MAX).then(|| {
            format!(
                "communication dominates: {:.0} % of a step is waiting for the exchange of gradients; check that all ranks \
                 are equally fast, {}, or train with a larger batch.global_sequences",
                share * 100.0,
                self.suspect()
            )
        })
    }

    /// Returns what else may make the exchange slow, and how to see it.
    fn suspect(&self) -> &'static str {
        match self.hosts {
            ..=1 => "that no other program takes their cores (`top`) or GPUs (`nvidia-smi`)",
            _ => {
                "that traffic takes the fast network (NCCL_SOCKET_IFNAME and NCCL_DEBUG=INFO for NCCL, btl_tcp_if_include for \
                 Open MPI)"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warnings(exposed_ms: [u64; 9]) -> Vec<usize> {
        let mut share = CommunicationShare::new(2);
        let add = |exposed| share.add(Duration::from_millis(100), Duration::from_millis(exposed)).is_some();
        let warned: Vec<bool> = exposed_ms.into_iter().map(add).collect();
        (0..9).filter(|step| warned[*step]).collect()
    }

    #[test]
    fn it_warns_once_of_what_exceeds_a_fifth_of_the_judged_steps() {
        assert_eq!(warnings([0, 0, 10, 40, 30, 10, 15, 99, 99]), [6]);
        assert_eq!(warnings([99, 99, 10, 30, 30, 10, 15, 99, 99]), [0; 0]);
    }

    #[test]
    fn a_warning_says_how_much_and_what_to_check_and_blames_no_network_on_one_host() {
        let step = Duration::from_millis(100);
        let warning = |hosts| {
            let mut share = CommunicationShare::new(hosts);
            (0..7).find_map(|_| share.add(step, step / 2)).unwrap()
        };
        let (one, two) = (warning(1), warning(2));
        assert!(two.contains("50 % of a step") && two.contains("NCCL_SOCKET_IFNAME"), "{two}");
        assert!(one.contains("50 % of a step") && one.contains("`top`") && !one.contains("network"), "{one}");
    }
}
