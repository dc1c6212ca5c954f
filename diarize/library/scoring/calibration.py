"""Scores -> log-likelihood ratios, within the range of the data that they were fitted on (docs/method/scores.md).

    q   = 1/a + 1/b                   a, b: seconds of speech on either side; the variance of a mean goes with 1/a
    LLR = w0 + w1 score + w2 q        natural logarithm, cut at the bounds

Where a whole recording is compared with voices that were enrolled elsewhere, w3 d^2 is added: d is how far the voices
of the recording lie, on average, from the cohort's mean along the directions of channels (`drift`).

The weights are those of a logistic regression in which both kinds of trials count the same (Brümmer and du Preez 2006;
duration as a quality measure after Mandasari et al. 2013, "Quality measure functions for calibration of speaker
recognition systems in various duration conditions"). A calibration holds for one embedder, one way of scoring, and the
range of durations and bandwidths of its data; `refusal` says why it does not hold for a comparison.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import MISSING, asdict, dataclass, fields, replace
from functools import cache
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diarize import files
from diarize.errors import CalibrationError, FormatError
from diarize.library.scoring.conditions import Condition, lines_of
from diarize.library.scoring.scores import COSINE, EUCLIDEAN, SHARE, Centred, Cosine, Scorer
from diarize.metrics import verification
from diarize.text import counted
from diarize.types import Vectors

Floats = NDArray[np.float64]

SCHEMA = "diarize-calibration/1"
SHIPPED = {  # kind of embedder, as its identity begins -> the calibration that comes with this project
    name: Path(__file__).with_name(f"{name}.calibration.json") for name in ("community-1", "ge2e")
}
_RIDGE = 1e-6  # keeps weights finite where the trials are perfectly separated
_SLACK = 1.02  # of the least speech: another decoder changes the speech of a recording a little
_BAND = 250.0  # Hz, one step of the measured bandwidth: as much as the slope of a resampler
FOLDS = 5


@dataclass(frozen=True, slots=True)
class Side:
    """The speech of one vector."""

    seconds: float  # of speech
    bandwidth: float | None  # Hz; None: not measured


@dataclass(frozen=True, slots=True, eq=False)
class Trials:
    """Scored trials with known truth; all of the same length n."""

    scores: Floats
    same: NDArray[np.bool_]  # one speaker on both sides
    speakers: tuple[tuple[str, str], ...]
    sides: tuple[tuple[Side, Side], ...]

    def __post_init__(self) -> None:
        if not len(self.scores) == len(self.same) == len(self.speakers) == len(self.sides):
            raise ValueError("scores, truth, speakers and sides of trials must be of one length")


@dataclass(frozen=True, slots=True)
class Calibration:
    """How scores of one embedder become log-likelihood ratios."""

    model: str  # identity of the embedder
    kind: str  # identity of the way of scoring
    mean: tuple[float, ...]  # (d,) of `Centred`; () for another way of scoring
    channels: tuple[tuple[float, ...], ...]  # (r, d) of `Centred`
    weights: tuple[float, float, float]  # of 1, score, q
    channel: float  # w3, of d^2; 0.0 where no channels were learned
    seconds: tuple[float, float]  # s, range of speech on either side that it was fitted on
    bandwidth: tuple[float, float]  # Hz, range
    bounds: tuple[float, float]  # lowest and highest LLR that the data support
    trials: tuple[int, int]  # of one speaker, of two
    speakers: int
    data: str  # what it was fitted on, in words
    share: float = SHARE  # of the mean that `Centred` takes off
    one_voice: float | None = (
        None  # score of two parts of an utterance from which they are one voice; None: not measured
    )
    conditions: tuple[Condition, ...] = ()  # in which two recordings are compared with other weights

    def __post_init__(self) -> None:
        numbers = [*self.weights, self.channel, *self.seconds, *self.bandwidth, *self.bounds, self.share]
        numbers += [] if self.one_voice is None else [self.one_voice]
        if not all(isfinite(number) for number in numbers):
            raise ValueError(f"a calibration is made of finite numbers, got {numbers}")
        if not (0 < self.seconds[0] <= self.seconds[1] and 0 < self.bandwidth[0] <= self.bandwidth[1]):
            raise ValueError(f"ranges begin above 0 and rise, got {self.seconds} s, {self.bandwidth} Hz")
        if not self.bounds[0] <= 0 <= self.bounds[1]:
            raise ValueError(f"bounds lie around 0, got {self.bounds}")
        if self.weights[1] <= 0:
            raise ValueError(f"a higher score must not speak against one speaker, weights {self.weights}")
        if self.mean and self.kind != self._centred().kind:
            raise ValueError("the way of scoring is not the one that it was fitted with")

    def scorer(self) -> Centred | Cosine:
        """The way of scoring that it was fitted with. Raises CalibrationError where that needs the user's cohort."""
        if self.mean:
            return self._centred()
        if self.kind == EUCLIDEAN:
            problem = "the calibration is for distances, and libraries are searched by cosines"
            raise CalibrationError(problem, "Use verify, compare or score-trials with it.")
        if self.kind != COSINE:
            raise CalibrationError(
                f"the calibration is for scores of the kind {self.kind!r}", "Give the same cohort again."
            )
        return Cosine()

    def _centred(self) -> Centred:
        return Centred(np.array(self.mean), np.array(self.channels).reshape(-1, len(self.mean)), self.share)

    def check_scores(self, model: str, kind: str) -> None:
        """Raises CalibrationError where scores are of another embedder, or of another kind."""
        cure = "Make a calibration for these scores: diarize calibrate."
        if model != self.model:
            raise CalibrationError(f"the calibration is for scores of {self.model}, not of {model}", cure)
        if kind != self.kind:
            raise CalibrationError(f"the calibration is for scores of the kind {self.kind!r}, not {kind!r}", cure)

    def for_sides(self, a: Side, b: Side) -> Calibration:
        """The calibration for two recordings with these bandwidths: that of their condition, or else this one.

        Voices of a library are compared with this one, whatever their bandwidth: `drift` is what adapts it.
        """
        lines = lines_of(a.bandwidth, b.bandwidth)
        for condition in self.conditions:
            if condition.lines == lines:
                return self._under(condition)
        return self

    def _under(self, condition: Condition) -> Calibration:
        return replace(
            self,
            weights=condition.weights,
            seconds=condition.seconds,
            bandwidth=condition.bandwidth,
            bounds=condition.bounds,
            trials=condition.trials,
            speakers=condition.speakers,
            conditions=(),
        )

    def refusal(self, a: Side, b: Side) -> str | None:
        """Why the calibration does not hold for a comparison of these two; None where it does.

        More speech than the longest that it was fitted on counts as that much.
        """
        low, high = self.bands
        for side in (a, b):
            if side.seconds < self.seconds[0] / _SLACK:
                return f"{side.seconds:.2f} s of speech; calibrated from {self.seconds[0]:.2f} s on"
            if side.bandwidth is not None and not low <= side.bandwidth <= high:
                return f"sound up to {side.bandwidth:.0f} Hz; calibrated for {low:.0f} to {high:.0f} Hz"
        return None

    @property
    def bands(self) -> tuple[float, float]:
        """Range of measured bandwidths (Hz) for which it holds: that of its data, and one step of the measure more.

        No more is allowed: of speech up to 3.4 kHz, Cllr was up to 3.8 times its minimum, without `conditions`.
        """
        return self.bandwidth[0] - _BAND, self.bandwidth[1] + _BAND

    @property
    def widest_bands(self) -> tuple[float, float]:
        """As `bands`, in any of its conditions."""
        every = [self.bands, *(self._under(condition).bands for condition in self.conditions)]
        return min(low for low, _ in every), max(high for _, high in every)

    def drift(self, vectors: Vectors) -> float:
        """d, for the voices (k, d) of one recording: 0 for a recording through the channel of the cohort."""
        if not self.channels:
            return 0.0
        mean = vectors.astype(np.float64).mean(axis=0) - np.array(self.mean)
        return float(np.linalg.norm(np.array(self.channels) @ mean))

    def llr(self, scores: ArrayLike, a: ArrayLike, b: ArrayLike, drift: float = 0.0) -> Floats:
        """Log-likelihood ratios of scores (...), with `a` and `b` seconds of speech; cut at the bounds.

        `drift` is that of the recording if its voices are compared with enrolled ones; 0 for two files. Ask `refusal`
        first. Raises ValueError for seconds that are not above 0.
        """
        return np.clip(self.unbounded(scores, a, b) + self.channel * drift**2, *self.bounds)

    def ratios(
        self, scores: Floats, left: Sequence[Side], right: Sequence[Side]
    ) -> tuple[Floats, tuple[str | None, ...]]:
        """(LLRs (n,), refusals (n,)) of pairs of recordings, each in its condition; NaN where it is refused."""
        rows: dict[tuple[str, str] | None, list[int]] = {}
        for i, (a, b) in enumerate(zip(left, right, strict=True)):
            rows.setdefault(lines_of(a.bandwidth, b.bandwidth), []).append(i)
        llr = np.full(len(scores), np.nan)
        refusals: list[str | None] = [None] * len(scores)
        for own in rows.values():
            calibration = self.for_sides(left[own[0]], right[own[0]])
            seconds = [left[i].seconds for i in own], [right[i].seconds for i in own]
            llr[own] = calibration.llr(scores[own], *seconds)
            for i in own:
                refusals[i] = calibration.refusal(left[i], right[i])
        llr[[reason is not None for reason in refusals]] = np.nan
        return llr, tuple(refusals)

    def unbounded(self, scores: ArrayLike, a: ArrayLike, b: ArrayLike) -> Floats:
        """What `llr` would be without bounds."""
        longest = self.seconds[1]
        features = _features(scores, np.minimum(a, longest), np.minimum(b, longest))
        return np.asarray(features @ np.array(self.weights), np.float64)

    def as_json(self) -> str:
        """The content of its file, which `parse` reads."""
        return json.dumps({"schema": SCHEMA, **asdict(self)}, indent=1) + "\n"

    def save(self, path: Path) -> None:
        """Write it as JSON. Raises OutputError."""
        files.write(path, self.as_json())


