"""Runs a command once for each rank, all at once, and prints one JSON line for all: what the slowest rank needed.

    ranks.py RANKS COMMAND ARGUMENT...

{rank} and {ranks} in an argument are replaced; the environment says the same, as under torchrun.
"""

import json
import os
import socket
import subprocess
import sys


def main() -> None:
    ranks, command = int(sys.argv[1]), sys.argv[2:]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = []
    for rank in range(ranks):
        variables = {
            "RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": ranks, "LOCAL_WORLD_SIZE": ranks,
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
        }
        environment = os.environ | {key: str(value) for key, value in variables.items()}
        argv = [argument.replace("{ranks}", str(ranks)).replace("{rank}", str(rank)) for argument in command]
        processes.append(subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, text=True))
    outputs = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        sys.exit(f"of {ranks} ranks of {command[0]}: {[process.returncode for process in processes]}")
    rows = [json.loads(output.strip().splitlines()[-1]) for output in outputs]
    total = {key: sum(row[key] for row in rows) for key in ("tokens", "checksum")}
    seconds = max(row["seconds"] for row in rows)
    print(json.dumps(total | {"seconds": seconds, "tokens_per_second": total["tokens"] / seconds}))


if __name__ == "__main__":
    main()
