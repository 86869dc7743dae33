//! The real protocol of claims, commits and prunes, run by many claimants on a store and clocks that a seed decides.
//!
//! Every claimant is a launcher, what keeps its claim, and a rank that saves and prunes: tasks whose every operation on the store
//! takes as long as the seed says, from nothing to many expiries, and may be carried out while its answer is lost. Claimants crash,
//! alone or with their rank living on; new ones come; listings are behind; clocks are hours apart; the run folder, or
//! `attempts/` alone, is deleted object by object while all this goes on.
//!
//! - `world`: what is there, and what has happened to it; `random`: the numbers that decide it.
//! - `truth`: the store as it is; `invariants`: what must be true.
//! - `store`: how a claimant reaches it.
//! - `claimant`: what each of them does, mostly by calling what it calls in production.
//! - `schedule`: what happens when, what must hold after it, and the tests.
//!
//! `CONVOY_TEST_SCHEDULES` sets how many schedules there are, `CONVOY_TEST_FIRST_SCHEDULE` the first one's seed, and
//! `CONVOY_TEST_SEED` runs the one of that seed alone; both seeds are hexadecimal.

mod claimant;
mod invariants;
mod random;
mod schedule;
mod store;
mod truth;
mod world;
