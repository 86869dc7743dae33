"""Evaluates a checkpoint by lm-evaluation-harness, and compares what `launcher eval` has found on the same files.

    python harness.py CHECKPOINT TOKENIZER DATA SAMPLES RESULTS [LIMIT]

CHECKPOINT is the folder of a checkpoint, which transformers opens; TOKENIZER a folder with vocab.json and merges.txt, such as a
checkpoint's; DATA the folder that `launcher eval` was given with --data, SAMPLES what it has written with --samples, RESULTS what
it has printed with --json, and LIMIT its --limit. Needs Python 3.10 or later and `pip install torch==2.11.0 'transformers<5'
'lm-eval[hf]==0.4.13'`. No network.

The tasks are the harness's own, by the definitions in harness_tasks with their data sets from local files: everything from an item's text to
the metric is the harness's. Compared are those of Convoy's tasks that have such a definition, and whose file is in DATA. Every
log-likelihood must be within 1e-4, or 1e-6 of the sum where that is larger, and as greedy as Convoy says. Accuracies must be
equal, and perplexities within 1e-4 of theirs.

The Winograd schemas are read from wsc273.jsonl, in Hugging Face's form, or else from WSCollection.xml if that has llm-foundry's:
official XML is not read here.
"""

import json
import math
import os
import sys
import tempfile
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
# Of this process alone, so that a data set of an earlier file is never taken for this one's.
CACHE = tempfile.TemporaryDirectory()
os.environ["HF_DATASETS_CACHE"] = CACHE.name

TASKS = Path(__file__).resolve().parent / "harness_tasks"
# The harness's metrics, and Convoy's.
METRICS = {
    "acc": "acc",
    "acc_norm": "acc_norm",
    "perplexity": "last_word_perplexity",
    "word_perplexity": "word_perplexity",
    "byte_perplexity": "byte_perplexity",
    "bits_per_byte": "bits_per_byte",
}


def json_lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]


def pages(text):
    """Pages as the data set `EleutherAI/wikitext_document_level` has them, whose script is not in the harness."""
    page = []
    for line in text.split("\n"):
        title = line.replace("= = =", "===").replace("= =", "==").strip()
        if title.startswith("= ") and title.endswith(" ="):
            if "\n".join(page).strip():
                yield "\n".join(page)
            page = []
        page.append(line)
    yield "\n".join(page)


def hellaswag_items(text):
    """Items of the text form, six lines each, split as the harness's own code wants them."""
    lines = text.split("\n")
    for start in range(0, len(lines) - 5, 6):
        activity, context = lines[start].split(": ", 1)
        endings = lines[start + 2 : start + 6]
        yield {"activity_label": activity, "ctx_a": context, "ctx_b": "", "endings": endings, "label": lines[start + 1].strip()}


def documents(data, limit):
    """Items of each definition whose data are in the folder `data`: the first `limit` of each."""
    found = {}
    path = data / "lambada_test.jsonl"
    if path.exists():
        found["lambada_harness"] = json_lines(path)
    path = data / "hellaswag_val.jsonl"
    if path.exists():
        found["hellaswag_harness"] = json_lines(path)
    path = data / "hellaswag_val_full.txt"
    if path.exists():
        found["hellaswag_text"] = list(hellaswag_items(path.read_text(encoding="utf-8")))
    path = data / "wsc273.jsonl"
    other = data / "WSCollection.xml"
    if path.exists():
        found["wsc273_harness"] = found["wsc273_partial"] = json_lines(path)
    elif other.exists() and other.read_text(encoding="utf-8").startswith("{"):
        found["wsc273_options"] = json_lines(other)
    path = data / "wiki.test.raw"
    if path.exists():
        text = path.read_text(encoding="utf-8")
        # Convoy's limit is of lines where a text is one item, and of items elsewhere: pages are items.
        found["wikitext2_harness"] = [{"page": page} for page in pages(text)]
    return {name: items[:limit] for name, items in found.items()}


