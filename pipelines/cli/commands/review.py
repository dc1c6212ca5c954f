"""`review` and `report`: a page to look, listen and correct (docs/review.md)."""

from __future__ import annotations

import argparse
from pathlib import Path

from pipelines.cli import console
from pipelines.cli.commands import options
from pipelines.cli.commands.edit import account


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
    options.add(review, "cache")
    review.set_defaults(command=_review)


def _review(args: argparse.Namespace) -> int:
    from diarize.errors import ConfigError
    from pipelines.batch.cached_stages import open_cache
    from pipelines.review.document import Viewing
    from pipelines.review.server.recordings import ReviewRequest
    from pipelines.review.server.serving import serve

    for option, paths in (("--audio", args.audio), ("--compare", [args.compare] if args.compare else [])):
        for path in paths:
            if not path.exists():
                raise ConfigError(option, str(path), "there is no such file or folder")
    config = options.resolve(args).config
    viewing = Viewing(args.author or account("review"), args.blind)
    request = ReviewRequest(
        args.folder, viewing, tuple(args.audio), args.compare, open_cache(config.run), lambda text: console.warn(text)
    )

    def started(address: str) -> None:
        console.say(address)
        console.warn("Corrections are saved at once. Ctrl-C ends the server and writes the exports.")
        if not args.no_browser:
            import webbrowser

            webbrowser.open(address)

    serve(request, args.port, started)
    return 0
