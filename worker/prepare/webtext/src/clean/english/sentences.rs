//! Number of sentences. spaCy: `pipeline/sentencizer.pyx`.

use crate::clean::unicode::PUNCTUATION;

/// `Sentencizer.default_punct_chars`.
const ENDS: &str = "!.?։؟۔܀܁܂߹।॥၊။።፧፨᙮᜵᜶᠃᠉᥄᥅᪨᪩᪪᪫᭚᭛᭞᭟᰻᰼᱾᱿‼‽⁇⁈⁉⸮⸼꓿꘎꘏꛳꛷꡶꡷꣎꣏꤯꧈꧉꩝꩞꩟꫰꫱꯫﹒﹖﹗！．？𐩖𐩗𑁇𑁈𑂾𑂿𑃀𑃁𑅁𑅂𑅃𑇅𑇆𑇍𑇞𑇟𑈸𑈹𑈻𑈼𑊩𑑋𑑌𑗂𑗃\
    𑗉𑗊𑗋𑗌𑗍𑗎𑗏𑗐𑗑𑗒𑗓𑗔𑗕𑗖𑗗𑙁𑙂𑜼𑜽𑜾𑩂𑩃𑪛𑪜𑱁𑱂𖩮𖩯𖫵𖬷𖬸𖭄𛲟𝪈｡。";

/// Counts sentences word by word: one begins with the first word behind an end that is not itself a mark.
#[derive(Default)]
pub(super) struct Counter {
    begun: usize,
    ended: bool,
}

impl Counter {
    pub(super) fn word(&mut self, word: &str) {
        let mut characters = word.chars();
        let (first, alone) = (characters.next(), characters.next().is_none());
        if alone && first.is_some_and(|c| matches!(c, '.' | '!' | '?') || (!c.is_ascii() && ENDS.contains(c))) {
            self.ended = true;
        } else if self.ended && !word.chars().all(|c| PUNCTUATION.contains(c)) {
            self.begun += 1;
            self.ended = false;
        }
    }

    /// White space other than one space is a word to spaCy, behind the space that belongs to the word before.
    pub(super) fn space(&mut self, space: &str) {
        if self.ended && !matches!(space, "" | " ") {
            self.begun += 1;
            self.ended = false;
        }
    }

    pub(super) fn sentences(&self) -> usize {
        self.begun + 1
    }
}
