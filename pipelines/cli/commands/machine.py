"""`config` and `doctor`: the settings, and what is installed or missing on this machine."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from rich.table import Table

from diarize.models.store import Store
from diarize.text import counted
from pipelines.cli import console, doctor
from pipelines.cli.commands import options
from pipelines.cli.doctor import Diagnosis
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
    for text in doctor_lines(diagnosis, args.verbose):
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


def doctor_lines(diagnosis: Diagnosis, verbose: bool = False) -> Iterator[str | Table]:
    """Whether the main job can run, what is missing for it, and the machine; with `verbose` everything else too."""
    yield "ready: diarize process can run" if diagnosis.ready else "not ready: something required is missing"
    needed = [each for each in diagnosis.missing if each.needed]
    optional = [each for each in diagnosis.missing if not each.needed]
    if needed:
        yield "missing, required:"
        yield from (f"  {each.what}\n      {each.cure}" for each in needed)

    # The machine: what a bug report should begin with.
    cores = counted(diagnosis.cores, "core")
    yield f"diarize-pipeline {diagnosis.version}, Python {diagnosis.python}, {diagnosis.system}, {cores}"
    yield f"ffmpeg: {diagnosis.ffmpeg}"
    for device in diagnosis.devices:
        yield f"{device.runtime}: " + (device.problem or f"runs on {'cuda' if device.cuda else 'cpu'}")
    yield f"model store: {diagnosis.store.path}"
    present = [status.entry.name for status in diagnosis.models if status.state == "present"]
    yield f"models in the store: {', '.join(present) or 'none'}"
    yield f"temporary files: {diagnosis.temporary.path}"
    yield f"cache: {diagnosis.cache}"

    # Optional parts last: most users need none of them.
    if verbose:
        parts = (("core", diagnosis.core), *((extra.name, extra.packages) for extra in diagnosis.extras))
        rows = [[name, ", ".join(f"{p.name} {p.version or '(missing)'}" for p in members)] for name, members in parts]
        yield console.table(["part", "packages"], rows)
    if optional and verbose:
        yield "missing, optional:"
        yield from (f"  {each.what}\n      {each.cure}" for each in optional)
    elif optional:
        names = ", ".join(each.what.partition(" (")[0] for each in optional)
        yield f"missing, optional: {names}"
        yield "for details, commands to install them, and all packages: diarize doctor --verbose"
