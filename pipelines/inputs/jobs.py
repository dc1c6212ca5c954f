"""What is to be done: a recording, with everything that somebody provided for it alone."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from diarize import files
from diarize.clustering.constraints import Constraints
from diarize.config import ClusterConfig
from diarize.formats import words as word_files
from diarize.timeline import intersect, total
from diarize.types import Audio, Segment, Word
from pipelines.inputs.recordings import Input


@dataclass(frozen=True)
class MarkedSpeech:
    """A `Detector` that finds the speech that somebody has marked: sorted, disjoint."""

    speech: tuple[Segment, ...]
    digest: str  # sha256 of the file it stands in
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"file:{self.digest}"

    def __call__(self, audio: Audio, likely: Sequence[Segment] = ()) -> tuple[Segment, ...]:
        """What of it is in the recording."""
        return self.within(audio.duration).speech

    def within(self, duration: float) -> MarkedSpeech:
        """What of it is in a recording of `duration` s; the notes say what is beyond."""
        inside = intersect(self.speech, (Segment(0.0, duration),)) if duration > 0 else ()
        beyond = total(self.speech) - total(inside)
        note = f"speech: {beyond:.3f} s of what was given lie beyond the recording's end and were cut"
        return replace(self, speech=inside, notes=(*self.notes, note) if beyond > 1e-3 else self.notes)


@dataclass(frozen=True)
class WordsFromFile:
    """The words that another recognizer wrote into a file."""

    path: Path

    @property
    def name(self) -> str:
        return f"file:{files.sha256(self.path)}"

    def __call__(self) -> tuple[tuple[Word, ...], str | None]:
        return word_files.read(self.path)


@dataclass(frozen=True)
class Job:
    """A recording and what is special about it."""

    input: Input
    cluster: ClusterConfig  # the run's, or this recording's own
    words: Path | None = None  # a transcript made elsewhere, instead of a recognizer
    speech: MarkedSpeech | None = None  # where somebody speaks, instead of voice activity detection
    known: Constraints | None = None  # what is known of who speaks
    recipe: str = ""  # digest of all that decides the result beside the file (fingerprint.py)

    def facts(self) -> dict[str, str]:
        """What was given with the recording, as plain data with digests of files: it decides the result too.

        Raises OSError where a given file cannot be read any more.
        """
        given = {}
        if self.words is not None:
            given["words"] = WordsFromFile(self.words).name
        if self.speech is not None:
            given["speech"] = _identity(self.speech.name, (self.speech.speech, self.speech.notes))
        if self.known is not None:
            known = self.known
            given["known"] = _identity(known.name, (known.stretches, known.people, sorted(known.apart), known.notes))
        return given


def _identity(name: str, said: object) -> str:
    """What is given with one recording by files that may say other things of other recordings."""
    return f"{name} {hashlib.sha256(repr(said).encode()).hexdigest()}"
