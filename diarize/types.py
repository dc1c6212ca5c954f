"""The values that flow from stage to stage. Times are float seconds from the start of the recording.

Times are tested with `is None`, never with truth (0.0 is a time), and never for equality. Arrays are read-only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from heapq import heappop, heappush
from math import isfinite
from types import MappingProxyType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from diarize import text as _text
from diarize.intervals import SpanIndex

Samples = NDArray[np.float32]  # (n_samples,), in [-1, 1]
Vectors = NDArray[np.float32]  # (n, d), rows of unit length
Labels = NDArray[np.int64]  # (n,), 0..k-1

UNIT_TOLERANCE = 1e-3  # how far from 1 the length of a float32 "unit" vector may be


class _Timed:
    """Base of values with a `start` and an `end` in seconds."""

    __slots__ = ()

    start: float
    end: float

    @property
    def duration(self) -> float:
        return self.end - self.start

    @property
    def middle(self) -> float:
        return (self.start + self.end) / 2

    def overlap(self, other: Segment) -> float:
        """Seconds shared with `other`; 0.0 if they only touch, and for a word of zero length."""
        return max(0.0, min(self.end, other.end) - max(self.start, other.start))

    def distance(self, other: Segment) -> float:
        """Seconds between this and `other`; 0.0 if they touch or overlap."""
        return max(0.0, self.start - other.end, other.start - self.end)


DRAFT = "The words are a draft"  # how the note of a recognizer begins whose words only help to find places


@dataclass(frozen=True, slots=True, order=True)
class Segment(_Timed):
    """A stretch of time [start, end), 0 <= start < end, in seconds."""

    start: float
    end: float

    def __post_init__(self) -> None:
        if not (isfinite(self.start) and isfinite(self.end) and 0 <= self.start < self.end):
            raise ValueError(f"a segment needs finite 0 <= start < end, got {self.start} .. {self.end}")


@dataclass(frozen=True, slots=True, order=True)
class Turn(Segment):
    """One speaker talking. Turns of two speakers may overlap."""

    speaker: str
    confidence: float | None = None  # in [0, 1]; None: the diarizer gives none
    human: bool = False  # a person decided or confirmed it (diarize/corrections)

    def __post_init__(self) -> None:
        Segment.__post_init__(self)
        if self.confidence is not None and not 0 <= self.confidence <= 1:
            raise ValueError(f"a turn's confidence lies in [0, 1], got {self.confidence}")


@dataclass(frozen=True, slots=True, order=True)
class ClusterTurn(Segment):
    """A turn whose speaker is still the label of a cluster, before speakers are numbered."""

    label: int
    confidence: float | None = None  # in [0, 1]


@dataclass(frozen=True, slots=True)
class Word(_Timed):
    """A recognized word. It may have zero length (start == end), as recognizers report such words.

    It is not a `Segment`, which is never empty.
    """

    start: float
    end: float
    text: str
    probability: float | None = None  # in [0, 1], from the recognizer; None: it gave none
    speaker: str | None = None  # None: nobody speaks there
    human: bool = False  # a person decided its text, times or speaker

    def __post_init__(self) -> None:
        if not (isfinite(self.start) and isfinite(self.end) and 0 <= self.start <= self.end):
            raise ValueError(f"a word needs finite 0 <= start <= end, got {self.start} .. {self.end} ({self.text!r})")
        if self.probability is not None and not 0 <= self.probability <= 1:
            raise ValueError(f"a word's probability lies in [0, 1], got {self.probability} ({self.text!r})")


@dataclass(frozen=True, slots=True)
class Utterance(Segment):
    """Consecutive words of one speaker, without a long pause inside. `speaker=None`: words of nobody."""

    speaker: str | None
    words: tuple[Word, ...]

    @property
    def text(self) -> str:
        return _text.join(word.text for word in self.words)


def identity_of(digest: str, line: str) -> str:
    """`Audio.identity`, of the sha256 of a file and a part of its sound ("": all of it)."""
    return hashlib.sha256(f"{digest} {line}".encode()).hexdigest() if line else digest


@dataclass(frozen=True, slots=True, eq=False)
class Audio:
    """One recording, decoded: mono float32 (n,) in [-1, 1] at `rate` Hz; may be memory-mapped.

    `digest` is the sha256 of the file's bytes, `lost` the spans that could not be decoded (they are silence here).
    `pcm` is the sha256 of the samples as little-endian float32; "" if it was not computed. `line` says which part of
    the file's sound this is, as "channel 1" or "track 2 channel 0"; "" for all of it.
    """

    id: str
    samples: Samples = field(repr=False)
    rate: int = 16_000
    digest: str = ""
    lost: tuple[Segment, ...] = ()
    pcm: str = ""
    line: str = ""

    def __post_init__(self) -> None:
        if self.samples.ndim != 1 or self.samples.dtype != np.float32:
            raise ValueError(f"{self.id}: samples must be float32 (n,), got {self.samples.dtype} {self.samples.shape}")
        if self.rate <= 0:
            raise ValueError(f"{self.id}: the rate must be positive, got {self.rate} Hz")
        self.samples.flags.writeable = False

    @property
    def duration(self) -> float:
        return len(self.samples) / self.rate

    @property
    def identity(self) -> str:
        """Hex sha256 that two recordings share if they are the same sound: of the file, and of a channel or track."""
        return identity_of(self.digest, self.line)


@dataclass(frozen=True, slots=True, eq=False)
class Embeddings:
    """Row i of `vectors` (n, d), of unit length, describes the voice in `segments[i]`.

    `model` is the embedder's identity: vectors of two models are never compared.
    """

    segments: tuple[Segment, ...]
    vectors: Vectors = field(repr=False)
    model: str

    def __post_init__(self) -> None:
        if self.vectors.dtype != np.float32 or self.vectors.ndim != 2 or len(self.vectors) != len(self.segments):
            raise ValueError(
                f"{len(self.segments)} segments need float32 vectors ({len(self.segments)}, d), "
                f"got {self.vectors.dtype} {self.vectors.shape}"
            )
        lengths = np.linalg.norm(self.vectors, axis=1)
        if len(lengths) and not np.allclose(lengths, 1, atol=UNIT_TOLERANCE):
            raise ValueError(f"vectors must have unit length, got {lengths.min():.4f} .. {lengths.max():.4f}")
        self.vectors.flags.writeable = False


@dataclass(frozen=True, slots=True, eq=False)
class SpeechTrack:
    """Sound that is processed by itself: the recording, or one channel, whose only speaker is `speaker`."""

    audio: Audio
    speech: tuple[Segment, ...]
    voices: Embeddings | None = None  # one embedding a window of the speech
    speaker: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Voice:
    """An enrolled person's voice: `vector` float32 (d,) of unit length, from `seconds` of enrolment speech."""

    id: str
    name: str
    vector: NDArray[np.float32] = field(repr=False)
    model: str
    seconds: float

    def __post_init__(self) -> None:
        if self.vector.dtype != np.float32 or self.vector.ndim != 1:
            raise ValueError(f"{self.name}: a voice is float32 (d,), got {self.vector.dtype} {self.vector.shape}")
        if not abs(float(np.linalg.norm(self.vector)) - 1) <= UNIT_TOLERANCE:
            raise ValueError(f"{self.name}: a voice has unit length, got {float(np.linalg.norm(self.vector)):.4f}")
        self.vector.flags.writeable = False


