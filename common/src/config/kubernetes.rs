//! `[kubernetes]`: pods of a run with the backend `kubernetes`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::section::Section;

/// Section `[kubernetes]`; may change on resume. Names are checked by Kubernetes' rules. Sizes are per worker pod.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KubernetesConfig {
    /// Name of the Kubernetes objects; empty for `run.name`. Default empty.
    pub name: String,
    /// Namespace of the objects; empty for that of the kubeconfig's context, or the launcher's own in a cluster. Default empty.
    pub namespace: String,
    /// Image of every pod. Default `convoy`.
    pub image: String,
    /// Service account of the pods. Default `convoy`.
    pub service_account: String,
    /// Service account of a supervisor in the cluster. Default `convoy-supervisor`.
    pub supervisor_service_account: String,
    /// Secret with the environment variables that storage needs; empty where pods have an identity. Default empty.
    pub storage_secret: String,
    /// Cores of a worker pod. Default 8.
    pub cpus: u32,
    /// Memory of a worker pod, in bytes. Default 32 GiB.
    pub memory_bytes: u64,
    /// Part of the memory that the ranks of a pod may share, in bytes: the size of /dev/shm. Default 8 GiB.
    pub shm_bytes: u64,
    /// Local disk of a worker pod, in bytes, for blocks of token shards (`data.cache_bytes`) and temporary files. Default 20 GiB.
    pub disk_bytes: u64,
    /// GPUs of a worker pod. Default 0.
    pub gpus: u32,
    /// Cluster's resource name for a GPU. Default `nvidia.com/gpu`.
    pub gpu_resource: String,
    /// Labels that a node must have. Default none.
    pub node_selector: BTreeMap<String, String>,
    /// Taints that a node may have. Default none.
    pub tolerations: Vec<Toleration>,
    /// Priority class of the pods; empty for the cluster's default. Default empty.
    pub priority_class: String,
    /// Label of nodes over whose values worker pods spread as evenly as possible; empty disables spreading. Default
    /// `kubernetes.io/hostname`.
    pub topology_key: String,
    /// Number of the run's pods that a node's drain may evict at once. With 0 a drain waits for the run. Default 0.
    pub max_unavailable: u32,
    /// Seconds that pods may wait for a node or an image before the attempt ends; 0 waits forever. Default 3600.
    pub pending_timeout_s: u64,
}

/// Taint that a node may have, as in a pod's manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Toleration {
    /// The taint's key.
    pub key: String,
    /// Taint's value; `None` for any value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Taint's effect; `None` for any effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<TaintEffect>,
}

/// Effect of a taint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "they are Kubernetes' own words")]
pub enum TaintEffect {
    NoSchedule,
    PreferNoSchedule,
    NoExecute,
}

impl KubernetesConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let text = |section: &mut Section<'_>, key, default: &str| section.or(key, default.to_owned());
        let kubernetes = KubernetesConfig {
            name: text(section, "name", ""),
            namespace: text(section, "namespace", ""),
            image: text(section, "image", "convoy"),
            service_account: text(section, "service_account", "convoy"),
            supervisor_service_account: text(section, "supervisor_service_account", "convoy-supervisor"),
            storage_secret: text(section, "storage_secret", ""),
            cpus: section.or("cpus", 8),
            memory_bytes: section.or("memory_bytes", 32 << 30),
            shm_bytes: section.or("shm_bytes", 8 << 30),
            disk_bytes: section.or("disk_bytes", 20 << 30),
            gpus: section.or("gpus", 0),
            gpu_resource: text(section, "gpu_resource", "nvidia.com/gpu"),
            node_selector: section.or("node_selector", BTreeMap::new()),
            tolerations: section.or("tolerations", Vec::new()),
            priority_class: text(section, "priority_class", ""),
            topology_key: text(section, "topology_key", "kubernetes.io/hostname"),
            max_unavailable: section.or("max_unavailable", 0),
            pending_timeout_s: section.or("pending_timeout_s", 3600),
        };
        kubernetes.check_names(section);
        kubernetes.check_sizes(section);
        kubernetes
    }

    fn check_names(&self, section: &mut Section<'_>) {
        let mut check = |key: &'static str, value: &str, holds: bool, hint: &str| {
            section.require(holds, key, toml::Value::from(value), hint);
        };
        let optional = |name: &str, holds: fn(&str) -> bool| name.is_empty() || holds(name);
        check("name", &self.name, optional(&self.name, is_label), LABEL);
        check("namespace", &self.namespace, optional(&self.namespace, is_label), LABEL);
        check(
            "image",
            &self.image,
            is_image(&self.image),
            "must be an image's name, such as registry.example/convoy:1",
        );
        check("service_account", &self.service_account, is_subdomain(&self.service_account), SUBDOMAIN);
        let supervisor = &self.supervisor_service_account;
        check("supervisor_service_account", supervisor, is_subdomain(supervisor), SUBDOMAIN);
        check("storage_secret", &self.storage_secret, optional(&self.storage_secret, is_subdomain), SUBDOMAIN);
        check("gpu_resource", &self.gpu_resource, is_qualified(&self.gpu_resource), QUALIFIED);
        check("priority_class", &self.priority_class, optional(&self.priority_class, is_subdomain), SUBDOMAIN);
        check("topology_key", &self.topology_key, optional(&self.topology_key, is_qualified), QUALIFIED);
        for (key, value) in &self.node_selector {
            check("node_selector", key, is_qualified(key), QUALIFIED);
            check("node_selector", value, is_label_value(value), LABEL_VALUE);
        }
        for Toleration { key, value, .. } in &self.tolerations {
            check("tolerations", key, is_qualified(key), QUALIFIED);
            let value = value.as_deref().unwrap_or_default();
            check("tolerations", value, is_label_value(value), LABEL_VALUE);
        }
    }

    fn check_sizes(&self, section: &mut Section<'_>) {
        section.require(
            self.shm_bytes < self.memory_bytes || !section.is_sound("memory_bytes"),
            "shm_bytes",
            self.shm_bytes,
            format!("is part of memory_bytes = {}: lower it", self.memory_bytes),
        );
    }
}

