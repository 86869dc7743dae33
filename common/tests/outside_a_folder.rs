//! Nothing outside a folder is deleted or overwritten, regardless of what lies in it, of the names that are given, and of
//! what happens meanwhile.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use common::config::StorageConfig;
use common::storage::{Folder, Layer, StorageError};
use proptest::prelude::*;

/// A folder to work in, and another beside it that must not be touched.
struct Beside {
    dir: tempfile::TempDir,
    before: BTreeMap<PathBuf, Vec<u8>>,
}

const VICTIM: &str = "the victim";

impl Beside {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for file in ["elsewhere/a", "elsewhere/a#1", "elsewhere/deep/b", "elsewhere/deep/empty/.keep", "victim"] {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, VICTIM).unwrap();
        }
        fs::create_dir_all(dir.path().join("elsewhere/nothing")).unwrap();
        fs::create_dir_all(dir.path().join("run")).unwrap();
        let before = contents(&dir.path().join("elsewhere"));
        Beside { dir, before }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn open(&self, name: &str) -> Folder {
        Folder::open(self.path(name).to_str().unwrap(), &StorageConfig::default()).unwrap()
    }

    /// Links `run/NAME` to the entry `to` beside it.
    fn link(&self, to: &str, name: &str) {
        let link = self.path("run").join(name);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(self.path(to), link).unwrap();
    }

    fn is_untouched(&self) -> bool {
        let is_there = self.path("elsewhere/nothing").is_dir() && self.path("elsewhere/deep/empty").is_dir();
        let top: Vec<_> = fs::read_dir(self.dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        is_there
            && top.len() == 3
            && contents(&self.path("elsewhere")) == self.before
            && fs::read(self.path("victim")).unwrap() == VICTIM.as_bytes()
    }
}

/// Returns every file below `folder`, without following links.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(contents(&entry.path())),
            false => drop(found.insert(entry.path(), fs::read(entry.path()).unwrap())),
        }
    }
    found
}

fn exists(path: PathBuf) -> bool {
    fs::symlink_metadata(path).is_ok()
}

#[test]
fn what_a_link_in_a_folder_leads_to_stays_when_the_folder_is_deleted() {
    let place = Beside::new();
    let run = place.open("run");
    run.put("deleted/own/object", "x".into()).unwrap();
    for (to, name) in [
        ("elsewhere", "deleted/folder"),
        ("elsewhere", "deleted/own/deep/folder"),
        ("elsewhere/a", "deleted/object"),
        ("nowhere", "deleted/dangling"),
        ("run/deleted", "deleted/circle"),
        ("run/deleted/itself", "deleted/itself"),
        (".", "deleted/own/up"),
    ] {
        place.link(to, name);
    }
    fs::write(place.path("run/deleted/object#7"), "unfinished").unwrap();
    fs::write(place.path("run/deleted/a\nb"), "no object can be called so").unwrap();
    run.folder("deleted").delete_all().unwrap();
    assert!(place.is_untouched() && !exists(place.path("run/deleted")));
}

#[test]
fn a_linked_folder_that_is_deleted_loses_its_link_alone() {
    let place = Beside::new();
    place.link("elsewhere", "linked");
    let linked = place.open("run").folder("linked");
    linked.remove_unfinished(|_| true);
    linked.folder("nothing").remove_if_empty();
    linked.folder("deep").folder("empty").make_deletions_durable();
    assert!(place.is_untouched() && exists(place.path("run/linked")));
    linked.delete_all().unwrap();
    assert!(place.is_untouched() && !exists(place.path("run/linked")));
}

#[test]
fn what_lies_behind_a_link_is_neither_deleted_nor_overwritten_and_the_link_is_named() {
    let place = Beside::new();
    place.link("elsewhere", "deep/linked");
    let run = place.open("run");
    let linked = run.folder("deep").folder("linked");
    let refusals = [
        linked.delete("a"),
        run.delete("deep/linked/deep/b"),
        linked.folder("deep").delete_all(),
        linked.put("a", "overwritten".into()),
        linked.put("new", "written".into()),
        linked.create("new", "written".into()),
        linked.upload("a").map(drop),
        linked.upload_from_memory("a").map(drop),
        linked.for_what_can_be_made_again().put("a", "overwritten".into()),
        linked.refuse_links(),
    ];
    for refused in refusals {
        let error = refused.unwrap_err();
        let link = place.path("run/deep/linked").display().to_string();
        assert!(matches!(error, StorageError::Local { .. }) && error.to_string().contains(&link), "{error}");
    }
    assert!(place.is_untouched());
    assert_eq!(linked.get("deep/b").unwrap(), VICTIM, "it can be read");
    assert_eq!(linked.list().unwrap().len(), 3);
}

