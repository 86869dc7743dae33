//! Claimants of one run, as threads and one after another.

use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::claim::ATTEMPTS_FOLDER;
use super::*;
use crate::checkpoint_layout::CheckpointName;
use crate::config::StorageConfig;
use crate::exit_code::ExitCode;
use crate::host_name::host_name;
use crate::storage::Folder;

const EXPIRY: Duration = Duration::from_millis(600);

fn run(name: &str) -> Folder {
    Folder::open(&format!("memory://attempts-{name}"), &StorageConfig::default()).unwrap()
}

fn claimant(holds: Option<Claim>) -> Claimant {
    Claimant { ranks: 2, expiry: EXPIRY, holds }
}

fn claim(run: &Folder) -> Result<Attempt, AttemptError> {
    acquire(run, &claimant(None), &mut |_| true).map(|attempt| attempt.expect("it waits"))
}

fn hold(run: &Folder, attempt: &Attempt) -> (Holder, Receiver<News>) {
    let (sender, news) = channel();
    (Holder::start(run, attempt.clone(), EXPIRY, move |heard| drop(sender.send(heard))).unwrap(), news)
}

/// Claims as a claimant on another machine would, so that nobody here can know whether its process lives.
fn claim_elsewhere(run: &Folder) -> Attempt {
    let attempt = Attempt { process: None, host: "elsewhere".into(), pid: 77, ..claim(run).unwrap() };
    let json = serde_json::to_vec(&attempt).unwrap();
    run.folder(ATTEMPTS_FOLDER).put(&attempt.claim_name(), Bytes::from(json)).unwrap();
    attempt
}

#[test]
fn of_many_claimants_one_gets_the_run_and_the_others_are_refused() {
    let run = run("many");
    let claimants: Vec<_> = (0..8)
        .map(|_| {
            let run = run.clone();
            std::thread::spawn(move || claim(&run).map(|attempt| hold(&run, &attempt)))
        })
        .collect();
    let results: Vec<_> = claimants.into_iter().map(|t| t.join().unwrap()).collect();
    let (won, lost): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    assert_eq!((won.len(), lost.len()), (1, 7));
    for refused in lost {
        let text = refused.err().unwrap().to_string();
        let me = format!("attempt 1 (process {} on host {}", std::process::id(), host_name());
        assert!(text.contains("memory://attempts-many is in use") && text.contains(&me), "{text}");
    }
    drop(won);
    assert_eq!(claim(&run).unwrap().attempt, 2, "one that has ended is free");
}

#[test]
fn one_that_ended_is_not_waited_for_and_one_that_went_silent_is_until_it_has_expired() {
    let run = run("silent");
    claim_elsewhere(&run);
    let start = Instant::now();
    let mut told = String::new();
    let second = acquire(&run, &claimant(None), &mut |waiting| {
        waiting.clone_into(&mut told);
        true
    });
    assert_eq!(second.unwrap().unwrap().attempt, 2);
    assert!(start.elapsed() >= EXPIRY);
    assert!(told.contains("attempt 1 (process 77 on host elsewhere, 2 ranks) may still hold this run"), "{told}");
    // A claimant that does not want to wait need not.
    claim_elsewhere(&run);
    assert!(acquire(&run, &claimant(None), &mut |_| false).unwrap().is_none());
}

#[test]
fn a_process_of_this_machine_that_is_gone_is_not_waited_for() {
    let run = run("gone");
    let mut attempt = claim(&run).unwrap();
    let gone = serde_json::to_value(attempt.process.take()).unwrap();
    let mut gone = gone.as_object().unwrap().clone();
    gone.insert("started".into(), 1.into());
    attempt.process = serde_json::from_value(gone.into()).unwrap();
    assert_eq!(current(&run).unwrap().unwrap().attempt.attempt, 1);
    run.folder(ATTEMPTS_FOLDER).put(&attempt.claim_name(), serde_json::to_vec(&attempt).unwrap().into()).unwrap();
    assert!(current(&run).unwrap().is_none());
    let never = &mut |waiting: &str| -> bool { panic!("{waiting}") };
    assert_eq!(acquire(&run, &claimant(None), never).unwrap().unwrap().attempt, 2);
}

