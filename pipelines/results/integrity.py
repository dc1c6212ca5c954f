"""Is a folder of results what the run wrote, and are its recordings what the run read? (docs/integrity.md)

Three independent looks: every file against the sha256 that was recorded when it was written, every export and table
against what `transcript.json` gives now, and every recording against the sha256 of what was decoded.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from diarize import files, formats
from diarize.errors import ConfigError, DiarizeError, FormatError, OutputError
from diarize.types import Transcript
from pipelines.inputs import shards
from pipelines.inputs.recordings import Input
from pipelines.inputs.shards import Shard, file
from pipelines.results import RUN, outputs, tables
from pipelines.results.outcomes import PRODUCT, outcome

Kind = Literal["missing", "changed", "extra"]
SCHEMA = "diarize-integrity/1"
_ROW = ("name", "digest", "duration", "lost", "speakers", "turns", "words")  # of run.json, that a transcript decides


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as the run left it."""

    where: str  # below the folder of results; a recording by its absolute path
    kind: Kind
    what: str


@dataclass
class Integrity:
    """What was looked at, and what differs."""

    recordings: int = 0
    results: int = 0  # files of results that were hashed
    inputs: int = 0  # recordings that were hashed
    bytes: int = 0  # hashed in all
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

    def differs(self, where: str, kind: Kind, what: str) -> None:
        self.differences.append(Difference(where, kind, what))


def is_results(folder: Path) -> bool:
    """Whether a run or a part of one wrote here: it has `run.json`, or a folder with a transcript."""
    return bool(_runs(folder)) or any(folder.glob(f"*/{outputs.TRANSCRIPT}"))


def _runs(out: Path) -> list[Shard | None]:
    """The runs that left a report there: the whole (None), and parts that were not joined yet."""
    return [shard for path, shard in shards.found(out, RUN) if path.is_file()]


def check(out: Path, *, inputs: bool = True, expect: str | None = None) -> Integrity:
    """Hold a folder of results against its own records. Nothing is written there.

    `inputs`: whether the recordings are hashed too. `expect` is a seal that was noted down earlier. What cannot be
    read is a difference, never an exception. Raises ConfigError where `out` is no folder of results.
    """
    if not is_results(out):
        raise ConfigError(
            "command line", str(out), f"is no folder of results: it has no {RUN}", "Name the --out of a run."
        )
    found = Integrity()
    runs = _runs(out) or [None]
    for folder in _recordings(out, runs, found):
        found.recordings += 1
        try:
            _recording(folder, found, inputs)
        except OSError as error:
            found.differs(folder.name, "changed", f"cannot be read ({error.strerror or error})")
    for shard in runs:
        _run(out, shard, found)
    found.seal = seal(out)
    if expect is not None and expect.strip().lower() != found.seal:
        found.differs(".", "changed", f"the seal is {found.seal}, and {expect.strip()} is expected")
    return found


def seal(out: Path) -> str:
    """One sha256 for all: over the lines `<sha256>  <id>/provenance.json`, sorted, each with its newline.

    Each `provenance.json` holds the sha256 of its recording and of every file beside it, so that no byte of them can
    change and the seal stay. `sha256sum */provenance.json | LC_ALL=C sort | sha256sum` in the folder says the same.
    """
    lines = []
    for path in out.glob(f"*/{outputs.PROVENANCE}"):
        if path.is_file() and not path.parent.name.startswith("."):
            lines.append(f"{_sha256(path)}  {path.parent.name}/{path.name}\n".encode(errors="surrogateescape"))
    return hashlib.sha256(b"".join(sorted(lines))).hexdigest()


def _recordings(out: Path, runs: Sequence[Shard | None], found: Integrity) -> Iterator[Path]:
    """The folders of the recordings; everything else in `out` must be the runs' own. Hidden files are not looked at."""
    own = {file(name, shard) for shard in runs for name in (RUN, outputs.PROVENANCE, *tables.NAMES)}
    for path in sorted(out.iterdir()):
        if path.name.startswith(".") or path.name in own:
            continue
        if path.is_symlink() or not path.is_dir():
            found.differs(path.name, "extra", "is not of a run")
        else:
            yield path


