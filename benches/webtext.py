"""Stages from pages to clean documents, each on one core by the processor time of its processes: reading a WARC of
html_article_benchmark's pages beside warcio; main text of these pages beside trafilatura for Python with its defaults, its fast form
and its precise form, of which Convoy takes the last; FineWeb's rules without the language on openwebtext1000, beside datatrove's
filters with its reader and executor; MinHash signatures of these documents with FineWeb's parameters, and clusters by the signatures
of 10,000 documents that are made of them, beside datatrove's steps. Both write their sorted signatures or keys to files, and read
these for the clusters.

The unit has the mean size of a document, so MB/s is the product. docs/webtext.md has the extractors' F1 on these pages, on which
they were also chosen."""

import functools
import json
import random
import shutil
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
# Documents in which clusters are found. Of ten, seven are new and three are edits of earlier ones.
COPIES, EDITED = 10_000, 0.3
# Shares of words that an edit replaces. The similarity of the documents is about 1, 0.95, 0.9, 0.8, 0.7 and 0.5.
EDITS = (0.0, 0.005, 0.01, 0.02, 0.035, 0.07)
# Convoy draws its own permutations, so a pair near the threshold may be found by one and not by the other.
TOLERANCE = 0.05


def peer(mode: str, *paths: Path) -> list[str | Path]:
    packages = ("datatrove", "spacy", "numpy", "orjson", "tokenizers", "xxhash", "trafilatura", "lxml_html_clean", "warcio")
    return [python_with(*packages, environment="webtext"), ROOT / "benches" / "webtext_peer.py", mode, *paths]


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


def agreeing(argvs: dict[str, list[str | Path]], tolerance: float) -> list[Command]:
    """Commands by implementation. All have about as many documents, keep about as many, and find about as many clusters."""
    found: dict[str, dict] = {}

    def speed(name: str, output: Output) -> dict[str, float]:
        found[name] = output.rows[-1]
        for key in ("documents", "kept", "clusters"):
            numbers = [row[key] for row in found.values()]
            assert max(numbers) <= min(numbers) * (1 + tolerance), found
        return {name: found[name]["documents_per_s"]}

    return [Command(argv, functools.partial(speed, name)) for name, argv in argvs.items()]


def signing() -> list[Command]:
    ours = [RELEASE / "examples" / "speed", "sign", DOCUMENTS, FOLDER / "ours"]
    return agreeing({OURS: ours, "datatrove": peer("sign", DOCUMENTS, FOLDER / "theirs")}, tolerance=0)


def clustering() -> list[Command]:
    speed, keys = RELEASE / "examples" / "speed", FOLDER / f"ours-{COPIES}"
    subprocess.run([speed, "sign", copies(), keys], check=True, stdout=subprocess.DEVNULL)
    return agreeing({OURS: [speed, "cluster", keys], "datatrove": peer("cluster", signed_by_peer())}, TOLERANCE)


@functools.cache
def copies() -> Path:
    """openwebtext1000's documents, these with their words in any order, and edits of any of them."""
    path = FOLDER / f"copies-{COPIES}.jsonl"
    if not path.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        draw = random.Random(1)
        with DOCUMENTS.open(encoding="utf-8") as lines:
            originals = [json.loads(line)["text"].split(" ") for line in lines]
        documents = list(originals)
        while len(documents) < COPIES:
            if draw.random() < EDITED:
                share, words = draw.choice(EDITS), draw.choice(documents)
                documents.append([draw.choice(words) if draw.random() < share else word for word in words])
            else:
                words = draw.choice(originals)
                documents.append(draw.sample(words, len(words)))
        part = path.with_suffix(".part")
        part.write_text("".join(json.dumps({"text": " ".join(words)}) + "\n" for words in documents))
        part.rename(path)
    return path


@functools.cache
def signed_by_peer() -> Path:
    """datatrove's signatures of the copies, made once: that takes a minute or two."""
    folder = FOLDER / f"theirs-{COPIES}"
    if not folder.exists():
        part = FOLDER / "theirs.part"
        shutil.rmtree(part, ignore_errors=True)
        subprocess.run(peer("sign", copies(), part), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        part.rename(folder)
    return folder


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
        Bench("deduplicate-signatures", documents, signing, {"datatrove": 10.0}, BUILD, skip=skip),
        Bench("deduplicate-clusters", "documents/s", clustering, {"datatrove": 10.0}, BUILD, skip=skip),
    ]
