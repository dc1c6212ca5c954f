"""Counts behind the metrics of diarization and of labelled words.

Counts add (`+`, `sum`), and a rate is derived from them: the rate of several recordings is that of the summed counts,
never a mean of rates. The seconds of DER are `diarize.types.Errors`. A rate with a denominator of 0 is None.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diarize.types import Counts

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Share(Counts):
    """`part` of `whole`, in seconds or counts: a precision, a recall, a purity."""

    part: float = 0.0
    whole: float = 0.0

    @property
    def rate(self) -> float | None:
        return self.part / self.whole if self.whole else None


@dataclass(frozen=True, slots=True)
class Jaccard(Counts):
    """Jaccard errors of reference speakers: their sum, the number of speakers, and invented speakers."""

    errors: float = 0.0
    speakers: int = 0
    invented: int = 0  # hypothesis speakers of recordings in which no reference speaker talks

    @property
    def rate(self) -> float:
        """Jaccard error rate; without reference speakers 1 if a speaker was invented, else 0, as in dscore."""
        if self.speakers:
            return self.errors / self.speakers
        return 1.0 if self.invented else 0.0


@dataclass(frozen=True, slots=True)
class WordErrors(Counts):
    """Edits from the words of the reference to those of the hypothesis; `length`: number of reference words."""

    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0
    length: int = 0

    @property
    def rate(self) -> float | None:
        """Word error rate; infinite if there are only invented words, None if there are no words at all."""
        wrong = self.substitutions + self.deletions + self.insertions
        if self.length:
            return wrong / self.length
        return float("inf") if wrong else None


def jaccard(shared: Matrix, reference: Matrix, hypothesis: Matrix) -> Jaccard:
    """Jaccard errors of one recording, from seconds.

    `shared` (r, h) is the time in which both talk, `reference` (r,) and `hypothesis` (h,) each speaker's own. Speakers
    are paired so that the sum of errors is smallest; a reference speaker without a partner has error 1. (Ryant et al.
    2019, "Second DIHARD Challenge Evaluation Plan"; pairs as dscore makes them, `scorelib.metrics.jer`.)
    """
    from scipy.optimize import linear_sum_assignment

    if not len(reference):
        return Jaccard(0.0, 0, len(hypothesis))
    if not len(hypothesis):
        return Jaccard(float(len(reference)), len(reference))
    errors = 1 - shared / (reference[:, None] + hypothesis[None, :] - shared)
    rows, columns = linear_sum_assignment(errors)
    return Jaccard(float(errors[rows, columns].sum()) + len(reference) - len(rows), len(reference))


def word_diarization_errors(pairs: Iterable[tuple[str, str | None]]) -> Share:
    """Words labelled with the wrong speaker, of the words that were recognized, rightly or not (WDER).

    `pairs` are the (reference speaker, hypothesis speaker) of every correct or substituted word; a word without a
    speaker (None) is wrong. (S_IS + C_IS) / (S + C), Shafey et al. 2019, "Joint Speech Recognition and Speaker
    Diarization via Sequence Transduction". Their speakers have roles; here speakers are paired one to one so that most
    words are right.
    """
    from scipy.optimize import linear_sum_assignment

    counted = Counter(pairs)
    reference = sorted({who for who, _ in counted})
    hypothesis = sorted({who for _, who in counted if who is not None})
    together = np.array([[counted[r, h] for h in hypothesis] for r in reference])
    right = together[linear_sum_assignment(-together)].sum() if together.size else 0
    return Share(float(counted.total() - right), float(counted.total()))
