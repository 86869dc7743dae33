"""What every benchmark shares: what one is, how it is run, and where the peers come from.

A benchmark is some commands that print JSON lines, from which it takes one figure for each implementation; ours is called
"convoy". One round runs each command once, so ours and the peers' runs alternate, since other load on a machine comes and
goes; what counts is the median over rounds of the ratio within a round.
"""

import importlib.metadata
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
RELEASE = TARGET / "release"
SCRATCH = TARGET / "bench"
OURS = "convoy"

# The peers of PyPI, by name.
PACKAGES = {"torch": "2.11.0", "numpy": None, "tiktoken": "0.14.0", "tokenizers": "0.23.3", "mosaicml-streaming": "0.13.0",
            "s3torchconnector": "1.5.0", "tenacity": None, "transformers": "4.57.1", "lm-eval": "0.4.13",
            "accelerate": None, "peft": None, "datatrove": "0.9.0", "spacy": "3.8.18", "orjson": None, "trafilatura": "2.3.1",
            "lxml_html_clean": None, "warcio": "1.8.1", "xxhash": "3.8.2"}


@dataclass
class Output:
    """What a command printed as JSON lines, and the most memory that it held."""

    rows: list[dict]
    max_rss_mb: float


@dataclass
class Command:
    """One process of a round. `figures` takes what it did to figures by implementation; None where one cannot do it."""

    argv: list[str | Path]
    figures: Callable[[Output], dict[str, float | None]]
    before: Callable[[], None] = lambda: None
    environment: dict[str, str] = field(default_factory=dict)
    prints: bool = True  # false: the figures are elsewhere, where `figures` knows


@dataclass
class Bench:
    """A comparison. `commands` is called once it is to be run: what they need is made there."""

    name: str
    unit: str
    commands: Callable[[], list[Command]]
    aims: dict[str, float | None]  # by peer: how many times better ours must be; None where it is only for comparison
    build: list[str]  # arguments of cargo build
    smaller_is_better: bool = False
    skip: str = ""  # why it cannot be run here
    rounds: int | None = None  # where other than as many as are asked for


def only_row(name: str, key: str) -> Callable[[Output], dict[str, float]]:
    """The figure of a command that runs one implementation: `key` in its last line."""
    return lambda output: {name: output.rows[-1][key]}


def row_each(key: str) -> Callable[[Output], dict[str, float]]:
    """The figures of a command that prints a line for each implementation."""
    return lambda output: {row["implementation"]: row[key] for row in output.rows}


def run(bench: Bench, rounds: int) -> dict:
    """A row of results.json."""
    commands = bench.commands()
    figures: list[dict[str, float | None]] = []
    rounds = bench.rounds or rounds
    for number in range(rounds):
        figures.append({})
        for command in commands:
            figures[-1] |= command.figures(execute(command))
        shown = ", ".join(f"{name} {show(value)}" for name, value in figures[-1].items())
        print(f"{bench.name} {number + 1}/{rounds}: {shown} {bench.unit}", file=sys.stderr, flush=True)
    able = [name for name in bench.aims if all(row[name] is not None for row in figures)]

    def ratio(peer: str) -> float:
        ratios = [row[OURS] / row[peer] for row in figures]
        return statistics.median(1 / r for r in ratios) if bench.smaller_is_better else statistics.median(ratios)

    ratios = {peer: ratio(peer) for peer in able}
    # The one that comes closest to what we aim at, or misses it most, is what the row is about.
    closest = min((peer for peer in able if bench.aims[peer]), key=lambda peer: ratios[peer] / bench.aims[peer])
    median = lambda name: statistics.median(row[name] for row in figures) if name in [*able, OURS] else None
    return {
        "name": bench.name,
        "unit": bench.unit,
        "ours": median(OURS),
        "peers": {closest: median(closest)} | {name: median(name) for name in bench.aims if name != closest},
        "ratio": ratios[closest],
        "aim": bench.aims[closest],
        "ratios": ratios,
        "aims": bench.aims,
        "machine": machine(),
    }


def show(value: float | None) -> str:
    return "fails" if value is None else f"{value:.1f}"


def execute(command: Command) -> Output:
    command.before()
    # The thread counts are arguments; what the environment says about them must not be in the way.
    environment = {k: v for k, v in os.environ.items() if k not in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    argv = [str(argument) for argument in command.argv]
    # Not subprocess.run: of it one learns only the most memory of any process so far.
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment | command.environment
        )
        stdout = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        errors.seek(0)
        stderr = errors.read()
    process.returncode = os.waitstatus_to_exitcode(status)
    rows = json_objects(stdout)
    if process.returncode != 0 or (command.prints and not rows):
        sys.exit(f"{' '.join(argv)} ended with {process.returncode} and no figure:\n{stdout}{stderr}")
    return Output(rows, usage.ru_maxrss / 1000)


def json_objects(text: str) -> list[dict]:
    """The JSON objects in `text` that start a line, over one line or several."""
    found, decoder, at = [], json.JSONDecoder(), 0
    while (at := text.find("{", at)) >= 0:
        try:
            value, end = decoder.raw_decode(text, at)
        except json.JSONDecodeError:
            at += 1
            continue
        found.append(value)
        at = end
    return found


def machine() -> str:
    """What the figures were taken on, in words."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if "model name" in line]
    return f"{len(os.sched_getaffinity(0))} cores, {models[0] if models else os.uname().machine}"


def cache_folder() -> Path:
    if "CONVOY_CACHE" in os.environ:
        return Path(os.environ["CONVOY_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "convoy"


def mpirun(ranks: int) -> list[str]:
    """What starts so many ranks on this machine."""
    return ["mpirun", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none", "-n", str(ranks)]


def python_with(*names: str, environment: str = "venv") -> Path:
    """The interpreter of an environment of peers, into which those of PACKAGES that are missing are installed. One that needs
    other versions of the others' libraries has an environment of its own."""
    venv = cache_folder() / "peers" / environment
    python = venv / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    wanted = [f"{name}=={PACKAGES[name]}" if PACKAGES[name] else name for name in names]
    folders = [str(folder) for folder in venv.glob("lib/python*/site-packages")]
    there = {d.metadata["Name"].lower(): d.version for d in importlib.metadata.distributions(path=folders)}
    # What PyTorch's index offers has a suffix: 2.11.0+cpu.
    fits = lambda name: name in there and PACKAGES[name] in (None, there[name].split("+")[0])
    if not all(fits(name) for name in names):
        print(f"installing {' '.join(wanted)} into {venv}", file=sys.stderr)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *wanted], check=True)
    return python
