"""The command line: which module adds which command, and how arguments are parsed."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from diarize.version import __version__

FAMILIES = {  # command -> module of pipelines.cli.commands; only the one that is needed is imported
    "process": "main_job", "export": "main_job", "status": "main_job", "merge-runs": "main_job",
    "enroll": "enroll", "evaluate": "evaluate", "speakers": "speakers", "identify": "identify",
    "verify": "scores", "compare": "scores", "score-trials": "scores", "calibrate": "scores",
    "models": "models", "cache": "cache", "config": "machine", "doctor": "machine",
}  # fmt: skip
PURPOSE = "Speaker diarization and transcription: recordings in, labelled transcripts and speaker timelines out."


class CommandLine(argparse.ArgumentParser):
    """The parser of all commands, or of one and its family."""

    def error(self, message: str) -> NoReturn:
        """As argparse, but without the address of a library, which may hold a password."""
        super().error(re.sub(r"(postgres(ql)?:/)\S+", r"\1...", message))

    def parse(self, words: Sequence[str]) -> argparse.Namespace:
        """The arguments. argparse by itself does not accept recordings before and after options."""
        args, rest = self.parse_known_args(words)
        if rest and (not hasattr(args, "recordings") or any(word.startswith("-") for word in rest)):
            self.error(f"unrecognized arguments: {' '.join(rest)}")
        if rest:
            args.recordings = [*args.recordings, *map(Path, rest)]
        return args


def build_parser(command: str = "", epilog: str = "") -> CommandLine:
    """The parser of one command and its family; of all commands, if `command` is not one of them."""
    families = [FAMILIES[command]] if command in FAMILIES else list(dict.fromkeys(FAMILIES.values()))
    parser = CommandLine(prog="diarize", description=PURPOSE, epilog=epilog)
    parser.add_argument("--version", action="version", version=f"diarize-pipeline {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for family in families:
        import_module(f"pipelines.cli.commands.{family}").add(commands)
    return parser
