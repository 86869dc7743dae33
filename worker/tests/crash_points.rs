//! A process that dies at any request to its store loses no checkpoint: for every request of a save, of a prune, and
//! of a save in the middle of a prune, a reader then finds the old checkpoint or the new one, whole, and the next
//! save works. The stores are a disk, memory, an S3 server, and one with stale, partial and duplicated listings. This
//! is one test, since the server's credentials are in the environment.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking, and says how much it tried")]
#![allow(unsafe_code, reason = "sets the environment, before other threads read it")]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bytes::Bytes;
use common::attempt::{AttemptError, Claim, record_start};
use common::checkpoint_layout::{CheckpointName, ParameterShape, RankShare, plan_save};
use common::checkpoint_store::Garbage;
use common::checkpoint_store::ORPHAN_GRACE_S;
use common::clock::unix_s;
use common::config::Retention;
use common::config::{ModelConfig, OnCorrupt, StorageConfig};
use common::storage::{Folder, Layer};
use common::topology::{Rank, WorldSize};
use tests::faults::{Fault, Plan};
use tests::random::Random;
use tests::s3::Server;
use worker::checkpoint::{
    self, CheckpointError, ManifestHeader, Place, RankLayout, RankSnapshot, RestoredState, Search, folder_of,
};

/// Number of ranks that save.
const WORLD: u32 = 2;
const RETENTION: Retention = Retention { keep_last: 2, keep_every_steps: 0 };
/// Number of requests that a listing may be behind.
const LAG: u64 = 12;
/// Variable that makes the test try all points on a store with late listings too; without it, one in [`ONE_OF`].
const ALL_VARIABLE: &str = "CONVOY_TEST_CRASH_POINTS";
const ONE_OF: usize = 5;

type Work = Box<dyn FnOnce() + Send>;

/// A process's access to its store, which ends at a request.
struct Fuse {
    /// Number of the request that the process dies at, from 1.
    at: u64,
    /// Whether that request is still carried out.
    carried_out: bool,
    passed: AtomicU64,
    /// Work of another process before a request: the request's number and the work.
    meanwhile: Mutex<Option<(u64, Work)>>,
}

impl Fuse {
    fn new(at: u64, carried_out: bool) -> Self {
        Fuse { at, carried_out, passed: AtomicU64::new(0), meanwhile: Mutex::default() }
    }

    fn is_blown(&self) -> bool {
        self.passed.load(Ordering::SeqCst) >= self.at
    }
}

impl std::fmt::Debug for Fuse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a fuse of {} requests, the last {}", self.at, if self.carried_out { "done" } else { "not done" })
    }
}

impl Layer for Fuse {
    fn before(&self, what: &'static str, path: &str) -> Result<(), String> {
        let number = 1 + self.passed.fetch_add(1, Ordering::SeqCst);
        let due = self.meanwhile.lock().unwrap().take_if(|(at, _)| number == *at);
        if let Some((_, work)) = due {
            // On a thread of its own, because the work makes requests too, and one is being made here.
            std::thread::spawn(work).join().unwrap();
        }
        let dies = number > self.at || (number == self.at && !self.carried_out);
        if dies { Err(format!("died before {what} {path}")) } else { Ok(()) }
    }

    fn after(&self, what: &'static str, path: &str) -> Result<(), String> {
        let dies = self.passed.load(Ordering::SeqCst) >= self.at;
        if dies { Err(format!("died after {what} {path}")) } else { Ok(()) }
    }
}

/// Returns the claim of attempt `number`.
fn claim(number: u32) -> Claim {
    Claim { number, id: format!("{number:016x}").chars().rev().collect() }
}

/// A run, seen from outside.
#[derive(Clone)]
struct Run {
    folder: Folder,
    parameters: Arc<Vec<ParameterShape>>,
    /// Number of requests that listings may be behind.
    lag: u64,
}

