#!/usr/bin/env python3
"""Makes the documentation a book with search, by mdBook: `make docs`.

    scripts/book.py              writes target/book/html/index.html
    MDBOOK=FILE scripts/book.py  with that mdBook instead of the one in the cache folder

The pages stay where a git forge shows them. mdBook wants all of them below one folder and has a name of its own for README.md, so they
are copied to target/book/src, in their folders, with their links rewritten. Other files that pages link to are copied as text. At the
end, every link of the book is followed.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from os.path import normpath, relpath
from pathlib import Path
from urllib.parse import unquote

from pages import ROOT, SUMMARY, TARGET, is_external, pages, prose, resolve

VERSION = "0.5.4"
CACHE = Path(os.environ.get("CONVOY_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "convoy")
BOOK = ROOT / "target/book"


def mdbook() -> str:
    """Path of mdBook, which is compiled into the cache folder where it is missing."""
    if "MDBOOK" in os.environ:
        return os.environ["MDBOOK"]
    folder = CACHE / f"mdbook-{VERSION}"
    program = folder / "bin/mdbook"
    if not program.exists():
        print(f"docs: installing mdbook {VERSION} into {folder}, once")
        # Without its server and its watching of files, which halves the packages.
        features = ["--no-default-features", "--features", "search"]
        run("cargo", "install", "mdbook", "--version", VERSION, "--locked", *features, "--root", str(folder))
    return str(program)


def run(*command: str) -> None:
    code = subprocess.run(command, cwd=ROOT).returncode
    if code:
        sys.exit(f"docs: {command[0]} ended with exit code {code}")


def in_book(path: str) -> str:
    """Place in the book of a file of the repository."""
    file = Path(path)
    if file.name == "README.md":
        return str(file.with_name("index.md"))
    # Browsers show text as such by this ending, and may offer other names for download.
    return path if file.suffix == ".md" else f"{path}.txt"


def rewritten(page: str, text: str, linked: set[str]) -> str:
    """A page's text with links that work in the book. Adds what it links to, except other sites, to `linked`."""
    at = "SUMMARY.md" if page == SUMMARY else in_book(page)

    def replace(link: re.Match) -> str:
        target = link[1]
        if is_external(target) or target.startswith("#"):
            return link[0]
        path, anchor = resolve(page, target)
        linked.add(path)
        return f"]({relpath(in_book(path), Path(at).parent)}{'#' * bool(anchor)}{anchor})"

    lines = text.splitlines()
    for number, line in prose(text):
        # Code spans stay as they are.
        parts = re.split(r"(`+[^`]*`+)", line)
        lines[number - 1] = "".join(part if part.startswith("`") else TARGET.sub(replace, part) for part in parts)
    return "\n".join(lines) + "\n"


def copy_pages() -> None:
    shutil.rmtree(BOOK, ignore_errors=True)
    linked: set[str] = set()
    for page in [SUMMARY, *pages()]:
        to = BOOK / "src" / ("SUMMARY.md" if page == SUMMARY else in_book(page))
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_text(rewritten(page, (ROOT / page).read_text(), linked))
    for path in linked - set(pages()):
        to = BOOK / "src" / in_book(path)
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, to)
    shutil.copyfile(ROOT / "docs/book.toml", BOOK / "book.toml")


class Targets(HTMLParser):
    """Ids and links of a file of the book."""

    def __init__(self, text: str):
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.ids.add(value)
            elif (tag, name) == ("a", "href") and value:
                self.links.append(value)


def faults() -> Iterator[str]:
    """Links of the book that lead nowhere."""
    html = BOOK / "html"
    parsed = {str(file.relative_to(html)): Targets(file.read_text()) for file in html.rglob("*.html")}
    for name, targets in sorted(parsed.items()):
        # Its links are those of a page at an address that is not known.
        if name == "404.html":
            continue
        for link in targets.links:
            if is_external(link):
                continue
            path, _, anchor = link.partition("#")
            to = normpath(f"{Path(name).parent}/{unquote(path)}") if path else name
            if not (html / to).is_file():
                yield f"{name}: {link} leads nowhere"
            elif anchor and to in parsed and unquote(anchor) not in parsed[to].ids:
                yield f"{name}: {link} leads to no heading"


def main() -> None:
    copy_pages()
    run(mdbook(), "build", str(BOOK))
    found = list(faults())
    for fault in found:
        print(f"docs: {fault}", file=sys.stderr)
    if found:
        sys.exit(1)
    print(f"docs: {BOOK.relative_to(ROOT)}/html/index.html")


if __name__ == "__main__":
    main()
