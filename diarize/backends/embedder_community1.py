"""Speaker embeddings of pyannote community-1, whose network runs once over a recording (docs/method/embeddings.md).

The model is WeSpeaker's ResNet34 (H. Wang et al., "Wespeaker: a research and production oriented speaker embedding
learning toolkit", ICASSP 2023, arXiv:2210.17016), published with pyannote/speaker-diarization-community-1 (CC-BY-4.0).
Its convolutions turn filter banks into frames of 2560 values every 80 ms; a vector is a linear layer over the mean and
the standard deviation of the frames of a segment, weighted if somebody else speaks in some of them. So the
convolutions, nearly all of the work, do not depend on the segments: overlapping windows cost little.

They run in chunks of 40 s that overlap by twice `MARGIN`. A frame is taken from the chunk in which it lies farther from
both ends. Chunks lie on one grid for the whole recording, so the result does not depend on the number of threads. The
mean of the filter banks slides over the recording, so the frames at the seam of two chunks do not depend on the chunk.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, floor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarize import progress
from diarize.activity import NO_ACTIVITY, LocalActivity
from diarize.backends import onnx_sessions, pooling
from diarize.backends.features import sliding_mean
from diarize.backends.features.front_ends import Features
from diarize.backends.graphs import ort_format, quantisation
from diarize.errors import ModelRefused
from diarize.files import sha256
from diarize.types import Audio, Embeddings, Segment, Vectors
from diarize.units import RATE

Floats = NDArray[np.float32]

STRIDE = 8  # filter banks a frame of the network
STEP = STRIDE * sliding_mean.SHIFT / RATE  # s between two frames, 0.08
CHUNK = 500  # frames of a chunk, 40 s; with 10 s, a fifth more frames are computed twice
MARGIN = 13  # frames at both ends of a chunk that another chunk has too
HOP = CHUNK - 2 * MARGIN
LEAST = 2 * STRIDE  # filter banks that the network needs at least
OVERLAP_WEIGHT = 1.5  # by which a frame loses weight where two speakers talk, times the probability of that
LEAST_WEIGHT = 0.02  # of a frame; it counts if all frames of a segment are overlapped
EPSILON = 1e-8  # of the divisions in the network's own pooling
RANGES = Path(__file__).with_name("community1.ranges.json")  # of the network's values; benchmarks/activation_ranges.py
FRAMES, WEIGHT, BIAS = "/resnet/pool/Reshape_output_0", "resnet.seg_1.weight_add_tensor", "resnet.seg_1.bias"


@dataclass(slots=True)
class _Sums:
    """Of the frames of a segment so far: weights, squared weights, and weighted values and squared values (2560,)."""

    weights: float = 0.0
    squared_weights: float = 0.0
    values: NDArray[np.float64] | float = 0.0
    squares: NDArray[np.float64] | float = 0.0

    def add(self, other: _Sums) -> None:
        self.weights += other.weights
        self.squared_weights += other.squared_weights
        self.values = self.values + other.values
        self.squares = self.squares + other.squares


class Community1:
    """An `Embedder`. A segment of any length has one vector, of all its frames."""

    def __init__(self, session: Any, weight: Floats, bias: Floats, name: str, threads: int) -> None:
        """`weight` (256, 5120) and `bias` (256,): the linear layer."""
        self._session, self._weight, self._bias, self._threads = session, weight, bias, threads
        self._name = name
        self._features = Features(mean_normalised=False)

    @property
    def name(self) -> str:
        device = ",cuda" if onnx_sessions.on_cuda(self._session) else ""
        mean = sliding_mean.RADIUS
        return f"{self._name}(chunk={CHUNK},margin={MARGIN},mean={mean},overlap={OVERLAP_WEIGHT}{device})"

    @property
    def notes(self) -> tuple[str, ...]:
        return onnx_sessions.notes(self._session)

    def __call__(self, audio: Audio, segments: Sequence[Segment], activity: LocalActivity = NO_ACTIVITY) -> Embeddings:
        """Frames in which two speakers of `activity` talk count less. Raises AudioError if the rate is not 16 kHz."""
        return Embeddings(tuple(segments), self._pool(audio, segments, activity, ()), self.name)

    def embed_with_whole(self, audio: Audio, segments: Sequence[Segment], whole: Sequence[Segment]) -> Embeddings:
        """As a call with `segments`, and one more row, the last: the vector of all frames of `whole` together.

        `whole`: sorted and disjoint, at least one; the segment of its row reaches from its start to its end. Raises
        AudioError if the rate is not 16 kHz, ValueError if `whole` is empty.
        """
        if not whole:
            raise ValueError("no segment to embed")
        rows = self._pool(audio, segments, NO_ACTIVITY, whole)
        return Embeddings((*segments, Segment(whole[0].start, whole[-1].end)), rows, self.name)

    def _pool(
        self, audio: Audio, segments: Sequence[Segment], activity: LocalActivity, whole: Sequence[Segment]
    ) -> Vectors:
        """Unit rows: one a segment, and one more for all parts of `whole` together, if there are any."""
        onnx_sessions.check_rate(audio, RATE, "community-1")
        total = _count_frames(len(audio.samples))
        weights = _frame_weights(activity, total)
        count, segments = len(segments), [*segments, *whole]
        spans = [_frames_of(segment, total) for segment in segments]
        order = sorted(range(len(spans)), key=lambda i: spans[i])
        covered = _covered(total, spans)
        chunks = _chunks(covered)
        rows = np.zeros((count + bool(whole), len(self._bias)), np.float32)
        open_sums: dict[int, _Sums] = {}
        together = _Sums()
        waiting = order[::-1]  # the last one is the next
        inputs = sliding_mean.stream(audio.samples, self._features, covered, _inputs(chunks, total), STRIDE)
        results = onnx_sessions.map_in_order(self._frames, inputs, self._threads, audio.samples)
        results = progress.reported(results, range(1, len(chunks) + 1))
        for (first, last), frames in zip(chunks, results, strict=True):
            while waiting and spans[waiting[-1]][0] < last:
                open_sums[waiting.pop()] = _Sums()
            start = max(0, first - MARGIN)
            _add(open_sums, segments, spans, weights, first, frames[first - start : last - start])
            complete = [i for i in open_sums if spans[i][1] <= last]
            for i in [i for i in complete if i >= count]:
                together.add(open_sums.pop(i))
            if complete := [i for i in complete if i < count]:
                rows[complete] = self._vectors([open_sums.pop(i) for i in complete])
        if whole:
            rows[count] = self._vectors([together])[0]
        return pooling.pool(rows, range(len(rows)), len(rows))

    def _frames(self, banks: Floats) -> Floats:
        """(n, 2560) frames of the network for filter banks (at most n * STRIDE, 80)."""
        if len(banks) < LEAST:
            banks = np.pad(banks, ((0, LEAST - len(banks)), (0, 0)))
        return np.ascontiguousarray(self._session.run(None, {"fbank": banks[None]})[0][0].T)

    def _vectors(self, sums: Sequence[_Sums]) -> Floats:
        """(n, 256) of n segments: the pooling of `TSTP` in WeSpeaker, with the weights of pyannote's `StatsPool`."""
        weights = np.array([s.weights for s in sums])[:, None] + EPSILON
        freedom = weights - np.array([s.squared_weights for s in sums])[:, None] / weights + EPSILON
        mean = np.stack([s.values for s in sums]) / weights
        variance = (np.stack([s.squares for s in sums]) - weights * mean**2) / freedom
        statistics = np.concatenate([mean, np.sqrt(np.maximum(variance, 0))], axis=1).astype(np.float32)
        return np.asarray(statistics @ self._weight.T + self._bias, dtype=np.float32)


