"""Streaming with mosaicml-streaming: samples of T+1 u16 tokens in MDS shards, shuffled by py1e.

    stream_peer.py write SHARDS SEQUENCE_TOKENS OUTPUT     the sequences of token shards, as MDS
    stream_peer.py read FOLDER_OR_URL LOCAL BATCH WORKERS  one epoch, of this rank

A rank is told by RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, as under torchrun. A batch becomes one tensor of int64, [B, T+1].
With 0 WORKERS the process that takes the batches makes them. Prints tokens, seconds and the sum of the ids as JSON: from
the opened data set to the last token.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from streaming import MDSWriter, StreamingDataset
from torch.utils.data import DataLoader

HEADER_BYTES = 1024
CANONICAL_NODES = 1


def write(shards: str, sequence_tokens: int, output: str) -> None:
    row = sequence_tokens + 1
    with MDSWriter(out=output, columns={"tokens": f"ndarray:uint16:{row}"}) as writer:
        for path in sorted(Path(shards).glob("*.bin")):
            tokens = np.memmap(path, dtype=np.uint16, mode="r", offset=HEADER_BYTES)
            for start in range(0, len(tokens) - sequence_tokens, sequence_tokens):
                writer.write({"tokens": np.array(tokens[start : start + row])})


def stacked(samples: list[dict]) -> torch.Tensor:
    return torch.from_numpy(np.stack([sample["tokens"] for sample in samples]).astype(np.int64))


def read(source: str, local: str, batch: int, workers: int) -> None:
    places = {"local": source} if local == source else {"remote": source, "local": local}
    data = StreamingDataset(
        **places, shuffle=True, shuffle_algo="py1e", shuffle_seed=1, batch_size=batch, num_canonical_nodes=CANONICAL_NODES
    )
    started = time.perf_counter()
    tokens = checksum = 0
    for rows in DataLoader(data, batch_size=batch, num_workers=workers, collate_fn=stacked):
        checksum += int(rows.sum())
        tokens += rows.shape[0] * (rows.shape[1] - 1)
    seconds = time.perf_counter() - started
    print(json.dumps({"tokens": tokens, "seconds": seconds, "checksum": checksum}), flush=True)


def main() -> None:
    torch.set_num_threads(1)
    match sys.argv[1:]:
        case ["write", shards, sequence_tokens, output]:
            write(shards, int(sequence_tokens), output)
        case ["read", source, local, batch, workers]:
            read(source, local, int(batch), int(workers))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
