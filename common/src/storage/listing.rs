//! Lists folders by the word of their store, which may have duplicates, be out of order, include other folders, or be stale.
//!
//! Only objects below the folder are listed, each once. A listing is not promised to be complete or current: to learn
//! whether an object exists, ask for that object.

use futures::TryStreamExt;
use object_store::ObjectMeta;
use object_store::path::Path;

use super::error::{AttemptError, Result};
use super::folder::Folder;
use super::object_info::ObjectInfo;
use super::open::Opened;
use super::retry::answered;
use super::runtime::RUNTIME;
use crate::figures::counted;

/// Number of objects that one operation lists. A longer listing is several operations. A page of S3 has 1,000.
const LISTED_AT_ONCE: usize = 10_000;

impl Folder {
    /// Lists all objects below this folder, by name. The listing is empty if there are none.
    pub fn list(&self) -> Result<Vec<ObjectInfo>> {
        self.list_in(&|_| true)
    }

    /// Lists the objects that a search may match. On a local disk, enters only folders for whose names, relative to this
    /// folder, `enters` returns true. In an object store that would save nothing.
    pub fn list_in(&self, enters: &dyn Fn(&str) -> bool) -> Result<Vec<ObjectInfo>> {
        let metas = match self.plain_disk() {
            Some(disk) => {
                let enters = |path: &Path| self.name_of(path).is_some_and(|name| enters(&name));
                disk.list(&self.prefix, &enters).map_err(|error| self.local_error("list", "", error))?
            }
            None => RUNTIME.block_on(self.list_metas())?,
        };
        let named = |meta: ObjectMeta| Some(ObjectInfo::new(self.name_of(&meta.location)?, meta));
        let mut infos: Vec<_> = metas.into_iter().filter_map(named).collect();
        infos.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(infos)
    }

    /// Returns the names of the folders directly inside this one, sorted.
    pub fn list_folders(&self) -> Result<Vec<String>> {
        let prefix = &self.prefix;
        let list = |store: Opened| async move { store.objects.list_with_delimiter(Some(prefix)).await };
        let listing = RUNTIME.block_on(self.operation("list", "").request(list))?;
        let named = |path: &Path| self.name_of(path).filter(|name| !name.contains('/'));
        let mut names: Vec<_> = listing.common_prefixes.iter().filter_map(named).collect();
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// Returns the name of `path` relative to this folder, if it is below it.
    fn name_of(&self, path: &Path) -> Option<String> {
        let parts: Vec<_> = path.prefix_match(&self.prefix)?.collect();
        (!parts.is_empty()).then(|| parts.iter().map(AsRef::as_ref).collect::<Vec<&str>>().join("/"))
    }

    /// Lists what is below this folder, each object once, in the store's order of keys.
    pub(super) async fn list_metas(&self) -> Result<Vec<ObjectMeta>> {
        let mut listed = Listed::default();
        loop {
            let mut operation = self.operation("list", "");
            let has_more = loop {
                let (opened, before) = (operation.opened(), listed.metas.len());
                if let Some(has_more) = operation.attempt(self.list_on(&opened, &mut listed)).await? {
                    break has_more;
                }
                if listed.metas.len() > before {
                    operation.note_progress();
                }
            };
            if !has_more {
                break;
            }
        }
        if listed.foreign > 0 {
            tracing::warn!(
                "{}: its listing has {} of other folders, left out",
                self.url,
                counted(listed.foreign as u64, "object")
            );
        }
        Ok(listed.once())
    }

    /// Appends to `listed` what comes after its last object. Begins again if the listing has no order to continue by.
    /// Returns whether there may be more.
    async fn list_on(&self, opened: &Opened, listed: &mut Listed) -> std::result::Result<bool, AttemptError> {
        let has_order = self.store.is_remote() && !self.store.is_web();
        let mut listing = match listed.metas.last() {
            Some(last) if has_order && !listed.is_disordered => {
                opened.objects.list_with_offset(Some(&self.prefix), &last.location)
            }
            _ => {
                *listed = Listed::default();
                opened.objects.list(Some(&self.prefix))
            }
        };
        let end = listed.metas.len() + LISTED_AT_ONCE;
        while let Some(meta) = answered(&self.store, listing.try_next()).await? {
            match self.name_of(&meta.location) {
                Some(_) => listed.add(meta),
                None => listed.foreign += 1,
            }
            if has_order && !listed.is_disordered && listed.metas.len() >= end {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// What a listing has returned so far.
#[derive(Default)]
struct Listed {
    metas: Vec<ObjectMeta>,
    /// Whether its keys do not ascend, so that the last key does not tell what is missing.
    is_disordered: bool,
    /// Number of listed objects that lie elsewhere.
    foreign: usize,
}

impl Listed {
    fn add(&mut self, meta: ObjectMeta) {
        match self.metas.last_mut() {
            Some(last) if last.location == meta.location => *last = newest(last, meta),
            Some(last) if last.location > meta.location => {
                self.is_disordered = true;
                self.metas.push(meta);
            }
            _ => self.metas.push(meta),
        }
    }

    /// Returns every object once.
    fn once(mut self) -> Vec<ObjectMeta> {
        if self.is_disordered {
            let mut disordered = std::mem::take(&mut self.metas);
            disordered.sort_by(|a, b| a.location.cmp(&b.location));
            disordered.into_iter().for_each(|meta| self.add(meta));
        }
        self.metas
    }
}

/// Returns the newer description of an object that changed between two pages.
fn newest(one: &ObjectMeta, other: ObjectMeta) -> ObjectMeta {
    if other.last_modified >= one.last_modified { other } else { one.clone() }
}
