"""`speakers`: the library of enrolled speakers (docs/library.md)."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from diarize.errors import printable
from diarize.library.store import Library
from diarize.text import counted
from pipelines.cli import console
from pipelines.people import speakers

Run = Callable[[argparse.Namespace], int]


def library_options(command: argparse.ArgumentParser, required: bool = False) -> None:
    """Which library, and what opens it; shared by every command that uses one."""
    command.add_argument(
        "--library",
        required=required,
        metavar="LIB",
        help="a file, or postgresql://user@host/database; default: DIARIZE_LIBRARY, else a file of your own",
    )
    command.add_argument(
        "--passphrase-file", type=Path, metavar="FILE", help="of an encrypted library; or DIARIZE_PASSPHRASE"
    )


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command and its actions."""
    top = commands.add_parser("speakers", help="the library of enrolled speakers")
    actions = top.add_subparsers(required=True, metavar="ACTION")

    def action(
        name: str, run: Callable[[argparse.Namespace], int], help: str, *arguments: str
    ) -> argparse.ArgumentParser:
        made = actions.add_parser(name, help=help)
        for argument in arguments:
            made.add_argument(argument, type=Path if argument == "file" else str)
        library_options(made)
        made.set_defaults(command=run)
        return made

    for listing in (
        action("list", _list, "everybody, and the models of which there are voices"),
        action("show", _show, "one person and their utterances", "who"),
    ):
        listing.add_argument("--json", action="store_true", help="for programs")
    action("rename", _rename, "give a person another name", "who", "name")
    action("merge", _merge, "two entries are one person: KEEP gets the utterances of GONE", "keep", "gone")
    action("remove", _remove, "delete a person for good; only the fact of the deletion stays", "who")
    action("export", _export, "everybody into one portable file", "file")
    action("import", _import, "everybody from such a file", "file")
    action("audit", _audit, "check the log of all changes, and the database")


def _opened(given: argparse.Namespace, **how: bool) -> Library:
    return speakers.open_library(given.library, os.environ, given.passphrase_file, **how)


def _list(given: argparse.Namespace) -> int:
    with _opened(given, read_only=True) as library:
        found = speakers.overview(library)
    if given.json:
        console.say(json.dumps([speakers.plain(person) for person in found.people], indent=1))
        return 0
    rows = [
        [
            person.name,
            person.id[:8],
            str(person.utterances),
            " ".join(f"{seconds:.1f}" for seconds in person.seconds.values()),
            ("expired " if person.expired else "") + (str(person.expires) if person.expires else ""),
            person.consent or "",
        ]
        for person in found.people
    ]
    console.say(console.table(["name", "id", "utterances", "seconds", "expires", "consent"], rows))
    console.say(f"{found.place}" + (", encrypted" if found.encrypted else ""))
    for model in found.models:
        console.say(f"{counted(model.people, 'person')}, {model.seconds:.1f} s: {model.name}")
    _notes(found.notes)
    return 0


def _show(given: argparse.Namespace) -> int:
    with _opened(given, read_only=True) as library:
        found = speakers.show(library, given.who)
    if given.json:
        utterances: list[Any] = [speakers.plain_utterance(utterance) for utterance in found.utterances]
        console.say(json.dumps({**speakers.plain(found.person), "of": utterances}, indent=1))
        return 0
    console.say(f"{printable(found.person.name)}  {found.person.id}")
    rows = [
        [
            u.origin,
            u.source[:12],
            f"{u.seconds:.1f}",
            ", ".join(f"{k} {v:.0f}" if abs(v) >= 100 else f"{k} {v:.3g}" for k, v in u.quality.items()),
        ]
        for u in found.utterances
    ]
    console.say(console.table(["origin", "source", "seconds", "quality"], rows))
    _notes(found.notes)
    return 0


def _rename(given: argparse.Namespace) -> int:
    with _opened(given) as library:
        return _changed(speakers.rename(library, given.who, given.name))


def _merge(given: argparse.Namespace) -> int:
    with _opened(given) as library:
        return _changed(speakers.merge(library, given.keep, given.gone))


def _remove(given: argparse.Namespace) -> int:
    with _opened(given) as library:
        return _changed(speakers.remove(library, given.who), "removed: ")


def _changed(changed: speakers.Changed, before: str = "") -> int:
    person = changed.person
    console.say(f"{before}{printable(person.name)}  {person.id}: {counted(person.utterances, 'utterance')}")
    _notes(changed.notes)
    return 0


def _export(given: argparse.Namespace) -> int:
    with _opened(given, read_only=True) as library:
        return _carried(speakers.export(library, given.file), "to")


def _import(given: argparse.Namespace) -> int:
    with _opened(given, create=True) as library:
        return _carried(speakers.bring(library, given.file), "from")


def _carried(carried: speakers.Carried, way: str) -> int:
    console.say(f"{counted(len(carried.people), 'person')} {way} {carried.path}")
    _notes(carried.notes)
    return 0


def _audit(given: argparse.Namespace) -> int:
    with _opened(given, read_only=True) as library:
        report = speakers.audit(library)
    for problem in report.problems:
        console.say(str(problem))
    console.say(f"{counted(len(report.entries), 'entry')}: " + ("in order" if report.ok else "NOT in order"))
    return 0 if report.ok else 6


def _notes(notes: Iterable[str]) -> None:
    for note in notes:
        console.warn(f"note: {note}")
