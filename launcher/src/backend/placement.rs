//! Decides how many ranks of an attempt run on which host. Pure: a config and the answers of hosts determine the placement.

use common::config::hosts::Host;
use common::config::{Bind, LaunchConfig};
use common::figures::counted;
use common::preflight::Finding;
use common::topology::{Rank, WorldSize};

use super::error::BackendError;
use crate::error::LaunchError;

/// Where the ranks of an attempt run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// Number of ranks.
    pub world_size: WorldSize,
    /// Compute threads of each rank.
    pub threads_per_rank: u32,
    /// Whether each rank is bound to as many hardware threads: there are enough.
    pub is_bound: bool,
    /// Hosts in the order of their ranks; empty where ranks run on this machine alone.
    pub hosts: Vec<HostPlace>,
    /// Number of ranks for which the hosts that answered have room; that of the ranks where no hosts are listed.
    pub room: u32,
    /// Hosts that have no ranks because they did not answer, each with the reason.
    pub left_out: Vec<(String, String)>,
}

/// A host of a [`Placement`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPlace {
    /// Name of the host.
    pub host: String,
    /// Number of ranks on it.
    pub ranks: u32,
}

impl Placement {
    /// Returns a finding about the places of the ranks. Warns of hosts that have room for more.
    pub fn finding(&self) -> Finding {
        let (ranks, room) = (self.world_size.get(), self.room);
        let place = match self.hosts.len() as u64 {
            0 => String::new(),
            hosts => format!(" on {}", counted(hosts, "host")),
        };
        let text = format!("{}{place}", counted(ranks.into(), "rank"));
        let finding = match room.saturating_sub(ranks) {
            0 => {
                let threads = counted(self.threads_per_rank.into(), "thread");
                Finding::ok("places", format!("{text}, {threads} each"))
            }
            idle => Finding::warning(
                "places",
                format!(
                    "{text}, and {idle} of the {room} places on the hosts that answer stay idle; --ranks {room} takes all of them, \
                     unless they are spares"
                ),
            ),
        };
        finding.with("ranks", ranks).with("places", room)
    }
}

/// A host with its number of hardware threads, or the reason why it does not answer.
pub type HostAnswer = (Host, Result<u32, String>);

/// Places the ranks of `launch` on the hosts that answer, in the order of the list.
pub fn place(launch: &LaunchConfig, answers: &[HostAnswer]) -> Result<Placement, LaunchError> {
    let room = |host: &Host| host.slots.unwrap_or(launch.ranks_per_node.max(1));
    let in_all = answers.iter().map(|(host, _)| room(host)).fold(0, u32::saturating_add);
    let wanted = if launch.ranks == 0 { in_all } else { launch.ranks };
    if wanted > in_all {
        return Err(BackendError::NoRoom { wanted, room: in_all }.into());
    }
    let (mut hosts, mut cores_of_ranks, mut left_out, mut placed) = (Vec::new(), Vec::new(), Vec::new(), 0);
    let mut answered = 0_u32;
    for (host, answer) in answers {
        answered = answered.saturating_add(answer.as_ref().map_or(0, |_| room(host)));
        match answer {
            Ok(cores) if placed < wanted => {
                let ranks = room(host).min(wanted - placed);
                placed += ranks;
                hosts.push(HostPlace { host: host.name.clone(), ranks });
                cores_of_ranks.push((*cores, ranks));
            }
            // A spare host: all ranks have been placed.
            Ok(_) => {}
            Err(reason) => left_out.push((host.name.clone(), reason.clone())),
        }
    }
    let least = if launch.min_ranks == 0 { wanted } else { launch.min_ranks.min(wanted) };
    let Some(world_size) = WorldSize::new(placed).filter(|_| placed >= least) else {
        let missing: Vec<_> = left_out.iter().map(|(host, reason)| format!("{host} ({reason})")).collect();
        return Err(LaunchError::Hosts(format!(
            "the hosts that answer have room for {}, at least {least} are needed; no answer from {}",
            counted(placed.into(), "rank"),
            missing.join(", ")
        )));
    };
    let share = cores_of_ranks.iter().map(|(cores, ranks)| (cores / ranks).max(1)).min().unwrap_or(1);
    let threads_per_rank = if launch.threads_per_rank == 0 { share } else { launch.threads_per_rank };
    let is_bound = launch.bind == Bind::Cores && cores_of_ranks.iter().all(|(c, r)| fits(*r, threads_per_rank, *c));
    Ok(Placement { world_size, threads_per_rank, is_bound, hosts, room: answered, left_out })
}

/// Places the ranks of `launch` on this machine, which has `cores` hardware threads.
pub fn place_here(launch: &LaunchConfig, cores: u32) -> Placement {
    let world_size = WorldSize::new(launch.ranks).unwrap_or(WorldSize::ONE);
    let threads_per_rank = match launch.threads_per_rank {
        0 => (cores / world_size.get()).max(1),
        given => given,
    };
    let is_bound = launch.bind == Bind::Cores && fits(world_size.get(), threads_per_rank, cores);
    let room = world_size.get();
    Placement { world_size, threads_per_rank, is_bound, hosts: Vec::new(), room, left_out: Vec::new() }
}

fn fits(ranks: u32, threads: u32, cores: u32) -> bool {
    u64::from(ranks) * u64::from(threads) <= u64::from(cores)
}

