"""`edit`: corrections of a transcript by a person (docs/corrections.md)."""

from __future__ import annotations

import argparse
import getpass
import json
from dataclasses import asdict
from functools import partial
from pathlib import Path

from diarize.corrections.operations import DoesNotFit, Operation
from diarize.corrections.state import State
from diarize.errors import ConfigError
from diarize.text import counted
from pipelines.cli import console
from pipelines.results import outputs

_REQUESTS = (
    ("--name", "WHO=NAME", "give a speaker (id or name) another name, as SPEAKER_01=Anna"),
    ("--merge", "WHO,WHO", "join speakers who are one person, as SPEAKER_02,SPEAKER_04"),
    (
        "--turn",
        "START-END=WHO",
        "set who speaks in this span (s), as 83.2-87.9=SPEAKER_03; new:Maria adds a speaker, nothing after = is nobody",
    ),
    ("--word", "TIME=TEXT", "replace the word at this time (s), as 83.2=budget; nothing after = removes it"),
    ("--apply", "FILE", "operations (JSON lines), or a CSV of speaker,name"),
    ("--adopt", "FILE", "an export that somebody corrected: TextGrid, EAF, Audacity, SRT, VTT, TXT, DOCX, RTTM, JSON"),
    ("--undo", "N", "take back correction N; the last one without N"),
    ("--redo", "N", "bring back correction N; the last one without N"),
)


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command and its options."""
    edit = commands.add_parser("edit", help="correct names, turns and words of a transcript; nothing is overwritten")
    edit.add_argument("folder", type=Path, metavar="OUT/<id>", help="folder of one recording's results")
    for option, value, help in _REQUESTS:
        optional = "?" if option in ("--undo", "--redo") else None
        edit.add_argument(
            option, metavar=value, help=help, nargs=optional, action=_Request, dest="requests", default=[]
        )
    edit.add_argument("--list", action="store_true", help="list all corrections, and those that no longer fit")
    edit.add_argument("--author", metavar="NAME", help="who corrects; default: the user's account")
    edit.add_argument("--json", action="store_true", help="print the result as JSON")
    edit.set_defaults(command=_edit)


class _Request(argparse.Action):
    """Requests of all kinds, in the order in which they stand on the command line."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, value: object, option: str | None = None
    ) -> None:
        namespace.requests = [*namespace.requests, (str(option)[2:], value)]


def _edit(args: argparse.Namespace) -> int:
    from pipelines.results.corrections import Corrections
    from pipelines.results.integrity import is_results
    from pipelines.review import adopt, edit, requests

    def request(kind: str, value: str | None, state: State) -> Operation | list[Operation]:
        if kind in ("undo", "redo"):
            return edit.undo(Corrections(args.folder), _number(kind, value), kind == "redo")
        if kind == "adopt":
            adoption = adopt.adopt(Path(str(value)), Corrections(args.folder))
            for note in adoption.notes:
                console.warn(f"note: {note}")
            if adoption.operation is None:
                raise DoesNotFit(f"{value} has no correction that is not there already")
            return adoption.operation
        if kind == "apply":
            return requests.from_file(Path(str(value)), state)
        return {"name": requests.name, "merge": requests.merge, "turn": requests.turn, "word": requests.word}[kind](
            str(value), state
        )

    if is_results(args.folder) and not (args.folder / outputs.TRANSCRIPT).exists():
        problem, cure = "holds the results of a run", f"Name the folder of one recording in it: {args.folder}/<id>."
        raise ConfigError("edit", str(args.folder), problem, cure)
    outputs.read(args.folder)  # its errors come first
    asked = [partial(request, kind, value) for kind, value in args.requests]
    result = edit.edit(args.folder, asked, args.author or account())
    history = result.corrections.history
    if args.json:
        plain = {
            "done": [asdict(entry) for entry in result.entries],
            "skipped": result.skipped,
            "conflicts": [{"number": one.entry.number, "problem": one.problem} for one in history.conflicts],
            "head": result.corrections.head,
        }
        console.say(json.dumps(plain, indent=1))
        return 0
    listed = history.entries if args.list else [one for one in history.entries if one.entry in result.entries]
    for one in listed:
        console.say(edit.describe(one))
    for reason in result.skipped:
        console.say(f"skipped: {reason}")
    if args.list or not args.requests:
        kinds = ("undo", "redo")
        fit = sum(not (one.problem or one.undone or one.entry.operation["op"] in kinds) for one in history.entries)
        console.say(f"{counted(fit, 'correction')} in effect, {len(history.conflicts)} that do not fit; {args.folder}")
    if result.corrections.problem:
        console.warn(f"warning: {args.folder}: {result.corrections.problem}")
    return 0


def _number(kind: str, value: str | None) -> int | None:
    """The number of a correction. Raises ConfigError for anything else."""
    if value is None:
        return None
    if not (value.isascii() and value.isdigit()):
        raise ConfigError(f"--{kind}", value, "is not the number of a correction", "See the numbers with --list.")
    return int(value)


def account(command: str = "edit") -> str:
    """The name of the user's account. Raises ConfigError where it has none, as in some containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError) as error:
        raise ConfigError(command, "--author", "the account has no name", "Name the author: --author NAME.") from error
