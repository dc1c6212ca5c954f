"""Parts of a run -> the run: one report, one set of tables, and unknown people called alike in all of it.

What comes of it is, byte for byte, what one run over all recordings would have written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from diarize import config as settings
from diarize import files
from diarize.errors import ConfigError, OutputError
from diarize.formats import transcript_json
from diarize.library.enrolled import calibration_of
from diarize.text import counted
from pipelines.batch.lock import Lock
from pipelines.inputs import shards
from pipelines.inputs.shards import Shard, file
from pipelines.results import RUN, journal, linking, outputs, resume, tables, voiceprints
from pipelines.results.outcomes import Outcome

FORMER = ".transcript.former.json"  # of a recording, before its unknown speakers were called alike
_ALIKE = (
    "product",
    "settings",
    "versions",
    "models",
    "notes",
    "passed_over",
    "inputs",
    "voices",
)  # in all parts of one run


@dataclass(frozen=True)
class Part:
    folder: Path
    shard: Shard
    run: Mapping[str, Any]


def merge(folders: Sequence[Path], out: Path) -> int:
    """Join all parts that lie in `folders` into `out`; how many recordings they have.

    Results that lie elsewhere are copied there. Raises ConfigError where a part is missing, unfinished, there twice, or
    of another run; FormatError and OutputError.
    """
    if joined := _joined(out):
        with Lock(out):
            return _tidied(out, joined)
    parts = found(folders)
    outputs.make(out)
    with ExitStack() as held:
        for folder in {part.folder.resolve(): part.folder for part in parts}.values():
            if folder.resolve() != out.resolve():
                held.enter_context(Lock(folder))
        held.enter_context(Lock(out))
        files.sweep(out)  # what a merging that was killed left half written
        placed = [(at, row, part) for part in parts for at, row in zip(part.run["positions"], _rows(part), strict=True)]
        placed.sort(key=lambda each: each[0])
        if [at for at, _, _ in placed] != list(range(len(placed))):
            raise ConfigError(
                "merge-runs", str(out), "the parts are of other recordings", "Run all of them over the same ones."
            )
        for _, row, part in placed:
            if row.status == "done" and part.folder.resolve() != out.resolve():
                _bring(part.folder / row.id, out / row.id)
        rows = [row for _, row, _ in placed]
        _linked(out, rows, parts[0].run)
        tables.write(out, (outputs.read(out / row.id) for row in rows if row.status == "done"))
        here = [part.shard for part in parts if part.folder.resolve() == out.resolve()]
        told = [file(outputs.PROVENANCE, shard) for shard in here]
        journal.write_whole(out, parts[0].run, rows, {name: files.sha256(out / name) for name in told})
        return _tidied(out, here)


def found(folders: Sequence[Path]) -> list[Part]:
    """The parts of one run, all of them, by number. Raises ConfigError."""
    parts: dict[int, Part] = {}
    for folder in dict.fromkeys(folders):
        for path, shard in shards.found(folder, RUN):
            if shard is None:
                continue
            part = Part(folder, shard, journal.read_json(path))
            _check(path, part, next(iter(parts.values()), part))
            if part.shard.index in parts:
                raise ConfigError("merge-runs", str(path), "this part is there twice", "Name one folder of each part.")
            parts[part.shard.index] = part
    if not parts:
        raise ConfigError("merge-runs", ", ".join(map(str, folders)), "no part of a run is there", "See --shard.")
    count = next(iter(parts.values())).shard.count
    missing = [f"{index}/{count}" for index in range(1, count + 1) if index not in parts]
    if missing:
        raise ConfigError("merge-runs", ", ".join(missing), "these parts are missing", "Name their folders as well.")
    return [parts[index] for index in sorted(parts)]


def _check(path: Path, part: Part, first: Part) -> None:
    state = part.run.get("state")
    if state != "finished":
        problem = "is no report of a part" if state is None else "is not finished"
        raise ConfigError("merge-runs", str(path), problem, "Run the same --shard again.")
    if part.shard.count != first.shard.count:
        problem = f"is one of {counted(part.shard.count, 'part')}, others are of {first.shard.count}"
        raise ConfigError("merge-runs", str(path), problem, "Take away what is of another run.")
    for key in _ALIKE:
        if part.run.get(key) != first.run.get(key):
            raise ConfigError("merge-runs", str(path), f"has other {key} than the other parts", "Run it like them.")


def _rows(part: Part) -> list[Outcome]:
    return [Outcome(**{**row, "notes": tuple(row["notes"])}) for row in part.run["recordings"]]


def _bring(folder: Path, to: Path) -> None:
    """A finished recording's folder, copied; `transcript.json` last, as it says that all is there."""
    outputs.make(to)
    try:
        voiceprints.copy(folder, to)
        shown = [each for each in folder.iterdir() if not each.name.startswith(".")]
        files.write_all(to, {each.name: each.read_bytes() for each in shown}, outputs.TRANSCRIPT)
    except OSError as error:
        raise OutputError(str(folder), f"cannot be copied: {error.strerror or error}") from error


