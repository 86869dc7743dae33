//! Checks before a run is paid for. Each check returns findings: ok, a warning, or failed with what to do.
//!
//! - [`storage`]: whether the run folder can be written, read, created in exclusively, and cleaned.
//! - [`data`]: whether every data set is whole, by listing, and of the config's tokenizer.
//! - [`tasks`]: whether there are the evaluation tasks that the config names, and their data.
//! - [`vocabulary`]: whether the rows of the embedding fit the tokenizer.
//! - [`ranks`]: facts that ranks find on their hosts, started as training would start them.

pub mod data;
pub mod ranks;
pub mod storage;
pub mod tasks;
pub mod vocabulary;
