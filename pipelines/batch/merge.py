"""Parts of a run -> the run: one report, one set of tables, and unknown speakers linked across all recordings.

The result is, byte for byte, what one run over all recordings would have written.
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
from pipelines.inputs.shards import Shard, file_name
from pipelines.results import RUN, journal, linking, outputs, resume, tables, voiceprints
from pipelines.results.outcomes import Outcome

UNLINKED = ".transcript.former.json"  # the transcript of a recording before its unknown speakers were linked
# Keys of run.json that are equal in all parts of one run.
_SHARED = ("product", "versions", "settings", "models", "notes", "passed_over", "inputs", "voices")


@dataclass(frozen=True)
class ShardRun:
    folder: Path
    shard: Shard
    run: Mapping[str, Any]


def merge(folders: Sequence[Path], out: Path) -> int:
    """Join all parts that are in `folders` into `out`; the number of their recordings.

    Results that are in another folder are copied. Raises ConfigError where a part is missing, unfinished, there twice,
    or of another run; FormatError and OutputError.
    """
    # An earlier merge may have been killed while it removed the parts.
    if joined := _joined_parts(out):
        with Lock(out):
            return _remove_parts(out, joined)

    parts = find_parts(folders)
    outputs.make_folder(out)
    with ExitStack() as locks:
        for folder in {part.folder.resolve(): part.folder for part in parts}.values():
            if folder.resolve() != out.resolve():
                locks.enter_context(Lock(folder))
        locks.enter_context(Lock(out))
        files.sweep(out)  # what a killed merge left half written

        # The rows of all parts, in the order of the whole run.
        numbered = [(i, row, part) for part in parts for i, row in zip(part.run["positions"], _rows(part), strict=True)]
        numbered.sort(key=lambda each: each[0])
        if [i for i, _, _ in numbered] != list(range(len(numbered))):
            raise ConfigError(
                "merge-runs", str(out), "the parts are of different recordings", "Run all of them over the same ones."
            )
        for _, row, part in numbered:
            if row.status == "done" and part.folder.resolve() != out.resolve():
                _copy_result(part.folder / row.id, out / row.id)
        rows = [row for _, row, _ in numbered]

        # What one run writes at its end; then the parts are no longer needed.
        _link(out, rows, parts[0].run)
        tables.write(out, (outputs.read_corrected(out / row.id) for row in rows if row.status == "done"))
        here = [part.shard for part in parts if part.folder.resolve() == out.resolve()]
        records = [file_name(outputs.PROVENANCE, shard) for shard in here]
        journal.write_merged(out, parts[0].run, rows, {name: files.sha256(out / name) for name in records})
        return _remove_parts(out, here)


def find_parts(folders: Sequence[Path]) -> list[ShardRun]:
    """The parts of one run, all of them, by number. Raises ConfigError."""
    parts: dict[int, ShardRun] = {}
    for folder in dict.fromkeys(folders):
        for path, shard in shards.find_files(folder, RUN):
            if shard is None:
                continue
            part = ShardRun(folder, shard, journal.read_json(path))
            _check(path, part, next(iter(parts.values()), part))
            if part.shard.index in parts:
                raise ConfigError("merge-runs", str(path), "this part exists twice", "Name one folder of each part.")
            parts[part.shard.index] = part
    if not parts:
        raise ConfigError(
            "merge-runs",
            ", ".join(map(str, folders)),
            "there is no part of a run",
            "Parts are the results of diarize process --shard I/N.",
        )
    count = next(iter(parts.values())).shard.count
    missing = [f"{index}/{count}" for index in range(1, count + 1) if index not in parts]
    if missing:
        raise ConfigError("merge-runs", ", ".join(missing), "these parts are missing", "Name their folders as well.")
    return [parts[index] for index in sorted(parts)]


def _check(path: Path, part: ShardRun, first: ShardRun) -> None:
    state = part.run.get("state")
    if state != "finished":
        problem = "is no report of a part" if state is None else "is not finished"
        raise ConfigError("merge-runs", str(path), problem, "Rerun its command, with the same --shard.")
    if part.shard.count != first.shard.count:
        problem = f"is one of {counted(part.shard.count, 'part')}, others are of {first.shard.count}"
        raise ConfigError("merge-runs", str(path), problem, "Remove the parts of the other run.")
    for key in _SHARED:
        if part.run.get(key) != first.run.get(key):
            cure = "Rerun it with the " + ("options" if key == "settings" else key) + " of the others."
            raise ConfigError("merge-runs", str(path), f"has other {key} than the other parts", cure)


def _rows(part: ShardRun) -> list[Outcome]:
    return [Outcome.from_row(row) for row in part.run["recordings"]]


def _copy_result(folder: Path, to: Path) -> None:
    """Copy a finished recording's folder; `transcript.json` last, as the commit point."""
    outputs.make_folder(to)
    try:
        voiceprints.copy(folder, to)
        visible = [each for each in folder.iterdir() if not each.name.startswith(".")]
        files.write_all(to, {each.name: each.read_bytes() for each in visible}, outputs.TRANSCRIPT)
    except OSError as error:
        raise OutputError(str(folder), f"cannot be copied: {error.strerror or error}") from error


