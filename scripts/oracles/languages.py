"""Labelled text of many languages, for `cargo run --release -p webtext --example languages FILE`.

    apt-get download manpages manpages-cs manpages-da ...      and dpkg-deb -x each into FOLDER/cs, FOLDER/da, ...
    python languages.py FOLDER CORPORA FILE

FILE has up to 150 man pages of each language as JSON lines, language by ISO 639-3 and running text, and every seventh document of
../shared/corpora/openwebtext1000, if that is there, as English. Nothing but the standard library, Python 3.9 or later.

Many a translated page is English still. A page is left out if at least 4 % of its first 1000 characters' words are one of seven
English ones, or if less than 30 % of its letters are of its script. No detector decides that.
"""

import gzip
import json
import random
import re
import sys
from pathlib import Path

CODES = dict(
    pair.split("=")
    for pair in "cs=ces da=dan de=deu el=ell en=eng es=spa fi=fin fr=fra hu=hun id=ind it=ita ja=jpn nb=nob nl=nld pl=pol pt=por "
    "pt-br=por ro=ron ru=rus sr=srp sv=swe tr=tur uk=ukr vi=vie zh=cmn".split()
)
ENGLISH = {"the", "and", "this", "which", "with", "that", "from"}
CYRILLIC, HAN, KANA = "\u0400-\u04ff", "\u4e00-\u9fff", "\u3040-\u30ff"
SCRIPTS = {"jpn": HAN + KANA, "cmn": HAN, "rus": CYRILLIC, "ukr": CYRILLIC, "srp": CYRILLIC + "a-zA-Z", "ell": "\u0370-\u03ff"}
PER_LANGUAGE = 150


def running_text(page):
    """Lines that are no requests to troff, without its escapes."""
    lines = [line for line in page.splitlines() if not line.startswith((".", "'"))]
    text = "\n".join(lines)
    text = re.sub(r"\\[*fn](\[[^\]]*\]|\(..|.)", "", text)
    text = re.sub(r"\\\(aq", "'", text)
    text = re.sub(r"\\(\(..|\[[^\]]*\])", " ", text)
    return text.replace("\\-", "-").replace("\\&", "").replace("\\ ", " ").replace("\\", "").strip()


def is_translated(language, text):
    text = text[:1000]
    words = re.findall(r"[^\W\d_]+", text.lower())
    letters = re.findall(r"[^\W\d_]", text)
    if language in SCRIPTS and len(re.findall(f"[{SCRIPTS[language]}]", text)) < 0.3 * len(letters):
        return False
    return language == "eng" or sum(word in ENGLISH for word in words) < 0.04 * len(words)


def pages(folder):
    for path in sorted(folder.rglob("*.gz")):
        if path.is_symlink() or "/doc/" in str(path):
            continue
        try:
            text = running_text(gzip.open(path).read().decode("utf-8"))
        except (OSError, UnicodeDecodeError):
            continue
        if len(text) >= 400:
            yield path.name, text


def main():
    folder, corpora, out = map(Path, sys.argv[1:])
    with out.open("w", encoding="utf-8") as file:
        put = lambda language, text: file.write(json.dumps({"language": language, "text": text}, ensure_ascii=False) + "\n")
        for sub in sorted(path for path in folder.iterdir() if path.name in CODES):
            language, texts = CODES[sub.name], sorted(dict(pages(sub)).items())
            random.Random(1).shuffle(texts)
            chosen = [text for _, text in texts[:PER_LANGUAGE]]
            translated = [text for text in chosen if is_translated(language, text)]
            print(f"{language}: {len(translated)} pages, {len(chosen) - len(translated)} left out")
            for text in translated:
                put(language, text)
        documents = corpora / "openwebtext1000/openwebtext-1000.decoded.jsonl"
        for line in documents.open(encoding="utf-8").readlines()[::7] if documents.is_file() else ():
            put("eng", json.loads(line)["text"])


if __name__ == "__main__":
    main()
