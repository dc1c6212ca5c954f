"""What a user gives with recordings: words, speech, known turns; each found in their files before any work.

A folder holds a file for each recording, called like it (`inputs.called`). A file may be of one recording, whatever it
calls it, or name several (RTTM, UEM, a CSV of links), each as `inputs.called` says.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar
from unicodedata import normalize

from diarize import files, timeline
from diarize.clustering import constraints
from diarize.clustering.constraints import Linked
from diarize.config import Config
from diarize.errors import ConfigError, FormatError
from diarize.formats import rttm, transcript_json, uem
from diarize.formats.rows import number, segment
from diarize.text import counted
from diarize.types import Segment, Turn
from pipelines.inputs.jobs import Job, MarkedSpeech
from pipelines.inputs.recordings import Called, Input, called, is_folder

WORDS, SPEECH, KNOWN = "--transcript", "--speech", "--known-turns"
COLUMNS = ("recording", "link", "start_1", "end_1", "start_2", "end_2")  # of a CSV of links


@dataclass(frozen=True, slots=True)
class Said:
    """What a file says of who speaks in a recording."""

    turns: tuple[Turn, ...] = ()
    links: tuple[Linked, ...] = ()


_T = TypeVar("_T")
_Readers = Mapping[str, Callable[[str, str], dict[str, _T]]]  # suffix -> (text, where) -> recording -> what is said


def attach(
    jobs: Sequence[Job], words: Path | None, speech: Path | None, known: Sequence[Path], config: Config
) -> list[Job]:
    """The jobs, each with what is given for it. Raises ConfigError, which names the option, the file and the cure."""
    for option, wanted in ((SPEECH, speech is not None), (KNOWN, bool(known))):
        if wanted and config.audio.channel == "per-channel":
            raise ConfigError(option, "--channel per-channel", "each channel is one speaker's line, and finds its own")
        if wanted and config.diarizer is not None:
            raise ConfigError(option, f"--diarizer {config.diarizer}", "an end-to-end diarizer finds its own")
    found = list(jobs)
    if words is not None:
        found = _with_words(found, words)
    if speech is not None:
        found = _with_speech(found, speech)
    return _with_known(found, known) if known else found


def _with_words(jobs: Sequence[Job], path: Path) -> list[Job]:
    if is_folder(path):
        own = _in_folder(jobs, path, WORDS)
        _refuse_missing(jobs, set(own), path, WORDS, ".json")
        return [replace(job, words=own.get(i)) for i, job in enumerate(jobs)]
    _refuse_nothing(path, WORDS)
    if len(jobs) > 1:
        cure = "Name a folder of files called like the recordings."
        raise ConfigError(WORDS, str(path), f"one file for {len(jobs)} recordings", cure)
    return [replace(jobs[0], words=path)]


def _with_speech(jobs: Sequence[Job], path: Path) -> list[Job]:
    given = {
        i: MarkedSpeech(own or (), digest, tuple(f"speech: {note}" for note in notes))
        for i, own, digest, notes in _read(jobs, path, SPEECH, _SPEECH, others=True)
    }
    _refuse_missing(jobs, set(given), path, SPEECH, ".rttm")
    return [replace(job, speech=given.get(i)) for i, job in enumerate(jobs)]


def _with_known(jobs: Sequence[Job], paths: Sequence[Path]) -> list[Job]:
    said: dict[int, list[tuple[Said, str]]] = {}
    told: dict[int, list[str]] = {}
    for path in paths:
        for i, own, digest, notes in _read(jobs, path, KNOWN, _KNOWN, others=False):
            said.setdefault(i, []).append((own or Said(), digest))
            told.setdefault(i, []).extend(f"known turns: {note}" for note in notes)
    found = []
    for i, job in enumerate(jobs):
        if i not in said:
            found.append(job)
            continue
        turns = [turn for own, _ in said[i] for turn in own.turns]
        links = [link for own, _ in said[i] for link in own.links]
        name = "+".join(f"file:{digest}" for _, digest in said[i])
        try:
            known = replace(constraints.resolve(turns, links, name), notes=tuple(told[i]))
        except ValueError as error:
            cure = "Take out what is wrong."
            raise ConfigError(KNOWN, job.input.name, str(error), cure) from error
        most = job.cluster.num_speakers or job.cluster.max_speakers
        if not constraints.fits(known, most):
            allowed = f"the {counted(most, 'speaker')} allowed"
            problem = f"more people are known to be others than each other than {allowed}"
            raise ConfigError(KNOWN, job.input.name, problem, "Allow more, or take out what is wrong.")
        found.append(replace(job, known=known))
    return found


def _read(
    jobs: Sequence[Job], path: Path, option: str, readers: _Readers[_T], others: bool
) -> Iterator[tuple[int, _T | None, str, tuple[str, ...]]]:
    """(position of a job, what the file says of it or None for an empty file, the file's sha256, notes).

    `others`: a file may name recordings that are not there.
    """
    if is_folder(path):
        for i, file in _in_folder(jobs, path, option, tuple(readers)).items():
            contents, digest = _parsed(file, option, readers)
            own = [name for name in contents if len(contents) == 1 or _is_called(jobs[i].input, name)]
            if contents and len(own) != 1:
                problem = f"names {len(own) or 'none'} of its recordings as {jobs[i].input.name}"
                raise ConfigError(option, str(file), problem, f"Call it {jobs[i].input.id} there.")
            yield i, contents[own[0]] if own else None, digest, _misnamed(jobs[i].input, own)
        return
    _refuse_nothing(path, option)
    contents, digest = _parsed(path, option, readers)
    if len(jobs) == 1 and len(contents) <= 1:
        yield 0, next(iter(contents.values()), None), digest, _misnamed(jobs[0].input, contents)
        return
    finder, taken = Called([job.input for job in jobs]), dict[int, str]()
    for name, said in contents.items():
        at = finder.find(name)
        if not at and others:
            continue
        if len(at) != 1:
            problem = "no such recording among the inputs" if not at else "several recordings are called that"
            raise ConfigError(f"{option} {path}", name, problem, "Name it by its path below the folder.")
        if at[0] in taken:
            problem = f"{jobs[at[0]].input.name} is called so, and {taken[at[0]]!r} too"
            raise ConfigError(f"{option} {path}", name, problem, "Put all of it under one name.")
        taken[at[0]] = name
        yield at[0], said, digest, ()


def _is_called(item: Input, name: str) -> bool:
    return normalize("NFC", name) in called(item)


def _misnamed(item: Input, names: Iterable[str]) -> tuple[str, ...]:
    """A note of each name that a recording's file has for it and that is none of its own.

    Neither the recording's nor the file's name is told: their content decides a result, not what they are called.
    """
    return tuple(
        f"the file that was given calls the recording {name!r}, and was heeded: is it of another one?"
        for name in names
        if not _is_called(item, name)
    )


def _in_folder(jobs: Sequence[Job], folder: Path, option: str, suffixes: Sequence[str] = ()) -> dict[int, Path]:
    """Position of a job -> the file in `folder` that is called like it, by the surest of its names.

    Raises ConfigError where a recording has several files, and where a file would serve two recordings.
    """
    try:
        there = sorted(path for path in folder.iterdir() if path.is_file())
    except OSError as error:
        raise ConfigError(option, str(folder), f"cannot be read: {error.strerror}") from error
    by_name: dict[str, list[Path]] = {}
    for path in there:
        if not suffixes or path.suffix.lower() in suffixes:
            for name in {normalize("NFC", name) for name in (path.stem, path.name.split(".")[0])}:
                by_name.setdefault(name, []).append(path)
    found: dict[int, Path] = {}
    owners: dict[Path, Input] = {}
    for i, job in enumerate(jobs):
        own = next((by_name[name] for name in called(job.input) if name in by_name), [])
        if not own or job.input.problem is not None:
            continue
        cure = _cure(job.input, (suffixes or (".json",))[0])
        if len(own) > 1:
            problem = f"{len(own)} files for {job.input.name}: {', '.join(path.name for path in own)}"
            raise ConfigError(option, str(folder), problem, "Name the file itself, or a folder that has one for each.")
        other = owners.setdefault(own[0], job.input)
        if other is not job.input:
            problem = f"{own[0].name} is called like {other.name} and like {job.input.name}"
            raise ConfigError(option, str(folder), problem, cure)
        found[i] = own[0]
    return found


def _parsed(path: Path, option: str, readers: _Readers[_T]) -> tuple[dict[str, _T], str]:
    """What a file says of each recording, and its sha256."""
    loads = readers.get(path.suffix.lower())
    if loads is None:
        raise ConfigError(option, str(path), "not one of the files that are read here", f"Known: {', '.join(readers)}.")
    try:
        data = files.read(path)
        return loads(files.text_of(data, str(path)), str(path)), hashlib.sha256(data).hexdigest()
    except FormatError as error:
        raise ConfigError(option, error.where, error.problem, error.cure) from error


def _refuse_nothing(path: Path, option: str) -> None:
    try:
        there = path.exists()
    except OSError:
        there = False
    if not there:
        raise ConfigError(option, str(path), "no such file or folder")
    try:
        files.regular(path)
    except OSError as error:
        raise ConfigError(option, str(path), error.strerror or str(error)) from error


def _refuse_missing(jobs: Sequence[Job], given: set[int], path: Path, option: str, suffix: str) -> None:
    for i, job in enumerate(jobs):
        if i not in given and job.input.problem is None:
            if is_folder(path):
                raise ConfigError(option, str(path), f"no file for {job.input.name}", _cure(job.input, suffix))
            problem = f"says nothing of {job.input.name}"
            raise ConfigError(option, str(path), problem, f"Call the recording {job.input.id} there.")


def _cure(item: Input, suffix: str) -> str:
    return f"Put one there, called {item.id}{suffix}, say."


def _turns(text: str, where: str) -> dict[str, tuple[Turn, ...]]:
    transcript = transcript_json.loads(text, where)
    return {transcript.recording: transcript.turns}


def _united(loads: Callable[[str, str], Mapping[str, Sequence[Segment]]]) -> Callable[[str, str], dict[str, _Speech]]:
    """The same, what overlaps in one."""
    return lambda text, where: {name: timeline.union(said) for name, said in loads(text, where).items()}


def _named(loads: Callable[[str, str], Mapping[str, tuple[Turn, ...]]]) -> Callable[[str, str], dict[str, Said]]:
    return lambda text, where: {name: Said(turns) for name, turns in loads(text, where).items()}


def _links(text: str, where: str) -> dict[str, Said]:
    """A CSV of links. Raises FormatError, with the line."""
    reader = csv.DictReader(text.splitlines(), strict=True)
    try:
        if set(reader.fieldnames or ()) != set(COLUMNS):
            raise FormatError(f"{where}:1", f"the columns are {', '.join(COLUMNS)}")
        found: dict[str, list[Linked]] = {}
        for row in reader:
            place = f"{where}:{reader.line_num}"
            if None in row or None in row.values():
                raise FormatError(place, f"needs {len(COLUMNS)} cells")
            link = row["link"].strip()
            if link not in ("must", "cannot"):
                raise FormatError(place, f"a link is must or cannot, not {link!r}")
            times = [number(row[column], place) for column in COLUMNS[2:]]
            spans = [Segment(*segment(a, b, place)) for a, b in (times[:2], times[2:])]
            linked = Linked("must" if link == "must" else "cannot", spans[0], spans[1], place)
            found.setdefault(row["recording"], []).append(linked)
    except csv.Error as error:
        raise FormatError(f"{where}:{reader.line_num}", str(error)) from error
    return {name: Said(links=tuple(links)) for name, links in found.items()}


_Speech = tuple[Segment, ...]
_SPEECH: _Readers[_Speech] = {".rttm": _united(rttm.loads), ".uem": _united(uem.loads), ".json": _united(_turns)}
_KNOWN: _Readers[Said] = {".rttm": _named(rttm.loads), ".json": _named(_turns), ".csv": _links}
