"""Files and folders that a user named -> recordings to process, each with an id that is unique and a safe file name."""

from __future__ import annotations

import difflib
import hashlib
import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from unicodedata import normalize

from diarize.errors import AudioError, ConfigError
from diarize.formats.naming import to_token
from diarize.text import split_fields
from pipelines.inputs.folders import is_folder, is_selected, path_bytes, walk

# A folder is searched for files with these suffixes. A file that the user names may have any: its content decides.
SUFFIXES = frozenset(
    f".{suffix}"
    for line in (
        "wav wave bwf rf64 w64 flac mp3 mp2 m4a m4b aac mp4 m4v mov 3gp 3g2 ogg oga ogv opus spx webm mkv mka wma wmv",
        "asf avi aif aiff aifc au snd caf amr gsm ts mts m2ts mpg mpeg vob flv wv ape tta ac3 eac3 dts ds2 dss voc sph",
        "nist al ul ra rm mxf",
    )
    for suffix in split_fields(line)
)
RESERVED = frozenset(
    ("con", "prn", "aux", "nul", *(f"com{i}" for i in range(10)), *(f"lpt{i}" for i in range(10)))
)  # names that mean devices on Windows
RUN_FILES = frozenset(("run.json", "provenance.json", "timeline.csv", "timeline.parquet", "speakers.csv"))
BELOW = "--"  # in an id, between a folder and what is in it
LONGEST = 100  # bytes of an id: leaves room for suffixes in the 255 that file systems allow
_SHORTENED = re.compile(r"[!-}]{80}~[0-9a-f]{16}")  # a token that stands for a longer name (diarize.formats.naming)


@dataclass(frozen=True)
class Input:
    """One recording to process. `problem` is set where it is already known that it cannot be read."""

    path: Path
    name: str  # relative to the folder that was searched; of a file that the user named, the file's name
    id: str = ""
    problem: AudioError | None = None
    unread: bool = False  # it is a folder whose entries could not be listed


@dataclass(frozen=True)
class SearchResult:
    inputs: tuple[Input, ...]
    skipped: tuple[str, ...]  # names of the files in the folders that do not look like recordings


def require(paths: Iterable[Path]) -> None:
    """Raises ConfigError for the first path that does not exist. A link whose target is missing exists."""
    for path in paths:
        try:
            path.lstat()
        except FileNotFoundError:
            raise ConfigError(str(path), "", "there is no such file or folder", _nearest(path)) from None
        except OSError as error:  # a name that is too long, or a folder on the way that is a file
            raise ConfigError(str(path), "", f"cannot be read: {error.strerror}") from error


def _nearest(path: Path) -> str:
    """The file beside it that was probably meant."""
    try:
        names = [entry.name for entry in os.scandir(path.parent)]
    except OSError:
        return ""
    close = difflib.get_close_matches(path.name, names, n=1)
    return f"Did you mean {path.parent / close[0]}?" if close else ""


def find(
    paths: Iterable[Path], match: Sequence[str] = (), ignore: Sequence[str] = (), without: Path | None = None
) -> SearchResult:
    """The recordings that `paths` stand for, sorted by name, each with its id, and the names of other files.

    Folders are searched at any depth for the `SUFFIXES`; hidden files and folders are ignored; links to folders are not
    followed, and a link to a file outside its folder becomes an input with a problem. `match` and `ignore` are shell
    patterns against the name or its last part, also of a file that the user named. The same file named twice is one
    input. The folder `without`, of the results, is not searched. Nothing is opened, so nothing can block.
    """
    inputs: dict[str, Input] = {}
    skipped: list[str] = []
    for path in paths:
        for item in _search(path, skipped, without) if is_folder(path) else [Input(path, path.name or str(path))]:
            # A folder that cannot be listed may hold a recording that matches.
            if is_selected(item.name, () if item.unread else match, ignore):
                inputs.setdefault(os.path.abspath(item.path), item)  # noqa: PTH100 - keeps links as they are
    ordered = sorted(inputs.values(), key=lambda item: (path_bytes(item.name), path_bytes(str(item.path))))
    return SearchResult(assign_ids(ordered), tuple(skipped))


def assign_ids(inputs: Sequence[Input]) -> tuple[Input, ...]:
    """The inputs, each with its id: the name without suffix, made safe.

    Where several would share an id (also where they differ in case only), each gets a digest of its full name.
    """
    plain = [safe_id(item.name) for item in inputs]
    times = Counter(id.casefold() for id in plain)
    ids: list[str] = []
    used: set[str] = set()
    for item, id in zip(inputs, plain, strict=True):
        if times[id.casefold()] > 1:
            id = _add_digest(id, item.name)
        serial = 1
        while id.casefold() in used:  # the same name below two folders
            serial += 1
            id = _add_digest(plain[len(ids)], f"{item.name}\0{serial}")
        used.add(id.casefold())
        ids.append(id)
    return tuple(replace(item, id=id) for item, id in zip(inputs, ids, strict=True))


