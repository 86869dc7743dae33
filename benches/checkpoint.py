"""Saving and restoring the state of a GPT-2 with its optimizer, on two ranks: beside torch.distributed.checkpoint, which verifies
nothing, and beside as many bytes written plainly and made durable by fsync; the same to an S3 server on this machine, where the peer goes
by AWS's own connector; and what saving costs those who train.

The peers restore from the page cache, to which they wrote; Convoy writes past it, so that its first restore reads from the disk, and
those after it, which make the median, from the page cache too."""

import functools
import json
import os
import shutil
import subprocess
from pathlib import Path

from harness import OURS, RELEASE, ROOT, SCRATCH, Bench, Command, Output, mpirun, only_row, python_with
from stores import s3_server

FOLDER = SCRATCH / "checkpoint"
RANKS, SAVES = 2, 3
# As fast as one disk was past the page cache, with both ranks writing.
SLOW_BYTES_PER_S = 310_000_000
STEPS = 45
BUILD = ["--workspace", "--bins", "--examples"]
DCP, DCP_ASYNC, PLAIN = "DCP save", "DCP async_save", "write and fsync"
DCP_S3, DCP_S3_LOAD = "DCP, AWS's connector", "DCP load, AWS's connector"
DCP_LOAD, SLICE, NO_SAVES = "DCP load", "the rank's slice", "no saves"
# Where the peers hold the state, and a copy of it, beside the page cache that it is restored from.
MEMORY_GIB = {"gpt2-124m": 6, "gpt2-774m": 44}

CONFIG = """
[run]
output = "{output}"
[model]
preset = "{model}"
[data]
train = [{{ url = "{shards}" }}]
[batch]
global_sequences = 8
micro_sequences = 4
sequence_tokens = 64
[optimizer]
peak_learning_rate = 1e-4
warmup_steps = 0
[train]
max_steps = {steps}
[parallel]
zero = 1
[launch]
threads_per_rank = 1
"""


def config(model: str, output: str) -> Path:
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{model}.toml"
    path.write_text(CONFIG.format(model=model, output=output, steps=STEPS, shards=FOLDER / "shards"))
    return path


def fresh() -> None:
    for folder in ("run", "peer", "store/store/run", "store/store/peer"):
        shutil.rmtree(FOLDER / folder, ignore_errors=True)


def convoy(model: str, key: str, environment: dict[str, str] | None = None) -> Command:
    output = "s3://store/run" if environment else str(FOLDER / "run")
    worker = [RELEASE / "worker", "bench-checkpoint", "--config", config(model, output), "--saves", str(SAVES)]
    return Command([*mpirun(RANKS), *worker], only_row(OURS, key), before=fresh, environment=environment or {})


def peer(mode: str, model: str, name: str, key: str, environment: dict[str, str] | None = None) -> Command:
    names = ["torch", "numpy", *(["s3torchconnector", "tenacity"] if environment else [])]
    python = python_with(*names, environment="mosaicml")  # PyTorch takes gigabytes, so it is there once
    run = [python, "-m", "torch.distributed.run", "--nproc-per-node", str(RANKS)]
    folder = FOLDER / ("store/store/peer" if environment else "peer")
    script = [ROOT / "benches" / "checkpoint_peer.py", mode, model, folder, str(SAVES)]
    return Command([*run, *script], only_row(name, key), before=fresh, environment=environment or {})


