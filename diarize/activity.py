"""Who of a few local speakers talks when, in windows that overlap: the output of a powerset segmentation model.

A local speaker has a number within one window only: which speaker of the next window is the same person is for
clustering to decide. Powerset classes: A. Plaquet, H. Bredin, "Powerset multi-class cross entropy loss for neural
speaker diarization", Interspeech 2023, arXiv:2310.13025.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from diarize.types import Segment
from diarize.units import round_time

Floats = NDArray[np.float32]

LOCAL_SPEAKERS = 3  # of a window
# (7, 3): which local speakers speak in each class. None, one of the three, two of them.
POWERSET = np.array(
    [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1]], np.float32
)  # fmt: skip
CLASSES = len(POWERSET)


@dataclass(frozen=True, slots=True, eq=False)
class LocalActivity:
    """`posteriors` (windows, frames, 7), each frame's probabilities of `POWERSET`; window i starts at frame i * `hop`.

    Frame f of the recording is `step` seconds long, around f * step + `lag`. Every frame is in a window.
    """

    posteriors: NDArray[np.float16] = field(repr=False)
    hop: int
    step: float
    lag: float

    def __post_init__(self) -> None:
        shape = self.posteriors.shape
        if self.posteriors.ndim != 3 or shape[2] != CLASSES or not 0 < self.hop <= shape[1]:
            raise ValueError(f"posteriors are (windows, frames, {CLASSES}), got {shape} every {self.hop} frames")
        self.posteriors.flags.writeable = False

    @property
    def windows(self) -> int:
        """Windows of the segmentation; 0 where there is no segmentation model."""
        return int(self.posteriors.shape[0])

    @property
    def frames(self) -> int:
        """Of the whole recording."""
        return (self.windows - 1) * self.hop + self.length if self.windows else 0

    @property
    def length(self) -> int:
        """Frames of a window."""
        return int(self.posteriors.shape[1])

    def window(self, i: int) -> Floats:
        """Posteriors of one window (frames, 7)."""
        return np.asarray(self.posteriors[i], dtype=np.float32)

    def speaking(self, i: int) -> Floats:
        """(frames, 3): probability that each local speaker of window `i` speaks, alone or not."""
        return np.asarray(self.window(i) @ POWERSET, dtype=np.float32)

    def alone(self, i: int) -> Floats:
        """(frames, 3): probability that each local speaker of window `i` speaks, and no other."""
        return self.window(i)[:, 1 : 1 + LOCAL_SPEAKERS]

    def middles(self, start: int, end: int) -> NDArray[np.float64]:
        """Times in the middle of frames start .. end, s."""
        return np.asarray(np.arange(start, end) * self.step + self.lag, dtype=np.float64)

    def over(self, start: int, end: int) -> range:
        """The windows that hold any of frames start .. end."""
        first = max(0, -(-(start - self.length + 1) // self.hop))
        return range(first, min(self.windows, (end - 1) // self.hop + 1))

    def weights(self) -> Floats:
        """(frames,): the weight of each frame of a window, less towards its ends."""
        place = (np.arange(self.length) + 0.5) / self.length
        return np.minimum(place, 1 - place).astype(np.float32) + np.float32(0.02)

    def counts(self) -> Floats:
        """(frames of the recording, 3): probabilities that nobody, one and two talk; windows average."""
        sums, total = np.zeros((self.frames, 3), np.float32), np.zeros((self.frames, 1), np.float32)
        weights = self.weights()[:, None]
        for i in range(self.windows):
            classes = self.window(i)
            span = slice(i * self.hop, i * self.hop + self.length)
            parts = [classes[:, :1], classes[:, 1:4].sum(1, keepdims=True), classes[:, 4:].sum(1, keepdims=True)]
            sums[span] += weights * np.concatenate(parts, axis=1)
            total[span] += weights
        return np.asarray(sums / total, dtype=np.float32)

    def spoken(self, threshold: float) -> tuple[Segment, ...]:
        """Where somebody talks more probably than `threshold`: sorted, disjoint."""
        return self.segments(self.counts()[:, 0] < 1 - threshold)

    def segments(self, active: NDArray[np.bool_]) -> tuple[Segment, ...]:
        """The stretches of time of frames that are `active` (frames of the recording,)."""
        edges = np.flatnonzero(np.diff(np.concatenate([[False], active, [False]]))).reshape(-1, 2)
        first = self.lag - self.step / 2  # what lies before the first frame counts to it
        starts = [round_time(first + a * self.step) if a > 0 else 0.0 for a in edges[:, 0].tolist()]
        ends = [round_time(first + b * self.step) for b in edges[:, 1].tolist()]
        return tuple(Segment(a, b) for a, b in zip(starts, ends, strict=True) if a < b)


NO_ACTIVITY = LocalActivity(np.zeros((0, 1, CLASSES), np.float16), hop=1, step=1.0, lag=0.0)  # no segmentation model
