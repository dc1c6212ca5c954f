"""Links between the unknown speakers of a run: a person who speaks in several recordings has one label in all of them,
unknown-1, unknown-2, ...

This is done when all recordings are processed. Until then the voiceprints of unknown speakers are stored
(pipelines/results/voiceprints.py), and no longer: they are biometric data of strangers.
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
from pipelines.results import outputs
from pipelines.results.outcomes import Outcome

LABEL = "unknown-{}"


def link(out: Path, rows: Sequence[Outcome], calibration: Calibration | None, config: Config) -> tuple[Outcome, ...]:
    """Label the unknown speakers of all recordings; the rows, in their order, without voices.

    Transcripts and exports with unknown speakers are written again. Where that fails the row says so. Without a
    calibration there is nobody to label.
    """
    labels: dict[str, dict[str, str]] = {}
    if calibration is not None:
        strangers = [(row.id, row.strangers) for row in rows if row.strangers is not None]
        labels = label_strangers(strangers, calibration, config.identify.prior, config.identify.seconds)
    return tuple(_write_labels(out, row, labels.get(row.id, {}), config.output.formats) for row in rows)


def label_strangers(
    recordings: Sequence[tuple[str, linking.Strangers]], calibration: Calibration, prior: float, least: float
) -> dict[str, dict[str, str]]:
    """Recording id -> speaker id -> label, from (recording id, its unknown speakers).

    `prior` is the probability that two of them are one person, `least` the seconds of speech that a speaker needs.
    """
    if not recordings:
        return {}
    numbers = linking.link([strangers for _, strangers in recordings], calibration, prior, least)
    return {
        id: {speaker: LABEL.format(number) for speaker, number in own.items()}
        for (id, _), own in zip(recordings, numbers, strict=True)
    }


def with_labels(transcript: Transcript, labels: Mapping[str, str]) -> Transcript:
    """The transcript with these labels (speaker id -> label) of its unknown speakers."""
    speakers = tuple(replace(speaker, link=labels.get(speaker.id)) for speaker in transcript.speakers)
    return replace(transcript, speakers=speakers)


def _write_labels(out: Path, row: Outcome, labels: Mapping[str, str], formats: Iterable[str]) -> Outcome:
    if row.strangers is None:
        return row
    row = replace(row, strangers=None)
    try:
        folder = out / row.id
        transcript = outputs.read(folder)
        labelled = with_labels(transcript, labels)
        if labelled.speakers != transcript.speakers:  # else it is a reused result with the same labels
            outputs.rewrite(folder, labelled, formats)
    except (FormatError, OutputError) as error:
        return replace(row, status="failed", stage="write", reason=str(error), environment=True)
    return row