const LABEL: &str = "must be an RFC 1123 label: up to 63 lower-case letters, digits and -, none of these - at an end";
const SUBDOMAIN: &str =
    "must be an RFC 1123 subdomain: lower-case letters, digits, - and ., a letter or digit at each end";
const QUALIFIED: &str = "must be a qualified name, such as example.com/name";
const LABEL_VALUE: &str =
    "must be a label's value: up to 63 letters, digits, -, _ and ., a letter or digit at each end";

/// Returns whether `name` is an RFC 1123 label.
pub fn is_label(name: &str) -> bool {
    name.len() <= 63 && is_made_of(name, |c| c.is_ascii_lowercase() || c.is_ascii_digit(), b"-")
}

fn is_subdomain(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_label)
}

fn is_label_value(value: &str) -> bool {
    value.is_empty() || value.len() <= 63 && is_made_of(value, |c| c.is_ascii_alphanumeric(), b"-_.")
}

fn is_qualified(name: &str) -> bool {
    let (prefix, name) = name.rsplit_once('/').map_or((None, name), |(prefix, name)| (Some(prefix), name));
    !name.is_empty() && is_label_value(name) && prefix.is_none_or(is_subdomain)
}

/// Returns whether `name` has only the characters of an image reference. The registry checks the rest.
fn is_image(name: &str) -> bool {
    is_made_of(name, |c| c.is_ascii_alphanumeric(), b"-_./:@")
}

/// Returns whether `name` consists of `ordinary` characters, with those in `between` only between ordinary ones.
fn is_made_of(name: &str, ordinary: impl Fn(&u8) -> bool, between: &[u8]) -> bool {
    let bytes = name.as_bytes();
    let ends_well = bytes.first().is_some_and(&ordinary) && bytes.last().is_some_and(&ordinary);
    ends_well && bytes.iter().all(|c| ordinary(c) || between.contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_kubernetes_wants_them() {
        let long = "a".repeat(64);
        for (name, label, subdomain, qualified, value) in [
            ("convoy-1", true, true, true, true),
            ("a.b", false, true, true, true),
            ("Gpu_1", false, false, true, true),
            ("nvidia.com/gpu", false, false, true, false),
            ("a/b/c", false, false, false, false),
            ("-a", false, false, false, false),
            ("a b", false, false, false, false),
            ("a\nb: c", false, false, false, false),
            (long.as_str(), false, false, false, false),
            ("", false, false, false, true),
        ] {
            let is = (is_label(name), is_subdomain(name), is_qualified(name), is_label_value(name));
            assert_eq!(is, (label, subdomain, qualified, value), "{name:?}");
        }
        assert!(is_image("registry.example:5000/team/convoy@sha256:abc") && !is_image("convoy; rm") && !is_image(""));
    }
}
