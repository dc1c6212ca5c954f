"""Challenges that are kept in a library, so that another process can take the answer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from diarize.guard import challenge
from diarize.guard.challenge import Challenge
from diarize.library.store import Library


@dataclass(frozen=True, slots=True)
class LibraryChallenges:
    """`Challenges` (diarize/guard/challenge.py) in a library that is open for changes."""

    library: Library

    def put(self, challenge: Challenge) -> None:
        with self.library.batch():
            expires, issued = _sortable(challenge.expires), _sortable(challenge.issued)
            self.library.guard.add_challenge(challenge.id, expires, challenge.as_json(), issued)

    def take(self, id: str, now: datetime) -> Challenge | None:
        if not id.isprintable():  # as every id is; databases do not accept every other text
            return None
        with self.library.batch():
            data = self.library.guard.take_challenge(id)
        return None if data is None else challenge.read(data)


def _sortable(time: datetime) -> str:
    return time.isoformat(timespec="microseconds")
