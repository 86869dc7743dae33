//! Token shards: llm.c's file layout, with an index beside the files. docs/token-shards.md is the specification.
//!
//! A token shard is 256 little-endian i32 (magic, version, token count, zeros), followed by u16 tokens. An end-of-text token
//! precedes each document. `index.json` names every token shard with its SHA-256 and that of each of its blocks, so that
//! both whole files and ranges can be verified. Writer and reader are here together. [`verify`] finds all faults of a
//! folder, [`DataSetIndex`] opens what a config names, and `foreign.rs` reads token files of other programs.

mod error;
mod foreign;
mod format;
mod index;
mod layout;
mod open;
pub mod verify;

pub use error::{DataSetError, TokenizerIdentity};
pub use format::{BLOCK_BYTES, HEADER_BYTES, MAGIC, TOKEN_BYTES, VERSION, decode_tokens, encode, header};
pub use index::{INDEX_NAME, INDEX_VERSION, Index, ShardEntry, ShardError};
pub use layout::Layout;
pub use open::{DataSetIndex, check_rows};
