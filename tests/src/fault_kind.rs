//! Kinds of faults of a store.

/// A fault of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The answer is 503 SlowDown, to this request and to those that follow in a burst.
    SlowDown,
    /// The answer is 500 InternalError.
    InternalError,
    /// The answer to a write is 507 XMinioStorageFull, as of a MinIO server whose disks are full. Reads and deletions are
    /// answered.
    Full,
    /// The connection is reset in the middle of a body.
    Reset,
    /// The connection ends, and with it a body that its Content-Length promised to be longer.
    Cut,
    /// The right answer comes after a silence.
    Silence,
    /// The answer begins, and half of its body comes after a silence.
    Stall,
    /// The body of an object has a wrong byte. Only a reader that verifies what it reads can notice.
    WrongBytes,
    /// The request is performed, but its answer gets lost.
    LostAnswer,
    /// The request is performed, but its answer comes after a silence.
    LateAnswer,
    /// A listing is old: what was created in the last [`crate::faults::Plan::lag`] requests is missing, and what was deleted
    /// is still there.
    StaleListing,
    /// A listing is old for some of these objects only, by chance.
    PartialListing,
    /// A listing has short pages, with some keys twice in a page or over two.
    DuplicatedListing,
    /// A listing has keys of other folders, and keys that no object can have. Only a malicious store does this.
    ForeignKeys,
}

impl Fault {
    /// Faults of a store that is not consistent.
    pub const LISTINGS: [Fault; 3] = [Fault::StaleListing, Fault::PartialListing, Fault::DuplicatedListing];

    /// Returns whether this is a fault of listings.
    pub fn is_of_listings(self) -> bool {
        self == Fault::ForeignKeys || Fault::LISTINGS.contains(&self)
    }

    /// Returns whether this is a fault of writes.
    pub fn is_of_writes(self) -> bool {
        self == Fault::Full
    }
}

/// Faults by their names in `kinds=`.
pub const NAMES: [(&str, Fault); 12] = [
    ("slow-down", Fault::SlowDown),
    ("internal-error", Fault::InternalError),
    ("reset", Fault::Reset),
    ("cut", Fault::Cut),
    ("silence", Fault::Silence),
    ("stall", Fault::Stall),
    ("lost-answer", Fault::LostAnswer),
    ("wrong-bytes", Fault::WrongBytes),
    ("full", Fault::Full),
    ("stale-listing", Fault::StaleListing),
    ("partial-listing", Fault::PartialListing),
    ("duplicated-listing", Fault::DuplicatedListing),
];
/// Number of faults, the first of [`NAMES`], that come where none are asked for.
pub const USUAL: usize = 7;
