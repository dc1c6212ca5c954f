"""`config` and `doctor`: the settings, and what is installed or missing on this machine."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from diarize.models.store import Store
from pipelines.cli import console, doctor
from pipelines.cli.commands import options
from pipelines.inputs import settings
from pipelines.inputs.settings import Settings


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Both commands."""
    actions = commands.add_parser("config", help="show the settings").add_subparsers(required=True, metavar="ACTION")
    show = actions.add_parser("show", help="print every setting and its value")
    show.add_argument("--origin", action="store_true", help="print also the origin and the meaning of each value")
    options.add(show)
    show.set_defaults(command=_config_show)

    check = commands.add_parser("doctor", help="check the installation: what is missing, and how to get it")
    check.add_argument(
        "-v", "--verbose", action="store_true", help="list also all packages, optional models and extras"
    )
    check.set_defaults(command=_doctor)


def _doctor(args: argparse.Namespace) -> int:
    diagnosis = doctor.examine(Store())
    for text in doctor.doctor_lines(diagnosis, args.verbose):
        console.say(text)
    return 0 if diagnosis.ready else 5


def _config_show(args: argparse.Namespace) -> int:
    for line in setting_lines(options.resolve(args), args.origin):
        console.say(line)
    return 0


def setting_lines(resolved: Settings, origin: bool) -> Iterator[str]:
    """Two lines a setting: its value, with its `origin` where that is wanted; and its meaning."""
    for key in settings.list_keys():
        value = settings.value_of(resolved.config, key)
        text = ",".join(value) if isinstance(value, tuple) else "unset" if value is None else str(value)
        yield f"{key} = {text}" + (f"    [{resolved.origins[key]}]" if origin else "")
        yield f"    {settings.describe(key)}"
