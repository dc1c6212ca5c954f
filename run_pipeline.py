"""The door: arguments -> settings -> one recipe -> report -> exit status.

Exit status: 0 all done, 2 usage, 3 some recordings failed, 4 nothing could be processed, 5 the environment (a model, a
disk) is missing or full, 6 integrity, 130 interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import NoReturn

import diarize
from diarize.errors import (
    BackendError,
    CalibrationError,
    ConfigError,
    DiarizeError,
    LibraryDamaged,
    LibraryError,
    LibraryMissing,
    LibraryUnreadable,
    ModelDamaged,
    ModelError,
    OutputError,
    PassphraseError,
    UnknownBackend,
    UnknownModel,
    UnknownPerson,
)
from pipelines.batch import spare_worker
from pipelines.processes import standard_streams
from pipelines.processes.interrupt import exit_without_traceback, treat_all_as_ctrl_c

FAMILIES = {  # command -> the module of pipelines.cli.commands that adds it; only what is asked for is loaded
    "process": "main_job", "export": "main_job", "status": "main_job", "merge-runs": "main_job",
    "enroll": "enroll", "evaluate": "evaluate", "speakers": "speakers", "identify": "identify",
    "verify": "scores", "compare": "scores", "score-trials": "scores", "calibrate": "scores",
    "models": "models", "cache": "cache", "config": "machine", "doctor": "machine",
}  # fmt: skip

PURPOSE = "Speaker diarization and transcription: recordings in, labelled transcripts and speaker timelines out."

STATUS: dict[type[DiarizeError], int] = {
    # the first that fits
    ConfigError: 2,
    UnknownBackend: 2,
    UnknownModel: 2,
    ModelDamaged: 6,
    ModelError: 5,
    BackendError: 5,
    OutputError: 5,
    LibraryDamaged: 6,
    LibraryMissing: 2,
    LibraryUnreadable: 2,
    PassphraseError: 2,
    UnknownPerson: 2,
    LibraryError: 5,
    CalibrationError: 2,
    DiarizeError: 4,
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """As argparse, but without the address of a library, which may hold a password."""
        super().error(re.sub(r"(postgres(ql)?:/)\S+", r"\1...", message))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit status."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    standard_streams.prepare()
    with contextlib.ExitStack() as held:
        with exit_without_traceback():  # this takes a third of a second
            held.enter_context(spare_worker.started_early(words))
            top = parser(words[:1])
        treat_all_as_ctrl_c()
        return _obeyed(top, words)


def _obeyed(top: argparse.ArgumentParser, words: Sequence[str]) -> int:
    from pipelines.cli import console

    try:
        args = parse(top, words)
        return int(args.command(args))
    except DiarizeError as error:
        console.warn(f"error: {error}")
        return next(status for kind, status in STATUS.items() if isinstance(error, kind))
    except OSError as error:  # a disk or a right that gave way where nobody expected it
        console.warn(f"error: {error}")
        return 5
    except KeyboardInterrupt:
        console.warn("interrupted")
        return 130


def parse(top: argparse.ArgumentParser, words: Sequence[str]) -> argparse.Namespace:
    """The arguments, recordings also behind options, where argparse by itself would not know them."""
    args, rest = top.parse_known_args(words)
    if rest and (not hasattr(args, "recordings") or any(word.startswith("-") for word in rest)):
        top.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        args.recordings = [*args.recordings, *map(Path, rest)]
    return args


def parser(asked: Sequence[str] = ()) -> argparse.ArgumentParser:
    """Every command and option; of the command that is `asked` for, where there is such a one, and its family."""
    found = {FAMILIES[word] for word in asked if word in FAMILIES} or dict.fromkeys(FAMILIES.values())
    top = _Parser(prog="diarize", description=PURPOSE, epilog=(__doc__ or "").partition("\n\n")[2])
    top.add_argument("--version", action="version", version=f"diarize-pipeline {diarize.__version__}")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    for family in found:
        import_module(f"pipelines.cli.commands.{family}").add(commands)
    return top


if __name__ == "__main__":
    sys.exit(main())
