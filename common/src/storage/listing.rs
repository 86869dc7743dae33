//! What lies in a folder, by its store's word: which may be duplicated, out of order, of another folder, or of a moment ago.
//!
//! Only what lies below the folder is listed, each object once. That a listing is complete and of this moment is not
//! promised: whoever needs to know whether one object is there asks for it.

use futures::TryStreamExt;
use object_store::ObjectMeta;
use object_store::path::Path;

use super::error::{AttemptError, Result};
use super::folder::Folder;
use super::object_info::ObjectInfo;
use super::open::Opened;
use super::retry::answered;
use super::runtime::RUNTIME;

/// Objects that one operation lists; a listing of more is several operations. A page of S3 has 1,000.
const LISTED_AT_ONCE: usize = 10_000;

impl Folder {
    /// All objects below this folder, by name; empty where there is nothing.
    pub fn list(&self) -> Result<Vec<ObjectInfo>> {
        self.list_in(&|_| true)
    }

    /// The same of what a search is for: on a local disk, folders below this one are looked into only where `enters` says so of
    /// their names here. In an object store that would save nothing.
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

    /// Names of the folders directly inside this one, sorted.
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

    /// What `path` is called in this folder, if it is in it.
    fn name_of(&self, path: &Path) -> Option<String> {
        let parts: Vec<_> = path.prefix_match(&self.prefix)?.collect();
        (!parts.is_empty()).then(|| parts.iter().map(AsRef::as_ref).collect::<Vec<&str>>().join("/"))
    }

    /// What is below this folder, each object once, in the store's order of keys.
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
                "{}: its listing has {} objects of other folders, which are left out",
                self.url,
                listed.foreign
            );
        }
        Ok(listed.once())
    }

    /// Appends to `listed` what comes after its last one; begins again where there is no order to go on by. Whether there may be
    /// more after that.
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

/// What a listing has brought so far.
#[derive(Default)]
struct Listed {
    metas: Vec<ObjectMeta>,
    /// Its keys do not ascend, so that what is missing is not what comes after the last one.
    is_disordered: bool,
    /// Objects that were in it and lie elsewhere.
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

    /// Every object once.
    fn once(mut self) -> Vec<ObjectMeta> {
        if self.is_disordered {
            let mut disordered = std::mem::take(&mut self.metas);
            disordered.sort_by(|a, b| a.location.cmp(&b.location));
            disordered.into_iter().for_each(|meta| self.add(meta));
        }
        self.metas
    }
}

/// Of an object that changed between two pages, what it is now.
fn newest(one: &ObjectMeta, other: ObjectMeta) -> ObjectMeta {
    if other.last_modified >= one.last_modified { other } else { one.clone() }
}
