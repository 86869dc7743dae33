//! From documents that share a key to clusters, and to the one of each that stays.
//!
//! [`stars`] and [`repeats`] read keys, [`components`] joins edges, [`keep`] chooses. Each reads sorted streams and holds a few
//! numbers.

mod components;
mod keep;
mod repeats;
mod stars;

pub use components::{Components, Memberships};
pub use keep::{Clusters, Decisions, JoinError, Keep};
pub use repeats::Repeats;
pub use stars::Stars;