#[test]
fn a_holder_goes_on_to_its_next_attempt_and_a_fenced_one_does_not() {
    let run = run("next");
    let never = &mut |waiting: &str| -> bool { panic!("{waiting}") };
    let first = acquire(&run, &claimant(None), never).unwrap().unwrap();
    let (holder, news) = hold(&run, &first);
    let second = acquire(&run, &claimant(Some(holder.claim().clone())), never).unwrap().unwrap();
    assert_eq!(second.attempt, 2);
    let Ok(News::Fenced(error)) = news.recv_timeout(Duration::from_secs(60)) else { panic!("not told") };
    assert_eq!(error.exit_code(), ExitCode::Config);
    assert!(error.to_string().contains("attempt 2 has taken the run over"), "{error}");
    check_fence(&run, &second.claim()).unwrap();
    assert!(matches!(check_fence(&run, &first.claim()), Err(AttemptError::Fenced { mine: 1, newer: 2, .. })));
    let again = acquire(&run, &claimant(Some(first.claim())), never);
    assert!(matches!(again, Err(AttemptError::Fenced { .. })), "{again:?}");
}

#[test]
fn a_request_is_heard_once() {
    let run = run("request");
    let (_holder, news) = hold(&run, &claim(&run).unwrap());
    for request in [Request::Save, Request::Stop] {
        ask(&run, request).unwrap();
        let news = news.recv_timeout(Duration::from_secs(60));
        assert!(matches!(news, Ok(News::Asked(heard)) if heard == request), "{news:?}");
    }
    assert_eq!(run.folder("requests").list().unwrap(), []);
    assert!(news.recv_timeout(2 * EXPIRY).is_err());
}

#[test]
fn a_claim_that_cannot_be_read_is_somebodys() {
    let run = run("unreadable");
    run.folder(ATTEMPTS_FOLDER).put("0007.json", Bytes::from_static(b"not JSON")).unwrap();
    let start = Instant::now();
    assert_eq!(claim(&run).unwrap().attempt, 8);
    assert!(start.elapsed() >= EXPIRY);
}

/// Gives a sign of life of attempt `attempt`, by a clock that stands at the beginning of 1970.
fn give_a_sign(run: &Folder, attempt: &Attempt, count: u64) {
    let Attempt { id, .. } = attempt;
    let alive = serde_json::json!({ "id": id, "count": count, "refreshed_at_unix_s": 1, "has_ended": false });
    run.folder(ATTEMPTS_FOLDER).put(&attempt.alive_name(), alive.to_string().into()).unwrap();
}

#[test]
fn a_holder_whose_clock_is_years_behind_is_not_taken_over() {
    let run = run("clock");
    let holder = claim_elsewhere(&run);
    give_a_sign(&run, &holder, 0);
    let mut count = 0;
    let refused = acquire(&run, &claimant(None), &mut |_| {
        count += 1;
        give_a_sign(&run, &holder, count);
        true
    });
    assert!(matches!(refused, Err(AttemptError::Held { attempt: 1, .. })), "{refused:?}");
    assert_eq!(current(&run).unwrap().unwrap().seen_at_unix_s, 1);
    // A holder whose clock stands still is waited for as long as any other.
    let start = Instant::now();
    assert_eq!(claim(&run).unwrap().attempt, 2);
    assert!(start.elapsed() >= EXPIRY);
}

#[test]
fn a_claimant_that_was_suspended_while_it_waited_looks_once_more() {
    let run = run("suspended");
    let holder = claim_elsewhere(&run);
    give_a_sign(&run, &holder, 0);
    let mut is_first = true;
    let refused = acquire(&run, &claimant(None), &mut |_| {
        if std::mem::take(&mut is_first) {
            // The holder lives all the while.
            std::thread::sleep(2 * EXPIRY);
            give_a_sign(&run, &holder, 1);
        }
        true
    });
    assert!(matches!(refused, Err(AttemptError::Held { attempt: 1, .. })), "{refused:?}");
}

