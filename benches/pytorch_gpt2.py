"""The peer of `worker bench-step`: GPT-2 trained by a plain PyTorch loop, by default on the CPU and in float32.

The model and the loop are what nanoGPT's are: linear layers, scaled_dot_product_attention, GELU by tanh, a tied head
over the padded vocabulary, cross_entropy, clipping, fused AdamW. Tokens are random. Prints one JSON line:

    {"tokens_per_second": 123.4, "step_ms": [...], "loss": 10.9}

in which the rate is that of the median step; the first step, which allocates and compiles, does not count.

    pip install torch==2.11.0 numpy
    python benches/pytorch_gpt2.py --model gpt2-124m --batch 4 --sequence 64 --steps 5 --threads 2
"""

import argparse
import json
import math
import statistics
import time

import torch
import torch.nn.functional as F
from torch import nn

# name: layers, width, heads
MODELS = {
    "tiny-cpu": (3, 64, 2),
    "gpt2-124m": (12, 768, 12),
    "gpt2-355m": (24, 1024, 16),
    "gpt2-774m": (36, 1280, 20),
    "gpt2-1558m": (48, 1600, 25),
}
VOCABULARY, PADDED_VOCABULARY = 50257, 50304
CONTEXT_TOKENS = 1024


class Attention(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.c_attn = nn.Linear(width, 3 * width)
        self.c_proj = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        B, T, C = x.shape
        q, k, v = (part.view(B, T, self.heads, -1).transpose(1, 2) for part in self.c_attn(x).split(C, dim=2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)  # [B, H, T, D]
        return self.c_proj(y.transpose(1, 2).reshape(B, T, C))


class Mlp(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.c_fc = nn.Linear(width, 4 * width)
        self.c_proj = nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.c_proj(F.gelu(self.c_fc(x), approximate="tanh"))


class Block(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.ln_1, self.attn = nn.LayerNorm(width), Attention(width, heads)
        self.ln_2, self.mlp = nn.LayerNorm(width), Mlp(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class Gpt2(nn.Module):
    def __init__(self, layers: int, width: int, heads: int):
        super().__init__()
        self.wte = nn.Embedding(PADDED_VOCABULARY, width)
        self.wpe = nn.Embedding(CONTEXT_TOKENS, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.ln_f = nn.LayerNorm(width)
        self.lm_head = nn.Linear(width, PADDED_VOCABULARY, bias=False)
        self.lm_head.weight = self.wte.weight
        for name, parameter in self.named_parameters():
            if parameter.dim() >= 2:
                scale = 1 / math.sqrt(2 * layers) if name.endswith("c_proj.weight") else 1.0
                nn.init.normal_(parameter, 0.0, 0.02 * scale)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, tokens: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.wte(tokens) + self.wpe(positions)  # [B, T, C]
        for block in self.blocks:
            x = block(x)
        logits = self.lm_head(self.ln_f(x))  # [B, T, V]
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def make_optimizer(model: nn.Module) -> torch.optim.AdamW:
    groups = [
        {"params": [p for p in model.parameters() if p.dim() >= 2], "weight_decay": 0.1},
        {"params": [p for p in model.parameters() if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=6e-4, betas=(0.9, 0.95), fused=True)


class Clock:
    """The times between ticks, on a GPU by events, so that no step waits for the one before."""

    def __init__(self, device: str):
        self.device, self.ticks = device, []

    def tick(self) -> None:
        if self.device == "cuda":
            self.ticks.append(torch.cuda.Event(enable_timing=True))
            self.ticks[-1].record()
        else:
            self.ticks.append(time.perf_counter())

    def between_ms(self) -> list[float]:
        pairs = list(zip(self.ticks, self.ticks[1:]))
        if self.device == "cuda":
            torch.cuda.synchronize()
            return [before.elapsed_time(after) for before, after in pairs]
        return [1000 * (after - before) for before, after in pairs]


def train(arguments: argparse.Namespace) -> dict:
    torch.manual_seed(1337)
    device = arguments.device
    model = Gpt2(*MODELS[arguments.model]).to(device)
    autocast = torch.autocast(device, torch.bfloat16, enabled=arguments.bfloat16)
    optimizer = make_optimizer(model)
    forward = torch.compile(model) if arguments.compile else model
    clock = Clock(device)
    for _ in range(arguments.steps + 1):
        tokens = torch.randint(VOCABULARY, (arguments.batch, arguments.sequence + 1))
        if device == "cuda":
            tokens = tokens.pin_memory().to(device, non_blocking=True)
        step_loss = 0.0
        for micro in tokens.split(arguments.micro or arguments.batch):
            with autocast:
                loss = forward(micro[:, :-1], micro[:, 1:]) * (len(micro) / len(tokens))
            loss.backward()
            step_loss += loss.detach()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        clock.tick()
    step_ms = clock.between_ms()
    step_loss = step_loss.item()
    rate = arguments.batch * arguments.sequence / statistics.median(step_ms) * 1000
    return {"tokens_per_second": rate, "step_ms": step_ms, "loss": step_loss}


def main() -> None:
    parser = argparse.ArgumentParser(description="Trains GPT-2 with a plain PyTorch loop and prints its speed.")
    parser.add_argument("--model", choices=MODELS, default="gpt2-124m")
    parser.add_argument("--batch", type=int, required=True, help="sequences per step")
    parser.add_argument("--micro", type=int, help="sequences per forward pass; default: all of the step")
    parser.add_argument("--sequence", type=int, required=True, help="tokens per sequence")
    parser.add_argument("--steps", type=int, default=5, help="steps to time, after one that is not")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--bfloat16", action="store_true", help="by autocast, with float32 weights")
    parser.add_argument("--compile", action="store_true", help="with torch.compile")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(json.dumps(train(arguments)))


if __name__ == "__main__":
    main()
