"""`review` and `report`: a page to look, listen and correct (docs/review.md)."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from diarize.errors import LibraryMissing
from diarize.library.store import Library
from pipelines.cli import console
from pipelines.cli.commands import options
from pipelines.cli.commands.edit import account
from pipelines.cli.commands.speakers import library_options


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The commands and their options."""
    review = commands.add_parser("review", help="open a page to listen to a transcript and to correct it")
    review.add_argument("folder", type=Path, metavar="OUT", help="results of a run, or of one recording: OUT/<id>")
    review.add_argument("--port", type=int, metavar="N", help="port on 127.0.0.1; default: 7331, else any free one")
    review.add_argument("--no-browser", action="store_true", help="print the address and open no browser")
    review.add_argument("--author", metavar="NAME", help="who corrects; default: the user's account")
    review.add_argument("--blind", action="store_true", help="hide names and scores until the reviewer has decided")
    review.add_argument(
        "--audio",
        type=Path,
        action="append",
        default=[],
        metavar="FOLDER",
        help="where to look for recordings that were moved, by their sha256",
    )
    review.add_argument(
        "--compare", type=Path, metavar="OUT2", help="results of another system: where they differ is a doubt"
    )
    library_options(review)
    options.add(review, "vad", "embedder", "device", "cache")
    review.set_defaults(command=_review)

    report = commands.add_parser("report", help="write a transcript with its sound as one HTML file")
    report.add_argument("folder", type=Path, metavar="OUT/<id>", help="folder of one recording's results")
    report.add_argument("--out", type=Path, metavar="FILE", help="the file; default: <id>.review.html in this folder")
    report.add_argument(
        "--audio",
        choices=("embed", "link", "none"),
        default="embed",
        help="embed: the sound is in the file (14 MB an hour); link: it is played where it is; none: no sound",
    )
    report.add_argument(
        "--recording", type=Path, action="append", default=[], metavar="FILE", help="the recording, where it was moved"
    )
    report.add_argument("--author", metavar="NAME", help="who corrects in the file; default: nobody")
    options.add(report, "cache")
    report.set_defaults(command=_report)


def _review(args: argparse.Namespace) -> int:
    from diarize.errors import ConfigError
    from pipelines.batch.cached_stages import open_cache
    from pipelines.people import speakers
    from pipelines.review.document import Viewing
    from pipelines.review.server.recordings import ReviewRequest
    from pipelines.review.server.serving import serve
    from pipelines.review.voices import ChangeLibrary, OpenLibrary, SpeakerVoices

    for option, paths in (("--audio", args.audio), ("--compare", [args.compare] if args.compare else [])):
        for path in paths:
            if not path.exists():
                raise ConfigError(option, str(path), "there is no such file or folder")
    config = options.resolve(args).config
    secret = args.passphrase_file
    change: ChangeLibrary | None = None
    people: OpenLibrary | None = None
    if args.library is not None:
        change = partial(speakers.library_to_change, args.library, os.environ, secret, True)
        people = partial(_open_people, args.library, secret)
        with people():
            pass  # its errors come first
    request = ReviewRequest(
        args.folder,
        Viewing(args.author or account("review"), args.blind, library=args.library is not None),
        tuple(args.audio),
        args.compare,
        open_cache(config.run),
        SpeakerVoices(config, options.store(config), people),
        change,
        console.warn,
    )

    def started(address: str) -> None:
        console.say(address)
        console.warn("Corrections are saved at once. Ctrl-C ends the server and writes the exports.")
        if not args.no_browser:
            import webbrowser

            webbrowser.open(address)

    serve(request, args.port, started)
    return 0


def _report(args: argparse.Namespace) -> int:
    from pipelines.batch.cached_stages import open_cache
    from pipelines.inputs.recordings import require
    from pipelines.results import outputs
    from pipelines.review import report

    require([args.folder, *args.recording])
    path = report.default_path(args.folder) if args.out is None else args.out
    outputs.require_place(path, "--out", folder=False)
    config = options.resolve(args).config
    written = report.write(
        args.folder, path, args.audio, args.author or "", tuple(args.recording), open_cache(config.run)
    )
    for note in written.notes:
        console.warn(f"note: {note}")
    of_sound = f", {written.sound / 1e6:.1f} MB of it sound" if written.sound else ""
    console.say(f"{written.path}: {written.size / 1e6:.1f} MB{of_sound}")
    if written.linked is not None:
        console.say(f"plays {written.linked}, which must stay where it is")
    return 0


@contextmanager
def _open_people(place: str, secret: Path | None) -> Iterator[Library | None]:
    """The library, to read; None where it does not exist yet: the first enrolment makes it."""
    from pipelines.people import speakers

    try:
        library = speakers.open_library(place, os.environ, secret, read_only=True)
    except LibraryMissing:
        yield None
        return
    with library:
        yield library
