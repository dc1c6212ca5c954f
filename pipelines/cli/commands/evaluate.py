"""`evaluate`: how good a result is, in the field's own measures (docs/evaluate.md)."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from diarize.text import counted
from pipelines.cli import console
from pipelines.inputs import settings


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command and its options."""
    command = commands.add_parser("evaluate", help="score results against references: DER, JER, WER, cpWER, ...")
    command.add_argument("--reference", required=True, type=Path, help="folder or file: RTTM, JSON, STM, CTM, SegLST")
    command.add_argument("--hypothesis", required=True, type=Path, nargs="+", help="folders or files, side by side")
    command.add_argument("--out", required=True, type=Path, help="folder of evaluation.json, .csv, .md and pictures")
    command.add_argument("--uem", type=Path, help="what is scored; default: all of each recording")
    command.add_argument("--collar", type=float, default=0.0, metavar="S", help="s left out on each side of a boundary")
    command.add_argument("--skip-overlap", action="store_true", help="leave overlapped speech of the reference out")
    command.add_argument(
        "--convention", choices=("pyannote", "md-eval"), default="pyannote", help="pairing of speakers"
    )
    command.add_argument("--normalise", type=settings.split, metavar="A,B,...", help="steps of text normalisation")
    command.add_argument("--match", action="append", default=[], metavar="PATTERN", help="take only these references")
    command.add_argument("--ignore", action="append", default=[], metavar="PATTERN", help="leave these references out")
    command.add_argument("--allow-missing", action="store_true", help="score what both sides have")
    command.add_argument("--no-pictures", action="store_true", help="draw nothing")
    command.set_defaults(command=run)


def run(given: argparse.Namespace) -> int:
    from pipelines.cli import figures
    from pipelines.evaluation import report
    from pipelines.evaluation.evaluate import Request, evaluate
    from pipelines.evaluation.scores import Rules

    rules = Rules(collar=given.collar, skip_overlap=given.skip_overlap, convention=given.convention)
    if given.normalise is not None:
        rules = Rules(given.collar, given.skip_overlap, given.convention, normalise=tuple(given.normalise))
    evaluation = evaluate(
        Request(
            given.reference,
            tuple(given.hypothesis),
            given.uem,
            rules,
            tuple(given.match),
            tuple(given.ignore),
            given.allow_missing,
        )
    )
    for line in report.settings(evaluation):
        console.say(line)
    width = max(console.console(sys.stdout).width, console.NARROWEST)
    for found in report.tables(evaluation):
        for title, table in figures.fitted(found.title, found.columns, found.rows, found.names, width):
            console.say()
            console.say(title)
            console.say(table)
    console.say()
    for note in evaluation.notes:
        console.say(f"note: {note}")
    written = report.write(given.out, evaluation, pictures=not given.no_pictures)
    console.say(f"{counted(len(written), 'file')}: {given.out}")
    return 0
