"""Scores the items of `launcher eval --samples FILE` again, with other people's code, and compares.

    python evaluation.py CHECKPOINT TOKENIZER SAMPLES [--harness]

CHECKPOINT is the folder of a checkpoint, which transformers opens; TOKENIZER a folder with vocab.json and merges.txt, such as
CHECKPOINT; SAMPLES what `launcher eval` has written. Needs Python 3.10 or later and `pip install torch==2.11.0 'transformers<5' safetensors`, and
with --harness also `pip install 'lm-eval[hf]==0.4.13'`, whose own model class then computes the log-likelihoods. No network.

Every log-likelihood must be within 1e-4, or 1e-6 of the sum where that is larger, and as greedy as Convoy says. Without
--harness, each request is fed to transformers by itself, one row at a time, and its logits are summed in float64. Texts are
scored in windows of the model's context that do not overlap.
"""

import json
import sys

import torch
from transformers import GPT2LMHeadModel, GPT2Tokenizer, GPT2TokenizerFast


def split(tokenizer, context, continuation):
    """Tokens of both together, and where the continuation begins: lm-evaluation-harness's rule."""
    stripped = context.rstrip()
    whole = tokenizer(context + continuation)["input_ids"]
    if not stripped:
        return [tokenizer.eos_token_id] + whole, 1
    return whole, len(tokenizer(stripped)["input_ids"])


def windows(tokenizer, text, length):
    """Token windows over a text: end-of-text first, each token predicted once, the last window full."""
    tokens = tokenizer(text)["input_ids"]
    first = min(length, len(tokens))
    if first:
        yield [tokenizer.eos_token_id] + tokens[:first], 1
    done = first
    while done < len(tokens):
        count = min(length, len(tokens) - done)
        end = done + count
        yield tokens[end - length - 1 : end], length + 1 - count
        done = end


@torch.no_grad()
def score(model, ids, first):
    """Log-likelihood of ids[first:] after what is before them, and whether each is the likeliest."""
    length = model.config.n_positions
    if len(ids) - 1 > length:
        excess = len(ids) - 1 - length
        ids, first = ids[excess:], first - excess
    logits = model(torch.tensor([ids[:-1]])).logits[0, first - 1 :].double()
    targets = torch.tensor(ids[first:])
    log_probabilities = torch.log_softmax(logits, -1).gather(1, targets[:, None])
    return log_probabilities.sum().item(), bool((logits.argmax(-1) == targets).all())


def by_transformers(model, tokenizer, request):
    if not request["context"] and request["tokens"] > 1 and request["is_text"]:
        parts = [score(model, *window) for window in windows(tokenizer, request["continuation"], model.config.n_positions)]
        return sum(part[0] for part in parts), all(part[1] for part in parts)
    ids, first = split(tokenizer, request["context"], request["continuation"])
    # Tasks that score only the last token say so by their number of tokens.
    return score(model, ids, max(first, len(ids) - request["tokens"]))


def by_harness(folder, tokenizer, requests):
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    # Its log-softmax in float32 is off by up to 1e-5 a token, all to one side.
    options = {"device": "cpu", "dtype": "float32", "softmax_dtype": "float64", "batch_size": 1}
    model = HFLM(pretrained=folder, tokenizer=tokenizer, **options)
    instance = lambda r: Instance("loglikelihood", {}, (r["context"], r["continuation"]), 0)
    rolling = lambda r: Instance("loglikelihood_rolling", {}, (r["continuation"],), 0)
    found = {}
    for index, request in enumerate(requests):
        if request["is_text"]:
            found[index] = (model.loglikelihood_rolling([rolling(request)])[0], None)
    plain = [index for index in range(len(requests)) if index not in found]
    for index, result in zip(plain, model.loglikelihood([instance(requests[index]) for index in plain])):
        found[index] = result
    return [found[index] for index in range(len(requests))]


def main():
    folder, tokenizer_folder, samples = [word for word in sys.argv[1:] if word != "--harness"]
    with_harness = "--harness" in sys.argv
    make = GPT2TokenizerFast if with_harness else GPT2Tokenizer
    tokenizer = make(f"{tokenizer_folder}/vocab.json", f"{tokenizer_folder}/merges.txt")
    requests = []
    for line in open(samples, encoding="utf-8"):
        sample = json.loads(line)
        # The harness has no request for a last token alone.
        if with_harness and sample["task"] == "lambada_openai_last_token":
            continue
        is_text = sample["gold"] is None and all(not request["context"] for request in sample["requests"])
        # A text of no tokens is scored by nobody.
        scored = [request for request in sample["requests"] if request["tokens"]]
        requests += [{**request, "is_text": is_text, "of": (sample["task"], sample["id"])} for request in scored]
    if with_harness:
        theirs = by_harness(folder, tokenizer, requests)
    else:
        model = GPT2LMHeadModel.from_pretrained(folder, torch_dtype=torch.float32).eval()
        theirs = [by_transformers(model, tokenizer, request) for request in requests]
    largest, wrong = 0.0, 0
    for request, (log_likelihood, is_greedy) in zip(requests, theirs):
        error = abs(request["log_likelihood"] - log_likelihood)
        largest = max(largest, error)
        same = is_greedy is None or is_greedy == request["is_greedy"]
        if not error <= max(1e-4, 1e-6 * abs(log_likelihood)) or not same:
            wrong += 1
            print(f"{request['of']}: Convoy {request['log_likelihood']}, {request['is_greedy']}; here {log_likelihood}, {is_greedy}")
    print(f"{len(requests)} requests, largest difference {largest:.3g}, {wrong} differ")
    sys.exit(1 if wrong or not requests else 0)


if __name__ == "__main__":
    main()
