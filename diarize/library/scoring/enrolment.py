"""Measures and checks of an utterance that is to be enrolled, on arrays (docs/method/enrolment.md)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diarize.clustering import similarity
from diarize.library.scoring.calibration import Calibration
from diarize.timeline import gaps, total, union
from diarize.types import Audio, Labels, Segment, Turn, Vectors
from diarize.units import round_time, to_samples

Floats = NDArray[np.float64]
Compare = Callable[[Vectors, Floats, Vectors, Floats], Floats]  # rows, seconds, rows, seconds -> similarity (n,)

ONE_VOICE_RATIO = 0.7  # ratio (clustering/similarity.py) from which two halves are one voice, for unknown embedders

BEYOND = 60.0  # dB, bound of the SNR: digital silence has none
_FRAME = 320  # samples (20 ms at 16 kHz) of one value of energy
_GUARD = 0.1  # s around speech that count as neither speech nor noise
_NOISE = 0.3  # s without speech that are enough to measure noise
_FLOOR = 0.1  # share of the frames, the quietest, that are taken as noise if everything is speech
_PEAK = 0.995  # quantile of the level: a resampler overshoots clipped peaks, so the maximum says little
_NEAR_PEAK = 0.9
_BESIDE = 0.5  # weight of a window's neighbours in time when it is assigned to a voice
_SOME = 1000  # windows among which the two least similar are looked for
_ROUNDS = 10  # of assigning each window to the nearer voice; nearly all converge within three

_COLLAR = 0.25  # s around the turn of another speaker that are not used: turns are not exact
_PAUSE = 1.0  # s of silence within one stretch of a speaker
_LONGEST = 30.0  # s of one stretch
_STRETCH = 2.0  # s; a shorter one seldom has enough speech
_ENOUGH = 60.0  # s of stretches of one recording: five times what makes an enrolment complete


def snr(audio: Audio, speech: Sequence[Segment]) -> float:
    """Signal-to-noise ratio in dB: 10 log10((P_speech - P_noise) / P_noise), at most `BEYOND` either way.

    P_speech is the mean power of the frames within the `speech`; P_noise the median of those more than 0.1 s away from
    it, as speech that was not detected must not count as noise. If less than 0.3 s remains, the quietest tenth of all
    frames is taken as noise (the idea of minimum statistics: Martin 2001, "Noise power spectral density estimation
    based on optimal smoothing and minimum statistics"). Raises ValueError where there is no speech.
    """
    if not speech:
        raise ValueError("there is no speech to measure")
    energy = _energies(audio.samples)
    if not len(energy):
        raise ValueError(f"{audio.id}: is shorter than a frame")
    loud = float(energy[_frames(speech, len(energy), audio.rate)].mean())
    near = union(Segment(max(0.0, s.start - _GUARD), s.end + _GUARD) for s in speech)
    free = gaps(near, audio.duration)
    if total(free) >= _NOISE:
        noise = float(np.median(energy[_frames(free, len(energy), audio.rate)]))
    else:
        noise = float(np.sort(energy)[: max(1, round(_FLOOR * len(energy)))].mean())
    least = 10 ** (-BEYOND / 10)
    ratio = max(loud - noise, 0.0) / max(noise, 1e-12)
    return float(10 * np.log10(np.clip(ratio, least, 1 / least)))


def clipped(audio: Audio, speech: Sequence[Segment]) -> float:
    """Share of the samples of the `speech` at its peak: above 0.9 times the level that half a per cent of them exceed.

    Speech that was not clipped has about 0.9 %, at most 1.7 %. Speech of which 2 % of the samples were clipped has at
    least 2.4 %, whatever was done to level and sampling rate afterwards.
    """
    level = np.abs(np.concatenate([np.zeros(0, np.float32), *(_piece(audio, segment) for segment in speech)]))
    if not level.any():
        return 0.0
    return float((level >= _NEAR_PEAK * np.quantile(level, _PEAK)).mean())


@dataclass(frozen=True, slots=True, eq=False)
class Halves:
    """An utterance's windows as two voices: `labels` (n,) are 1 for the voice with fewer windows."""

    labels: Labels
    similarity: float  # of the two voices
    threshold: float  # similarity from which they are one voice

    @property
    def one_voice(self) -> bool:
        return self.similarity >= self.threshold


def halves(vectors: Vectors, calibration: Calibration | None) -> Halves | None:
    """Windows (n, d), in order of time, as two voices; None where there are too few windows.

    `calibration`: that of the embedder; its `one_voice` is the threshold of the mean score between the windows of the
    two. Without one, their ratio of correlations across and within is compared. K-means on the sphere from three starts
    (the best change of speaker, the two least similar windows, the first principal component), in which the neighbours
    in time of a window have half its weight.
    """
    if len(vectors) < 2:
        return None
    threshold = None if calibration is None else calibration.one_voice
    rows = similarity.centre(vectors)
    if calibration is not None and threshold is not None:
        rows = calibration.scorer().transform(vectors)
    results = [similarity.reassign(rows, start, _BESIDE, keep_all=False, rounds=_ROUNDS) for start in _starts(rows)]
    labels = max(results, key=lambda labels: _tightness(rows, labels))
    if labels.min() == labels.max():
        return None
    if labels.sum() * 2 > len(labels) or (labels.sum() * 2 == len(labels) and labels[0] == 1):
        labels = 1 - labels
    if threshold is not None:
        score = float(rows[labels == 0].mean(axis=0) @ rows[labels == 1].mean(axis=0))  # the mean of all products
        return Halves(labels, score, threshold)
    return Halves(labels, float(similarity.ratios(rows, labels)[0, 1]), ONE_VOICE_RATIO)


def agreement(vectors: Vectors, seconds: Floats, compare: Compare) -> Floats:
    """Similarity (n,) of each utterance (n, d) and the mean of all others, weighted by `seconds` (n,).

    Raises ValueError for fewer than two utterances.
    """
    if len(vectors) < 2:
        raise ValueError("agreement needs two utterances")
    weighted = vectors.astype(np.float64) * seconds[:, None]
    others = weighted.sum(axis=0) - weighted
    others = others / np.maximum(np.linalg.norm(others, axis=1, keepdims=True), 1e-9)
    return compare(vectors, seconds, others.astype(np.float32), seconds.sum() - seconds)


def outliers(vectors: Vectors, seconds: Floats, known: int, compare: Compare, least: float) -> dict[int, float]:
    """The new utterances that are not of the same person as the others, each with its agreement.

    The first `known` are enrolled already, and stay. New ones are first compared with the voice of those alone, as
    several new ones of another person would agree with each other; then the one that agrees least is removed, until
    all agree. If just two new ones are left and disagree, both are removed: either may be wrong.
    """
    removed = dict[int, float]()
    if 0 < known < len(vectors):
        voice = (vectors[:known].astype(np.float64) * seconds[:known, None]).sum(axis=0)
        voice = (voice / max(float(np.linalg.norm(voice)), 1e-9)).astype(np.float32)
        enrolled = np.full(len(vectors) - known, seconds[:known].sum())
        values = compare(vectors[known:], seconds[known:], np.tile(voice, (len(enrolled), 1)), enrolled)
        removed = {known + i: value for i, value in enumerate(values.tolist()) if value < least}
    rest = [i for i in range(len(vectors)) if i not in removed]
    while len(rest) > 1:
        values = agreement(vectors[rest], seconds[rest], compare)
        doubtful = [(value, i) for value, i in zip(values.tolist(), rest, strict=True) if i >= known and value < least]
        if not doubtful:
            break
        removed |= {i: value for value, i in (doubtful if len(rest) == 2 else [min(doubtful)])}
        rest = [i for i in rest if i not in removed]
    return removed


def alone(turns: Sequence[Turn], speaker: str) -> tuple[Segment, ...]:
    """Where only `speaker` talks: the longest stretches of 2 to 30 s, about 60 s in all, in order of time.

    A quarter of a second around the turns of others is left out.
    """
    others = union(
        Segment(max(0.0, turn.start - _COLLAR), turn.end + _COLLAR) for turn in turns if turn.speaker != speaker
    )
    own = [turn for turn in turns if turn.speaker == speaker]
    end = max((turn.end for turn in turns), default=0.0)
    free = gaps(others, end)
    stretches = [
        Segment(round_time(max(a.start, b.start)), round_time(min(a.end, b.end)))
        for b in free
        for a in union(own, _PAUSE)
        if min(a.end, b.end) - max(a.start, b.start) >= _STRETCH
    ]
    cut = [Segment(s.start, min(s.end, round_time(s.start + _LONGEST))) for s in stretches]
    longest: list[Segment] = []
    for stretch in sorted(cut, key=lambda s: (-s.duration, s.start)):
        if total(longest) >= _ENOUGH:
            break
        longest.append(stretch)
    return tuple(sorted(longest))


def _energies(samples: NDArray[np.float32]) -> Floats:
    count = len(samples) // _FRAME
    frames = samples[: count * _FRAME].reshape(count, _FRAME)
    return np.asarray(np.square(frames, dtype=np.float64).mean(axis=1), np.float64)


def _frames(segments: Sequence[Segment], count: int, rate: int) -> NDArray[np.bool_]:
    inside = np.zeros(count, dtype=np.bool_)
    for segment in segments:
        first = to_samples(segment.start, rate) // _FRAME
        inside[min(first, count - 1) : max(first + 1, to_samples(segment.end, rate) // _FRAME)] = True
    return inside


def _piece(audio: Audio, segment: Segment) -> NDArray[np.float32]:
    return audio.samples[to_samples(segment.start, audio.rate) : to_samples(segment.end, audio.rate)]


def _starts(rows: Floats) -> tuple[Labels, Labels, Labels]:
    n = len(rows)
    before = np.cumsum(rows, axis=0)[:-1]
    after = rows.sum(axis=0) - before
    change = int((np.linalg.norm(before, axis=1) + np.linalg.norm(after, axis=1)).argmax()) + 1
    some = rows[np.unique(np.linspace(0, n - 1, _SOME).astype(np.int64))]
    products = some @ some.T
    i, j = np.unravel_index(products.argmin(), products.shape)
    centred = rows - rows.mean(axis=0)
    main = np.linalg.svd(centred, full_matrices=False)[2][0]
    return (
        (np.arange(n) >= change).astype(np.int64),
        (rows @ some[j] > rows @ some[i]).astype(np.int64),
        (centred @ main > 0).astype(np.int64),
    )


def _tightness(rows: Floats, labels: Labels) -> float:
    """The sum of the windows' inner products with the direction of their voice; -1 where there is one voice."""
    if labels.min() == labels.max():
        return -1.0
    return sum(float(np.linalg.norm(rows[labels == k].sum(axis=0))) for k in (0, 1))
