"""The unknown people of a run: who speaks in several recordings is called the same in all of them, unknown-1 and so on.

It is done when all recordings are. Voiceprints of people who are not in the library are biometric data of strangers:
they are kept until then (pipelines/results/voiceprints.py), and no longer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from diarize.config import Config
from diarize.errors import FormatError, OutputError
from diarize.library.scoring import linking
from diarize.library.scoring.calibration import Calibration
from diarize.types import Transcript
from pipelines.plan import Plan
from pipelines.results import outputs
from pipelines.results.outcomes import Outcome

LABEL = "unknown-{}"


def link(out: Path, rows: Sequence[Outcome], plan: Plan) -> tuple[Outcome, ...]:
    """The rows, in their order, without voices; the transcripts and exports of recordings with strangers are rewritten.

    Where one cannot be written its row says so.
    """
    return link_all(out, rows, plan.people.calibration if plan.people is not None else None, plan.config)


def link_all(
    out: Path, rows: Sequence[Outcome], calibration: Calibration | None, config: Config
) -> tuple[Outcome, ...]:
    """As `link`, with what it takes of a plan."""
    made: dict[str, dict[str, str]] = {}
    if calibration is not None:
        found = [(row.id, row.strangers) for row in rows if row.strangers is not None]
        made = labels(found, calibration, config.identify.prior, config.identify.seconds)
    return tuple(_written(out, row, made.get(row.id, {}), config.output.formats) for row in rows)


def labels(
    found: Sequence[tuple[str, linking.Strangers]], calibration: Calibration, prior: float, least: float
) -> dict[str, dict[str, str]]:
    """Recording -> speaker -> what they are called, from the strangers of each recording."""
    if not found:
        return {}
    numbers = linking.link([strangers for _, strangers in found], calibration, prior, least)
    return {
        id: {speaker: LABEL.format(number) for speaker, number in own.items()}
        for (id, _), own in zip(found, numbers, strict=True)
    }


def linked(transcript: Transcript, called: Mapping[str, str]) -> Transcript:
    """The transcript with its unknown speakers called so."""
    speakers = tuple(replace(speaker, link=called.get(speaker.id)) for speaker in transcript.speakers)
    return replace(transcript, speakers=speakers)


def _written(out: Path, row: Outcome, called: Mapping[str, str], formats: Iterable[str]) -> Outcome:
    if row.strangers is None:
        return row
    row = replace(row, strangers=None)
    try:
        folder = out / row.id
        transcript = outputs.read(folder)
        told = linked(transcript, called)
        if told.speakers != transcript.speakers:  # else it was kept, and is called as before
            outputs.rewrite(folder, told, formats)
    except (FormatError, OutputError) as error:
        return replace(row, status="failed", stage="write", reason=str(error), environment=True)
    return row