def evaluate(checkpoint, tokenizer, data, limit=None, wanted=None):
    """The harness's scores and results, by the names of Convoy's tasks and metrics; of the tasks `wanted`, or all.

    A task's `scores` are a list for each item, with [log-likelihood, whether it is greedy] for each request; a whole text is
    neither greedy nor not.
    """
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    # Its log-softmax in float32 is off by up to 1e-5 a token, all to one side.
    options = {"device": "cpu", "dtype": "float32", "softmax_dtype": "float64", "batch_size": 1}
    model = HFLM(pretrained=str(checkpoint), tokenizer=tokenizer, **options)
    read = documents(Path(data), limit)
    items = {name: read[name] for name in read if wanted is None or convoys_name(name) in wanted}
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        for name, lines in items.items():
            content = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
            (Path(folder) / f"{name}.jsonl").write_text(content, encoding="utf-8")
        # The definitions name their files, and no folder.
        os.chdir(folder)
        manager = TaskManager(include_path=str(TASKS), include_defaults=False)
        found = simple_evaluate(model, tasks=list(items), task_manager=manager, bootstrap_iters=0, log_samples=True)
        os.chdir(before)
    return {convoys_name(name): of_task(found, name) for name in items}


def convoys_name(name):
    return "wsc273_partial" if name == "wsc273_options" else name


def of_task(found, name):
    samples = sorted(found["samples"][name], key=lambda sample: sample["doc_id"])
    scores = []
    for sample in samples:
        # One metric's samples are another's, too.
        if sample["doc_id"] == len(scores):
            responses = [response for of_request in sample["resps"] for response in of_request]
            scores.append([[float(r[0]), bool(r[1])] if isinstance(r, (list, tuple)) else [float(r), None] for r in responses])
    values = {key.split(",")[0]: value for key, value in found["results"][name].items()}
    return {"scores": scores, "results": {ours: values[theirs] for theirs, ours in METRICS.items() if theirs in values}}


def agrees(ours, theirs):
    """Whether a request has one score in both, each a log-likelihood and whether it is greedy."""
    return abs(ours[0] - theirs[0]) <= max(1e-4, 1e-6 * abs(theirs[0])) and theirs[1] in (None, ours[1])


def agree(ours, theirs, name):
    """Whether a metric has one value in both."""
    is_share = name.startswith("acc")
    return math.isclose(ours, theirs, rel_tol=1e-9 if is_share else 1e-4, abs_tol=0.0)


def compare(theirs, samples, results):
    """Prints what differs. Returns the number of requests, the largest difference, and how much differs."""
    requests, largest, wrong = 0, 0.0, 0
    for task, found in theirs.items():
        items = [sample for sample in samples if sample["task"] == task]
        if len(items) != len(found["scores"]):
            sys.exit(f"{task}: {len(items)} items, and {len(found['scores'])} by the harness")
        for item, scores in zip(items, found["scores"], strict=True):
            for request, score in zip(item["requests"], scores, strict=True):
                own = [request["log_likelihood"], request["is_greedy"]]
                requests, largest = requests + 1, max(largest, abs(own[0] - score[0]))
                if not agrees(own, score):
                    wrong += 1
                    print(f"{task}, item {item['id']}: Convoy {own}; the harness {score}")
        values = {metric["name"].split("/")[0]: metric["value"] for metric in results[task]["metrics"]}
        for name, value in found["results"].items():
            print(f"{task} {name}: Convoy {values[name]}; the harness {value}")
            wrong += not agree(values[name], value, name)
    return requests, largest, wrong


def main():
    checkpoint, tokenizer, data, samples, results, *limit = sys.argv[1:]
    from transformers import GPT2TokenizerFast

    tokenizer = GPT2TokenizerFast(f"{tokenizer}/vocab.json", f"{tokenizer}/merges.txt")
    reports = [entry["report"]["results"] for entry in json.loads(Path(results).read_text())]
    found = {report["task"]: report for report in reports}
    theirs = evaluate(checkpoint, tokenizer, data, int(limit[0]) if limit else None, found)
    requests, largest, wrong = compare(theirs, json_lines(Path(samples)), found)
    tasks = ", ".join(theirs)
    print(f"{tasks}: {requests} requests, largest difference {largest:.3g}, {wrong} differ")
    sys.exit(1 if wrong or not requests else 0)


if __name__ == "__main__":
    main()
