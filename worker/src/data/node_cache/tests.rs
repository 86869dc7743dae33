//! Every process gets whole blocks, independent of other processes, disks and users.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use common::sha256::Sha256Sum;
use nix::sys::stat::Mode;

use super::files::UNFINISHED;
use super::room::ACCOUNT;
use super::*;

fn block(number: u8) -> (Sha256Sum, Bytes) {
    let content = Bytes::from(vec![number; 1000]);
    (Sha256Sum::of(&content), content)
}

fn never() -> Result<Bytes, Infallible> {
    panic!("it should be there")
}

#[test]
fn what_was_fetched_once_is_there_for_all_and_damage_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let [one, two] = [(); 2].map(|()| NodeCache::open(dir.path(), 1 << 20).unwrap());
    let (hash, content) = block(7);
    assert_eq!(one.get(hash, || Ok::<_, Infallible>(content.clone())).unwrap(), content);
    assert_eq!(two.get(hash, never).unwrap(), content);
    let mut shown = Vec::new();
    assert!(two.show(hash, 3..5, |bytes| shown.extend_from_slice(bytes)));
    assert!(two.show(hash, 999..1000, |bytes| shown.extend_from_slice(bytes)));
    assert_eq!(shown, [7; 3]);
    assert!(!two.show(hash, 0..1001, |_| panic!("there is no more")));
    assert!(!two.show(block(8).0, 0..1, |_| panic!("it was never there")));
    fs::write(one.path(hash), b"something else").unwrap();
    assert_eq!(one.get(hash, || Ok::<_, Infallible>(content.clone())).unwrap(), content);
    assert_eq!(two.get(hash, never).unwrap(), content);
}

#[test]
fn of_many_at_once_one_fetches() {
    let dir = tempfile::tempdir().unwrap();
    let (hash, content) = block(1);
    let fetches = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                // Each acts as if it were a process, since locks belong to open files.
                let cache = NodeCache::open(dir.path(), 1 << 20).unwrap();
                let fetch = || {
                    fetches.fetch_add(1, Ordering::SeqCst);
                    std::thread::sleep(Duration::from_millis(20));
                    Ok::<_, Infallible>(content.clone())
                };
                assert_eq!(cache.get(hash, fetch).unwrap(), content);
            });
        }
    });
    assert_eq!(fetches.into_inner(), 1);
    let names: Vec<_> =
        fs::read_dir(dir.path().join(&hash.to_string()[..2])).unwrap().map(|f| f.unwrap().file_name()).collect();
    assert!(names.iter().all(|name| name.to_str() == Some(&hash.to_string())), "{names:?}");
}

#[test]
fn a_fetch_that_fails_leaves_the_block_to_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let cache = NodeCache::open(dir.path(), 1 << 20).unwrap();
    let (hash, content) = block(1);
    assert_eq!(cache.get(hash, || Err::<Bytes, _>("away")), Err("away"));
    assert_eq!(cache.get(hash, || Ok::<_, Infallible>(content.clone())).unwrap(), content);
}

#[test]
fn the_folder_stays_within_its_bound_and_keeps_what_was_used_last() {
    let dir = tempfile::tempdir().unwrap();
    let cache = NodeCache::open(dir.path(), 20_000).unwrap();
    let put = |number: u8| {
        let (hash, content) = block(number);
        cache.get(hash, || Ok::<_, Infallible>(content)).unwrap();
        // The file system's time may be coarse.
        let age = Duration::from_secs(1000 - u64::from(number));
        let file = OpenOptions::new().write(true).open(cache.path(hash));
        let _ = file.map(|file| file.set_modified(SystemTime::now() - age));
    };
    (0..15).for_each(put);
    cache.file(block(0).0).unwrap();
    (15..60).for_each(put);
    let there = |number: u8| cache.path(block(number).0).exists();
    let kept = (0..60).filter(|number| there(*number)).count();
    assert!((10..=20).contains(&kept), "{kept}");
    assert!(there(0) && there(59) && !there(1));
}

/// Returns the bytes of all files of blocks, finished or not, while the account is locked.
fn held(cache: &NodeCache) -> u64 {
    let _account = cache.room.account().unwrap();
    let folders = fs::read_dir(&cache.folder).unwrap().map(|entry| entry.unwrap().path()).filter(|p| p.is_dir());
    let files = folders.flat_map(|folder| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()));
    // A file that is being renamed may be listed under both names.
    let sizes: HashMap<_, u64> =
        files.filter_map(|file| Some((file.path().file_stem()?.to_owned(), file.metadata().ok()?.len()))).collect();
    sizes.values().sum()
}

#[test]
fn many_that_add_at_once_stay_within_the_bound_together() {
    let dir = tempfile::tempdir().unwrap();
    const CAPACITY: u64 = 16_000;
    let open = || NodeCache::open(dir.path(), CAPACITY).unwrap();
    let (cache, left) = (open(), AtomicUsize::new(8));
    std::thread::scope(|scope| {
        for writer in 0..8u8 {
            let left = &left;
            scope.spawn(move || {
                let cache = open();
                for number in (0..30).map(|i| writer.wrapping_mul(31).wrapping_add(i)) {
                    let (hash, content) = block(number);
                    assert_eq!(cache.get(hash, || Ok::<_, Infallible>(content.clone())).unwrap(), content);
                    cache.show(hash, 0..1000, |bytes| assert_eq!(bytes, content));
                }
                left.fetch_sub(1, Ordering::SeqCst);
            });
        }
        while left.load(Ordering::SeqCst) > 0 {
            let held = held(&cache);
            assert!(held <= CAPACITY, "{held} bytes");
        }
    });
    let held = held(&cache);
    assert!(held > CAPACITY / 2 && cache.room.account().unwrap().get().unwrap() >= held, "{held} bytes");
}

