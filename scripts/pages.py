#!/usr/bin/env python3
"""Checks the pages of the documentation: a part of `make check`.

    scripts/pages.py

- A relative link leads to a file, and its anchor to a heading of that page. A link to a folder is a fault, since a book has no folders.
- A row of a table has as many cells as the table's head.
- docs/SUMMARY.md, the contents of the book, names every page once.

scripts/book.py makes the book from these pages. scripts/dist follows the links of those that a release installs.
"""

import re
import sys
from collections.abc import Iterator
from os.path import normpath
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SUMMARY = "docs/SUMMARY.md"
# The end of a link or picture: the closing bracket of its text, and its target. The text may go on over several lines.
TARGET = re.compile(r"\]\(([^()\s]+)\)")
CODE_SPAN = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)")


def pages() -> list[str]:
    """Paths of all pages below the root, without the book's contents."""
    found = [ROOT / name for name in ("configs/README.md", "k8s/README.md")]
    found += [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    return sorted(path for path in (str(file.relative_to(ROOT)) for file in found) if path != SUMMARY)


def prose(text: str) -> Iterator[tuple[int, str]]:
    """Lines outside fenced blocks with their numbers, from 1."""
    fence = None
    for number, line in enumerate(text.splitlines(), 1):
        mark = re.match(r"\s*(```+|~~~+)", line)
        if mark and (fence is None or mark[1].startswith(fence)):
            fence = mark[1] if fence is None else None
        elif fence is None:
            yield number, line


def without_code(line: str) -> str:
    return CODE_SPAN.sub("", line)


def is_external(target: str) -> bool:
    return re.match(r"[a-z]+:", target) is not None


def resolve(page: str, target: str) -> tuple[str, str]:
    """Path below the root and anchor to which a link in a page leads."""
    path, _, anchor = target.partition("#")
    return (normpath(f"{Path(page).parent}/{path}") if path else page), anchor


def anchors(text: str) -> set[str]:
    """Anchors of a page's headings, as git forges and mdBook make them."""
    found: set[str] = set()
    for _, line in prose(text):
        heading = re.match(r"#{1,6} (.*)", line)
        if heading:
            words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading[1]).strip().lower()
            anchor = name = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
            again = 0
            while anchor in found:
                again += 1
                anchor = f"{name}-{again}"
            found.add(anchor)
    return found


def link_faults(page: str, text: str, root: Path = ROOT) -> Iterator[str]:
    for number, line in prose(text):
        for target in TARGET.findall(without_code(line)):
            if is_external(target):
                continue
            path, anchor = resolve(page, target)
            file = root / path
            if path.startswith("..") or not file.exists():
                yield f"{page}:{number}: {target} leads nowhere"
            elif file.is_dir():
                yield f"{page}:{number}: {target} is a folder; name a file in it"
            elif anchor and not (path.endswith(".md") and anchor in anchors(file.read_text())):
                yield f"{page}:{number}: {path} has no heading for #{anchor}"


def table_faults(page: str, text: str) -> Iterator[str]:
    """A bar within a cell, of code too, is written `\\|`."""
    head = before = 0
    for number, line in prose(text):
        cells = len(re.findall(r"(?<!\\)\|", line)) - 1 if line.lstrip().startswith("|") else 0
        if cells and before != number - 1:
            head = cells
        elif cells and cells != head:
            yield f"{page}:{number}: {cells} cells in a row of a table of {head}"
        if cells:
            before = number


def summary_faults() -> Iterator[str]:
    named = [resolve(SUMMARY, target)[0] for target in TARGET.findall((ROOT / SUMMARY).read_text())]
    for page in sorted(set(named)):
        if named.count(page) > 1:
            yield f"{SUMMARY}: {page} is there {named.count(page)} times"
    for page in pages():
        if page not in named:
            yield f"{SUMMARY}: {page} is missing"


def main() -> None:
    faults = list(summary_faults())
    for page in [SUMMARY, *pages()]:
        text = (ROOT / page).read_text()
        faults += [*link_faults(page, text), *table_faults(page, text)]
    for fault in faults:
        print(f"pages: {fault}", file=sys.stderr)
    if faults:
        sys.exit(1)
    print(f"pages: {len(pages())} pages, their links, tables and contents")


if __name__ == "__main__":
    main()