#[test]
fn a_holder_is_waited_for_as_long_as_its_claim_promises() {
    let run = run("promise");
    let patient = Claimant { expiry: 2 * EXPIRY, ..claimant(None) };
    let mut holder = acquire(&run, &patient, &mut |_| true).unwrap().unwrap();
    holder.process = None;
    run.folder(ATTEMPTS_FOLDER).put(&holder.claim_name(), serde_json::to_vec(&holder).unwrap().into()).unwrap();
    let start = Instant::now();
    assert_eq!(claim(&run).unwrap().attempt, 2);
    assert!(start.elapsed() >= 2 * EXPIRY);
    // A promise that nobody would make is not waited for.
    let mut told = String::new();
    let endless = Attempt { expiry_ms: Some(u64::MAX), process: None, ..claim(&run).unwrap() };
    run.folder(ATTEMPTS_FOLDER).put(&endless.claim_name(), serde_json::to_vec(&endless).unwrap().into()).unwrap();
    let given_up = acquire(&run, &claimant(None), &mut |waiting| {
        waiting.clone_into(&mut told);
        false
    });
    assert!(given_up.unwrap().is_none() && told.contains("waiting up to 240 s"), "{told}");
}

#[test]
fn a_holder_whose_run_folder_was_deleted_is_told_and_puts_nothing_beside_the_claim_of_the_new_run() {
    let run = run("deleted");
    let old = claim(&run).unwrap();
    let (holder, news) = hold(&run, &old);
    let attempts = run.folder(ATTEMPTS_FOLDER);
    while attempts.get_if_exists("0001.alive").unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(5));
    }
    attempts.delete_all().unwrap();
    let Ok(News::Fenced(error)) = news.recv_timeout(Duration::from_secs(60)) else { panic!("not told") };
    assert_eq!(error.exit_code(), ExitCode::Config);
    let words =
        "attempt 1 of memory://attempts-deleted commits and deletes nothing any more: attempts/0001.json is gone";
    assert!(error.to_string().contains(words), "{error}");
    let new = claim(&run).unwrap();
    assert_eq!(new.attempt, 1);
    let again = acquire(&run, &claimant(Some(holder.claim().clone())), &mut |_| true);
    assert!(matches!(&again, Err(AttemptError::Vanished { mine: 1, .. })), "{again:?}");
    assert!(again.unwrap_err().to_string().contains("attempts/0001.json is another run's"));
    drop(holder);
    let names: Vec<_> = attempts.list().unwrap().into_iter().map(|object| object.name).collect();
    assert_eq!(names, ["0001.json"]);
    check_fence(&run, &new.claim()).unwrap();
}

#[test]
fn a_claim_put_late_into_a_folder_that_was_begun_anew_is_nobodys() {
    let (elsewhere, run) = (run("late-elsewhere"), run("late"));
    let first = claim(&elsewhere).unwrap();
    let late = acquire(&elsewhere, &claimant(Some(first.claim())), &mut |_| true).unwrap().unwrap();
    let new = claim(&run).unwrap();
    run.folder(ATTEMPTS_FOLDER).put("0002.json", serde_json::to_vec(&late).unwrap().into()).unwrap();
    check_fence(&run, &new.claim()).unwrap();
    let vanished = check_fence(&run, &late.claim());
    assert!(matches!(vanished, Err(AttemptError::Vanished { mine: 2, .. })), "{vanished:?}");
    assert_eq!(current(&run).unwrap().unwrap().attempt.id, new.id);
    assert_eq!(History::read(&run).unwrap().newest(), 1);
    // The number of the late claim is skipped.
    let next = acquire(&run, &claimant(Some(new.claim())), &mut |_| true).unwrap().unwrap();
    assert_eq!(next.attempt, 3);
    assert!(matches!(check_fence(&run, &new.claim()), Err(AttemptError::Fenced { mine: 1, newer: 3, .. })));
}

