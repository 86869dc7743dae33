//! Texts of token shards, decoded. A document may begin in one shard and end in another.

use common::config::RunConfig;
use common::token_shard::{BLOCK_BYTES, DataSetIndex};
use common::tokenizer::{DecodeStream, Tokenizer};

use super::texts::{Part, Texts};
use crate::data::{BlockId, DataError, Shards};
use crate::error::JobError;

/// Blocks of a unit, each of 2^19 tokens.
const UNIT_BLOCKS: usize = 8;

/// Texts of token shards. The texts of a unit are those that begin in its blocks.
pub struct ShardTexts {
    shards: Shards,
    tokenizer: Tokenizer,
    /// All blocks, in order.
    blocks: Vec<BlockId>,
    unit_blocks: usize,
}

impl ShardTexts {
    /// Opens the token shards in the folder that `words` name. They must have been made with the config's tokenizer.
    pub fn open(words: &str, config: &RunConfig) -> Result<Self, JobError> {
        let (name, storage) = (&config.data.tokenizer, &config.storage);
        let tokenizer = Tokenizer::open(name, storage).map_err(DataError::from)?;
        // A data set for sequences of one token is any but an empty one.
        let set = DataSetIndex::open(words, (name, &tokenizer), storage, 1).map_err(DataError::from)?;
        Ok(Self::of(set, tokenizer, UNIT_BLOCKS))
    }

    fn of(set: DataSetIndex, tokenizer: Tokenizer, unit_blocks: usize) -> Self {
        let shards = set.index.shards.iter().enumerate();
        let blocks = shards.flat_map(|(shard, entry)| {
            (0..entry.bytes.div_ceil(BLOCK_BYTES)).map(move |block| BlockId { shard, block })
        });
        let blocks = blocks.collect();
        ShardTexts { shards: Shards::new(set), tokenizer, blocks, unit_blocks }
    }
}

impl Texts for ShardTexts {
    fn units(&self) -> Vec<u64> {
        self.blocks.chunks(self.unit_blocks).map(|unit| unit.len() as u64 * BLOCK_BYTES).collect()
    }

    fn read(&self, unit: usize, see: &mut dyn FnMut(Part<'_>)) -> Result<(), JobError> {
        let (start, end) = (unit * self.unit_blocks, (unit + 1) * self.unit_blocks);
        let end_of_text = i32::from(self.tokenizer.end_of_text());
        // What stands before the first end-of-text of a later unit belongs to an earlier one.
        let mut is_ours = unit == 0;
        let mut text: Option<DecodeStream> = None;
        for (number, id) in self.blocks.iter().enumerate().skip(start) {
            // Behind the unit, only the text that began in it is read on.
            if number >= end && !is_ours {
                return Ok(());
            }
            let content = self.shards.read(*id)?;
            let layout = self.shards.layout(id.shard);
            let first = if id.block == 0 { layout.first_byte as usize } else { 0 };
            for token in layout.tokens(content.get(first..).unwrap_or_default()) {
                if token == end_of_text {
                    finish(text.take(), see);
                    if number >= end {
                        return Ok(());
                    }
                    is_ours = true;
                } else if is_ours {
                    let text = text.get_or_insert_with(|| DecodeStream::new(self.tokenizer.clone()));
                    // The block was verified: every token is below the size of the vocabulary.
                    see(Part::Piece(&text.push(token as u16).unwrap_or_default()));
                }
            }
        }
        finish(text, see);
        Ok(())
    }
}

fn finish(text: Option<DecodeStream>, see: &mut dyn FnMut(Part<'_>)) {
    if let Some(text) = text {
        see(Part::Piece(&text.finish()));
        see(Part::End);
    }
}

#[cfg(test)]
mod tests {
    use common::config::StorageConfig;
    use common::storage::Folder;
    use common::token_shard::{INDEX_VERSION, Index, ShardEntry, encode};

    use super::*;

    /// Returns the texts of shards of these tokens, one block each, in units of `unit_blocks`.
    fn texts(name: &str, shards: &[&[u16]], unit_blocks: usize) -> Vec<Vec<String>> {
        let tokenizer = Tokenizer::gpt2().unwrap();
        let folder =
            Folder::open(&format!("memory://overlap-{name}-{unit_blocks}"), &StorageConfig::default()).unwrap();
        let entries: Vec<ShardEntry> = shards
            .iter()
            .enumerate()
            .map(|(number, tokens)| {
                let (name, content) = (format!("shard-{number:06}.bin"), encode(tokens));
                folder.put(&name, content.clone()).unwrap();
                ShardEntry::describe(&name, &content, tokenizer.end_of_text())
            })
            .collect();
        let index = Index {
            version: INDEX_VERSION,
            tokenizer: "gpt2".to_owned(),
            tokenizer_hash: tokenizer.hash().to_owned(),
            vocabulary: tokenizer.size(),
            tokens: entries.iter().map(|entry| entry.tokens).sum(),
            documents: entries.iter().map(|entry| entry.documents).sum(),
            block_bytes: BLOCK_BYTES,
            shards: entries,
        };
        let texts = ShardTexts::of(DataSetIndex::new(folder, index), tokenizer, unit_blocks);
        let of_unit = |unit| {
            let mut all = vec![String::new()];
            let mut see = |part: Part<'_>| match part {
                Part::Piece(piece) => all.last_mut().unwrap().push_str(piece),
                Part::End => all.push(String::new()),
            };
            texts.read(unit, &mut see).unwrap();
            assert_eq!(all.pop().as_deref(), Some(""), "every text ends");
            all
        };
        (0..texts.units().len()).map(of_unit).collect()
    }

    #[test]
    fn a_text_belongs_to_the_unit_in_which_it_begins_and_is_read_to_its_end() {
        let tokenizer = Tokenizer::gpt2().unwrap();
        let end = tokenizer.end_of_text();
        let [first, second, third] = ["Crows sing, naïve 🦀 crows.", "A fox!", "Nobody else."];
        let all: Vec<u16> =
            [first, second, third].iter().flat_map(|text| [vec![end], tokenizer.encode(text)].concat()).collect();
        // The first text spans three shards, in the second of which none begins.
        let shards = [&all[..3], &all[3..6], &all[6..]];
        assert_eq!(texts("three", &shards, 1), [vec![first], vec![], vec![second, third]]);
        assert_eq!(texts("three", &shards, 2), [vec![first], vec![second, third]]);
        assert_eq!(texts("three", &shards, 8), [vec![first, second, third]]);
        // A text that begins where a unit does is not read twice.
        let at_second = 1 + tokenizer.encode(first).len();
        let shards = [&all[..at_second], &all[at_second..]];
        assert_eq!(texts("two", &shards, 1), [vec![first], vec![second, third]]);
        // Its end-of-text alone may stand in the unit.
        let shards = [&all[..=at_second], &all[at_second + 1..]];
        assert_eq!(texts("end", &shards, 1), [vec![first, second], vec![third]]);
    }
}
