"""Convoy's programs. pip puts their names on PATH as small scripts, which call the functions below.

Each function replaces Python by the program. What the program finds by itself needs no help: torch where it lies beside
this package, and an MPI library in the environment's `lib`.
"""

import importlib.util
import os
import shutil
import sys
from pathlib import Path


def launcher():
    _become("launcher")


def worker():
    _become("worker")


def prepare():
    _become("prepare")


def _become(name):
    package = Path(__file__).resolve().parent
    scripts = Path(sys.argv[0]).resolve().parent
    # The MPI library of this environment goes with its mpirun, also where the environment is not activated.
    if (scripts / "mpirun").exists():
        _prepend("PATH", scripts)
    torch = importlib.util.find_spec("torch")
    if torch is not None and torch.origin and Path(torch.origin).resolve().parents[1] != package.parent:
        _prepend("LD_LIBRARY_PATH", Path(torch.origin).parent / "lib")
    # Commands that the program prints begin with this: its name, where a shell finds it by that.
    found = shutil.which(name)
    is_on_path = found is not None and os.path.realpath(found) == os.path.realpath(sys.argv[0])
    try:
        os.execv(package / "bin" / name, [name if is_on_path else sys.argv[0], *sys.argv[1:]])
    except OSError as error:
        sys.exit(f"error: cannot start {package / 'bin' / name}: {error.strerror}; install the wheel again")


def _prepend(variable, folder):
    present = os.environ.get(variable)
    os.environ[variable] = f"{folder}:{present}" if present else str(folder)
