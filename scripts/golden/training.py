"""Golden losses and gradient norms of 50 steps of training, from a plain PyTorch loop.

The oracle of the composed step: model, loss, accumulation, clipping, AdamW and schedule together, in float32 on the
CPU. It runs twice from the same weights and tokens: `full` takes the 6 sequences of a step as one micro batch,
`accumulated` as micro batches of 4 and 2. Writes

    tests/golden/training.safetensors    param.<name> f32, the initial weights under their Hugging Face names;
                                         tokens i64 [50, G, T+1], the sequences of every step
    tests/golden/training.json           the hyperparameters by the names of Convoy's config, and for both runs
                                         `losses` (nats per token, before the update) and `grad_norms` (before clipping)

Run, in any environment with these packages:

    pip install torch==2.11.0 'transformers<5' safetensors numpy
    python scripts/golden/training.py
"""

import json
import math
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import GPT2Config, GPT2LMHeadModel

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "golden"
STEPS = 50

MODEL = {"layers": 2, "width": 32, "heads": 4, "context_tokens": 24, "vocabulary": 97}
BATCH = {"global_sequences": 6, "sequence_tokens": 24}
OPTIMIZER = {
    "peak_learning_rate": 3e-3,
    "final_fraction": 0.1,
    "warmup_steps": 5,
    "decay_steps": STEPS,
    "beta1": 0.9,
    "beta2": 0.95,
    "epsilon": 1e-8,
    "weight_decay": 0.1,
    "clip_norm": 1.5,  # some steps are clipped and some are not
}
MICRO_SEQUENCES = {"full": 6, "accumulated": 4}


def initial_model() -> GPT2LMHeadModel:
    """A GPT-2 without dropout, initialised as the paper says, but wider than N(0, 0.02): a model this small would
    otherwise start out flat and have nothing to show for 50 steps."""
    config = GPT2Config(
        n_layer=MODEL["layers"],
        n_embd=MODEL["width"],
        n_head=MODEL["heads"],
        n_positions=MODEL["context_tokens"],
        vocab_size=MODEL["vocabulary"],
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        attn_implementation="eager",
        bos_token_id=MODEL["vocabulary"] - 1,
        eos_token_id=MODEL["vocabulary"] - 1,
    )
    torch.manual_seed(1337)
    model = GPT2LMHeadModel(config).train()
    residual_scale = 1 / math.sqrt(2 * MODEL["layers"])
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() >= 2:
                scale = residual_scale if name.endswith("c_proj.weight") else 1.0
                parameter.normal_(0.0, 0.08 * scale)
            else:
                parameter.fill_(1.0 if ".ln_" in name and name.endswith("weight") else 0.0)
    return model


def make_tokens() -> torch.Tensor:
    """[STEPS, G, T+1]: each token follows from the one before it by a fixed rule, except that one in five is random."""
    generator = torch.Generator().manual_seed(7)
    vocabulary, sequences = MODEL["vocabulary"], STEPS * BATCH["global_sequences"]
    successor = torch.randperm(vocabulary, generator=generator)
    tokens = torch.randint(vocabulary, (sequences, BATCH["sequence_tokens"] + 1), generator=generator)
    follows = torch.rand(tokens.shape, generator=generator) < 0.8
    for t in range(1, tokens.shape[1]):
        tokens[:, t] = torch.where(follows[:, t], successor[tokens[:, t - 1]], tokens[:, t])
    return tokens.view(STEPS, BATCH["global_sequences"], -1)


def learning_rate(steps_done: int) -> float:
    """Linear warm-up, then a cosine to a fraction of the peak; the same formula as common/src/lr_schedule.rs."""
    peak, warmup, decay = (OPTIMIZER[key] for key in ("peak_learning_rate", "warmup_steps", "decay_steps"))
    if steps_done < warmup:
        return peak * (steps_done + 1) / warmup
    floor = peak * OPTIMIZER["final_fraction"]
    if steps_done >= decay:
        return floor
    progress = (steps_done - warmup) / (decay - warmup)
    return floor + (peak - floor) * 0.5 * (1 + math.cos(math.pi * progress))


def make_optimizer(model: GPT2LMHeadModel) -> torch.optim.AdamW:
    """Weight decay on tensors of two and more dimensions: matrices and both embeddings."""
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": OPTIMIZER["weight_decay"]},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, betas=(OPTIMIZER["beta1"], OPTIMIZER["beta2"]), eps=OPTIMIZER["epsilon"])


def train(tokens: torch.Tensor, micro_sequences: int) -> dict[str, list[float]]:
    """One run from the initial weights."""
    model = initial_model()
    optimizer = make_optimizer(model)
    losses, grad_norms = [], []
    for step, sequences in enumerate(tokens):  # [G, T+1]
        targets_per_step = sequences[:, 1:].numel()
        step_loss = 0.0
        optimizer.zero_grad()
        for micro in sequences.split(micro_sequences):
            logits = model(micro[:, :-1]).logits
            # A sum over all targets of the step, not a mean of means: micro batches may differ in size.
            sum_of_losses = torch.nn.functional.cross_entropy(
                logits.flatten(0, 1), micro[:, 1:].flatten(), reduction="sum"
            )
            loss = sum_of_losses / targets_per_step
            loss.backward()
            step_loss += loss.item()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), OPTIMIZER["clip_norm"])
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step)
        optimizer.step()
        losses.append(step_loss)
        grad_norms.append(norm.item())
    return {"losses": losses, "grad_norms": grad_norms}


def main() -> None:
    torch.set_num_threads(1)
    GOLDEN.mkdir(parents=True, exist_ok=True)
    tokens = make_tokens()
    initial = {f"param.{name}": p.detach().contiguous() for name, p in initial_model().named_parameters()}
    save_file(initial | {"tokens": tokens}, GOLDEN / "training.safetensors")

    runs = {name: {"micro_sequences": micro} | train(tokens, micro) for name, micro in MICRO_SEQUENCES.items()}
    golden = {"steps": STEPS, "model": MODEL, "batch": BATCH, "optimizer": OPTIMIZER} | runs
    (GOLDEN / "training.json").write_text(json.dumps(golden, indent=1) + "\n")

    for name, run in runs.items():
        clipped = sum(norm > OPTIMIZER["clip_norm"] for norm in run["grad_norms"])
        print(f"{name}: loss {run['losses'][0]:.4f} to {run['losses'][-1]:.4f}, {clipped} of {STEPS} steps clipped")
    full, accumulated = runs["full"], runs["accumulated"]
    for what in ("losses", "grad_norms"):
        apart = max(abs(a - b) / a for a, b in zip(full[what], accumulated[what]))
        print(f"{what}: full and accumulated differ by at most {apart:.1e}, relatively")


if __name__ == "__main__":
    main()
