//! Tests of storage over S3 under faults of the server, outages and expired credentials. They have a binary of their own: the
//! credentials are in the environment of its process.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]
#![allow(unsafe_code, reason = "sets the environment, before other threads read it")]

use std::path::PathBuf;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::config::StorageConfig;
use common::exit_code::ExitCode;
use common::storage::{Folder, StorageError};
use tests::credentials::CredentialService;
use tests::faults::{Fault, Plan};
use tests::s3::{ACCESS_KEY, OTHER_ACCESS_KEY, Server};
use tests::scratch::folder_of_binary;
use tests::storage_conformance::conforms;

/// The server of this process. A test has it for itself while it runs.
struct Shared {
    server: Option<Server>,
    port: u16,
    dir: PathBuf,
    credentials: CredentialService,
}

static SHARED: LazyLock<Mutex<Shared>> = LazyLock::new(|| {
    let dir = folder_of_binary(env!("CARGO_TARGET_TMPDIR"), "storage_faults");
    let server = Server::start(&dir, &["bucket"]);
    let credentials = CredentialService::start(&dir, ACCESS_KEY);
    let place = [("AWS_ENDPOINT_URL", server.endpoint()), ("AWS_REGION", "us-east-1".to_owned())];
    for (name, value) in place.into_iter().chain(credentials.environment()) {
        // SAFETY: every test of this binary waits here before it does anything else, so that no other thread reads
        // the environment meanwhile; it is never written again.
        unsafe { std::env::set_var(name, value) };
    }
    Mutex::new(Shared { port: server.port(), server: Some(server), dir, credentials })
});

/// Waits for the server, which then meets no faults, whatever the test before has left.
fn shared() -> MutexGuard<'static, Shared> {
    let shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(server) = &shared.server {
        server.faults().follow(Plan::default());
    }
    shared
}

impl Shared {
    fn faults(&self) -> &tests::faults::Faults {
        self.server.as_ref().unwrap().faults()
    }

    /// Makes the next requests meet `faults`, one each, with silences that no test waits for.
    fn meets(&self, faults: &[Fault]) {
        self.faults().follow(Plan::first(faults, Duration::from_secs(30)));
    }

    fn start(&mut self) {
        self.server = Some(Server::start_on(self.port, &self.dir, &["bucket"]).unwrap());
    }
}

/// Returns a config with short waits, so that tests are quick.
fn config() -> StorageConfig {
    StorageConfig {
        deadline_s: 20,
        request_timeout_s: 1,
        stall_timeout_s: 1,
        hedge_after_ms: 0,
        backoff_min_ms: 1,
        backoff_max_ms: 50,
        ..StorageConfig::default()
    }
}

fn open(name: &str, config: &StorageConfig) -> Folder {
    Folder::open(&format!("s3://bucket/{name}"), config).unwrap()
}

fn content(bytes: usize) -> Bytes {
    (0..bytes).map(|i| (i % 251) as u8).collect()
}

const RECOVERABLE: [Fault; 7] =
    [Fault::SlowDown, Fault::InternalError, Fault::Reset, Fault::Cut, Fault::Silence, Fault::Stall, Fault::LostAnswer];

#[test]
fn every_operation_survives_every_fault() {
    let shared = shared();
    let folder = open("every", &config());
    for fault in RECOVERABLE {
        // No name may contain the name of a fault: object_store takes an answer that contains SlowDown for one.
        let place = format!("after-{}", fault as u8);
        let (body, name) = (content(100_000), format!("{place}/a"));
        let meets = || shared.meets(&[fault]);
        meets();
        folder.put(&name, body.clone()).unwrap();
        meets();
        folder.create(&format!("{place}/once"), body.clone()).unwrap();
        meets();
        assert_eq!(folder.get(&name).unwrap(), body, "{fault:?}");
        meets();
        assert_eq!(folder.get_range(&name, 10..99_990).unwrap(), body[10..99_990], "{fault:?}");
        meets();
        assert_eq!(folder.size(&name).unwrap(), 100_000);
        meets();
        assert_eq!(folder.folder(&place).list().unwrap().len(), 2);
        meets();
        assert!(folder.list_folders().unwrap().contains(&place));
        meets();
        folder.delete(&name).unwrap();
        assert!(!shared.faults().requests().is_empty());
        folder.folder(&place).delete_all().unwrap();
    }
    assert_eq!(folder.list().unwrap(), []);
}

