"""The verbs: what each stage must be able to do. Any object with this call signature is a backend.

`name` is a backend's identity: what it is, the digest of its weights, and every setting that changes its result. It is
part of the provenance of each transcript.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from diarize.activity import NO_ACTIVITY, LocalActivity
from diarize.config import ClusterConfig
from diarize.types import Audio, Embeddings, Identity, Labels, Segment, Transcript, Turn, Vectors, Word


class Named(Protocol):
    """Anything with an identity."""

    @property
    def name(self) -> str: ...


class Detector(Named, Protocol):
    """Where somebody speaks: sorted, disjoint segments."""

    def __call__(self, audio: Audio, activity: LocalActivity = NO_ACTIVITY) -> tuple[Segment, ...]:
        """`activity`: who of a few local speakers talks when, by a segmentation model. A detector may decide with it
        where somebody speaks, or ignore it.
        """
        ...


class Segmenter(Named, Protocol):
    """Who of a few local speakers talks when, in windows that overlap; two may talk at once."""

    def __call__(self, audio: Audio) -> LocalActivity: ...


class Embedder(Named, Protocol):
    """The voice in each segment: one unit row a segment, in their order."""

    def __call__(self, audio: Audio, segments: Sequence[Segment], activity: LocalActivity = NO_ACTIVITY) -> Embeddings:
        """`activity`: who of a few local speakers talks when, by a segmentation model. An embedder may give less weight
        to what two say at once, or ignore it.
        """
        ...


@runtime_checkable
class WholeEmbedder(Embedder, Protocol):
    """An embedder that gives long or divided speech a better vector than the mean of those of its windows."""

    def embed_with_whole(self, audio: Audio, segments: Sequence[Segment], whole: Sequence[Segment]) -> Embeddings:
        """As a call with `segments`, and one more row, the last, for all of `whole` (sorted, disjoint) together."""
        ...


class Clusterer(Named, Protocol):
    """Embeddings of n windows, sorted by start -> (n,) labels 0..k-1, numbered by first appearance."""

    def __call__(self, voices: Embeddings, activity: LocalActivity = NO_ACTIVITY) -> Labels:
        """`activity`: who of a few local speakers talks when, by a segmentation model. A clusterer may ignore it."""
        ...


class Identifier(Named, Protocol):
    """Who the speakers of one recording are, of the enrolled people, if any of them; one answer a speaker."""

    def __call__(
        self, vectors: Vectors, seconds: Sequence[float], bandwidth: float | None = None
    ) -> tuple[Identity, ...]:
        """`vectors` (k, d) of unit length, `seconds` of speech of each, `bandwidth` (Hz) of the recording."""
        ...


class Recognizer(Named, Protocol):
    """The words said in the speech segments, with times on the recording's own clock, and the language (or None)."""

    def __call__(self, audio: Audio, speech: Sequence[Segment]) -> tuple[tuple[Word, ...], str | None]: ...


class Countermeasure(Named, Protocol):
    """How much windows of sound are like a live voice rather than synthetic or replayed speech."""

    @property
    def seconds(self) -> float:
        """Length of a window (s); shorter segments are repeated."""
        ...

    @property
    def error(self) -> str:
        """How often it is wrong on recordings of the world, in words."""
        ...

    def __call__(self, audio: Audio, segments: Sequence[Segment]) -> NDArray[np.float32]:
        """One score a segment (n,): higher speaks for a live voice; log-odds where the network gives them."""
        ...


class Words(Named, Protocol):
    """The words of a recording from another recognizer, and the language (or None)."""

    def __call__(self) -> tuple[tuple[Word, ...], str | None]: ...


class Diarizer(Named, Protocol):
    """End to end: who speaks when, without the stages above."""

    def __call__(self, audio: Audio) -> tuple[Turn, ...]: ...

    def bounded(self, cluster: ClusterConfig) -> Diarizer:
        """The same diarizer with other bounds on the number of speakers."""
        ...


class Exporter(Protocol):
    """A transcript as text; files are written elsewhere (diarize/files.py)."""

    def __call__(self, transcript: Transcript) -> str: ...
