"""Documents to token shards, end to end on two cores, beside the encoder by itself on as many threads."""

import shutil
import subprocess

from harness import OURS, RELEASE, SCRATCH, Bench, Command, only_row
import texts

ENCODER = "encoder alone"
BUILD = ["--package", "launcher", "--package", "prepare", "--package", "common", "--examples", "--bins"]
RANKS = ["--ranks", "2"]


def commands() -> list[Command]:
    path = texts.file_of(texts.much) if texts.have_corpora() else texts.jargon()
    output, config = SCRATCH / "prepared", SCRATCH / "prepare.toml"
    config.write_text(f'[prepare]\ninputs = ["{path}"]\noutput = "{output}"\ntokenizer = "gpt2"\n')
    launcher = RELEASE / "launcher"
    help_text = subprocess.run([launcher, "prepare", "--help"], capture_output=True, text=True).stdout
    ranks = RANKS if RANKS[0] in help_text else []
    return [
        Command(
            [launcher, "prepare", "--config", config, *ranks, "--json"],
            only_row(OURS, "mb_per_second"),
            # What is there already is not made again.
            before=lambda: shutil.rmtree(output, ignore_errors=True),
        ),
        Command([RELEASE / "examples" / "encode_speed", path, "2", "1", "convoy"], only_row(ENCODER, "mb_per_second")),
    ]


def benches() -> list[Bench]:
    skip = "" if texts.have_corpora() or texts.JARGON.exists() else f"{texts.NO_CORPORA}, and no {texts.JARGON}"
    return [Bench("prepare", "MB/s", commands, {ENCODER: 0.6}, BUILD, skip=skip)]
