"""`config` and `doctor`: what is set, what is installed, what is missing."""

from __future__ import annotations

import argparse

from diarize.models.store import Store
from pipelines.cli import console, doctor
from pipelines.cli.commands import options


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Both commands."""
    actions = commands.add_parser("config", help="settings").add_subparsers(required=True, metavar="ACTION")
    show = actions.add_parser("show", help="print every setting and its value")
    show.add_argument("--origin", action="store_true", help="print also the origin and the meaning of each value")
    options.add(show)
    show.set_defaults(command=_config_show)

    check = commands.add_parser("doctor", help="check the installation: what is missing, and how to get it")
    check.add_argument(
        "-v", "--verbose", action="store_true", help="list also all packages, optional models and extras"
    )
    check.set_defaults(command=_doctor)


def _doctor(given: argparse.Namespace) -> int:
    facts = doctor.examine(Store())
    for text in console.diagnosis(facts, given.verbose):
        console.say(text)
    return 0 if facts.ready else 5


def _config_show(given: argparse.Namespace) -> int:
    for line in console.setting_lines(options.resolve(given), given.origin):
        console.say(line)
    return 0
