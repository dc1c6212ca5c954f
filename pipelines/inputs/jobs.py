"""A recording to process, with what is known of it alone."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from diarize import files
from diarize.activity import NO_ACTIVITY, LocalActivity
from diarize.clustering.constraints import Constraints
from diarize.config import ClusterConfig
from diarize.errors import FormatError
from diarize.formats import words as word_files
from diarize.formats.words import ForeignWords
from diarize.text import counted
from diarize.timeline import intersect, total
from diarize.types import Audio, Segment, Word
from pipelines.inputs.recordings import Input

LATEST_WORD = 2.0  # s after the end of its recording at which a word may begin: recognizers round, and add pauses


@dataclass(frozen=True)
class MarkedSpeech:
    """A `Detector` that returns the speech segments of a user's file: sorted, disjoint."""

    speech: tuple[Segment, ...]
    digest: str  # sha256 of the file
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"file:{self.digest}"

    def __call__(self, audio: Audio, activity: LocalActivity = NO_ACTIVITY) -> tuple[Segment, ...]:
        """The segments within the recording."""
        return self.within(audio.duration).speech

    def within(self, duration: float) -> MarkedSpeech:
        """The segments within a recording of `duration` s, with a note where others are beyond its end."""
        inside = intersect(self.speech, (Segment(0.0, duration),)) if duration > 0 else ()
        beyond = total(self.speech) - total(inside)
        note = f"speech: {beyond:.3f} s are beyond the end of the recording and were cut off"
        return replace(self, speech=inside, notes=(*self.notes, note) if beyond > 1e-3 else self.notes)


@dataclass(frozen=True)
class WordsFromFile:
    """The words that another recognizer wrote into a file, which is read once, when they are needed.

    They are of a recording of `duration` s (None: of any).
    """

    path: Path
    names_in_text: bool = True
    duration: float | None = None

    @property
    def name(self) -> str:
        return f"file:{files.sha256(self.path)}"

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out or changed. Raises FormatError, as a call."""
        return tuple(f"words: {note}" for note in self._content.notes)

    def __call__(self) -> tuple[tuple[Word, ...], str | None]:
        """The words and their language. Raises FormatError for a damaged file, and for words of another recording."""
        words = self._content.words
        latest = max((word.start for word in words), default=0.0)
        if self.duration is not None and latest > self.duration + LATEST_WORD:
            late = sum(word.start > self.duration for word in words)
            raise FormatError(
                str(self.path),
                f"{late} of {counted(len(words), 'word')} begin after the end of the recording: the last one at "
                f"{latest:.1f} s, and the recording lasts {self.duration:.1f} s",
                "They belong to another recording, or their times have another unit (milliseconds). With --force they "
                "are used as they are.",
            )
        return words, self._content.language

    @cached_property
    def _content(self) -> ForeignWords:
        return word_files.read_file(self.path, self.names_in_text)


@dataclass(frozen=True)
class Job:
    """A recording and its own settings and annotations."""

    input: Input
    cluster: ClusterConfig  # the run's, or this recording's own
    words: Path | None = None  # file with words, instead of a recognizer
    speech: MarkedSpeech | None = None  # instead of voice activity detection
    known: Constraints | None = None  # known turns and links
    any_words: bool = False  # the words are used even if they cannot be of the recording
    settings_digest: str = ""  # digest of all that decides the result, without the recording itself (fingerprint.py)

    def annotation_digests(self) -> dict[str, str]:
        """Kind of annotation -> digest of its file and of its content: they decide the result too.

        Raises OSError where a file cannot be read any more.
        """
        digests = {}
        if self.words is not None:
            digests["words"] = WordsFromFile(self.words).name
        if self.speech is not None:
            digests["speech"] = _digest(self.speech.name, (self.speech.speech, self.speech.notes))
        if self.known is not None:
            known = self.known
            digests["known"] = _digest(known.name, (known.spans, known.people, sorted(known.cannot_link), known.notes))
        return digests


def _digest(name: str, content: object) -> str:
    """Of what the file `name` says about one recording: the file may be of others too."""
    return f"{name} {hashlib.sha256(repr(content).encode()).hexdigest()}"