impl Run {
    fn at(url: &str) -> Self {
        let shape = |(name, shape): (&str, &[u64])| ParameterShape { name: name.into(), shape: shape.to_vec() };
        let parameters: [(&str, &[u64]); 3] = [("wte", &[11, 6]), ("h.0.weight", &[6, 24]), ("ln_f.bias", &[6])];
        let folder = Folder::open(url, &StorageConfig::default()).unwrap();
        Run { folder, parameters: Arc::new(parameters.map(shape).to_vec()), lag: 0 }
    }

    /// Returns the run as seen by a process that `fuse` ends.
    fn behind(&self, fuse: &Arc<Fuse>) -> Self {
        Run { folder: self.folder.behind(fuse.clone()), ..self.clone() }
    }

    /// Returns a state for `step` in which every element differs from its neighbours, and from those of other steps.
    fn state(&self, step: u64) -> RestoredState {
        let mut number = step as f32 * 1e4;
        let mut fill = |p: &ParameterShape| {
            let next = |_| {
                number += 1.0;
                number
            };
            (p.name.clone(), (0..p.elements()).map(next).collect::<Vec<f32>>())
        };
        RestoredState {
            weights: self.parameters.iter().map(&mut fill).collect(),
            exp_avg: self.parameters.iter().map(&mut fill).collect(),
            exp_avg_sq: self.parameters.iter().map(&mut fill).collect(),
        }
    }

    /// Returns the snapshot that `rank` of `world` saves of `state`.
    fn snapshot(
        &self,
        state: &RestoredState,
        (rank, world): (Rank, WorldSize),
        share: &RankShare,
    ) -> Result<RankSnapshot, CheckpointError> {
        let name = |parameter: usize| self.parameters[parameter].name.clone();
        let tensors = share.tensors.iter().map(|i| self.parameters[*i].clone()).collect();
        let slices = share.slices.iter().map(|s| (name(s.parameter), s.start..s.end)).collect();
        let layout = RankLayout::new(rank, world, tensors, slices)?;
        let mut contents: Vec<Vec<u8>> = layout.headers().map(<[u8]>::to_vec).collect();
        let mut put = |place: Place, values: &[f32]| {
            contents[place.object].extend(values.iter().flat_map(|value| value.to_le_bytes()));
        };
        for (i, place) in share.tensors.iter().zip(layout.tensors()) {
            put(place, &state.weights[&name(*i)]);
        }
        for (slice, places) in share.slices.iter().zip(layout.slices()) {
            let range = slice.start as usize..slice.end as usize;
            for (place, moment) in places.into_iter().zip([&state.exp_avg, &state.exp_avg_sq]) {
                put(place, &moment[&name(slice.parameter)][range.clone()]);
            }
        }
        RankSnapshot::new(layout, contents.into_iter().map(Bytes::from).collect())
    }

    /// Puts the claim of attempt `number` and begins the attempt, from `start`, or from nothing.
    fn begin(&self, number: u32, start: Option<&CheckpointName>) {
        let Claim { id, .. } = claim(number);
        let json = serde_json::json!({
            "attempt": number, "id": id, "claimed_at_unix_s": 0, "host": "h", "pid": 1, "ranks": WORLD, "version": "0"
        });
        self.folder.put(&format!("attempts/{number:04}.json"), json.to_string().into()).unwrap();
        record_start(&self.folder, &claim(number), start).unwrap();
    }

    /// Saves as all ranks would, one after the other.
    fn save(&self, step: u64, attempt: u32) -> Result<CheckpointName, CheckpointError> {
        let (world, name) = (WorldSize::new(WORLD).unwrap(), checkpoint::new_name(step, &claim(attempt)));
        let (folder, state) = (folder_of(&self.folder, &name), self.state(step));
        let shares = plan_save(&self.parameters, world);
        let write = |(rank, share)| {
            let snapshot = self.snapshot(&state, (rank, world), share)?;
            checkpoint::write_rank(&folder, snapshot, 0)
        };
        let gathered = world.ranks().zip(&shares).map(write).collect::<Result<_, _>>()?;
        let header = ManifestHeader {
            name: name.clone(),
            sequences_consumed: 8 * step,
            updates: step,
            grad_norms: Vec::new(),
            skipped_in_a_row: 0,
            changes: Vec::new(),
            world_size: world,
            tokenizer_hash: "abc".into(),
            data_sequences: 100,
            data_order: 2,
            config: String::new(),
            model: ModelConfig { layers: 1, width: 6, heads: 2, context_tokens: 5, vocabulary: 11 },
        };
        checkpoint::commit_as_holder(&self.folder, &claim(attempt), header, gathered)?;
        Ok(name)
    }