def load(model: Path, precision: str = "int8", batch: int = 16, device: str = "cpu", threads: int = 0) -> Community1:
    """The embedder whose network is the file `model` in ORT format.

    `precision`: int8 or float. `batch` is not used: a chunk is computed at once. Raises ModelRefused if the file is
    another model, BackendError for a device that cannot be used.
    """
    import onnx

    source = ort_format.load(model)
    trunk = ort_format.extract(source, str(model), [FRAMES])
    weight, bias = _linear(source, model)
    if precision == "int8":
        trunk = quantisation.quantise(onnx.load_from_string(trunk), quantisation.read_ranges(RANGES), str(model))
    session = onnx_sessions.open_session(trunk, device, "community-1")
    with onnx_sessions.refuse_other_models(model, "it is not the embedding of community-1"):
        shape = session.run(None, {"fbank": np.zeros((1, LEAST, 80), np.float32)})[0].shape
    if shape != (1, weight.shape[1] // 2, LEAST // STRIDE):
        raise ModelRefused(str(model), f"it is not the embedding of community-1: its frames are {shape}")
    name = f"community-1@{sha256(model)[:16]}"
    return Community1(session, weight, bias, f"{name}-{precision}", onnx_sessions.count_threads(threads))


def _linear(model: Any, path: Path) -> tuple[Floats, Floats]:
    """Weight (256, 5120) and bias (256,) of the last layer."""
    from onnx import numpy_helper

    (weight,) = onnx_sessions.open_session(ort_format.extract(model, str(path), [WEIGHT])).run(None, {})
    bias = next((tensor for tensor in model.graph.initializer if tensor.name == BIAS), None)
    if bias is None:
        raise ModelRefused(str(path), f"it has no weights called {BIAS!r}")
    return weight, numpy_helper.to_array(bias)


def _count_frames(samples: int) -> int:
    """Frames of the network over so many samples; one at least."""
    banks = max(1, (samples - sliding_mean.LENGTH) // sliding_mean.SHIFT + 1)
    return -(-banks // STRIDE)


def _frames_of(segment: Segment, total: int) -> tuple[int, int]:
    """First frame of a segment, and the one after its last; there is one at least."""
    first = min(floor(segment.start / STEP + 1e-6), total - 1)
    return first, max(first + 1, min(ceil(segment.end / STEP - 1e-6), total))


def _chunks(covered: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """The frames (first, last) that each chunk gives, of those chunks that hold any `covered` frame."""
    total = len(covered)
    count = max(1, ceil((total - CHUNK) / HOP) + 1)
    edges = [0, *(i * HOP + MARGIN for i in range(1, count)), total]
    return [(a, b) for a, b in pairwise(edges) if covered[a:b].any()]


def _inputs(chunks: Sequence[tuple[int, int]], total: int) -> list[tuple[int, int]]:
    """The frames (first, end) that the network sees in each chunk."""
    starts = [max(0, first - MARGIN) for first, _ in chunks]
    return [(start, min(total, start + CHUNK)) for start in starts]


def _covered(total: int, spans: Sequence[tuple[int, int]]) -> NDArray[np.bool_]:
    """(total,): whether any of `spans` holds a frame."""
    changes = np.zeros(total + 1, np.int64)
    for first, last in spans:
        changes[first] += 1
        changes[last] -= 1
    return np.asarray(np.cumsum(changes)[:-1] > 0, dtype=np.bool_)


def _frame_weights(activity: LocalActivity, total: int) -> Floats:
    """(total,): the weight of each frame, less where two speakers talk."""
    weights = np.ones(total, np.float32)
    if not activity.windows:
        return weights
    frame = (activity.middles(0, activity.frames) / STEP).astype(np.int64)
    inside = frame < total
    summed = np.bincount(frame[inside], activity.counts()[inside, 2], total)
    counts = np.bincount(frame[inside], minlength=total)
    known = np.flatnonzero(counts)
    if not len(known):
        return weights
    # Frames of an activity may be longer than those here: then some of these hold none of them.
    two = np.interp(np.arange(total), known, summed[known] / counts[known], right=0)
    return np.asarray(np.maximum(1 - OVERLAP_WEIGHT * two, LEAST_WEIGHT), dtype=np.float32)


def _add(
    open_sums: Mapping[int, _Sums],
    segments: Sequence[Segment],
    spans: Sequence[tuple[int, int]],
    weights: Floats,
    first: int,
    frames: Floats,
) -> None:
    """Add `frames` (m, 2560), of which `first` is the first, to the sums of the segments in which they lie."""
    positions = np.arange(first, first + len(frames))
    owners = list(open_sums)
    shares = np.zeros((len(owners), len(frames)), np.float32)
    for row, i in enumerate(owners):
        # A frame on the edge of a segment counts by the part of it that lies in it; the only frame counts whole.
        start, end = segments[i].start / STEP, segments[i].end / STEP
        part = np.clip(np.minimum(end, positions + 1) - np.maximum(start, positions), 0, 1)
        if spans[i][1] - spans[i][0] == 1:
            part = (positions == spans[i][0]).astype(np.float64)
        shares[row] = part * weights[first : first + len(frames)]
    values, squares = shares @ frames, shares @ np.square(frames)
    for row, i in enumerate(owners):
        sums = open_sums[i]
        sums.weights += float(shares[row].sum(dtype=np.float64))
        sums.squared_weights += float(np.square(shares[row], dtype=np.float64).sum())
        sums.values = sums.values + values[row].astype(np.float64)
        sums.squares = sums.squares + squares[row].astype(np.float64)
