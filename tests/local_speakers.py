"""Activity of local speakers written as text, for tests of what is made of it."""

from __future__ import annotations

import numpy as np

from diarize.activity import LocalActivity

STEP = 0.1  # s of a character


def activity(*windows: str) -> LocalActivity:
    """Each character is a frame: 0 nobody, 1 to 3 one local speaker, 4 to 6 two (1+2, 1+3, 2+3).

    Windows overlap by half.
    """
    length = len(windows[0])
    posteriors = np.full((len(windows), length, 7), 0.01, np.float16)
    for i, window in enumerate(windows):
        posteriors[i, np.arange(length), [int(c) for c in window]] = 0.94
    return LocalActivity(posteriors, hop=length // 2, step=STEP, lag=STEP / 2)