#[test]
fn an_object_without_a_name_is_not_written_over_its_folder_or_beside_it() {
    let place = Beside::new();
    let run = place.open("run");
    let refusals = [
        run.put("", "mine".into()),
        run.create("", "mine".into()),
        run.delete(""),
        run.upload("").map(drop),
        run.upload_from_memory("").map(drop),
        run.for_what_can_be_made_again().put("", "mine".into()),
    ];
    for refused in refusals {
        let error = refused.unwrap_err().to_string();
        assert!(error.contains("lies outside"), "{error}");
        assert!(place.is_untouched());
    }
}

#[test]
fn a_linked_object_is_itself_deleted_or_replaced() {
    let place = Beside::new();
    for name in ["deleted", "put", "uploaded", "from-memory", "staged#1"] {
        place.link("victim", name);
    }
    let run = place.open("run");
    run.delete("deleted").unwrap();
    run.put("put", "mine".into()).unwrap();
    run.put("staged", "mine".into()).unwrap();
    let taken = run.create("staged", "other".into());
    assert!(matches!(taken, Err(StorageError::AlreadyExists { .. })), "{taken:?}");
    for (name, upload) in [("uploaded", run.upload("uploaded")), ("from-memory", run.upload_from_memory("from-memory"))]
    {
        let mut upload = upload.unwrap();
        upload.write("mine".into()).unwrap();
        upload.finish().unwrap();
        assert_eq!(run.get(name).unwrap(), "mine");
    }
    assert!(place.is_untouched() && !exists(place.path("run/deleted")));
    assert!(!fs::symlink_metadata(place.path("run/put")).unwrap().is_symlink());
    assert_eq!(run.get("put").unwrap(), "mine");
}

#[test]
fn a_folder_that_is_itself_reached_through_links_works_as_any_other() {
    let place = Beside::new();
    fs::create_dir_all(place.path("run/real/inner")).unwrap();
    place.link("run/real", "above");
    place.link("run/real/inner", "at");
    for opened in ["run/above/inner", "run/at"] {
        let folder = place.open(opened);
        folder.put("sub/object", "x".into()).unwrap();
        folder.put("sub/other/object", "x".into()).unwrap();
        folder.put("gone", "x".into()).unwrap();
        folder.delete("gone").unwrap();
        assert_eq!(folder.list().unwrap().len(), 2);
        folder.folder("sub").delete_all().unwrap();
        assert_eq!(fs::read_dir(place.path("run/real/inner")).unwrap().count(), 0, "{opened}");
    }
    place.open("run/at").delete_all().unwrap();
    assert!(exists(place.path("run/at")) && exists(place.path("run/real/inner")), "a link to it is the user's own");
    place.open("run/above/inner").delete_all().unwrap();
    assert!(exists(place.path("run/above")) && !exists(place.path("run/real/inner")));
}

/// A layer that puts a link in the place of a folder before the first deletion.
#[derive(Debug)]
struct Exchange(Mutex<Option<(PathBuf, PathBuf)>>);

impl Layer for Exchange {
    fn before(&self, what: &'static str, _path: &str) -> Result<(), String> {
        if let Some((folder, to)) = self.0.lock().unwrap().take_if(|_| what == "delete") {
            fs::rename(&folder, folder.with_extension("moved")).unwrap();
            symlink(to, folder).unwrap();
        }
        Ok(())
    }

    fn after(&self, _what: &'static str, _path: &str) -> Result<(), String> {
        Ok(())
    }
}

#[test]
fn a_folder_that_a_link_replaces_after_the_listing_does_not_lead_outside() {
    for exchanged in ["deleted", "deleted/deep", "deleted/deep/empty"] {
        let place = Beside::new();
        let run = place.open("run");
        for name in ["a", "deep/b", "deep/empty/.keep"] {
            run.folder("deleted").put(name, "x".into()).unwrap();
        }
        let to = place.path("elsewhere").join(exchanged.strip_prefix("deleted").unwrap().trim_start_matches('/'));
        let exchange = Exchange(Mutex::new(Some((place.path("run").join(exchanged), to))));
        let deleted = run.behind(Arc::new(exchange)).folder("deleted").delete_all();
        assert!(place.is_untouched(), "{exchanged}");
        assert!(deleted.unwrap_err().to_string().contains("is a symbolic link"), "{exchanged}");
    }
}