    fn prune(&self) -> Result<Garbage, AttemptError> {
        checkpoint::prune(&self.folder, &RETENTION, Some(&claim(1)), unix_s())
    }

    /// Returns the step that a reader resumes from once listings have caught up. A reader that comes before that must
    /// not find a newer checkpoint, and must find it whole.
    fn newest(&self, point: &str) -> u64 {
        let early = self.newest_listed(point);
        self.settle();
        let newest = self.newest_listed(point);
        assert!(early == newest || self.lag > 0 && early < newest, "{point}: step {early}, then {newest}");
        newest
    }

    /// Lets listings catch up.
    fn settle(&self) {
        (0..=self.lag).filter(|_| self.lag > 0).for_each(|_| drop(self.folder.size("nothing")));
    }

    /// Returns the step that a reader resumes from, after checking that its state is whole.
    fn newest_listed(&self, point: &str) -> u64 {
        let read = || {
            let (folder, manifest) = Search::new(&self.folder, OnCorrupt::Stop).newest()?.unwrap();
            Ok::<_, CheckpointError>((checkpoint::read_state(&folder, &manifest)?, manifest.name))
        };
        let (state, name) = read().unwrap_or_else(|e| panic!("{point}: {e}"));
        assert!(state == self.state(name.step), "{point}: not the state of {name}");
        name.step
    }

    /// Checks that the next attempt saves and prunes after any crash, and leaves nothing else behind.
    fn goes_on(&self, point: &str) {
        let start = Search::new(&self.folder, OnCorrupt::Stop).newest().unwrap().unwrap().1.name;
        self.begin(2, Some(&start));
        self.save(90, 2).unwrap();
        let kept = self.save(100, 2).unwrap();
        // By then, any process that died has been dead for long enough. Folders that a listing does not show yet go
        // with the next prune.
        let now = || unix_s() + ORPHAN_GRACE_S;
        let prune = || checkpoint::prune(&self.folder, &RETENTION, Some(&claim(2)), now()).unwrap();
        prune();
        assert_eq!(self.newest(point), 100);
        if self.lag > 0 {
            prune();
            self.settle();
        }
        let found = checkpoint::list(&self.folder).unwrap();
        let left: Vec<_> = found.iter().map(|found| (found.name.step, found.committed)).collect();
        assert_eq!(left, [(90, true), (100, true)], "{point}");
        assert!(found.last().is_some_and(|found| found.name == kept));
    }
}

type At<T> = Box<dyn Fn(u64) -> T>;

/// Runs in one store, each in a place of its own.
struct Store {
    name: &'static str,
    /// Returns the URL of a place by its number.
    place: At<String>,
    /// Returns the folder of a place on the disk; `None` if the store is no disk.
    on_disk: Option<At<PathBuf>>,
    templates: PathBuf,
    /// Number of requests that the store's listings may be behind.
    lag: u64,
    /// Tries one point in this many.
    one_of: usize,
    random: Random,
    runs: u64,
    points: u64,
}

impl Store {
    /// Returns the numbers of the requests to try, from `first` on.
    fn numbers(&mut self, first: u64) -> impl Iterator<Item = u64> + use<> {
        (first + self.random.below(self.one_of as u64)..).step_by(self.one_of)
    }

