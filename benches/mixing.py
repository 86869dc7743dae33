"""How well sequences of one place in the data are mixed, beside the shuffle of mosaicml-streaming that its makers recommend,
py1e, for the same gigabyte of buffer: Convoy's 64 windows of 16 MiB, and shuffle blocks of as many bytes over all
canonical nodes.

The figure is how many pairs of a global batch of 512 sequences come from one extent of 16 MiB, on average over an epoch of
4 GiB of tokens, which py1e gets as shards of 16 MiB. Drawing at random would give 511. Nothing is timed.

    mixing.py convoy          its order as scripts/golden/order.py lays it out, which the tests hold Rust to
    mixing.py py1e NODES      with so many canonical nodes
"""

import json
import sys
from collections import Counter
from collections.abc import Iterable

from harness import OURS, ROOT, Bench, Command, only_row, python_with

SEQUENCE_BYTES, EXTENT_BYTES, BATCH, SEED = 2048, 16 << 20, 512, 1
EXTENT = EXTENT_BYTES // SEQUENCE_BYTES
SEQUENCES = (4 << 30) // SEQUENCE_BYTES
BUFFER = (1 << 30) // SEQUENCE_BYTES


def convoy() -> Iterable[int]:
    """The position of each training sequence of an epoch."""
    sys.path.append(str(ROOT / "scripts" / "golden"))
    import order

    return (position for _, position in order.places(SEED, [(SEQUENCES, SEQUENCE_BYTES, 1.0)], BATCH, SEQUENCES))


def py1e(nodes: int) -> Iterable[int]:
    """The same of one rank that takes global batches; other ranks share the same ones."""
    import numpy as np
    from streaming.base.partition import get_partitions
    from streaming.base.shuffle import get_shuffle

    shards = np.full(SEQUENCES // EXTENT, EXTENT)
    shuffled = get_shuffle("py1e", shards, nodes, SEED, 0, BUFFER // nodes)
    batches = get_partitions("orig", SEQUENCES, nodes, 1, 1, 1, BATCH)
    return shuffled[batches.reshape(-1)].tolist()


def pairs_per_batch(positions: Iterable[int]) -> float:
    extents = [position // EXTENT for position in positions]
    assert len(extents) == SEQUENCES, f"{len(extents)} of {SEQUENCES}"
    batches = (Counter(extents[start : start + BATCH]) for start in range(0, SEQUENCES, BATCH))
    pairs = sum(count * (count - 1) // 2 for batch in batches for count in batch.values())
    return pairs / (SEQUENCES // BATCH)


def commands() -> list[Command]:
    python = python_with("mosaicml-streaming", "torch", environment="mosaicml")
    script = ROOT / "benches" / "mixing.py"
    peer = lambda nodes: Command([python, script, "py1e", str(nodes)], only_row(name(nodes), "pairs"))
    return [Command([sys.executable, script, "convoy"], only_row(OURS, "pairs")), *map(peer, NODES)]


def name(nodes: int) -> str:
    return f"py1e, {nodes} canonical node{'s'[: nodes > 1]}"


NODES = (1, 8)


def benches() -> list[Bench]:
    aims = {name(nodes): 1.0 for nodes in NODES}
    return [Bench("stream-mixing", "pairs/batch", commands, aims, [], smaller_is_better=True, rounds=1)]


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["convoy"]:
            print(json.dumps({"pairs": pairs_per_batch(convoy())}))
        case ["py1e", nodes]:
            print(json.dumps({"pairs": pairs_per_batch(py1e(int(nodes)))}))
        case _:
            sys.exit(__doc__)
