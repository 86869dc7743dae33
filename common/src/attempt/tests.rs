//! Claimants of one run, as threads and in the order that they come.

use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::*;
use crate::config::StorageConfig;
use crate::storage::Folder;

const EXPIRY: Duration = Duration::from_millis(600);

fn run(name: &str) -> Folder {
    Folder::open(&format!("memory://attempts-{name}"), &StorageConfig::default()).unwrap()
}

fn claimant(holds: Option<u32>) -> Claimant {
    Claimant { ranks: 2, expiry: EXPIRY, holds }
}

fn claim(run: &Folder) -> Result<Attempt, AttemptError> {
    acquire(run, &claimant(None), &mut |_| true).map(|attempt| attempt.expect("it waits"))
}

fn hold(run: &Folder, attempt: &Attempt) -> (Holder, Receiver<News>) {
    let (sender, news) = channel();
    (Holder::start(run, attempt.clone(), EXPIRY, move |heard| drop(sender.send(heard))).unwrap(), news)
}

/// Claims as another machine would: whether its process lives cannot be known here.
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
    // Who does not want to wait need not.
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
    let second = acquire(&run, &claimant(Some(holder.number())), never).unwrap().unwrap();
    assert_eq!(second.attempt, 2);
    let Ok(News::Fenced(error)) = news.recv_timeout(Duration::from_secs(60)) else { panic!("not told") };
    assert_eq!(error.exit_code(), ExitCode::Config);
    assert!(error.to_string().contains("attempt 2 has taken the run over"), "{error}");
    check_fence(&run, 2).unwrap();
    assert!(matches!(check_fence(&run, 1), Err(AttemptError::Fenced { mine: 1, newer: 2, .. })));
    let again = acquire(&run, &claimant(Some(1)), never);
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

#[test]
fn random_ids_differ() {
    assert_ne!(random_hex(), random_hex());
}
