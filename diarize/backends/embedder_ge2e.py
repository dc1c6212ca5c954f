"""GE2E speaker embeddings (Wan et al. 2018, arXiv 1710.10467) with the weights of Resemblyzer (Apache-2.0).

Three LSTM layers of 256 over 160 frames of a mel power spectrogram (40 bands, 25 ms every 10 ms, not logarithmic); the
last hidden state goes through a linear layer, ReLU and L2 normalisation. The graph is built here from the weights and
run by ONNX Runtime. Quiet speech is amplified first, as the input of the network is power, not its logarithm.

Frames lie on one grid for the whole recording, so that overlapping windows share their spectra; a window starts at the
frame nearest to its segment's start (5 ms off at most).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from diarize.activity import NO_ACTIVITY, LocalActivity
from diarize.audio import excerpts
from diarize.backends import onnx_sessions, pooling
from diarize.backends.graphs.builder import GraphBuilder
from diarize.errors import ModelRefused
from diarize.files import sha256
from diarize.models import checkpoint
from diarize.timeline import union
from diarize.types import Audio, Embeddings, Samples, Segment
from diarize.units import RATE, to_samples

HOP = 160  # samples between frames
FFT = 400  # samples of a frame
BANDS = 40
FRAMES = 160  # of a window, 1.6 s
HIDDEN = 256
LAYERS = 3
STRIDE = 80  # frames at most between the parts of a segment longer than a window
LEVEL = -20  # dBFS, RMS to which quieter speech is raised, by measurement (docs/method/embeddings.md)


class _Window(NamedTuple):
    """Frames start .. end, repeated until there are 160."""

    start: int  # frame
    end: int  # frame; at most 160 later
    owner: int  # position of the segment


class GE2E:
    """An `Embedder`. A segment longer than 1.6 s gets the mean of windows over it; a shorter one is repeated."""

    def __init__(self, session: Any, digest: str, batch: int, threads: int) -> None:
        self._session, self._digest, self._batch, self._threads = session, digest, batch, threads

    @property
    def name(self) -> str:
        return f"ge2e@{self._digest[:16]}(level={LEVEL}{',cuda' if onnx_sessions.on_cuda(self._session) else ''})"

    @property
    def notes(self) -> tuple[str, ...]:
        return onnx_sessions.notes(self._session)

    def __call__(self, audio: Audio, segments: Sequence[Segment], activity: LocalActivity = NO_ACTIVITY) -> Embeddings:
        """`activity` is not used. Raises AudioError if the rate is not 16 kHz."""
        onnx_sessions.check_rate(audio, RATE, "ge2e")
        windows = sorted(window for i, segment in enumerate(segments) for window in _windows(segment, i))
        batches = [windows[i : i + self._batch] for i in range(0, len(windows), self._batch)]

        # One level for a recording keeps its dynamics; amplified window by window, vectors of one voice differ more.
        ranges = ((to_samples(stretch.start), to_samples(stretch.end)) for stretch in union(segments))
        level = excerpts.measure_rms(audio.samples, ranges)
        gain = np.float32(max(1.0, 10 ** (LEVEL / 20) / level) ** 2 if level > 0 else 1.0)  # of the power

        def embed(batch: Sequence[_Window]) -> NDArray[np.float32]:
            power = _power(audio.samples, batch) * gain
            vectors: NDArray[np.float32] = self._session.run(None, {"power": power})[0]
            return vectors

        return pooling.embed_parts(audio, segments, batches, embed, HIDDEN, self._threads, self.name)


def load(model: Path, batch: int = 16, device: str = "cpu", threads: int = 0) -> GE2E:
    """The embedder whose weights are Resemblyzer's checkpoint `model`, or a model that `diarize export-model` wrote.

    `batch` windows are computed at once by each of `threads` threads (0: one a core); neither changes the result.
    Raises ModelRefused if the file is not a checkpoint, BackendError for a device that cannot be used.
    """
    graph = model.read_bytes() if model.suffix == ".onnx" else build(model)
    with onnx_sessions.refuse_other_models(model, "it is not the GE2E model"):
        session = onnx_sessions.open_session(graph, device, "ge2e")
        shape = session.run(None, {"power": np.zeros((1, FRAMES, FFT // 2 + 1), np.float32)})[0].shape
    if shape != (1, HIDDEN):
        raise ModelRefused(str(model), f"it is not the GE2E model: its vectors are {shape}")
    return GE2E(session, sha256(model), batch, onnx_sessions.count_threads(threads))


def build(model: Path) -> bytes:
    """The ONNX graph of a checkpoint: `power` (N, 160, 201) -> `vectors` (N, 256). Raises ModelRefused."""
    try:
        return _graph(checkpoint.read_tensors(model))
    except KeyError as error:
        raise ModelRefused(str(model), f"it lacks the tensor {error} of the GE2E model") from error


def power(samples: Samples) -> NDArray[np.float32]:
    """(n, 160, 201): what the network takes for all windows of samples (m,) at 16 kHz."""
    windows = sorted(_windows(Segment(0.0, len(samples) / RATE), 0))
    level = excerpts.measure_rms(samples, [(0, len(samples))])
    return _power(samples, windows) * np.float32(max(1.0, 10 ** (LEVEL / 20) / level) ** 2 if level > 0 else 1.0)


def _windows(segment: Segment, owner: int) -> list[_Window]:
    """The windows that cover a segment."""
    first, count = round(segment.start * RATE / HOP), max(1, round(segment.duration * RATE / HOP))
    if count <= FRAMES:
        return [_Window(first, first + count, owner)]
    spare = count - FRAMES
    steps = ceil(spare / STRIDE)
    starts = (first + round(i * spare / steps) for i in range(steps + 1))
    return [_Window(start, start + FRAMES, owner) for start in starts]


def _power(samples: Samples, windows: Sequence[_Window]) -> NDArray[np.float32]:
    """Power spectra (n, 160, 201) of windows that are sorted by start.

    As librosa does with its defaults: frame k is centred at sample 160 k, Hann window (periodic), |rfft|^2.
    """
    spectra = np.empty((len(windows), FRAMES, FFT // 2 + 1), np.float32)
    hann = np.hanning(FFT + 1)[:-1].astype(np.float32)
    i = 0
    while i < len(windows):
        # Windows i .. j overlap: their frames are computed once.
        j, end = i + 1, windows[i].end
        while j < len(windows) and windows[j].start < end:
            end = max(end, windows[j].end)
            j += 1
        first = windows[i].start
        sound = excerpts.cut(samples, first * HOP - FFT // 2, (end - 1) * HOP + FFT // 2)
        transform = np.fft.rfft(np.lib.stride_tricks.sliding_window_view(sound, FFT)[::HOP] * hann, axis=1)
        power = np.square(transform.real) + np.square(transform.imag)
        for k in range(i, j):
            spectra[k] = np.resize(power[windows[k].start - first : windows[k].end - first], spectra[k].shape)
        i = j
    return spectra


def _filterbank() -> NDArray[np.float32]:
    """Mel filters (201, 40) with librosa's defaults: Slaney's scale, triangles of equal area."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # in a notebook, a dependency of librosa warns about missing progress bars
        from librosa.filters import mel

    return np.ascontiguousarray(mel(sr=RATE, n_fft=FFT, n_mels=BANDS).T, dtype=np.float32)


