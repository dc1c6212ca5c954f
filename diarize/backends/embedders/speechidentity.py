"""Speaker embeddings of SpeechIdentity (github.com/douglas125/SpeechIdentity, MIT): 641 k parameters, 48 kHz.

Two bidirectional LSTM layers of 128 over a log mel spectrogram (80 bands from 80 to 10,000 Hz, 21 ms every 5 ms); their
last states go through a linear layer, and the result has unit length. Vectors are compared by their Euclidean
distance (diarize/models/registry.toml). The graph is built here from the weights and run by ONNX Runtime.

The model was trained on recordings of 48 kHz. Sound without the upper half of its bands moves its vectors far, so those
of 16 kHz audio have an identity of their own.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import ceil, gcd
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from diarize.activity import NO_ACTIVITY, LocalActivity
from diarize.audio import excerpts
from diarize.backends import onnx_sessions, pooling
from diarize.backends.features.front_ends import mel_filters
from diarize.backends.graphs.builder import GraphBuilder
from diarize.errors import BackendError, ModelRefused
from diarize.files import sha256
from diarize.types import Audio, Embeddings, Samples, Segment
from diarize.units import RATE, to_samples

Floats = NDArray[np.float32]

NATIVE = 48_000  # Hz
FFT, HOP = 1024, 256  # samples of a frame, and between two frames
BANDS, LOWEST, HIGHEST = 80, 80.0, 10_000.0  # bands of the mel spectrogram, and their range in Hz
FLOOR = 1e-6  # added before the logarithm
HIDDEN, DIMENSION = 128, 128
LONGEST = 120.0  # s; a longer segment is cut into parts, so that memory stays bounded
_BLOCK = 4096  # frames transformed at once
# Name in the file -> shape. Kernel, recurrent kernel and bias of: first layer forward, backward, second layer forward,
# backward; then the linear layer. The columns of LSTM kernels are the gates i, f, g, o.
SHAPES = {
    **{f"v{3 * i}": (BANDS if i < 2 else 2 * HIDDEN, 4 * HIDDEN) for i in range(4)},
    **{f"v{3 * i + 1}": (HIDDEN, 4 * HIDDEN) for i in range(4)},
    **{f"v{3 * i + 2}": (4 * HIDDEN,) for i in range(4)},
    "kernel": (2 * HIDDEN, DIMENSION),
    "bias": (DIMENSION,),
}


class _Part(NamedTuple):
    start: int  # sample
    end: int
    owner: int  # position of the segment


class SpeechIdentityEmbedder:
    """An `Embedder`. Each segment is normalised and embedded as a whole; over two minutes, vectors of parts are
    averaged."""

    def __init__(self, session: Any, digest: str, rate: int, threads: int) -> None:
        self._session, self._digest, self._threads = session, digest, threads
        self.rate = rate  # Hz, of the audio that it takes

    @property
    def name(self) -> str:
        device = ",cuda" if onnx_sessions.on_cuda(self._session) else ""
        return f"speechidentity@{self._digest[:16]}(rate={self.rate}{device})"

    @property
    def notes(self) -> tuple[str, ...]:
        narrow = f"speechidentity: it needs sound of {NATIVE} Hz and gets {self.rate} Hz here: expect more errors"
        return (*onnx_sessions.notes(self._session), *((narrow,) if self.rate < NATIVE else ()))

    def __call__(self, audio: Audio, segments: Sequence[Segment], activity: LocalActivity = NO_ACTIVITY) -> Embeddings:
        """`activity` is not used. Raises AudioError if the rate is not `rate`."""
        onnx_sessions.check_rate(audio, self.rate, self.name)
        parts = [[part] for i, segment in enumerate(segments) for part in self._parts(segment, i)]

        def embed(batch: Sequence[_Part]) -> Floats:
            (part,) = batch  # lengths differ, and the network reads a segment in both directions
            return self._embed(excerpts.cut(audio.samples, part.start, part.end))

        return pooling.embed_parts(audio, segments, parts, embed, DIMENSION, self._threads, self.name)

    def embed_with_whole(self, audio: Audio, segments: Sequence[Segment], whole: Sequence[Segment]) -> Embeddings:
        """As a call with `segments`, and one more row, the last: the vector of the parts of `whole`, joined.

        Raises AudioError if the rate is not `rate`, ValueError if `whole` is empty.
        """
        if not whole:
            raise ValueError("no segment to embed")
        rows = self(audio, segments).vectors
        joined = np.concatenate([excerpts.cut(audio.samples, *self._samples(part)) for part in whole])
        last = self(Audio(audio.id, joined, audio.rate), [Segment(0.0, len(joined) / audio.rate)]).vectors
        around = Segment(whole[0].start, whole[-1].end)
        return Embeddings((*segments, around), np.concatenate([rows, last]), self.name)

    def _samples(self, segment: Segment) -> tuple[int, int]:
        start, end = to_samples(segment.start, self.rate), to_samples(segment.end, self.rate)
        return start, max(end, start + 1)

    def _parts(self, segment: Segment, owner: int) -> list[_Part]:
        start, end = self._samples(segment)
        count = ceil((end - start) / (LONGEST * self.rate))
        edges = [start + (end - start) * i // count for i in range(count + 1)]
        return [_Part(a, b, owner) for a, b in pairwise(edges)]

    def _embed(self, samples: Samples) -> Floats:
        """(n,) at `rate` -> (1, DIMENSION)."""
        if self.rate != NATIVE:
            from scipy.signal import resample_poly

            divisor = gcd(NATIVE, self.rate)
            samples = resample_poly(samples, NATIVE // divisor, self.rate // divisor).astype(np.float32)
        vectors: Floats = self._session.run(None, {"mel": spectrogram(samples)[None]})[0]
        return vectors


def load(
    model: Path, rate: int = RATE, batch: int = 1, device: str = "cpu", threads: int = 0
) -> SpeechIdentityEmbedder:
    """The embedder whose weights are the NumPy archive `model`, for audio of `rate` Hz; `batch` is ignored.

    Raises ModelRefused if the file holds other arrays, or Python objects; BackendError for a device that cannot be
    used, or another rate.
    """
    if rate not in (RATE, NATIVE):
        raise BackendError(f"speechidentity takes audio of {NATIVE} or {RATE} Hz, not of {rate} Hz.")
    session = onnx_sessions.open_session(_graph(read_weights(model)), device, "speechidentity")
    return SpeechIdentityEmbedder(session, sha256(model), rate, onnx_sessions.count_threads(threads))


def read_weights(path: Path) -> dict[str, Floats]:
    """The arrays of SHAPES. Raises ModelRefused, without unpickling anything, for any other content."""
    cure = "Get the file again: diarize models import FOLDER."
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            weights = {name: archive[name] for name in SHAPES}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, AttributeError, TypeError) as error:
        problem = f"it is not a NumPy archive of plain arrays with the weights of SpeechIdentity ({error})"
        raise ModelRefused(str(path), problem.replace("\n", " "), cure) from error
    for name, shape in SHAPES.items():
        if weights[name].shape != shape or weights[name].dtype != np.float32:
            problem = f"the array {name!r} is {weights[name].dtype} {weights[name].shape}, not float32 {shape}"
            raise ModelRefused(str(path), problem, cure)
    return weights


def spectrogram(samples: Samples) -> Floats:
    """Samples (n,) at 48 kHz -> (ceil(n / 256), 80): log mel magnitudes with mean 0 and deviation 1 over all values."""
    count = max(1, ceil(len(samples) / HOP))
    padded = np.zeros((count - 1) * HOP + FFT, np.float32)
    padded[: len(samples)] = samples[: len(padded)]
    frames = np.lib.stride_tricks.sliding_window_view(padded, FFT)[::HOP]
    hann = np.hanning(FFT + 1)[:-1].astype(np.float32)
    filters = mel_filters(BANDS, FFT // 2 + 1, LOWEST, HIGHEST, NATIVE / 2).astype(np.float32)
    mel = np.empty((count, BANDS), np.float32)
    for at in range(0, count, _BLOCK):
        mel[at : at + _BLOCK] = (
            np.abs(np.fft.rfft(frames[at : at + _BLOCK] * hann, axis=1)).astype(np.float32) @ filters
        )
    logarithms = np.log(mel.astype(np.float64) + FLOOR)
    deviation = logarithms.std()
    normal = (logarithms - logarithms.mean()) / (deviation if deviation > 0 else 1.0)
    return np.asarray(normal, dtype=np.float32)


def _graph(weights: Mapping[str, Floats]) -> bytes:
    """The network as a serialized ONNX graph: `mel` (1, T, 80) -> `vectors` (1, 128)."""
    graph = GraphBuilder()
    constant, add = graph.constant, graph.add
    at = add("Transpose", ["mel"], perm=[1, 0, 2])  # time first, as ONNX's LSTM expects it
    for layer in range(2):
        directions = [3 * (2 * layer + i) for i in range(2)]
        kernels = [
            constant(f"{kind}{layer}", np.stack([_gates(weights[f"v{first + offset}"].T) for first in directions]))
            for offset, kind in enumerate(("input", "recurrent"))
        ]
        bias = np.stack([_gates(weights[f"v{first + 2}"]) for first in directions])
        inputs = [at, *kernels, constant(f"bias{layer}", np.concatenate([bias, np.zeros_like(bias)], axis=1))]
        all_steps = add("LSTM", inputs, [f"all{layer}", f"end{layer}"], hidden_size=HIDDEN, direction="bidirectional")
        if layer == 0:
            by_item = add("Transpose", [all_steps], perm=[0, 2, 1, 3])  # (T, 1, directions, HIDDEN)
            at = add("Reshape", [by_item, constant("steps", np.array([0, 0, 2 * HIDDEN]))])
    both = add("Reshape", [add("Transpose", ["end1"], perm=[1, 0, 2]), constant("ends", np.array([0, 2 * HIDDEN]))])
    linear = [constant("kernel", weights["kernel"]), constant("bias", weights["bias"])]
    add("LpNormalization", [add("Gemm", [both, *linear])], ["vectors"], axis=1, p=2)
    return graph.serialise("speechidentity", ("mel", [1, "T", BANDS]), ("vectors", [1, DIMENSION]))


def _gates(rows: Floats) -> Floats:
    """Rows in the order i, f, g, o of Keras in that of ONNX: i, o, f, g."""
    i, f, g, o = np.split(rows, 4)
    return np.concatenate([i, o, f, g])
