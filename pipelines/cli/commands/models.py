"""`models`: the model store (docs/models.md)."""

from __future__ import annotations

import argparse
from pathlib import Path

from diarize.models.store import Store
from pipelines.cli import console, live, models


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command and its actions."""
    store = commands.add_parser("models", help="manage the model store")
    store.add_argument("--offline", action="store_true", help="never open a network connection")
    actions = store.add_subparsers(required=True, metavar="ACTION")
    actions.add_parser("list", help="list all known models, and which are in the store").set_defaults(command=_list)
    pull = actions.add_parser("pull", help="download models into the store")
    pull.add_argument(
        "names",
        nargs="*",
        help="models to download; default: the models that process needs, and the small segmentation model",
    )
    pull.add_argument("--force", action="store_true", help="download again models that are in the store")
    pull.set_defaults(command=_pull)
    actions.add_parser("verify", help="check the sha256 of every file in the store").set_defaults(command=_verify)
    bring = actions.add_parser("import", help="copy models from a folder; files are recognized by their sha256")
    bring.add_argument("folder", type=Path)
    bring.set_defaults(command=_import)
    actions.add_parser("path", help="print the path of the store").set_defaults(command=_path)


def _list(given: argparse.Namespace) -> int:
    for line in console.model_lines(models.overview(Store())):
        console.say(line)
    return 0


def _pull(given: argparse.Namespace) -> int:
    failed = False
    with live.watcher(quiet=False, verbose=False) as watcher:
        for pulled in models.pull(Store(offline=bool(given.offline)), given.names, watcher.fetching, given.force):
            failed |= bool(pulled.problem) and pulled.needed
            welcome = "" if pulled.needed else "optional: "
            console.say(welcome + pulled.problem if pulled.problem else f"{pulled.name}: {pulled.path}")
            for file, digest in pulled.pins:
                console.say(f"  pinned by this download: {file} sha256 {digest}")
    return 5 if failed else 0


def _verify(given: argparse.Namespace) -> int:
    found = models.verify(Store())
    for line in console.model_lines(found) if found else ["there is no model in the store"]:
        console.say(line)
    return 6 if any(status.state == "damaged" for status in found) else 0


def _import(given: argparse.Namespace) -> int:
    found = models.bring(Store(), given.folder)
    for item in found:
        console.say(f"{item.path}: {item.model or 'not copied'}" + (f" ({item.problem})" if item.problem else ""))
    return 0 if any(item.model for item in found) else 4


def _path(given: argparse.Namespace) -> int:
    console.say(str(models.path(Store())))
    return 0
