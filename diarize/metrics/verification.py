"""Metrics on scores of same-speaker and different-speaker trials (docs/method/scores.md).

Everywhere: `same` (n,) and `different` (m,) are scores of trials of one speaker and of two; a higher score speaks for
one speaker; a trial is accepted where score >= threshold. A log-likelihood ratio (LLR) is a natural logarithm.

    miss (FRR)         share of `same` below the threshold
    false alarm (FAR)  share of `different` at or above it
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class ErrorCurve:
    """Error rates at every distinct score as threshold, ascending; the last threshold, infinity, accepts nothing."""

    thresholds: Floats
    miss: Floats
    false_alarm: Floats


def error_curve(same: ArrayLike, different: ArrayLike) -> ErrorCurve:
    """Miss and false-alarm rates, exact also for tied scores. Raises ValueError: see `check_scores`."""
    same, different = check_scores(same, different)
    thresholds = np.append(np.unique(np.concatenate([same, different])), np.inf)
    miss = np.searchsorted(np.sort(same), thresholds, side="left") / len(same)
    false_alarm = 1 - np.searchsorted(np.sort(different), thresholds, side="left") / len(different)
    return ErrorCurve(thresholds, miss, false_alarm)


def errors_at(same: ArrayLike, different: ArrayLike, threshold: float) -> tuple[float, float]:
    """(miss, false alarm) at one threshold."""
    same, different = check_scores(same, different)
    return float((same < threshold).mean()), float((different >= threshold).mean())


def equal_error(same: ArrayLike, different: ArrayLike) -> tuple[float, float]:
    """(EER, its threshold): where miss and false alarm are equal on the ROC, straight lines between its points."""
    curve = error_curve(same, different)
    gap = curve.miss - curve.false_alarm  # rises from -1 to 1
    at = int(np.argmax(gap >= 0))
    if gap[at] == 0 or at == 0:
        return float(curve.miss[at]), float(curve.thresholds[at])
    share = gap[at - 1] / (gap[at - 1] - gap[at])
    rate = curve.miss[at - 1] + share * (curve.miss[at] - curve.miss[at - 1])
    return float(rate), float(curve.thresholds[at - 1])


def detection_cost(miss: ArrayLike, false_alarm: ArrayLike, prior: float) -> Floats:
    """Normalised detection cost with equal costs of both errors: 1 is the cost of a decision without the scores.

    (P miss prior + P fa (1 - prior)) / min(prior, 1 - prior): the normalised cost of the NIST speaker recognition
    evaluations. Other costs are the same as another prior (`effective_prior`). Raises ValueError for a prior that is
    not between 0 and 1.
    """
    if not 0 < prior < 1:
        raise ValueError(f"a prior lies between 0 and 1, got {prior}")
    cost = np.asarray(miss) * prior + np.asarray(false_alarm) * (1 - prior)
    return np.asarray(cost / min(prior, 1 - prior), np.float64)


def effective_prior(prior: float, cost_miss: float, cost_false_alarm: float) -> float:
    """The prior that with equal costs asks for the same decisions (Brümmer and de Villiers 2013, arXiv 1304.2865)."""
    weighted = prior * cost_miss
    return weighted / (weighted + (1 - prior) * cost_false_alarm)


def min_dcf(same: ArrayLike, different: ArrayLike, prior: float) -> tuple[float, float]:
    """(lowest detection cost that any threshold gives, that threshold)."""
    curve = error_curve(same, different)
    costs = detection_cost(curve.miss, curve.false_alarm, prior)
    at = int(np.argmin(costs))
    return float(costs[at]), float(curve.thresholds[at])


def actual_dcf(same: ArrayLike, different: ArrayLike, prior: float) -> float:
    """Detection cost of LLRs at the threshold that theory gives: `bayes_threshold`."""
    return float(detection_cost(*errors_at(same, different, bayes_threshold(prior)), prior))


def bayes_threshold(prior: float) -> float:
    """The LLR from which "same speaker" is the cheaper decision, costs being equal: -logit(prior)."""
    return log(1 - prior) - log(prior)


def cllr(same: ArrayLike, different: ArrayLike) -> float:
    """Cost of LLRs over all priors, in bits; 1 is what no information costs, 0 is perfect.

    Brümmer and du Preez 2006, "Application-independent evaluation of speaker detection", Computer Speech and Language
    20: (mean log2(1 + 1/LR) of `same` + mean log2(1 + LR) of `different`) / 2.
    """
    same, different = check_scores(same, different, infinite=True)
    return float((np.logaddexp(0, -same).mean() + np.logaddexp(0, different).mean()) / (2 * log(2)))


def cllr_min(same: ArrayLike, different: ArrayLike) -> float:
    """What `cllr` would be, had the scores been turned into LLRs in the best rising way (`pav`)."""
    return cllr(*pav(same, different))


def pav(same: ArrayLike, different: ArrayLike) -> tuple[Floats, Floats]:
    """The best LLRs that a rising function of these scores gives on these very trials; may be infinite.

    Pool-adjacent-violators on the truth in order of score (Brümmer and du Preez 2006), the prior of the
    set removed. Equal scores get equal LLRs.
    """
    from scipy.optimize import isotonic_regression

    same, different = check_scores(same, different)
    scores, where = np.unique(np.concatenate([same, different]), return_inverse=True)
    trials = np.bincount(where, minlength=len(scores))
    hits = np.bincount(where[: len(same)], minlength=len(scores))
    chance = np.clip(isotonic_regression(hits / trials, weights=trials).x, 0, 1)  # rounding may leave [0, 1]
    with np.errstate(divide="ignore"):
        ratios = np.log(chance) - np.log1p(-chance) - log(len(same) / len(different))
    return ratios[where[: len(same)]], ratios[where[len(same) :]]


def det(same: ArrayLike, different: ArrayLike) -> tuple[Floats, Floats]:
    """Points (false alarm, miss) of a DET curve in probits, without those where a rate is 0 or 1 (no probit).

    Martin et al. 1997, "The DET curve in assessment of detection task performance".
    """
    from scipy.special import ndtri

    curve = error_curve(same, different)
    inside = (curve.miss > 0) & (curve.miss < 1) & (curve.false_alarm > 0) & (curve.false_alarm < 1)
    return ndtri(curve.false_alarm[inside]), ndtri(curve.miss[inside])


def tippett(same: ArrayLike, different: ArrayLike) -> tuple[Floats, Floats, Floats]:
    """(values, share of `same` at or above each, share of `different` at or above each): a Tippett plot.

    Drygajlo et al. 2015, "Methodological guidelines for best practice in forensic semiautomatic and automatic speaker
    recognition" (ENFSI).
    """
    curve = error_curve(same, different)
    return curve.thresholds[:-1], 1 - curve.miss[:-1], curve.false_alarm[:-1]


def check_scores(same: ArrayLike, different: ArrayLike, infinite: bool = False) -> tuple[Floats, Floats]:
    """Both as float64 (n,). Raises ValueError if one is empty, or holds NaN or (unless `infinite`) infinity."""
    arrays = np.asarray(same, np.float64), np.asarray(different, np.float64)
    for name, values in zip(("same-speaker", "different-speaker"), arrays, strict=True):
        if values.ndim != 1 or not len(values):
            raise ValueError(f"at least one {name} trial is needed, got scores of shape {values.shape}")
        if np.isnan(values).any() or not (infinite or np.isfinite(values).all()):
            raise ValueError(f"{name} scores that are not finite numbers")
    return arrays
