#!/usr/bin/env python3
"""Finds files of a package that import each other in a circle, directly or by others. Prints each circle and fails if there is one.

Counted are the paths that begin with `crate::` or `super::`, outside of tests. What a folder's mod.rs, or lib.rs and main.rs, has
for the files below it does not count: a file may use what its folder's own file defines."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PATH = re.compile(r"\b((?:crate|super)(?:::super)*(?:::\w+)*)(::\{)?")


def without_tests(text: str) -> str:
    """The code without comments and without what is below the first `#[cfg(test)]` of a module."""
    code = re.split(r"#\[cfg\(test\)\]\s*(?:pub(?:\(\w+\))? )?mod \w+ \{", text)[0]
    return re.sub(r"//[^\n]*", "", code)


def in_braces(text: str, start: int) -> str:
    """The text from `start` to the brace that closes the one before it."""
    depth, end = 1, start
    while depth and end < len(text):
        depth += {"{": 1, "}": -1}.get(text[end], 0)
        end += 1
    return text[start : end - 1]


def names(text: str) -> Iterator[list[str]]:
    """Every path that the code names, as its parts."""
    for found in PATH.finditer(text):
        parts = found[1].split("::")
        if not found[2]:
            yield parts
            continue
        # Members of a list, of which those of lists within count by their first name.
        for member in re.findall(r"(?:^|,)\s*(\w+(?:::\w+)*)", in_braces(text, found.end())):
            yield parts + member.split("::")


def module_of(file: Path, source: Path) -> list[str]:
    parts = list(file.relative_to(source).with_suffix("").parts)
    return parts[:-1] if parts[-1] in ("mod", "lib", "main") else parts


def imports(source: Path) -> dict[Path, set[Path]]:
    files = {tuple(module_of(file, source)): file for file in sorted(source.rglob("*.rs")) if file.name != "tests.rs"}
    arrows: dict[Path, set[Path]] = {file: set() for file in files.values()}
    for module, file in files.items():
        for parts in names(without_tests(file.read_text(encoding="utf-8"))):
            base = list(module) if parts[0] == "super" else []
            while parts and parts[0] in ("super", "crate"):
                base = base[:-1] if parts[0] == "super" else base
                parts = parts[1:]
            path = base + parts
            while path and tuple(path) not in files:
                path.pop()
            target = files.get(tuple(path))
            if target and target != file and target.name not in ("mod.rs", "lib.rs", "main.rs"):
                arrows[file].add(target)
    return arrows


def circles(arrows: dict[Path, set[Path]]) -> list[list[Path]]:
    """Tarjan's strongly connected components of more than one file."""
    index: dict[Path, int] = {}
    low: dict[Path, int] = {}
    stack: list[Path] = []
    found = []

    def visit(file: Path) -> None:
        index[file] = low[file] = len(index)
        stack.append(file)
        for to in arrows[file]:
            if to not in index:
                visit(to)
                low[file] = min(low[file], low[to])
            elif to in stack:
                low[file] = min(low[file], index[to])
        if low[file] == index[file]:
            circle = stack[stack.index(file) :]
            del stack[stack.index(file) :]
            if len(circle) > 1:
                found.append(sorted(circle))

    for file in arrows:
        if file not in index:
            visit(file)
    return found


def main() -> None:
    manifests = [file for file in sorted(ROOT.rglob("Cargo.toml")) if "target" not in file.relative_to(ROOT).parts]
    sources = [manifest.parent / "src" for manifest in manifests if (manifest.parent / "src").is_dir()]
    if not sources:
        sys.exit(f"circles: there is no package below {ROOT}")
    found = [circle for source in sources for circle in circles(imports(source))]
    for circle in found:
        print("circle: " + ", ".join(str(file.relative_to(ROOT)) for file in circle))
    if found:
        sys.exit(f"circles: {len(found)} circles of files that import each other; move what both need into a file of its own")
    print(f"circles: none among the files of {len(sources)} packages")


if __name__ == "__main__":
    main()