def _joined(out: Path) -> list[Shard]:
    """Parts in `out` that one who was killed while it tidied up had joined: voices that they need may be gone.

    Raises ConfigError where what they were joined into is gone as well.
    """
    recorded = journal.read_json(out / outputs.PROVENANCE).get("joined")
    if not isinstance(recorded, dict):
        return []
    left = {path: shard for path, shard in shards.found(out, outputs.PROVENANCE) if path.name in recorded}
    if any(files.sha256(path) != recorded[path.name] for path in left):  # it was run again since
        return []
    if left and "recordings" not in journal.read_json(out / RUN):
        cure = "Run every --shard again, which keeps what is done, and then merge-runs."
        raise ConfigError("merge-runs", str(out / RUN), "the report of the joined run is gone, or damaged", cure)
    return [shard for shard in left.values() if shard is not None]


def _tidied(out: Path, joined: Sequence[Shard]) -> int:
    """Take away what nobody needs any more when all is joined; how many recordings there are."""
    ids = [str(row["id"]) for row in journal.read_json(out / RUN)["recordings"]]
    for id in ids:
        voiceprints.forget(out / id)
        (out / id / FORMER).unlink(missing_ok=True)
    for shard in joined:
        _forget(out, shard)
    return len(ids)


def _linked(out: Path, rows: Sequence[Outcome], run: Mapping[str, Any]) -> None:
    """Call unknown people alike in all recordings. Raises ConfigError where voices are missing, and OutputError."""
    if run["voices"] is None:
        return
    config = settings.parse(run["settings"], RUN)
    calibration = calibration_of(run["voices"], config.identify)
    heard = [_heard(out, row, config.output.formats) for row in rows]
    for row in linking.link_all(out, heard, calibration, config):
        if row.environment:
            raise OutputError(str(out / row.id), row.reason, "Run the same command again.")


def _heard(out: Path, row: Outcome, formats: Sequence[str]) -> Outcome:
    """The row with the voices of its unknown speakers, and its transcript made safe.

    A transcript that is rewritten is gone for a moment, and no part would make it again: a copy stays until the end.
    """
    if row.status != "done":
        return row
    folder, former = out / row.id, out / row.id / FORMER
    if not (folder / outputs.TRANSCRIPT).exists() and former.exists():  # killed at that moment
        transcript = transcript_json.read(former)
        if transcript.provenance.source is not None and transcript.provenance.source.digest == row.digest:
            outputs.rewrite(folder, transcript, formats)
    there = resume.read(folder)
    known = resume.recall(out, there) if there is not None else None
    if there is None or known is None:
        problem = "its results are gone" if there is None else "the voices of its unknown speakers are gone"
        raise ConfigError("merge-runs", row.id, problem, "Run its --shard again with --force.")
    if known.strangers is not None:
        files.write(former, (folder / outputs.TRANSCRIPT).read_bytes())
    return replace(row, strangers=known.strangers)


def _forget(out: Path, shard: Shard) -> None:
    """Take away the report and the tables of a part, which those of the whole stand for now."""
    for name in (RUN, *tables.NAMES, outputs.PROVENANCE):  # it says what is left
        (out / file(name, shard)).unlink(missing_ok=True)
