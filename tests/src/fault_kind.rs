//! The kinds of things that a store does wrong.

/// One thing that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// 503 SlowDown, to this request and to those that follow in a burst.
    SlowDown,
    /// 500 InternalError.
    InternalError,
    /// The connection is reset in the middle of a body.
    Reset,
    /// The connection ends, and with it a body that its Content-Length promised to be longer.
    Cut,
    /// No answer for a while; then the right one.
    Silence,
    /// The answer begins, and half of its body comes only after a while.
    Stall,
    /// A wrong byte in the body of an object. Only those who verify what they read can see it.
    WrongBytes,
    /// The request is carried out, but its answer gets lost.
    LostAnswer,
    /// The request is carried out, but its answer comes only after a while.
    LateAnswer,
    /// A listing as of a moment ago: what was created in the last [`crate::faults::Plan::lag`] requests is missing, and what was deleted is
    /// still there.
    StaleListing,
    /// The same of some of these objects only, by chance.
    PartialListing,
    /// A listing in short pages, with some keys twice in a page or over two.
    DuplicatedListing,
    /// A listing with keys of other folders, and such as no object can have. No store does this that means well.
    ForeignKeys,
}

impl Fault {
    /// What a store does wrong that is not consistent.
    pub const LISTINGS: [Fault; 3] = [Fault::StaleListing, Fault::PartialListing, Fault::DuplicatedListing];

    /// Whether it is a listing that is wrong.
    pub fn is_of_listings(self) -> bool {
        self == Fault::ForeignKeys || Fault::LISTINGS.contains(&self)
    }
}

/// The faults of a name in `kinds=`.
pub const NAMES: [(&str, Fault); 11] = [
    ("slow-down", Fault::SlowDown),
    ("internal-error", Fault::InternalError),
    ("reset", Fault::Reset),
    ("cut", Fault::Cut),
    ("silence", Fault::Silence),
    ("stall", Fault::Stall),
    ("lost-answer", Fault::LostAnswer),
    ("wrong-bytes", Fault::WrongBytes),
    ("stale-listing", Fault::StaleListing),
    ("partial-listing", Fault::PartialListing),
    ("duplicated-listing", Fault::DuplicatedListing),
];
/// The first of them come where none are asked for.
pub const USUAL: usize = 7;
