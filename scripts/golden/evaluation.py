"""Makes tests/golden/evaluation.json with lm-evaluation-harness's own task code.

    python evaluation.py SMALL OUTPUT

SMALL is common/evaluation/tests/small, OUTPUT is tests/golden. Needs Python 3.10 or later and `pip install lm-eval==0.4.13`;
no model, no network. Each task's own definition reads a small file in the official format, and makes its requests of it. These
are recorded, with scores that are made up, and what the harness makes of such scores.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"

from lm_eval.api.metrics import stderr_for_metric
from lm_eval.api.task import ConfigurableTask
from lm_eval.tasks import TaskManager
from lm_eval.tasks._yaml_loader import load_yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "oracles"))

from harness import pages  # noqa: E402

# Ours, theirs, and the small file.
TASKS = [
    ("lambada_harness", "lambada_openai", "lambada_test.jsonl"),
    ("hellaswag_harness", "hellaswag", "hellaswag_val.jsonl"),
    ("wsc273_harness", "wsc273", "wsc273.jsonl"),
    ("wikitext2_harness", "wikitext", "wiki.test.raw"),
]


def task(manager, name, path, folder):
    """The harness's task, with a local file in the place of its data set."""
    if name == "wikitext":
        path = folder / "pages.jsonl"
        text = (SMALL / "wiki.test.raw").read_text()
        path.write_text("".join(json.dumps({"page": page}) + "\n" for page in pages(text)))
    config = dict(load_yaml(manager.task_index[name].yaml_path, resolve_func=True))
    config.pop("tag", None)
    split = config.get("test_split") or config["validation_split"]
    config.update(
        task=name,
        dataset_path="json",
        dataset_name=None,
        dataset_kwargs={"data_files": {split: str(path)}, "cache_dir": str(folder / "cache")},
        training_split=None,
        validation_split=split if not config.get("test_split") else None,
    )
    return ConfigurableTask(config=config)


def made_up(index, texts):
    """A log-likelihood and whether it is greedy: different ones, and some that are equal."""
    length = len(texts[-1])
    return [-((index * 7919 + length * 104729) % 9973) / 4999 - 0.125 * (length % 5) - 0.125, (index * 31 + length) % 3 == 0]


def results(task, requests):
    """The harness's metrics of made-up scores, with its standard errors."""
    values = {}
    for document in sorted({request.doc_id for request in requests}):
        own = sorted((r for r in requests if r.doc_id == document), key=lambda r: r.idx)
        rolling = own[0].request_type == "loglikelihood_rolling"
        scores = [made_up(document * 4 + r.idx, r.args) for r in own]
        given = [score[0] for score in scores] if rolling else [tuple(score) for score in scores]
        for metric, value in task.process_results(own[0].doc, given).items():
            values.setdefault(metric, []).append(value)
    found = {}
    for metric, all_values in values.items():
        aggregation = task.aggregation()[metric]
        found[metric] = aggregation(all_values)
        error = stderr_for_metric(metric=aggregation, bootstrap_iters=10_000)
        if error is not None and len(all_values) > 1:
            found[metric + "_stderr"] = error(all_values)
    return found


def main():
    manager = TaskManager()
    golden = {}
    for ours, theirs, file in TASKS:
        with tempfile.TemporaryDirectory() as folder:
            harness = task(manager, theirs, SMALL / file, Path(folder))
        harness.build_all_requests(limit=None, rank=0, world_size=1)
        requests = sorted(harness.instances, key=lambda r: (r.doc_id, r.idx))
        golden[ours] = {
            "file": file,
            "harness": theirs,
            "requests": [
                {"item": r.doc_id, "texts": list(r.args), "score": made_up(r.doc_id * 4 + r.idx, r.args)} for r in requests
            ],
            "results": results(harness, requests),
        }
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}" for name, value in golden.items())
    (Path(sys.argv[2]) / "evaluation.json").write_text("{\n" + lines + "\n}\n")


SMALL = Path(sys.argv[1])

if __name__ == "__main__":
    main()
