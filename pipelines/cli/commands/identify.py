"""`identify`: who speaks in a recording, of the enrolled people, if any of them (docs/identification.md)."""

from __future__ import annotations

import argparse
import json
import os
from functools import partial
from pathlib import Path

from diarize.errors import printable
from diarize.guard import spoofing
from diarize.text import counted
from pipelines.batch.run import RunObserver
from pipelines.cli import console
from pipelines.cli.commands import options
from pipelines.cli.commands.speakers import library_options, print_notes

_SPOOF = ("spoof", "countermeasure", "spoof_threshold")


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command and its options."""
    command = commands.add_parser("identify", help="find which enrolled people speak in a recording")
    command.add_argument("recordings", nargs="+", type=Path, help="files, and folders to search for recordings")
    command.add_argument("--out", type=Path, help="folder that keeps the results, so that a rerun resumes")
    command.add_argument("--json", action="store_true", help="print the result as JSON")
    then = "start COMMAND for each speaker; it gets who it is and their preferences as JSON on standard input"
    command.add_argument("--then", metavar="COMMAND", help=then)
    library_options(command)
    names = ("num_speakers", "min_speakers", "max_speakers", "diarizer", "vad", "embedder", "profile", "segmentation")
    options.add(command, *names, "channel", "track", "top", "prior", "exact", "device", "workers", "cache", *_SPOOF)
    command.set_defaults(command=run)


def run(args: argparse.Namespace) -> int:
    from pipelines.guard import personal
    from pipelines.people import speakers, wording
    from pipelines.people.identify import identify

    then = None if args.then is None else personal.parse_command(args.then)
    config = options.resolve(args).config
    opened = partial(speakers.open_library, args.library, os.environ, args.passphrase_file, read_only=True)
    result = identify(args.recordings, opened, config, options.store(config), RunObserver(), args.out)
    status = result.status
    if then is not None:
        with opened() as library:
            failures = personal.run_command(then, personal.events(result, library))
        for failure in failures:
            where = f"{printable(failure.recording)}, {failure.speaker}"
            console.warn(f"failed: {where}: {printable(then[0])}: {failure.problem}")
        status = max(status, 3) if failures else status
    if args.json:
        console.say(json.dumps(result.as_dict(), indent=1))
        return status
    for recording in result.recordings:
        if recording.problem:
            console.warn(f"failed: {printable(recording.name)}: {recording.problem}")
            continue
        console.say(f"{printable(recording.name)}: " + counted(len(recording.speakers), "speaker"))
        for each in recording.speakers:
            speaker = each.speaker
            console.say(f"  {speaker.id}, {each.seconds:.1f} s: {printable(speaker.label)}")
            console.say(f"    {speaker.reason}")
            for one in speaker.candidates:
                ratio = "no likelihood ratio" if one.llr is None else wording.ratio(one.llr)
                console.say(f"    {printable(one.name)}: {ratio}  {one.voice}")
        if recording.spoof is not None:
            console.say(f"{printable(recording.name)}: {spoofing.describe(recording.spoof)}")
    print_notes(result.notes)
    return status
