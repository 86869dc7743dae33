//! Token shards: the llm.c file layout, and the index beside them. docs/token-shards.md is the specification.
//!
//! A shard is 256 little-endian i32 (magic, version, token count, zeros) and then u16 tokens; an end-of-text token
//! precedes each document. `index.json` names every shard with its SHA-256 and that of each of its blocks, so that
//! whatever is read, a whole shard or a range, can be verified. Writer and reader are here together; [`verify`] finds all
//! faults of a folder. [`DataSetIndex`]: what a config names, opened; `foreign.rs`: token files of other programs.

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
pub use open::DataSetIndex;