def fit(trials: Trials, model: str, scorer: Scorer, data: str, channel: float = 0.0) -> Calibration:
    """A calibration for scores of `scorer` like these; `channel` is its w3.

    Raises CalibrationError where they are too few, or do not separate speakers.
    """
    counts = int(trials.same.sum()), int((~trials.same).sum())
    if min(counts) < 10 or len({name for pair in trials.speakers for name in pair}) < 5:
        raise CalibrationError(
            f"{counted(counts[0], 'trial')} of one speaker and {counts[1]} of two are too few",
            "Give at least ten of each, of at least five speakers.",
        )
    a, b = (np.array([pair[i].seconds for pair in trials.sides]) for i in (0, 1))
    weights = regression(_features(trials.scores, a, b), trials.same)
    ratios = _features(trials.scores, a, b) @ weights
    sides = [side for pair in trials.sides for side in pair]
    seconds = [side.seconds for side in sides]
    bandwidths = [side.bandwidth for side in sides if side.bandwidth is not None]
    pairs = {frozenset(pair) for pair, same in zip(trials.speakers, trials.same, strict=True) if not same}
    try:
        return Calibration(
            model=model,
            kind=scorer.kind,
            mean=tuple(scorer.mean.tolist()) if isinstance(scorer, Centred) else (),
            channels=tuple(map(tuple, scorer.channels.tolist())) if isinstance(scorer, Centred) else (),
            weights=(round(float(weights[0]), 6), round(float(weights[1]), 6), round(float(weights[2]), 6)),
            channel=round(channel, 4),
            seconds=(round(min(seconds), 3), round(max(seconds), 3)),
            bandwidth=(min(bandwidths), max(bandwidths)),
            bounds=supported(ratios[trials.same], ratios[~trials.same], len(pairs)),
            trials=counts,
            speakers=len({name for pair in trials.speakers for name in pair}),
            data=data,
            share=scorer.share if isinstance(scorer, Centred) else SHARE,
        )
    except ValueError as error:
        raise CalibrationError(f"no calibration can be fitted on these trials: {error}") from error


