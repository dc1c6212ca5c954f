"""Many people at once: a table of people and their recordings, or a folder for each person (docs/enrolment.md).

A bad row costs that row, a bad recording that recording, and a person who cannot be enrolled that person.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from math import isfinite
from pathlib import Path
from typing import Any

from diarize import files
from diarize.config import AudioConfig, Config
from diarize.errors import AudioError, ConfigError, DiarizeError, FormatError
from diarize.library.store import Library
from diarize.models.store import Store
from pipelines.inputs.recordings import SUFFIXES
from pipelines.people import enrolment_audio
from pipelines.people.enroll import EnrolmentRequest, EnrolmentResult, add_utterances, find_person
from pipelines.people.enrolment_audio import EnrolmentAudio
from pipelines.people.scoring import Scoring
from pipelines.people.utterance import load_embedder
from pipelines.people.verify import load_verifier

COLUMNS = ("name", "file", "start", "end", "channel", "consent", "expires")
REQUIRED = ("name", "file")
OnPerson = Callable[[str, int, int], None]  # called with (name, people done, people in all)


@dataclass(frozen=True, slots=True)
class ListedUtterance:
    """One recording of a person, or a part of one."""

    where: str  # "line 3", or the path below the folder
    name: str
    path: Path
    start: float | None = None  # s
    end: float | None = None  # s
    channel: str | None = None  # None: that of the settings
    consent: str | None = None
    expires: date | None = None


@dataclass(frozen=True, slots=True)
class EnrolmentList:
    """Whom to enrol from what; and the rows that cannot be used, with the reason of each."""

    utterances: tuple[ListedUtterance, ...]
    problems: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class PersonEnrolment:
    """What became of one person of a list; without a `result` the `problem` says why."""

    name: str
    result: EnrolmentResult | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class ListEnrolment:
    """The result of a list: a row a person, and the rows of the list that could not be used."""

    people: tuple[PersonEnrolment, ...]
    problems: tuple[tuple[str, str], ...]
    notes: tuple[str, ...] = ()

    @property
    def status(self) -> int:
        """Exit status: 0, 3 where a row, an utterance or a person was refused, 4 where nobody was enrolled."""
        enrolled = [each.result for each in self.people if each.result is not None and each.result.person is not None]
        complete = len(enrolled) == len(self.people) and not self.problems and not any(each.status for each in enrolled)
        return 4 if not enrolled else 0 if complete else 3

    def as_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return {
            "schema": "diarize-enrolments/1",
            "people": [
                {"name": each.name, "problem": each.problem or None}
                | ({} if each.result is None else {"result": each.result.as_dict()})
                for each in self.people
            ],
            "problems": [{"where": where, "problem": problem} for where, problem in self.problems],
            "notes": list(self.notes),
        }


def read_list(path: Path) -> EnrolmentList:
    """The rows of a CSV file with a header: `name`, `file`, and any of `start`, `end` (s), `channel`, `consent`,
    `expires` (a date). Cells are separated by commas, or by semicolons where the header has no comma. Paths are
    relative to the list.

    Raises ConfigError where the file cannot be read, or has other columns.
    """
    try:
        lines = files.read_text(path).replace("\r\n", "\n").replace("\r", "\n").split("\n")
        delimiter = ";" if ";" in lines[0] and "," not in lines[0] else ","
        reader = csv.reader((f"{line}\n" for line in lines), delimiter=delimiter, strict=True)
        header = [name.strip().lower() for name in next(reader, [])]
        _check_header(header, path)
        utterances: list[ListedUtterance] = []
        problems: list[tuple[str, str]] = []
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            where = f"line {reader.line_num}"
            try:
                utterances.append(_row(where, header, cells, path.parent))
            except ValueError as error:
                problems.append((where, str(error)))
    except FormatError as error:
        raise ConfigError("--list", str(path), error.problem) from error
    except csv.Error as error:
        raise ConfigError("--list", str(path), f"is no CSV: {error}") from error
    return EnrolmentList(tuple(utterances), tuple(problems))


def read_folder(folder: Path) -> EnrolmentList:
    """A folder for each person, named like the person, with their recordings at any depth; or files named like them.

    Raises ConfigError where `folder` is no folder, or holds no recordings.
    """
    if not folder.is_dir():
        raise ConfigError("--folder", str(folder), "is no folder", "Name a folder with a folder for each person.")
    utterances = []
    problems = []
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            own = [path for path in sorted(entry.rglob("*")) if _is_recording(path)]
            utterances += [ListedUtterance(str(path.relative_to(folder)), entry.name, path) for path in own]
            if not own:
                problems.append((entry.name, "holds no recordings"))
        elif _is_recording(entry):
            utterances.append(ListedUtterance(entry.name, entry.stem, entry))
    if not utterances:
        raise ConfigError("--folder", str(folder), "holds no recordings of anybody")
    return EnrolmentList(tuple(utterances), tuple(problems))


def enroll_list(
    library: Library,
    people: EnrolmentList,
    request: EnrolmentRequest,
    config: Config,
    store: Store,
    *,
    calibration: Path | None = None,
    on_person: OnPerson = lambda name, done, total: None,
) -> ListEnrolment:
    """Enrol everybody of a list; each person is one change of the library. `request` holds what is the same for all.

    Enrolled again, a list changes nothing. Raises CalibrationError, and what loading the models raises.
    """
    embedder = load_embedder(config, store)
    verifier = load_verifier(embedder, Scoring(calibration=calibration))
    by_name: dict[str, list[ListedUtterance]] = {}
    for utterance in people.utterances:
        by_name.setdefault(utterance.name, []).append(utterance)
    results = []
    for done, (name, rows) in enumerate(by_name.items(), 1):
        try:
            own = _request_of(name, rows, request)
            person = find_person(library, own)
            excerpts = _excerpts(rows, embedder.config.audio)
            results.append(PersonEnrolment(name, add_utterances(library, own, person, excerpts, embedder, verifier)))
        except DiarizeError as error:
            results.append(PersonEnrolment(name, None, str(error)))
        on_person(name, done, len(by_name))
    notes = dict.fromkeys(note for each in results if each.result is not None for note in each.result.notes)
    return ListEnrolment(tuple(results), people.problems, tuple(notes))


def _request_of(name: str, rows: Sequence[ListedUtterance], request: EnrolmentRequest) -> EnrolmentRequest:
    """The consent of a person is all that their rows say of it; it ends at the earliest date."""
    consents = dict.fromkeys(row.consent for row in rows if row.consent is not None)
    dates = [row.expires for row in rows if row.expires is not None]
    consent = "; ".join(consents) or request.consent
    return replace(request, name=name, consent=consent, expires=min(dates, default=request.expires))


def _excerpts(rows: Iterable[ListedUtterance], audio: AudioConfig) -> Iterator[EnrolmentAudio | AudioError]:
    for row in rows:
        try:
            own = audio if row.channel is None else audio.model_copy(update={"channel": row.channel})
            yield from enrolment_audio.read_files([row.path], own, row.start, row.end)
        except ConfigError as error:  # times outside the recording
            yield AudioError(str(row.path), error.problem)


def _check_header(header: Sequence[str], path: Path) -> None:
    """Raises ConfigError for columns that are missing or unknown, or that stand there twice."""
    wrong = [name for name in header if name not in COLUMNS or header.count(name) > 1]
    if wrong or not set(REQUIRED) <= set(header):
        have = ", ".join(map(repr, header)) or "none"
        cure = f"Columns: {', '.join(REQUIRED)}, and any of {', '.join(COLUMNS[len(REQUIRED) :])}."
        raise ConfigError(str(path), "line 1", f"these are not the columns of a list of people: {have}", cure)


def _row(where: str, header: Sequence[str], cells: Sequence[str], folder: Path) -> ListedUtterance:
    """Raises ValueError for a row that cannot be used."""
    if len(cells) > len(header):
        raise ValueError(f"has {len(cells)} cells, and the header {len(header)}")
    row: Mapping[str, str] = {name: cell.strip() for name, cell in zip(header, cells, strict=False) if cell.strip()}
    if missing := [name for name in REQUIRED if name not in row]:
        raise ValueError(f"has no {' and no '.join(missing)}")
    channel = row.get("channel")
    if channel is not None and channel not in ("auto", "mix") and not channel.isdecimal():
        raise ValueError(f"channel must be auto, mix or a number from 0, not {channel!r}")
    try:
        expires = date.fromisoformat(row["expires"]) if "expires" in row else None
    except ValueError:
        raise ValueError(f"expires must be a date like 2030-12-31, not {row['expires']!r}") from None
    start, end = _seconds(row, "start"), _seconds(row, "end")
    return ListedUtterance(where, row["name"], folder / row["file"], start, end, channel, row.get("consent"), expires)


def _seconds(row: Mapping[str, str], key: str) -> float | None:
    if key not in row:
        return None
    try:
        seconds = float(row[key].replace(",", "."))
    except ValueError:
        seconds = -1.0
    if not (isfinite(seconds) and seconds >= 0):
        raise ValueError(f"{key} must be a number of seconds, not {row[key]!r}")
    return seconds


def _is_recording(path: Path) -> bool:
    return path.is_file() and not path.name.startswith(".") and path.suffix.lower() in SUFFIXES