#[test]
fn what_a_killed_process_left_unfinished_goes_too() {
    let dir = tempfile::tempdir().unwrap();
    let cache = NodeCache::open(dir.path(), 4_000).unwrap();
    let (killed, content) = block(1);
    let file = cache.lock(killed).unwrap();
    assert!(cache.room.enter(&file, 1000).unwrap());
    let (path, put) = (cache.path(killed).with_extension(UNFINISHED), |number| {
        let (hash, content) = block(number);
        cache.get(hash, || Ok::<_, Infallible>(content)).unwrap();
    });
    (2..20).for_each(put);
    assert!(path.exists(), "it is still being written");
    drop(file);
    (20..40).for_each(put);
    assert!(!path.exists() && held(&cache) <= 4_000);
    // A block larger than the folder's capacity is not kept at all.
    let small = NodeCache::open(dir.path(), 900).unwrap();
    assert_eq!(held(&small), 0);
    assert_eq!(small.get(killed, || Ok::<_, Infallible>(content.clone())).unwrap(), content);
    assert_eq!(held(&small), 0);
}

#[test]
fn only_blocks_go_and_nothing_that_a_link_leads_to() {
    let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let victims = ["by-folder", "by-file", "by-part", "aa"].map(|name| outside.path().join(name));
    victims.iter().for_each(|victim| fs::write(victim, [7; 3000]).unwrap());
    let [in_linked, at_block, at_unfinished] = [1, 2, 3].map(|number| block(number).0.to_string());
    let there = outside.path().join(&in_linked);
    fs::write(&there, [7; 3000]).unwrap();
    let place = |hash: &str| dir.path().join(&hash[..2]).join(hash);
    std::os::unix::fs::symlink(outside.path(), dir.path().join(&in_linked[..2])).unwrap();
    for (victim, link) in [(&victims[1], place(&at_block)), (&victims[2], place(&at_unfinished).with_extension("part"))]
    {
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(victim, link).unwrap();
    }
    let of_others = ["letters/thesis.pdf", "aa/notes", "thesis.pdf"].map(|name| dir.path().join(name));
    for path in &of_others {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, [7; 3000]).unwrap();
    }
    let cache = NodeCache::open(dir.path(), 2_000).unwrap();
    for number in 0..20 {
        let (hash, content) = block(number);
        assert_eq!(cache.get(hash, || Ok::<_, Infallible>(content.clone())).unwrap(), content);
    }
    for path in victims.iter().chain(&of_others).chain([&there]) {
        assert_eq!(fs::read(path).unwrap(), [7; 3000], "{}", path.display());
    }
}

#[test]
fn what_is_no_block_is_not_read_and_no_number_on_the_disk_is_believed() {
    let dir = tempfile::tempdir().unwrap();
    let cache = NodeCache::open(dir.path(), 10_000).unwrap();
    let blocks = [1, 2, 3, 4].map(block);
    for (hash, _) in &blocks {
        fs::create_dir_all(cache.path(*hash).parent().unwrap()).unwrap();
    }
    // An endless file, a pipe with nobody at the other end, and a file larger than any disk.
    std::os::unix::fs::symlink("/dev/zero", cache.path(blocks[0].0)).unwrap();
    nix::unistd::mkfifo(&cache.path(blocks[1].0), Mode::S_IRWXU).unwrap();
    for (hash, _) in &blocks[2..] {
        File::create(cache.path(*hash)).unwrap().set_len(1 << 43).unwrap();
    }
    fs::write(dir.path().join(ACCOUNT), [0xff; 8]).unwrap();
    for _ in 0..2 {
        for (hash, content) in &blocks {
            assert_eq!(cache.get(*hash, || Ok::<_, Infallible>(content.clone())).unwrap(), content);
        }
    }
}

#[test]
fn a_damaged_block_is_not_shown_any_more_by_whoever_has_it_open() {
    let dir = tempfile::tempdir().unwrap();
    let cache = NodeCache::open(dir.path(), 1 << 20).unwrap();
    let (hash, content) = block(1);
    let get = || cache.get(hash, || Ok::<_, Infallible>(content.clone())).unwrap();
    get();
    assert!(cache.show(hash, 0..1, |_| ()));
    let mut old = OpenOptions::new().write(true).open(cache.path(hash)).unwrap();
    old.write_all(&[9]).unwrap();
    get();
    old.write_all(&[9]).unwrap();
    assert!(cache.show(hash, 0..2, |bytes| assert_eq!(bytes, [1, 1])));
}

#[test]
fn a_disk_that_refuses_does_not_stop_anybody() {
    let dir = tempfile::tempdir().unwrap();
    let cache = NodeCache::open(dir.path(), 1 << 20).unwrap();
    let (hash, content) = block(1);
    // A file is in the place of the block's folder.
    fs::write(dir.path().join(&hash.to_string()[..2]), b"").unwrap();
    assert_eq!(cache.get(hash, || Ok::<_, Infallible>(content.clone())).unwrap(), content);
    assert!(!cache.show(hash, 0..1, |_| ()));
}
