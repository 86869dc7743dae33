"""The token stream with nobody who trains on it: an epoch of 101M tokens in shuffled order, beside mosaicml-streaming and a
memory map, which verify nothing.

All read the same sequences of 1,025 tokens and sum up their ids; the sums must be equal. A rank of Convoy has threads that
read beside the one that takes the tokens, and so has one of mosaicml-streaming; on two cores neither is held to one."""

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

from harness import OURS, RELEASE, ROOT, SCRATCH, Bench, Command, Output, mpirun, python_with
from stores import s3_server

T, BATCH = 1024, 16
SHARDS, SEQUENCES_PER_SHARD = 8, 12_288
TOKENS = SHARDS * SEQUENCES_PER_SHARD * T
# A whole number of global batches, so that an epoch is all that a run takes.
GLOBAL_BATCH = 512
FOLDER = SCRATCH / "stream"
BUILD = ["--workspace", "--bins", "--examples"]
MOSAICML, MEMORY_MAP = "mosaicml-streaming", "memory map"
# No peer, but what is enough for any training: as a peer that always has the same figure.
ENOUGH = "100 M tokens/s"


@cache
def shards() -> Path:
    """Token shards of ids at random, put through the store."""
    folder = FOLDER / "store" / "shards"
    if not (folder / "index.json").exists():
        tokens = str(SEQUENCES_PER_SHARD * T + 1)
        argv = [RELEASE / "examples" / "token_shards", "s3://store/shards", str(SHARDS), tokens]
        subprocess.run(argv, check=True, env=os.environ | store())
    return folder


@cache
def mds() -> Path:
    """The same as mosaicml-streaming has them."""
    folder = FOLDER / "store" / "mds"
    if not (folder / "index.json").exists():
        argv = [*peer(), "write", shards(), str(T), "s3://store/mds"]
        subprocess.run(argv, check=True, env=os.environ | store())
    return folder


def peer() -> list[str | Path]:
    return [python_with("mosaicml-streaming", "torch", environment="mosaicml"), ROOT / "benches" / "stream_peer.py"]


@cache
def memory_map() -> Path:
    program = FOLDER / "memory_map"
    FOLDER.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cc", "-O3", "-march=native", "-o", program, ROOT / "benches" / "memory_map.c"], check=True)
    return program


@cache
def store() -> dict[str, str]:
    return s3_server(FOLDER)


def config(url: str) -> Path:
    path = FOLDER / "config.toml"
    path.write_text(
        f'[run]\noutput = "memory://bench"\n[model]\npreset = "gpt2-124m"\n'
        f'[data]\ntrain = [{{ url = "{url}" }}]\ncache_dir = "{FOLDER / "node-cache"}"\n'
        f"[batch]\nglobal_sequences = {GLOBAL_BATCH}\nmicro_sequences = {BATCH}\nsequence_tokens = {T}\n"
        "[optimizer]\npeak_learning_rate = 1e-4\nwarmup_steps = 0\n[train]\nmax_steps = 1000000\n"
    )
    return path


class Epoch:
    """What all runs of one benchmark must agree on."""

    def __init__(self) -> None:
        self.seen: set[tuple[int, int]] = set()

    def of(self, name: str):
        def figures(output: Output) -> dict[str, float | None]:
            row = output.rows[-1]
            self.seen.add((row["tokens"], row["checksum"]))
            assert self.seen == {(TOKENS, row["checksum"])}, f"{name} has read other tokens: {self.seen}"
            return {name: row["tokens_per_second"] / 1e6}

        return figures


def ours(ranks: int, url: str, epoch: Epoch, environment: dict[str, str]) -> Command:
    arguments = ["bench-stream", "--config", config(url), "--tokens", str(TOKENS // ranks)]
    start = mpirun(ranks) if ranks > 1 else []
    fresh = lambda: shutil.rmtree(FOLDER / "node-cache", ignore_errors=True)
    figures = epoch.of(OURS)
    with_aim = lambda output: figures(output) | {ENOUGH: 100.0}
    return Command([*start, RELEASE / "worker", *arguments], with_aim, before=fresh, environment=environment)


def on_ranks(ranks: int, *command) -> list[str | Path]:
    return [sys.executable, ROOT / "benches" / "ranks.py", str(ranks), *command]


def mosaicml(ranks: int, source: str, local: Path, epoch: Epoch, environment: dict[str, str]) -> Command:
    # Fastest of 0, 1 and 2 workers on two cores: one rank leaves a core to a second worker, two ranks leave none.
    workers = {1: "2", 2: "0"}[ranks]
    argv = on_ranks(ranks, *peer(), "read", source, local, str(BATCH), workers)
    fresh = (lambda: None) if str(local) == source else (lambda: shutil.rmtree(local, ignore_errors=True))
    return Command(argv, epoch.of(MOSAICML), before=fresh, environment=environment)


def from_files(ranks: int) -> Bench:
    def commands() -> list[Command]:
        epoch = Epoch()
        mapped = [memory_map(), str(T), "{rank}", "{ranks}", *sorted(shards().glob("*.bin"))]
        return [
            ours(ranks, str(shards()), epoch, {}),
            Command(on_ranks(ranks, *mapped), epoch.of(MEMORY_MAP)),
            mosaicml(ranks, str(mds()), mds(), epoch, {}),
        ]

    aims = {MOSAICML: 5.0, MEMORY_MAP: 0.2, ENOUGH: 1.0}
    return Bench(f"stream-files-{ranks}", "M tokens/s", commands, aims, BUILD)


def from_s3(ranks: int) -> Bench:
    def commands() -> list[Command]:
        epoch = Epoch()
        shards(), mds()
        return [
            ours(ranks, "s3://store/shards", epoch, store()),
            mosaicml(ranks, "s3://store/mds", FOLDER / "mds-cache", epoch, store()),
        ]

    return Bench(f"stream-s3-{ranks}", "M tokens/s", commands, {MOSAICML: 5.0}, BUILD)


def benches() -> list[Bench]:
    return [from_files(1), from_files(2), from_s3(1), from_s3(2)]
