"""Training steps on CPU beside PyTorch's, llm.c's and what libtorch's matrix products alone would allow; two ranks beside one;
the exchange beside the backward pass."""

import os
import sys
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
        else:
            print("llm.c is left out: set LLM_C to a checkout of it", file=sys.stderr, flush=True)
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
        return [Command(step, only_row(OURS, "step_ms"), environment=slowed(computing, 0.4)), computing]

    # Within 15 %.
    return Bench("overlap-cpu", "ms a step", commands, {alone: 1 / 1.15}, BUILD, smaller_is_better=True)


def long_exchange() -> Bench:
    """A step whose exchange takes one and a half times as long as computing. It cannot begin before forward has ended and the head
    and a block have come back, so that it takes longer than the exchange alone, and should take less than both."""
    alone, both = "the exchange alone", "the exchange and computing"
    step = [*mpirun(2), WORKER, *bench_step(8, 64, steps=3, threads=1)]

    def commands() -> list[Command]:
        computing = Command(step, only_row("computing alone", "step_ms"))
        environment = slowed(computing, 1.5)
        exchange_ms = BUCKETS * int(environment["CONVOY_TEST_BUCKET_DELAY_MS"])
        after_another = lambda output: {alone: exchange_ms, both: exchange_ms + output.rows[-1]["step_ms"]}
        return [Command(step, only_row(OURS, "step_ms"), environment=environment), Command(step, after_another)]

    return Bench("overlap-cpu-long", "ms a step", commands, {alone: None, both: 1.1}, BUILD, smaller_is_better=True)


def slowed(computing: Command, share: float) -> dict[str, str]:
    """An environment in which the exchange takes `share` of a step of `computing`."""
    delay_ms = share * execute(computing).rows[-1]["step_ms"] / BUCKETS
    return {"CONVOY_TEST_BUCKET_DELAY_MS": str(round(delay_ms))}


def benches() -> list[Bench]:
    steps = [beside_peers(4, 64, 8, 1.2), beside_peers(1, 1024, 4, 1.3), beside_peers(4, 256, 4, 1.3)]
    return [*steps, two_ranks(0), two_ranks(1), exposed(), overlap(), long_exchange()]
