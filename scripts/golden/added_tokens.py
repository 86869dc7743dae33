"""Makes tests/golden/added_tokens.json with Hugging Face's `tokenizers`: ids of texts in which added tokens are found.

    python added_tokens.py OUTPUT

OUTPUT is tests/golden. Needs Python 3.9 or later and `pip install tokenizers==0.23.3`.

`merges` are those of one byte-level BPE vocabulary: the 256 bytes in the order of their characters, then what the merges make.
Each case adds tokens to it; of each text there are the ids where special tokens are text, as in documents, and where they
are not.
"""

import json
import random
import sys
from pathlib import Path

from tokenizers import Tokenizer, pre_tokenizers

SPACE = "\u0120"
MERGES = [
    [SPACE, SPACE], [SPACE * 2, SPACE * 2], [SPACE * 4, SPACE * 4], ["r", "e"], ["t", "u"], ["re", "tu"], ["r", "n"],
    ["retu", "rn"], [SPACE, "retu"], ["e", "n"], ["en", "d"], ["a", "b"], ["ab", "ab"], ["\u010a", "\u010a"],
    [SPACE, "a"], [SPACE + "a", "b"], ["n", "d"], ["<", "|"], ["|", ">"],
]  # fmt: skip
CODE = "def f(x):\n    if x:\n        return  1\n\t\treturn   x\n\n\n" + " " * 40 + "end\n"
PIECES = [" ", "  ", "    ", "\n", "\t", "a", "b", "ab", "abab", "end", "_", "'s", "return", "<|endoftext|>", "<|end|>",
          "<|", "|>", "é", "漢", "\u0301", "\u00a0", "1", "-", "🦀"]  # fmt: skip


def token(content, **flags):
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": True, "special": False, **flags}
    return {"content": content, **flags}


END_OF_TEXT = token("<|endoftext|>", special=True, normalized=False)
CASES = {
    "runs of spaces, as CodeGen has them": [END_OF_TEXT]
    + [token(" " * n) for n in range(31, 1, -1)]
    + [token("\t" * n) for n in range(9, 1, -1)],
    "before and after normalized": [END_OF_TEXT, token("ab", normalized=False), token("abab"), token(" ab"), token("b")],
    "in special tokens": [END_OF_TEXT, token("end"), token("<|end|>", special=True), token("|>", normalized=False)],
    "words of their own": [END_OF_TEXT, token("ab", single_word=True), token("end", single_word=True, normalized=False)],
    "special words of their own": [END_OF_TEXT, token("a1", single_word=True, special=True), token("1"), token("en")],
    "single bytes": [END_OF_TEXT, token("a"), token(" "), token("\n", normalized=False), token("漢")],
    "an ordinary token": [END_OF_TEXT, token("return"), token("abab", normalized=False), token("\u0301")],
}


def vocabulary():
    characters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = characters + ["".join(merge) for merge in MERGES]
    return {text: i for i, text in enumerate(tokens)}


def tokenizer_json(added):
    ids = vocabulary()
    numbered, next_id = [], len(ids)
    for entry in added:
        known = ids.get(entry["content"])
        numbered.append({"id": next_id if known is None else known, **entry})
        next_id += known is None
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    model = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
             "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
             "vocab": ids, "merges": MERGES}  # fmt: skip
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": numbered, "normalizer": None,
            "pre_tokenizer": byte_level, "post_processor": None, "decoder": byte_level, "model": model}  # fmt: skip


def texts(seed):
    draw = random.Random(seed)
    yield CODE
    yield "<|endoftext|> an end,end_end end<|end|>abab ab"
    for _ in range(60):
        yield "".join(draw.choices(PIECES, k=draw.randrange(1, 16)))


def row(tokenizer, text):
    row = {"text": text}
    for name, are_text in (("ids", True), ("with_special", False)):
        tokenizer.encode_special_tokens = are_text
        row[name] = tokenizer.encode(text).ids
    return row


def main():
    cases = []
    for seed, (name, added) in enumerate(CASES.items()):
        file = tokenizer_json(added)
        tokenizer = Tokenizer.from_str(json.dumps(file))
        rows = [row(tokenizer, text) for text in texts(seed)]
        cases.append({"name": name, "added_tokens": file["added_tokens"], "texts": rows})
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
    content = f'{{"merges": {json.dumps(MERGES)},\n"cases": [\n{lines}\n]}}\n'
    (Path(sys.argv[1]) / "added_tokens.json").write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
