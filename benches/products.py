"""What the matrix products of a training step of GPT-2 124M would allow if there were nothing else, as libtorch computes them on a CPU.

Times each product that forward and backward are made of, in float32 and in the faster layout of its operands: no attention, no
norms, no optimizer. Convoy multiplies by other means (worker/src/kernels/products), so that this is no roof for it. Prints one JSON line:

    {"tokens_per_second": 234.5, "gflops": 190.1}

    pip install torch==2.11.0 numpy
    python benches/products.py --batch 1 --sequence 1024 --threads 2
"""

import argparse
import json
import time

import torch

LAYERS, WIDTH, PADDED_VOCABULARY = 12, 768, 50304
# Rows whose logits exist at once, as in Convoy.
HEAD_ROWS = 512
REPEATS = 3


def seconds(rows: int, inner: int, columns: int) -> float:
    """The least time of a product [rows, inner] x [inner, columns], over layouts and repeats."""
    out = torch.empty(rows, columns)
    plain = torch.randn(rows, inner), torch.randn(inner, columns)
    turned = torch.randn(inner, rows).T, torch.randn(columns, inner).T
    times = []
    for a, b in ((plain[0], plain[1]), (plain[0], turned[1]), (turned[0], plain[1])):
        torch.mm(a, b, out=out)
        for _ in range(REPEATS):
            start = time.perf_counter()
            torch.mm(a, b, out=out)
            times.append(time.perf_counter() - start)
    return min(times)


def step(tokens: int) -> tuple[float, float]:
    """Seconds and operations of all products of a step."""
    total, operations = 0.0, 0.0
    head_rows = min(tokens, HEAD_ROWS)
    layers = [(WIDTH, 3 * WIDTH), (WIDTH, WIDTH), (WIDTH, 4 * WIDTH), (4 * WIDTH, WIDTH)]
    linear = [(tokens, inner, outer, LAYERS) for inner, outer in layers]
    for rows, inner, outer, count in [*linear, (head_rows, WIDTH, PADDED_VOCABULARY, tokens / head_rows)]:
        # The output, the gradient of the input, and that of the weight.
        for shape in ((rows, inner, outer), (rows, outer, inner), (inner, rows, outer)):
            total += count * seconds(*shape)
            operations += count * 2 * rows * inner * outer
    return total, operations


def main() -> None:
    parser = argparse.ArgumentParser(description="Times the matrix products of a training step and prints what they allow.")
    parser.add_argument("--batch", type=int, required=True, help="sequences per step")
    parser.add_argument("--sequence", type=int, required=True, help="tokens per sequence")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    tokens = arguments.batch * arguments.sequence
    total, operations = step(tokens)
    print(json.dumps({"tokens_per_second": tokens / total, "gflops": operations / total / 1e9}))


if __name__ == "__main__":
    main()
