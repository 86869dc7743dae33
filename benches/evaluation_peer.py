"""Scores the requests of `launcher eval --samples` with other people's code, and prints how long that took as a line of JSON.

    python evaluation_peer.py {harness|plain} CHECKPOINT SAMPLES THREADS BATCH

`harness` is lm-evaluation-harness's own model class; `plain` is what one would write with transformers: requests sorted by length,
padded on the right, BATCH at a time. Both get text, and have the checkpoint's tokenizer.
"""

import json
import sys
import time

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def requests_of(samples: str) -> list[tuple[str, str]]:
    found = []
    for line in open(samples, encoding="utf-8"):
        found += [(request["context"], request["continuation"]) for request in json.loads(line)["requests"]]
    return found


def by_harness(folder: str, requests: list[tuple[str, str]], batch: int) -> list[float]:
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    model = HFLM(pretrained=folder, tokenizer=AutoTokenizer.from_pretrained(folder), device="cpu", dtype="float32", batch_size=batch)
    results = model.loglikelihood([Instance("loglikelihood", {}, request, 0) for request in requests], disable_tqdm=True)
    return [log_likelihood for log_likelihood, _ in results]


@torch.inference_mode()
def plainly(folder: str, requests: list[tuple[str, str]], batch: int) -> list[float]:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    encoded = []
    for index, (context, continuation) in enumerate(requests):
        whole, first = tokenizer.encode(context + continuation), len(tokenizer.encode(context.rstrip()))
        encoded.append((index, whole, first))
    encoded.sort(key=lambda request: -len(request[1]))
    found = [0.0] * len(requests)
    for start in range(0, len(encoded), batch):
        rows = encoded[start : start + batch]
        longest = max(len(ids) for _, ids, _ in rows) - 1
        inputs = torch.zeros(len(rows), longest, dtype=torch.long)
        mask = torch.zeros(len(rows), longest, dtype=torch.long)
        for row, (_, ids, _) in enumerate(rows):
            inputs[row, : len(ids) - 1], mask[row, : len(ids) - 1] = torch.tensor(ids[:-1]), 1
        logits = model(inputs, attention_mask=mask).logits
        for row, (index, ids, first) in enumerate(rows):
            log_p = logits[row, first - 1 : len(ids) - 1].log_softmax(-1)
            found[index] = log_p.gather(1, torch.tensor(ids[first:])[:, None]).sum().item()
    return found


def main() -> None:
    mode, folder, samples, threads, batch = sys.argv[1:]
    torch.set_num_threads(int(threads))
    requests = requests_of(samples)
    if mode == "harness":
        import lm_eval.models.huggingface  # noqa: F401, which takes seconds
    start = time.perf_counter()
    found = (by_harness if mode == "harness" else plainly)(folder, requests, int(batch))
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "log_likelihood": sum(found)}))


if __name__ == "__main__":
    main()