def _joined_parts(out: Path) -> list[Shard]:
    """Parts in `out` that are already joined, left by a merge that was killed: the voices that they need may be gone.

    Raises ConfigError where the report of the joined run is gone as well.
    """
    recorded = journal.read_json(out / outputs.PROVENANCE).get("joined")
    if not isinstance(recorded, dict):
        return []
    remaining = {path: shard for path, shard in shards.find_files(out, outputs.PROVENANCE) if path.name in recorded}
    if any(files.sha256(path) != recorded[path.name] for path in remaining):  # it ran again since
        return []
    if remaining and "recordings" not in journal.read_json(out / RUN):
        cure = "Rerun the commands of all --shard parts, which reuse their results, and then merge-runs."
        raise ConfigError("merge-runs", str(out / RUN), "the report of the joined run is gone, or damaged", cure)
    return [shard for shard in remaining.values() if shard is not None]


def _remove_parts(out: Path, joined: Sequence[Shard]) -> int:
    """Delete what is not needed when all is joined: voices, and files of the parts; the number of recordings."""
    ids = [str(row["id"]) for row in journal.read_json(out / RUN)["recordings"]]
    for id in ids:
        voiceprints.delete(out / id)
        (out / id / UNLINKED).unlink(missing_ok=True)
    for shard in joined:
        _remove_part(out, shard)
    return len(ids)


def _link(out: Path, rows: Sequence[Outcome], run: Mapping[str, Any]) -> None:
    """Link unknown speakers across all recordings. Raises ConfigError where voices are missing, and OutputError."""
    if run["voices"] is None:
        return
    config = settings.parse(run["settings"], RUN)
    calibration = calibration_of(run["voices"], config.identify)
    with_voices = [_with_voices(out, row, config.output.formats) for row in rows]
    for row in linking.link(out, with_voices, calibration, config):
        if row.environment:
            raise OutputError(str(out / row.id), row.reason, "Rerun the command.")


def _with_voices(out: Path, row: Outcome, formats: Sequence[str]) -> Outcome:
    """The row with the voices of its unknown speakers; a copy of its transcript is stored until the end of the merge.

    A transcript that is written again is missing for a moment, and no rerun of a part would bring it back.
    """
    if row.status != "done":
        return row
    folder, copy = out / row.id, out / row.id / UNLINKED
    if not (folder / outputs.TRANSCRIPT).exists() and copy.exists():  # killed at that moment
        transcript = transcript_json.read(copy)
        if transcript.provenance.source is not None and transcript.provenance.source.digest == row.digest:
            outputs.rewrite(folder, transcript, formats)
    stored = resume.read(folder)
    restored = resume.restore(out, stored) if stored is not None else None
    if stored is None or restored is None:
        problem = "its results are gone" if stored is None else "the voices of its unknown speakers are gone"
        raise ConfigError("merge-runs", row.id, problem, "Rerun its --shard with --force.")
    if restored.strangers is not None:
        files.write(copy, (folder / outputs.TRANSCRIPT).read_bytes())
    return replace(row, strangers=restored.strangers)


def _remove_part(out: Path, shard: Shard) -> None:
    for name in (RUN, *tables.NAMES, outputs.PROVENANCE):  # the last one says which parts are left
        (out / file_name(name, shard)).unlink(missing_ok=True)
