"""The cost of a speaker verifier and a countermeasure together: the t-DCF of the ASVspoof challenges.

Kinnunen et al. 2020, "Tandem Assessment of Spoofing Countermeasures and Automatic Speaker Verification: Fundamentals",
with the costs and priors of ASVspoof 2019 (its evaluation plan, section 5.1):

    t-DCF(s) = C1 P_miss_cm(s) + C2 P_fa_cm(s)
    C1 = pi_tar (C_miss_cm - C_miss_asv P_miss_asv) - pi_non C_fa_asv P_fa_asv
    C2 = C_fa_cm pi_spoof (1 - P_miss_spoof_asv)

normalised by the cost of the better of accepting all and rejecting all: 1 means that the countermeasure does not help.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from diarize.metrics import verification

SPOOF, TARGET, NONTARGET = 0.05, 0.9405, 0.0095  # priors
MISS, FALSE_ALARM = 1.0, 10.0  # costs, of the verifier and of the countermeasure


@dataclass(frozen=True, slots=True)
class TandemErrors:
    """Error rates of the verifier at its threshold."""

    miss: float  # of the right person
    false_alarm: float  # of another person
    spoof_miss: float  # spoofed speech that it rejects itself


def min_tandem_cost(bona_fide: ArrayLike, spoofed: ArrayLike, verifier: TandemErrors) -> float:
    """The smallest normalised t-DCF over all thresholds of the countermeasure; higher scores speak for bona fide.

    Raises ValueError where the verifier is so bad that the costs have no meaning, or scores are missing.
    """
    of_miss = TARGET * (MISS - MISS * verifier.miss) - NONTARGET * FALSE_ALARM * verifier.false_alarm
    of_false_alarm = FALSE_ALARM * SPOOF * (1 - verifier.spoof_miss)
    if min(of_miss, of_false_alarm) <= 0:
        raise ValueError(f"the t-DCF has no meaning for a verifier with {verifier}")
    curve = verification.error_curve(bona_fide, spoofed)
    costs = of_miss * curve.miss + of_false_alarm * curve.false_alarm
    return float(np.min(costs) / min(of_miss, of_false_alarm))
