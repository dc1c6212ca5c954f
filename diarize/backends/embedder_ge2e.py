"""GE2E speaker embeddings (Wan et al. 2018, arXiv 1710.10467) with the weights of Resemblyzer (Apache-2.0).

Three LSTM layers of 256 over 160 frames of a mel power spectrogram (40 bands, 25 ms every 10 ms, not logarithmic); the
last hidden state goes through a linear layer, ReLU and L2 normalisation. The graph is built here from the weights and
run by ONNX Runtime. Quiet speech is brought up first, as the network sees power, not its logarithm.

Frames lie on one grid for the whole recording, so that windows that overlap share their spectra; a window starts at the
frame nearest to its segment's start (5 ms off at most).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarize.audio import memory
from diarize.backends import onnx_sessions, pooling
from diarize.backends.excerpt import cut
from diarize.errors import AudioError, ModelRefused
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
BLOCK = 60 * RATE  # samples whose level is computed at once


@dataclass(frozen=True, slots=True, order=True)
class _Window:
    """What one window shows: frames start .. end, over and over until there are 160."""

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

    def __call__(self, audio: Audio, segments: Sequence[Segment]) -> Embeddings:
        """Raises AudioError where the rate is not 16 kHz."""
        if audio.rate != RATE:
            raise AudioError(audio.id, f"ge2e needs {RATE} Hz, this is {audio.rate} Hz", "Resample it first.")
        parts = sorted(part for i, segment in enumerate(segments) for part in _parts(segment, i))
        batches = [parts[i : i + self._batch] for i in range(0, len(parts), self._batch)]

        level = _level(audio, segments)
        gain = np.float32(max(1.0, 10 ** (LEVEL / 20) / level) ** 2 if level > 0 else 1.0)  # of the power

        def embed(batch: Sequence[_Window]) -> NDArray[np.float32]:
            power = _power(audio.samples, batch) * gain
            vectors: NDArray[np.float32] = self._session.run(None, {"power": power})[0]
            return vectors

        found = [np.zeros((0, HIDDEN), np.float32)]
        for vectors in onnx_sessions.ordered(embed, batches, self._threads):
            found.append(vectors)
            memory.release(audio.samples)
        vectors = pooling.pool(np.concatenate(found), [part.owner for part in parts], len(segments))
        return Embeddings(tuple(segments), vectors, self.name)


def load(model: Path, batch: int = 16, device: str = "cpu", threads: int = 0) -> GE2E:
    """The embedder whose weights are Resemblyzer's checkpoint `model`.

    `batch` windows are computed at once by each of `threads` threads (0: one a core); neither changes the result.
    Raises ModelRefused where the file holds anything else, BackendError for a device that cannot be used.
    """
    tensors = checkpoint.read_tensors(model)
    try:
        graph = _graph(tensors)
    except KeyError as error:
        raise ModelRefused(str(model), f"the GE2E model has a tensor {error}, this file has none") from error
    session = onnx_sessions.open_session(graph, device, "ge2e")
    return GE2E(session, sha256(model), batch, onnx_sessions.workers(threads))


def _level(audio: Audio, segments: Sequence[Segment]) -> float:
    """RMS of the recording where the segments are.

    One level for a recording keeps what is loud and soft in it; brought up window by window, voices move apart.
    """
    energy, count = 0.0, 0
    for stretch in union(segments):
        start, end = to_samples(stretch.start), to_samples(stretch.end)
        for first in range(start, end, BLOCK):
            heard = audio.samples[first : min(first + BLOCK, end)]
            energy += float(np.square(heard, dtype=np.float64).sum())
            count += len(heard)
        memory.release(audio.samples)
    return float(np.sqrt(energy / count)) if count else 0.0


def _parts(segment: Segment, owner: int) -> list[_Window]:
    """The windows that cover a segment."""
    first, count = round(segment.start * RATE / HOP), max(1, round(segment.duration * RATE / HOP))
    if count <= FRAMES:
        return [_Window(first, first + count, owner)]
    spare = count - FRAMES
    steps = ceil(spare / STRIDE)
    starts = (first + round(i * spare / steps) for i in range(steps + 1))
    return [_Window(start, start + FRAMES, owner) for start in starts]


def _power(samples: Samples, parts: Sequence[_Window]) -> NDArray[np.float32]:
    """Power spectra (windows, 160, 201) of parts that are sorted by start.

    As librosa does with its defaults: frame k is centred at sample 160 k, Hann window (periodic), |rfft|^2.
    """
    found = np.empty((len(parts), FRAMES, FFT // 2 + 1), np.float32)
    hann = np.hanning(FFT + 1)[:-1].astype(np.float32)
    i = 0
    while i < len(parts):  # a run of parts that overlap shares its spectra
        j, end = i + 1, parts[i].end
        while j < len(parts) and parts[j].start < end:
            end = max(end, parts[j].end)
            j += 1
        first = parts[i].start
        sound = cut(samples, first * HOP - FFT // 2, (end - 1) * HOP + FFT // 2)
        spectra = np.fft.rfft(np.lib.stride_tricks.sliding_window_view(sound, FFT)[::HOP] * hann, axis=1)
        power = np.square(spectra.real) + np.square(spectra.imag)
        for k in range(i, j):
            found[k] = np.resize(power[parts[k].start - first : parts[k].end - first], found[k].shape)
        i = j
    return found


def _filterbank() -> NDArray[np.float32]:
    """Mel filters (201, 40) with librosa's defaults: Slaney's scale, triangles of equal area."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # in a notebook, what librosa imports misses widgets for progress bars
        from librosa.filters import mel

    return np.ascontiguousarray(mel(sr=RATE, n_fft=FFT, n_mels=BANDS).T, dtype=np.float32)