/// Makes every listing wrong in this way from now on.
fn lists_wrongly(shared: &Shared, fault: Fault, lag: u64) {
    shared.faults().follow(Plan { rate: 1.0, kinds: vec![fault], lag, ..Plan::default() });
}

fn names(folder: &Folder) -> Vec<String> {
    folder.list().unwrap().into_iter().map(|object| object.name).collect()
}

#[test]
fn a_stale_listing_is_as_of_a_moment_ago_and_catches_up() {
    let shared = shared();
    let folder = open("stale", &config());
    lists_wrongly(&shared, Fault::StaleListing, 12);
    for name in ["kept/a", "deleted/b", "replaced"] {
        folder.put(name, "x".into()).unwrap();
    }
    assert_eq!((names(&folder), folder.list_folders().unwrap()), (vec![], vec![]), "nothing was there");
    let settle = || (0..12).for_each(|_| drop(folder.size("kept/a")));
    settle();
    assert_eq!(names(&folder), ["deleted/b", "kept/a", "replaced"]);
    folder.delete("deleted/b").unwrap();
    folder.put("new", "x".into()).unwrap();
    folder.put("replaced", "longer".into()).unwrap();
    assert_eq!(
        names(&folder),
        ["deleted/b", "kept/a", "replaced"],
        "what is gone is still there, and what is new is not"
    );
    assert_eq!((folder.list().unwrap()[2].bytes, folder.size("replaced").unwrap()), (1, 6));
    assert_eq!((folder.get("new").unwrap(), folder.list_folders().unwrap().len()), ("x".into(), 2));
    settle();
    assert_eq!(
        (names(&folder), folder.list_folders().unwrap()),
        (vec!["kept/a".into(), "new".into(), "replaced".into()], vec!["kept".into()])
    );
    shared.faults().follow(Plan::default());
    folder.delete_all().unwrap();
}

#[test]
fn a_partial_listing_has_some_of_the_last_changes() {
    let shared = shared();
    let folder = open("partial", &config());
    lists_wrongly(&shared, Fault::PartialListing, 100);
    for i in 0..40 {
        folder.put(&format!("{i:02}"), "x".into()).unwrap();
    }
    let shown = names(&folder).len();
    assert!((5..35).contains(&shown), "{shown}");
    assert_ne!(names(&folder), names(&folder), "not the same ones each time");
    shared.faults().follow(Plan::default());
    folder.delete_all().unwrap();
}

#[test]
fn a_key_that_is_listed_twice_is_one_object() {
    let shared = shared();
    let folder = open("twice", &config());
    let expected: Vec<_> = (0..40).map(|i| format!("{}/{i:02}", i % 3)).collect();
    expected.iter().for_each(|name| folder.put(name, "x".into()).unwrap());
    lists_wrongly(&shared, Fault::DuplicatedListing, 0);
    let mut sorted = expected.clone();
    sorted.sort();
    assert_eq!((names(&folder), folder.list_folders().unwrap()), (sorted, vec!["0".into(), "1".into(), "2".into()]));
    assert!(shared.faults().count(Fault::DuplicatedListing) > 9, "it had many pages");
    folder.delete_all().unwrap();
    shared.faults().follow(Plan::default());
    assert_eq!(names(&folder), [""; 0]);
}

