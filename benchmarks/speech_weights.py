"""Learns the weights of `diarize/speech/fusion.py` and measures them by cross-validation.

    python benchmarks/simulate.py made --first-seed 1000
    python -m benchmarks.speech_weights [--data DATA] [--more FOLDER ...] [--segmentation NAME] [--learn]

Each set has the same weight, less if it has under two minutes of speech. Five folds by recording. The figures are
missed and false alarm of the number of speakers at each instant (nobody, one, two), whoever they are, as percentages of
the reference speech, in frames of the segmentation; and of speech alone, after the steps of `diarize/speech/vad.py`.
Without `--learn` the weights of the product are measured, and the detector alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy import SETS, read_uem, references
from diarize.activity import LocalActivity
from diarize.audio import excerpts, reading
from diarize.backends import segmentation_onnx, vad_silero
from diarize.config import SegmentationConfig, VadConfig
from diarize.models.store import Store
from diarize.speech import fusion, vad
from diarize.types import Segment

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
FOLDS = 5
ENOUGH = 120.0  # s of speech of a set with full weight
EVERY = 4  # frames of which one is learnt from
RIDGE = 1e-4
SHIFT = np.log(0.2 / 0.8) - 0.2  # so that the default thresholds, 0.2 and 0.14, lie on both sides of the odds 1 : 1
Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Example:
    """A recording: terms (n, k) of its frames, what the models say, and how many speak (n,)."""

    set: str
    fold: int
    terms: Floats
    own: Floats
    fused: Floats
    talking: NDArray[np.int64]
    scored: Bools
    activity: LocalActivity
    duration: float

    def score(self, speech: Sequence[Segment]) -> NDArray[np.float64]:
        """Frames: missed and false alarm of the count, of speech, and all of speech."""
        times = self.activity.middles(0, len(self.talking))
        two = self.activity.counts()[: len(times), 2] > SegmentationConfig().overlap
        found = (inside(speech, times) * (1 + two))[self.scored]
        true = self.talking[self.scored]
        missed, alarm = np.maximum(true - found, 0).sum(), np.maximum(found - true, 0).sum()
        silent, talk = ((true > 0) & (found == 0)).sum(), ((true == 0) & (found > 0)).sum()
        return np.array([missed, alarm, silent, talk, true.sum()], dtype=np.float64)

    def segments(self, probabilities: Floats) -> tuple[Segment, ...]:
        activity = self.activity
        return vad.segments(probabilities, activity.step, self.duration, VadConfig(), activity.step / 2 - activity.lag)


def inside(segments: Sequence[Segment], times: NDArray[np.float64]) -> NDArray[np.int64]:
    """(n,): 1 where a time is in one of the segments."""
    within = np.zeros(len(times), np.int64)
    for segment in segments:
        a, b = np.searchsorted(times, (segment.start, segment.end))
        within[a:b] = 1
    return within


def examples(folders: Sequence[Path], segmentation: str) -> tuple[list[str], list[Example]]:
    """Names of the terms, and all recordings that have a reference."""
    detect = vad_silero.load(Store().pull("silero-vad-v6"))
    segment = segmentation_onnx.load(path_of(segmentation))
    names: list[str] = []
    result = []
    for folder in folders:
        for number, (path, turns) in enumerate(references(folder)):
            audio = reading.read(path, id=path.stem).audios[0]
            activity = segment(audio)
            own = detect.probabilities(audio, activity.spoken(vad_silero.LIKELY))
            step, lag = vad_silero.FRAME / audio.rate, vad_silero.LAG
            levels = excerpts.frame_levels(audio, activity.step, activity.lag, activity.frames)
            terms = dict(fusion.terms(own, step, lag, levels, activity))
            names = list(terms)
            count = len(terms["own"])
            times = activity.middles(0, count)
            talking = np.zeros(count, np.int64)
            for name in sorted({turn.speaker for turn in turns}):
                talking += inside([turn for turn in turns if turn.speaker == name], times)
            scored = inside(read_uem(path.with_suffix(".uem"), audio.duration), times) > 0
            values = np.stack(list(terms.values()), axis=1)
            fused = fusion.fuse(own, step, lag, levels, activity)
            result.append(
                Example(folder.name, number % FOLDS, values, own, fused, talking, scored, activity, audio.duration)
            )
    return names, result


def path_of(segmentation: str) -> Path:
    return Path(segmentation) if Path(segmentation).suffix else Store().pull(segmentation)


def learn(parts: Sequence[Example]) -> tuple[Floats, float]:
    """(k,) weights and the constant: logistic regression by Newton's method."""
    seconds = {part.set: 0.0 for part in parts}
    for part in parts:
        seconds[part.set] += float(part.talking[part.scored].sum()) * part.activity.step
    rows = np.concatenate([part.terms[part.scored][::EVERY] for part in parts])
    speech = np.concatenate([part.talking[part.scored][::EVERY] > 0 for part in parts]).astype(np.float32)
    weights = np.concatenate(
        [
            np.full(len(part.talking[part.scored][::EVERY]), min(1.0, seconds[part.set] / ENOUGH) / seconds[part.set])
            for part in parts
        ]
    ).astype(np.float32)
    weights /= weights.sum()
    mean, deviation = rows.mean(0), rows.std(0)
    scaled = np.concatenate([(rows - mean) / deviation, np.ones((len(rows), 1))], axis=1).astype(np.float32)
    ridge = np.full(scaled.shape[1], RIDGE)
    ridge[-1] = 0.0
    w = np.zeros(scaled.shape[1])
    for _ in range(8):
        p = 1 / (1 + np.exp(-np.clip(scaled @ w.astype(np.float32), -30, 30)))
        hessian = (scaled.T * (weights * p * (1 - p))) @ scaled + np.diag(ridge)
        w += np.linalg.solve(hessian.astype(np.float64), scaled.T @ (weights * (speech - p)) - ridge * w)
    slopes = w[:-1] / deviation
    return slopes.astype(np.float32), float(w[-1] - slopes @ mean + SHIFT)