@dataclass(frozen=True, slots=True)
class Candidate:
    """One enrolled voice that was considered for a speaker of a recording, with its score."""

    voice: str  # Voice.id
    name: str
    score: float
    llr: float | None = None  # log-likelihood ratio (natural) of the score; None: it has none


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a speaker of a recording is: the enrolled voices that were considered, and the decision."""

    candidates: tuple[Candidate, ...]  # best first
    person: Candidate | None  # None: unknown
    reason: str  # of the decision, without names
    same: int | None = None  # position of another speaker of the recording who is the same person


@dataclass(frozen=True, slots=True)
class Speaker:
    """A speaker of one recording: `id` as in turns and words, and the name if the speaker was identified."""

    id: str
    name: str | None = None  # None: unknown
    candidates: tuple[Candidate, ...] = ()  # enrolled voices that were considered, best first
    voice: str | None = None  # Voice.id of whom it is; None: unknown
    reason: str = ""  # why they are named or not; "" without identification
    merged: tuple[str, ...] = ()  # ids of speakers who were identified as the same person, and merged into this one
    link: str | None = None  # name of an unknown person in all recordings of a run
    human: bool = False  # a person gave the name, or added the speaker

    @property
    def called(self) -> str | None:
        """The name that holds beyond this recording, if any."""
        return self.link if self.name is None else self.name

    @property
    def label(self) -> str:
        """The name for readers."""
        return self.id if self.called is None else self.called


@dataclass(frozen=True, slots=True)
class SpoofWindow(Segment):
    """A window that a countermeasure has scored: a higher score speaks for a live voice."""

    score: float
    speaker: str | None = None  # id of who talks there; None: not known


@dataclass(frozen=True, slots=True)
class SpoofScores:
    """What a countermeasure says of a recording: an advisory, unless the operator set a threshold."""

    model: str  # identity of the countermeasure
    error: str  # how often it is wrong on recordings of the world, in words
    windows: tuple[SpoofWindow, ...]
    threshold: float | None = None  # below which speech is suspected; None: nothing is decided

    def score(self, speaker: str | None = None) -> float | None:
        """The mean over the windows, or those of one speaker; None where there is none."""
        scores = [window.score for window in self.windows if speaker is None or window.speaker == speaker]
        return sum(scores) / len(scores) if scores else None

    def suspects(self, speaker: str | None = None) -> bool:
        """Whether the score lies below the operator's threshold."""
        score = self.score(speaker)
        return self.threshold is not None and score is not None and score < self.threshold


