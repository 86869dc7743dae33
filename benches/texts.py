"""The texts of the benchmarks, as JSON lines with a field `text`, made once in target/bench/texts.

They come from a folder of corpora (CONVOY_CORPORA, by default shared/corpora beside the repository). Where there is none the
Jargon File stands in for them, and what needs them is skipped.
"""

import itertools
import json
import os
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from harness import ROOT, SCRATCH

sys.path.append(str(ROOT / "scripts" / "golden"))
import corpora  # noqa: E402

CORPORA = Path(os.environ.get("CONVOY_CORPORA", ROOT.parent / "shared" / "corpora"))
JARGON = Path("/usr/share/dictd/jargon.dict.dz")
NO_CORPORA = f"no corpora in {CORPORA}; CONVOY_CORPORA names another folder"
MB = 1_000_000


def have_corpora() -> bool:
    return CORPORA.is_dir()


def corpus(*starts: str) -> Iterator[str]:
    """The documents of the corpora whose names start so."""
    for name, documents in corpora.corpora(CORPORA):
        if name.startswith(starts):
            yield from (document.decode(errors="replace") for document in documents)


def openwebtext() -> Iterable[str]:
    return corpus("openwebtext1000/openwebtext")


def wikitext() -> Iterable[str]:
    return corpus("wikitext2/wiki.test.raw", "wikitext2/wiki.valid")


def html() -> Iterable[str]:
    """12 MB of web pages as they are, in many languages and scripts."""
    pages = list(corpus("html_article_benchmark/html", "html_readability/readability"))
    random.Random(1).shuffle(pages)
    return first_mb(12, pages)


def unbroken() -> Iterable[str]:
    """1 MB each of what cannot be split: one letter, letters, digits, spaces, punctuation, and letters of 3 bytes."""
    draw = random.Random(1)
    letters, digits, marks = "abcdefghijklmnopqrstuvwxyz", "0123456789", "!#$%&()*+,-./:;<=>?@[]^_{|}~"
    chinese = "".join(chr(code) for code in range(0x4E00, 0x5200))
    for alphabet, count in [("a", MB), (letters, MB), (digits, MB), (" ", MB), (marks, MB), (chinese, MB // 3)]:
        yield "".join(draw.choices(alphabet, k=count))


def english() -> Iterable[str]:
    """37 MB: web text, reviews, news, chat, Wikipedia, plays."""
    return corpus("openwebtext1000/openwebtext", "nltk_text/", "wikitext2/", "tinyshakespeare/", "enwiki_sample/", "hellaswag/h")


def much() -> Iterable[str]:
    """1 GB: the web text again and again. Each time the words that it has at most twice get other vowels, so that new
    words keep coming as they do in a long text, and a cache does not know them."""
    documents = [re.findall(r"[A-Za-z]+|[^A-Za-z]+", text) for text in openwebtext()]
    count = Counter(itertools.chain.from_iterable(documents))
    letters = itertools.product(itertools.permutations("aeiou"), ["bdgmn", "dgmnb"])
    for vowels, others in itertools.islice(letters, 215):
        changed_letters = "".join(vowels) + others
        change = str.maketrans("aeioubdgmnAEIOUBDGMN", changed_letters + changed_letters.upper())
        changed = {word: word.translate(change) for word, times in count.items() if times <= 2}
        yield from ("".join([changed.get(word, word) for word in document]) for document in documents)


def jargon() -> Path:
    return made("jargon", lambda path: subprocess.run(
        [sys.executable, ROOT / "scripts" / "jargon_to_jsonl.py", path], check=True, stdout=subprocess.DEVNULL))


def first_mb(mb: int, documents: Iterable[str]) -> Iterator[str]:
    size = 0
    for document in documents:
        yield document
        size += len(document.encode())
        if size >= mb * MB:
            return


def made(name: str, make) -> Path:
    path = SCRATCH / "texts" / f"{name}.jsonl"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".part")
        make(unfinished)
        unfinished.rename(path)
    return path


def file_of(documents) -> Path:
    """The file of one of the functions above."""

    def write(path: Path) -> None:
        with path.open("w", encoding="utf-8") as file:
            for text in documents():
                file.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")

    return made(documents.__name__, write)
