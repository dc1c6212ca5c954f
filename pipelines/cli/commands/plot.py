"""`plot`: pictures of results (docs/pictures.md)."""

from __future__ import annotations

import argparse
from pathlib import Path

from diarize.errors import ConfigError, printable
from pipelines.cli import console
from pipelines.cli.commands import options
from pipelines.inputs import settings


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command and its options."""
    command = commands.add_parser("plot", help="draw turns, speaking times, exchanges and voices of results")
    command.add_argument(
        "folder", type=Path, metavar="OUT/<id>", help="results of one recording; OUT: speaking time over a run"
    )
    command.add_argument("--to", type=Path, metavar="FOLDER", help="folder for the pictures; default: pictures/ there")
    command.add_argument(
        "--as", dest="formats", type=settings.split_commas, default=("png",), metavar="png,svg", help="default: png"
    )
    command.add_argument("--audio", type=Path, metavar="FILE", help="the recording, if it is not where it was")
    command.add_argument("--machine", action="store_true", help="without the corrections of people")
    options.add(command, "embedder", "profile", "vad", "track", "device")
    command.set_defaults(command=_plot)


def _plot(args: argparse.Namespace) -> int:
    from pipelines.pictures import plot
    from pipelines.results import outputs
    from pipelines.results.integrity import is_results

    if unknown := sorted(set(args.formats) - {"png", "svg"}):
        raise ConfigError("command line", "--as", ", ".join(unknown), "Known: png, svg.")
    config = options.resolve(args).config
    if is_results(args.folder) and not (args.folder / outputs.TRANSCRIPT).exists():
        pictures = plot.plot_run(args.folder, args.to, args.formats)
    else:
        store = options.store(config)
        pictures = plot.plot_recording(args.folder, args.to, args.formats, config, store, args.audio, args.machine)
    for picture in pictures:
        if picture.path is None:
            console.warn(f"note: {printable(picture.problem)}")
        else:
            console.say(str(picture.path))
    return 0