def match_key(name: str) -> str:
    """Equal for two names of the same recording: NFC, and for a very long one the token that stands for it in RTTM."""
    name = normalize("NFC", name)
    if _SHORTENED.fullmatch(name):
        return name
    short = to_token(name)
    return short if "~" in short else name


def names_of(item: Input) -> tuple[str, ...]:
    """The names by which files may refer to a recording, the most specific first, as `match_key` has them: its id (also
    as RTTM has it), its path below the folder, its file name; each of the last two also without suffix.
    """
    path = PurePath(item.name)
    names = (item.id, to_token(item.id), item.name, str(path.parent / path.stem), path.name, path.stem)
    return tuple(dict.fromkeys(match_key(name) for name in names))


class RecordingMatcher:
    """Finds the recordings that a name in a user's file refers to."""

    def __init__(self, inputs: Sequence[Input]) -> None:
        self._ranked: dict[str, list[tuple[int, int]]] = {}  # name -> (how specific it is, position) of inputs
        for i, item in enumerate(inputs):
            for rank, name in enumerate(names_of(item)):
                self._ranked.setdefault(name, []).append((rank, i))

    def match(self, name: str) -> tuple[int, ...]:
        """Positions of the inputs of which this is the most specific name: one, none, or several."""
        ranked = self._ranked.get(match_key(name), [])
        first = min(ranked, default=(0, 0))[0]
        return tuple(i for rank, i in ranked if rank == first)

    def match_one(self, name: str, where: str) -> int:
        """The position of the one input with this name. Raises ConfigError, which names `where` it was read."""
        positions = self.match(name)
        if len(positions) != 1:
            problem = "several recordings have this name" if positions else "no such recording among the inputs"
            raise ConfigError(where, name, problem, "Name it by its path below the folder.")
        return positions[0]


def safe_id(name: str) -> str:
    """The id for a relative path: letters, digits and `._-` stay, `/` becomes `--`, the suffix of a recording goes.

    Where other characters had to be replaced, a digest of the name is added, so that two names never get one id.
    """
    path = PurePath(name)
    parts = [*path.parts[:-1], path.stem if path.suffix.lower() in SUFFIXES else path.name]
    composed = BELOW.join(normalize("NFC", path_bytes(part).decode("utf-8", "replace")) for part in parts)
    clean = "".join(c if c.isalnum() or c in "._-" else "_" for c in composed)
    clean = re.sub(r"^[.\-]+|[.\-]+$", lambda edge: "_" * len(edge.group()), clean) or "_"
    short = clean.encode()[:LONGEST].decode("utf-8", "ignore")
    if not _is_file_name(short):
        short = short.encode("ascii", "replace").decode().replace("?", "_")
    reserved = clean.split(".")[0].casefold() in RESERVED or clean.casefold() in RUN_FILES
    return _add_digest(short, name) if reserved or short != composed.replace(" ", "_") else short


def _add_digest(id: str, name: str) -> str:
    digest = hashlib.sha256(path_bytes(name)).hexdigest()[:8]
    return f"{id.encode()[: LONGEST - 9].decode('utf-8', 'ignore')}-{digest}"


def _is_file_name(name: str) -> bool:
    """True for a name that this system's files can have: an ASCII locale has no other letters."""
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        return False
    return True


def _search(root: Path, skipped: list[str], without: Path | None = None) -> Iterator[Input]:
    """The recordings in a folder; the names of its other files are added to `skipped`."""
    top = root.resolve()
    for folder, entries in walk(root, without):
        if isinstance(entries, OSError):
            problem = AudioError(
                str(folder), f"the folder cannot be read: {entries.strerror}", "Change its permissions."
            )
            yield Input(folder, os.path.relpath(folder, root), problem=problem, unread=True)
            continue
        for entry in entries:
            path = folder / entry.name
            name = os.path.relpath(path, root)
            if PurePath(entry.name).suffix.lower() not in SUFFIXES:
                skipped.append(name)
            else:
                yield Input(path, name, problem=_check_link(path, top) if entry.is_symlink() else None)


def _check_link(link: Path, top: Path) -> AudioError | None:
    """The problem with a link in a folder: its target is missing, outside of the folder, or not a regular file."""
    try:
        target = link.resolve(strict=True)
        regular = stat.S_ISREG(target.stat().st_mode)
    except (OSError, RuntimeError):
        return AudioError(str(link), "a link without a target, or in a circle", "Remove it, or repair its target.")
    if not target.is_relative_to(top):
        problem = "a link to a file outside of the folder"
        return AudioError(str(link), problem, "To process the file, name the link on the command line.")
    if not regular:
        return AudioError(str(link), "a link to something that is not a regular file")
    return None
