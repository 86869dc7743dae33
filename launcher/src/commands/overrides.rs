//! Flags as overrides of the config.

use crate::cli::shared::{BackendName, LaunchArgs};

/// Returns an override of `key` by `text`.
pub fn set(key: &str, text: &str) -> String {
    // JSON strings are valid TOML strings.
    format!("{key}={}", serde_json::Value::from(text))
}

/// Returns the flags that say how ranks are started as overrides.
pub fn of_launch(args: &LaunchArgs) -> Vec<String> {
    let backend = args.backend.map(|name| {
        let name = match name {
            BackendName::Local => "local",
            BackendName::Mpirun => "mpirun",
            BackendName::Kubernetes => "kubernetes",
            BackendName::Slurm => "slurm",
        };
        set("launch.backend", name)
    });
    let ranks = args.ranks.map(|n| format!("launch.ranks={n}"));
    let hosts = args.hosts.as_deref().map(|hosts| {
        let hosts: Vec<String> = hosts.split(',').map(|host| serde_json::Value::from(host).to_string()).collect();
        format!("launch.hosts=[{}]", hosts.join(", "))
    });
    let hostfile = args.hostfile.as_ref().map(|path| set("launch.hostfile", &path.display().to_string()));
    let ranks_per_node = args.ranks_per_node.map(|n| format!("launch.ranks_per_node={n}"));
    let threads = args.threads_per_rank.map(|n| format!("launch.threads_per_rank={n}"));
    [backend, ranks, hosts, hostfile, ranks_per_node, threads].into_iter().flatten().collect()
}
