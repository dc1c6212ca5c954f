"""`enroll`: people into the library, one utterance at a time or many (docs/enrolment.md)."""

from __future__ import annotations

import argparse
import json
import os
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from diarize.errors import ConfigError
from diarize.text import counted
from pipelines.cli import console
from pipelines.cli.commands import options
from pipelines.cli.commands.speakers import library_options
from pipelines.inputs import settings

if TYPE_CHECKING:
    from pipelines.people.enroll import Outcome, Renewal


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command and its options."""
    command = commands.add_parser("enroll", help="make a person known by recordings of their voice")
    command.add_argument("name", nargs="?", help="the person; somebody who is known gets more utterances")
    command.add_argument(
        "recordings", nargs="*", type=Path, metavar="AUDIO", help="recordings in which only they speak"
    )
    command.add_argument("--start", type=float, metavar="S", help="s; take the recording from here")
    command.add_argument("--end", type=float, metavar="S", help="s; take the recording up to here")
    command.add_argument("--from", dest="folder", type=Path, metavar="OUT/<id>", help="a finished transcript instead")
    command.add_argument("--speaker", metavar="ID", help="whose turns of that transcript, as SPEAKER_02")
    command.add_argument("--new", action="store_true", help="somebody else of the same name")
    command.add_argument("--consent", metavar="TEXT", help="what the person agreed to")
    command.add_argument("--expires", type=date.fromisoformat, metavar="DATE", help="until when, as 2030-12-31")
    command.add_argument("--keep-audio", action="store_true", help="keep the speech, to serve later models from it")
    command.add_argument(
        "--accept", type=settings.split, default=[], metavar="A,B,...", help="checks that do not refuse"
    )
    command.add_argument("--re-embed", action="store_true", help="serve another embedder from kept speech")
    command.add_argument("--calibration", type=Path, metavar="CAL", help="default: the one made for the embedder")
    command.add_argument("--json", action="store_true", help="for programs")
    library_options(command)
    options.add(command, "vad", "embedder", "channel", "device")
    command.set_defaults(command=run)


def run(given: argparse.Namespace) -> int:
    from pipelines.people import speakers
    from pipelines.people.enroll import re_embed

    config = options.resolve(given).config
    store = options.store(config)
    if not given.re_embed and given.name is None:
        raise ConfigError("command line", "NAME", "nobody was named", "Say: diarize enroll NAME AUDIO...")
    with speakers.open_library(given.library, os.environ, given.passphrase_file, create=not given.re_embed) as library:
        if given.re_embed:
            renewal = re_embed(library, config, store, who=given.name)
            return _renewed(renewal, given.json, library.place)
        from pipelines.people.enroll import Request, enroll, enroll_from
        from pipelines.people.enrolment_checks import CHECKS

        if unknown := sorted(set(given.accept) - set(CHECKS)):
            raise ConfigError("--accept", ", ".join(unknown), "no such check", f"Known: {', '.join(CHECKS)}.")
        request = Request(
            given.name, given.new, given.consent, given.expires, given.keep_audio, frozenset(given.accept)
        )
        if given.folder is None:
            outcome = enroll(
                library,
                request,
                given.recordings,
                config,
                store,
                start=given.start,
                end=given.end,
                calibration=given.calibration,
            )
        else:
            if given.speaker is None:
                raise ConfigError("command line", "--speaker", "is needed with --from", "Name one, as SPEAKER_02.")
            if len(given.recordings) > 1:
                options.exactly(given.recordings, 1, "with --from: the transcript's own")
            recording = given.recordings[0] if given.recordings else None
            outcome = enroll_from(
                library,
                request,
                given.folder,
                given.speaker,
                config,
                store,
                recording=recording,
                calibration=given.calibration,
            )
    return _enrolled(outcome, given.json, library.place)


def _enrolled(outcome: Outcome, as_json: bool, place: str) -> int:
    if as_json:
        console.say(json.dumps({**outcome.as_dict(), "library": place}, indent=1))
        return outcome.status
    rows = [
        [
            row.origin,
            f"{row.seconds:.1f}",
            "" if row.agreement is None else f"{row.agreement:+.1f}",
            row.outcome + (f": {row.reason}" if row.reason else ""),
        ]
        for row in outcome.rows
    ]
    console.say(console.table(["utterance", "seconds", "agreement", "outcome"], rows))
    if outcome.person is None:
        console.say("nobody was enrolled")
    else:
        whole = "complete" if outcome.complete else f"not complete: {outcome.wanted:.0f} s are wanted"
        console.say(f"{outcome.person.name}  {outcome.person.id}: {outcome.seconds:.1f} s of speech, {whole}")
    console.say(f"library: {place}")
    for note in [*outcome.notes, *(note for row in outcome.rows for note in row.notes)]:
        console.warn(f"note: {note}")
    return outcome.status


def _renewed(renewal: Renewal, as_json: bool, place: str) -> int:
    if as_json:
        console.say(json.dumps({**renewal.as_dict(), "library": place}, indent=1))
        return renewal.status
    console.say(
        console.table(
            ["person", "utterance", "outcome"], [[r.name, r.origin, r.problem or "done"] for r in renewal.rows]
        )
    )
    console.say(f"{counted(renewal.unchanged, 'utterance')} had a vector of {renewal.model} already")
    console.say(f"library: {place}")
    for note in renewal.notes:
        console.warn(f"note: {note}")
    return renewal.status
