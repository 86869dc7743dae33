"""Opens the tokenizer of a checkpoint's folder in Hugging Face transformers, and compares its ids with Convoy's.

    python tokenizer_files.py CHECKPOINT LAUNCHER TOKENIZER [--harness]

CHECKPOINT is the folder of a checkpoint, LAUNCHER Convoy's program, and TOKENIZER what the run's config has as data.tokenizer.
Needs Python 3.10 or later and `pip install transformers`. With --harness, lm-evaluation-harness's model class opens the folder,
too, which also needs `pip install torch==2.11.0 'transformers<5' lm-eval==0.4.13`. No network.

Texts are generated: words, numbers, contractions, white space of all kinds, characters of many scripts, and broken sequences of
those. Each must have equal ids in AutoTokenizer, fast and (with the pair of older files alone) slow, and in `launcher tokenizer
encode`, and each list of ids must give its text again.
"""

import json
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from transformers import AutoTokenizer

FILES = ("vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json")
END_OF_TEXT = "<|endoftext|>"
TEXTS, SEED = 2_000, 1
WORDS = ["the", "The", "crow", "don't", "we'LL", "they've", "I'm", "naïve", "漢字", "данные", "עברית", "हिन्दी", "한국어", "🦀", "👩‍🚀",
         "x\u0301", "3.14159", "१२३", "½", "https://example.org/a?b=c", "f(x)=x**2;", "\\n", "...", "—", "_", "#!", "\u00ad", "\ufeff", "A" * 40]
BETWEEN = ["", " ", " ", " ", "  ", "\n", "\n\n", "\t", " \n ", "\r\n", "\u00a0", "\u3000", "     "]


def generated():
    """Texts of up to 60 parts, an empty one first. None has a special token, which is ordinary text for `encode`."""
    numbers = random.Random(SEED)
    yield ""
    for _ in range(TEXTS):
        parts = (numbers.choice(WORDS) + numbers.choice(BETWEEN) for _ in range(numbers.randrange(1, 60)))
        yield numbers.choice(BETWEEN) + "".join(parts)


def encoded(launcher, tokenizer, texts, *options):
    lines = "".join(json.dumps(text) + "\n" for text in texts)
    command = [launcher, "tokenizer", "encode", "--jsonl", "--tokenizer", tokenizer, *options]
    done = subprocess.run(command, input=lines.encode(), stdout=subprocess.PIPE, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def openers(folder, scratch):
    """AutoTokenizer of the folder as it lies, and of the pair of older files, in Python where transformers still has that."""
    yield "AutoTokenizer", AutoTokenizer.from_pretrained(folder, local_files_only=True)
    for name in ("config.json", "vocab.json", "merges.txt", "tokenizer_config.json"):
        shutil.copy(Path(folder) / name, scratch)
    yield "AutoTokenizer, slow", AutoTokenizer.from_pretrained(scratch, local_files_only=True, use_fast=False)


def main():
    folder, launcher, source = [word for word in sys.argv[1:] if word != "--harness"]
    missing = [name for name in FILES if not (Path(folder) / name).is_file()]
    if missing:
        sys.exit(f"{folder} has no {', '.join(missing)}")
    context = json.loads((Path(folder) / "config.json").read_text())["n_positions"]
    texts = list(generated())
    expected = encoded(launcher, source, texts)
    special = f"{END_OF_TEXT}a b{END_OF_TEXT}"
    [with_special] = encoded(launcher, source, [special], "--special")
    with tempfile.TemporaryDirectory() as scratch:
        found = dict(openers(folder, scratch))
    if "--harness" in sys.argv:
        from lm_eval.models.huggingface import HFLM

        model = HFLM(pretrained=folder, device="cpu", dtype="float32", batch_size=1)
        assert model.prefix_token_id == with_special[0] and model.max_length == context, (model.prefix_token_id, model.max_length)
        found["lm-evaluation-harness"] = model.tokenizer
    for name, tokenizer in found.items():
        assert tokenizer.model_max_length == context, f"{name}: {tokenizer.model_max_length} tokens, expected {context}"
        for token in (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id):
            assert token == with_special[0], f"{name}: {token} for {END_OF_TEXT}, expected {with_special[0]}"
        # A text may have more tokens than the model reads, about which transformers warns.
        for text, ids in zip([*texts, special], [*expected, with_special], strict=True):
            theirs = tokenizer(text, verbose=False)["input_ids"]
            if theirs != ids:
                sys.exit(f"{name} encodes {text!r} to {theirs}, and Convoy to {ids}")
            if tokenizer.decode(ids, clean_up_tokenization_spaces=False) != text:
                sys.exit(f"{name} decodes {ids} to something else than {text!r}")
    tokens = sum(map(len, expected))
    print(f"{len(texts)} texts, {tokens} tokens: equal ids in {'; '.join(found)}")


if __name__ == "__main__":
    main()
