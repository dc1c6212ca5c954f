"""The same unknown person in several recordings (docs/identification.md).

    LLR(i, j) = that of the score of their voices + w3 ||C (m_i - m_j)||^2

m is the mean of the voices of a recording, C the directions of channels and w3 the weight that the calibration has for
a recording against enrolled voices: what two recordings differ in lowers the score of one person all the same.
Groups are joined as long as the mean LLR between the voices of two of them reaches the threshold (average linkage,
Sokal and Michener 1958, "A statistical method for evaluating systematic relationships"); no group holds two speakers of
one recording.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from diarize.library.scoring.calibration import Calibration, Side
from diarize.metrics import verification
from diarize.types import Vectors

Floats = NDArray[np.float64]

_APART = 1e9  # distance of two speakers of one recording: larger than any distance of two groups without it
_DIGITS = 4


@dataclass(frozen=True, slots=True, eq=False)
class Strangers:
    """The unknown speakers of one recording: voiceprints, which live as long as the run that links them."""

    speakers: tuple[str, ...]  # ids
    vectors: Vectors = field(repr=False)  # (k, d)
    seconds: tuple[float, ...]  # of speech
    bandwidth: float | None  # Hz, of the recording
    mean: Floats = field(repr=False)  # (d,), of all voices of the recording, known and unknown


def ratios(recordings: Sequence[Strangers], calibration: Calibration) -> Floats:
    """LLRs (n, n), without bounds, of every two unknown speakers of all recordings."""
    rows = calibration.scorer().transform(np.concatenate([recording.vectors for recording in recordings]))
    seconds = np.array([s for recording in recordings for s in recording.seconds])
    means = np.array([recording.mean for recording in recordings for _ in recording.speakers])
    result = calibration.unbounded(rows @ rows.T, seconds[:, None], seconds[None])
    if calibration.channels:
        shifts = means @ np.array(calibration.channels).T
        result += calibration.channel * np.square(shifts[:, None] - shifts[None]).sum(axis=2)
    return np.round(result, _DIGITS)


def link(recordings: Sequence[Strangers], calibration: Calibration, prior: float, least: float) -> list[dict[str, int]]:
    """For each recording, speaker id -> number of the person, from 1 on by first appearance.

    Speakers with less than `least` seconds of speech, and those for whom the calibration does not hold, have no
    number. `prior` is the probability that two unknown speakers of two recordings are one person.
    """
    usable = [
        [
            seconds >= least and calibration.refusal(*[Side(seconds, recording.bandwidth)] * 2) is None
            for seconds in recording.seconds
        ]
        for recording in recordings
    ]
    rows = np.array([use for uses in usable for use in uses], dtype=bool)
    positions = np.array([r for r, each in enumerate(recordings) for _ in each.speakers], dtype=np.int64)[rows]
    numbers: list[int] = []
    if len(positions):
        table = ratios(recordings, calibration)[np.ix_(rows, rows)]
        numbers = group(table, positions, verification.bayes_threshold(prior))
    remaining = iter(numbers)
    return [
        {speaker: next(remaining) for speaker, use in zip(recording.speakers, uses, strict=True) if use}
        for recording, uses in zip(recordings, usable, strict=True)
    ]


def group(table: Floats, recording: NDArray[np.int64], threshold: float) -> list[int]:
    """The group of each of n speakers, from 1 on by first appearance, from LLRs (n, n) and the recording of each."""
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    if len(recording) < 2:
        return [1] * len(recording)
    top = float(table.max())
    distances = np.where(recording[:, None] == recording[None], _APART, top - table)
    np.fill_diagonal(distances, 0.0)
    tree = linkage(squareform(distances, checks=False), method="average")
    raw = fcluster(tree, top - threshold + 1e-9, criterion="distance") if top >= threshold else range(len(recording))
    numbers: dict[int, int] = {}
    return [numbers.setdefault(int(label), len(numbers) + 1) for label in raw]
