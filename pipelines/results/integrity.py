"""Checks that results are what the run wrote, and the recordings are what it read (docs/integrity.md).

Three independent checks: every file has the sha256 that was recorded when it was written, every export and table is
what `transcript.json` gives now, and every recording has the sha256 of what was decoded.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from diarize import formats
from diarize.errors import ConfigError, DiarizeError, FormatError, OutputError
from diarize.types import Transcript
from pipelines.inputs import shards
from pipelines.inputs.recordings import Input
from pipelines.inputs.shards import Shard, file_name
from pipelines.results import RUN, corrections, outputs, tables
from pipelines.results.fingerprint import sha256_or_empty
from pipelines.results.outcomes import PRODUCT, Outcome

PICTURES = "pictures"  # folder of pictures beside results
Kind = Literal["missing", "changed", "extra"]
SCHEMA = "diarize-integrity/1"
_ROW = ("name", "digest", "duration", "lost", "speakers", "turns", "words")  # of run.json, that a transcript decides


@dataclass(frozen=True, slots=True)
class Difference:
    """A file or record that is not as the run left it."""

    where: str  # below the folder of results; a recording by its absolute path
    kind: Kind
    what: str


@dataclass
class IntegrityReport:
    """What was checked, and what differs."""

    recordings: int = 0
    results: int = 0  # files of results that were hashed
    inputs: int = 0  # recordings that were hashed
    bytes: int = 0  # hashed in all
    corrections: int = 0  # of people, in all recordings: they are not of the run
    corrected: int = 0  # recordings that people corrected
    seal: str = ""  # sha256 over the records of all recordings: see `seal`
    differences: list[Difference] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def status(self) -> int:
        """Exit status: 0 all as it was, 6 something differs."""
        return 6 if self.differences else 0

    def as_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return {"schema": SCHEMA, "product": PRODUCT, "status": self.status, **asdict(self)}

    def add(self, where: str, kind: Kind, what: str) -> None:
        self.differences.append(Difference(where, kind, what))


def is_results(folder: Path) -> bool:
    """Whether a run or a part of one wrote here: it has `run.json`, or a folder with a transcript."""
    return bool(_runs(folder)) or any(folder.glob(f"*/{outputs.TRANSCRIPT}"))


def _runs(out: Path) -> list[Shard | None]:
    """The runs that left a report there: the whole (None), and parts that were not joined yet."""
    return [shard for path, shard in shards.find_files(out, RUN) if path.is_file()]


def check(out: Path, *, inputs: bool = True, expect: str | None = None) -> IntegrityReport:
    """Compare a folder of results with its own records. Nothing is written there.

    `inputs`: whether the recordings are hashed too. `expect` is a seal that was recorded earlier. A file that cannot be
    read is a difference, not an exception. Raises ConfigError where `out` is no folder of results.
    """
    if not is_results(out):
        problem = f"is not a folder of results: it has no {RUN}"
        raise ConfigError("command line", str(out), problem, "Name the --out folder of a run.")
    report = IntegrityReport()
    runs = _runs(out) or [None]
    for folder in _recording_folders(out, runs, report):
        report.recordings += 1
        try:
            _check_recording(folder, report, inputs)
        except OSError as error:
            report.add(folder.name, "changed", f"cannot be read ({error.strerror or error})")
    for shard in runs:
        _check_report(out, shard, report)
    report.seal = seal(out)
    if expect is not None and expect.strip().lower() != report.seal:
        report.add(".", "changed", f"the seal is {report.seal}, and {expect.strip()} is expected")
    return report


def seal(out: Path) -> str:
    """One sha256 for all results: over the lines `<sha256>  <id>/provenance.json`, sorted, each with its newline.

    Each `provenance.json` holds the sha256 of its recording and of every file beside it, so that the seal changes
    with every byte of them. `sha256sum */provenance.json | LC_ALL=C sort | sha256sum` in the folder says the same.
    """
    lines = []
    for path in out.glob(f"*/{outputs.PROVENANCE}"):
        if path.is_file() and not path.parent.name.startswith("."):
            lines.append(f"{sha256_or_empty(path)}  {path.parent.name}/{path.name}\n".encode(errors="surrogateescape"))
    return hashlib.sha256(b"".join(sorted(lines))).hexdigest()


def _recording_folders(out: Path, runs: Sequence[Shard | None], report: IntegrityReport) -> Iterator[Path]:
    """The folders of the recordings; everything else in `out` must be the runs' own. Hidden files are ignored."""
    own = {file_name(name, shard) for shard in runs for name in (RUN, outputs.PROVENANCE, *tables.NAMES)}
    for path in sorted(out.iterdir()):
        if path.name.startswith(".") or path.name in own or _is_pictures(path):
            continue
        if path.is_symlink() or not path.is_dir():
            report.add(path.name, "extra", "does not belong to the run")
        else:
            yield path


