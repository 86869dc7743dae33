"""Scores extracted texts by the article extraction benchmark's measure, beside trafilatura for Python on the same pages.

    python extract.py BENCHMARK [PREDICTIONS...]

BENCHMARK is the folder with ground-truth.json and html/*.html.gz, ../shared/corpora/html_article_benchmark; PREDICTIONS are files
that `cargo run --release -p webtext --example extract_benchmark BENCHMARK FILE` has written. Needs Python 3.10 or later and
`pip install 'trafilatura==2.*' lxml_html_clean`; without it, only the predictions are scored. No network.

The measure is that of scrapinghub's evaluate.py: multisets of 4-word shingles, precision and recall per page, means over the pages
for which each is defined, and F1 of the two means. Speed is pages per second of this process's own time, the best of three passes.
"""

import collections
import gzip
import json
import re
import statistics
import sys
import time
from pathlib import Path

SHINGLE_WORDS = 4
PASSES = 3
AIM = 0.95


def shingles(text):
    words = re.findall(r"\w+", text or "")
    starts = range(max(1, len(words) - SHINGLE_WORDS + 1))
    return collections.Counter(tuple(words[i : i + SHINGLE_WORDS]) for i in starts if words)


def share(hits, misses, others):
    """Precision or recall of a page: `misses` are what the one side has alone, `others` what the other has alone."""
    if misses == others == 0:
        return 1.0
    return hits / (hits + misses)


def score(truth, predictions):
    precision, recall = [], []
    for page, expected in truth.items():
        right, found = shingles(expected.get("articleBody")), shingles(predictions[page].get("articleBody"))
        hits, extra, missing = ((right & found).total(), (found - right).total(), (right - found).total())
        if found:
            precision.append(share(hits, extra, missing))
        if right:
            recall.append(share(hits, missing, extra))
    precision, recall = statistics.mean(precision), statistics.mean(recall)
    return precision, recall, 2 * precision * recall / (precision + recall)


def python_trafilatura(folder, **options):
    import trafilatura

    pages = {path.name.split(".")[0]: gzip.open(path, "rt", encoding="utf8").read() for path in folder.glob("html/*.html.gz")}
    best = float("inf")
    for _ in range(PASSES):
        started = time.process_time()
        texts = {page: trafilatura.extract(html, include_comments=False, **options) for page, html in pages.items()}
        best = min(best, time.process_time() - started)
    return {page: {"articleBody": text} for page, text in texts.items()}, len(pages) / best


def main():
    folder = Path(sys.argv[1])
    if not (folder / "ground-truth.json").exists():
        print(f"skipped: {folder} has no ground-truth.json")
        return
    truth = json.loads((folder / "ground-truth.json").read_text(encoding="utf8"))
    worst = 1.0
    print(f"{'extractor':32} precision recall   F1      pages/s")
    for path in map(Path, sys.argv[2:]):
        precision, recall, f1 = score(truth, json.loads(path.read_text(encoding="utf8")))
        worst = min(worst, f1)
        print(f"{path.stem:32} {precision:.3f}     {recall:.3f}    {f1:.4f}")
    try:
        import trafilatura
    except ImportError as error:
        print(f"skipped: trafilatura for Python ({error})")
    else:
        for name, options in ("default", {}), ("fast", {"fast": True}), ("favor_precision", {"favor_precision": True}):
            predictions, speed = python_trafilatura(folder, **options)
            precision, recall, f1 = score(truth, predictions)
            print(f"{f'Python {trafilatura.__version__} {name}':32} {precision:.3f}     {recall:.3f}    {f1:.4f}  {speed:.1f}")
    sys.exit(worst < AIM)


if __name__ == "__main__":
    main()
