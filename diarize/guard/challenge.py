"""Challenges: a phrase that a person has not said before, to be said now.

A recording of somebody cannot contain it, unless a machine speaks it in their voice within the time limit. The phrase
is drawn with the randomness of the system, is valid once, and expires. A store keeps it in between: `MemoryChallenges`
in one process, a library of speakers across processes.
"""

from __future__ import annotations

import functools
import json
import secrets
import threading
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib import resources
from typing import Protocol

from diarize.errors import ConfigError, suggest
from diarize.metrics import normalisation

WORDS = 6  # of a phrase: 2^43 phrases of a list of 160 words
SECONDS = 120.0  # s from drawing to the answer
BOUND = 0.5  # word error rate up to which drawn words were said: three of six, which nobody guesses
OWN_BOUND = 0.34  # the same of a phrase of the operator's own, as digits, of which half may be guessed
OPEN_PHRASE = "any"  # language of a phrase that the operator chose


@dataclass(frozen=True, slots=True)
class Challenge:
    """A phrase to say until `expires` (UTC). `person` is the id of whom it was drawn for; None: of anybody."""

    id: str
    phrase: str
    language: str
    issued: datetime
    expires: datetime
    person: str | None = None

    @property
    def bound(self) -> float:
        """Word error rate up to which the phrase was said."""
        return OWN_BOUND if self.language == OPEN_PHRASE else BOUND

    def is_expired(self, now: datetime) -> bool:
        return now >= self.expires

    def as_json(self) -> bytes:
        """As `read` takes it."""
        values = [self.id, self.phrase, self.language, self.issued.isoformat(), self.expires.isoformat(), self.person]
        return json.dumps(values).encode("ascii")


def read(data: bytes) -> Challenge:
    """The challenge of `Challenge.as_json`. Raises ValueError for anything else."""
    id, phrase, language, issued, expires, person = json.loads(data)
    return Challenge(id, phrase, language, datetime.fromisoformat(issued), datetime.fromisoformat(expires), person)


class Challenges(Protocol):
    """Where challenges are kept until they are answered. `take` gives each once, whoever asks, and however often."""

    def put(self, challenge: Challenge) -> None: ...

    def take(self, id: str, now: datetime) -> Challenge | None:
        """The challenge, also an expired one; None where it was never drawn, was taken before, or was cleared away."""
        ...


class MemoryChallenges:
    """`Challenges` in the memory of one process, for any number of threads. `put` clears the expired ones."""

    def __init__(self, most: int = 100_000) -> None:
        """`most` are kept; the oldest make room."""
        self._kept: dict[str, Challenge] = {}
        self._lock, self._most = threading.Lock(), most

    def put(self, challenge: Challenge) -> None:
        with self._lock:
            self._kept = {id: each for id, each in self._kept.items() if each.expires > challenge.issued}
            self._kept[challenge.id] = challenge
            while len(self._kept) > self._most:
                del self._kept[next(iter(self._kept))]

    def take(self, id: str, now: datetime) -> Challenge | None:
        with self._lock:
            return self._kept.pop(id, None)


def languages() -> tuple[str, ...]:
    """The languages that there are words for."""
    return tuple(_lists())


def draw(
    now: datetime, language: str = "en", person: str | None = None, words: int = WORDS, seconds: float = SECONDS
) -> Challenge:
    """A new challenge of different words. Raises ConfigError for a language without a list, or impossible numbers."""
    lists = _lists()
    if language not in lists:
        raise ConfigError("challenge", "language", f"there are no words for {language!r}", suggest(language, lists))
    if not 3 <= words <= 20:
        raise ConfigError("challenge", "words", f"a phrase has 3 to 20 words, not {words}")
    chosen = secrets.SystemRandom().sample(lists[language], words)
    return _challenge(" ".join(chosen), language, now, person, seconds)


