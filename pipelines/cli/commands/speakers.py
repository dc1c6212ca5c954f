"""`speakers`: the library of enrolled speakers (docs/library.md)."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from diarize.errors import printable
from diarize.library import portable
from diarize.library.database.records import Person
from diarize.library.store import Library
from diarize.text import counted
from pipelines.cli import console
from pipelines.inputs import recordings
from pipelines.people import speakers

_ARGUMENTS = {
    "who": "name or id of a person",
    "name": "the new name",
    "keep": "name or id of the person to keep",
    "gone": "name or id of the entry to merge into it",
    "file": "the exported file",
}


def library_options(command: argparse.ArgumentParser) -> None:
    """Which library, and what opens it; shared by every command that uses one."""
    place = (
        "the speaker library: a file, or postgresql://user@host/database; default: DIARIZE_LIBRARY, else your own file"
    )
    command.add_argument("--library", metavar="LIB", help=place)
    secret = "file with the passphrase of an encrypted library; default: DIARIZE_PASSPHRASE"
    command.add_argument("--passphrase-file", type=Path, metavar="FILE", help=secret)


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command and its actions."""
    top = commands.add_parser("speakers", help="the library of enrolled speakers")
    actions = top.add_subparsers(required=True, metavar="ACTION")

    def action(
        name: str, run: Callable[[argparse.Namespace], int], help: str, *arguments: str
    ) -> argparse.ArgumentParser:
        parser = actions.add_parser(name, help=help)
        for argument in arguments:
            parser.add_argument(argument, type=Path if argument == "file" else str, help=_ARGUMENTS[argument])
        library_options(parser)
        parser.set_defaults(command=run)
        return parser

    for parser in (
        action("list", _list, "list everybody, and the embedding models of their voices"),
        action("show", _show, "show one person and their utterances", "who"),
    ):
        parser.add_argument("--json", action="store_true", help="print the result as JSON")
    action("rename", _rename, "give a person another name", "who", "name")
    action("merge", _merge, "join two entries of one person: KEEP gets all utterances of GONE", "keep", "gone")
    action("remove", _remove, "delete a person and all their data; the log only keeps that it happened", "who")
    preferences = action("preferences", _preferences, "show or set what applications should know of a person", "who")
    change = preferences.add_mutually_exclusive_group()
    change.add_argument("--set", type=Path, metavar="FILE.json", help="replace them by this JSON object")
    change.add_argument("--clear", action="store_true", help="delete them")
    action("export", _export, "write everybody into one file for another library (NOT encrypted)", "file")
    action("import", _import, "add everybody from a file that `export` wrote", "file")
    action("audit", _audit, "check the log of all changes, and the database")

    again = commands.add_parser(
        "relabel", help="bring new names and other changes of the library into finished transcripts"
    )
    again.add_argument("out", type=Path, metavar="OUT", help="result folder of a run")
    again.add_argument("--json", action="store_true", help="print the result as JSON")
    library_options(again)
    again.set_defaults(command=_relabel)


def _to_read(args: argparse.Namespace) -> Library:
    return speakers.open_library(args.library, os.environ, args.passphrase_file, read_only=True)


def _to_change(args: argparse.Namespace, create: bool = False) -> AbstractContextManager[Library]:
    return speakers.library_to_change(args.library, os.environ, args.passphrase_file, create)


def _list(args: argparse.Namespace) -> int:
    with _to_read(args) as library:
        overview = speakers.summarise(library)
    if args.json:
        console.say(json.dumps([speakers.person_as_dict(person) for person in overview.people], indent=1))
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
        for person in overview.people
    ]
    console.say(console.table(["name", "id", "utterances", "seconds", "expires", "consent"], rows))
    console.say(f"{overview.place}" + (", encrypted" if overview.encrypted else ""))
    for model in overview.models:
        console.say(f"{counted(model.people, 'person')}, {model.seconds:.1f} s: {model.name}")
    print_notes(overview.notes)
    return 0


