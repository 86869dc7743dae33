"""Training a vocabulary of 32,000 tokens beside Hugging Face's trainer on the same text: time, and memory."""

from harness import OURS, RELEASE, ROOT, Bench, Command, python_with
import texts

SIZE, THREADS = "32000", "2"
PEER = "tokenizers"


def training(name: str, unit: str, figure) -> Bench:
    def commands() -> list[Command]:
        path = texts.file_of(texts.english) if texts.have_corpora() else texts.jargon()
        peer = [python_with("tokenizers"), ROOT / "benches" / "bpe_training_peer.py", path, SIZE]
        return [
            Command([RELEASE / "examples" / "train_speed", path, SIZE, THREADS], lambda output: {OURS: figure(output)}),
            Command(peer, lambda output: {PEER: figure(output)}, environment={"RAYON_NUM_THREADS": THREADS}),
        ]

    skip = "" if texts.have_corpora() or texts.JARGON.exists() else f"{texts.NO_CORPORA}, and no {texts.JARGON}"
    return Bench(name, unit, commands, {PEER: 1.0}, ["--package", "common", "--examples"], smaller_is_better=True, skip=skip)


def benches() -> list[Bench]:
    seconds = lambda output: output.rows[-1]["seconds"]
    return [
        training("train-bpe-32k", "s", seconds),
        training("train-bpe-32k-memory", "MB", lambda output: output.max_rss_mb),
    ]
