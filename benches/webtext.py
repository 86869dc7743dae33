"""Stages from pages to clean documents, each on one core by the processor time of its processes: reading a WARC of
html_article_benchmark's pages beside warcio; main text of these pages beside trafilatura for Python with its defaults, its fast form
and its precise form, of which Convoy takes the last; FineWeb's rules without the language on openwebtext1000, beside datatrove's
filters with its reader and executor.

The unit has the mean size of a document, so MB/s is the product. docs/webtext.md has the extractors' F1 on these pages, on which
they were also chosen."""

import functools
import json
import subprocess
from pathlib import Path

import texts
from harness import OURS, RELEASE, ROOT, SCRATCH, Bench, Command, Output, python_with, row_each

FOLDER = SCRATCH / "webtext"
ARTICLES = texts.CORPORA / "html_article_benchmark"
DOCUMENTS = texts.CORPORA / "openwebtext1000" / "openwebtext-1000.decoded.jsonl"
BUILD = ["--workspace", "--bins", "--examples"]
# FineWeb's rules on openwebtext1000. A bench that compares other work is none.
KEPT = 875


def peer(mode: str, path: Path) -> list[str | Path]:
    packages = ("datatrove", "spacy", "numpy", "orjson", "trafilatura", "lxml_html_clean", "warcio")
    return [python_with(*packages, environment="webtext"), ROOT / "benches" / "webtext_peer.py", mode, path]


def figures(output: Output) -> dict[str, float]:
    """Speed of each implementation that a peer's process has run."""
    assert all(row.get("kept", KEPT) == KEPT for row in output.rows), output.rows
    return row_each("documents_per_s")(output)


def ours(*argv: str | Path, key: str, kept: int | None = None) -> Command:
    def speed(output: Output) -> dict[str, float]:
        row = output.rows[-1]
        assert kept in (None, row.get("kept")), row
        return {OURS: row[key]}

    return Command(list(argv), speed)


@functools.cache
def archive() -> Path:
    """The pages in a WARC, ten times, by warcio."""
    path = FOLDER / "articles.warc.gz"
    if not path.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        part = FOLDER / "articles.part"
        subprocess.run([*peer("pack", ARTICLES), part], check=True, stdout=subprocess.DEVNULL)
        part.rename(path)
    return path


def reading() -> list[Command]:
    return [ours(RELEASE / "examples" / "speed", "read", archive(), key="documents_per_s"), Command(peer("warcio", archive()), figures)]


def extracting() -> list[Command]:
    FOLDER.mkdir(parents=True, exist_ok=True)
    argv = [RELEASE / "examples" / "extract_benchmark", ARTICLES, FOLDER / "articles.json", "1", RELEASE / "webtext-extract"]
    return [ours(*argv, key="pages_per_s"), Command(peer("trafilatura", ARTICLES), figures)]


def cleaning() -> list[Command]:
    command = ours(RELEASE / "examples" / "speed", "clean", DOCUMENTS, key="documents_per_s", kept=KEPT)
    return [command, Command(peer("datatrove", DOCUMENTS), figures)]


def kb(sizes: list[int]) -> str:
    return f"{sum(sizes) / len(sizes) / 1e3:.1f} kB"


def page_size() -> str:
    # gzip has the size of its content at the end.
    return kb([int.from_bytes(path.read_bytes()[-4:], "little") for path in ARTICLES.glob("html/*.html.gz")])


def document_size() -> str:
    with DOCUMENTS.open(encoding="utf-8") as lines:
        return kb([len(json.loads(line)["text"].encode()) for line in lines])


def benches() -> list[Bench]:
    there = ARTICLES.is_dir() and DOCUMENTS.is_file()
    skip = "" if there else texts.NO_CORPORA
    pages, documents = (f"pages/s of {page_size()}", f"documents/s of {document_size()}") if there else ("pages/s", "documents/s")
    extract = {"trafilatura, default": 3.0, "trafilatura, fast": None, "trafilatura, precise": None}
    return [
        Bench("webtext-pages", pages, reading, {"warcio": 1.0}, BUILD, skip=skip),
        Bench("webtext-extract", pages, extracting, extract, BUILD, skip=skip),
        Bench("webtext-clean", documents, cleaning, {"datatrove": 10.0}, BUILD, skip=skip),
    ]
