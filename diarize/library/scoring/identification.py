"""Which of the enrolled people speak in a recording, and who is none of them (docs/method/identification.md).

Open-set: the answer may be "nobody". A speaker is identified as a person if the log-likelihood ratio reaches the Bayes
threshold of the prior, exceeds that of the next person by a margin, and if the person is not assigned to another
speaker of the recording: the assignment has the largest sum of ratios above the threshold (Kuhn 1955, "The Hungarian
method for the assignment problem").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from hashlib import sha256
from math import log

import numpy as np
from numpy.typing import NDArray

from diarize.config import IdentifyConfig
from diarize.library.database.records import Matrix
from diarize.library.scoring.calibration import Calibration, Side
from diarize.library.scoring.scores import Centred, Cosine
from diarize.library.search.approximate import ApproximateIndex
from diarize.library.search.live import Background
from diarize.metrics import verification
from diarize.types import Candidate, Identity, Vectors

Floats = NDArray[np.float64]

MANY = 30  # enrolled voices from which on their mean and deviation say something
BLOCK = 65_536  # enrolled voices at a time
SAMPLE = 16_384  # voices that stand for the whole library beside an index: mean and deviation within about 1 %
_NEVER = -1e9  # gain of what may not be assigned
TEN = log(10)  # a natural logarithm in it is one decade, as people and pictures see ratios
_DIGITS = 4  # decimals of ratios, so that a decision can be checked on what the transcript says


@dataclass(frozen=True, eq=False)
class OpenSet:
    """An `Identifier` of a library. Without a calibration it lists the nearest people, and names nobody."""

    library: Matrix
    calibration: Calibration | None
    config: IdentifyConfig = field(default_factory=IdentifyConfig)
    lacking: str = ""  # why nobody can be named, where that is known beforehand
    index: ApproximateIndex | None = None  # None: every search is exact
    background: Background | None = None  # of a larger library, of which `library` holds the candidates alone

    @cached_property
    def name(self) -> str:
        """The library's content, the calibration, the settings and the approximate index."""
        calibration = "none" if self.calibration is None else digest(self.calibration)
        c = self.config
        settings = f"prior={c.prior:g},chance={c.chance:g},margin={c.margin:g},seconds={c.seconds:g},top={c.top}"
        index = "" if self.index is None else f",index={self.index.hash[:16]}"
        return f"open-set(library={self.library.digest[:16]},calibration={calibration},{settings}{index})"

    def __call__(
        self, vectors: Vectors, seconds: Sequence[float], bandwidth: float | None = None
    ) -> tuple[Identity, ...]:
        """Who the speakers of one recording are, from their `vectors` (k, d) and `seconds` of speech each.

        `bandwidth` (Hz) is that of the recording; None: not measured. Speakers who are one person are decided on as
        one; `Identity.same` of the others is the position of the first.
        """
        if not len(vectors):
            return ()
        if not len(self.library):
            return (Identity((), None, self.lacking or "nobody is enrolled"),) * len(vectors)
        drift = self.calibration.drift(vectors) if self.calibration is not None else 0.0
        sides = [Side(float(s), bandwidth) for s in seconds]
        table = self._table(vectors, sides, drift)
        heads = self._merge(table, vectors, sides)
        own = sorted(set(heads))
        if len(own) < len(heads):
            vectors, together = pool(vectors, seconds, heads)
            sides = [Side(s, bandwidth) for s in together]
            table = self._table(vectors, sides, drift)
        identities = dict(zip(own, self._decide(table, vectors, sides), strict=True))
        return tuple(
            identities[head]
            if head == k
            else Identity((), identities[head].person, "the same person as another speaker of the recording", head)
            for k, head in enumerate(heads)
        )

    @cached_property
    def _scorer(self) -> Centred | Cosine:
        return self.calibration.scorer() if self.calibration is not None else Cosine()

    @cached_property
    def _threshold(self) -> float:
        return verification.bayes_threshold(self.config.prior)

    @cached_property
    def _needed_deviations(self) -> float:
        """The standard deviations which the best person of the library exceeds for a share `chance` of strangers."""
        from scipy.special import ndtri  # scipy.stats takes a quarter of a second to load

        people = len(self.library) if self.background is None else max(len(self.library), self.background.people)
        return float(-ndtri(self.config.chance / people))

    def _merge(self, table: Table, vectors: Vectors, sides: Sequence[Side]) -> list[int]:
        """For each speaker the position of the first speaker who is the same person, which may be their own.

        Two speakers are one person if each by itself is clearly the same enrolled person, and if their voices,
        compared with each other, are those of one person.
        """
        heads = list(range(len(vectors)))
        if self.calibration is None or len(vectors) < 2:
            return heads
        between = self._ratios_between(vectors, sides)
        clear = [int(np.argmax(row)) if self._is_clear(row, allowed) else None for row, allowed in table.rows()]
        order = sorted(range(len(heads)), key=lambda k: (-float(table.strength[k].max()), k))
        for place, k in enumerate(order):
            for head in order[:place]:
                if heads[head] != head or clear[k] is None or clear[k] != clear[head]:
                    continue
                if between[k, head] >= self._threshold:
                    heads[k] = head
                    break
        return heads

    def _ratios_between(self, vectors: Vectors, sides: Sequence[Side]) -> Floats:
        """LLRs (k, k) of the speakers with each other; they share their channel, so drift plays no part."""
        if self.calibration is None:
            return np.zeros((len(sides), len(sides)))
        rows, seconds = self._scorer.transform(vectors), np.array([side.seconds for side in sides])
        return np.round(self.calibration.unbounded(rows @ rows.T, seconds[:, None], seconds[None]), _DIGITS)

    def _is_clear(self, strength: Floats, allowed: NDArray[np.bool_]) -> bool:
        """Whether the best person of a row is acceptable, and ahead of all others by the margin."""
        best = int(np.argmax(strength))
        others = np.delete(strength, best)
        return bool(allowed[best]) and bool(strength[best] - others.max(initial=-np.inf) >= self.config.margin)

    def _decide(self, table: Table, vectors: Vectors, sides: Sequence[Side]) -> list[Identity]:
        apart = self._ratios_between(vectors, sides) < 0
        chosen = assign(table.strength, table.allowed, apart, self._threshold, self.config.margin)
        n = len(table.columns)
        return [self._identity(table, k, sides[k], chosen, rivals(k, chosen, apart, n)) for k in range(len(vectors))]

    def _identity(
        self, table: Table, k: int, side: Side, chosen: Sequence[int | None], free: Sequence[int]
    ) -> Identity:
        strength, column = table.strength[k], chosen[k]
        order = sorted(range(len(strength)), key=lambda n: (-float(strength[n]), table.ids[n]))
        listed = dict.fromkeys([*order[: self.config.top], *([column] if column is not None else [])])
        candidates = {n: self._candidate(table, k, n) for n in listed}
        person = candidates[column] if column is not None else None
        reason = self._reason(table, k, side, [n for n in order if n in free], column)
        return Identity(tuple(candidates.values()), person, reason)

    def _candidate(self, table: Table, k: int, n: int) -> Candidate:
        row, value = table.columns[n], round(float(table.scores[k, n]), 6)
        ratio = round(float(table.ratios[k, n]), _DIGITS) if np.isfinite(table.ratios[k, n]) else None
        return Candidate(table.ids[n], self.library.names[int(row)], value, ratio)

    def _reason(self, table: Table, k: int, side: Side, free: Sequence[int], column: int | None) -> str:
        """Why speaker k has this `column`, or none; `free` are the other columns that they could have, best first."""
        if self.calibration is None:
            return self.lacking or "there is no calibration for this embedder, so nobody can be named"
        if column is not None:
            lead = table.strength[k, column] - table.strength[k, free[0]] if free else np.inf
            return self._figures(table, k, column) + (f", {lead / TEN:.2f} ahead of the next" if free else "")
        if side.seconds < self.config.seconds:
            return f"{side.seconds:.2f} s of speech, {self.config.seconds:g} needed"
        if refusal := self.calibration.refusal(side, Side(float("inf"), None)):
            return refusal
        if not free:
            return "everybody who was considered is another speaker of the recording"
        if not np.isfinite(table.ratios[k, free[0]]):
            return "too little was enrolled of the nearest person"
        passed = table.strength[k].max() > table.strength[k, free[0]]
        of = " (of those who are no other speaker of the recording)" if passed else ""
        figures = self._figures(table, k, free[0]) + of
        if not table.allowed[k, free[0]]:
            return figures
        lead = table.strength[k, free[0]] - max((table.strength[k, n] for n in free[1:]), default=-np.inf)
        if lead >= self.config.margin:
            return f"{figures}, but another speaker of the recording is that person, and the two do not sound alike"
        return f"{figures}, but only {lead / TEN:.2f} ahead of the next, {self.config.margin / TEN:.2f} needed"

    def _figures(self, table: Table, k: int, n: int) -> str:
        ratio = f"log10 LR {table.ratios[k, n] / TEN:.2f}, {self._threshold / TEN:.2f} needed"
        if table.deviations is None:
            return ratio
        return (
            f"{ratio}; {table.deviations[k, n]:.2f} deviations above the others, {self._needed_deviations:.2f} needed"
        )

    def _table(self, vectors: Vectors, sides: Sequence[Side], drift: float) -> Table:
        """Speakers against the enrolled people who can matter: with k speakers, nobody after the k + 1 best of each.

        With an index these are the best of what it proposes, of people enrolled later, and of a sample of the library;
        the sample also stands for all others in the means and deviations.
        """
        most = max(self.config.top, len(vectors) + 1)
        rows = self._scorer.transform(vectors)
        seconds = np.array([side.seconds for side in sides])[:, None]

        # The best of each speaker in each block, and the sums of all: single precision is enough to choose by.
        compared = len(self.library) if self.index is None else min(SAMPLE, len(self.library))
        near = [np.empty(0, np.int64) for _ in sides]
        sums, squares = np.zeros(len(sides)), np.zeros(len(sides))
        for start in range(0, compared, BLOCK):
            block = slice(start, min(start + BLOCK, compared))
            scores = self._scorer.score_many(rows, self.library.vectors[block])
            strength = self._strength(scores, seconds, block, drift)
            sums += strength.sum(axis=1)
            squares += np.square(strength).sum(axis=1)
            for k, row in enumerate(strength):
                best = (
                    np.argsort(-row, kind="stable")[:most]
                    if len(row) <= most
                    else np.argpartition(-row, most - 1)[:most]
                )
                near[k] = np.concatenate([near[k], best + start])
        if self.index is not None:
            later = np.arange(self.index.covered, len(self.library))
            near += [*self.index.propose(self._scorer.queries(rows).astype(np.float32)), later]

        # The best of all, in order of id, with scores in double precision that depend on nobody else.
        columns = np.unique(np.concatenate(near))
        if len(columns) > most * len(sides):
            strength = self._exact(rows, seconds, columns, drift)[1]
            columns = np.unique(columns[np.argsort(-strength, axis=1, kind="stable")[:, :most]])
        columns = columns[np.argsort([self.library.ids[int(n)] for n in columns], kind="stable")]
        scores, strength = self._exact(rows, seconds, columns, drift)

        # Which of them may be accepted by themselves: enough speech, the threshold, and the distance from all others.
        ratios = np.full(strength.shape, np.nan)
        for k, side in enumerate(sides):
            for n, column in enumerate(columns):
                if self.calibration is not None:
                    enrolled = Side(float(self.library.seconds[column]), None)
                    if self.calibration.refusal(side, enrolled) is None:
                        ratios[k, n] = np.clip(strength[k, n], *self.calibration.bounds)
        allowed = (seconds >= self.config.seconds) & (np.nan_to_num(ratios, nan=-np.inf) >= self._threshold)
        deviations = None
        others: int | NDArray[np.int64]
        many = len(self.library if self.background is None else self.background.seconds) >= MANY
        if self.background is not None and many:
            sums, squares = self._sums_of(self.background, rows, seconds, drift)
            counted = np.array([self.library.ids[int(n)] in self.background.ids for n in columns], bool)
            own, others = np.where(counted, strength, 0.0), len(self.background.seconds) - counted
        elif many:
            own = np.where(columns < compared, strength, 0.0)  # the sums without it are those of the others
            others = compared - (columns < compared)
        if many:
            means = (sums[:, None] - own) / others
            spread = np.sqrt(np.maximum((squares[:, None] - np.square(own)) / others - np.square(means), 1e-12))
            deviations = np.round((strength - means) / spread, 2)
            allowed &= deviations >= self._needed_deviations
        ids = tuple(self.library.ids[int(n)] for n in columns)
        return Table(columns, ids, scores, strength, ratios, allowed, deviations)

    def _sums_of(self, background: Background, rows: Floats, seconds: Floats, drift: float) -> tuple[Floats, Floats]:
        """(sums (k,), sums of squares (k,)) of the strengths in the background."""
        transformed = background.transformed.get(self.calibration)  # by value: its digest takes milliseconds
        if transformed is None:
            transformed = self._scorer.transform(background.vectors).astype(np.float32)
            background.transformed[self.calibration] = transformed
        scores = (transformed @ rows.T.astype(np.float32)).T.astype(np.float64)
        strength = self._ratios(scores, seconds, background.seconds, drift)
        return strength.sum(axis=1), np.square(strength).sum(axis=1)

    def _exact(self, rows: Floats, seconds: Floats, columns: NDArray[np.int64], drift: float) -> tuple[Floats, Floats]:
        """(scores (k, n), strength (k, n)) with some of the enrolled people, in double precision."""
        scores = rows @ self._scorer.transform(self.library.vectors[columns]).T
        return scores, self._strength(scores, seconds, columns, drift)

    def _strength(self, scores: Floats, seconds: Floats, columns: slice | NDArray[np.int64], drift: float) -> Floats:
        """By what people are ordered: ratios without bounds; without a calibration, the scores."""
        return self._ratios(scores, seconds, self.library.seconds[columns], drift)

    def _ratios(self, scores: Floats, seconds: Floats, enrolled: Floats, drift: float) -> Floats:
        """`_strength` with people who have these seconds of enrolment speech (n,)."""
        if self.calibration is None:
            return scores
        ratios = self.calibration.unbounded(scores, seconds, enrolled[None])
        return np.round(ratios + self.calibration.channel * drift**2, _DIGITS)


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Speakers (k) against some of the enrolled (n)."""

    columns: NDArray[np.int64]  # (n,) rows of the library
    ids: tuple[str, ...]
    scores: Floats  # (k, n)
    strength: Floats  # (k, n), by what they are ordered
    ratios: Floats  # (k, n), within the bounds of the calibration; NaN where it refuses
    allowed: NDArray[np.bool_]  # (k, n), what may be accepted by itself
    deviations: Floats | None  # (k, n), standard deviations above the mean of all others; None: they are too few

    def rows(self) -> list[tuple[Floats, NDArray[np.bool_]]]:
        return list(zip(self.strength, self.allowed, strict=True))


def assign(
    strength: Floats, allowed: NDArray[np.bool_], apart: NDArray[np.bool_], threshold: float, margin: float
) -> list[int | None]:
    """For each row of `strength` (k, n) its column, or None; no column twice.

    The sum of strength - threshold over what is `allowed` is the largest possible. A row then loses its column if that
    does not exceed the others by `margin`. The column of another row does not count among these if the two rows are
    certainly two people (`apart`, (k, k)); otherwise they may be one person, and the second would get a wrong name.
    """
    from scipy.optimize import linear_sum_assignment

    k, n = strength.shape
    gain = np.where(allowed, strength - threshold, _NEVER)
    nobody = np.full((k, k), -1e-9)  # a ratio at the very threshold is still accepted
    rows, columns = linear_sum_assignment(np.concatenate([gain, nobody], axis=1), maximize=True)
    chosen: list[int | None] = [None] * k
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        chosen[row] = column if column < n else None
    while True:
        doubtful = [
            row
            for row, column in enumerate(chosen)
            if column is not None
            and strength[row, column] - strength[row, rivals(row, chosen, apart, n)].max(initial=-np.inf) < margin
        ]
        if not doubtful:
            return chosen
        for row in doubtful:
            chosen[row] = None


def rivals(row: int, chosen: Sequence[int | None], apart: NDArray[np.bool_], n: int) -> list[int]:
    """The columns, of n, that a row could have instead of its own."""
    excluded = {column for other, column in enumerate(chosen) if other == row or apart[row, other]}
    return [column for column in range(n) if column not in excluded]


def pool(vectors: Vectors, seconds: Sequence[float], heads: Sequence[int]) -> tuple[Vectors, list[float]]:
    """(voices (m, d) and seconds of the m people, in order of their heads); means weighted by seconds."""
    lengths = np.asarray(seconds, np.float64)
    weights = np.array([
        [lengths[k] if head == person else 0.0 for k, head in enumerate(heads)] for person in sorted(set(heads))
    ])  # fmt: skip
    means = weights @ vectors.astype(np.float64)
    pooled: Vectors = (means / np.linalg.norm(means, axis=1, keepdims=True)).astype(np.float32)
    return pooled, [float(row.sum()) for row in weights]


def digest(calibration: Calibration) -> str:
    """16 hex digits of the content of a calibration."""
    return sha256(repr(asdict(calibration)).encode()).hexdigest()[:16]
