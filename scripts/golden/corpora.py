"""The texts of a folder of corpora, decompressed, for the tokenizer's tests.

    python3 corpora.py FOLDER

writes records to standard output: u32 length and bytes of the name, u32 number of documents, then u64 length and
bytes of each document, all integers little-endian. A plain or compressed text file is one document, a member of an
archive is one, and the field `text` of a JSON line is one. What the standard library cannot unpack (zstd) is unpacked
by the command `zstd`, and left out, with a note, where there is none. Python 3.9 or later, nothing else.
"""

import bz2
import gzip
import io
import json
import lzma
import shutil
import struct
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

# Token ids, not text.
SKIPPED = {".bin", ".idx"}


def zip_members(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return [archive.read(name) for name in sorted(archive.namelist()) if not name.endswith("/")]


def tar_members(content):
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        files = sorted((m for m in archive.getmembers() if m.isfile()), key=lambda m: m.name)
        return [archive.extractfile(m).read() for m in files if m.name.endswith(".html")]


def json_texts(content):
    return [json.loads(line)["text"].encode() for line in content.splitlines() if line.strip()]


def documents(path):
    """The documents of a file; None where they cannot be had here."""
    content = path.read_bytes()
    if path.name.startswith("openwebtext"):
        return json_texts(content)
    if path.suffix == ".zst":
        if shutil.which("zstd") is None:
            print(f"{path.name}: left out, because there is no command zstd", file=sys.stderr)
            return None
        return tar_members(subprocess.run(["zstd", "-dc"], input=content, check=True, capture_output=True).stdout)
    unpack = {
        ".bz2": lambda c: [bz2.decompress(c)],
        ".gz": lambda c: [gzip.decompress(c)],
        ".xz": lambda c: [lzma.decompress(c)],
        ".zip": zip_members,
    }
    return unpack.get(path.suffix, lambda c: [c])(content)


def corpora(folder):
    """(name, documents as bytes) of everything in `folder`; a folder of .gz pages is one corpus."""
    folder = Path(folder)
    pages = sorted(folder.glob("html_article_benchmark/html/*.gz"))
    if pages:
        yield "html_article_benchmark/html", [d for page in pages for d in documents(page)]
    for path in sorted(p for p in folder.glob("*/*") if p.is_file() and p.suffix not in SKIPPED):
        found = documents(path)
        if found is not None:
            yield path.relative_to(folder).as_posix(), found


def main():
    out = sys.stdout.buffer
    for name, found in corpora(sys.argv[1]):
        name = name.encode()
        out.write(struct.pack("<I", len(name)) + name + struct.pack("<I", len(found)))
        for document in found:
            out.write(struct.pack("<Q", len(document)) + document)


if __name__ == "__main__":
    main()
