"""Encoding speed of tiktoken and Hugging Face's tokenizers.

    encode_peers.py FILE.jsonl THREADS TOKENIZER_JSON

The field `text` of each line is a document. One JSON line for each, with the best of its rounds, as examples/encode_speed.rs
has them. tokenizers takes its threads from RAYON_NUM_THREADS.
"""

import json
import sys
import time

import tiktoken
import tokenizers

ROUNDS = 2
GPT2_SPLIT = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"""


def bytes_of_chars() -> dict[str, int]:
    """The bytes that the characters of a vocabulary's file stand for, as in OpenAI's encoder.py."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(others)}


def tiktoken_of(path: str) -> tiktoken.Encoding:
    vocabulary = json.load(open(path, encoding="utf-8"))["model"]["vocab"]
    special = {"<|endoftext|>": vocabulary.pop("<|endoftext|>")}
    byte = bytes_of_chars()
    ranks = {bytes(byte[c] for c in token): rank for token, rank in vocabulary.items()}
    return tiktoken.Encoding("gpt2", pat_str=GPT2_SPLIT, mergeable_ranks=ranks, special_tokens=special)


def main() -> None:
    path, threads, vocabulary = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    documents = [json.loads(line)["text"] for line in open(path, encoding="utf-8")]
    size = sum(len(document.encode()) for document in documents)
    openai, hugging_face = tiktoken_of(vocabulary), tokenizers.Tokenizer.from_file(vocabulary)

    def with_tiktoken() -> int:
        if threads == 1:
            return sum(len(openai.encode_ordinary(document)) for document in documents)
        return sum(map(len, openai.encode_ordinary_batch(documents, num_threads=threads)))

    def with_tokenizers() -> int:
        # The one that leaves out where tokens are in the text.
        return sum(len(encoding) for encoding in hugging_face.encode_batch_fast(documents, add_special_tokens=False))

    for name, encode in [("tiktoken", with_tiktoken), ("tokenizers", with_tokenizers)]:
        best, tokens = 0.0, None
        try:
            for _ in range(ROUNDS):
                started = time.perf_counter()
                tokens = encode()
                best = max(best, size / 1e6 / (time.perf_counter() - started))
        except BaseException as error:  # a panic in Rust is none of Exception
            print(f"{name}: {error}", file=sys.stderr)
            tokens = None
        print(json.dumps({"implementation": name, "mb_per_second": best if tokens else None, "tokens": tokens}), flush=True)


if __name__ == "__main__":
    main()
