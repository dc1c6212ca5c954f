"""`app`: compare, enrol, identify and process in the browser (docs/app.md)."""

from __future__ import annotations

import argparse
import os
import tempfile
from functools import partial
from pathlib import Path

from diarize.errors import ConfigError
from pipelines.cli import console
from pipelines.cli.commands import options
from pipelines.cli.commands.speakers import library_options

LOCAL = ("127.0.0.1", "localhost", "::1")


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command and its options."""
    command = commands.add_parser("app", help="open an app in the browser: compare, enrol, identify, process")
    command.add_argument("--port", type=int, metavar="N", help="port; default: the first free one from 7860 on")
    command.add_argument("--host", default="127.0.0.1", metavar="HOST", help="address; default: 127.0.0.1")
    command.add_argument(
        "--password-file",
        type=Path,
        metavar="FILE",
        help="file with user:password, which the app asks for; needed for any other host than 127.0.0.1",
    )
    command.add_argument(
        "--without-password", action="store_true", help="something else decides who may open it: a proxy, a Space"
    )
    command.add_argument("--no-browser", action="store_true", help="print the address and open no browser")
    similarity = "similarity from which two voices are one person's, 0 to 1; default: that of the model"
    command.add_argument("--threshold", type=float, metavar="X", help=similarity)
    library_options(command)
    options.add(command, "embedder", "profile", "vad", "asr", "language", "segmentation", "device", "cache")
    command.set_defaults(command=run)


def run(args: argparse.Namespace) -> int:
    from pipelines.app import interface
    from pipelines.app.answers import AppAnswers
    from pipelines.people import speakers

    if args.threshold is not None and not 0 <= args.threshold <= 1:
        raise ConfigError("--threshold", str(args.threshold), "a similarity lies between 0 and 1")
    if args.host not in LOCAL and args.password_file is None and not args.without_password:
        problem = "the app would be open to everybody in the network"
        raise ConfigError("--host", args.host, problem, "Give --password-file, or --without-password behind a proxy.")
    secret = None if args.password_file is None else _read_secret(args.password_file)
    config = options.resolve(args).config
    place = args.library, os.environ, args.passphrase_file
    with tempfile.TemporaryDirectory(prefix="diarize-app-") as folder:
        answers = AppAnswers(
            config,
            options.store(config),
            partial(speakers.open_library, *place, read_only=True),
            partial(speakers.library_to_change, *place, create=True),
            Path(folder),
            args.threshold,
        )
        app = interface.build(answers)

        def started(address: str) -> None:
            console.say(address)
            if not args.no_browser:
                import webbrowser

                webbrowser.open(address)

        interface.serve(app, (args.host, args.port), Path(folder), started, secret)
    return 0


def _read_secret(path: Path) -> tuple[str, str]:
    from diarize import files

    user, colon, password = files.read_text(path).strip().partition(":")
    if not (user and colon and password):
        raise ConfigError("--password-file", str(path), "holds no user:password", "Write both in one line.")
    return user, password
