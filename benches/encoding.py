"""Text to token ids on one and two threads, beside the encoders of PyPI and crates.io, with GPT-2's vocabulary."""

from harness import RELEASE, ROOT, SCRATCH, Bench, Command, Output, execute, python_with, row_each
import texts

BUILD = ["--package", "common", "--examples"]
# Text of the kind that GPT-2 is trained on: a cache of words is at its best.
PROSE = {"tiktoken-rs": 3.0, "bpe": 2.0, "tiktoken": 3.0, "tokenizers": 3.0}
# Any other: never behind the best.
ANY = dict.fromkeys(PROSE, 1.0)


def encode(documents, threads: int, aims: dict[str, float], skip: str = "") -> Bench:
    name = f"encode-{documents.__name__}-{threads}"

    def commands() -> list[Command]:
        path = documents() if documents is texts.jargon else texts.file_of(documents)
        python = python_with("tiktoken", "tokenizers")
        peers = [python, ROOT / "benches" / "encode_peers.py", path, str(threads), vocabulary()]
        tokens: set[int] = set()

        def same_tokens(output: Output) -> dict[str, float | None]:
            tokens.update(row["tokens"] for row in output.rows if row["tokens"] is not None)
            assert len(tokens) == 1, f"{name}: implementations disagree: {tokens} tokens"
            return row_each("mb_per_second")(output)

        # The texts of prose are short, a few hundredths of a second: among more rounds is one that nothing disturbed.
        rounds = "15" if aims is PROSE else "3"
        rust = Command([RELEASE / "examples" / "encode_speed", path, str(threads), rounds], same_tokens)
        # The number of threads of tokenizers is of the process.
        return [rust, Command(peers, same_tokens, environment={"RAYON_NUM_THREADS": str(threads)})]

    return Bench(name, "MB/s", commands, aims, BUILD, skip=skip)


def vocabulary() -> str:
    """GPT-2's tokenizer.json as Convoy writes it: the peers would fetch theirs."""
    folder = SCRATCH / "gpt2"
    if not (folder / "tokenizer.json").exists():
        execute(Command([RELEASE / "examples" / "gpt2_files", f"file://{folder}"], row_each("")))
    return str(folder / "tokenizer.json")


def benches() -> list[Bench]:
    skip = "" if texts.have_corpora() else texts.NO_CORPORA
    found = [(texts.openwebtext, PROSE, skip), (texts.wikitext, PROSE, skip), (texts.html, ANY, skip), (texts.unbroken, ANY, "")]
    if skip and texts.JARGON.exists():
        found.append((texts.jargon, ANY, ""))
    return [encode(documents, threads, aims, skip) for documents, aims, skip in found for threads in (1, 2)]