def _is_pictures(path: Path) -> bool:
    """Whether this is the folder in which `diarize plot` draws: pictures are no results, and are not checked."""
    return (
        path.name == PICTURES and path.is_dir() and not path.is_symlink() and not (path / outputs.TRANSCRIPT).exists()
    )


def _check_recording(folder: Path, report: IntegrityReport, inputs: bool) -> None:
    entries = [path for path in folder.iterdir() if not _is_pictures(path)]
    odd = {path.name for path in entries if path.is_symlink() or not path.is_file()}
    for name in sorted(odd):  # before anything is opened: a pipe would never answer
        report.add(f"{folder.name}/{name}", "changed", "is no file")
    if odd:
        return
    record: Mapping[str, Any] = {}
    recorded: Mapping[str, str] = {}
    try:
        record = outputs.read_provenance(folder)
        recorded = _recorded_digests(record)
    except FormatError as error:
        report.add(f"{folder.name}/{outputs.PROVENANCE}", "changed", error.problem)
    changed = {name for name, digest in recorded.items() if not _check_digest(folder / name, digest, report)}
    try:
        transcript = outputs.read(folder)
    except FormatError as error:
        if outputs.TRANSCRIPT not in changed:  # another program's file, or none where none is recorded
            report.add(f"{folder.name}/{outputs.TRANSCRIPT}", "changed", error.problem)
        return
    if transcript.recording != folder.name:
        report.add(f"{folder.name}/{outputs.TRANSCRIPT}", "changed", f"is of {transcript.recording!r}")
    people = _check_corrections(folder, record, report)
    _check_exports(folder, transcript, people, recorded, changed, report)
    if inputs:
        _check_input(folder, transcript, record, report)


def _recorded_digests(record: Mapping[str, Any]) -> dict[str, str]:
    """File name -> sha256, as a `provenance.json` has it. Raises FormatError."""
    digests = record.get("files")
    if not isinstance(digests, dict) or not all(isinstance(digest, str) for digest in digests.values()):
        raise FormatError(outputs.PROVENANCE, "records no digests")
    if not all(Path(name).name == name for name in digests):
        raise FormatError(outputs.PROVENANCE, "names files that are not beside it")
    return digests


def _check_digest(path: Path, digest: str, report: IntegrityReport) -> bool:
    """Whether a file still has its recorded sha256; if not, the difference is added to the report."""
    where = f"{path.parent.name}/{path.name}"
    if not path.exists():
        report.add(where, "missing", "was written by the run")
    else:
        report.results += 1
        report.bytes += path.stat().st_size
        if (now := sha256_or_empty(path)) == digest:
            return True
        report.add(where, "changed", f"sha256 {now or 'unreadable'}, {digest} was written")
    return False


