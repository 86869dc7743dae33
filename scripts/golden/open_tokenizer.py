"""Opens a folder of Convoy's tokenizer files in Hugging Face's libraries and compares ids.

    python open_tokenizer.py FOLDER < TEXTS.jsonl

Each line of TEXTS.jsonl is {"text": ..., "ids": [...]}. Needs `pip install tokenizers transformers`. `cargo test -p common` runs
it where the interpreter that CONVOY_PYTHON names (default: python3) has both.
"""

import json
import sys

from tokenizers import Tokenizer
from transformers import AutoTokenizer, GPT2TokenizerFast


def main(folder):
    slow = Tokenizer.from_file(f"{folder}/tokenizer.json")
    fast = GPT2TokenizerFast.from_pretrained(folder, local_files_only=True)
    auto = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    openers = {
        "tokenizers": lambda text: slow.encode(text).ids,
        "GPT2TokenizerFast": lambda text: fast(text)["input_ids"],
        "AutoTokenizer": lambda text: auto(text)["input_ids"],
    }
    texts = [json.loads(line) for line in sys.stdin]
    for row in texts:
        for name, encode in openers.items():
            ids = encode(row["text"])
            if ids != row["ids"]:
                sys.exit(f"{name} encodes {row['text']!r} to {ids}, and Convoy to {row['ids']}")
        if auto.decode(row["ids"], clean_up_tokenization_spaces=False) != row["text"]:
            sys.exit(f"AutoTokenizer decodes {row['ids']} to something else than {row['text']!r}")
    print(f"{len(texts)} texts, {slow.get_vocab_size()} tokens, end of text {auto.eos_token_id}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
