"""Validation of likelihood ratios for use as evidence (docs/method/evidence.md): what Cllr alone does not show.

Log-likelihood ratios are natural logarithms, `same` (n,) of trials of one speaker and `different` (m,) of two.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import numpy as np
from numpy.typing import ArrayLike

from diarize.metrics.verification import Floats, check_scores, cllr, cllr_min, pav

FEW_SPEAKERS = 30  # under which every figure needs a warning: their intervals are wide, and may still be too narrow


@dataclass(frozen=True, slots=True)
class MisleadingEvidence:
    """Shares of trials whose LR supports the false hypothesis, and the strongest such LR (natural logarithm)."""

    same: float  # share of trials of one speaker with an LR under 1
    different: float  # share of trials of two speakers with an LR over 1
    strongest_same: float  # lowest LLR of one speaker; 0.0 where none misleads
    strongest_different: float  # highest LLR of two; 0.0 where none misleads


def misleading(same: ArrayLike, different: ArrayLike) -> MisleadingEvidence:
    """Rates of misleading evidence (Royall 1997, "Statistical Evidence", chapter 4). Raises as `check_scores`."""
    same, different = check_scores(same, different, infinite=True)
    return MisleadingEvidence(
        float((same < 0).mean()),
        float((different > 0).mean()),
        float(min(same.min(), 0.0)),
        float(max(different.max(), 0.0)),
    )


def cllr_cal(same: ArrayLike, different: ArrayLike) -> float:
    """The part of `cllr` that better calibration would remove: cllr - cllr_min (Brümmer and du Preez 2006)."""
    return cllr(same, different) - cllr_min(same, different)


def empirical_cross_entropy(same: ArrayLike, different: ArrayLike, log_odds: ArrayLike) -> Floats:
    """ECE in bits at prior odds, given as log10 (k,): the uncertainty that is left after the LRs.

    ECE = P(same) mean log2(1 + 1 / (LR O)) + P(different) mean log2(1 + LR O), O the prior odds (Ramos and
    Gonzalez-Rodriguez 2013, "Reliable support: measuring calibration of likelihood ratios", equation 9). At O = 1 it is
    Cllr.
    """
    same, different = check_scores(same, different, infinite=True)
    odds = np.asarray(log_odds, np.float64) * log(10)
    prior = 1 / (1 + np.exp(-odds))
    one = np.array([np.logaddexp(0, -same - value).mean() for value in odds])
    two = np.array([np.logaddexp(0, different + value).mean() for value in odds])
    return np.asarray((prior * one + (1 - prior) * two) / log(2), np.float64)


def ece_curves(same: ArrayLike, different: ArrayLike, log_odds: ArrayLike) -> tuple[Floats, Floats, Floats]:
    """ECE of the LRs, of LRs after `pav` (the best calibration), and of no evidence at all (LR = 1); each (k,)."""
    nothing = np.zeros(1)
    return (
        empirical_cross_entropy(same, different, log_odds),
        empirical_cross_entropy(*pav(same, different), log_odds),
        empirical_cross_entropy(nothing, nothing, log_odds),
    )


def rule_of_three(independent: int) -> float:
    """Highest rate (95 %) of an event that was not seen once in so many independent trials: 3 / n, at most 1.

    Hanley and Lippman-Hand 1983, "If nothing goes wrong, is everything all right?", JAMA 249.
    """
    return min(1.0, 3 / max(independent, 1))