#[test]
fn links_in_circles_and_odd_names_do_not_break_a_listing() {
    let place = Beside::new();
    let run = place.open("run");
    run.put("sub/a", "x".into()).unwrap();
    for (to, name) in [("run", "sub/circle"), ("nowhere", "sub/dangling"), ("run/sub/itself", "sub/itself")] {
        place.link(to, name);
    }
    place.link("elsewhere/deep", "linked");
    for odd in ["a\u{1}b", "a\nb", "sub/b#1"] {
        fs::write(place.path("run").join(odd), "x").unwrap();
    }
    let not_unicode = std::os::unix::ffi::OsStrExt::from_bytes(b"\xff\xfe");
    fs::write(place.path("run").join::<&std::ffi::OsStr>(not_unicode), "x").unwrap();
    let listed = run.list().unwrap();
    let names: Vec<_> = listed.iter().map(|object| object.name.as_str()).collect();
    assert_eq!(names, ["linked/b", "linked/empty/.keep", "sub/a"]);
    assert_eq!(listed[2], run.info("sub/a").unwrap(), "a listing says what asking for the object says");
    assert_eq!(run.list_folders().unwrap(), ["linked", "sub"]);
    assert!(place.is_untouched());
}

/// Names that try to lead elsewhere.
fn hostile() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec![
        "..",
        ".",
        "",
        "victim",
        "elsewhere",
        "a",
        "deep",
        "b",
        "nothing",
        "%2e%2e",
        "%2E%2E",
        "..%2fvictim",
        "..\\victim",
        "\0",
        "~",
        "*",
        "a?b",
        "a#b",
        "a#1",
        "-rf",
        "\n",
        "é",
    ]);
    (prop::collection::vec(part, 1..5), any::<bool>(), any::<u8>()).prop_map(|(parts, is_absolute, chance)| {
        let start = if is_absolute { "/" } else { "" };
        let outside = if chance % 4 == 0 { "../victim/" } else { "" };
        format!("{start}{outside}{}", parts.join("/"))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_name_leads_out_of_a_folder(name in hostile(), inner in hostile(), is_absolute in any::<bool>()) {
        let place = Beside::new();
        let run = place.open("run").for_what_can_be_made_again();
        let name = if is_absolute { place.path("elsewhere").join("a").display().to_string() } else { name };
        // Operations may succeed or fail, but each stays inside.
        for folder in [run.clone(), run.folder(&inner), run.folder(&name)] {
            prop_assert!(folder.local().is_none_or(|local| local.starts_with(place.path("run"))));
            let reads = [
                folder.get(&name).ok(),
                folder.get_range(&name, 0..3).ok(),
                folder.get_if_exists(&name).ok().flatten(),
                folder.size(&name).ok().map(|_| Bytes::new()),
                folder.info(&name).ok().map(|_| Bytes::new()),
                folder.read_into(&name, 0, &mut [0; 3]).ok().map(|_| Bytes::new()),
            ];
            prop_assert_eq!(reads, [const { None }; 6]);
            let _ = folder.put(&name, "mine".into());
            let _ = folder.delete(&name);
            let _ = folder.create(&name, "mine".into());
            for upload in [folder.upload(&name), folder.upload_from_memory(&name)] {
                let _ = upload.and_then(|mut upload| upload.write("mine".into()).and_then(|()| upload.finish()));
            }
            prop_assert!(place.is_untouched());
            folder.remove_unfinished(|_| true);
            folder.make_deletions_durable();
            let listed = folder.list().unwrap();
            prop_assert!(listed.iter().all(|object| folder.get(&object.name).unwrap() == "mine"));
            let _ = folder.list_folders();
            let _ = folder.delete_all();
            folder.remove_if_empty();
            folder.folder(&name).remove_if_empty();
            prop_assert!(place.is_untouched() || !place.path("run").exists());
            fs::create_dir_all(place.path("run")).unwrap();
            prop_assert!(place.is_untouched());
        }
    }
}
