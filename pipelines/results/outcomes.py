"""What became of a recording: one row of the report."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

import diarize
from diarize.library.scoring.linking import Strangers
from diarize.timeline import total
from diarize.types import Transcript
from diarize.units import round_time
from pipelines.inputs.recordings import Input

PRODUCT = f"diarize-pipeline {diarize.__version__}"

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
    tries: int = 1  # how often it was begun; a worker's death costs one
    passing: bool = False  # the disk or the network failed that the recording is on: the next run tries again
    environment: bool = False  # the machine is at fault (a full disk, a missing model), not the recording
    strangers: Strangers | None = None  # voices of those whom nobody knows, until they are linked
    kept: bool = False  # done by an earlier run, of the same file and settings, and left as it was


def outcome(transcript: Transcript, item: Input) -> Outcome:
    """The row of a finished recording."""
    source = transcript.provenance.source
    return Outcome(
        id=item.id,
        name=item.name,
        status="done",
        digest=source.digest if source is not None else "",
        duration=transcript.duration,
        lost=round_time(total(transcript.lost)),
        speakers=len(transcript.speakers),
        turns=len(transcript.turns),
        words=len(transcript.words),
        notes=(*(source.notes if source is not None else ()), *transcript.provenance.notes),
    )


def plain(row: Outcome) -> dict[str, Any]:
    """What a row says of a recording, without what differs from run to run."""
    return {
        f.name: getattr(row, f.name) for f in fields(row) if f.name not in ("strangers", "kept", "tries", "passing")
    }
