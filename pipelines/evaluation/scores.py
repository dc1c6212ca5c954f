"""What an evaluation is: its rules, and the scores of every system on every recording."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from diarize.metrics import normalisation
from diarize.metrics.bootstrap import RateDifference
from diarize.metrics.counts import Jaccard, Share, WordErrors
from diarize.types import Errors, Segment, Turn

Convention = Literal["pyannote", "md-eval"]


@dataclass(frozen=True, slots=True)
class Rules:
    """What decides the scores. Times in seconds."""

    collar: float = 0.0  # left out of DER on each side of a reference boundary, as in md-eval
    skip_overlap: bool = False  # DER leaves out where two or more speakers of the reference talk
    convention: Convention = "pyannote"  # speakers are paired on what is scored; md-eval: on all that the UEM allows
    tolerance: float = 0.25  # two boundaries are the same up to this distance
    word_collar: float = 5.0  # tcpWER and WDER pair words that are no further apart; what MeetEval's authors advise
    normalise: tuple[str, ...] = normalisation.DEFAULT  # steps of diarize.metrics.normalisation, in this order
    resamples: int = 1000  # of the bootstrap
    level: float = 0.95  # of its intervals
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Score:
    """The counts of one recording, or of many added up. None: there was nothing to compare."""

    errors: Errors | None = None
    jaccard: Jaccard | None = None
    speakers: tuple[tuple[int, int], ...] = ()  # a pair a recording: speakers of the reference, of the hypothesis
    purity: Share | None = None
    coverage: Share | None = None
    boundary_precision: Share | None = None
    boundary_recall: Share | None = None
    overlap_precision: Share | None = None
    overlap_recall: Share | None = None
    wer: WordErrors | None = None
    cpwer: WordErrors | None = None
    tcpwer: WordErrors | None = None
    orcwer: WordErrors | None = None
    wder: Share | None = None
    named: Share | None = None  # s of the speech of named people with their name in the hypothesis
    misnamed: Share | None = None  # s of it with another name

    def __add__(self, other: Score) -> Score:
        if not isinstance(other, Score):
            raise TypeError(f"scores add to scores, not to {type(other).__name__}: a mean of rates is no rate")
        sums = {}
        for name in (item.name for item in fields(self)):
            one, two = getattr(self, name), getattr(other, name)
            sums[name] = two if one is None else one if two is None else one + two
        return Score(**sums)

    def __radd__(self, other: int) -> Score:
        if other != 0 or not isinstance(other, int):  # sum() starts from int 0
            raise TypeError(f"scores add to scores, not to {other!r}: a mean of rates is no rate")
        return self

    @property
    def exact(self) -> Share | None:
        """Recordings with the right number of speakers."""
        if not self.speakers:
            return None
        return Share(sum(ref == hyp for ref, hyp in self.speakers), len(self.speakers))

    def count_table(self) -> Counter[tuple[int, int]]:
        """(speakers of the reference, speakers of the hypothesis) -> recordings."""
        return Counter(self.speakers)


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure of a report: `counts` returns its (numerator, denominator), None where there is neither."""

    title: str
    lower_is_better: bool
    counts: Callable[[Score], tuple[float, float] | None]

    def rate(self, score: Score) -> float | None:
        """Infinite where there are errors and the denominator is 0; None where there is nothing to compare."""
        counts = self.counts(score)
        if counts is None:
            return None
        above, below = counts
        if below:
            return above / below
        return float("inf") if above else None


def _of(name: str) -> Callable[[Score], tuple[float, float] | None]:
    def counts(score: Score) -> tuple[float, float] | None:
        value: Any = getattr(score, name)
        if value is None:
            return None
        if isinstance(value, WordErrors):
            return value.substitutions + value.deletions + value.insertions, value.length
        return value.part, value.whole

    return counts


def _der(*kinds: str) -> Callable[[Score], tuple[float, float] | None]:
    def counts(score: Score) -> tuple[float, float] | None:
        if score.errors is None:
            return None
        return sum(getattr(score.errors, kind) for kind in kinds), score.errors.total

    return counts


def _jer(score: Score) -> tuple[float, float] | None:
    jaccard = score.jaccard
    if jaccard is None:
        return None
    return (jaccard.errors, jaccard.speakers) if jaccard.speakers else (jaccard.rate, 1)


MEASURES: dict[str, Measure] = {
    "der": Measure("DER", True, _der("missed", "false_alarm", "confusion")),
    "missed": Measure("  missed", True, _der("missed")),
    "false_alarm": Measure("  false alarm", True, _der("false_alarm")),
    "confusion": Measure("  confusion", True, _der("confusion")),
    "jer": Measure("JER", True, _jer),
    "exact_count": Measure("speakers counted right", False, _of("exact")),
    "purity": Measure("purity", False, _of("purity")),
    "coverage": Measure("coverage", False, _of("coverage")),
    "boundary_precision": Measure("boundary precision", False, _of("boundary_precision")),
    "boundary_recall": Measure("boundary recall", False, _of("boundary_recall")),
    "overlap_precision": Measure("overlap precision", False, _of("overlap_precision")),
    "overlap_recall": Measure("overlap recall", False, _of("overlap_recall")),
    "wer": Measure("WER", True, _of("wer")),
    "cpwer": Measure("cpWER", True, _of("cpwer")),
    "tcpwer": Measure("tcpWER", True, _of("tcpwer")),
    "orcwer": Measure("ORC-WER", True, _of("orcwer")),
    "wder": Measure("WDER", True, _of("wder")),
    "named": Measure("named right", False, _of("named")),
    "misnamed": Measure("named wrong", True, _of("misnamed")),
}


@dataclass(frozen=True, slots=True)
class System:
    """One hypothesis: its scores on every recording, and on all together with intervals over recordings."""

    name: str
    path: str
    scores: Mapping[str, Score]  # recording -> its counts
    intervals: Mapping[str, tuple[float, float]]  # measure -> (low, high), of measures with an interval
    differences: Mapping[str, RateDifference] = field(default_factory=dict)  # measure -> from the baseline

    @property
    def pooled(self) -> Score:
        return sum(self.scores.values(), Score())


@dataclass(frozen=True, slots=True)
class Timelines:
    """The turns of one recording, of the reference and of each system that has turns."""

    reference: tuple[Turn, ...]
    hypotheses: Mapping[str, tuple[Turn, ...]]  # name of the system -> its turns
    scored: tuple[Segment, ...] | None  # None: everything


@dataclass(frozen=True, slots=True)
class Place(Segment):
    """A time at which people corrected the machine: what it said, and what they say."""

    recording: str
    kind: str  # one of `pipelines.evaluation.corrections.KINDS`
    machine: str
    corrected: str


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The outcome: `systems` in the order of the request, `timelines` by recording, `notes` for the reader."""

    rules: Rules
    reference: str
    uem: str | None
    recordings: tuple[str, ...]
    systems: tuple[System, ...]
    timelines: Mapping[str, Timelines]
    notes: tuple[str, ...] = ()
    baseline: str | None = None  # the system from which the others differ; None: there is only one
    places: tuple[Place, ...] = ()  # what people corrected

    def best(self, measure: str) -> frozenset[str]:
        """Names of the systems with the best pooled rate; none where there is only one, or nothing to compare."""
        lower_is_better = MEASURES[measure].lower_is_better
        rates = {s.name: rate for s in self.systems if (rate := MEASURES[measure].rate(s.pooled)) is not None}
        if len(self.systems) < 2 or not rates:
            return frozenset()
        top = min(rates.values()) if lower_is_better else max(rates.values())
        return frozenset(name for name, rate in rates.items() if rate == top)
