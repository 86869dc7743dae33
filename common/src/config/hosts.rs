//! Hosts that ranks may run on: `launch.hosts`, and hostfiles in Open MPI's format.

/// A host, with the number of ranks it has room for if that is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Name or IPv4 address; see [`is_host_name`].
    pub name: String,
    /// Number of ranks that it has room for; `None` if not given.
    pub slots: Option<u32>,
}

impl Host {
    /// Reads `name` or `name:slots`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, slots) = match text.split_once(':') {
            Some((name, slots)) => (name, Some(slots)),
            None => (text, None),
        };
        Self::new(name, slots)
    }

    /// Reads a hostfile with one host per line: `name` or `name slots=8`. `#` begins a comment.
    pub fn parse_hostfile(text: &str) -> Result<Vec<Self>, String> {
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default()).enumerate();
        lines
            .filter(|(_, line)| !line.trim().is_empty())
            .map(|(i, line)| {
                let mut words = line.split_whitespace();
                let name = words.next().unwrap_or_default();
                // Open MPI's other settings, such as max_slots, have no effect here.
                let slots = words.find_map(|word| word.strip_prefix("slots="));
                Self::new(name, slots).map_err(|fault| format!("line {}: {fault}", i + 1))
            })
            .collect()
    }

    fn new(name: &str, slots: Option<&str>) -> Result<Self, String> {
        if !is_host_name(name) {
            return Err(format!("{name:?} is not a host; give a name or an IPv4 address, such as node-1:8"));
        }
        let slots = slots
            .map(|text| match text.parse() {
                Ok(slots @ 1..=65_536) => Ok(slots),
                _ => Err(format!("{text:?} is not a number of ranks for host {name}; give one from 1 to 65536")),
            })
            .transpose()?;
        Ok(Host { name: name.to_owned(), slots })
    }
}

/// Returns whether `name` can be a host's: letters, digits, dots, hyphens and underscores, beginning with a letter or digit.
/// Such a name is safe in a command line, where it is never an option, and in mpirun's lists of hosts.
pub fn is_host_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || ".-_".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str, slots: Option<u32>) -> Host {
        Host { name: name.into(), slots }
    }

    #[test]
    fn hosts_have_names_and_perhaps_slots() {
        assert_eq!(Host::parse("node-1:8"), Ok(host("node-1", Some(8))));
        assert_eq!(Host::parse("10.0.0.7"), Ok(host("10.0.0.7", None)));
        for bad in ["", "-oProxyCommand=x", "a b", "a,b", "$(id)", "a:0", "a:many", "a:99999999", "a:1:2", "[::1]"] {
            assert!(Host::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_hostfile_has_comments_and_what_else_open_mpi_knows() {
        let text = "# ours\nnode-1 slots=8 max_slots=8\n\n  node-2   # spare\n";
        assert_eq!(Host::parse_hostfile(text), Ok(vec![host("node-1", Some(8)), host("node-2", None)]));
        assert!(Host::parse_hostfile("a\nb slots=x\n").unwrap_err().starts_with("line 2: \"x\""));
    }
}
