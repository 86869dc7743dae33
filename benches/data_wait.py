"""How long training waits for data, in per cent of the time of its steps, on a store of 50 ms latency and 20 MB/s in all.

The model is the smallest that does something, on bytes, so that its steps consume as many tokens as two cores can train on.
Its data, 1.5 GiB, is more than the order of sequences has in its windows at any time. All steps after the first are counted."""

import json
import os
import shutil
import subprocess

from harness import OURS, RELEASE, SCRATCH, Bench, Command, Output
from stores import s3_server

FOLDER = SCRATCH / "data-wait"
SHARDS, TOKENS = 24, 32 << 20
SHAPING = "latency_ms=50,bytes_per_second=20000000"
# No peer, but the aim, as a peer that always has the same figure.
ENOUGH = "1 %"
STEPS = 12

CONFIG = f"""
[run]
output = "{FOLDER / "run"}"
[model]
layers = 1
width = 8
heads = 1
context_tokens = 1024
vocabulary = 257
[data]
tokenizer = "{FOLDER / "tokenizer"}"
train = [{{ url = "s3://store/shards" }}]
cache_dir = "{FOLDER / "node-cache"}"
[batch]
global_sequences = 256
micro_sequences = 16
sequence_tokens = 1024
[optimizer]
peak_learning_rate = 1e-3
warmup_steps = 0
[train]
max_steps = {STEPS}
"""


def prepared(environment: dict[str, str]) -> None:
    """A tokenizer of bytes, and shards of its ids at random in the store."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "config.toml").write_text(CONFIG)
    if (FOLDER / "store" / "shards" / "index.json").exists():
        return
    tokenizer = FOLDER / "tokenizer"
    text = FOLDER / "text.txt"
    text.write_text("Nothing is learnt from it: 256 bytes and the end of a text are 257 tokens.")
    argv = [RELEASE / "launcher", "tokenizer", "train", "--vocab-size", "257", "--output", tokenizer, text]
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    argv = [RELEASE / "examples" / "token_shards", "s3://store/shards", str(SHARDS), str(TOKENS), tokenizer]
    subprocess.run(argv, check=True, env=os.environ | environment)


def fresh() -> None:
    for folder in ("run", "node-cache"):
        shutil.rmtree(FOLDER / folder, ignore_errors=True)


def waited(_: Output) -> dict[str, float]:
    records = [
        json.loads(line)
        for part in sorted((FOLDER / "run" / "metrics").glob("*/*.jsonl"))
        for line in part.read_text().splitlines()
    ]
    steps = [record for record in records if "step_ms" in record and record["step"] > 1]
    assert len(steps) == STEPS - 1, f"{len(steps)} records of {STEPS - 1} steps"
    total = lambda key: sum(step[key] for step in steps)
    return {OURS: 100 * total("data_wait_ms") / total("step_ms"), ENOUGH: 1.0}


def commands() -> list[Command]:
    environment = s3_server(FOLDER, SHAPING)
    prepared(environment)
    argv = [RELEASE / "launcher", "train", "--config", FOLDER / "config.toml", "--ranks", "1"]
    return [Command(argv, waited, before=fresh, environment=environment, prints=False)]


def benches() -> list[Bench]:
    build = ["--workspace", "--bins", "--examples"]
    return [Bench("stream-data-wait", "% of step time", commands, {ENOUGH: 1.0}, build, smaller_is_better=True, rounds=1)]
