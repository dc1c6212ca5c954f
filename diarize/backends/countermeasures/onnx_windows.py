"""A countermeasure from an ONNX graph that takes windows of samples, or from the weights of AASIST.

Any graph can be used that takes float32 samples at 16 kHz, (N, n) or (N, 1, n), and gives two logits a window. Its
score is their difference, bona fide minus spoofed: the log-odds that the network gives a live voice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarize.audio import excerpts
from diarize.backends import onnx_sessions
from diarize.backends.countermeasures import aasist_graph
from diarize.errors import ModelRefused
from diarize.files import sha256
from diarize.models import checkpoint
from diarize.types import Audio, Segment
from diarize.units import RATE, to_samples

UNKNOWN_ERROR = "its error on recordings of the world is not known"


class WindowCountermeasure:
    """A `Countermeasure`. A segment shorter than a window is repeated, as the authors of AASIST do."""

    def __init__(
        self, session: Any, digest: str, called: str, error: str, bona_fide: int, samples: int, threads: int
    ) -> None:
        self._session, self._digest, self._called = session, digest, called
        self._bona_fide, self._samples, self._threads = bona_fide, samples, threads
        self.error = error
        self._input = session.get_inputs()[0]

    @property
    def name(self) -> str:
        device = "(cuda)" if onnx_sessions.on_cuda(self._session) else ""
        return f"{self._called}@{self._digest[:16]}{device}"

    @property
    def notes(self) -> tuple[str, ...]:
        return onnx_sessions.notes(self._session)

    @property
    def seconds(self) -> float:
        """Length of a window."""
        return self._samples / RATE

    def __call__(self, audio: Audio, segments: Sequence[Segment]) -> NDArray[np.float32]:
        """A score (n,) a segment; of a segment longer than a window, that of its beginning.

        Raises AudioError if the rate is not 16 kHz.
        """
        onnx_sessions.check_rate(audio, RATE, self._called)
        scores = onnx_sessions.map_in_order(lambda s: self._score(audio, s), segments, self._threads, audio.samples)
        return np.fromiter(scores, np.float32, len(segments))

    def _score(self, audio: Audio, segment: Segment) -> float:
        start = to_samples(segment.start)
        end = max(start + 1, min(to_samples(segment.end), start + self._samples, len(audio.samples)))
        window = np.resize(excerpts.cut(audio.samples, start, end), self._samples).astype(np.float32, copy=False)
        logits = self._logits(window)
        return float(logits[self._bona_fide] - logits[1 - self._bona_fide])

    def _logits(self, window: NDArray[np.float32]) -> NDArray[np.float32]:
        shape = (1,) * (len(self._input.shape) - 1)
        output: NDArray[np.float32] = self._session.run(None, {self._input.name: window.reshape(*shape, -1)})[0]
        return output.reshape(-1)


def load(
    model: Path,
    format: Mapping[str, Any],
    called: str = "countermeasure",
    error: str = UNKNOWN_ERROR,
    device: str = "cpu",
    threads: int = 0,
) -> WindowCountermeasure:
    """The countermeasure in the file `model`, as the registry's `format` says: an architecture, else an ONNX graph.

    `format` may have `window_samples`, where the graph takes any number, and `bona_fide`, the position of that logit.
    Raises ModelRefused for another kind of model, BackendError for a device that cannot be used.
    """
    if format.get("architecture") == "aasist":
        problem = "it does not have the weights of AASIST"
        with onnx_sessions.refuse_other_models(model, problem):
            graph: Path | bytes = aasist_graph.build(checkpoint.read_archive(model), format)
    else:
        graph, problem = model, "it is not an ONNX graph that takes windows of samples"
    bona_fide = int(format.get("bona_fide", 1))
    with onnx_sessions.refuse_other_models(model, problem):
        session = onnx_sessions.open_session(graph, device, called)
        own = session.get_inputs()[0].shape[-1]
        samples = own if isinstance(own, int) else int(format.get("window_samples", aasist_graph.SAMPLES))
        threads = onnx_sessions.count_threads(threads)
        backend = WindowCountermeasure(session, sha256(model), called, error, bona_fide, samples, threads)
        logits = backend._logits(np.zeros(samples, np.float32))
    if logits.shape != (2,) or len(session.get_inputs()) != 1:
        cure = "It must give two logits a window: spoofed, bona fide."
        raise ModelRefused(str(model), f"for one window it gives {logits.size} numbers, not 2", cure)
    return backend
