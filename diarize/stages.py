"""The verbs: what each stage must be able to do. Any object with this call signature is a backend.

`name` is a backend's identity: what it is, the digest of its weights, and every setting that changes its result. It is
part of the provenance of each transcript.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from diarize.activity import LocalActivity, Present
from diarize.config import ClusterConfig
from diarize.types import Audio, Embeddings, Identity, Labels, Segment, Transcript, Turn, Vectors, Word

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix  # a tenth of a second to load, where nobody may need it


class Named(Protocol):
    """Anything with an identity."""

    @property
    def name(self) -> str: ...


class Detector(Named, Protocol):
    """Where somebody speaks: sorted, disjoint segments."""

    def __call__(self, audio: Audio) -> tuple[Segment, ...]: ...


@runtime_checkable
class AdvisedDetector(Named, Protocol):
    """A `Detector` that needs less evidence of its own where something else is sure of speech."""

    def __call__(self, audio: Audio) -> tuple[Segment, ...]: ...

    def advised(self, audio: Audio, likely: Sequence[Segment]) -> tuple[Segment, ...]:
        """The same, with the segments (sorted, disjoint) where speech is likely."""
        ...


class Segmenter(Named, Protocol):
    """Who of a few local speakers talks when, in windows that overlap; two may talk at once."""

    def __call__(self, audio: Audio) -> LocalActivity: ...


class Embedder(Named, Protocol):
    """The voice heard in each segment: one unit row a segment, in the order given."""

    def __call__(self, audio: Audio, segments: Sequence[Segment]) -> Embeddings: ...


class Clusterer(Named, Protocol):
    """(n, d) unit rows -> (n,) labels 0..k-1, numbered by first appearance."""

    def __call__(self, vectors: Vectors) -> Labels: ...


@runtime_checkable
class InformedClusterer(Named, Protocol):
    """A `Clusterer` that does better where it knows the embedder, or who of a few local speakers is in each window."""

    def __call__(self, vectors: Vectors) -> Labels: ...

    def informed(
        self,
        vectors: Vectors,
        model: str,
        tracks: csr_matrix | None = None,
        present: Callable[[], Present] | None = None,
    ) -> Labels:
        """The same, with the identity of the embedder, the share of each window (t, n) that each local speaker fills
        alone, and who tells, where it matters, how many speakers are `present` at least.
        """
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


class Words(Named, Protocol):
    """The words of a recording that somebody else recognized, and the language (or None)."""

    def __call__(self) -> tuple[tuple[Word, ...], str | None]: ...


class Diarizer(Named, Protocol):
    """End to end: who speaks when, without the stages above."""

    def __call__(self, audio: Audio) -> tuple[Turn, ...]: ...

    def bounded(self, cluster: ClusterConfig) -> Diarizer:
        """The same diarizer with other bounds on the number of speakers."""
        ...


class Exporter(Protocol):
    """A transcript as text; writing the file is somebody else's work."""

    def __call__(self, transcript: Transcript) -> str: ...
