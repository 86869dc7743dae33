//! A simulation in which many claimants run the real protocol of claims, commits and prunes, on a store and clocks decided
//! by a seed.
//!
//! Each claimant is a launcher, the keeper of its claim, and a rank that saves and prunes. These are tasks. Each of their
//! operations on the store takes a time that the seed decides, from nothing to many expiries, and may be carried out while
//! its answer is lost. Claimants crash, alone or with their rank living on. New ones arrive. Listings are stale, and clocks
//! are hours apart. The run folder, or `attempts/` alone, is deleted object by object while all this goes on.
//!
//! - `world`: what exists, and what has happened to it; `random`: the numbers that decide it.
//! - `truth`: the store without delays or staleness; `invariants`: what must always be true.
//! - `store`: a claimant's access to the store.
//! - `claimant`: what each claimant does, mostly by calling the production code.
//! - `schedule`: what happens when, what must be true afterwards, and the tests.
//!
//! `CONVOY_TEST_SCHEDULES` sets the number of schedules, `CONVOY_TEST_FIRST_SCHEDULE` the seed of the first, and
//! `CONVOY_TEST_SEED` runs only the schedule of that seed. Both seeds are hexadecimal.

mod claimant;
mod invariants;
mod random;
mod schedule;
mod store;
mod truth;
mod world;
