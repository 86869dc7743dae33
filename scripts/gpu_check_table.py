"""The table of scripts/gpu_check.sh: FOLDER of its results, peak FLOP/s, device. A check that was not asked for has no row; what one
left out says so. Ends with 1, and says which, if rows are not as they must be."""

import json
import sys
from pathlib import Path

# 6N + 12 L C T of a token, for T = 1024: parameters, layers, width.
MODELS = {"124m": (124_439_808, 12, 768), "1558m": (1_557_611_200, 48, 1600), "tiny": (3_374_720, 3, 64)}

# What a row must keep to.
FLOAT32_MOST = 1e-5  # relative, of a loss on one device beside another, or of two ranks' beside one's
BFLOAT16_MOST = 0.02  # nats, of losses that are smoothed over so many steps
SMOOTHED = 20
MEMORY_MOST = 0.05  # relative, on a GPU
FAULT = "  <- "  # what follows says what it must be


def held(text: str, is_good: bool, must: str) -> str:
    return text if is_good else f"{text}{FAULT}{must}"


def losses(folder: Path, name: str) -> list[float]:
    lines = (folder / f"{name}.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    return [record["loss"] for record in sorted((r for r in records if "loss" in r), key=lambda r: r["step"])]


def loss_rows(folder: Path, device: str) -> list[tuple[str, str]]:
    names = ("cpu", "device", "again", "bf16", "bf16-again", "fast")
    if not any((folder / f"{name}.toml").exists() for name in names):
        return []
    if missing := [name for name in names if not (folder / f"{name}.jsonl").exists()]:
        return [("losses", held(f"FAILED: {', '.join(missing)}", False, "see the logs"))]
    cpu, gpu, again, bf16, bf16_again, fast = (losses(folder, name) for name in names)
    relative = max(abs(a - b) / abs(b) for a, b in zip(gpu, cpu))
    repeated = lambda first, second: "every digit" if first == second else held("DIFFERS", False, "must be the same")

    def off(values: list[float]) -> str:
        nats = [a - b for a, b in zip(smoothed(values), smoothed(cpu), strict=True)]
        most = max(map(abs, nats))
        return held(f"{most:.4f} nats, last {nats[-1]:+.4f}", most <= BFLOAT16_MOST, f"at most {BFLOAT16_MOST}")

    return [
        (f"{device} float32 against CPU, {len(cpu)} steps, largest relative difference", near(relative)),
        (f"{device} float32, repeated", repeated(gpu, again)),
        (f"{device} bfloat16, repeated", repeated(bf16, bf16_again)),
        (f"{device} bfloat16 against CPU float32, means of {SMOOTHED} losses, most", off(bf16)),
        ("the same with train.deterministic = false", off(fast)),
    ]


def smoothed(values: list[float]) -> list[float]:
    return [sum(values[i : i + SMOOTHED]) / SMOOTHED for i in range(len(values) - SMOOTHED + 1)]


def near(relative: float) -> str:
    return held(f"{relative:.2e}", relative <= FLOAT32_MOST, f"at most {FLOAT32_MOST}")


def rank_rows(folder: Path) -> list[tuple[str, str]]:
    one = losses(folder, "device") if (folder / "device.jsonl").exists() else None
    rows = []
    if (path := folder / "ranks").exists():
        rows.append(("two ranks", path.read_text().strip()))
    for zero, words in ((0, "all-reduce"), (1, "ZeRO-1")):
        name = f"ranks-zero{zero}"
        if not (folder / f"{name}.toml").exists():
            continue
        if not (folder / f"{name}.jsonl").exists():
            rows.append((f"two ranks, {words}", held("FAILED, or was cut short", False, "see the log")))
            continue
        if one is None:
            rows.append((f"two ranks, {words}", "trained; compared only beside the losses"))
            continue
        relative = max(abs(a - b) / abs(b) for a, b in zip(losses(folder, name), one, strict=True))
        rows.append((f"two ranks, {words}, against one, largest relative difference", near(relative)))
    for signal, words in (("STOP", "stops answering (5 s allowed)"), ("KILL", "is killed")):
        if (path := folder / f"ranks-{signal}").exists():
            text = path.read_text().replace("\n", "")
            # After a kill mpirun ends with what the killed rank did.
            ends_well = text.startswith("exit 4 ") if signal == "STOP" else text.startswith("exit ") and not text.startswith("exit 0 ")
            must = "exit 4, and no rank left over" if signal == "STOP" else "not exit 0, and no rank left over"
            rows.append((f"one of two ranks {words}", held(text, ends_well and "left over" not in text, must)))
    return rows


def speed_rows(folder: Path, peak: float, device: str) -> list[tuple[str, str]]:
    rows = []
    for ours_path in sorted(folder.glob("ours-*.json")):
        name = ours_path.stem.removeprefix("ours-")
        peer_path = folder / f"peer-{name}.json"
        ours = json.loads(ours_path.read_text())
        peer = json.loads(peer_path.read_text()) if peer_path.exists() else None
        parameters, layers, width = MODELS[name.split("-")[0]]
        for who, figures in (("Convoy", ours), ("PyTorch, compiled", peer)):
            if figures is None:
                continue
            if "left_out" in figures:
                rows.append((f"{name}, {who}", f"left out: {figures['left_out']}"))
                continue
            if "tokens_per_second" not in figures:
                rows.append((f"{name}, {who}", held("FAILED", False, "see the log")))
                continue
            rate = figures["tokens_per_second"]
            mfu = (6 * parameters + 12 * layers * width * 1024) * rate / peak
            rows.append((f"{name}, {who}", f"{rate:,.0f} tokens/s, MFU {100 * mfu:.1f} %"))
        if "tokens_per_second" in ours and "tokens_per_second" in (peer or {}):
            rows.append((f"{name}, ratio", f"{ours['tokens_per_second'] / peer['tokens_per_second']:.3f}"))
        if "peak_memory_bytes" in ours:
            expected = sum(ours["expected_memory"].values())
            peak_bytes = ours["peak_memory_bytes"]
            off = peak_bytes / expected - 1
            # On a CPU the program and its libraries are in it.
            memory = held(
                f"{peak_bytes / 1e9:.2f} GB, {100 * off:+.1f} %", device != "cuda" or abs(off) <= MEMORY_MOST, f"at most {100 * MEMORY_MOST:.0f} %"
            )
            rows.append((f"{name}, peak memory, and off the formula", memory))
            phases = ("forward_ms", "backward_ms", "exposed_comm_ms", "optimizer_ms")
            words = ", ".join(f"{key.removesuffix('_ms').replace('_', ' ')} {ours[key]:.1f}" for key in phases)
            rows.append((f"{name}, milliseconds of a step's {ours['step_ms']:.1f}", words))
            rows.append((f"{name}, milliseconds in which the host queues it", f"{ours.get('queued_ms', float('nan')):.1f}"))
    return rows


def main() -> None:
    folder, peak, device = Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
    rows = []
    for name, words in (("kernels", "kernels beside their twins"), ("conformance", "conformance suite, ranks")):
        if (folder / name).exists():
            text = (folder / name).read_text().strip()
            rows.append((words, held(text, text.startswith("passed"), "see the log")))
    rows += [*loss_rows(folder, device), *rank_rows(folder), *speed_rows(folder, peak, device)]
    if not rows:
        sys.exit("nothing was checked")
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name:<{width}}  {value}")
    if faults := [name for name, value in rows if FAULT in value]:
        sys.exit(f"not as it must be: {'; '.join(faults)}")


if __name__ == "__main__":
    main()