def _check_corrections(
    folder: Path, record: Mapping[str, Any], report: IntegrityReport
) -> corrections.Corrections | None:
    """Check the chain of the corrections, their end as it was recorded, and the transcripts that they were made on."""
    written = record.get("corrections")
    where = f"{folder.name}/{corrections.LOG}"
    if not corrections.exist(folder):
        if isinstance(written, Mapping):
            report.add(where, "missing", f"had {written.get('entries')} corrections")
        return None
    try:
        people = corrections.Corrections(folder)
    except FormatError as error:
        report.add(where, "changed", error.problem)
        return None
    report.corrections += len(people.entries)
    report.corrected += bool(people.entries)
    if people.problem:
        report.add(where, "changed", people.problem)
    elif isinstance(written, Mapping):
        last = written.get("entries", 0)
        known = 0 < last <= len(people.entries) and people.entries[last - 1].hash == written.get("hash")
        if last and not known:
            report.add(where, "changed", f"does not have the {last} corrections with which the exports were written")
        elif last < len(people.entries):
            report.notes.append(f"{where}: {len(people.entries) - last} corrections are not in the exports")
    for path in sorted(folder.glob(corrections.base_path(Path(), "?" * 64).name)):
        digest = sha256_or_empty(path)
        if corrections.base_path(folder, digest).name != path.name:
            report.add(f"{folder.name}/{path.name}", "changed", f"sha256 {digest or 'unreadable'}")
    return people


def _check_exports(
    folder: Path,
    transcript: Transcript,
    people: corrections.Corrections | None,
    recorded: Mapping[str, Any],
    changed: set[str],
    report: IntegrityReport,
) -> None:
    """Compare every export in the folder with what the transcript gives; all other files are extra."""
    names = {f"transcript{formats.suffix(name)}": name for name in formats.FORMATS}
    product = transcript.provenance.product
    corrected = transcript
    try:
        choices = outputs.read_choices(folder)
    except FormatError as error:
        report.add(f"{folder.name}/{outputs.CHOICES}", "changed", error.problem)
        choices = {}
    if people is not None:
        names[corrections.CORRECTED] = "json"
        corrected = people.corrected()
    for path in sorted(folder.iterdir()):
        where = f"{folder.name}/{path.name}"
        if _is_pictures(path):
            continue
        own = path.name in (outputs.PROVENANCE, outputs.CHOICES)
        if own or path.name.startswith(".") or path.name in changed:
            continue
        if people is not None and (
            path.name == corrections.LOG or path.match(corrections.base_path(Path(), "?" * 64).name)
        ):
            continue
        if path.match("transcript.by-hand-*.json"):
            report.notes.append(f"{where}: a {outputs.TRANSCRIPT} that was changed by hand, kept by a later run")
            continue
        format = names.get(path.name) or formats.by_suffix(path.name)
        if format is None:
            report.add(where, "extra", "was not written by the run")
            continue
        try:
            source = transcript if path.name == outputs.TRANSCRIPT else corrected
            variants = formats.variants(format) if path.name not in recorded else formats.variants(format)[:1]
            if path.name in choices:
                variants = (choices[path.name], *variants)
            content = path.read_bytes()
            same = any(content == formats.encode(format, source, options) for options in variants)
        except (DiarizeError, OSError) as error:
            report.add(where, "changed", f"cannot be compared: {error}")
            continue
        if not same:
            other = f" (made by {product}; this is {PRODUCT})" if product != PRODUCT else ""
            kind: Kind = "changed" if path.name in recorded else "extra"
            if path.name not in names:
                other = ", and was not written by the run"
            report.add(where, kind, f"is not what {outputs.TRANSCRIPT} gives{other}")
        elif path.name not in recorded:
            title = f" with the title {choices[path.name].title!r}" if path.name in choices else ""
            report.notes.append(f"{where}: exported after the run; it is what {outputs.TRANSCRIPT} gives{title}")


