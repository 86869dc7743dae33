"""Opens a checkpoint's folder, as it lies, in Hugging Face transformers and prints the loss on fixed tokens.

    python scripts/golden/open_in_transformers.py RUN/checkpoints/step-00000100-a0001-...

Needs torch and transformers. Fails if a weight is missing from the folder or is not part of GPT-2.
"""

import sys

import torch
from transformers import GPT2LMHeadModel


def main(folder: str) -> None:
    model, report = GPT2LMHeadModel.from_pretrained(folder, output_loading_info=True, local_files_only=True)
    wrong = {what: names for what, names in report.items() if names}
    if wrong:
        sys.exit(f"{folder} does not open cleanly: {wrong}")
    config = model.config
    length = min(64, config.n_positions)
    tokens = (torch.arange(length) * 7919 % config.vocab_size).unsqueeze(0)  # (1, T)
    model.eval()
    with torch.no_grad():
        loss = model(tokens, labels=tokens).loss.item()
    print(f"{config.n_layer} layers, width {config.n_embd}, vocabulary {config.vocab_size}")
    print(f"parameters {sum(p.numel() for p in model.parameters())}")
    print(f"loss {loss:.6f}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