#[test]
fn nothing_outside_a_folder_is_deleted_or_listed_whatever_keys_its_store_lists() {
    let shared = shared();
    shared.faults().follow(Plan::default());
    let around = open("foreign", &config());
    for name in ["victim", "a-run-beside/victim", "other/a", "sub/a", "a"] {
        around.put(name, "precious".into()).unwrap();
    }
    open("", &config()).put("victim", "precious".into()).unwrap();
    let run = around.folder("a-run");
    for name in ["a", "sub/a", "sub/b", "with spaces /at the end "] {
        run.put(name, "x".into()).unwrap();
    }
    let before = names(&open("", &config()));
    lists_wrongly(&shared, Fault::ForeignKeys, 0);
    assert_eq!(names(&run), ["a", "sub/a", "sub/b", "with spaces /at the end "]);
    assert_eq!(run.list_folders().unwrap(), ["sub", "with spaces "]);
    assert_eq!(names(&run.folder("sub")), ["a", "b"]);
    run.folder("sub").delete_all().unwrap();
    run.delete_all().unwrap();
    assert!(shared.faults().count(Fault::ForeignKeys) > 4);
    shared.faults().follow(Plan::default());
    let gone = |name: &String| name.starts_with("foreign/a-run/");
    assert_eq!(names(&open("", &config())), before.into_iter().filter(|name| !gone(name)).collect::<Vec<_>>());
    around.delete_all().unwrap();
    open("", &config()).delete("victim").unwrap();
}

#[test]
fn the_contract_holds_while_a_fifth_of_the_requests_fails() {
    let shared = shared();
    shared
        .faults()
        .follow(Plan::parse("rate=0.2,seed=7,kinds=slow-down+internal-error+reset+cut+lost-answer").unwrap());
    conforms(&open("fifth", &config()));
    for fault in [Fault::SlowDown, Fault::InternalError, Fault::Reset, Fault::LostAnswer] {
        assert!(shared.faults().count(fault) > 0, "{fault:?} never came");
    }
}

#[test]
fn parts_of_an_upload_are_tried_again() {
    let shared = shared();
    let (folder, body) = (open("upload", &config()), content(20_000_000));
    shared.meets(&[Fault::LostAnswer, Fault::SlowDown, Fault::LostAnswer, Fault::InternalError, Fault::Silence]);
    upload(&folder, "a", &body);
    assert!(shared.faults().count(Fault::LostAnswer) == 2 && shared.faults().count(Fault::Silence) == 1);
    assert!(folder.get("a").unwrap() == body);
}

#[test]
fn an_upload_whose_last_answer_gets_lost_is_there() {
    let shared = shared();
    let folder = open("upload-end", &config());
    // There is no such object at first, then one of another size, then one of that size with other bytes.
    for (bytes, byte) in [(9_000_000, 1), (9_000_001, 2), (9_000_001, 3)] {
        let body = Bytes::from(vec![byte; bytes]);
        shared.meets(&[]);
        upload(&folder, "like", &body);
        let requests = shared.faults().requests();
        assert!(requests.last().unwrap().starts_with("POST /bucket/upload-end/like?uploadId"), "{requests:?}");
        let mut first = vec![None; requests.len() - 1];
        first.push(Some(Fault::LostAnswer));
        shared.faults().follow(Plan { first, ..Plan::default() });
        upload(&folder, "a", &body);
        assert_eq!(shared.faults().count(Fault::LostAnswer), 1);
        assert!(folder.get("a").unwrap() == body);
    }
}

fn upload(folder: &Folder, name: &str, body: &Bytes) {
    let mut upload = folder.upload(name).unwrap();
    body.chunks(3_000_001).for_each(|piece| upload.write(body.slice_ref(piece)).unwrap());
    upload.finish().unwrap();
}

#[test]
fn a_read_that_breaks_off_goes_on_where_it_was() {
    let shared = shared();
    let (folder, body) = (open("resume", &config()), content(1 << 20));
    folder.put("a", body.clone()).unwrap();
    shared.meets(&[Fault::Reset, Fault::Cut, Fault::Stall]);
    assert_eq!(folder.get_range("a", 0..1 << 20).unwrap(), body);
    let starts: Vec<u64> = shared.faults().requests().iter().map(|request| start_of(request)).collect();
    assert_eq!(starts.len(), 4, "{starts:?}");
    assert!(starts.is_sorted() && starts[3] > starts[0], "{starts:?}");
    // A stall loses nothing that had come: half of what the request was for.
    assert_eq!(starts[3], starts[2] + ((1 << 20) - starts[2]) / 2);
}

