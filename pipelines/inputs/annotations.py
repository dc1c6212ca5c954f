"""What users know of their recordings (words, speech, turns, links), read from files before any recording is processed.

A folder holds one file a recording, with the recording's name (`recordings.names_of`). A single file may be of one
recording, under any name, or list several (RTTM, UEM, a CSV of links), each under one of its names.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from diarize import files, timeline
from diarize.clustering import constraints
from diarize.clustering.constraints import Link
from diarize.config import Config
from diarize.errors import ConfigError, FormatError
from diarize.formats import rttm, transcript_json, uem
from diarize.formats.segments import check_span, parse_seconds
from diarize.text import counted, split_lines
from diarize.types import Segment, Turn, Word
from pipelines.inputs.folders import is_folder
from pipelines.inputs.jobs import Job, MarkedSpeech, WordsFromFile
from pipelines.inputs.recordings import Input, RecordingMatcher, match_key, names_of

WORDS, SPEECH, KNOWN = "--transcript", "--speech", "--known-turns"
SPEAKERS = "--speakers-from"
COLUMNS = ("recording", "link", "start_1", "end_1", "start_2", "end_2")  # of a CSV of links


@dataclass(frozen=True, slots=True)
class KnownTurns:
    """What a file says about the speakers of one recording."""

    turns: tuple[Turn, ...] = ()
    links: tuple[Link, ...] = ()


_T = TypeVar("_T")
_Reader = Callable[[str, str, list[str]], dict[str, _T]]  # (text, where, notes to add to) -> recording -> annotation
_Readers = Mapping[str, _Reader[_T]]  # by suffix
_Speech = tuple[Segment, ...]


def attach(
    jobs: Sequence[Job], words: Path | None, speech: Path | None, known: Sequence[Path], config: Config
) -> list[Job]:
    """The jobs, each with its annotations. Raises ConfigError, which names the option, the file and the cure."""
    for option, used in ((SPEECH, speech is not None), (KNOWN, bool(known))):
        if used and config.audio.channel == "per-channel":
            problem = "cannot be used together: each channel is one speaker, who talks where there is speech in it"
            raise ConfigError(option, "--channel per-channel", problem)
        if used and config.diarizer is not None:
            problem = "cannot be used together: an end-to-end diarizer finds speech and turns itself"
            raise ConfigError(option, f"--diarizer {config.diarizer}", problem)
    attached = list(jobs)
    if words is not None:
        attached = _with_words(attached, words, config.label.names_in_text)
    if config.label.speakers_from != "recording":
        _check_speakers(attached, words, speech is not None or bool(known), config)
    if speech is not None:
        attached = _with_speech(attached, speech)
    return _with_known(attached, known) if known else attached


def _with_words(jobs: Sequence[Job], path: Path, names_in_text: bool) -> list[Job]:
    # A bad file in a folder costs its own recording; a single one would cost the whole run.
    if is_folder(path):
        paths = _match_files(jobs, path, WORDS)
        _require_all(jobs, set(paths), path, WORDS, ".json")
        return [replace(job, words=paths.get(i)) for i, job in enumerate(jobs)]
    _require_file(path, WORDS)
    if len(jobs) > 1:
        cure = "Name a folder with one file a recording, with the recordings' names."
        raise ConfigError(WORDS, str(path), f"one file for {len(jobs)} recordings", cure)
    _read_words(path, names_in_text)
    return [replace(jobs[0], words=path)]


def _check_speakers(jobs: Sequence[Job], words: Path | None, has_turns: bool, config: Config) -> None:
    """Raises ConfigError where speakers cannot come from the files of words: without them, and beside other turns."""
    wanted = config.label.speakers_from
    if words is None:
        raise ConfigError(SPEAKERS, wanted, "there are no words with speakers", f"Name their file: {WORDS} FILE.")
    if wanted == "compare":
        return
    if has_turns:
        raise ConfigError(SPEAKERS, wanted, f"cannot be used with {SPEECH} and {KNOWN}: the words decide the turns")
    if config.audio.channel == "per-channel":
        raise ConfigError(SPEAKERS, wanted, "cannot be used with --channel per-channel: each channel is one speaker")
    if config.diarizer is not None:
        raise ConfigError(SPEAKERS, wanted, "cannot be used with --diarizer: the words decide the turns")
    for job in jobs:
        if job.words is None:
            continue
        spoken = _read_words(job.words, config.label.names_in_text)
        if spoken and not any(word.speaker for word in spoken):
            raise ConfigError(WORDS, str(job.words), "its words have no speakers", f"Leave out {SPEAKERS} {wanted}.")


def _read_words(path: Path, names_in_text: bool) -> tuple[Word, ...]:
    """The words of a file. Raises ConfigError where it cannot be read."""
    try:
        return WordsFromFile(path, names_in_text)()[0]
    except FormatError as error:
        raise ConfigError(WORDS, error.where, error.problem, error.cure) from error


def _with_speech(jobs: Sequence[Job], path: Path) -> list[Job]:
    speech = {
        i: MarkedSpeech(segments or (), digest, tuple(f"speech: {note}" for note in notes))
        for i, segments, digest, notes in _read(jobs, path, SPEECH, _SPEECH, others=True)
    }
    _require_all(jobs, set(speech), path, SPEECH, ".rttm")
    return [replace(job, speech=speech.get(i)) for i, job in enumerate(jobs)]


def _with_known(jobs: Sequence[Job], paths: Sequence[Path]) -> list[Job]:
    # Several files may be of one recording: their turns and links come together.
    known: dict[int, list[tuple[KnownTurns, str]]] = {}  # position of a job -> (annotation, the file's sha256)
    notes: dict[int, list[str]] = {}
    for path in paths:
        for i, annotation, digest, its_notes in _read(jobs, path, KNOWN, _KNOWN, others=False):
            known.setdefault(i, []).append((annotation or KnownTurns(), digest))
            notes.setdefault(i, []).extend(f"known turns: {note}" for note in its_notes)
    return [_constrain(job, known[i], notes[i]) if i in known else job for i, job in enumerate(jobs)]


def _constrain(job: Job, known: Sequence[tuple[KnownTurns, str]], notes: Sequence[str]) -> Job:
    """The job with its constraints. Raises ConfigError where they contradict each other or the number of speakers."""
    turns = [turn for annotation, _ in known for turn in annotation.turns]
    links = [link for annotation, _ in known for link in annotation.links]
    name = "+".join(f"file:{digest}" for _, digest in known)
    try:
        resolved = replace(constraints.resolve(turns, links, name), notes=tuple(notes))
    except ValueError as error:
        raise ConfigError(KNOWN, job.input.name, str(error), "Remove the line that is wrong.") from error
    most = job.cluster.num_speakers or job.cluster.max_speakers
    if not constraints.satisfiable(resolved, most):
        problem = f"more different people are known than the {counted(most, 'speaker')} allowed"
        raise ConfigError(KNOWN, job.input.name, problem, "Allow more speakers, or remove what is wrong.")
    return replace(job, known=resolved)


def _read(
    jobs: Sequence[Job], path: Path, option: str, readers: _Readers[_T], others: bool
) -> Iterator[tuple[int, _T | None, str, tuple[str, ...]]]:
    """(position of a job, its annotation or None for an empty file, the file's sha256, notes).

    `others`: a file may list recordings that are not processed.
    """
    # A folder: each file is of the recording with its name.
    if is_folder(path):
        for i, file in _match_files(jobs, path, option, tuple(readers)).items():
            contents, digest, notes = _parse(file, option, readers)
            names = [name for name in contents if len(contents) == 1 or _has_name(jobs[i].input, name)]
            if contents and len(names) != 1:
                problem = f"has {len(names) or 'no'} recordings with a name of {jobs[i].input.name}"
                raise ConfigError(option, str(file), problem, f"Use the name {jobs[i].input.id} there.")
            notes += _note_other_names(jobs[i].input, names)
            yield i, contents[names[0]] if names else None, digest, notes
        return
    _require_file(path, option)
    contents, digest, notes = _parse(path, option, readers)

    # One recording, and a file of one recording: they belong together, whatever the name in the file.
    if len(jobs) == 1 and len(contents) <= 1:
        notes += _note_other_names(jobs[0].input, contents)
        yield 0, next(iter(contents.values()), None), digest, notes
        return

    # A file of several recordings: their names decide.
    matcher, used = RecordingMatcher([job.input for job in jobs]), dict[int, str]()
    for name, annotation in contents.items():
        if others and not matcher.match(name):
            continue
        at = matcher.match_one(name, f"{option} {path}")
        if at in used:
            problem = f"it is of {jobs[at].input.name}, and so is {used[at]!r}"
            raise ConfigError(f"{option} {path}", name, problem, "Use one name for both.")
        used[at] = name
        yield at, annotation, digest, notes


def _has_name(item: Input, name: str) -> bool:
    return match_key(name) in names_of(item)


def _note_other_names(item: Input, names: Iterable[str]) -> tuple[str, ...]:
    """A note on each name in a recording's file that is not a name of this recording.

    It tells neither the recording's name nor the file's: a result depends on the content of files, not on their names.
    """
    return tuple(
        f"the file names the recording {name!r}; it was used, but may be of another recording"
        for name in names
        if not _has_name(item, name)
    )


def _match_files(jobs: Sequence[Job], folder: Path, option: str, suffixes: Sequence[str] = ()) -> dict[int, Path]:
    """Position of a job -> the file in `folder` with a name of its recording, the most specific first.

    Raises ConfigError where a recording has several files, and where a file would be of two recordings.
    """
    try:
        paths = sorted(path for path in folder.iterdir() if path.is_file())
    except OSError as error:
        raise ConfigError(option, str(folder), f"cannot be read: {error.strerror}") from error

    # Every file by its names: with and without all of its suffixes.
    by_name: dict[str, list[Path]] = {}
    for path in paths:
        if not suffixes or path.suffix.lower() in suffixes:
            for name in {match_key(name) for name in (path.stem, path.name.split(".")[0])}:
                by_name.setdefault(name, []).append(path)

    # Every recording with the file of its most specific name.
    matches: dict[int, Path] = {}
    owners: dict[Path, Input] = {}
    for i, job in enumerate(jobs):
        own = next((by_name[name] for name in names_of(job.input) if name in by_name), [])
        if not own or job.input.problem is not None:
            continue
        if len(own) > 1:
            problem = f"{len(own)} files for {job.input.name}: {', '.join(path.name for path in own)}"
            raise ConfigError(option, str(folder), problem, "Name the file itself, or a folder that has one for each.")
        other = owners.setdefault(own[0], job.input)
        if other is not job.input:
            problem = f"{own[0].name} may be of {other.name} and of {job.input.name}"
            raise ConfigError(option, str(folder), problem, _file_cure(job.input, (suffixes or (".json",))[0]))
        matches[i] = own[0]
    return matches


def _parse(path: Path, option: str, readers: _Readers[_T]) -> tuple[dict[str, _T], str, tuple[str, ...]]:
    """(recording -> annotation, the file's sha256, notes). Notes do not name the file, as `_note_other_names`."""
    loads = readers.get(path.suffix.lower())
    if loads is None:
        raise ConfigError(option, str(path), "not one of the files that are read here", f"Known: {', '.join(readers)}.")
    try:
        data = files.read(path)
        notes: list[str] = []
        contents = loads(files.text_of(data, str(path)), str(path), notes)
        short = tuple(note.removeprefix(f"{path}: ") for note in notes)
        return contents, hashlib.sha256(data).hexdigest(), short
    except FormatError as error:
        raise ConfigError(option, error.where, error.problem, error.cure) from error


def _require_file(path: Path, option: str) -> None:
    """Raises ConfigError where there is no such file, or where it is a device or a pipe."""
    try:
        exists = path.exists()
    except OSError:
        exists = False
    if not exists:
        raise ConfigError(option, str(path), "no such file or folder")
    try:
        files.regular(path)
    except OSError as error:
        raise ConfigError(option, str(path), error.strerror or str(error)) from error


def _require_all(jobs: Sequence[Job], annotated: set[int], path: Path, option: str, suffix: str) -> None:
    """Raises ConfigError for the first job without an annotation; recordings that cannot be read need none."""
    for i, job in enumerate(jobs):
        if i not in annotated and job.input.problem is None:
            if is_folder(path):
                raise ConfigError(option, str(path), f"no file for {job.input.name}", _file_cure(job.input, suffix))
            problem = f"has nothing on {job.input.name}"
            raise ConfigError(option, str(path), problem, f"Use the name {job.input.id} for the recording there.")


def _file_cure(item: Input, suffix: str) -> str:
    return f"Add one, for example {item.id}{suffix}."


def _read_turns(text: str, where: str, notes: list[str]) -> dict[str, tuple[Turn, ...]]:
    transcript = transcript_json.loads(text, where)
    return {transcript.recording: transcript.turns}


def _as_speech(
    loads: Callable[[str, str, list[str]], Mapping[str, Sequence[Segment]]],
) -> _Reader[_Speech]:
    """The same reader, for the union of the segments that it returns."""
    return lambda text, where, notes: {
        name: timeline.union(segments) for name, segments in loads(text, where, notes).items()
    }


def _as_known(
    loads: Callable[[str, str, list[str]], Mapping[str, tuple[Turn, ...]]],
) -> _Reader[KnownTurns]:
    return lambda text, where, notes: {name: KnownTurns(turns) for name, turns in loads(text, where, notes).items()}


def _read_links(text: str, where: str, notes: list[str] | None = None) -> dict[str, KnownTurns]:
    """A CSV of links. Raises FormatError, with the line."""
    reader = csv.DictReader(split_lines(text, keep_ends=True), strict=True)
    links: dict[str, list[Link]] = {}
    try:
        if set(reader.fieldnames or ()) != set(COLUMNS):
            raise FormatError(f"{where}:1", f"the columns are {', '.join(COLUMNS)}")
        for row in reader:
            place = f"{where}:{reader.line_num}"
            if None in row or None in row.values():
                raise FormatError(place, f"needs {len(COLUMNS)} cells")
            kind = row["link"].strip()
            if kind not in ("must", "cannot"):
                raise FormatError(place, f"a link is must or cannot, not {kind!r}")
            times = [parse_seconds(row[column], place) for column in COLUMNS[2:]]
            spans = [Segment(*check_span(a, b, place)) for a, b in (times[:2], times[2:])]
            link = Link("must" if kind == "must" else "cannot", spans[0], spans[1], place)
            links.setdefault(row["recording"], []).append(link)
    except csv.Error as error:
        raise FormatError(f"{where}:{reader.line_num}", str(error)) from error
    return {name: KnownTurns(links=tuple(its_links)) for name, its_links in links.items()}


_SPEECH: _Readers[_Speech] = {
    ".rttm": _as_speech(rttm.loads),
    ".uem": _as_speech(uem.loads),
    ".json": _as_speech(_read_turns),
}
_KNOWN: _Readers[KnownTurns] = {".rttm": _as_known(rttm.loads), ".json": _as_known(_read_turns), ".csv": _read_links}