#[test]
fn a_sign_of_life_of_another_claim_is_none() {
    let run = run("others-alive");
    let holder = claim_elsewhere(&run);
    let other = Attempt { id: "f".repeat(16), ..holder.clone() };
    let mut count = 0;
    let taken = acquire(&run, &claimant(None), &mut |_| {
        count += 1;
        give_a_sign(&run, &other, count);
        true
    });
    assert_eq!(taken.unwrap().unwrap().attempt, 2);
}

#[test]
fn names_that_are_no_claims_are_left_alone_and_numbers_do_not_overflow() {
    let run = run("names");
    let attempts = run.folder(ATTEMPTS_FOLDER);
    for name in
        ["7.json", "+003.json", "00009.json", "4294967295.json", "4294967296.json", "100000000.json", "0000.json"]
    {
        attempts.put(name, Bytes::from_static(b"{}")).unwrap();
    }
    assert!(current(&run).unwrap().is_none());
    let first = claim(&run).unwrap();
    assert_eq!(first.attempt, 1);
    check_fence(&run, &first.claim()).unwrap();
    attempts.put("99999999.json", Bytes::from_static(b"{}")).unwrap();
    let exhausted = claim(&run).unwrap_err();
    assert!(
        matches!(exhausted, AttemptError::Exhausted { .. }) && exhausted.exit_code() == ExitCode::Config,
        "{exhausted}"
    );
}

#[test]
fn what_a_claim_says_is_harmless_on_a_terminal_and_a_huge_one_is_not_read() {
    let run = run("hostile");
    let attempts = run.folder(ATTEMPTS_FOLDER);
    let hostile = Attempt { host: format!("\u{1b}[2J{}", "h".repeat(5000)), ..claim_elsewhere(&run) };
    attempts.put("0001.json", serde_json::to_vec(&hostile).unwrap().into()).unwrap();
    let shown = current(&run).unwrap().unwrap().attempt.claimant();
    assert!(shown.contains("\\u{1b}[2Jhhh") && shown.len() < 200 && !shown.contains('\u{1b}'), "{shown}");
    for unsound in [Attempt { attempt: 5, ..hostile.clone() }, Attempt { id: "../../x".into(), ..hostile.clone() }] {
        attempts.put("0001.json", serde_json::to_vec(&unsound).unwrap().into()).unwrap();
        let shown = current(&run).unwrap().unwrap().attempt;
        assert_eq!((shown.attempt, shown.host.as_str()), (1, "unknown"));
    }
    let padding = " ".repeat(2 << 20);
    attempts.put("0001.json", format!("{}{padding}", serde_json::to_string(&hostile).unwrap()).into()).unwrap();
    assert_eq!(current(&run).unwrap().unwrap().attempt.host, "unknown");
}

#[test]
fn a_claim_of_an_older_version_is_read_and_held_against_others() {
    let run = run("older");
    let json = br#"{"attempt":1,"id":"5c0e9d7b21f3a864","claimed_at_unix_s":1,"host":"h","pid":7,"ranks":2,"version":"0.1.0"}"#;
    run.folder(ATTEMPTS_FOLDER).put("0001.json", Bytes::from_static(json)).unwrap();
    let told = claim_of(&run, 1).unwrap();
    assert_eq!(told, Claim { number: 1, id: "5c0e9d7b21f3a864".into() });
    check_fence(&run, &told).unwrap();
    // The claim may be refreshed every 40 s.
    let mut waited_for = String::new();
    let given_up = acquire(&run, &claimant(None), &mut |waiting| {
        waiting.clone_into(&mut waited_for);
        false
    });
    assert!(given_up.unwrap().is_none() && waited_for.contains("waiting up to 80 s"), "{waited_for}");
    let ended = br#"{"id":"5c0e9d7b21f3a864","count":3,"refreshed_at_unix_s":9,"has_ended":true}"#;
    run.folder(ATTEMPTS_FOLDER).put("0001.alive", Bytes::from_static(ended)).unwrap();
    let second = claim(&run).unwrap();
    assert_eq!((second.attempt, second.first.as_deref()), (2, Some("5c0e9d7b21f3a864")));
    assert!(matches!(check_fence(&run, &told), Err(AttemptError::Fenced { newer: 2, .. })));
    assert!(matches!(claim_of(&run, 9), Err(AttemptError::Vanished { mine: 9, .. })));
}