/// Returns the first byte of the range that a request asks for.
fn start_of(request: &str) -> u64 {
    request.split_once("bytes=").unwrap().1.split('-').next().unwrap().parse().unwrap()
}

#[test]
fn an_object_that_changes_while_it_is_read_is_not_mixed() {
    let shared = shared();
    let folder = open("changes", &StorageConfig { stall_timeout_s: 2, ..config() });
    folder.put("a", content(1 << 20)).unwrap();
    shared.meets(&[Fault::Stall]);
    let after: Bytes = vec![7; 1 << 20].into();
    let read = std::thread::scope(|scope| {
        let read = scope.spawn(|| folder.get("a").unwrap());
        while shared.faults().requests().is_empty() {
            std::thread::sleep(Duration::from_millis(1));
        }
        folder.put("a", after.clone()).unwrap();
        read.join().unwrap()
    });
    assert!(read == after || read == content(1 << 20));
}

#[test]
fn a_body_that_goes_on_is_never_cut_short() {
    let shared = shared();
    let folder = open("long", &StorageConfig { request_timeout_s: 1, stall_timeout_s: 5, ..config() });
    folder.put("a", content(1000)).unwrap();
    shared.faults().follow(Plan::first(&[Fault::Stall], Duration::from_millis(1_500)));
    assert_eq!(folder.get("a").unwrap(), content(1000));
    assert_eq!(shared.faults().requests().len(), 1);
}

#[test]
fn a_second_request_wins_over_a_silent_one() {
    let shared = shared();
    let folder = open("hedge", &StorageConfig { hedge_after_ms: 50, stall_timeout_s: 15, ..config() });
    folder.put("a", content(1000)).unwrap();
    shared.meets(&[Fault::Silence]);
    let begun = Instant::now();
    assert_eq!(folder.get("a").unwrap(), content(1000));
    assert!(begun.elapsed() < Duration::from_secs(10), "it waited for the first: {:?}", begun.elapsed());
    assert_eq!(shared.faults().requests().len(), 2);
}

#[test]
fn a_process_has_no_more_requests_in_flight_than_it_may() {
    let shared = shared();
    let config = StorageConfig { concurrency: 3, stall_timeout_s: 5, ..config() };
    let folders = [open("limit", &config), open("limit", &config)];
    folders[0].put("a", content(1000)).unwrap();
    let plan = Plan { rate: 1.0, kinds: vec![Fault::Silence], silence: Duration::from_millis(20), ..Plan::default() };
    shared.faults().follow(plan);
    std::thread::scope(|scope| {
        for folder in folders.iter().cycle().take(12) {
            scope.spawn(|| folder.get("a").unwrap());
        }
    });
    assert_eq!(shared.faults().requests().len(), 12);
    assert!(shared.faults().most_in_flight() <= 3, "{}", shared.faults().most_in_flight());
}