def _recording(folder: Path, found: Integrity, inputs: bool) -> None:
    odd = {path.name for path in folder.iterdir() if path.is_symlink() or not path.is_file()}
    for name in sorted(odd):  # before anything is opened: a pipe would never answer
        found.differs(f"{folder.name}/{name}", "changed", "is no file")
    if odd:
        return
    record: Mapping[str, Any] = {}
    recorded: Mapping[str, str] = {}
    try:
        record = outputs.provenance(folder)
        recorded = _digests(record)
    except FormatError as error:
        found.differs(f"{folder.name}/{outputs.PROVENANCE}", "changed", error.problem)
    changed = {name for name, digest in recorded.items() if not _as_recorded(folder / name, digest, found)}
    try:
        transcript = outputs.read(folder)
    except FormatError as error:
        if outputs.TRANSCRIPT not in changed:  # a stranger's file, or none where none is recorded
            found.differs(f"{folder.name}/{outputs.TRANSCRIPT}", "changed", error.problem)
        return
    if transcript.recording != folder.name:
        found.differs(f"{folder.name}/{outputs.TRANSCRIPT}", "changed", f"is of {transcript.recording!r}")
    _exports(folder, transcript, recorded, changed, found)
    if inputs:
        _input(folder, transcript, record, found)


def _digests(record: Mapping[str, Any]) -> dict[str, str]:
    """File name -> sha256, as a `provenance.json` has it. Raises FormatError."""
    found = record.get("files")
    if not isinstance(found, dict) or not all(isinstance(digest, str) for digest in found.values()):
        raise FormatError(outputs.PROVENANCE, "records no digests")
    if not all(Path(name).name == name for name in found):
        raise FormatError(outputs.PROVENANCE, "names files that are not beside it")
    return found


def _as_recorded(path: Path, digest: str, found: Integrity) -> bool:
    """Whether a file still has its recorded sha256; where not, the difference is told."""
    where = f"{path.parent.name}/{path.name}"
    if not path.exists():
        found.differs(where, "missing", "was written by the run")
    else:
        found.results += 1
        found.bytes += path.stat().st_size
        if (now := _sha256(path)) == digest:
            return True
        found.differs(where, "changed", f"sha256 {now or 'unreadable'}, {digest} was written")
    return False


def _exports(
    folder: Path, transcript: Transcript, recorded: Mapping[str, Any], changed: set[str], found: Integrity
) -> None:
    """Every export that lies there against what the transcript gives; anything else that lies there is extra."""
    names = {f"transcript{formats.suffix(name)}": name for name in formats.FORMATS}
    made_by = transcript.provenance.product
    for path in sorted(folder.iterdir()):
        where = f"{folder.name}/{path.name}"
        if path.name == outputs.PROVENANCE or path.name.startswith(".") or path.name in changed:
            continue
        if path.name not in names:
            found.differs(where, "extra", "was not written by the run")
            continue
        try:
            same = path.read_bytes() == outputs.derived(transcript, [names[path.name]])[path.name]
        except (DiarizeError, OSError) as error:
            found.differs(where, "changed", f"cannot be compared: {error}")
            continue
        if not same:
            other = f" (made by {made_by}; this is {PRODUCT})" if made_by != PRODUCT else ""
            kind: Kind = "changed" if path.name in recorded else "extra"
            found.differs(where, kind, f"is not what {outputs.TRANSCRIPT} gives{other}")
        elif path.name not in recorded:
            found.notes.append(f"{where}: exported after the run; it is what {outputs.TRANSCRIPT} gives")


