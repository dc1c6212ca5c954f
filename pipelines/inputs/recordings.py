"""Files and folders named by a user -> recordings to process, each with an id that is unique and a safe file name."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path, PurePath

from diarize.errors import AudioError
from diarize.formats.naming import token

# What a folder is searched for. A file that is named by itself may be called anything: its content decides.
SUFFIXES = frozenset(
    f".{suffix}"
    for line in (
        "wav wave bwf rf64 w64 flac mp3 mp2 m4a m4b aac mp4 m4v mov 3gp 3g2 ogg oga ogv opus spx webm mkv mka wma wmv",
        "asf avi aif aiff aifc au snd caf amr gsm ts mts m2ts mpg mpeg vob flv wv ape tta ac3 eac3 dts ds2 dss voc sph",
        "nist al ul ra rm mxf",
    )
    for suffix in line.split()
)
RESERVED = frozenset(
    ("con", "prn", "aux", "nul", *(f"com{i}" for i in range(10)), *(f"lpt{i}" for i in range(10)))
)  # names that mean devices on Windows
RUN_FILES = frozenset(("run.json", "provenance.json", "timeline.csv", "timeline.parquet", "speakers.csv"))
BELOW = "--"  # in an id, between a folder and what is in it
LONGEST = 100  # bytes of an id: leaves room for suffixes in the 255 that file systems allow


@dataclass(frozen=True)
class Input:
    """One recording to process. `problem` is set where it is known already that it cannot be."""

    path: Path
    name: str  # relative to the folder it was found in; the file's name where it was named by itself
    id: str = ""
    problem: AudioError | None = None
    unread: bool = False  # it is a folder, and what is in it could not be listed


@dataclass(frozen=True)
class Found:
    inputs: tuple[Input, ...]
    passed_over: tuple[str, ...]  # files in the folders that do not look like recordings, by name


def find(paths: Iterable[Path], match: Sequence[str] = (), ignore: Sequence[str] = ()) -> Found:
    """The recordings that `paths` stand for, sorted by name, each with its id, and what was passed over.

    Folders are searched at any depth for the `SUFFIXES`; hidden files and folders do not count; links to folders
    are not followed, and a link to a file outside its folder becomes an input with a problem. `match` and `ignore` are
    shell patterns against the name or its last part; a file that is named by itself obeys them too. The same file named
    twice is one input. Nothing is opened, so nothing can block.
    """
    found: dict[str, Input] = {}
    others: list[str] = []
    for path in paths:
        for item in _in_folder(path, others) if is_folder(path) else [Input(path, path.name or str(path))]:
            # Of a folder that cannot be read nobody knows what in it would match.
            if _wanted(item.name, () if item.unread else match, ignore):
                found.setdefault(os.path.abspath(item.path), item)  # noqa: PTH100 - keeps links as they are
    inputs = sorted(found.values(), key=lambda item: (_bytes(item.name), _bytes(str(item.path))))
    return Found(identify(inputs), tuple(others))


def identify(inputs: Sequence[Input]) -> tuple[Input, ...]:
    """The inputs, each with its id: the name without suffix, made safe.

    Where two would share an id (also where only case tells them apart), each of them gets a digest of its full name.
    """
    plain = [safe(item.name) for item in inputs]
    taken = Counter(id.casefold() for id in plain)
    ids: list[str] = []
    used: set[str] = set()
    for item, id in zip(inputs, plain, strict=True):
        if taken[id.casefold()] > 1:
            id = _marked(id, item.name)
        serial = 1
        while id.casefold() in used:  # the same name below two folders
            serial += 1
            id = _marked(plain[len(ids)], f"{item.name}\0{serial}")
        used.add(id.casefold())
        ids.append(id)
    return tuple(replace(item, id=id) for item, id in zip(inputs, ids, strict=True))


def called(item: Input) -> tuple[str, ...]:
    """What a user may call a recording, the surest first: its id (also as RTTM has it), its path below the folder, its
    file name; each of the last two also without suffix.
    """
    path = PurePath(item.name)
    names = (item.id, token(item.id), item.name, str(path.parent / path.stem), path.name, path.stem)
    return tuple(dict.fromkeys(unicodedata.normalize("NFC", name) for name in names))


class Called:
    """Finds the input that a name in a user's file means."""

    def __init__(self, inputs: Sequence[Input]) -> None:
        self._found: dict[str, list[tuple[int, int]]] = {}
        for i, item in enumerate(inputs):
            for rank, name in enumerate(called(item)):
                self._found.setdefault(name, []).append((rank, i))

    def find(self, name: str) -> tuple[int, ...]:
        """Positions of the inputs that are called so in the surest way: one where all is well, none, or several."""
        found = self._found.get(unicodedata.normalize("NFC", name), [])
        surest = min(found, default=(0, 0))[0]
        return tuple(i for rank, i in found if rank == surest)


