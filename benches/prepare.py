"""Documents to token shards, end to end on two cores (one rank of two threads), beside the encoder by itself on as many.

There are as many shards as a corpus of some gigabytes has, so that threads share the writing."""

import shutil

from harness import OURS, RELEASE, SCRATCH, Bench, Command, only_row
import texts

ENCODER = "encoder alone"
BUILD = ["--package", "launcher", "--package", "prepare", "--package", "common", "--examples", "--bins"]


def commands() -> list[Command]:
    path = texts.file_of(texts.much) if texts.have_corpora() else texts.jargon()
    output, config = SCRATCH / "prepared", SCRATCH / "prepare.toml"
    config.write_text(f'[prepare]\ninputs = ["{path}"]\noutput = "{output}"\ntokenizer = "gpt2"\n' + "tokens_per_shard = 10_000_000\n")
    launcher = RELEASE / "launcher"
    return [
        Command(
            [launcher, "prepare", "--config", config, "--json"],
            only_row(OURS, "mb_per_second"),
            # What is there already is not made again.
            before=lambda: shutil.rmtree(output, ignore_errors=True),
        ),
        Command([RELEASE / "examples" / "encode_speed", path, "2", "1", "convoy"], only_row(ENCODER, "mb_per_second")),
    ]


def benches() -> list[Bench]:
    skip = "" if texts.have_corpora() or texts.JARGON.exists() else f"{texts.NO_CORPORA}, and no {texts.JARGON}"
    return [Bench("prepare", "MB/s", commands, {ENCODER: 0.6}, BUILD, skip=skip)]
