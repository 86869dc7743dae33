"""Training steps on CPU beside a plain PyTorch loop, and two ranks beside one."""

from harness import OURS, RELEASE, ROOT, Bench, Command, mpirun, only_row, python_with

WORKER = RELEASE / "worker"
BUILD = ["--package", "worker"]


def bench_step(batch: int, sequence: int, steps: int, threads: int) -> list[str]:
    sizes = ["--batch", str(batch), "--sequence", str(sequence), "--steps", str(steps), "--threads", str(threads)]
    return ["bench-step", "--model", "gpt2-124m", *sizes]


def beside_pytorch(batch: int, sequence: int, steps: int) -> Bench:
    arguments = bench_step(batch, sequence, steps, threads=2)

    def commands() -> list[Command]:
        peer = [python_with("torch", "numpy"), ROOT / "benches" / "pytorch_gpt2.py", *arguments[1:]]
        return [
            Command([WORKER, *arguments], only_row(OURS, "tokens_per_second")),
            Command(peer, only_row("pytorch", "tokens_per_second")),
        ]

    return Bench(f"train-cpu-124m-{batch}x{sequence}", "tokens/s", commands, {"pytorch": 1.0}, BUILD)


def two_ranks() -> Bench:
    """4,096 tokens a step: the exchange of 124M gradients must not cost more than a second rank brings."""
    one = "1 rank x 2 threads"

    def commands() -> list[Command]:
        ours = [*mpirun(2), WORKER, *bench_step(64, 64, steps=2, threads=1)]
        return [
            Command(ours, only_row(OURS, "tokens_per_second")),
            Command([WORKER, *bench_step(64, 64, steps=2, threads=2)], only_row(one, "tokens_per_second")),
        ]

    return Bench("ranks-cpu", "tokens/s", commands, {one: 0.85}, BUILD)


def benches() -> list[Bench]:
    return [beside_pytorch(4, 64, steps=8), beside_pytorch(1, 1024, steps=4), two_ranks()]