def safe(name: str) -> str:
    """A file name made of a relative path without its suffix: letters, digits and `._-` stay, folders become `--`.

    Where characters had to go, a digest of the name is added, so that two names never fall together by it.
    """
    path = PurePath(name)
    parts = [*path.parts[:-1], path.stem if path.suffix.lower() in SUFFIXES else path.name]
    composed = BELOW.join(unicodedata.normalize("NFC", _bytes(part).decode("utf-8", "replace")) for part in parts)
    kept = "".join(c if c.isalnum() or c in "._-" else "_" for c in composed)
    kept = re.sub(r"^[.\-]+|[.\-]+$", lambda edge: "_" * len(edge.group()), kept) or "_"
    short = kept.encode()[:LONGEST].decode("utf-8", "ignore")
    if not _is_file_name(short):
        short = short.encode("ascii", "replace").decode().replace("?", "_")
    altered = (
        short != composed.replace(" ", "_") or kept.split(".")[0].casefold() in RESERVED or kept.casefold() in RUN_FILES
    )
    return _marked(short, name) if altered else short


def _marked(id: str, name: str) -> str:
    digest = hashlib.sha256(_bytes(name)).hexdigest()[:8]
    return f"{id.encode()[: LONGEST - 9].decode('utf-8', 'ignore')}-{digest}"


def _is_file_name(name: str) -> bool:
    """True for a name that this system's files can have: an ASCII locale has no other letters."""
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        return False
    return True


def _bytes(name: str) -> bytes:
    """A file name as the bytes that it stands for, also one that is no valid Unicode."""
    try:
        return os.fsencode(name)
    except UnicodeEncodeError:
        return name.encode("utf-8", "surrogatepass")


def is_folder(path: Path) -> bool:
    """True for a folder that may be looked at, False for whatever else there is or is not."""
    try:
        return path.is_dir()
    except OSError:
        return False


def _in_folder(root: Path, others: list[str]) -> Iterator[Input]:
    top = root.resolve()
    folders = [root]
    while folders:
        folder = folders.pop()
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: _bytes(entry.name))
        except OSError as error:
            name = os.path.relpath(folder, root)
            problem = AudioError(str(folder), f"the folder cannot be read: {error.strerror}", "Change its rights.")
            yield Input(folder, name, problem=problem, unread=True)
            continue
        below: list[Path] = []
        for entry in entries:
            if entry.name.startswith("."):
                continue
            path = folder / entry.name
            if entry.is_dir(follow_symlinks=False):
                below.append(path)
                continue
            name = os.path.relpath(path, root)
            if PurePath(entry.name).suffix.lower() not in SUFFIXES:
                others.append(name)
            else:
                yield Input(path, name, problem=_stray(path, top) if entry.is_symlink() else None)
        folders += reversed(below)


def _stray(link: Path, top: Path) -> AudioError | None:
    """The problem with a link found in a folder: it leads nowhere, in a circle, or out of the folder."""
    try:
        target = link.resolve(strict=True)
        regular = stat.S_ISREG(target.stat().st_mode)
    except (OSError, RuntimeError):
        return AudioError(str(link), "a link that leads nowhere, or in a circle", "Remove it, or mend its target.")
    if not target.is_relative_to(top):
        return AudioError(
            str(link), "a link that leads out of the folder", "Name the link by itself if it is to be processed."
        )
    if not regular:
        return AudioError(str(link), "a link to something that is not a regular file")
    return None


def _wanted(name: str, match: Sequence[str], ignore: Sequence[str]) -> bool:
    names = (name, PurePath(name).name)
    if any(fnmatchcase(n, pattern) for pattern in ignore for n in names):
        return False
    return not match or any(fnmatchcase(n, pattern) for pattern in match for n in names)
