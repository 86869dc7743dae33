//! Checks what every store must do, regardless of its URL; run over memory, files and S3.

use bytes::Bytes;
use common::storage::{Folder, PART_BYTES, StorageError};

/// Runs every check over `folder`, which must be empty, and leaves it empty.
pub fn conforms(folder: &Folder) {
    assert_eq!(names(folder), [""; 0], "the folder must be empty at first");
    reads_back_what_was_written(folder);
    lists_what_is_below(folder);
    creates_only_once(folder);
    writes_large_objects_in_parts(folder);
    uploads_pieces_from_memory(folder);
    lists_more_than_a_page(folder);
    what_is_not_there(folder);
    assert_eq!(names(folder), [""; 0], "every check removes what it wrote");
}

fn reads_back_what_was_written(folder: &Folder) {
    folder.put("a", Bytes::from_static(b"one")).expect("put");
    folder.put("a", Bytes::from_static(b"three")).expect("put replaces");
    assert_eq!(folder.get("a").expect("get"), "three");
    assert_eq!(folder.get_if_exists("a").expect("get"), Some(Bytes::from_static(b"three")));
    assert_eq!(folder.get_range("a", 1..3).expect("range"), "hr");
    assert_eq!(folder.size("a").expect("size"), 5);
    folder.put("empty", Bytes::new()).expect("put of nothing");
    assert_eq!(folder.get("empty").expect("get of nothing"), "");
    assert_eq!(folder.size("empty").expect("size of nothing"), 0);
    delete_all(folder);
}

/// A name with characters that URLs and object stores treat specially.
const ODD: &str = "odd/100% [odd] #1~ é.txt";

fn lists_what_is_below(folder: &Folder) {
    for name in ["b", "sub/c", "sub/deeper/d", "sub two/e", "subway", ODD] {
        folder.put(name, Bytes::from(name)).expect("put");
    }
    assert_eq!(names(folder), ["b", ODD, "sub two/e", "sub/c", "sub/deeper/d", "subway"]);
    assert_eq!(folder.get(ODD).expect("get"), ODD, "a listed name can be read");
    assert_eq!(names(&folder.folder("sub")), ["c", "deeper/d"], "subway is not in sub");
    assert_eq!(folder.list_folders().expect("folders"), ["odd", "sub", "sub two"]);
    assert_eq!(folder.folder("sub").list_folders().expect("folders"), ["deeper"]);
    assert_eq!(folder.folder("sub").get("deeper/d").expect("get"), "sub/deeper/d");
    assert_eq!(folder.list().expect("list")[0].bytes, 1);
    delete_all(folder);
}

fn creates_only_once(folder: &Folder) {
    folder.create("once", Bytes::from_static(b"mine")).expect("create");
    folder.create("once", Bytes::from_static(b"mine")).expect("a retry finds its own object");
    let theirs = folder.create("once", Bytes::from_static(b"theirs"));
    assert!(matches!(theirs, Err(StorageError::AlreadyExists { .. })), "{theirs:?}");
    assert_eq!(folder.get("once").expect("get"), "mine");
    delete_all(folder);
}

fn writes_large_objects_in_parts(folder: &Folder) {
    let large: Bytes = (0..PART_BYTES * 2 + 1).map(|i| (i % 251) as u8).collect();
    folder.put("large", large.clone()).expect("put in parts");
    assert!(folder.get("large").expect("get") == large, "the parts come back in order");
    let middle = PART_BYTES - 2..PART_BYTES + 2;
    let range = folder.get_range("large", middle.start as u64..middle.end as u64).expect("range");
    assert_eq!(range, large[middle], "a range over two parts");
    delete_all(folder);
}

fn uploads_pieces_from_memory(folder: &Folder) {
    let content: Bytes = (0..20_000_001).map(|i| (i % 251) as u8).collect();
    for (name, bytes, piece) in [("new/pieces", content.len(), 3_000_000), (ODD, 10, 4), ("new/nothing", 0, 1)] {
        let mut upload = folder.upload_from_memory(name).expect("begin");
        for start in (0..bytes).step_by(piece) {
            upload.write(content.slice(start..bytes.min(start + piece))).expect("write");
        }
        assert_eq!(folder.get_if_exists(name).expect("get"), None, "it appears when it is finished");
        upload.finish().expect("finish");
        assert!(folder.get(name).expect("get") == content[..bytes], "{name} comes back as it was");
    }
    let mut buffer = [0; 1000];
    let count = folder.read_into("new/pieces", 20_000_001 - 900, &mut buffer).expect("read into");
    assert!(buffer[..count] == content[content.len() - 900..], "as much as there is");
    delete_all(folder);
}

fn lists_more_than_a_page(folder: &Folder) {
    // A page of S3 has 1,000 objects.
    let expected: Vec<_> = (0..1_003).map(|i| format!("page/{i:04}")).collect();
    for name in &expected {
        folder.put(name, Bytes::from_static(b"x")).expect("put");
    }
    assert_eq!(names(folder), expected);
    delete_all(folder);
}

fn what_is_not_there(folder: &Folder) {
    let missing = [
        folder.get("missing").map(|_| ()),
        folder.get_range("missing", 0..1).map(|_| ()),
        folder.read_into("missing", 0, &mut [0]).map(|_| ()),
        folder.size("missing").map(|_| ()),
    ];
    for error in missing {
        assert!(matches!(error, Err(StorageError::NotFound { .. })), "{error:?}");
    }
    assert_eq!(folder.get_if_exists("missing").expect("get"), None);
    folder.delete("missing").expect("what is gone already is no error");
    assert_eq!(names(&folder.folder("missing")), [""; 0]);
    assert_eq!(folder.folder("missing").list_folders().expect("folders"), [""; 0]);
}

fn names(folder: &Folder) -> Vec<String> {
    folder.list().expect("list").into_iter().map(|object| object.name).collect()
}

fn delete_all(folder: &Folder) {
    for name in names(folder) {
        folder.delete(&name).expect("delete");
    }
}
