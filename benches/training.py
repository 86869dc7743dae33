"""Training steps on CPU beside PyTorch's, llm.c's and what libtorch's matrix products alone would allow; two ranks beside one;
the exchange beside the backward pass."""

import os
from pathlib import Path

from harness import OURS, RELEASE, ROOT, Bench, Command, execute, mpirun, only_row, python_with

WORKER = RELEASE / "worker"
BUILD = ["--workspace"]
# Buckets of 25 MiB that the gradients of 124M fill, each of which takes so much longer where the exchange is slowed.
BUCKETS = 19


def bench_step(batch: int, sequence: int, steps: int, threads: int) -> list[str]:
    sizes = ["--batch", str(batch), "--sequence", str(sequence), "--steps", str(steps), "--threads", str(threads)]
    return ["bench-step", "--model", "gpt2-124m", *sizes]


def beside_peers(batch: int, sequence: int, steps: int, eager_aim: float) -> Bench:
    arguments = bench_step(batch, sequence, steps, threads=2)
    # Libtorch's products alone are no peer: they say how a whole step compares with what it could be made of.
    aims = {"pytorch": eager_aim, "torch.compile": 1.1, "products alone": None}
    has_llm_c = (Path(os.environ.get("LLM_C", "")) / "train_gpt2.c").exists()
    if has_llm_c:
        aims["llm.c"] = 3.0

    def commands() -> list[Command]:
        # PyTorch takes gigabytes, so it is there once.
        python = python_with("torch", "numpy", environment="mosaicml")
        peer = [python, ROOT / "benches" / "pytorch_gpt2.py", *arguments[1:]]
        found = [
            Command([WORKER, *arguments], only_row(OURS, "tokens_per_second")),
            Command(peer, only_row("pytorch", "tokens_per_second")),
            Command([*peer, "--compile"], only_row("torch.compile", "tokens_per_second")),
        ]
        products = [python, ROOT / "benches" / "products.py", "--batch", str(batch), "--sequence", str(sequence)]
        found.append(Command([*products, "--threads", "2"], only_row("products alone", "tokens_per_second")))
        if has_llm_c:
            c = [python, ROOT / "benches" / "llm_c.py", *bench_step(batch, sequence, 2, threads=2)[3:]]
            found.append(Command(c, only_row("llm.c", "tokens_per_second")))
        return found

    return Bench(f"train-cpu-124m-{batch}x{sequence}", "tokens/s", commands, aims, BUILD)


def two_ranks(zero: int) -> Bench:
    """4,096 tokens a step: the exchange of 124M gradients must not cost more than a second rank brings."""
    one = "1 rank x 2 threads"

    def commands() -> list[Command]:
        zero_set = ["--set", f"parallel.zero={zero}"]
        ours = [*mpirun(2), WORKER, *bench_step(64, 64, steps=2, threads=1), *zero_set]
        return [
            Command(ours, only_row(OURS, "tokens_per_second")),
            Command([WORKER, *bench_step(64, 64, steps=2, threads=2)], only_row(one, "tokens_per_second")),
        ]

    return Bench(f"ranks-cpu-zero-{zero}", "tokens/s", commands, {one: 0.92}, BUILD)


def exposed() -> Bench:
    """What of ZeRO-1's exchange is not hidden behind computing: less than a twentieth of the step."""
    step = "the whole step"

    def commands() -> list[Command]:
        argv = [*mpirun(2), WORKER, *bench_step(64, 64, steps=2, threads=1), "--set", "parallel.zero=1"]
        figures = lambda output: {OURS: output.rows[-1]["exposed_comm_ms"], step: output.rows[-1]["step_ms"]}
        return [Command(argv, figures)]

    return Bench("exposed-cpu-zero-1", "ms a step", commands, {step: 20}, BUILD, smaller_is_better=True)


def overlap() -> Bench:
    """A step whose exchange is slowed by two fifths of its time: it should take as long as computing alone, and not both, as
    long as communication is the shorter of the two."""
    alone = "computing alone"
    step = [*mpirun(2), WORKER, *bench_step(8, 64, steps=3, threads=1)]

    def commands() -> list[Command]:
        computing = Command(step, only_row(alone, "step_ms"))
        delay = 0.4 * execute(computing).rows[-1]["step_ms"] / BUCKETS
        slowed = {"CONVOY_TEST_BUCKET_DELAY_MS": str(round(delay))}
        return [Command(step, only_row(OURS, "step_ms"), environment=slowed), computing]

    # Within 15 %.
    return Bench("overlap-cpu", "ms a step", commands, {alone: 1 / 1.15}, BUILD, smaller_is_better=True)


def benches() -> list[Bench]:
    steps = [beside_peers(4, 64, 8, 1.2), beside_peers(1, 1024, 4, 1.3), beside_peers(4, 256, 4, 1.3)]
    return [*steps, two_ranks(0), two_ranks(1), exposed(), overlap()]