@functools.cache
def slow_direct() -> dict[str, str]:
    """The environment of a program for which the disk is slow past the page cache; the peers go through it."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    library = FOLDER / "slow_direct.so"
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", library, ROOT / "benches" / "slow_direct.c", "-ldl"], check=True)
    return {"LD_PRELOAD": str(library), "SLOW_DIRECT_BYTES_PER_S": str(SLOW_BYTES_PER_S // RANKS)}


def lacks_memory(model: str) -> str:
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 30
    return "" if there >= MEMORY_GIB[model] else f"it takes {MEMORY_GIB[model]} GiB of memory, and there are {there}"


def on_disk(model: str) -> list[Bench]:
    short = model.removeprefix("gpt2-")

    def bench(what: str, unit: str, key: str, peers: dict[str, tuple[str, float]], disk=lambda: {}) -> Bench:
        def commands() -> list[Command]:
            ours = convoy(model, key)
            ours.environment = disk()
            return [ours, *(peer(mode, model, name, key) for name, (mode, _) in peers.items())]

        aims = {name: aim for name, (_, aim) in peers.items()}
        skip = lacks_memory(model)
        return Bench(f"checkpoint-{what}-{short}", unit, commands, aims, BUILD, smaller_is_better=True, skip=skip)

    return [
        bench("save", "s", "save_seconds", {DCP: ("save", 1.0), PLAIN: ("plain", 0.85)}),
        bench("save-slow-direct", "s", "save_seconds", {DCP: ("save", 1.0), PLAIN: ("plain", 0.85)}, slow_direct),
        bench("stall", "ms", "stall_ms", {DCP_ASYNC: ("async", 2.0)}),
        bench("restore", "s", "restore_seconds", {DCP_LOAD: ("save", 1.2)}),
    ]


@functools.cache
def store() -> dict[str, str]:
    """The environment of clients of an S3 server over a folder of this disk."""
    return s3_server(FOLDER / "store")


def on_s3(model: str) -> list[Bench]:
    short = model.removeprefix("gpt2-")

    def bench(what: str, key: str, name: str, aim: float) -> Bench:
        def commands() -> list[Command]:
            return [convoy(model, key, store()), peer("s3", model, name, key, store())]

        return Bench(f"checkpoint-{what}-s3-{short}", "s", commands, {name: aim}, BUILD, smaller_is_better=True)

    return [bench("save", "save_seconds", DCP_S3, 1.0), bench("restore", "restore_seconds", DCP_S3_LOAD, 1.2)]


def memory(model: str) -> Bench:
    """The most memory that a rank takes beside its state, as a multiple of the bytes that it saves."""

    def figures(output: Output) -> dict[str, float]:
        return {OURS: output.rows[-1]["extra_memory"], SLICE: 1.0}

    def commands() -> list[Command]:
        command = convoy(model, "extra_memory")
        command.figures = figures
        return [command]

    return Bench(f"checkpoint-memory-{model.removeprefix('gpt2-')}", "x its slice", commands, {SLICE: 1 / 1.1}, BUILD,
                 smaller_is_better=True, rounds=1)


def shards() -> None:
    """Ids at random, more than the steps take."""
    if not (FOLDER / "shards" / "index.json").exists():
        argv = [RELEASE / "examples" / "token_shards", FOLDER / "shards", "1", "1000000"]
        subprocess.run(argv, check=True)


def tokens_per_second(_: Output) -> float:
    """Of the steps after the first, in which memory is found, and of the copies between them; the last save comes after all."""
    records = [
        json.loads(line)
        for part in sorted((FOLDER / "run" / "metrics").glob("*/*.jsonl"))
        for line in part.read_text().splitlines()
    ]
    steps = [record for record in records if "step_ms" in record]
    counted = [record for record in records if 1 < record["step"] <= STEPS]
    took_ms = sum(record.get("step_ms", 0) for record in counted)
    took_ms += sum(record.get("save_stall_ms", 0) for record in counted if record["step"] < STEPS)
    return (steps[-1]["tokens"] - steps[0]["tokens"]) / took_ms * 1e3


def cost_in_training(model: str) -> Bench:
    """A save every 20 steps beside none."""

    def train(name: str, every_steps: int) -> Command:
        argv = [RELEASE / "launcher", "train", "--config", config(model, str(FOLDER / "run")), "--ranks", str(RANKS)]
        sets = ["--set", f"checkpoint.every_steps={every_steps}", "--set", "checkpoint.keep_last=1"]
        return Command([*argv, *sets], lambda output: {name: tokens_per_second(output)}, before=fresh, prints=False)

    def commands() -> list[Command]:
        shards()
        return [train(OURS, 20), train(NO_SAVES, 0)]

    return Bench(f"checkpoint-cost-{model.removeprefix('gpt2-')}", "tokens/s", commands, {NO_SAVES: 0.97}, BUILD, rounds=1)


def benches() -> list[Bench]:
    return [*on_disk("gpt2-124m"), *on_s3("gpt2-124m"), *on_disk("gpt2-774m"), memory("gpt2-124m"), cost_in_training("gpt2-124m")]