def _input(folder: Path, transcript: Transcript, record: Mapping[str, Any], found: Integrity) -> None:
    source, taken = transcript.provenance.source, record.get("source")
    if source is None or not isinstance(taken, Mapping) or not isinstance(taken.get("path"), str):
        found.differs(f"{folder.name}/{outputs.PROVENANCE}", "changed", "does not say where the recording was")
        return
    if {taken.get("sha256"), taken.get("sha256_after")} != {source.digest}:
        what = f"the recording's sha256 is not that of {outputs.TRANSCRIPT}"
        found.differs(f"{folder.name}/{outputs.PROVENANCE}", "changed", what)
    path = Path(taken["path"])
    try:
        if not path.is_file():
            found.differs(str(path), "missing", f"the recording of {folder.name} is no longer there")
            return
        found.bytes += path.stat().st_size
    except (OSError, ValueError) as error:
        found.differs(str(path), "missing", f"the recording of {folder.name} cannot be looked at ({error})")
        return
    found.inputs += 1
    if (now := _sha256(path)) != source.digest:
        what = f"sha256 {now or 'unreadable'}, {source.digest} was decoded for {folder.name}"
        found.differs(str(path), "changed", what)


def _run(out: Path, shard: Shard | None, found: Integrity) -> None:
    """`run.json`, of a run or a part of one, and its tables against the transcripts."""
    report = file(RUN, shard)
    if not (out / report).is_file():
        found.differs(report, "missing", "was written by the run")
        return
    try:
        run = json.loads((out / report).read_text(encoding="utf-8"))
        rows = {str(row["id"]): row for row in run["recordings"] if row["status"] == "done"}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        found.differs(report, "changed", f"is no record of a run ({type(error).__name__}: {error})")
        return
    kept = []
    for id, row in rows.items():
        folder = out / id
        try:
            if folder.parent != out or not (folder / outputs.TRANSCRIPT).is_file():  # a pipe would never answer
                found.differs(id, "missing", f"is done in {report}, and has no {outputs.TRANSCRIPT}")
                continue
            transcript = outputs.read(folder)
            source = transcript.provenance.source
            now = outcome(transcript, Input(folder, source.path if source is not None else "", id))
        except (FormatError, OSError) as error:
            found.differs(id, "changed", str(error))
            continue
        kept.append(folder)
        if odd := [key for key in _ROW if row.get(key) != getattr(now, key)]:
            found.differs(report, "changed", f"says other {', '.join(odd)} of {id} than {outputs.TRANSCRIPT}")
    if len(kept) < len(rows):
        found.notes.append("the tables were not compared, as they are of recordings that are gone")
    else:
        _tables(out, shard, kept, found)


def _tables(out: Path, shard: Shard | None, folders: list[Path], found: Integrity) -> None:
    with tempfile.TemporaryDirectory() as place:
        try:
            tables.write(Path(place), (outputs.read(folder) for folder in folders))
        except (OutputError, FormatError) as error:
            found.differs(file(tables.NAMES[0], shard), "changed", f"cannot be made again: {error}")
            return
        for name in tables.NAMES:
            path = out / file(name, shard)
            if path.is_symlink() or not path.is_file():
                found.differs(path.name, "missing", "was written by the run")
                continue
            found.results += 1
            found.bytes += path.stat().st_size
            if _sha256(path) != _sha256(Path(place) / name) and not _same_rows(path, Path(place) / name):
                found.differs(path.name, "changed", "is not what the transcripts give")


def _same_rows(path: Path, made: Path) -> bool:
    """Whether two Parquet files hold the same rows: another version of their writer gives other bytes."""
    if path.suffix != ".parquet":
        return False
    import pyarrow.parquet

    try:
        return bool(pyarrow.parquet.read_table(path).equals(pyarrow.parquet.read_table(made), check_metadata=True))
    except (OSError, ValueError, pyarrow.ArrowException):
        return False


def _sha256(path: Path) -> str:
    """ "" where it cannot be read."""
    try:
        return files.sha256(path)
    except OSError:
        return ""