def _graph(tensors: Mapping[str, NDArray[np.float32]]) -> bytes:
    """The network as a serialized ONNX graph: `power` (N, 160, 201) -> `vectors` (N, 256)."""
    import onnx
    from onnx import helper, numpy_helper

    def constant(name: str, value: NDArray[Any]) -> str:
        constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    constants: list[Any] = []
    nodes = [
        helper.make_node("MatMul", ["power", constant("filters", _filterbank())], ["mel"]),
        helper.make_node("Transpose", ["mel"], ["layer0"], perm=[1, 0, 2]),  # time first, as ONNX's LSTM wants it
    ]
    constant("directions", np.array([1]))
    constant("direction", np.array([0]))
    for i in range(LAYERS):
        gates = [constant(f"{kind}{i}", _gates(tensors[f"lstm.weight_{kind}_l{i}"])[None]) for kind in ("ih", "hh")]
        bias = np.concatenate([_gates(tensors[f"lstm.bias_{kind}_l{i}"]) for kind in ("ih", "hh")])
        gates.append(constant(f"bias{i}", bias[None]))
        nodes.append(helper.make_node("LSTM", [f"layer{i}", *gates], [f"all{i}", f"end{i}"], hidden_size=HIDDEN))
        nodes.append(helper.make_node("Squeeze", [f"all{i}", "directions"], [f"layer{i + 1}"]))
    nodes += [
        helper.make_node("Squeeze", [f"end{LAYERS - 1}", "direction"], ["end"]),
        helper.make_node(
            "Gemm",
            ["end", constant("weight", tensors["linear.weight"]), constant("bias", tensors["linear.bias"])],
            ["linear"],
            transB=1,
        ),
        helper.make_node("Relu", ["linear"], ["positive"]),
        helper.make_node("LpNormalization", ["positive"], ["vectors"], axis=1, p=2),
    ]
    del nodes[2 * LAYERS + 1]  # nobody reads all steps of the last layer
    shape = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "ge2e",
        [shape("power", onnx.TensorProto.FLOAT, ["N", FRAMES, FFT // 2 + 1])],
        [shape("vectors", onnx.TensorProto.FLOAT, ["N", HIDDEN])],
        constants,
    )
    return bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()
    )


def _gates(weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of a torch LSTM (input, forget, cell, output) in ONNX's order (input, output, forget, cell)."""
    i, f, g, o = np.split(weight, 4)
    return np.concatenate([i, o, f, g])
