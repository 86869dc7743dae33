"""Makes worker/prepare/webtext/tests/golden/dedup.jsonl: how datatrove normalises texts, and their MinHash signatures.

    python dedup.py OUTPUT

OUTPUT is worker/prepare/webtext/tests/golden. Needs Python 3.10 or later and

    pip install datatrove==0.9.0 numpy==2.4.6 xxhash==3.8.2 regex==2026.11.19 tokenizers==0.23.3

in an environment of its own. No network. All texts are written here.

The first line has the parameters: those of datatrove's `MinhashConfig`, and the coefficients `a` and `b` that it draws from numpy's
`RandomState`. Each other line is one text: `normal`, what `simplify_text` makes of it; `shingles`, the hashes of its 5-grams; and
`signature`, all bands in a row, empty for a text that has no 5-gram. Words are what lies between white space of the normalised text,
so that spaCy is not needed: which words a text has is compared by scripts/oracles/clean.py.
"""

import json
import random
import sys
from pathlib import Path

from datatrove.pipeline.dedup import minhash
from datatrove.utils.hashing import HashConfig
from datatrove.utils.text import simplify_text


class BetweenSpaces:
    def word_tokenize(self, text):
        return text.split()


ODD = [
    "",
    " \r\n\t ",
    "one",
    "... !!! ---",
    "Only four words here.",
    "Exactly five words are here.",
    "Exactly six words are in here.",
    "the same the same the same the same the same",
    "Lines of one system\r\nend like this\r\nand of another\rlike this\nor like this.",
    "Tabs\tand\x0bother\x0cspaces\xa0and\u2003more\u3000and\u2028lines\x85and\x1cseparators\x1fcount.",
    "\ufeffA byte order mark and a zero\u200bwidth space are no spaces.",
    "\x00Controls\x01are\x7fspaces\x9ftoo\x08however many there are.",
    "Don't \u2018quote\u2019 \u201cthis\u201d \u00abor\u00bb that\u2026 and so\u2014or so\u2013on (in brackets) [of] {any} <kind>.",
    "Chapter 12 has 3.5 pages, 1,000,000 words, 1.2.3 and 4..5 and 6., .7, 8,",
    "\u0663\u066b\u0665 and \u0967\u0968,\u0969 and \uff11\uff12 and \u0664\u060c\u0665 and 7\u23966\u2397 are numbers in any script.",
    "9\u00b2 + \u2167 is \u00bd of what \u2460 has: only decimal digits are numbers.",
    "Caf\u00e9 na\u00efve \u00c5ngstr\u00f6m \u212bngstr\u00f6m \u0130stanbul \u1e9e\u00df stra\u00dfe co\u00f6perate.",
    "Cafe\u0301 nai\u0308ve a\u0323\u0307 a\u0307\u0323 \u0344 lone \u0301 marks \u0301\u0301 and a\u0301\u0302\u0303.",
    "\u0301 a text that begins with a mark \u0301",
    "\u039f\u0394\u03a5\u03a3\u03a3\u0395\u03a5\u03a3 \u03a3 \u03a3\u0391\u03a3 \u1f68\u03a3 a\u03a3\u0301 a\u03a3b \u0391\u03a3. \u03a3.",
    "\u0417\u0434\u0440\u0430\u0432\u0441\u0442\u0432\u0443\u0439, \u043c\u0438\u0440! \u0401\u043b\u043a\u0430 \u0419\u043e\u0434 \u0407\u0436\u0430\u043a.",
    "\ud55c\uad6d\uc5b4 \ubb38\uc7a5\uc740 \ub2e4\uc12f \ub2e8\uc5b4 \uc774\uc0c1\uc774\ub2e4.",
    "\u65e5\u672c\u8a9e\u306e\u6587\u3001\u305d\u3057\u3066\u300c\u30ab\u30ae\u300d\u3002 \u30d1\u30d4\u30d7 \u30ac\u30ae\u30b0 \u4e00 \u4e8c \u4e09",
    "\u0939\u093f\u0928\u094d\u0926\u0940 \u092e\u0947\u0902 \u090f\u0915 \u0935\u093e\u0915\u094d\u092f \u0939\u0948\u0964",
    "\u0645\u064f\u062d\u064e\u0645\u0651\u064e\u062f \u0648\u064e\u0633\u064e\u0644\u0627\u0645 \u060c \u0639\u0631\u0628\u064a \u061f \u0646\u0635 \u0642\u0635\u064a\u0631",
    "\u05e9\u05c1\u05b8\u05dc\u05d5\u05b9\u05dd \u05e2\u05d5\u05b9\u05dc\u05b8\u05dd \u05d6\u05d4 \u05de\u05e9\u05e4\u05d8 \u05e7\u05e6\u05e8",
    "Ti\u1ebfng Vi\u1ec7t c\u00f3 nhi\u1ec1u d\u1ea5u thanh \u0110\u00f4ng.",
    "Emoji \U0001f642 with \u2764\ufe0f selectors \U0001f468\u200d\U0001f469\u200d\U0001f467 and flags \U0001f1e9\U0001f1ea.",
    "\ufb01ne \ufb02ight \u2126hm \u1d2cbc \u2122 \u00aa \u00ba are not folded by compatibility.",
    "a\u1b44\u0316b c\u302e\u0316d \U0001d15e \U0001d16d\u0301 marks with spacing are kept and ordered.",
    "\u1fef \u037e \u0387 \u00b4 \u1ffd become punctuation only when they are decomposed.",
    "One * two \u2236 three \u2501 four \u25ba five \uff5e six \u3010seven\u3011 \u300aeight\u300b \uff0c nine \uff0e ten",
    "$5 + \u20ac6 = \u00a37 < 8 \u00b1 9 \u00d7 \u00f7 \u00b0 \u00a7 \u00b6 \u2020 \u2022 bullets",
    "under_score snake_case e-mail@example.org https://example.org/a?b=c#d",
]

WORDS = (
    "stone river lantern harbour winter keeper letter bridge garden market thunder village copper morning silver "
    "window forest candle story ocean"
).split()


def prose(seed, words):
    draw = random.Random(seed)
    return " ".join(draw.choice(WORDS).capitalize() + draw.choice(["", "", "", ",", "."]) for _ in range(words))


def texts():
    yield from ODD
    for seed, words in enumerate((7, 20, 60, 400)):
        yield prose(seed, words)
    # One word of sixty is another.
    words = prose(2, 60).split()
    yield " ".join(words[:30] + ["Otherwise"] + words[31:])


def main():
    # Its English words are spaCy's.
    minhash.load_word_tokenizer = lambda language: BetweenSpaces()
    config = minhash.MinhashConfig(hash_config=HashConfig(hash_fc="xxhash", precision=64))
    step = minhash.MinhashDedupSignature(output_folder="/nonexistent", config=config)
    a, b = (part[0].tolist() for part in step.parameters)
    parameters = dict(bands=config.num_buckets, rows=config.hashes_per_bucket, words=config.n_grams, seed=config.seed, a=a, b=b)
    with open(Path(sys.argv[1]) / "dedup.jsonl", "w", newline="\n") as file:
        print(json.dumps(parameters), file=file)
        for text in texts():
            shingles = step.get_shingles(text)
            signature = sum(step.get_signature(shingles), []) if shingles.size else []
            line = dict(
                text=text, normal=simplify_text(text, config.norm_config), shingles=shingles[:, 0].tolist(), signature=signature
            )
            print(json.dumps(line), file=file)


main()
