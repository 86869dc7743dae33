"""An S3 server on this machine for as long as the benchmarks run, and how to reach it."""

import atexit
import subprocess
import time
from pathlib import Path

from harness import RELEASE


def s3_server(root: Path, shaping: str = "rate=0") -> dict[str, str]:
    """Starts the tests' server over the folder `root`, with a bucket `store`; `shaping` is its --faults. The environment of its
    clients.

    What is read from it must have been put through it: of a file that lies there otherwise it would hash the whole for each
    read of a part."""
    root.mkdir(parents=True, exist_ok=True)
    port_file = root / ".port"
    port_file.unlink(missing_ok=True)
    argv = [RELEASE / "s3-server", "--root", root, "--bucket", "store", "--port-file", port_file, "--faults", shaping]
    server = subprocess.Popen([str(argument) for argument in argv])
    atexit.register(server.terminate)
    while not port_file.exists():
        if server.poll() is not None:
            raise RuntimeError(f"s3-server ended with {server.returncode} before it served {root}")
        time.sleep(0.01)
    endpoint = f"http://127.0.0.1:{port_file.read_text().strip()}"
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "S3_ENDPOINT_URL": endpoint,  # where mosaicml-streaming looks
        "AWS_ACCESS_KEY_ID": "convoy",
        "AWS_SECRET_ACCESS_KEY": "convoy-secret",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