def report(name: str, parts: Sequence[Example], speech: Sequence[Sequence[Segment]]) -> None:
    print(name)
    for set_ in dict.fromkeys(part.set for part in parts):
        sums = np.sum([part.score(s) for part, s in zip(parts, speech, strict=True) if part.set == set_], axis=0)
        missed, alarm, silent, talk = (100 * sums[:4] / sums[4]).tolist()
        print(f"  {set_:<14} {missed:5.1f} + {alarm:4.1f} = {missed + alarm:5.2f}   ", end="")
        print(f"speech {silent:5.1f} + {talk:4.1f} = {silent + talk:5.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--more", type=Path, nargs="*", default=[])
    parser.add_argument("--segmentation", default="community-1-segmentation")
    parser.add_argument("--learn", action="store_true")
    options = parser.parse_args()
    names, parts = examples([options.data / name for name in SETS] + options.more, options.segmentation)
    step = vad_silero.FRAME / 16_000
    alone = [vad.segments(p.own, step, p.duration, VadConfig(), vad_silero.LAG) for p in parts]
    report("the detector alone", parts, alone)
    report("the weights of the product", parts, [part.segments(part.fused) for part in parts])
    if not options.learn:
        return
    speech: list[tuple[Segment, ...]] = [()] * len(parts)
    for fold in range(FOLDS):
        slopes, constant = learn([part for part in parts if part.fold != fold])
        for i, part in enumerate(parts):
            if part.fold == fold:
                odds = part.terms @ slopes + np.float32(constant)
                denied = part.fused == 0
                speech[i] = part.segments(np.where(denied, 0, 1 / (1 + np.exp(-np.clip(odds, -30, 30)))))
    report("cross-validated", parts, speech)
    slopes, constant = learn(parts)
    for name, weight in zip(["constant", *names], [constant, *slopes.tolist()], strict=True):
        print(f'    "{name}": {weight:.3f},')


if __name__ == "__main__":
    main()
