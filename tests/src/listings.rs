//! Listings of a store that is not consistent: recent changes are missing, all or in part, and keys appear twice. A malicious
//! server also lists keys that nobody asked for.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use s3s::dto::{CommonPrefix, ListObjectsV2Input, ListObjectsV2Output, Object, Timestamp};

use crate::fault_kind::Fault;
use crate::random::mix;

/// Largest number of changes that are remembered.
const REMEMBERED: usize = 10_000;
/// Keys in a page that repeats some: few, so that a listing has many pages.
const SHORT_PAGE: usize = 5;
/// Keys in a page of S3.
const PAGE: usize = 1_000;

/// How one listing is wrong.
#[derive(Debug, Clone, Copy)]
pub struct Wrong {
    /// Fault, one of those of listings.
    pub fault: Fault,
    /// Number of requests for which a change stays unseen.
    pub lag: u64,
    /// Random number that chooses what is seen in part, or twice.
    pub lot: u64,
}

/// The last changes of a store, remembered.
#[derive(Debug, Default)]
pub struct Changes(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    requests: u64,
    changes: VecDeque<Change>,
}

#[derive(Debug)]
struct Change {
    /// Number of the request.
    at: u64,
    bucket: String,
    key: String,
    /// Object before the change; `None` if there was none.
    before: Option<Object>,
}

/// Listing entry of a file before a request changes it.
pub struct Before(String, String, Option<Object>);

impl Changes {
    /// Counts a request.
    pub fn count(&self) {
        self.state().requests += 1;
    }

    /// Reads the listing entry of an object that a request is about to change.
    pub fn look(&self, root: &Path, bucket: &str, key: &str) -> Before {
        let metadata = fs::metadata(root.join(bucket).join(key)).ok().filter(fs::Metadata::is_file);
        let object = metadata.and_then(|metadata| {
            let (size, modified) = (i64::try_from(metadata.len()).ok(), metadata.modified().ok().map(Timestamp::from));
            Some(Object { key: Some(key.to_owned()), size, last_modified: Some(modified?), ..Object::default() })
        });
        Before(bucket.to_owned(), key.to_owned(), object)
    }

    /// Remembers that the object was changed.
    pub fn remember(&self, Before(bucket, key, before): Before) {
        let mut state = self.state();
        let at = state.requests;
        state.changes.push_back(Change { at, bucket, key, before });
        if state.changes.len() > REMEMBERED {
            state.changes.pop_front();
        }
    }

    /// Returns the page that `asked` requests from `objects`, which are all there are, as `wrong` distorts it.
    pub fn page(&self, objects: Vec<Object>, asked: &ListObjectsV2Input, wrong: Wrong) -> ListObjectsV2Output {
        let prefix = asked.prefix.as_deref().unwrap_or_default();
        let mut shown: BTreeMap<String, Object> =
            objects.into_iter().filter_map(|object| Some((object.key.clone()?, object))).collect();
        self.go_back(&mut shown, asked, wrong);
        let mut keys = Vec::new();
        for key in shown.keys() {
            keys.push(grouped(key, prefix, asked.delimiter.as_deref()));
        }
        keys.dedup();
        cut(&keys, &shown, asked, wrong)
    }

    /// Undoes changes that a listing does not show yet.
    fn go_back(&self, shown: &mut BTreeMap<String, Object>, asked: &ListObjectsV2Input, wrong: Wrong) {
        let state = self.state();
        let is_hidden = |change: &&Change| {
            let is_recent = state.requests <= change.at + wrong.lag;
            let is_meant = match wrong.fault {
                Fault::StaleListing => true,
                Fault::PartialListing => lot(&change.key, wrong.lot).is_multiple_of(2),
                _ => false,
            };
            is_recent && is_meant && change.bucket == asked.bucket
        };
        let prefix = asked.prefix.as_deref().unwrap_or_default();
        for change in state.changes.iter().rev().filter(is_hidden).filter(|change| change.key.starts_with(prefix)) {
            match &change.before {
                Some(before) => drop(shown.insert(change.key.clone(), before.clone())),
                None => drop(shown.remove(&change.key)),
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lot(key: &str, seed: u64) -> u64 {
    key.bytes().fold(mix(seed), |lot, byte| mix(lot ^ u64::from(byte)))
}

/// Returns `key`, or the folder that stands for it where folders are asked for.
fn grouped(key: &str, prefix: &str, delimiter: Option<&str>) -> String {
    let rest = key.get(prefix.len()..).unwrap_or_default();
    match delimiter.and_then(|delimiter| Some(rest.find(delimiter)? + delimiter.len())) {
        Some(end) => key[..prefix.len() + end].to_owned(),
        None => key.to_owned(),
    }
}

/// Cuts the page that was asked for out of `keys`.
fn cut(
    keys: &[String],
    shown: &BTreeMap<String, Object>,
    asked: &ListObjectsV2Input,
    wrong: Wrong,
) -> ListObjectsV2Output {
    let is_double = wrong.fault == Fault::DuplicatedListing;
    let token = asked.continuation_token.as_deref();
    // The last key of a page is also the first of the next one.
    let is_after = |key: &String| {
        token.is_none_or(|token| key.as_str() > token || is_double && key == token)
            && asked.start_after.as_deref().is_none_or(|after| key.as_str() > after)
    };
    let left: Vec<&String> = keys.iter().filter(|key| is_after(key)).collect();
    let page = if is_double { SHORT_PAGE } else { PAGE };
    let (page, more) = left.split_at(left.len().min(page));
    let mut output = ListObjectsV2Output {
        is_truncated: Some(!more.is_empty()),
        next_continuation_token: page.last().filter(|_| !more.is_empty()).map(|key| (*key).clone()),
        name: Some(asked.bucket.clone()),
        prefix: asked.prefix.clone(),
        ..ListObjectsV2Output::default()
    };
    let (mut contents, mut folders) = (Vec::new(), Vec::new());
    for key in page {
        for _ in 0..if is_double && lot(key, wrong.lot).is_multiple_of(2) { 2 } else { 1 } {
            match shown.get(*key) {
                Some(object) => contents.push(object.clone()),
                None => folders.push(CommonPrefix { prefix: Some((*key).clone()) }),
            }
        }
    }
    if wrong.fault == Fault::ForeignKeys {
        let of = |key: &String| Object {
            size: Some(1),
            last_modified: Some(Timestamp::from(std::time::UNIX_EPOCH)),
            key: Some(key.clone()),
            ..Object::default()
        };
        let (foreign, odd) = foreign(asked.prefix.as_deref().unwrap_or_default());
        folders.extend(foreign.iter().map(|key| CommonPrefix { prefix: Some(format!("{key}/")) }));
        contents.extend(foreign.iter().chain(&odd).map(of));
    }
    output.contents = Some(contents);
    output.common_prefixes = Some(folders);
    output
}

/// Returns keys outside of `prefix`, and keys that no object of Convoy's can have.
fn foreign(prefix: &str) -> (Vec<String>, Vec<String>) {
    let beside = prefix.trim_end_matches('/');
    let foreign = ["victim", &format!("{beside}-beside/victim"), beside].map(str::to_owned).to_vec();
    let odd =
        ["/a", "../victim", "sub//a", "sub/../../victim", "sub/./a", "a/", ""].map(|odd| format!("{prefix}{odd}"));
    (foreign, odd.to_vec())
}