def cross_validated(trials: Trials, folds: int = FOLDS) -> Floats:
    """LLRs (n,), without bounds, of calibrations fitted on other speakers than those of the trial; NaN: there is none.

    Each speaker belongs to one of `folds`, by turns in order of name. A trial of two speakers of one fold is scored by
    weights fitted on the trials without any speaker of that fold.
    """
    everyone = sorted({name for pair in trials.speakers for name in pair})
    fold = {name: i % folds for i, name in enumerate(everyone)}
    left, right = (np.array([fold[pair[i]] for pair in trials.speakers]) for i in (0, 1))
    features = _features(trials.scores, *(np.array([pair[i].seconds for pair in trials.sides]) for i in (0, 1)))
    ratios = np.full(len(trials.scores), np.nan)
    for i in range(folds):
        test, train = (left == i) & (right == i), (left != i) & (right != i)
        if test.any() and trials.same[train].any() and not trials.same[train].all():
            ratios[test] = features[test] @ regression(features[train], trials.same[train])
    return ratios


def regression(features: Floats, truth: NDArray[np.bool_]) -> Floats:
    """Weights (f,) of a logistic regression on features (n, f) by Newton's method; both classes have equal weight."""
    share = np.where(truth, 0.5 / truth.sum(), 0.5 / (~truth).sum())
    weights = np.zeros(features.shape[1])
    scale = np.maximum(np.abs(features).max(axis=0), 1e-12)
    x = features / scale
    for _ in range(100):
        chance = 1 / (1 + np.exp(-np.clip(x @ weights, -500, 500)))
        gradient = x.T @ (share * (chance - truth)) + _RIDGE * weights
        curvature = (x * (share * chance * (1 - chance))[:, None]).T @ x + _RIDGE * np.eye(len(weights))
        step = np.linalg.solve(curvature, gradient)
        weights -= step * min(1.0, 5 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < 1e-10:
            break
    return np.asarray(weights / scale, np.float64)


def supported(same: Floats, different: Floats, pairs: int) -> tuple[float, float]:
    """(lowest, highest) LLR that the trials support: the empirical lower and upper bound (ELUB).

    Vergeer et al. 2016, "Numerical likelihood ratios outputted by LR systems are often based on extrapolation: when to
    stop extrapolating?": LLRs are supported up to a threshold t if decisions by the LLRs cost less than decisions
    without them, with one more misleading trial of each kind assumed. A high LLR misleads where the voices of two
    speakers are similar, in all their trials: the assumed trial counts as one of `pairs` of speakers, not as one of all
    `different` trials.
    """
    curve = verification.error_curve(same, different)
    ends = np.minimum(curve.thresholds, 500.0)  # rates are constant from one threshold to the next
    starts = np.concatenate([[-500.0], ends[:-1]])
    miss = (curve.miss * len(same) + 1) / (len(same) + 1)
    false_alarm = (curve.false_alarm * pairs + 1) / (pairs + 1)
    # Bayes error at prior odds exp(-t): miss + exp(t) false_alarm, against 1 (accept none) or exp(t) (accept all).
    with np.errstate(divide="ignore"):
        highest = np.minimum(ends, np.log1p(-miss) - np.log(false_alarm))
        lowest = np.maximum(starts, np.log(miss) - np.log1p(-false_alarm))
    high = float(highest[highest > starts].max(initial=0.0))
    low = float(lowest[lowest < ends].min(initial=0.0))
    return round(low, 4), round(high, 4)


def load(path: Path) -> Calibration:
    """A calibration that `Calibration.save` wrote. Raises FormatError for anything else."""
    return parse(files.read(path), str(path))


def parse(data: bytes, path: str) -> Calibration:
    """A calibration out of the bytes of a file `path`. Raises FormatError for anything else."""
    try:
        values: dict[str, Any] = json.loads(files.text_of(data, path))
    except json.JSONDecodeError as error:
        raise FormatError(path, f"is no calibration: {error}") from error
    if not isinstance(values, dict) or values.pop("schema", None) != SCHEMA:
        raise FormatError(path, f"is no calibration: its schema is not {SCHEMA!r}")
    names = {field.name for field in fields(Calibration)}
    optional = {field.name for field in fields(Calibration) if field.default is not MISSING}  # since version 1 began
    if not names - optional <= values.keys() <= names:
        raise FormatError(path, f"a calibration has the fields {', '.join(sorted(names))}")
    try:
        return Calibration(
            model=str(values["model"]),
            kind=str(values["kind"]),
            mean=_numbers(values["mean"], None),
            channels=tuple(_numbers(row, len(values["mean"])) for row in values["channels"]),
            weights=_numbers(values["weights"], 3),
            channel=float(values["channel"]),
            seconds=_numbers(values["seconds"], 2),
            bandwidth=_numbers(values["bandwidth"], 2),
            bounds=_numbers(values["bounds"], 2),
            trials=tuple(int(n) for n in _numbers(values["trials"], 2)),  # type: ignore[arg-type]
            speakers=int(values["speakers"]),
            data=str(values["data"]),
            share=float(values.get("share", SHARE)),
            one_voice=None if values.get("one_voice") is None else float(values["one_voice"]),
            conditions=tuple(_condition(each) for each in values.get("conditions", [])),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(path, f"is no calibration: {error}") from error


def _condition(values: dict[str, Any]) -> Condition:
    first, second = (str(line) for line in values["lines"])
    return Condition(
        lines=(first, second),
        weights=_numbers(values["weights"], 3),
        seconds=_numbers(values["seconds"], 2),
        bandwidth=_numbers(values["bandwidth"], 2),
        bounds=_numbers(values["bounds"], 2),
        trials=tuple(int(n) for n in _numbers(values["trials"], 2)),  # type: ignore[arg-type]
        speakers=int(values["speakers"]),
    )


@cache
def shipped(model: str) -> Calibration | None:
    """The calibration that comes with this project for the embedder `model`; None where there is none."""
    path = SHIPPED.get(model.partition("@")[0])
    calibration = load(path) if path is not None else None
    return calibration if calibration is not None and calibration.model == model else None


def _features(scores: ArrayLike, a: ArrayLike, b: ArrayLike) -> Floats:
    s, q = np.broadcast_arrays(np.asarray(scores, np.float64), _measure(a, b))
    return np.stack([np.ones_like(s), s, q], axis=-1)


def _measure(a: ArrayLike, b: ArrayLike) -> Floats:
    seconds = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if not all((side > 0).all() for side in seconds):
        raise ValueError("both sides of a comparison need seconds of speech above 0")
    return np.asarray(1 / seconds[0] + 1 / seconds[1], np.float64)


def _numbers(values: Sequence[Any], count: int | None) -> tuple[Any, ...]:
    if not isinstance(values, list) or (count is not None and len(values) != count):
        raise ValueError(f"expected {count} numbers, got {values!r}")
    return tuple(float(value) for value in values)
