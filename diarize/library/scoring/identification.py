"""Which of the enrolled people speak in a recording, and who is none of them (docs/method/identification.md).

Open-set: the answer may be "nobody". A speaker is given a person where the log-likelihood ratio reaches the Bayes
threshold of the prior, where the person is far enough ahead of the next, and where no other speaker of the recording
has a better claim: the assignment with the largest sum of ratios above the threshold (Kuhn 1955, "The Hungarian method
for the assignment problem").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from diarize.config import IdentifyConfig
from diarize.library.database.records import Matrix
from diarize.library.scoring.calibration import Calibration, Side
from diarize.library.scoring.scores import Centred, Cosine
from diarize.library.search.approximate import ApproximateIndex
from diarize.metrics import verification
from diarize.types import Candidate, Identity, Vectors

Floats = NDArray[np.float64]

MANY = 30  # enrolled voices from which on their mean and deviation say something
BLOCK = 65_536  # enrolled voices at a time
SAMPLE = 32_768  # voices that stand for the whole library beside an index: mean and deviation within half a per cent
_NEVER = -1e9  # gain of what may not be assigned
_DIGITS = 4  # decimals of ratios, so that a decision can be checked on what the transcript says


@dataclass(frozen=True, eq=False)
class OpenSet:
    """An `Identifier` of a library. Without a calibration it tells who is nearest, and names nobody."""

    library: Matrix
    calibration: Calibration | None
    config: IdentifyConfig = field(default_factory=IdentifyConfig)
    lacking: str = ""  # why nobody can be named, where that is known beforehand
    index: ApproximateIndex | None = None  # None: every search is exact

    @cached_property
    def name(self) -> str:
        """The library's content, the calibration and the settings."""
        made = "none" if self.calibration is None else digest(self.calibration)
        kept = self.config
        settings = f"prior={kept.prior:g},chance={kept.chance:g},margin={kept.margin:g},seconds={kept.seconds:g}"
        search = "" if self.index is None else f",index={self.index.hash[:16]}"
        return f"open-set(library={self.library.digest[:16]},calibration={made},{settings},top={kept.top}{search})"

    def __call__(
        self, vectors: Vectors, seconds: Sequence[float], bandwidth: float | None = None
    ) -> tuple[Identity, ...]:
        """Who the speakers of one recording are, from their `vectors` (k, d) and `seconds` of speech each.

        `bandwidth` (Hz) is that of the recording; None: nobody measured it. A speaker who is the same person as
        another one is told by `Identity.same`, and is judged as one with them.
        """
        if not len(vectors):
            return ()
        if not len(self.library):
            return (Identity((), None, self.lacking or "nobody is enrolled"),) * len(vectors)
        drift = self.calibration.drift(vectors) if self.calibration is not None else 0.0
        sides = [Side(float(s), bandwidth) for s in seconds]
        table = self._table(vectors, sides, drift)
        heads = self._joined(table, vectors, sides)
        own = sorted(set(heads))
        if len(own) < len(heads):
            vectors, together = pool(vectors, seconds, heads)
            sides = [Side(s, bandwidth) for s in together]
            table = self._table(vectors, sides, drift)
        found = dict(zip(own, self._judged(table, vectors, sides), strict=True))
        return tuple(
            found[head]
            if head == k
            else Identity((), found[head].person, "the same person as another speaker of the recording", head)
            for k, head in enumerate(heads)
        )

    @cached_property
    def _scorer(self) -> Centred | Cosine:
        return self.calibration.scorer() if self.calibration is not None else Cosine()

    @cached_property
    def _threshold(self) -> float:
        return verification.bayes_threshold(self.config.prior)

    @cached_property
    def _outstanding(self) -> float:
        """Standard deviations that the best of a library stands out by in a share `chance` of strangers."""
        from scipy.special import ndtri  # scipy.stats takes a quarter of a second to load

        return float(-ndtri(self.config.chance / len(self.library)))

    def _joined(self, table: Table, vectors: Vectors, sides: Sequence[Side]) -> list[int]:
        """For each speaker the one (maybe themselves) who is the same person.

        Two are, where each is by itself clearly the same enrolled person, and where their voices, compared with each
        other, are those of one person.
        """
        heads = list(range(len(vectors)))
        if self.calibration is None or len(vectors) < 2:
            return heads
        alike = self._alike(vectors, sides)
        clear = [int(np.argmax(row)) if self._clear(row, allowed) else None for row, allowed in table.rows()]
        order = sorted(range(len(heads)), key=lambda k: (-float(table.strength[k].max()), k))
        for place, k in enumerate(order):
            for head in order[:place]:
                if heads[head] != head or clear[k] is None or clear[k] != clear[head]:
                    continue
                if alike[k, head] >= self._threshold:
                    heads[k] = head
                    break
        return heads

    def _alike(self, vectors: Vectors, sides: Sequence[Side]) -> Floats:
        """LLRs (k, k) of the speakers with each other; they share their channel, so no drift is in it."""
        moved, seconds = self._scorer.moved(vectors), np.array([side.seconds for side in sides])
        if self.calibration is None:
            return np.zeros((len(sides), len(sides)))
        return np.round(self.calibration.unbounded(moved @ moved.T, seconds[:, None], seconds[None]), _DIGITS)

    def _clear(self, strength: Floats, allowed: NDArray[np.bool_]) -> bool:
        """Whether the best person of a row is acceptable, and ahead of all others by the margin."""
        best = int(np.argmax(strength))
        others = np.delete(strength, best)
        return bool(allowed[best]) and bool(strength[best] - others.max(initial=-np.inf) >= self.config.margin)

    def _judged(self, table: Table, vectors: Vectors, sides: Sequence[Side]) -> list[Identity]:
        apart = self._alike(vectors, sides) < 0
        chosen = assign(table.strength, table.allowed, apart, self._threshold, self.config.margin)
        n = len(table.columns)
        return [self._identity(table, k, sides[k], chosen, rivals(k, chosen, apart, n)) for k in range(len(vectors))]

    def _identity(
        self, table: Table, k: int, side: Side, chosen: Sequence[int | None], free: Sequence[int]
    ) -> Identity:
        strength, column = table.strength[k], chosen[k]
        order = sorted(range(len(strength)), key=lambda n: (-float(strength[n]), table.ids[n]))
        told = {n: self._candidate(table, k, n, side) for n in order[: self.config.top]}
        if column is not None:
            told[column] = self._candidate(table, k, column, side)
        candidates = tuple(told.values())
        person = told[column] if column is not None else None
        return Identity(candidates, person, self._reason(table, k, side, [n for n in order if n in free], column))

    def _candidate(self, table: Table, k: int, n: int, side: Side) -> Candidate:
        row, value = table.columns[n], round(float(table.scores[k, n]), 6)
        ratio = round(float(table.ratios[k, n]), _DIGITS) if np.isfinite(table.ratios[k, n]) else None
        return Candidate(table.ids[n], self.library.names[int(row)], value, ratio)

    def _reason(self, table: Table, k: int, side: Side, free: Sequence[int], column: int | None) -> str:
        """Why; `free` are the columns that speaker k could have, but for the `column` they have, best first."""
        if self.calibration is None:
            return self.lacking or "there is no calibration for this embedder, so nobody can be named"
        if column is not None:
            lead = table.strength[k, column] - table.strength[k, free[0]] if free else np.inf
            return self._measured(table, k, column) + (f", {lead:.2f} ahead of the next" if free else "")
        if side.seconds < self.config.seconds:
            return f"{side.seconds:.2f} s of speech, {self.config.seconds:g} needed"
        if refused := self.calibration.refusal(side, Side(float("inf"), None)):
            return refused
        if not free:
            return "everybody who was considered is another speaker of the recording"
        if not np.isfinite(table.ratios[k, free[0]]):
            return "too little was enrolled of the nearest person"
        passed = table.strength[k].max() > table.strength[k, free[0]]
        of = " (of those who are no other speaker of the recording)" if passed else ""
        measured = self._measured(table, k, free[0]) + of
        if not table.allowed[k, free[0]]:
            return measured
        lead = table.strength[k, free[0]] - max((table.strength[k, n] for n in free[1:]), default=-np.inf)
        if lead >= self.config.margin:
            return f"{measured}, but another speaker of the recording is that person, and the two do not sound alike"
        return f"{measured}, but only {lead:.2f} ahead of the next, {self.config.margin:g} needed"

    def _measured(self, table: Table, k: int, n: int) -> str:
        told = f"log-likelihood ratio {table.ratios[k, n]:.2f}, {self._threshold:.2f} needed"
        if table.stands is None:
            return told
        return f"{told}; {table.stands[k, n]:.2f} deviations above the others, {self._outstanding:.2f} needed"

    def _table(self, vectors: Vectors, sides: Sequence[Side], drift: float) -> Table:
        """Speakers against the enrolled who can matter: with k speakers, nobody beyond the k + 1 best of each.

        With an index these are the best of its proposals and of a sample of the library, which also stands for the
        whole where the mean and deviation of all others are asked for.
        """
        most = max(self.config.top, len(vectors) + 1)
        moved = self._scorer.moved(vectors)
        heard = np.array([side.seconds for side in sides])[:, None]
        near = [np.empty(0, np.int64) for _ in sides]
        sums, squares = np.zeros(len(sides)), np.zeros(len(sides))
        compared = len(self.library) if self.index is None else min(SAMPLE, len(self.library))
        for start in range(0, compared, BLOCK):
            rows = slice(start, min(start + BLOCK, compared))
            strength = self._ordered(self._scorer.against(moved, self.library.vectors[rows]), heard, rows, drift)
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
            late = np.arange(self.index.covered, len(self.library))
            near += [*self.index.propose(self._scorer.directions(moved).astype(np.float32)), late]
        columns = np.unique(np.concatenate(near))
        if len(columns) > most * len(sides):  # of several blocks, or proposed: the best of these
            strength = self._exact(moved, heard, columns, drift)[1]
            columns = np.unique(columns[np.argsort(-strength, axis=1, kind="stable")[:, :most]])
        columns = columns[np.argsort([self.library.ids[int(n)] for n in columns], kind="stable")]
        scores, strength = self._exact(moved, heard, columns, drift)
        ratios = np.full(strength.shape, np.nan)
        for k, side in enumerate(sides):
            for n, column in enumerate(columns):
                if self.calibration is not None:
                    enrolled = Side(float(self.library.seconds[column]), None)
                    if self.calibration.refusal(side, enrolled) is None:
                        ratios[k, n] = np.clip(strength[k, n], *self.calibration.bounds)
        enough = np.array([side.seconds >= self.config.seconds for side in sides])[:, None]
        allowed = enough & (np.nan_to_num(ratios, nan=-np.inf) >= self._threshold)
        stands = None
        if len(self.library) >= MANY:
            own = np.where(columns < compared, strength, 0.0)  # the sums of the others are without it
            others = compared - (columns < compared)
            means = (sums[:, None] - own) / others
            spread = np.sqrt(np.maximum((squares[:, None] - np.square(own)) / others - np.square(means), 1e-12))
            stands = np.round((strength - means) / spread, 2)
            allowed &= stands >= self._outstanding
        ids = tuple(self.library.ids[int(n)] for n in columns)
        return Table(columns, ids, scores, strength, ratios, allowed, stands)

    def _exact(self, moved: Floats, heard: Floats, rows: NDArray[np.int64], drift: float) -> tuple[Floats, Floats]:
        """(scores (k, n), what orders them (k, n)) with some of the enrolled, in double precision."""
        scores = moved @ self._scorer.moved(self.library.vectors[rows]).T
        return scores, self._ordered(scores, heard, rows, drift)

    def _ordered(self, scores: Floats, heard: Floats, rows: slice | NDArray[np.int64], drift: float) -> Floats:
        """What orders these scores: ratios without bounds; without a calibration, themselves."""
        if self.calibration is None:
            return scores
        ratios = self.calibration.unbounded(scores, heard, self.library.seconds[rows][None])
        return np.round(ratios + self.calibration.channel * drift**2, _DIGITS)


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Speakers (k) against some of the enrolled (n)."""

    columns: NDArray[np.int64]  # (n,) rows of the library
    ids: tuple[str, ...]
    scores: Floats  # (k, n)
    strength: Floats  # (k, n), what orders them
    ratios: Floats  # (k, n), within the bounds of the calibration; NaN where it refuses
    allowed: NDArray[np.bool_]  # (k, n), enough speech, and what may be accepted by itself
    stands: Floats | None  # (k, n), deviations from the mean of all others of the library; None: they are too few

    def rows(self) -> list[tuple[Floats, NDArray[np.bool_]]]:
        return list(zip(self.strength, self.allowed, strict=True))


def assign(
    strength: Floats, allowed: NDArray[np.bool_], apart: NDArray[np.bool_], threshold: float, margin: float
) -> list[int | None]:
    """For each row of `strength` (k, n) its column, or None; no column twice.

    The sum of strength - threshold over what is `allowed` is the largest that there is. A row then loses its column
    where that is not ahead of the others by `margin`; a column of another row does not count among these where the two
    rows are `apart` (k, k), two people for sure: else they may be one person, and the second would get a wrong name.
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
        lost = [
            row
            for row, column in enumerate(chosen)
            if column is not None
            and strength[row, column] - strength[row, rivals(row, chosen, apart, n)].max(initial=-np.inf) < margin
        ]
        if not lost:
            return chosen
        for row in lost:
            chosen[row] = None


def rivals(row: int, chosen: Sequence[int | None], apart: NDArray[np.bool_], n: int) -> list[int]:
    """The columns, of n, that a row could have but for the one it has."""
    out = {column for other, column in enumerate(chosen) if other == row or apart[row, other]}
    return [column for column in range(n) if column not in out]


def pool(vectors: Vectors, seconds: Sequence[float], heads: Sequence[int]) -> tuple[Vectors, list[float]]:
    """(voices (m, d) of those who are their own head, in order, and their seconds); means weighted by seconds."""
    own = sorted(set(heads))
    spoken = np.asarray(seconds, np.float64)
    weights = np.array([[spoken[k] if head == mine else 0.0 for k, head in enumerate(heads)] for mine in own])
    means = weights @ vectors.astype(np.float64)
    made: Vectors = (means / np.linalg.norm(means, axis=1, keepdims=True)).astype(np.float32)
    return made, [float(row.sum()) for row in weights]


def digest(calibration: Calibration) -> str:
    """16 hex digits of what a calibration is made of."""
    return sha256(repr(asdict(calibration)).encode()).hexdigest()[:16]