def _show(args: argparse.Namespace) -> int:
    with _to_read(args) as library:
        person = library.find(args.who)
        utterances = library.utterances(person.id)
    if args.json:
        of: list[Any] = [speakers.utterance_as_dict(utterance) for utterance in utterances]
        console.say(json.dumps({**speakers.person_as_dict(person), "of": of}, indent=1))
        return 0
    console.say(f"{printable(person.name)}  {person.id}")
    rows = [
        [
            u.origin,
            u.source[:12],
            f"{u.seconds:.1f}",
            ", ".join(f"{k} {v:.0f}" if abs(v) >= 100 else f"{k} {v:.3g}" for k, v in u.quality.items()),
        ]
        for u in utterances
    ]
    console.say(console.table(["origin", "source", "seconds", "quality"], rows))
    print_notes(speakers.notes_on(person))
    return 0


def _rename(args: argparse.Namespace) -> int:
    with _to_change(args) as library:
        person = speakers.rename(library, args.who, args.name)
    return _print_person(person, speakers.notes_on(person))


def _merge(args: argparse.Namespace) -> int:
    with _to_change(args) as library:
        person = speakers.merge(library, args.keep, args.gone)
    return _print_person(person, speakers.notes_on(person))


def _remove(args: argparse.Namespace) -> int:
    with _to_change(args) as library:
        person = library.find(args.who)
        library.remove(person.id)
    note = "transcripts, exports and copies of the library that were made before still contain this person"
    return _print_person(person, [note], "removed: ")


def _print_person(person: Person, notes: Iterable[str], before: str = "") -> int:
    console.say(f"{before}{printable(person.name)}  {person.id}: {counted(person.utterances, 'utterance')}")
    print_notes(notes)
    return 0


def _preferences(args: argparse.Namespace) -> int:
    from pipelines.guard import personal

    if args.set is None and not args.clear:
        with _to_read(args) as library:
            value = library.guard.preferences(library.find(args.who).id)
    else:
        value = {} if args.clear else personal.read_preferences(args.set)
        with _to_change(args) as library:
            library.set_preferences(library.find(args.who).id, value)
    console.say(json.dumps(value, indent=1, sort_keys=True))
    return 0


def _export(args: argparse.Namespace) -> int:
    with _to_read(args) as library:
        portable.write(library, args.file)
        people = library.people()
    console.say(f"{counted(len(people), 'person')} to {args.file}")
    print_notes([f"{printable(str(args.file))} holds names and voiceprints, and is not encrypted"])
    return 0


def _import(args: argparse.Namespace) -> int:
    recordings.require([args.file])
    with _to_change(args, create=True) as library:
        people = portable.read(library, args.file)
    console.say(f"{counted(len(people), 'person')} from {args.file}")
    print_notes(note for person in people for note in speakers.notes_on(person))
    return 0


def _relabel(args: argparse.Namespace) -> int:
    from pipelines.people.relabel import relabel

    with _to_read(args) as library:
        result = relabel(args.out, library)
    if args.json:
        console.say(json.dumps(result.as_dict(), indent=1))
        return result.status
    for change in result.changes:
        names = f"{change.before or 'unknown'} -> {change.after or 'unknown'}"
        reason = f" ({change.reason})" if change.after is None else ""
        console.say(f"{change.recording}: {change.speaker}: {names}{reason}")
    for id, problem in result.problems.items():
        console.warn(f"failed: {id}: {problem}")
    transcripts = counted(result.recordings, "transcript")
    changed = len(result.rewritten)
    console.say(f"changed: {changed} of {transcripts}" if changed else f"nothing to change in {transcripts}")
    print_notes(result.notes)
    return result.status


def _audit(args: argparse.Namespace) -> int:
    with _to_read(args) as library:
        report = library.audit()
    for problem in report.problems:
        console.say(str(problem))
    console.say(f"{counted(len(report.entries), 'entry')}: " + ("in order" if report.ok else "NOT in order"))
    return 0 if report.ok else 6


def print_notes(notes: Iterable[str]) -> None:
    """Each note on a line of standard error."""
    for note in notes:
        console.warn(f"note: {note}")
