"""Makes tests/golden/tokenizer.json and tests/golden/corpora_tokens.json with OpenAI's tiktoken.

    python tokenizer.py R50K_BASE CORPORA OUTPUT

R50K_BASE is the vocabulary file r50k_base.tiktoken, CORPORA a folder of corpora, OUTPUT is tests/golden.
Needs Python 3.9 or later and `pip install tiktoken`. tiktoken is given the vocabulary as a file, since by itself it
would fetch it.
"""

import base64
import hashlib
import json
import sys
import unicodedata
from pathlib import Path

import tiktoken

from corpora import corpora

GPT2_SPLIT = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"""

END_OF_TEXT = 50256

HAND_PICKED = [
    "",
    " ",
    "Hello, world!",
    "It's what we've, they'll, I'd, you're, I'm, don't; IT'S, WE'LL, ’s 's 'x '",
    "a  b   c    d \n e\n\nf\n\n\ng\t\th \t i\r\nj\r\n\r\nk   ",
    "   leading and trailing   ",
    "\u00a0\u2003\u3000x \u00a0 y\u2028z\u2029\u0085w\x0b\x0c\x1c\x1d\x1e\x1f!",
    "0 1 22 333 4444 1,234,567.89 3.14e-10 ½ ²³ Ⅷ ٣ १२३ 𝟘𝟙",
    "\x00\x01\x02 \x07\x08 \x1b[0m \x7f \u0080\u009f \ufeff \ufffd \U0010ffff",
    "emoji 🙂🙃 👩‍👩‍👧‍👦 🏳️‍🌈 🇩🇪 👍🏽 e\u0301 n\u0303 \u202eright-to-left\u202c",
    "日本語のテキスト、中文文本。한국어 텍스트 ﾊﾝｶｸ",
    "Привет мир. Γειά σου Κόσμε. שלום עולם مرحبا بالعالم नमस्ते दुनिया สวัสดีชาวโลก",
    "<|endoftext|> a<|endoftext|>b <|endoftext",
    "def f(x):\n    return x  # 4 spaces\n\tif x:\n\t\tpass\n",
    "http://example.com/a?b=c&d=%20#e  user@example.com  ---====****____....!!!!",
    "ÂÃÂÃÂÃ ſ ı İ ß ǅ ʰ ª º ﬁ",
    "antidisestablishmentarianism supercalifragilisticexpialidocious",
    "a" * 300,
    " " * 300 + "x",
    "\n" * 300,
    "ab" * 200 + "." * 200 + "7" * 200,
]


def load(path):
    """tiktoken's `gpt2` from its vocabulary file."""
    lines = (line.split() for line in Path(path).read_bytes().splitlines() if line)
    ranks = {base64.b64decode(token): int(rank) for token, rank in lines}
    return tiktoken.Encoding(
        "gpt2", pat_str=GPT2_SPLIT, mergeable_ranks=ranks, special_tokens={"<|endoftext|>": END_OF_TEXT}
    )


def category_samples():
    """Eight code points of every general category, between letters, digits, spaces and themselves."""
    members = {}
    for code in range(0x110000):
        members.setdefault(unicodedata.category(chr(code)), []).append(chr(code))
    for category, characters in sorted(members.items()):
        # Surrogates are no text, and what is not assigned today may be tomorrow.
        if category not in ("Cs", "Cn"):
            step = max(1, len(characters) // 8)
            for c in characters[::step][:8]:
                yield f"a{c}b 1{c}2 {c}{c} {c} x  {c}\n{c}!{c}'s{c}"


def sha256_of_ids(ids):
    return hashlib.sha256(b"".join(i.to_bytes(2, "little") for i in ids)).hexdigest()


def corpus_row(encoding, name, documents):
    """Several documents are each preceded by an end-of-text token, a single one is not."""
    ids = []
    for document in documents:
        ids += [END_OF_TEXT] if len(documents) > 1 else []
        ids += encoding.encode_ordinary(document.decode("utf-8", errors="replace"))
    return {"name": name, "documents": len(documents), "tokens": len(ids), "sha256": sha256_of_ids(ids)}


def write(path, rows):
    """One row a line."""
    path.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")


def main():
    vocabulary, folder, output = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    encoding = load(vocabulary)
    texts = HAND_PICKED + list(category_samples())
    write(output / "tokenizer.json", [{"text": t, "ids": encoding.encode_ordinary(t)} for t in texts])
    write(output / "corpora_tokens.json", [corpus_row(encoding, *corpus) for corpus in corpora(folder)])


if __name__ == "__main__":
    main()
