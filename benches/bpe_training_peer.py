"""Trains a vocabulary with Hugging Face's tokenizers, as examples/train_speed.rs does with Convoy.

    bpe_training_peer.py FILE.jsonl SIZE [OUTPUT.json]

The field `text` of each line is a document. Reading is timed with the rest, in both; starting Python is not.
"""

import json
import sys
import time

from tokenizers import Tokenizer, models, pre_tokenizers, trainers


def main() -> None:
    path, size = sys.argv[1], int(sys.argv[2])
    started = time.perf_counter()
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    with open(path, encoding="utf-8") as lines:
        tokenizer.train_from_iterator((json.loads(line)["text"] for line in lines), trainer)
    print(json.dumps({"seconds": time.perf_counter() - started, "tokens": tokenizer.get_vocab_size()}))
    if sys.argv[3:]:
        tokenizer.save(sys.argv[3])


if __name__ == "__main__":
    main()
