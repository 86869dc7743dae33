"""Saves and restores the state of a GPT-2 with torch.distributed.checkpoint, or writes as many bytes plainly; one rank of several.

    python -m torch.distributed.run --nproc-per-node 2 checkpoint_peer.py {save|async|plain|s3} MODEL FOLDER SAVES

The state is that of `worker bench-checkpoint --set parallel.zero=1`: every rank has the weights, and its part of AdamW's two
moments of each. With s3 it goes to s3://store/peer by AWS's own connector, and FOLDER is what lies behind that. Rank 0 prints a JSON line: medians over the saves, of the slowest rank each.
"""

import json
import os
import shutil
import statistics
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Shard

WIDTHS = {"gpt2-124m": (12, 768), "gpt2-355m": (24, 1024), "gpt2-774m": (36, 1280), "gpt2-1558m": (48, 1600)}
VOCABULARY, CONTEXT = 50257, 1024
PLAIN_WRITE_BYTES = 8 << 20


def shapes(layers: int, c: int) -> dict[str, list[int]]:
    block = {
        "ln_1.weight": [c], "ln_1.bias": [c], "attn.c_attn.weight": [c, 3 * c], "attn.c_attn.bias": [3 * c],
        "attn.c_proj.weight": [c, c], "attn.c_proj.bias": [c], "ln_2.weight": [c], "ln_2.bias": [c],
        "mlp.c_fc.weight": [c, 4 * c], "mlp.c_fc.bias": [4 * c], "mlp.c_proj.weight": [4 * c, c], "mlp.c_proj.bias": [c],
    }
    blocks = {f"h.{layer}.{name}": shape for layer in range(layers) for name, shape in block.items()}
    return {"wte.weight": [VOCABULARY, c], "wpe.weight": [CONTEXT, c], **blocks, "ln_f.weight": [c], "ln_f.bias": [c]}


def state(model: str) -> dict[str, torch.Tensor]:
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    state = {}
    for name, shape in shapes(*WIDTHS[model]).items():
        state[name] = torch.rand(shape)
        rows = shape[0] // mesh.size() + (mesh.get_rank() < shape[0] % mesh.size())
        for moment in ("exp_avg", "exp_avg_sq"):
            local = torch.rand([rows, *shape[1:]])
            strides = torch.empty(shape, device="meta").stride()
            sharded = DTensor.from_local(local, mesh, [Shard(0)], run_check=False, shape=torch.Size(shape), stride=strides)
            state[f"{name}.{moment}"] = sharded
    return state


def slowest(seconds: float) -> float:
    seconds = torch.tensor(seconds, dtype=torch.float64)
    dist.all_reduce(seconds, dist.ReduceOp.MAX)
    return seconds.item()


def timed(work) -> tuple[float, object]:
    dist.barrier()
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def storage(folder: Path, is_s3: bool):
    """What makes a writer, and what makes a reader."""
    if not is_s3:
        path = folder / "checkpoint"
        return lambda: dcp.FileSystemWriter(path, sync_files=True), lambda: dcp.FileSystemReader(path)
    from s3torchconnector import S3ClientConfig
    from s3torchconnector.dcp import S3StorageReader, S3StorageWriter

    where = {"region": "us-east-1", "path": "s3://store/peer", "s3client_config": S3ClientConfig(force_path_style=True)}
    return lambda: S3StorageWriter(**where), lambda: S3StorageReader(**where)


def with_dcp(state: dict, folder: Path, saves: int, is_async: bool, is_s3: bool) -> dict[str, list[float]]:
    new_writer, new_reader = storage(folder, is_s3)
    found = {"stall_ms": [], "save_seconds": [], "restore_seconds": []}
    for number in range(saves):
        fresh(folder)
        writer = new_writer()
        start = time.perf_counter()
        save = dcp.async_save if is_async else dcp.save
        stall, future = timed(lambda: save(state, storage_writer=writer))
        if is_async:
            future.result()
        found["stall_ms"].append(slowest(stall) * 1e3)
        found["save_seconds"].append(slowest(time.perf_counter() - start))
    for number in range(0 if is_async else saves):
        seconds, _ = timed(lambda: dcp.load(state, storage_reader=new_reader()))
        found["restore_seconds"].append(slowest(seconds))
    return found


def plain(state: dict, folder: Path, saves: int) -> dict[str, list[float]]:
    """A rank's half of the bytes, from memory that is there already, and an fsync."""
    part = memoryview(torch.cat([tensor.flatten() for tensor in state.values() if not isinstance(tensor, DTensor)]).numpy())
    part = part.cast("B")
    total = 3 * len(part) // dist.get_world_size()

    def write() -> None:
        with open(folder / f"rank-{dist.get_rank()}", "wb", buffering=0) as file:
            for at in range(0, total, PLAIN_WRITE_BYTES):
                start = at % (len(part) - PLAIN_WRITE_BYTES)
                file.write(part[start:start + min(PLAIN_WRITE_BYTES, total - at)])
            os.fsync(file.fileno())

    found = []
    for _ in range(saves):
        fresh(folder)
        found.append(slowest(timed(write)[0]))
    return {"save_seconds": found}


def fresh(folder: Path) -> None:
    dist.barrier()
    if dist.get_rank() == 0:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    dist.barrier()


def main() -> None:
    mode, model, folder, saves = sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    made = state(model)
    found = plain(made, folder, saves) if mode == "plain" else with_dcp(made, folder, saves, mode == "async", mode == "s3")
    if dist.get_rank() == 0:
        print(json.dumps({key: statistics.median(values) for key, values in found.items() if values}), flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