def _check_input(folder: Path, transcript: Transcript, record: Mapping[str, Any], report: IntegrityReport) -> None:
    source, recorded = transcript.provenance.source, record.get("source")
    if source is None or not isinstance(recorded, Mapping) or not isinstance(recorded.get("path"), str):
        report.add(f"{folder.name}/{outputs.PROVENANCE}", "changed", "does not say where the recording was")
        return
    if {recorded.get("sha256"), recorded.get("sha256_after")} != {source.digest}:
        what = f"the recording's sha256 is not that of {outputs.TRANSCRIPT}"
        report.add(f"{folder.name}/{outputs.PROVENANCE}", "changed", what)
    path = Path(recorded["path"])
    try:
        if not path.is_file():
            report.add(str(path), "missing", f"the recording of {folder.name} is no longer there")
            return
        report.bytes += path.stat().st_size
    except (OSError, ValueError) as error:
        report.add(str(path), "missing", f"the recording of {folder.name} cannot be checked ({error})")
        return
    report.inputs += 1
    if (now := sha256_or_empty(path)) != source.digest:
        what = f"sha256 {now or 'unreadable'}, {source.digest} was decoded for {folder.name}"
        report.add(str(path), "changed", what)


def _check_report(out: Path, shard: Shard | None, report: IntegrityReport) -> None:
    """Compare `run.json`, of a run or a part of one, and its tables with the transcripts."""
    name = file_name(RUN, shard)
    if not (out / name).is_file():
        report.add(name, "missing", "was written by the run")
        return
    try:
        run = json.loads((out / name).read_text(encoding="utf-8"))
        rows = {str(row["id"]): row for row in run["recordings"] if row["status"] == "done"}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        report.add(name, "changed", f"is no record of a run ({type(error).__name__}: {error})")
        return

    # Each row of the report against its transcript. An id from a changed report may lead anywhere.
    folders = []
    for id, row in rows.items():
        folder = out / id
        try:
            if folder.parent != out or not (folder / outputs.TRANSCRIPT).is_file():  # a pipe would never answer
                report.add(id, "missing", f"is done in {name}, and has no {outputs.TRANSCRIPT}")
                continue
            transcript = outputs.read(folder)
            source = transcript.provenance.source
            now = Outcome.of(transcript, Input(folder, source.path if source is not None else "", id))
        except (FormatError, OSError) as error:
            report.add(id, "changed", str(error))
            continue
        folders.append(folder)
        if odd := [key for key in _ROW if row.get(key) != getattr(now, key)]:
            report.add(name, "changed", f"differs from {outputs.TRANSCRIPT} of {id} in: {', '.join(odd)}")

    # The tables are of all recordings together.
    if len(folders) < len(rows):
        report.notes.append("the tables were not checked, as recordings are missing")
    else:
        _check_tables(out, shard, folders, report)


def _check_tables(out: Path, shard: Shard | None, folders: list[Path], report: IntegrityReport) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        try:
            tables.write(Path(temporary), (outputs.read_corrected(folder) for folder in folders))
        except (OutputError, FormatError) as error:
            report.add(file_name(tables.NAMES[0], shard), "changed", f"cannot be computed again: {error}")
            return
        for name in tables.NAMES:
            path, expected = out / file_name(name, shard), Path(temporary) / name
            if path.is_symlink() or not path.is_file():
                report.add(path.name, "missing", "was written by the run")
                continue
            report.results += 1
            report.bytes += path.stat().st_size
            if sha256_or_empty(path) != sha256_or_empty(expected) and not _same_rows(path, expected):
                report.add(path.name, "changed", "is not what the transcripts give")


def _same_rows(path: Path, expected: Path) -> bool:
    """Whether two Parquet files hold the same rows: another version of their writer gives other bytes."""
    if path.suffix != ".parquet":
        return False
    import pyarrow.parquet

    try:
        return bool(pyarrow.parquet.read_table(path).equals(pyarrow.parquet.read_table(expected), check_metadata=True))
    except (OSError, ValueError, pyarrow.ArrowException):
        return False