#[test]
fn an_outage_is_waited_out_until_the_deadline_and_not_longer() {
    let mut shared = shared();
    let folder = open("outage", &StorageConfig { deadline_s: 2, ..config() });
    folder.put("a", content(1000)).unwrap();
    drop(shared.server.take());
    let begun = Instant::now();
    let results = std::thread::scope(|scope| {
        let put = scope.spawn(|| folder.put("a", content(1)));
        let list = scope.spawn(|| folder.list().map(drop));
        [folder.get("a").map(drop), put.join().unwrap(), list.join().unwrap()]
    });
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(1_900) && took < Duration::from_secs(10), "{took:?}");
    for error in results.map(Result::unwrap_err) {
        assert_eq!(error.exit_code(), ExitCode::Storage, "{error}");
        let text = error.to_string();
        for part in ["s3://bucket/outage", "storage.deadline_s = 2", "times: ", "onnect", "check that the store is up"]
        {
            assert!(text.contains(part), "no {part:?} in {text}");
        }
        assert!(matches!(error, StorageError::Unreachable { attempts: 10.., .. }), "{error}");
    }

    std::thread::scope(|scope| {
        let reads: Vec<_> = (0..4).map(|_| scope.spawn(|| folder.get("a"))).collect();
        std::thread::sleep(Duration::from_millis(800));
        shared.start();
        reads.into_iter().for_each(|read| assert_eq!(read.join().unwrap().unwrap(), content(1000)));
    });
}

#[test]
fn a_full_store_is_said_at_once_and_can_still_be_read_and_emptied() {
    let shared = shared();
    let folder = open("full", &config());
    folder.put("a", content(1000)).unwrap();
    shared.faults().follow(Plan { rate: 1.0, kinds: vec![Fault::Full], ..Plan::default() });
    let upload = || {
        let mut upload = folder.upload("c")?;
        upload.write(content(1000))?;
        upload.finish()
    };
    for error in [folder.put("b", content(1000)), folder.create("b", content(1000)), upload()].map(Result::unwrap_err) {
        assert!(matches!(error, StorageError::StoreFull { .. }), "{error}");
        assert_eq!(error.exit_code(), ExitCode::Data);
        let text = error.to_string();
        for part in ["s3://bucket/full/", "the store is full", "XMinioStorageFull", "make room in the store"] {
            assert!(text.contains(part), "no {part:?} in {text}");
        }
    }
    assert_eq!(shared.faults().count(Fault::Full), 3, "a full store is not asked again");
    assert_eq!(folder.get("a").unwrap(), content(1000));
    folder.delete("a").unwrap();
    assert!(folder.list().unwrap().is_empty());
}

#[test]
fn what_is_missing_is_said_at_once() {
    let shared = shared();
    let folder = open("missing", &config());
    shared.meets(&[]);
    let error = folder.get("a").unwrap_err();
    assert!(matches!(error, StorageError::NotFound { .. }), "{error}");
    assert_eq!(error.exit_code(), ExitCode::Data);
    assert_eq!(shared.faults().requests().len(), 1);
}

#[test]
fn expired_credentials_are_renewed() {
    let shared = shared();
    let folder = open("expired", &config());
    folder.put("a", content(1000)).unwrap();
    // A request without a body gets an answer without one, which does not say that credentials have expired.
    type Operation = fn(&Folder);
    let operations: [Operation; 4] = [
        |folder| assert_eq!(folder.get("a").unwrap(), content(1000)),
        |folder| assert_eq!(folder.size("a").unwrap(), 1000),
        |folder| assert_eq!(folder.list().unwrap().len(), 1),
        |folder| folder.put("a", content(1000)).unwrap(),
    ];
    let mut keys = [ACCESS_KEY, OTHER_ACCESS_KEY];
    for operation in operations {
        shared.meets(&[]);
        shared.faults().expire(keys[0]);
        shared.credentials.give(keys[1]);
        operation(&folder);
        assert_eq!((shared.faults().refused(), shared.faults().requests().len()), (1, 2));
        keys.reverse();
    }
    shared.credentials.give("nobody");
    shared.faults().expire(keys[0]);
    let error = folder.get("a").unwrap_err();
    assert!(matches!(error, StorageError::Denied { .. }), "{error}");
    shared.credentials.give(ACCESS_KEY);
}

#[test]
fn wrong_bytes_are_seen_by_those_who_verify() {
    let shared = shared();
    let folder = open("wrong", &config());
    folder.put("a", content(1000)).unwrap();
    shared.meets(&[Fault::WrongBytes]);
    assert_ne!(folder.get("a").unwrap(), content(1000));
    assert_eq!(folder.get("a").unwrap(), content(1000));
}
