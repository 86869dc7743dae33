"""Scores of a 124M model by LAMBADA and HellaSwag: beside lm-evaluation-harness (its hf backend) and beside a plain batched script
with transformers, which get the requests of the same items; and two ranks of one thread beside one rank of two.

The items have the sizes of the real ones, and are cut from the Jargon File. The model has been trained for one step. Times
include loading the model, and not reading the items."""

import functools
import itertools
import json
import random
import shutil
import subprocess
from pathlib import Path

import texts
from harness import OURS, RELEASE, ROOT, SCRATCH, Bench, Command, Output, python_with

FOLDER = SCRATCH / "evaluation"
THREADS = 2
ITEMS = {"lambada_harness": 64, "hellaswag_harness": 48}
BATCH = 8
HARNESS, PLAIN, ONE_RANK = "lm-evaluation-harness", "transformers", "one rank of two threads"

CONFIG = """
[run]
output = "{folder}/run"
[model]
preset = "gpt2-124m"
[data]
train = [{{ url = "{folder}/shards" }}]
[batch]
global_sequences = 1
micro_sequences = 1
sequence_tokens = 64
[optimizer]
peak_learning_rate = 1e-4
warmup_steps = 0
[train]
max_steps = 1
"""


def words() -> list[str]:
    lines = texts.jargon().read_text(encoding="utf-8").splitlines()
    return list(itertools.chain.from_iterable(json.loads(line)["text"].split() for line in lines))


def items() -> None:
    """Passages of 60 to 90 words; contexts of 20 to 50 words with four endings of 10 to 25 each."""
    draw, source = random.Random(1), words()

    def cut(least: int, most: int) -> str:
        count = draw.randint(least, most)
        start = draw.randrange(len(source) - count)
        return " ".join(source[start : start + count])

    def schema(number: int) -> dict:
        context = cut(20, 50)
        return {"ind": number, "activity_label": "Reading", "ctx_a": context, "ctx_b": "", "ctx": context, "split": "val",
                "split_type": "indomain", "label": draw.randrange(4), "endings": [cut(10, 25) for _ in range(4)],
                "source_id": f"wikihow~{number}"}

    data = {"lambada_test.jsonl": [{"text": cut(60, 90)} for _ in range(200)], "hellaswag_val.jsonl": [schema(n) for n in range(200)]}
    for name, rows in data.items():
        (FOLDER / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


@functools.cache
def checkpoint() -> Path:
    """The folder of a checkpoint, made once."""
    made = FOLDER / "run" / "checkpoints"
    if not made.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        items()
        subprocess.run([RELEASE / "examples" / "token_shards", FOLDER / "shards", "1", "10000"], check=True)
        config = FOLDER / "run.toml"
        config.write_text(CONFIG.format(folder=FOLDER))
        subprocess.run([RELEASE / "launcher", "train", config], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return max(made.iterdir())


def samples(task: str) -> Path:
    return FOLDER / f"{task}.samples"


def eval_command(task: str, ranks: int, folder: str) -> list[str | Path]:
    options = ["--tasks", task, "--data", FOLDER, "--limit", str(ITEMS[task]), "--output", FOLDER / folder, "--json"]
    where = ["--ranks", str(ranks), "--threads-per-rank", str(THREADS // ranks)]
    return [RELEASE / "launcher", "eval", "--checkpoint", checkpoint(), *options, *where, "--samples", samples(task)]


def ours(name: str, task: str, ranks: int, folder: str) -> Command:
    def figures(output: Output) -> dict[str, float]:
        return {name: ITEMS[task] / output.rows[0]["report"]["seconds"]}

    # Scores that are kept would not be computed again.
    before = lambda: shutil.rmtree(FOLDER / folder, ignore_errors=True)
    return Command(eval_command(task, ranks, folder), figures, before=before)


def peer(name: str, mode: str, task: str) -> Command:
    python = python_with("torch", "numpy", "transformers", "lm-eval", "accelerate", "peft", environment="evaluation")
    script = ROOT / "benches" / "evaluation_peer.py"
    argv = [python, script, mode, checkpoint(), samples(task), str(THREADS), str(BATCH)]
    return Command(argv, lambda output: {name: ITEMS[task] / output.rows[-1]["seconds"]}, environment={"HF_HUB_OFFLINE": "1"})


def benches() -> list[Bench]:
    build = ["--workspace", "--bins", "--examples"]

    def beside_peers(task: str, aim: float) -> Bench:
        def commands() -> list[Command]:
            return [ours(OURS, task, 1, "one"), peer(HARNESS, "harness", task), peer(PLAIN, "plain", task)]

        return Bench(f"evaluate-{task.split('_')[0]}", "items/s", commands, {HARNESS: aim, PLAIN: aim}, build)

    def two_ranks() -> list[Command]:
        return [ours(OURS, "hellaswag_harness", 2, "two"), ours(ONE_RANK, "hellaswag_harness", 1, "one")]

    ranks = Bench("evaluate-two-ranks", "items/s", two_ranks, {ONE_RANK: 0.95}, build)
    return [beside_peers("lambada_harness", 1.5), beside_peers("hellaswag_harness", 2.0), ranks]
