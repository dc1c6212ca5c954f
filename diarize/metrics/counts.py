"""Counts behind the measures of diarization and of labelled words, and what can be told from counts alone.

Counts add (`+`, `sum`), a rate is derived from them: pooled over recordings, a rate is that of the summed counts, and
a mean of rates cannot be built. The seconds of DER are `diarize.types.Errors`. Where a rate has nothing below the line
it is None: there is nothing to tell.
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
    """`part` of `whole`, in seconds or in pieces: what a precision, a recall, a purity is made of."""

    part: float = 0.0
    whole: float = 0.0

    @property
    def rate(self) -> float | None:
        return self.part / self.whole if self.whole else None


@dataclass(frozen=True, slots=True)
class Jaccard(Counts):
    """Jaccard errors of reference speakers: their sum, how many speakers, and speakers heard where there was none."""

    errors: float = 0.0
    speakers: int = 0
    invented: int = 0  # hypothesis speakers of recordings in which no reference speaker talks

    @property
    def rate(self) -> float:
        """Jaccard error rate; without any reference speaker 1 where one was heard, else 0, as dscore has it."""
        if self.speakers:
            return self.errors / self.speakers
        return 1.0 if self.invented else 0.0


@dataclass(frozen=True, slots=True)
class WordErrors(Counts):
    """What it takes to turn the reference's words into the hypothesis's; `length` counts the reference's words."""

    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0
    length: int = 0

    @property
    def rate(self) -> float | None:
        """Word error rate; infinite where words were invented and none was said, None where there were none at all."""
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

    `pairs` are the (reference speaker, hypothesis speaker) of every correct or substituted word; a word that nobody
    was given (None) is wrong. (S_IS + C_IS) / (S + C), Shafey et al. 2019, "Joint Speech Recognition and Speaker
    Diarization via Sequence Transduction". Their speakers have roles; here they are paired one to one so
    that most words are right.
    """
    from scipy.optimize import linear_sum_assignment

    counted = Counter(pairs)
    reference = sorted({who for who, _ in counted})
    hypothesis = sorted({who for _, who in counted if who is not None})
    together = np.array([[counted[r, h] for h in hypothesis] for r in reference])
    right = together[linear_sum_assignment(-together)].sum() if together.size else 0
    return Share(float(counted.total() - right), float(counted.total()))