    /// Makes a run with `steps` committed by attempt 1. On a disk it is a copy, since thousands of requests take
    /// their time.
    fn run(&mut self, steps: &[u64]) -> Run {
        self.runs += 1;
        let run = Run { lag: self.lag, ..Run::at(&(self.place)(self.runs)) };
        let save_all = |run: &Run| {
            run.begin(1, None);
            steps.iter().for_each(|step| drop(run.save(*step, 1).unwrap()));
        };
        match &self.on_disk {
            None => save_all(&run),
            Some(on_disk) => {
                let template = self.templates.join(format!("{steps:?}").replace([' ', ','], "-"));
                if !template.exists() {
                    save_all(&Run::at(&format!("file://{}", template.display())));
                }
                copy_folder(&template, &on_disk(self.runs));
            }
        }
        run
    }

    /// Counts a point after which a reader has found a whole checkpoint. The next save is tried after all points of a
    /// fast store, and after every fourth point on a disk.
    fn survived(&mut self, run: &Run, point: &str) {
        if self.on_disk.is_none() || self.points.is_multiple_of(4) {
            run.goes_on(point);
        }
        self.points += 1;
    }

    /// Lets `work` die at each of its requests, before and after it is carried out, in a run with `steps`. A reader
    /// must then find one of `allowed`, and the last of them if `work` came to its end.
    fn every_point(
        &mut self,
        what: &str,
        steps: &[u64],
        allowed: &[u64],
        work: impl Fn(&Run) -> Result<(), CheckpointError>,
    ) {
        for carried_out in [false, true] {
            for at in self.numbers(1) {
                let run = self.run(steps);
                let fuse = Arc::new(Fuse::new(at, carried_out));
                let done = work(&run.behind(&fuse));
                let point = format!("{}: {what}, {fuse:?}", self.name);
                let newest = run.newest(&point);
                if !fuse.is_blown() {
                    done.unwrap();
                    assert_eq!(Some(&newest), allowed.last(), "{point}");
                    break;
                }
                assert!(allowed.contains(&newest), "{point}: step {newest}");
                self.survived(&run, &point);
            }
        }
    }

    /// Makes a save of step 40, by another process, before request `k` of a prune, which dies at any later request or
    /// not at all.
    fn every_save_during_a_prune(&mut self) {
        for k in self.numbers(1) {
            for at in self.numbers(k) {
                let run = self.run(&[10, 20, 30]);
                let fuse = Fuse::new(at, false);
                let saver = run.clone();
                *fuse.meanwhile.lock().unwrap() = Some((k, Box::new(move || drop(saver.save(40, 1).unwrap()))));
                let fuse = Arc::new(fuse);
                let done = run.behind(&fuse).prune();
                let point = format!("{}: a save before request {k} of a prune, {fuse:?}", self.name);
                if fuse.meanwhile.lock().unwrap().is_some() {
                    // The prune has fewer requests than `k`: all points have been tried.
                    return;
                }
                assert_eq!(run.newest(&point), 40, "{point}");
                self.survived(&run, &point);
                if !fuse.is_blown() {
                    done.unwrap();
                    break;
                }
            }
        }
    }

    /// Makes a prune before request `k` of a save, which dies at any later request or not at all.
    fn every_prune_during_a_save(&mut self) {
        for k in 1.. {
            for at in k.. {
                let run = self.run(&[10, 20, 30]);
                let fuse = Fuse::new(at, false);
                let pruner = run.clone();
                *fuse.meanwhile.lock().unwrap() = Some((k, Box::new(move || drop(pruner.prune().unwrap()))));
                let fuse = Arc::new(fuse);
                let done = run.behind(&fuse).save(40, 1);
                let point = format!("{}: a prune before request {k} of a save, {fuse:?}", self.name);
                if fuse.meanwhile.lock().unwrap().is_some() {
                    return;
                }
                assert_eq!(run.newest(&point), if fuse.is_blown() { 30 } else { 40 }, "{point}");
                self.survived(&run, &point);
                if !fuse.is_blown() {
                    done.unwrap();
                    break;
                }
            }
        }
    }
}

