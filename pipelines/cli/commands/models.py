"""`models`: the model store (docs/models.md)."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from diarize.errors import ModelError
from diarize.models.registry import Progress, find_entry
from diarize.models.store import ModelStatus, Store
from diarize.models.wheels import Wheels
from diarize.text import counted
from pipelines.cli import console
from pipelines.cli.doctor import NEEDED, RECOMMENDED
from pipelines.cli.observers import open_observer

SHOWN = 5  # files that a message lists


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
        help="models to download; default: those that process needs, those of pyannote community-1, and Moonshine",
    )
    pull.add_argument("--force", action="store_true", help="download again models that are in the store")
    pull.set_defaults(command=_pull)
    actions.add_parser("verify", help="check the sha256 of every file in the store").set_defaults(command=_verify)
    from_folder = actions.add_parser("import", help="copy models from a folder; files are recognized by their sha256")
    from_folder.add_argument("folder", type=Path)
    from_folder.set_defaults(command=_import)
    actions.add_parser("path", help="print the path of the store").set_defaults(command=_path)


def _list(args: argparse.Namespace) -> int:
    for line in model_lines(Store().list()):
        console.say(line)
    return 0


def _pull(args: argparse.Namespace) -> int:
    failed = False
    with open_observer(quiet=False, verbose=False) as observer:
        for result in pull(Store(offline=bool(args.offline)), args.names, observer.fetching, args.force):
            failed |= bool(result.problem) and result.needed
            optional = "" if result.needed else "optional: "
            console.say(optional + result.problem if result.problem else f"{result.name}: {result.path}")
            for file, digest in result.pins:
                console.say(f"  pinned by this download: {file} sha256 {digest}")
    return 5 if failed else 0


def _verify(args: argparse.Namespace) -> int:
    store = Store()
    statuses = store.verify()
    missing = (
        f"there is no model in the store ({store.folder}{'' if store.folder.exists() else ', which does not exist'})"
    )
    for line in model_lines(statuses) if statuses else [missing]:
        console.say(line)
    return 6 if any(status.state == "damaged" for status in statuses) else 0


def _import(args: argparse.Namespace) -> int:
    results = Store().import_folder(args.folder)
    for result in results:
        problem = f" ({result.problem})" if result.problem else ""
        console.say(f"{result.path}: {result.model or 'not copied'}{problem}")
    if not results:
        console.warn(f"error: {unknown_folder(args.folder)}")
    return 0 if any(result.model for result in results) else 4


def unknown_folder(folder: Path) -> str:
    """What is in a folder of which no file is of a known model."""
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    if not files:
        return f"{folder}: there is no file in it. Name the folder of the model files."
    shown = ", ".join(files[:SHOWN]) + (", ..." if len(files) > SHOWN else "")
    return (
        f"{folder}: {counted(len(files), 'file')} ({shown}), and none is of a known model: files are recognized by "
        "their sha256. Known models: diarize models list; an ONNX speaker model needs no import: --embedder FILE.onnx."
    )


def _path(args: argparse.Namespace) -> int:
    console.say(str(Store().folder))
    return 0


@dataclass(frozen=True, slots=True)
class PullResult:
    """The outcome for one model: where it is now, or what went wrong (with the cure)."""

    name: str
    path: Path | None
    pins: tuple[tuple[str, str], ...] = ()  # (file, sha256) that no registry has: pinned by this download
    problem: str = ""
    needed: bool = True  # False: not asked for by name, and the main job runs without it


def pull(
    store: Store, names: Sequence[str] = (), progress: Progress | None = None, force: bool = False
) -> Iterator[PullResult]:
    """Fetch models, by default NEEDED and RECOMMENDED; one result each as it comes.

    Raises UnknownModel before anything is fetched. A model that cannot be fetched does not stop the others.
    """
    wanted = tuple(dict.fromkeys(names)) or (*NEEDED, *RECOMMENDED)
    for name in wanted:
        find_entry(name, store.registry)
    with Wheels() as wheels:
        for name in wanted:
            try:
                path = store.pull(name, progress, force, wheels)
            except ModelError as error:
                yield PullResult(name, None, problem=str(error), needed=bool(names) or name in NEEDED)
            else:
                yield PullResult(name, path, tuple(sorted(store.pins(name).items())))


def model_lines(statuses: Sequence[ModelStatus]) -> Iterator[str]:
    """A model's state in the store, role, size and licence; what it is, or what is wrong with it; whom to name."""
    longest = max((len(status.entry.name) for status in statuses), default=0)
    for status in statuses:
        entry = status.entry
        size = "?" if entry.size is None else f"{entry.size / 1e6:.1f}"
        pinned = ", digest fixed by the first download" if status.pinned else ""
        yield f"{entry.name:{longest}}  {status.state:7} {entry.role:12} {size:>7} MB  {entry.licence}{pinned}"
        yield f"    {status.problem or entry.description}"
        if entry.attribution:
            yield f"    attribution: {entry.attribution}"
