"""From the death of a rank to the first new step, of a run on three hosts that are namespaces of this machine."""

import os
import shutil
import subprocess
import sys

from harness import OURS, RELEASE, Bench, Command, Output

LIMIT = "10 s"


def figures(output: Output) -> dict[str, float]:
    parts = dict(output.rows[-1])
    total = parts.pop("total_s")
    shown = ", ".join(f"{name.removesuffix('_s')} {value:.1f}" for name, value in parts.items())
    print(f"  {shown}", file=sys.stderr, flush=True)
    return {OURS: total, LIMIT: 10.0}


def missing() -> str:
    programs = [name for name in ("unshare", "nsenter", "ip", "ssh", "mpirun") if not shutil.which(name)]
    if programs or not os.path.exists(os.environ.get("CONVOY_SSHD", "/usr/sbin/sshd")):
        return f"there is no {', '.join(programs) or 'sshd'}"
    probe = subprocess.run(["unshare", "--net", "--uts", "--mount", "--pid", "--fork", "true"], capture_output=True)
    return "" if probe.returncode == 0 else "namespaces are not permitted"


def benches() -> list[Bench]:
    return [
        Bench(
            name="recovery-3-hosts",
            unit="s from SIGKILL to a new step",
            commands=lambda: [Command([RELEASE / "recovery"], figures)],
            aims={LIMIT: 1.0},
            build=["--workspace", "--bins"],
            smaller_is_better=True,
            skip=missing(),
        )
    ]