@dataclass(frozen=True, slots=True)
class Source:
    """What was decoded, and how. Nothing here differs between two identical runs."""

    path: str  # relative to the input folder; the file's name if the file itself was the input
    digest: str  # sha256 of the file's bytes
    size: int  # bytes
    container: str = ""
    codec: str = ""
    stream: int = 0  # index of the audio stream that was chosen
    streams: int = 1  # audio streams in the file
    rate: int = 0  # Hz, as recorded
    channels: int = 0  # as recorded
    channel: str = ""  # which channels were used, and why
    declared: float | None = None  # s, by the container; None: it does not declare a length
    decoded: float = 0.0  # s of sound that were decoded
    notes: tuple[str, ...] = ()  # clipping, replaced samples, gaps, ...
    pcm: tuple[str, ...] = ()  # sha256 of the decoded samples (16 kHz, little-endian float32), of each channel used


@dataclass(frozen=True, slots=True)
class Provenance:
    """What produced a transcript, as far as it decides the result; nothing here differs between identical runs."""

    product: str = ""  # name and version
    source: Source | None = None
    stages: Mapping[str, str] = field(default_factory=dict)  # stage -> identity of the backend
    settings: Mapping[str, Any] = field(default_factory=dict)  # section -> key -> value, as used
    notes: tuple[str, ...] = ()  # what was degraded, replaced or left out, and how to improve it
    models: Mapping[str, str] = field(default_factory=dict)  # name in the model store -> sha256, of the run's models
    seeds: Mapping[str, int] = field(default_factory=dict)  # stage -> seed of its random numbers
    versions: Mapping[str, str] = field(default_factory=dict)  # package -> version, of those that may change a result
    licences: Mapping[str, str] = field(default_factory=dict)  # name in the model store -> licence and authors to name

    def __post_init__(self) -> None:
        for name in ("stages", "settings", "models", "seeds", "versions", "licences"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    def __reduce__(self) -> tuple[Any, ...]:  # a mapping proxy does not pickle
        values = (getattr(self, each.name) for each in fields(self))
        return type(self), tuple(dict(value) if isinstance(value, Mapping) else value for value in values)


@dataclass(frozen=True, slots=True)
class Transcript:
    """Who said what, when, in one recording: the input of every exporter.

    `turns` are sorted by start; `words` stand in the order in which they were recognized or read. Every speaker named
    by a turn or a word is one of `speakers`; `lost` are the spans of the recording that could not be decoded.
    """

    recording: str
    duration: float
    language: str | None = None
    speakers: tuple[Speaker, ...] = ()
    turns: tuple[Turn, ...] = ()
    words: tuple[Word, ...] = ()
    lost: tuple[Segment, ...] = ()
    provenance: Provenance = field(default_factory=Provenance)
    spoofing: SpoofScores | None = None  # None: no countermeasure was asked

    def __post_init__(self) -> None:
        if not (isfinite(self.duration) and self.duration >= 0):
            raise ValueError(f"{self.recording}: a duration is finite and not negative, got {self.duration}")
        known = [speaker.id for speaker in self.speakers]
        if len(set(known)) != len(known):
            raise ValueError(f"{self.recording}: two speakers share an id: {known}")
        used = {turn.speaker for turn in self.turns} | {w.speaker for w in self.words if w.speaker is not None}
        if unknown := sorted(used - set(known)):
            raise ValueError(f"{self.recording}: turns or words of speakers who are not listed: {unknown}")
        if any(a.start > b.start for a, b in zip(self.turns, self.turns[1:], strict=False)):
            raise ValueError(f"{self.recording}: turns must be sorted by start")

    @property
    def draft(self) -> str:
        """What a reader must know before the first word: the note of a recognizer whose words are a draft; else ""."""
        return next((note for note in self.provenance.notes if note.startswith(DRAFT)), "") if self.words else ""

    def label(self, speaker: str | None) -> str:
        """The name for readers of a speaker id; "" for nobody."""
        return "" if speaker is None else next(s.label for s in self.speakers if s.id == speaker)

    def utterances(self, pause: float = 1.0) -> tuple[Utterance, ...]:
        """Speaker blocks by start: one speaker's words, until another speaks in between or `pause` seconds pass.

        Words of two speakers who talk at once do not end each other's blocks: only a word that begins after the last
        word of a block and ends before its next one does. A block of words of zero length lasts one millisecond, as a
        segment is never empty.
        """
        blocks: list[list[Word]] = []
        current: dict[str | None, list[Word]] = {}  # speaker -> their latest block
        ends: dict[str | None, float] = {}  # speaker -> end of that block
        running: list[tuple[float, int, Word]] = []  # heap by end: words that may still run
        latest_start: dict[str | None, float] = {}  # speaker -> latest start of those of their words that have ended
        for i, word in enumerate(sorted(self.words, key=lambda w: (w.start, w.end))):
            while running and running[0][0] <= word.start:
                ended = heappop(running)[2]
                latest_start[ended.speaker] = max(ended.start, latest_start.get(ended.speaker, ended.start))
            heappush(running, (word.end, i, word))

            speaker = word.speaker
            continues = speaker in current and word.start - ends[speaker] < pause
            if continues and not any(s >= ends[speaker] for other, s in latest_start.items() if other != speaker):
                current[speaker].append(word)
                ends[speaker] = max(ends[speaker], word.end)
            else:
                current[speaker] = [word]
                ends[speaker] = word.end
                blocks.append(current[speaker])
        return tuple(
            Utterance(b[0].start, max(max(w.end for w in b), b[0].start + 0.001), b[0].speaker, tuple(b))
            for b in blocks
        )

    def spoken(self) -> tuple[tuple[Turn, str], ...]:
        """Every turn with its text.

        A labelled word belongs to the turn of its speaker that it overlaps most, else to the nearest one; words of
        nobody are in no turn (`utterances()` has them).
        """
        positions: dict[str, list[int]] = {}  # speaker -> positions of their turns
        for i, turn in enumerate(self.turns):
            positions.setdefault(turn.speaker, []).append(i)
        index = {speaker: SpanIndex([self.turns[i] for i in own]) for speaker, own in positions.items()}
        words: list[list[Word]] = [[] for _ in self.turns]
        for word in sorted(self.words, key=lambda w: (w.start, w.end)):
            if word.speaker is not None and word.speaker in index:
                words[positions[word.speaker][index[word.speaker].closest(word)]].append(word)
        return tuple((turn, _text.join(w.text for w in words[i])) for i, turn in enumerate(self.turns))


class Counts:
    """Numbers of a dataclass that add field by field (`+`, `sum`), and to no other class: rates are never averaged."""

    __slots__ = ()

    def __add__(self, other: Self) -> Self:
        name = type(self).__name__
        if type(other) is not type(self):
            raise TypeError(f"{name} can only be added to {name}, not to {type(other).__name__}: add counts, not rates")
        names = [item.name for item in fields(self)]  # type: ignore[arg-type]  # every subclass is a dataclass
        return type(self)(*(getattr(self, name) + getattr(other, name) for name in names))

    def __radd__(self, other: int) -> Self:
        name = type(self).__name__
        if other != 0 or not isinstance(other, int):  # sum() starts from int 0
            raise TypeError(f"{name} can only be added to {name}, not to {other!r}: add counts, not rates")
        return self


@dataclass(frozen=True, slots=True)
class Errors(Counts):
    """Diarization errors in seconds; the rate is derived from them."""

    missed: float = 0.0
    false_alarm: float = 0.0
    confusion: float = 0.0
    total: float = 0.0  # s of reference speech, overlap counted for each speaker

    def __post_init__(self) -> None:
        for item in fields(self):
            if not (isfinite(getattr(self, item.name)) and getattr(self, item.name) >= 0):
                raise ValueError(f"{item.name} is a number of seconds, got {getattr(self, item.name)}")

    @property
    def rate(self) -> float:
        """Diarization error rate: (missed + false alarm + confusion) / total; 0 without reference speech and errors."""
        wrong = self.missed + self.false_alarm + self.confusion
        if self.total > 0:
            return wrong / self.total
        return 0.0 if wrong == 0 else float("inf")


def least_probability(*probabilities: float | None) -> float | None:
    """Of a word that was put together from tokens: the lowest of those that are known; None if none is."""
    return min((probability for probability in probabilities if probability is not None), default=None)


def speakers_of(turns: Iterable[Turn]) -> tuple[Speaker, ...]:
    """The speakers of `turns`, in order of first appearance, none of them named."""
    return tuple(Speaker(id) for id in dict.fromkeys(turn.speaker for turn in turns))