fn every_crash_point(mut store: Store) {
    let (name, start) = (store.name, Instant::now());
    store.every_point("save", &[10], &[10, 20], |run| run.save(20, 1).map(drop));
    store.every_point("prune", &[10, 20, 30, 40], &[40], |run| Ok(run.prune().map(drop)?));
    let save_and_prune = |run: &Run| run.save(40, 1).and_then(|_| Ok(run.prune().map(drop)?));
    store.every_point("save and prune", &[10, 20, 30], &[30, 40], save_and_prune);
    store.every_save_during_a_prune();
    if store.on_disk.is_none() {
        store.every_prune_during_a_save();
    }
    let (points, seconds) = (store.points, start.elapsed().as_secs());
    println!("{name}: {points} crash points in {seconds} s, after each of which a reader found a whole checkpoint");
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_folder(&entry.path(), &to),
            false => drop(std::fs::copy(entry.path(), to).unwrap()),
        }
    }
}

/// Loses the answer to each request of a save, one at a time, after the store has carried the request out. The save
/// is still committed, and recognises its manifest as its own.
fn every_lost_answer(server: &Server) {
    let count = |run: &Run| {
        run.begin(1, None);
        server.faults().follow(Plan::default());
        run.save(10, 1).unwrap();
        server.faults().requests().len()
    };
    let requests = count(&Run::at("s3://lost/counted"));
    for lost in 0..requests {
        let run = Run::at(&format!("s3://lost/{lost}"));
        server.faults().follow(Plan::default());
        run.begin(1, None);
        let mut first = vec![None; lost];
        first.push(Some(Fault::LostAnswer));
        server.faults().follow(Plan { first, ..Plan::default() });
        run.save(10, 1).unwrap_or_else(|e| panic!("the answer to request {lost} of {requests} was lost: {e}"));
        assert_eq!(server.faults().count(Fault::LostAnswer), 1);
        assert_eq!(run.newest("a lost answer"), 10);
    }
    server.faults().follow(Plan::default());
    println!("s3: {requests} answers lost, one at a time, and every save committed");
}

#[test]
fn a_process_that_dies_at_any_request_loses_no_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let (file, s3) = (dir.path().join("file"), dir.path().join("s3"));
    std::fs::create_dir(&s3).unwrap();
    let server = Server::start(&s3, &["lost"]);
    for (name, value) in server.environment() {
        // SAFETY: this binary's only test sets the environment before the threads of storage start, and the server's thread
        // never reads it.
        unsafe { std::env::set_var(name, value) };
    }
    let templates = dir.path().join("templates");
    let store = |name, place: At<String>, on_disk| Store {
        name,
        place,
        on_disk,
        templates: templates.clone(),
        lag: 0,
        one_of: 1,
        random: Random::new(0),
        runs: 0,
        points: 0,
    };
    every_crash_point(store("memory", Box::new(|number| format!("memory://crash-points/{number}")), None));
    let folder = move |number: u64| file.join(number.to_string());
    let url = folder.clone();
    let url = move |number| format!("file://{}", url(number).display());
    every_crash_point(store("file", Box::new(url), Some(Box::new(folder))));
    // Each run has a bucket, since the server lists by walking through all of one.
    let bucket = |kind: &'static str| -> At<PathBuf> {
        let s3 = s3.clone();
        Box::new(move |number| s3.join(format!("{kind}-{number}")).join("a-run"))
    };
    every_crash_point(store("s3", Box::new(|number| format!("s3://run-{number}/a-run")), Some(bucket("run"))));
    every_lost_answer(&server);
    let (mut random, one_of) = (Random::fresh(), if std::env::var_os(ALL_VARIABLE).is_some() { 1 } else { ONE_OF });
    let seed = random.below(u64::MAX);
    server.faults().follow(Plan { rate: 0.9, seed, kinds: Fault::LISTINGS.into(), lag: LAG, ..Plan::default() });
    let behind = store("s3 behind", Box::new(|number| format!("s3://behind-{number}/a-run")), Some(bucket("behind")));
    every_crash_point(Store { lag: LAG, one_of, random, ..behind });
    let met = Fault::LISTINGS.map(|fault| server.faults().count(fault));
    assert!(met.iter().all(|met| *met > 10), "{met:?}");
}