/// Names hosts for at most this many ranks.
const RANKS_NAMED_MAX: usize = 16;

/// Names ranks with their hosts, as in `rank 2 on node-b, rank 3 on node-b`. Ranks fill one host after another.
pub fn where_they_are(ranks: &[Rank], places: &[HostPlace]) -> String {
    let host_of = |rank: &Rank| {
        let hosts = places.iter().flat_map(|place| std::iter::repeat_n(&place.host, place.ranks as usize));
        hosts.into_iter().nth(rank.0 as usize)
    };
    let mut said: Vec<String> = ranks
        .iter()
        .take(RANKS_NAMED_MAX)
        .map(|rank| host_of(rank).map_or_else(|| format!("rank {rank}"), |host| format!("rank {rank} on {host}")))
        .collect();
    if let more @ 1.. = ranks.len().saturating_sub(RANKS_NAMED_MAX) {
        said.push(format!("{more} more"));
    }
    said.join(", ")
}

#[cfg(test)]
pub mod tests {
    use common::config::RawConfig;

    use super::*;

    /// Parses `keys` as the section `[launch]`.
    pub fn launch(keys: &str) -> LaunchConfig {
        let text = format!("[prepare]\ninputs = [\"a\"]\noutput = \"b\"\n[launch]\n{keys}\n");
        RawConfig::parse("of the test", &text, &[]).unwrap().prepare().unwrap().launch
    }

    /// Returns answers of hosts: each with its hardware threads, or `None` for no answer.
    pub fn answers(hosts: &[(&str, Option<u32>)]) -> Vec<HostAnswer> {
        let answer = |(host, cores): &(&str, Option<u32>)| {
            (Host::parse(host).unwrap(), cores.ok_or_else(|| "Connection refused".to_owned()))
        };
        hosts.iter().map(answer).collect()
    }

    #[test]
    fn hosts_get_ranks_in_their_order_and_the_rest_are_spares() {
        let launch =
            launch("backend = \"mpirun\"\nhosts = [\"a:2\", \"b\", \"c:4\", \"d\"]\nranks = 5\nranks_per_node = 1");
        let all = [("a:2", Some(8)), ("b", Some(8)), ("c:4", Some(8)), ("d", Some(8))];
        let placed = place(&launch, &answers(&all)).unwrap();
        let hosts: Vec<_> = placed.hosts.iter().map(|on| (on.host.as_str(), on.ranks)).collect();
        assert_eq!(hosts, [("a", 2), ("b", 1), ("c", 2)]);
        assert_eq!((placed.world_size.get(), placed.threads_per_rank, placed.is_bound), (5, 4, true));
        // A spare takes the place of a host that does not answer.
        let placed =
            place(&launch, &answers(&[("a:2", Some(8)), ("b", None), ("c:4", Some(8)), ("d", Some(8))])).unwrap();
        assert_eq!(placed.hosts.last().unwrap().ranks, 3);
        assert_eq!(placed.left_out, [("b".to_owned(), "Connection refused".to_owned())]);
        assert_eq!(placed.threads_per_rank, 2);
    }

    #[test]
    fn places_that_stay_idle_are_counted_among_hosts_that_answer() {
        let finding = |ranks: u32, d: Option<u32>| {
            let hosts = "hosts = [\"a:8\", \"b:8\", \"c:8\", \"d:8\"]";
            let launch = launch(&format!("backend = \"mpirun\"\n{hosts}\nranks = {ranks}"));
            let all = [("a:8", Some(64)), ("b:8", Some(64)), ("c:8", Some(64)), ("d:8", d)];
            place(&launch, &answers(&all)).unwrap().finding()
        };
        let text = "8 ranks on 1 host, and 24 of the 32 places on the hosts that answer stay idle; --ranks 32 takes all of them, \
                    unless they are spares";
        let expected = Finding::warning("places", text).with("ranks", 8).with("places", 32);
        assert_eq!(finding(8, Some(64)), expected);
        assert!(finding(8, None).text.contains("16 of the 24 places"));
        assert_eq!(finding(0, Some(64)).line(), "places      32 ranks on 4 hosts, 8 threads each");
        assert_eq!(place_here(&launch("ranks = 2"), 8).finding().line(), "places      2 ranks, 4 threads each");
    }

    #[test]
    fn fewer_ranks_start_only_where_the_config_allows_it() {
        let of = |min: u32| launch(&format!("backend = \"mpirun\"\nhosts = [\"a\", \"b\", \"c\"]\nmin_ranks = {min}"));
        let two = answers(&[("a", Some(2)), ("b", None), ("c", Some(2))]);
        let Err(LaunchError::Hosts(text)) = place(&of(0), &two) else { panic!("it waits for all") };
        assert!(
            text.contains("room for 2 ranks, at least 3 are needed; no answer from b (Connection refused)"),
            "{text}"
        );
        assert_eq!(place(&of(2), &two).unwrap().world_size.get(), 2);
        assert!(matches!(place(&of(3), &two), Err(LaunchError::Hosts(_))));
        let many = LaunchConfig { ranks: 4, ..of(0) };
        let refused = place(&many, &two);
        assert!(
            matches!(refused, Err(LaunchError::Backend(BackendError::NoRoom { wanted: 4, room: 3 }))),
            "no host could ever mend that"
        );
    }
}
