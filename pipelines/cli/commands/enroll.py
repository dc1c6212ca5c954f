"""`enroll`: people into the library, one utterance at a time or many (docs/enrolment.md)."""

from __future__ import annotations

import argparse
import json
import os
from datetime import date
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

from diarize.config import Config
from diarize.errors import ConfigError, printable
from diarize.library.store import Library
from diarize.models.store import Store
from diarize.text import counted
from pipelines.cli import console
from pipelines.cli.commands import options
from pipelines.cli.commands.speakers import library_options, print_notes
from pipelines.inputs import settings

if TYPE_CHECKING:
    from pipelines.people.enroll import EnrolmentRequest, EnrolmentResult, ReEmbedding
    from pipelines.people.enroll_list import ListEnrolment


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command and its options."""
    command = commands.add_parser("enroll", help="add a person, or more recordings of one, to the speaker library")
    command.add_argument("name", nargs="?", help="a new person's name; or the name or id of an enrolled person")
    command.add_argument(
        "recordings", nargs="*", type=Path, metavar="AUDIO", help="recordings in which only this person speaks"
    )
    command.add_argument("--start", type=float, metavar="S", help="use the recording from this time on, in seconds")
    command.add_argument("--end", type=float, metavar="S", help="use the recording up to this time, in seconds")
    command.add_argument(
        "--from", dest="folder", type=Path, metavar="OUT/<id>", help="enrol a speaker from the results of `process`"
    )
    command.add_argument("--speaker", metavar="ID", help="with --from: which speaker, for example SPEAKER_02")
    command.add_argument(
        "--list",
        dest="people",
        type=Path,
        metavar="CSV",
        help="enrol everybody in this table: columns name, file; optional start, end, channel, consent, expires",
    )
    command.add_argument(
        "--folder", dest="people_folder", type=Path, metavar="PEOPLE", help="enrol from a folder for each person"
    )
    command.add_argument(
        "--new", action="store_true", help="a new person, although somebody of that name is enrolled already"
    )
    command.add_argument("--consent", metavar="TEXT", help="a note on the person's consent, for your records")
    command.add_argument(
        "--expires", type=date.fromisoformat, metavar="DATE", help="last day of the consent, for example 2030-12-31"
    )
    command.add_argument("--keep-audio", action="store_true", help="store the audio in the library, for --re-embed")
    checks = "checks to ignore: noise, clipping, voices, agreement, spoofing, replay"
    command.add_argument("--accept", type=settings.split_commas, default=[], metavar="A,B,...", help=checks)
    again = "compute voices for another --embedder from stored audio, of NAME or of everybody"
    command.add_argument("--re-embed", action="store_true", help=again)
    calibration = "file from `diarize calibrate`; default: the one shipped for the embedder"
    command.add_argument("--calibration", type=Path, metavar="CAL", help=calibration)
    command.add_argument("--json", action="store_true", help="print the result as JSON")
    library_options(command)
    options.add(
        command,
        "vad",
        "embedder",
        "profile",
        "channel",
        "track",
        "spoof",
        "countermeasure",
        "spoof_threshold",
        "device",
    )
    command.set_defaults(command=run)


def run(args: argparse.Namespace) -> int:
    from pipelines.people import speakers
    from pipelines.people.enroll import ReEmbedding, re_embed

    config = options.resolve(args).config
    store = options.store(config)
    if args.people is not None or args.people_folder is not None:
        return _enroll_list(args, config, store)
    if not args.re_embed and args.name is None:
        raise ConfigError("command line", "NAME", "nobody was named", "Say: diarize enroll NAME AUDIO...")
    _check_combination(args)
    create = not args.re_embed
    with speakers.library_to_change(args.library, os.environ, args.passphrase_file, create) as library:
        result = (
            re_embed(library, config, store, who=args.name) if args.re_embed else _enroll(args, library, config, store)
        )
    if args.json:
        console.say(json.dumps({**result.as_dict(), "library": library.place}, indent=1))
    elif isinstance(result, ReEmbedding):
        _print_re_embedding(result, library.place)
    else:
        _print_enrolment(result, library.place)
    return result.status


def _check_combination(args: argparse.Namespace) -> None:
    """Raises ConfigError for options that would have no effect together."""
    if args.folder is None and args.speaker is not None:
        raise ConfigError("--speaker", args.speaker, "is used with --from only", "Name the results: --from OUT/<id>.")
    for option, value in (("--start", args.start), ("--end", args.end)):
        if args.folder is not None and value is not None:
            problem = "is not used with --from, which takes the parts where the speaker talks alone"
            raise ConfigError(option, str(value), problem)
        if value is not None and not (isfinite(value) and value >= 0):
            raise ConfigError(option, "", f"must be a time in seconds, not {value:g}")
    if args.start is not None and args.end is not None and args.end <= args.start:
        raise ConfigError("--start, --end", "", f"{args.start:g} to {args.end:g} s is no part of a recording")


def _enroll(args: argparse.Namespace, library: Library, config: Config, store: Store) -> EnrolmentResult:
    from pipelines.people.enroll import enroll, enroll_from_transcript

    request = _request(args, args.name)
    if args.folder is None:
        times = {"start": args.start, "end": args.end}
        return enroll(library, request, args.recordings, config, store, **times, calibration=args.calibration)
    if args.speaker is None:
        raise ConfigError("command line", "--speaker", "is needed with --from", "Name one, as SPEAKER_02.")
    if len(args.recordings) > 1:
        options.require_count(args.recordings, 1, "with --from: the transcript's own")
    return enroll_from_transcript(
        library,
        request,
        args.folder,
        args.speaker,
        config,
        store,
        recording=args.recordings[0] if args.recordings else None,
        calibration=args.calibration,
    )


def _request(args: argparse.Namespace, name: str) -> EnrolmentRequest:
    from pipelines.people.enroll import EnrolmentRequest
    from pipelines.people.enrolment_checks import CHECKS

    if unknown := sorted(set(args.accept) - set(CHECKS)):
        raise ConfigError("--accept", ", ".join(unknown), "no such check", f"Known: {', '.join(CHECKS)}.")
    return EnrolmentRequest(name, args.new, args.consent, args.expires, args.keep_audio, frozenset(args.accept))


def _enroll_list(args: argparse.Namespace, config: Config, store: Store) -> int:
    """Many people at once."""
    from pipelines.people import enroll_list, speakers

    own = {"NAME": args.name, "--from": args.folder, "--speaker": args.speaker, "--new": args.new or None}
    own |= {"--start": args.start, "--end": args.end, "--re-embed": args.re_embed or None}
    both = args.people is not None and args.people_folder is not None
    if clash := [option for option, value in own.items() if value is not None] + ["--folder"] * both:
        problem = "does not go with --list" if args.people is not None else "does not go with --folder"
        raise ConfigError("command line", clash[0], problem, "The list says whom to enrol from what.")
    if args.people is not None:
        people = enroll_list.read_list(args.people)
    else:
        people = enroll_list.read_folder(args.people_folder)
    request = _request(args, "")

    def on_person(name: str, done: int, total: int) -> None:
        if not args.json:
            console.warn(f"[{done}/{total}] {printable(name)}")

    with speakers.library_to_change(args.library, os.environ, args.passphrase_file, True) as library:
        result = enroll_list.enroll_list(
            library, people, request, config, store, calibration=args.calibration, on_person=on_person
        )
    if args.json:
        console.say(json.dumps({**result.as_dict(), "library": library.place}, indent=1))
    else:
        _print_list(result, library.place)
    return result.status


def _print_list(result: ListEnrolment, place: str) -> None:
    rows = []
    for each in result.people:
        outcomes = [row.outcome for row in each.result.rows] if each.result is not None else []
        counts = [str(outcomes.count("counted")), str(outcomes.count("known")), str(outcomes.count("refused"))]
        seconds = "" if each.result is None else f"{each.result.seconds:.1f}"
        enrolled = each.result is not None and each.result.person is not None
        complete = each.result is not None and each.result.complete
        rows.append([each.name, *counts, seconds, "complete" if complete else "incomplete" if enrolled else "refused"])
    console.say(console.table(["person", "new", "known", "refused", "seconds", "voice"], rows))
    for where, problem in result.problems:
        console.warn(f"refused: {where}: {problem}")
    for each in result.people:
        if each.problem:
            console.warn(f"refused: {printable(each.name)}: {each.problem}")
        for row in each.result.rows if each.result is not None else ():
            if row.outcome == "refused":
                place = "" if row.reason.startswith(row.origin) else f"{row.origin}: "
                console.warn(f"refused: {printable(each.name)}: {place}{row.reason}")
    enrolled_people = sum(row[-1] != "refused" for row in rows)
    console.say(f"{enrolled_people} of {counted(len(rows), 'person')} enrolled")
    console.say(f"library: {place}")
    print_notes(result.notes)


def _print_enrolment(result: EnrolmentResult, place: str) -> None:
    rows = [
        [
            row.origin,
            f"{row.seconds:.1f}",
            "" if row.agreement is None else f"{row.agreement:+.1f}",
            row.outcome + (f": {row.reason}" if row.reason else ""),
        ]
        for row in result.rows
    ]
    console.say(console.table(["utterance", "seconds", "agreement", "outcome"], rows))
    if result.person is None:
        console.say("nobody was enrolled")
    else:
        complete = "complete" if result.complete else f"not complete: {result.wanted:.0f} s are wanted"
        console.say(f"{result.person.name}  {result.person.id}: {result.seconds:.1f} s of speech, {complete}")
    if result.person is not None:
        console.say(f"library: {place}")
    print_notes([*result.notes, *(f"{row.origin}: {note}" for row in result.rows for note in row.notes)])


def _print_re_embedding(result: ReEmbedding, place: str) -> None:
    rows = [[row.name, row.origin, row.problem or "done"] for row in result.rows]
    console.say(console.table(["person", "utterance", "outcome"], rows))
    console.say(f"{counted(result.unchanged, 'utterance')} had a vector of {result.model} already")
    console.say(f"library: {place}")
    print_notes(result.notes)
