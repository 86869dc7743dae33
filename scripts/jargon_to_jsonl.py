#!/usr/bin/env python3
"""Writes a dictd dictionary as JSON lines, one document per entry: {"text": ...}.

    jargon_to_jsonl.py OUTPUT.jsonl [DICTIONARY]

DICTIONARY is the path without its endings `.index` and `.dict.dz`; by default the Jargon File of Debian's package
dict-jargon. The index has one line per headword: headword, offset and length of its entry, both numbers in dictd's
base 64. The text is dictzip, which any gzip reader reads.
"""

import gzip
import argparse
import json
import sys

DIGITS = {c: i for i, c in enumerate("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")}
# Entries of this kind describe the dictionary itself.
ABOUT_ITSELF = ("00-database", "00database")


def number(digits):
    value = 0
    for digit in digits:
        value = value * 64 + DIGITS[digit]
    return value


def entries(dictionary):
    """The text of each entry, in the order of the file; headwords that share an entry give it once."""
    with gzip.open(f"{dictionary}.dict.dz") as file:
        text = file.read()
    places = set()
    with open(f"{dictionary}.index", encoding="utf-8") as file:
        for line in file:
            headword, offset, length = line.rstrip("\n").split("\t")[:3]
            if not headword.startswith(ABOUT_ITSELF):
                places.add((number(offset), number(length)))
    for offset, length in sorted(places):
        yield text[offset : offset + length].decode("utf-8").strip()


def main():
    parser = argparse.ArgumentParser(description="Every entry of a dictd dictionary becomes a document.")
    parser.add_argument("output", help="the JSONL file to write")
    parser.add_argument("dictionary", nargs="?", default="/usr/share/dictd/jargon", help="without .index and .dict.dz")
    arguments = parser.parse_args()
    try:
        documents = [entry for entry in entries(arguments.dictionary) if entry]
    except FileNotFoundError as error:
        sys.exit(f"{error.filename} does not exist; install Debian's dict-jargon, or give another text with "
                 "make demo DEMO_TEXT=file.txt")
    with open(arguments.output, "w", encoding="utf-8") as file:
        for document in documents:
            file.write(json.dumps({"text": document}, ensure_ascii=False) + "\n")
    print(f"{len(documents)} documents, {sum(len(d.encode()) for d in documents):,} bytes of text")


if __name__ == "__main__":
    main()
