"""References, hypotheses and UEMs from files and folders, by recording.

A folder is searched at any depth for `.json`, `.rttm`, `.seglst.json`, `.stm` and `.ctm`; hidden files are ignored. Of
a folder with `transcript.json`, a result of this project, only that file is read. For each recording, turns come from
the first of JSON, RTTM, SegLST, STM that has it, words from the first of JSON, SegLST, STM, CTM. Two files of one kind
for one recording are an error. A file without any recording in it stands for a silent recording with the file's name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diarize import files
from diarize.errors import ConfigError, FormatError
from diarize.formats import ctm, rttm, seglst, stm, transcript_json, uem, unscored
from diarize.formats.alternatives import Passage
from diarize.formats.jsontext import parse_json
from diarize.formats.segments import TextSegment
from diarize.timeline import union
from diarize.types import Segment, Transcript, Turn, Word
from pipelines.inputs.folders import is_selected, walk
from pipelines.inputs.recordings import match_key
from pipelines.results.outputs import TRANSCRIPT

TURNS = ("transcript", "rttm", "seglst", "stm")  # kinds that have turns, the preferred one first
WORDS = ("transcript", "seglst", "stm", "ctm")
UNSCORED = {"rttm": unscored.of_rttm, "stm": unscored.of_stm}  # kinds that say what is not to be scored
SUFFIXES = (".json", ".rttm", ".stm", ".ctm")


@dataclass(frozen=True, slots=True)
class TextSpan:
    """A text with its time in seconds, which may have no length. `speaker=None`: nobody was heard there."""

    start: float
    end: float
    speaker: str | None
    text: str
    words: tuple[TextSpan, ...] = field(default=(), compare=False)  # with their own times; (): they have none
    passage: Passage | None = None  # what the text leaves open; None: nothing

    @property
    def middle(self) -> float:
        return (self.start + self.end) / 2


@dataclass(frozen=True, slots=True)
class RecordingAnnotation:
    """Who speaks when, and what, in one recording, by a reference or by a hypothesis. None: not in its files."""

    recording: str
    turns: tuple[Turn, ...] | None = None
    utterances: tuple[TextSpan, ...] | None = None  # text by turn or speaker block
    timed: tuple[TextSpan, ...] | None = None  # the same text by word, where words have times, else by utterance
    names: Mapping[str, str] = field(default_factory=dict)  # speaker of the turns -> name
    unscored: tuple[Segment, ...] = ()  # what its files say is not to be scored; sorted, disjoint
    identified: bool = False  # the names are those of recognised people, not only labels of the turns


def read(
    path: Path, match: Sequence[str] = (), ignore: Sequence[str] = (), notes: list[str] | None = None
) -> dict[str, RecordingAnnotation]:
    """Recording (its `match_key`) -> its annotation in a file, or in the files of a folder.

    Notes on what was skipped are added to `notes`. `match` and `ignore` are shell patterns against a file's path below
    the folder, or its name. Raises ConfigError where there is no such path, no file to read in it, or a recording
    twice; FormatError for a damaged file.
    """
    contents: dict[str, dict[str, tuple[Path, Any]]] = {}
    ids: dict[str, str] = {}
    for file in _find_files(path, SUFFIXES, match, ignore):
        for kind, recording, content in _read_contents(file, file == path, notes):
            key = match_key(recording)
            kinds = contents.setdefault(key, {})
            ids.setdefault(key, recording)
            if kind in kinds:
                raise ConfigError(
                    str(path),
                    repr(recording),
                    f"is in two files of the same kind: {kinds[kind][0]} and {file}",
                    "Name one of the files, or choose reference files with --match and --ignore.",
                )
            kinds[kind] = (file, content)
    if not contents:
        raise ConfigError(str(path), "files", f"no recordings in any {', '.join(SUFFIXES)} file there")
    return {
        key: _annotation(ids[key], {kind: content for kind, (_, content) in kinds.items()})
        for key, kinds in contents.items()
    }


def read_uem(path: Path, notes: list[str] | None = None) -> dict[str, tuple[Segment, ...]]:
    """Recording (its `match_key`) -> the segments to score. Raises ConfigError and FormatError like `read`."""
    scored: dict[str, tuple[Segment, ...]] = {}
    for file in _find_files(path, (".uem",)):
        for recording, segments in uem.loads(files.read_text(file), str(file), notes).items():
            if match_key(recording) in scored:
                raise ConfigError(str(path), repr(recording), f"is in {file} and in another UEM file")
            scored[match_key(recording)] = segments
    if not scored:
        raise ConfigError(str(path), "files", "there is no UEM file with recordings")
    return scored


def find_uem(reference: Path) -> Path | None:
    """A UEM that lies beside a reference: in its folder, if it is one, else of its name, or the only one there.

    UEMs of results of this project, which say what could be decoded, are none.
    """
    folder = reference if reference.is_dir() else reference.parent
    try:
        entries = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".uem" and path.is_file())
        results = (folder / TRANSCRIPT).exists()
    except OSError:
        return None
    if not entries or results:
        return None
    if reference.is_dir():
        return entries[0] if len(entries) == 1 else reference
    own = [path for path in entries if path.stem == reference.name.split(".")[0]]
    return own[0] if own else entries[0] if len(entries) == 1 else None


def _find_files(
    path: Path, suffixes: tuple[str, ...], match: Sequence[str] = (), ignore: Sequence[str] = ()
) -> Iterator[Path]:
    if not path.is_dir():
        if not path.exists():
            raise ConfigError(str(path), "path", "there is no such file or folder")
        if not path.is_file() or not path.name.lower().endswith(suffixes):
            raise ConfigError(str(path), "path", f"not one of the files that are read here: {', '.join(suffixes)}")
        yield path
        return
    for folder, entries in walk(path):
        if isinstance(entries, OSError):
            raise FormatError(str(folder), f"cannot be read: {entries.strerror}")
        names = [entry.name for entry in entries if entry.name.lower().endswith(suffixes)]
        for name in [TRANSCRIPT] if TRANSCRIPT in names else names:
            file = folder / name
            if file.is_file() and is_selected(file.relative_to(path).as_posix(), match, ignore):
                yield file


def _read_contents(file: Path, named: bool, notes: list[str] | None) -> Iterator[tuple[str, str, Any]]:
    """(kind, recording, content) of all in a file; `unscored KIND` has what it says is not to be scored.

    Other JSON is skipped; it is an error where the user `named` it.
    """
    text, where = files.read_text(file), str(file)
    kind = file.suffix.lower()[1:]

    # JSON is a transcript of this project, or a list of SegLST segments; an empty list is SegLST by its name only.
    if kind == "json":
        value = parse_json(text, where)
        if isinstance(value, dict) and str(value.get("schema", "")).startswith("diarize-transcript/"):
            transcript = transcript_json.loads(text, where)
            yield "transcript", transcript.recording, transcript
            return
        if not isinstance(value, list) or not all(isinstance(item, dict) and "session_id" in item for item in value):
            if named:
                raise FormatError(where, "neither a transcript of this project nor SegLST")
            return
        if not value and not file.name.lower().endswith(".seglst.json") and not named:
            return
        kind = "seglst"
    loads: dict[str, Callable[[str, str, list[str] | None], Any]] = {
        "rttm": rttm.loads,
        "stm": stm.loads,
        "ctm": lambda text, where, notes: ctm.loads(text, where),
        "seglst": seglst.loads,
    }
    contents: dict[str, Any] = loads[kind](text, where, notes)
    spans = UNSCORED[kind](text, where) if kind in UNSCORED else {}
    contents.update((recording, ()) for recording in spans if recording not in contents)
    if not contents:
        name = file.name[: -len(file.suffix)]
        contents = {name.removesuffix(".seglst"): ()}
    for recording, content in contents.items():
        yield kind, recording, content
        if recording in spans:
            yield f"unscored {kind}", recording, spans[recording]


def _annotation(recording: str, kinds: Mapping[str, Any]) -> RecordingAnnotation:
    turns_kind = next((kind for kind in TURNS if kind in kinds), None)
    words_kind = next((kind for kind in WORDS if kind in kinds), None)
    turns = None if turns_kind is None else _turns(kinds[turns_kind])
    names = {turn.speaker: turn.speaker for turn in turns or ()}
    identified = False
    if turns_kind == "transcript":
        names = {speaker.id: speaker.name for speaker in kinds[turns_kind].speakers if speaker.name is not None}
        identified = bool(names)
    utterances, timed = (None, None) if words_kind is None else _texts(words_kind, kinds[words_kind])
    spans = union(span for kind in UNSCORED for span in kinds.get(f"unscored {kind}", ()))
    return RecordingAnnotation(recording, turns, utterances, timed, names, spans, identified)


def of_transcript(transcript: Transcript) -> RecordingAnnotation:
    """A transcript of this project as an annotation."""
    return _annotation(transcript.recording, {"transcript": transcript})


def _turns(content: Transcript | Sequence[TextSegment | Turn]) -> tuple[Turn, ...]:
    if isinstance(content, Transcript):
        return content.turns
    return tuple(Turn(item.start, item.end, item.speaker) for item in content if item.speaker is not None)


def _texts(kind: str, content: Any) -> tuple[tuple[TextSpan, ...], tuple[TextSpan, ...]]:
    """(text by utterance; the same by word, where words have times)."""
    if kind == "transcript":
        utterances = tuple(
            TextSpan(u.start, u.end, u.speaker, u.text, tuple(map(_of_word, u.words))) for u in content.utterances()
        )
        return utterances, tuple(map(_of_word, content.words))
    texts = tuple(
        TextSpan(item.start, item.end, item.speaker, item.text, passage=getattr(item, "passage", None))
        for item in content
        if item.text.strip()
    )
    return texts, texts


def _of_word(word: Word) -> TextSpan:
    return TextSpan(word.start, word.end, word.speaker, word.text)