def of_text(text: str, now: datetime, person: str | None = None, seconds: float = SECONDS) -> Challenge:
    """A challenge with a phrase of the operator's own, for example digits. Raises ConfigError for one without words."""
    if not normalisation.normalised(text):
        raise ConfigError("--phrase", repr(text), "it has no words")
    return _challenge(text, OPEN_PHRASE, now, person, seconds)


def _challenge(phrase: str, language: str, now: datetime, person: str | None, seconds: float) -> Challenge:
    if not 1 <= seconds <= 86_400:
        raise ConfigError("challenge", "seconds", f"a challenge is valid for 1 s to a day, not {seconds:g} s")
    return Challenge(secrets.token_hex(16), phrase, language, now, now + timedelta(seconds=seconds), person)


@dataclass(frozen=True, slots=True)
class PhraseWord:
    """A word of the phrase, and what was recognized in its place. None: a word that is missing, or one too many."""

    expected: str | None
    recognized: str | None

    @property
    def is_right(self) -> bool:
        return self.expected == self.recognized


@dataclass(frozen=True, slots=True)
class PhraseMatch:
    """How a phrase was said: the alignment, and its word error rate after normalisation."""

    words: tuple[PhraseWord, ...]
    bound: float

    @property
    def errors(self) -> float:
        """(substituted + missing + additional words) / words of the phrase."""
        wrong = sum(not word.is_right for word in self.words)
        return wrong / max(1, sum(word.expected is not None for word in self.words))

    @property
    def is_said(self) -> bool:
        return self.errors <= self.bound


def match_phrase(phrase: str, recognized: str, bound: float = BOUND) -> PhraseMatch:
    """The words of a phrase, aligned with those that a recognizer understood, with the fewest errors (Levenshtein).

    Case, punctuation and marks do not count. Words before the phrase and after it do not count either, as a person may
    say something else too: of them no more than the phrase has words.
    """
    steps = (*normalisation.DEFAULT, "marks")
    expected = normalisation.normalised(phrase, steps).split()
    spoken = normalisation.normalised(recognized, steps).split()
    return PhraseMatch(_align(expected, spoken), bound)


def _align(expected: Sequence[str], spoken: Sequence[str]) -> tuple[PhraseWord, ...]:
    """The best alignment of all of `expected` with a part of `spoken`; ties go to the earliest part."""
    n, m = len(expected), len(spoken)
    free = n  # words before the phrase that cost nothing
    costs = [[0] * (m + 1) for _ in range(n + 1)]
    costs[0] = [max(0, j - free) for j in range(m + 1)]
    for i in range(1, n + 1):
        costs[i][0] = i
        for j in range(1, m + 1):
            replaced = costs[i - 1][j - 1] + (expected[i - 1] != spoken[j - 1])
            costs[i][j] = min(replaced, costs[i - 1][j] + 1, costs[i][j - 1] + 1)
    end = min(range(m + 1), key=lambda j: (costs[n][j] + max(0, m - j - free), j))
    rows = [PhraseWord(None, word) for word in reversed(spoken[end + free :])]
    i, j = n, end
    while i:
        if j and costs[i][j] == costs[i - 1][j - 1] + (expected[i - 1] != spoken[j - 1]):
            i, j = i - 1, j - 1
            rows.append(PhraseWord(expected[i], spoken[j]))
        elif costs[i][j] == costs[i - 1][j] + 1:
            i -= 1
            rows.append(PhraseWord(expected[i], None))
        else:
            j -= 1
            rows.append(PhraseWord(None, spoken[j]))
    rows += [PhraseWord(None, word) for word in reversed(spoken[: max(0, j - free)])]
    return tuple(reversed(rows))


@functools.cache
def _lists() -> dict[str, tuple[str, ...]]:
    text = (resources.files("diarize.guard") / "phrases.toml").read_text(encoding="utf-8")
    return {language: tuple(words.split()) for language, words in tomllib.loads(text).items()}
