"""`models`: the model store (docs/models.md)."""

from __future__ import annotations

import argparse
from pathlib import Path

from diarize.models.store import Store
from pipelines.cli import console, live, models


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command and its actions."""
    store = commands.add_parser("models", help="the model store")
    store.add_argument("--offline", action="store_true", help="never open a network connection")
    actions = store.add_subparsers(required=True, metavar="ACTION")
    actions.add_parser("list", help="what there is, and what is in the store").set_defaults(command=_list)
    pull = actions.add_parser("pull", help="fetch models into the store")
    pull.add_argument("names", nargs="*", help="default: what the main job needs, and a small one that makes it better")
    pull.add_argument("--force", action="store_true", help="fetch again what is there")
    pull.set_defaults(command=_pull)
    actions.add_parser("verify", help="hash every file again").set_defaults(command=_verify)
    bring = actions.add_parser("import", help="take models from a folder, by their digests")
    bring.add_argument("folder", type=Path)
    bring.set_defaults(command=_import)
    actions.add_parser("path", help="where the store is").set_defaults(command=_path)


def _list(given: argparse.Namespace) -> int:
    for line in console.model_lines(models.overview(Store())):
        console.say(line)
    return 0


def _pull(given: argparse.Namespace) -> int:
    failed = False
    with live.watcher(quiet=False, verbose=False) as watcher:
        for pulled in models.pull(Store(offline=bool(given.offline)), given.names, watcher.fetching, given.force):
            failed |= bool(pulled.problem) and pulled.needed
            welcome = "" if pulled.needed else "not needed, but welcome: "
            console.say(welcome + pulled.problem if pulled.problem else f"{pulled.name}: {pulled.path}")
            for file, digest in pulled.pins:
                console.say(f"  pinned by this download: {file} sha256 {digest}")
    return 5 if failed else 0


def _verify(given: argparse.Namespace) -> int:
    found = models.verify(Store())
    for line in console.model_lines(found) if found else ["no model is in the store"]:
        console.say(line)
    return 6 if any(status.state == "damaged" for status in found) else 0


def _import(given: argparse.Namespace) -> int:
    found = models.bring(Store(), given.folder)
    for item in found:
        console.say(f"{item.path}: {item.model or 'not taken'}" + (f" ({item.problem})" if item.problem else ""))
    return 0 if any(item.model for item in found) else 4


def _path(given: argparse.Namespace) -> int:
    console.say(str(models.path(Store())))
    return 0
