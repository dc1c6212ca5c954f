"""The model store as recipes: plain results that somebody else prints (docs/models.md)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from diarize.errors import ModelError
from diarize.models.registry import Progress, find_entry
from diarize.models.store import ImportResult, ModelStatus, Store

NEEDED = ("silero-vad-v6", "ge2e")  # what the main job runs on when nothing better is there
WELCOME = ("pyannote-segmentation-3.0-int8",)  # small, and much better turns; the main job runs without it


@dataclass(frozen=True, slots=True)
class Pulled:
    """One model that was asked for: where it is now, or what went wrong (with the cure)."""

    name: str
    path: Path | None
    pins: tuple[tuple[str, str], ...] = ()  # (file, sha256) that no registry knew: settled by this download
    problem: str = ""
    needed: bool = True  # False: nobody asked for it by name, and the main job runs without it


def overview(store: Store) -> tuple[ModelStatus, ...]:
    """Every model of the registry, and how it stands in the store."""
    return store.list()


def pull(
    store: Store, names: Sequence[str] = (), progress: Progress | None = None, force: bool = False
) -> Iterator[Pulled]:
    """Fetch models, one result each as it comes; no names: NEEDED and WELCOME.

    Raises UnknownModel before anything is fetched. A model that cannot be had does not stop the others.
    """
    wanted = tuple(dict.fromkeys(names)) or (*NEEDED, *WELCOME)
    for name in wanted:
        find_entry(name, store.registry)
    for name in wanted:
        try:
            path = store.pull(name, progress, force)
        except ModelError as error:
            yield Pulled(name, None, problem=str(error), needed=bool(names) or name in NEEDED)
        else:
            yield Pulled(name, path, tuple(sorted(store.pins(name).items())))


def verify(store: Store) -> tuple[ModelStatus, ...]:
    """Every model that is there, read and hashed again."""
    return store.verify()


def bring(store: Store, folder: Path) -> tuple[ImportResult, ...]:
    """Take the models that lie in `folder`, recognised by their digests. Raises ConfigError and ModelError."""
    return store.import_folder(folder)


def path(store: Store) -> Path:
    """The folder of the store."""
    return store.folder


def command(name: str) -> str:
    """What to type to get a model."""
    return f"diarize models pull {name}"
