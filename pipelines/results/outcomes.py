"""The outcome of a recording: one row of the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from diarize.formats.times import round_segments
from diarize.library.scoring.linking import Strangers
from diarize.timeline import total
from diarize.types import Transcript
from diarize.units import round_time
from diarize.version import __version__
from pipelines.inputs.recordings import Input

PRODUCT = f"diarize-pipeline {__version__}"

Status = Literal["done", "failed", "crashed", "interrupted"]


@dataclass(frozen=True)
class Outcome:
    """One row of the report: plain data, so that it crosses process borders."""

    id: str
    name: str
    status: Status
    stage: str = ""
    reason: str = ""
    digest: str = ""
    duration: float | None = None  # s
    lost: float = 0.0  # s that could not be decoded
    speakers: int = 0
    turns: int = 0
    words: int = 0
    notes: tuple[str, ...] = ()
    tries: int = 1  # how often it was started; a worker's death costs one
    transient: bool = False  # the disk or the network of the recording failed: the next run tries again
    environment: bool = False  # the machine is at fault (a full disk, a missing model), not the recording
    strangers: Strangers | None = None  # voices of unknown speakers, until they are linked
    reused: bool = False  # the result of an earlier run, of the same file and settings

    @classmethod
    def of(cls, transcript: Transcript, item: Input) -> Outcome:
        """The row of a finished recording."""
        source = transcript.provenance.source
        return cls(
            id=item.id,
            name=item.name,
            status="done",
            digest=source.digest if source is not None else "",
            duration=transcript.duration,
            lost=round_time(total(round_segments(transcript.lost))),  # of the spans as they are written
            speakers=len(transcript.speakers),
            turns=len(transcript.turns),
            words=len(transcript.words),
            notes=(*(source.notes if source is not None else ()), *transcript.provenance.notes),
        )

    @classmethod
    def from_row(cls, row: Mapping[str, Any], **changes: Any) -> Outcome:
        """What `as_row` made. Raises TypeError and KeyError where it did not."""
        return cls(**{**row, "notes": tuple(row["notes"]), **changes})

    def as_row(self) -> dict[str, Any]:
        """Plain data, without what differs from run to run."""
        omitted = ("strangers", "reused", "tries", "transient")
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in omitted}
