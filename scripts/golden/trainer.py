"""Makes tests/golden/trainer.json with Hugging Face's byte-level BPE trainer.

    python trainer.py CORPORA OUTPUT

CORPORA is a folder of corpora, OUTPUT is tests/golden. Needs Python 3.9 or later and `pip install tokenizers==0.23.3`.

Each case is some documents, the size of the vocabulary, and the merges. In the generated ones most counts are small, so
nearly every merge is decided by how ties are broken: by the lower left id, then the lower right id. Of the corpora there is
only a hash: SHA-256 over the merges as lines of merges.txt.
"""

import hashlib
import json
import random
import sys
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from corpora import corpora

# More than 10 MB of text that needs no command to unpack: web text, reviews, news and chat, Wikipedia, plays.
NAMES = ("openwebtext1000/openwebtext", "nltk_text/", "wikitext2/wiki", "enwiki_sample/enwiki", "tinyshakespeare/input")
CORPORA_SIZE = 32_000
FEW_LETTERS = ["ab", "abc ", "aab \n", "a1b2 ", "ab'st ", "aé漢🙂 "]


def merges_of(documents, size):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<|endoftext|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(documents, trainer)
    return [" ".join(merge) for merge in json.loads(tokenizer.to_str())["model"]["merges"]]


def generated():
    """(documents, size) of texts with many ties."""
    for seed, letters in enumerate(FEW_LETTERS):
        draw = random.Random(seed)
        yield ["".join(draw.choices(letters, k=draw.randrange(200))) for _ in range(10)], 1000
    # Made-up words, the n-th of which comes up about 1/n as often as the first.
    draw = random.Random(7)
    syllables = [c + v for c in "bdfgklmnprstvz" for v in "aeiou"]
    words = ["".join(draw.choices(syllables, k=draw.randrange(1, 5))) for _ in range(4000)]
    weights = [1 / n for n in range(1, len(words) + 1)]
    yield [" ".join(draw.choices(words, weights, k=500)) + "." for _ in range(20)], 4000


def corpora_row(folder):
    documents = [d for name, found in corpora(folder) if name.startswith(NAMES) for d in found]
    merges = merges_of((d.decode(errors="replace") for d in documents), CORPORA_SIZE)
    lines = "".join(f"{merge}\n" for merge in merges)
    return {
        "names": NAMES,
        "bytes": sum(map(len, documents)),
        "size": CORPORA_SIZE,
        "merges": len(merges),
        "sha256": hashlib.sha256(lines.encode()).hexdigest(),
    }


def main():
    folder, output = sys.argv[1], Path(sys.argv[2])
    cases = [{"documents": d, "size": size, "merges": merges_of(d, size)} for d, size in generated()]
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
    corpora_line = json.dumps(corpora_row(folder))
    text = f'{{"generated": [\n{lines}\n],\n"corpora": {corpora_line}}}\n'
    (output / "trainer.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