def _graph(tensors: Mapping[str, NDArray[np.float32]]) -> bytes:
    """The network as a serialized ONNX graph: `power` (N, 160, 201) -> `vectors` (N, 256)."""
    graph = GraphBuilder()
    constant, add = graph.constant, graph.add
    mel = add("MatMul", ["power", constant("filters", _filterbank())])
    at = add("Transpose", [mel], perm=[1, 0, 2])  # time first, as ONNX's LSTM expects it
    constant("directions", np.array([1]))
    constant("direction", np.array([0]))
    for i in range(LAYERS):
        weights = [constant(f"{kind}{i}", _gates(tensors[f"lstm.weight_{kind}_l{i}"])[None]) for kind in ("ih", "hh")]
        bias = np.concatenate([_gates(tensors[f"lstm.bias_{kind}_l{i}"]) for kind in ("ih", "hh")])
        inputs = [at, *weights, constant(f"bias{i}", bias[None])]
        all_steps = add("LSTM", inputs, [f"all{i}", f"end{i}"], hidden_size=HIDDEN)
        if i < LAYERS - 1:
            at = add("Squeeze", [all_steps, "directions"])
    end = add("Squeeze", [f"end{LAYERS - 1}", "direction"])
    linear = [constant("weight", tensors["linear.weight"]), constant("bias", tensors["linear.bias"])]
    positive = add("Relu", [add("Gemm", [end, *linear], transB=1)])
    add("LpNormalization", [positive], ["vectors"], axis=1, p=2)
    return graph.serialise("ge2e", ("power", ["N", FRAMES, FFT // 2 + 1]), ("vectors", ["N", HIDDEN]))


def _gates(weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of a torch LSTM (input, forget, cell, output) in ONNX's order (input, output, forget, cell)."""
    i, f, g, o = np.split(weight, 4)
    return np.concatenate([i, o, f, g])
