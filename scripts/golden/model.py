"""Golden logits, losses and gradients of GPT-2, from Hugging Face transformers.

Writes tests/golden/model-<case>.safetensors for small models of odd shapes with random weights, in float64:

    param.<name>     every parameter under its Hugging Face name; the head shares transformer.wte.weight
    tokens           i64 [B, T+1]
    logits           f64 [B, T, V] of tokens[:, :-1]
    loss             f64 [], mean cross-entropy of predicting tokens[:, 1:], in nats per token
    grad.<name>      f64, gradient of that loss by each parameter

with the shape of the model as metadata: layers, width, heads, context_tokens, vocabulary.

Run, in any environment with these packages:

    pip install torch==2.11.0 'transformers<5' safetensors numpy
    python scripts/golden/model.py
"""

from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import GPT2Config, GPT2LMHeadModel

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "golden"

# name: layers, width, heads, context_tokens, vocabulary, batch_sequences, sequence_tokens
CASES = {
    "1x6": (1, 6, 1, 5, 11, 2, 5),
    "2x12": (2, 12, 3, 7, 31, 3, 6),
    "3x20": (3, 20, 4, 16, 67, 2, 11),
}


def gpt2(layers: int, width: int, heads: int, context_tokens: int, vocabulary: int) -> GPT2LMHeadModel:
    """A GPT-2 in float64 without dropout. Attention is the written-out one, so that nothing is approximated."""
    config = GPT2Config(
        n_layer=layers,
        n_embd=width,
        n_head=heads,
        n_positions=context_tokens,
        vocab_size=vocabulary,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        attn_implementation="eager",
        bos_token_id=vocabulary - 1,
        eos_token_id=vocabulary - 1,
    )
    return GPT2LMHeadModel(config).double().train()


def randomise(model: GPT2LMHeadModel) -> None:
    """Every parameter random, biases and LayerNorms too, and large enough that no gradient is tiny."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            is_layer_norm_weight = ".ln_" in name and name.endswith("weight")
            centre = 1.0 if is_layer_norm_weight else 0.0
            parameter.copy_(centre + 0.3 * torch.randn_like(parameter))


def write_case(name: str, shape: tuple[int, ...]) -> None:
    *model_shape, batch, sequence = shape
    layers, width, heads, context_tokens, vocabulary = model_shape
    torch.manual_seed(sum(shape))
    model = gpt2(*model_shape)
    randomise(model)
    tokens = torch.randint(vocabulary, (batch, sequence + 1))  # [B, T+1]

    logits = model(tokens[:, :-1]).logits  # [B, T, V]
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
    loss.backward()

    tensors = {"tokens": tokens, "logits": logits.detach().contiguous(), "loss": loss.detach()}
    for parameter_name, parameter in model.named_parameters():
        tensors[f"param.{parameter_name}"] = parameter.detach().contiguous()
        tensors[f"grad.{parameter_name}"] = parameter.grad.contiguous()
    path = GOLDEN / f"model-{name}.safetensors"
    save_file(
        tensors,
        path,
        metadata={
            "layers": str(layers),
            "width": str(width),
            "heads": str(heads),
            "context_tokens": str(context_tokens),
            "vocabulary": str(vocabulary),
        },
    )
    smallest = min(p.grad.abs().max().item() for p in model.parameters())
    print(f"{path.name}: loss {loss.item():.6f}, every gradient reaches {smallest:.1e}, {path.stat().st_size} bytes")


def main() -> None:
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for name, shape in CASES.items():
        write_case(name, shape)


if __name__ == "__main__":
    main()
