#!/usr/bin/env python3
"""Installs libtorch from the torch wheel of PyPI, for building against from C++.

    libtorch.py FOLDER [--cuda]

By default only what CPU work needs is unpacked: the wheel is a CUDA build, but its CPU library links just two small
CUDA libraries, which come from wheels of their own. `--cuda` unpacks every library and what they depend on. FOLDER
then holds `torch/` and `nvidia/` as the wheels have them (the libraries find each other by relative paths) and
`view/`, which is what LIBTORCH must name (see make_view).

Files are compared with the wheels' own lists, so an interrupted installation is completed and one made by hand is
accepted. The marker file is written last.
"""

import argparse
import csv
import fcntl
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

TORCH = "torch==2.11.0"
# What libtorch_cpu.so of that build links, at the versions that its metadata asks for.
CPU_NEEDS = ["nvidia-cuda-runtime==13.0.96", "nvidia-cuda-cupti==13.0.85"]
CPU_FILES = re.compile(
    r"torch/include/.*"
    r"|torch/lib/lib(c10|torch_cpu|torch_global_deps|gomp)\.so(\.\d+)?"
    r"|nvidia/cu13/lib/lib(cudart|cupti)\.so\.13"
)
CUDA_FILES = re.compile(r"torch/(include|lib)/.*|nvidia/.*")
# Any CPython 3 will do to run this script: the tag only picks a wheel, whose C++ libraries are the same in all.
# pip takes a platform literally, so the older ones that a host of the newest also runs are listed too.
PLATFORMS = [f"manylinux_2_{minor}_x86_64" for minor in range(28, 16, -1)] + ["manylinux2014_x86_64"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cuda", action="store_true", help="all libraries, for work on GPUs")
    arguments = parser.parse_args()
    folder, cuda = arguments.folder.resolve(), arguments.cuda

    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # Two set-ups at once would remove each other's downloads.
        complete(folder, cuda)


def complete(folder, cuda):
    """Brings the folder to what is asked for, unless its marker says that it is there."""
    marker = folder / ".complete"
    have = marker.read_text().strip() if marker.exists() else None
    if have == "cuda" or (have == "cpu" and not cuda):
        print(f"libtorch: {folder} is complete ({have})")
        return
    if cuda or not is_whole(folder):
        install(folder, cuda)
    make_view(folder)
    marker.write_text("cuda\n" if cuda else "cpu\n")
    print(f"libtorch: {folder} is complete now ({'cuda' if cuda else 'cpu'})")


def is_whole(folder):
    """Whether every file for CPU work is there with its size, as far as the wheels' lists in the folder say."""
    lists = [sorted(folder.glob(f"{name}-*.dist-info/RECORD")) for name in
             ("torch", "nvidia_cuda_runtime", "nvidia_cuda_cupti")]
    if not all(lists):
        return False
    rows = [row for found in lists for path in found for row in csv.reader(path.read_text().splitlines())]
    wanted = [(folder / name, int(size)) for name, _, size in rows if CPU_FILES.fullmatch(name)]
    return all(path.is_file() and path.stat().st_size == size for path, size in wanted)


def install(folder, cuda):
    """Downloads the wheels and unpacks what is wanted of them."""
    # Beside the target, because the system's temporary folder is often small. Kept when interrupted: pip goes on from
    # the wheels that are whole.
    wheels = folder.with_name(folder.name + ".wheels")
    wheels.mkdir(exist_ok=True)
    size = "several GB" if cuda else "540 MB"
    print(f"libtorch: downloading {TORCH} and the CUDA libraries that it needs from PyPI ({size})", flush=True)
    download(wheels, [TORCH], with_dependencies=False)
    needs = cuda_needs(next(wheels.glob("torch-*.whl"))) if cuda else CPU_NEEDS
    download(wheels, needs, with_dependencies=cuda)
    for wheel in sorted(wheels.glob("*.whl")):
        unpack(wheel, folder, CUDA_FILES if cuda else CPU_FILES)
    shutil.rmtree(wheels)


def download(wheels, requirements, with_dependencies):
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--dest", wheels,
               "--only-binary=:all:", "--python-version", "3.11", "--implementation", "cp", "--abi", "cp311",
               "--abi", "none", *(f"--platform={platform}" for platform in PLATFORMS)]
    if not with_dependencies:
        command.append("--no-deps")
    outcome = subprocess.run([*command, *requirements])
    if outcome.returncode != 0:
        sys.exit(f"libtorch: pip could not download {' '.join(requirements)}; "
                 "check the connection to PyPI (or pip's index settings) and run this again")


def cuda_needs(torch_wheel):
    """The CUDA libraries among the dependencies that torch's own metadata lists; its Python ones are not for us."""
    with zipfile.ZipFile(torch_wheel) as archive:
        name = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        lines = archive.read(name).decode().splitlines()
    found = [re.match(r"Requires-Dist: ((?:nvidia-|cuda-toolkit)[^;]*)", line) for line in lines]
    return [match.group(1).strip() for match in found if match]


def unpack(wheel, folder, wanted):
    """Unpacks the wanted files of a wheel, its own list of files and its licences, skipping what is there."""
    with zipfile.ZipFile(wheel) as archive:
        members = [m for m in archive.infolist() if not m.is_dir()]
        # The lists come last: they are what is_whole goes by.
        members.sort(key=lambda m: ".dist-info/" in m.filename)
        for member in members:
            target = folder / member.filename
            if not (wanted.fullmatch(member.filename) or ".dist-info/" in member.filename):
                continue
            if target.is_file() and target.stat().st_size == member.file_size:
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            # Renamed when whole, so that no program ever sees half a library.
            partial = target.with_name(target.name + ".partial")
            with archive.open(member) as source, open(partial, "wb") as sink:
                shutil.copyfileobj(source, sink, 1 << 20)
            os.replace(partial, target)


def make_view(folder):
    """Makes the folder that the build is pointed at: headers, and only the CPU libraries.

    The torch-sys crate links libtorch_cuda.so as soon as it sees it, and the binary would then not start without a
    GPU's libraries. `libtorch.so` is a linker script, since the real one pulls in CUDA as well.
    """
    view = folder / "view"
    (view / "lib").mkdir(parents=True, exist_ok=True)
    links = {"include": "../torch/include"}
    links |= {f"lib/{name}": f"../../torch/lib/{name}" for name in ("libtorch_cpu.so", "libc10.so")}
    for name, target in links.items():
        link = view / name
        if not link.exists():
            link.unlink(missing_ok=True)
            link.symlink_to(target)
    script = view / "lib" / "libtorch.so"
    text = "INPUT(-ltorch_cpu -lc10)\n"
    if not script.is_file() or script.read_text() != text:
        script.write_text(text)


if __name__ == "__main__":
    main()
