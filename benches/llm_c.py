"""The peer of `worker bench-step` in C: llm.c's train_gpt2.c, which is in no package registry.

    LLM_C=path/of/a/checkout python benches/llm_c.py --batch 4 --sequence 64 --steps 3 --threads 2

Compiles the checkout's own file with the flags of its Makefile and a `main` that trains the 124M model, its weights drawn
at random, on random tokens. Prints one JSON line, in which the rate is that of the median step.
"""

import argparse
import os
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

FLAGS = ["-Ofast", "-fno-finite-math-only", "-march=native", "-fopenmp", "-DOMP", "-w"]
LAYERS, WIDTH, HEADS, VOCABULARY, PADDED_VOCABULARY, CONTEXT_TOKENS = 12, 768, 12, 50257, 50304, 1024
MAIN = r"""
#define TESTING
#include "train_gpt2.c"
static int by_size(const void* a, const void* b) { return *(double*)a < *(double*)b ? -1 : 1; }
int main(int argc, char** argv) {
  int B = atoi(argv[2]), T = atoi(argv[3]), steps = atoi(argv[4]);
  GPT2 model;
  gpt2_build_from_checkpoint(&model, argv[1]);
  int* tokens = malloc((B * T + 1) * sizeof(int));
  double ms[1000];
  for (int step = 0; step <= steps; step++) {
    for (int i = 0; i <= B * T; i++) tokens[i] = rand() % 50257;
    struct timespec start, end;
    clock_gettime(CLOCK_MONOTONIC, &start);
    gpt2_forward(&model, tokens, tokens + 1, B, T);
    gpt2_zero_grad(&model);
    gpt2_backward(&model);
    gpt2_update(&model, 6e-4f, 0.9f, 0.95f, 1e-8f, 0.1f, step + 1);
    clock_gettime(CLOCK_MONOTONIC, &end);
    if (step > 0) ms[step - 1] = (end.tv_sec - start.tv_sec) * 1e3 + (end.tv_nsec - start.tv_nsec) / 1e6;
  }
  qsort(ms, steps, sizeof(double), by_size);
  printf("{\"tokens_per_second\": %f, \"loss\": %f}\n", B * T / ms[steps / 2] * 1e3, model.mean_loss);
}
"""


def write_weights(path: Path) -> None:
    """A checkpoint of train_gpt2.c: 256 numbers of a header, then the weights as float32, whatever they are."""
    block = 12 * WIDTH * WIDTH + 13 * WIDTH
    weights = (PADDED_VOCABULARY + CONTEXT_TOKENS) * WIDTH + LAYERS * block + 2 * WIDTH
    header = [20240326, 3, CONTEXT_TOKENS, VOCABULARY, LAYERS, HEADS, WIDTH, PADDED_VOCABULARY] + [0] * 248
    # Uniform over (-0.03, 0.03), a few numbers again and again.
    some = b"".join(struct.pack("<f", 0.06 * ((i * 0.618034) % 1.0) - 0.03) for i in range(1 << 16))
    with path.open("wb") as file:
        file.write(struct.pack("<256i", *header))
        for start in range(0, 4 * weights, len(some)):
            file.write(some[: 4 * weights - start])


def main() -> None:
    parser = argparse.ArgumentParser(description="Trains GPT-2 with llm.c and prints its speed.")
    for name in ("batch", "sequence", "steps", "threads"):
        parser.add_argument(f"--{name}", type=int, required=True)
    arguments = parser.parse_args()
    checkout = Path(os.environ.get("LLM_C", ""))
    if not (checkout / "train_gpt2.c").exists():
        sys.exit(f"LLM_C={checkout} holds no train_gpt2.c; give a checkout of llm.c")
    with tempfile.TemporaryDirectory() as folder:
        source, program, weights = (Path(folder) / name for name in ("main.c", "main", "weights.bin"))
        source.write_text(MAIN)
        compile = ["gcc", *FLAGS, f"-I{checkout}", source, "-o", program, "-lm", "-lgomp"]
        subprocess.run(compile, check=True)
        write_weights(weights)
        sizes = [str(n) for n in (arguments.batch, arguments.sequence, arguments.steps)]
        environment = os.environ | {"OMP_NUM_THREADS": str(arguments.threads)}
        subprocess.run([program, weights, *sizes], check=True, env=environment)


if __name__ == "__main__":
    main()
