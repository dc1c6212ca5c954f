"""Silero VAD v6 (MIT) in ONNX Runtime: the state of its recurrent layer is carried over the recording.

The graph takes `input` (frames, 576), each 512 samples behind 64 samples of context, and the state `h`, `c`, each
(1, 1, 128); it gives `speech_probs` and the next state. Its convolutions, nine tenths of the work, process each frame
alone; only the LSTM runs through time. So the graph is cut in two before the LSTM: several threads encode blocks of
frames, then the LSTM runs over them. The size of a block depends on its place alone, so that the result does not depend
on the number of threads: all have `BLOCK` frames but the last one, which is filled with silence up to a multiple of
`PART`. (From that many frames on, a frame's numbers are the same, bit for bit, however many are encoded at once.)

The state can reach a mode in which it gives nearly no probability to a voice, and keep it for minutes; above all with a
high voice on a telephone line (docs/method/speech.md). So where a segmentation model detects speech for two seconds
that get almost no probability, these two seconds are decoded once more, from a new state. If it gives them clearly
more, it replaces the old one.

A convolution over the four steps of each of 256 frames is 256 small matrix products. As a two-dimensional convolution
over 256 rows and four columns, with kernels one row high, it is a single large one, and takes a third of the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarize import progress
from diarize.activity import NO_ACTIVITY, LocalActivity
from diarize.audio import excerpts
from diarize.backends import onnx_sessions
from diarize.config import VadConfig
from diarize.files import sha256
from diarize.speech import vad
from diarize.types import Audio, Samples, Segment
from diarize.units import RATE

FRAME = 512  # samples, 32 ms
LAG = 0.03  # s; its answers come about a frame late, at beginnings and at ends (docs/method/speech.md)
CONTEXT = 64  # samples before a frame that are part of its input
STATE = 128  # values of the recurrent layer
BLOCK = 256  # frames encoded at once, 8 s: larger ones fall out of the processor's cache
PART = 32  # frames between two looks at the state, 1.02 s; a block has a whole number of them
DENIED = 0.1  # mean probability of two parts below which they are decoded once more, from a new state
RESTORED = 0.2  # mean probability from which the new state replaces the old one; noise stays below
EXPECTED = 0.7  # share of them in which the segmentation model has to detect speech
LIKELY = 0.6  # probability from which it detects speech

_State = tuple[NDArray[np.float32], NDArray[np.float32]]  # h and c of the recurrent layer
_NEW_STATE: _State = (np.zeros((1, 1, STATE), np.float32), np.zeros((1, 1, STATE), np.float32))


class Silero:
    """A `Detector`."""

    def __init__(self, encoder: Any, decoder: Any, digest: str, config: VadConfig, threads: int) -> None:
        self._encoder, self._decoder, self._config, self._threads = encoder, decoder, config, threads
        settings = ",".join(f"{k}={v}" for k, v in config.model_dump().items() if k != "backend")
        self._name = f"silero@{digest[:16]}({settings},lag={LAG},denied={DENIED}/{LIKELY}/{EXPECTED}/{RESTORED}"

    @property
    def name(self) -> str:
        return f"{self._name}{',cuda' if onnx_sessions.on_cuda(self._encoder) else ''})"

    @property
    def notes(self) -> tuple[str, ...]:
        return onnx_sessions.notes(self._encoder, self._decoder)

    def __call__(self, audio: Audio, activity: LocalActivity = NO_ACTIVITY) -> tuple[Segment, ...]:
        step, lag = FRAME / audio.rate, LAG
        probabilities = self.probabilities(audio, activity.spoken(LIKELY) if activity.windows else ())
        if activity.windows and len(probabilities):
            from diarize.speech import fusion  # imports scipy.ndimage

            levels = excerpts.frame_levels(audio, activity.step, activity.lag, activity.frames)
            probabilities = fusion.fuse(probabilities, step, lag, levels, activity)
            step, lag = activity.step, activity.step / 2 - activity.lag
        return vad.segments(probabilities, step, audio.duration, self._config, lag)

    def probabilities(self, audio: Audio, likely: Sequence[Segment] = ()) -> NDArray[np.float32]:
        """(frames,): that somebody speaks in each 32 ms. `likely`: where a segmentation model detects speech.

        Raises AudioError if the rate is not 16 kHz.
        """
        onnx_sessions.check_rate(audio, RATE, "silero")
        count = -(-len(audio.samples) // FRAME)
        probabilities = np.zeros(count, np.float32)
        expected = vad.frames_of(likely, count, FRAME / RATE, LAG)
        size = PART if len(likely) else BLOCK
        state = _NEW_STATE
        previous = None  # the part before, as encoded; None after a new state

        def encode(first: int) -> Any:
            size = min(BLOCK, -(-(count - first) // PART) * PART)
            return self._encoder.run(None, {"input": _frames(audio.samples, first, size)})[0]

        starts = range(0, count, BLOCK)
        blocks = onnx_sessions.map_in_order(encode, starts, self._threads, audio.samples)
        blocks = progress.reported(blocks, range(1, len(starts) + 1))
        for first, encoded in zip(starts, blocks, strict=True):
            for at in range(first, min(first + BLOCK, count), size):
                part = encoded[at - first : min(at + size, count) - first]
                probabilities[at : at + size], state = self._decode(part, state)
                both = slice(max(0, at - size), at + size)
                if previous is not None and _denied(probabilities[both], expected[both]):
                    anew, new_state = self._decode(np.concatenate([previous, part]), _NEW_STATE)
                    if anew.mean() >= RESTORED:
                        probabilities[both] = np.maximum(probabilities[both], anew)
                        part, state = None, new_state
                previous = part if len(likely) else None
        return probabilities

    def _decode(self, encoded: Any, state: _State) -> tuple[NDArray[np.float32], _State]:
        """Probabilities (n,) of n encoded frames that follow `state`, and the state after them."""
        feed = {self._encoder.get_outputs()[0].name: encoded, "h": state[0], "c": state[1]}
        values, h, c = self._decoder.run(["speech_probs", "hn", "cn"], feed)
        return values.ravel(), (h, c)


def _denied(probabilities: NDArray[np.float32], expected: NDArray[np.bool_]) -> bool:
    """Whether frames that should be speech get almost no probability."""
    return bool(expected.mean() >= EXPECTED and probabilities.mean() < DENIED)


def load(model: Path, config: VadConfig | None = None, device: str = "cpu", threads: int = 0) -> Silero:
    """The detector whose weights are the ONNX file `model`.

    Raises ModelRefused if it is not a silero v6 graph, BackendError for a device that cannot be used.
    """
    import onnx.utils

    digest = sha256(model)
    with onnx_sessions.refuse_other_models(model, "it is not a silero v6 graph"):
        extractor = onnx.utils.Extractor(onnx.load(str(model)))
        lstm = next(node for node in extractor.graph.node if node.op_type == "LSTM")
        encoder = extractor.extract_model(["input"], [lstm.input[0]])
        decoder = extractor.extract_model([lstm.input[0], "h", "c"], ["speech_probs", "hn", "cn"])
        _widen(encoder.graph)
        encode, decode = (
            onnx_sessions.open_session(part.SerializeToString(), device, "silero") for part in (encoder, decoder)
        )
    return Silero(encode, decode, digest, config or VadConfig(), onnx_sessions.count_threads(threads))


def _widen(graph: Any) -> None:
    """Make the encoder's convolutions two-dimensional: (frames, channels, steps) -> (1, channels, frames, steps)."""
    from onnx import helper, numpy_helper

    constants = {constant.name: constant for constant in graph.initializer}

    def change(name: str, value: NDArray[Any]) -> None:
        constants[name].CopyFrom(numpy_helper.from_array(value, name))

    del graph.value_info[:]  # the former shapes
    graph.output[0].type.tensor_type.ClearField("shape")
    for node in graph.node:
        if node.op_type == "Unsqueeze":  # frames, samples -> 1, 1, frames, samples
            change(node.input[1], np.array([0, 1]))
        elif node.op_type == "Conv":
            change(node.input[1], numpy_helper.to_array(constants[node.input[1]])[:, :, None])
            for attribute in node.attribute:
                if attribute.name == "pads":
                    attribute.ints[:] = [0, attribute.ints[0], 0, attribute.ints[1]]
                elif attribute.name in ("kernel_shape", "strides", "dilations"):
                    attribute.ints[:] = [1, *attribute.ints]
    slices = [node for node in graph.node if node.op_type == "Slice"]
    for name in {node.input[3] for node in slices}:  # axes: channels and steps
        change(name, np.array([1, 3]))
    transpose = next(node for node in graph.node if node.op_type == "Transpose")  # the last node
    result, transpose.output[0] = transpose.output[0], "transposed"
    transpose.attribute[0].ints[:] = [2, 3, 0, 1]  # 1, channels, frames, 1 step -> frames, 1, 1, channels
    constants["one"] = graph.initializer.add()
    change("one", np.array([1]))
    graph.node.append(helper.make_node("Squeeze", ["transposed", "one"], [result]))


def _frames(samples: Samples, first: int, count: int) -> Samples:
    """A block of frames with their contexts: (count, 576). Before and after the recording is silence."""
    sound = excerpts.cut(samples, first * FRAME - CONTEXT, (first + count) * FRAME)
    return np.ascontiguousarray(np.lib.stride_tricks.sliding_window_view(sound, CONTEXT + FRAME)[::FRAME])