#[test]
fn what_was_saved_is_known_until_a_run_goes_back_to_the_beginning() {
    let run = run("rewound");
    let first = claim(&run).unwrap();
    record_start(&run, &first.claim(), None).unwrap();
    drop(hold(&run, &first));
    let saved = |before| History::read(&run).unwrap().saved_step(&run, before).unwrap();
    assert_eq!(saved(2), None);
    let record = crate::metrics::SaveRecord { step: 4, save_stall_ms: 0.0, save_seconds: 0.0 };
    let put = |attempt: u32| {
        let json = serde_json::to_vec(&record).unwrap();
        run.put(&format!("metrics/attempt-{attempt:04}/part-000000.jsonl"), json.into()).unwrap();
    };
    put(1);
    // Under its own number there is a record that an earlier run has put.
    assert_eq!((saved(1), saved(2)), (None, Some(4)));
    let never = &mut |waiting: &str| -> bool { panic!("{waiting}") };
    let name = first.claim().name_checkpoint(3, "00000000");
    assert_eq!(rewind(&run, &claimant(None), Some(&name), never).unwrap().unwrap().attempt, 2);
    let history = History::read(&run).unwrap();
    assert!(history.starts_from(&name) && !history.is_void(&name));
    assert!(history.is_void(&CheckpointName { step: 4, ..name }));
    assert_eq!(saved(3), Some(3));
    assert_eq!(rewind(&run, &claimant(None), None, never).unwrap().unwrap().attempt, 3);
    assert_eq!(saved(4), None);
    put(4);
    assert_eq!(saved(5), Some(4));
    // Nobody waits for an attempt that has only gone back.
    assert_eq!(acquire(&run, &claimant(None), never).unwrap().unwrap().attempt, 4);
}

#[test]
fn a_name_has_the_tag_of_its_attempts_claim() {
    let claim = |id: &str| Claim { number: 3, id: id.to_owned() };
    let name = claim("5c0e9d7b21f3a864").name_checkpoint(10, "9f");
    assert_eq!(name.to_string(), "step-00000010-a0003-5c0e9d7bx9f");
    assert!(claim("5c0e9d7b21f3a864").has_saved(&name) && !claim("5c0e9d7c21f3a864").has_saved(&name));
    assert!(!Claim { number: 4, ..claim("5c0e9d7b21f3a864") }.has_saved(&name));
    for untagged in ["5c0e9d7b21f3a864", "x1", "5c0e9d7x9f", "5c0e9d7gx9f"] {
        assert_eq!(CheckpointName { id: untagged.into(), ..name.clone() }.tag(), None, "{untagged}");
    }
}

/// What is gone tells nothing of how long its holder had been silent.
#[test]
fn a_sign_of_life_that_somebody_deletes_is_waited_for_anew() {
    let run = run("deleted-sign");
    let other = claim_elsewhere(&run);
    let attempts = run.folder(ATTEMPTS_FOLDER);
    let sign = |count: u64| {
        let alive = serde_json::json!({ "id": other.id, "count": count, "refreshed_at_unix_s": 0, "has_ended": false });
        attempts.put(&other.alive_name(), Bytes::from(alive.to_string())).unwrap();
    };
    sign(1);
    let (start, expiry) = (Instant::now(), Duration::from_secs(2));
    let mut steps = [(1.0, 0), (2.2, 2)].into_iter().peekable();
    let mut meanwhile = |_: &str| {
        if let Some((_, count)) = steps.next_if(|(at_s, _)| start.elapsed().as_secs_f64() >= *at_s) {
            if count == 0 { attempts.delete(&other.alive_name()).unwrap() } else { sign(count) }
        }
        true
    };
    let result = acquire(&run, &Claimant { expiry, ..claimant(None) }, &mut meanwhile);
    assert!(matches!(result, Err(AttemptError::Held { attempt: 1, .. })), "{result:?}");
}
