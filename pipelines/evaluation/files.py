"""References, hypotheses and UEMs from files and folders, by recording.

A folder is searched at any depth for `.json`, `.rttm`, `.seglst.json`, `.stm` and `.ctm`; hidden files do not count.
A folder that holds `transcript.json` is a result of this project: that file is read, and nothing beside it. For each
recording, turns come from the first of JSON, RTTM, SegLST, STM that has it, words from the first of JSON, SegLST, STM,
CTM. The same kind twice for one recording is an error. A file without any recording in it is a silent recording called
like the file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from unicodedata import normalize

from diarize import files
from diarize.errors import ConfigError, FormatError
from diarize.formats import ctm, rttm, seglst, stm, transcript_json, uem
from diarize.formats.jsontext import parse
from diarize.formats.naming import token
from diarize.formats.rows import Row
from diarize.types import Segment, Transcript, Turn
from pipelines.results.outputs import TRANSCRIPT

TURNS = ("transcript", "rttm", "seglst", "stm")  # kinds that have turns, the one to prefer first
WORDS = ("transcript", "seglst", "stm", "ctm")
SUFFIXES = (".json", ".rttm", ".stm", ".ctm")
_CUT = re.compile(r"[!-}]{80}~[0-9a-f]{16}")  # a token that stands for a longer name (diarize.formats.naming)


@dataclass(frozen=True, slots=True)
class Said:
    """A stretch of text with its time in seconds; it may have no length. `speaker=None`: nobody was heard there."""

    start: float
    end: float
    speaker: str | None
    text: str

    @property
    def middle(self) -> float:
        return (self.start + self.end) / 2


@dataclass(frozen=True, slots=True)
class Side:
    """One recording as one party has it. None: its files do not say."""

    recording: str
    turns: tuple[Turn, ...] | None = None
    utterances: tuple[Said, ...] | None = None  # text by turn or speaker block
    timed: tuple[Said, ...] | None = None  # the same text as finely as it is timed: by word, or by utterance
    names: Mapping[str, str] = field(default_factory=dict)  # speaker of the turns -> name
    identified: bool = False  # the names are more than the labels of the turns: somebody was recognised by name


def read(path: Path, match: Sequence[str] = (), ignore: Sequence[str] = ()) -> dict[str, Side]:
    """Recording -> what the file or folder says of it, by `key`.

    Raises ConfigError where there is no such path, nothing readable in it, or a recording twice; FormatError for a
    damaged file. `match` and `ignore` are shell patterns against a file's path below the folder, or its name.
    """
    found: dict[str, dict[str, tuple[Path, Any]]] = {}
    ids: dict[str, str] = {}
    for file in _files(path, SUFFIXES, match, ignore):
        for kind, recording, content in _contents(file, named=file == path):
            kinds = found.setdefault(key(recording), {})
            ids.setdefault(key(recording), recording)
            if kind in kinds:
                raise ConfigError(
                    str(path),
                    repr(recording),
                    f"is in two files of the same kind: {kinds[kind][0]} and {file}",
                    "Name the file you mean, or choose reference files with --match and --ignore.",
                )
            kinds[kind] = (file, content)
    if not found:
        raise ConfigError(str(path), "files", f"no recordings in any {', '.join(SUFFIXES)} file there")
    return {k: _side(ids[k], {kind: content for kind, (_, content) in kinds.items()}) for k, kinds in found.items()}


def read_uem(path: Path) -> dict[str, tuple[Segment, ...]]:
    """Recording -> the stretches that count, by `key`. Raises ConfigError and FormatError like `read`."""
    found: dict[str, tuple[Segment, ...]] = {}
    for file in _files(path, (".uem",), (), ()):
        for recording, segments in uem.loads(files.read_text(file), str(file)).items():
            if key(recording) in found:
                raise ConfigError(str(path), repr(recording), f"stands in {file} and in another UEM file")
            found[key(recording)] = segments
    if not found:
        raise ConfigError(str(path), "files", "no UEM there")
    return found


def key(recording: str) -> str:
    """What two ids of the same recording share: Unicode form, and for very long ones the token that RTTM has."""
    recording = normalize("NFC", recording)
    if _CUT.fullmatch(recording):
        return recording
    safe = token(recording)
    return safe if "~" in safe else recording


def _files(path: Path, suffixes: tuple[str, ...], match: Sequence[str], ignore: Sequence[str]) -> Iterator[Path]:
    if not path.is_dir():
        if not path.exists():
            raise ConfigError(str(path), "path", "there is no such file or folder")
        if not path.is_file() or not path.name.lower().endswith(suffixes):
            raise ConfigError(str(path), "path", f"not one of the files that are read here: {', '.join(suffixes)}")
        yield path
        return
    for folder, below, names in os.walk(path):
        below[:] = sorted(name for name in below if not name.startswith("."))
        if TRANSCRIPT in names and TRANSCRIPT.endswith(suffixes):
            names = [TRANSCRIPT]
        for name in sorted(names):
            file = Path(folder) / name
            if name.startswith(".") or not name.lower().endswith(suffixes) or not file.is_file():
                continue
            if _wanted(file.relative_to(path).as_posix(), match, ignore):
                yield file


def _wanted(name: str, match: Sequence[str], ignore: Sequence[str]) -> bool:
    def fits(patterns: Iterable[str]) -> bool:
        return any(fnmatchcase(name, p) or fnmatchcase(name.rpartition("/")[2], p) for p in patterns)

    return (not match or fits(match)) and not fits(ignore)


def _contents(file: Path, named: bool) -> Iterator[tuple[str, str, Any]]:
    """(kind, recording, content) of everything in a file. JSON of another kind is passed over unless it is `named`."""
    text, where = files.read_text(file), str(file)
    kind = file.suffix.lower()[1:]
    if kind == "json":
        value = parse(text, where)
        if isinstance(value, dict) and str(value.get("schema", "")).startswith("diarize-transcript/"):
            transcript = transcript_json.loads(text, where)
            yield "transcript", transcript.recording, transcript
            return
        if not isinstance(value, list) or not all(isinstance(item, dict) and "session_id" in item for item in value):
            if named:
                raise FormatError(where, "neither a transcript of this project nor a SegLST")
            return
        if not value and not file.name.lower().endswith(".seglst.json") and not named:
            return
        kind = "seglst"
    loads: dict[str, Callable[[str, str], Any]] = {
        "rttm": rttm.loads,
        "stm": stm.loads,
        "ctm": ctm.loads,
        "seglst": seglst.loads,
    }
    contents: dict[str, Any] = loads[kind](text, where)
    if not contents:
        name = file.name[: -len(file.suffix)]
        contents = {name.removesuffix(".seglst"): ()}
    for recording, content in contents.items():
        yield kind, recording, content


def _side(recording: str, kinds: Mapping[str, Any]) -> Side:
    turns = next((kind for kind in TURNS if kind in kinds), None)
    words = next((kind for kind in WORDS if kind in kinds), None)
    spoken = None if turns is None else _turns(kinds[turns])
    names = {turn.speaker: turn.speaker for turn in spoken or ()}
    identified = False
    if turns == "transcript":
        names = {speaker.id: speaker.name for speaker in kinds[turns].speakers if speaker.name is not None}
        identified = bool(names)
    utterances, timed = (None, None) if words is None else _said(words, kinds[words])
    return Side(recording, spoken, utterances, timed, names, identified)


def _turns(content: Transcript | Sequence[Row | Turn]) -> tuple[Turn, ...]:
    if isinstance(content, Transcript):
        return content.turns
    return tuple(Turn(item.start, item.end, item.speaker) for item in content if item.speaker is not None)


def _said(kind: str, content: Any) -> tuple[tuple[Said, ...], tuple[Said, ...]]:
    """(utterances, the same as finely timed as it is known)."""
    if kind == "transcript":
        utterances = tuple(Said(u.start, u.end, u.speaker, u.text) for u in content.utterances())
        return utterances, tuple(Said(w.start, w.end, w.speaker, w.text) for w in content.words)
    found = tuple(Said(item.start, item.end, item.speaker, item.text) for item in content if item.text.strip())
    return found, found
