"""Writes a checkpoint of a small GPT-2 of odd shape with random weights, as docs/checkpoint-format.md describes it.

    python odd_model.py FOLDER

Prints the SHA-256 of the weights. Needs Python 3.9 or later and nothing else, so that tests can make the model where it is needed, and
no weights have to be kept. Every weight is a function of its place: Python promises that `random.Random(seed).random()` gives
the same numbers for ever. Weights are large enough that each part of the model changes what it expects. The tokenizer is GPT-2's, whose
files are not written. Moments are 0.
"""

import hashlib
import json
import random
import sys
from array import array
from pathlib import Path

LAYERS, WIDTH, HEADS, CONTEXT, VOCABULARY = 3, 60, 5, 96, 50257
# Of GPT-2's tokenizer: docs/token-shards.md.
TOKENIZER_HASH = "3dd825a2a73eba50f5a8fb2367548839c8395a3ee0bf848a61a64d85015db3d8"
BLOCK_BYTES = 1 << 20
MODEL, OPTIMIZER = "model.safetensors", "optimizer-00001-of-00001.safetensors"
CONFIG = f"""
[run]
name = "odd"
output = "odd"
device = "cpu"
[model]
layers = {LAYERS}
width = {WIDTH}
heads = {HEADS}
context_tokens = {CONTEXT}
vocabulary = {VOCABULARY}
[data]
tokenizer = "gpt2"
train = [{{ url = "odd" }}]
[batch]
global_sequences = 1
micro_sequences = 1
sequence_tokens = {CONTEXT}
[optimizer]
peak_learning_rate = 1e-3
warmup_steps = 0
[train]
max_steps = 1
"""


def parameters():
    """Name and shape of each parameter, in the order of Hugging Face's state dict."""
    c = WIDTH
    yield "transformer.wte.weight", (VOCABULARY, c)
    yield "transformer.wpe.weight", (CONTEXT, c)
    for layer in range(LAYERS):
        shapes = [("ln_1", (c,)), ("attn.c_attn", (c, 3 * c)), ("attn.c_proj", (c, c)), ("ln_2", (c,))]
        shapes += [("mlp.c_fc", (c, 4 * c)), ("mlp.c_proj", (4 * c, c))]
        for name, shape in shapes:
            yield f"transformer.h.{layer}.{name}.weight", shape
            yield f"transformer.h.{layer}.{name}.bias", shape[-1:]
    yield "transformer.ln_f.weight", (c,)
    yield "transformer.ln_f.bias", (c,)


def count(shape):
    return shape[0] * (shape[1] if len(shape) > 1 else 1)


def values(name, shape, draw):
    """Little-endian float32: uniform within 1/2 for embeddings and LayerNorms, around 1 for their weights, else within 1/4."""
    centre = 1.0 if ".ln_" in name and name.endswith("weight") else 0.0
    scale = 0.5 if ".ln_" in name or ".wte." in name or ".wpe." in name else 0.25
    # Exact in float64, but for the sum around 1, and rounded to float32 once.
    drawn = array("f", [centre + scale * (2.0 * draw() - 1.0) for _ in range(count(shape))])
    if sys.byteorder == "big":
        drawn.byteswap()
    return drawn.tobytes()


def safetensors(tensors):
    """A file of (name, shape, bytes), whose data begin at a multiple of 64 bytes."""
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for name, shape, data in tensors:
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [end, end + len(data)]}
        end += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-(8 + len(text)) % 64)
    return len(text).to_bytes(8, "little") + text + b"".join(data for _, _, data in tensors)


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def model_config():
    return {
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        "n_layer": LAYERS,
        "n_embd": WIDTH,
        "n_head": HEADS,
        "n_positions": CONTEXT,
        "n_ctx": CONTEXT,
        "vocab_size": VOCABULARY,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5,
        "tie_word_embeddings": True,
        "resid_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "attn_pdrop": 0.0,
        "bos_token_id": VOCABULARY - 1,
        "eos_token_id": VOCABULARY - 1,
    }


def manifest(objects):
    """The manifest's text, which ends with its own hash."""
    described = []
    for name, data in objects.items():
        blocks = [sha256(data[start : start + BLOCK_BYTES]) for start in range(0, len(data), BLOCK_BYTES)]
        described.append({"name": name, "bytes": len(data), "sha256": sha256(data), "block_sha256": blocks})
    slices = [
        {
            "tensor": name,
            "start": 0,
            "end": count(shape),
            "object": OPTIMIZER,
            "exp_avg": f"{name}.exp_avg",
            "exp_avg_sq": f"{name}.exp_avg_sq",
        }
        for name, shape in parameters()
    ]
    fields = {
        "version": 1,
        "name": {"step": 1, "attempt": 1, "id": "0dd0dd0dd0dd0dd0"},
        "sequences_consumed": 1,
        "updates": 1,
        "world_size": 1,
        "tokenizer_hash": TOKENIZER_HASH,
        "data_sequences": 1,
        "data_order": 2,
        "config": CONFIG,
        "objects": described,
        "tensors": [{"name": name, "shape": list(shape), "object": MODEL} for name, shape in parameters()],
        "optimizer": slices,
    }
    head = json.dumps(fields, indent=2).removesuffix("\n}")
    return f'{head},\n  "manifest_sha256": "{sha256(head.encode())}"\n}}\n'


def write(folder):
    """Writes the checkpoint into a new folder. Returns the SHA-256 of its weights."""
    draw = random.Random(1).random
    weights = safetensors([(name, shape, values(name, shape, draw)) for name, shape in parameters()])
    moments = [
        (f"{name}.{moment}", (count(shape),), bytes(4 * count(shape)))
        for name, shape in parameters()
        for moment in ("exp_avg", "exp_avg_sq")
    ]
    config = json.dumps(model_config(), indent=2).encode()
    objects = {MODEL: weights, OPTIMIZER: safetensors(moments), "config.json": config}
    folder.mkdir(parents=True)
    for name, data in objects.items():
        (folder / name).write_bytes(data)
    (folder / "manifest.json").write_text(manifest(objects))
    return sha256(weights)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    print(write(Path(sys.argv[1])))
