"""Silero VAD v6 (MIT) in ONNX Runtime: the state of its recurrent layer is carried over the whole recording.

The graph takes `input` (frames, 576), each 512 samples behind 64 samples of context, and the state `h`, `c`, each
(1, 1, 128); it gives `speech_probs` and the next state. Its convolutions, nine tenths of the work, see one frame at a
time; only the LSTM runs through time. So the graph is cut in two before the LSTM: frames are encoded by several
threads, then the LSTM passes over them. The result is the same to the bit whatever the number of threads and the size
of the blocks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarize import memory, vad
from diarize.backends import onnx_sessions
from diarize.config import VadConfig
from diarize.errors import AudioError, ModelDamaged
from diarize.excerpt import cut
from diarize.files import sha256
from diarize.types import Audio, Samples, Segment
from diarize.units import RATE

FRAME = 512  # samples, 32 ms
LAG = 0.03  # s; its answers come about a frame late, at beginnings and at ends (docs/vad.md)
CONTEXT = 64  # samples before a frame that the model also sees
STATE = 128  # values of the recurrent layer
BLOCK = 1024  # frames encoded at once, 33 s: larger ones fall out of the processor's cache


class Silero:
    """A `Detector`."""

    def __init__(self, encoder: Any, decoder: Any, digest: str, config: VadConfig, threads: int, block: int) -> None:
        self._encoder, self._decoder, self._config = encoder, decoder, config
        self._threads, self._block = threads, block
        settings = ",".join(f"{k}={v}" for k, v in config.model_dump().items() if k != "backend")
        self.name = f"silero@{digest[:16]}({settings},lag={LAG})"

    def __call__(self, audio: Audio) -> tuple[Segment, ...]:
        return vad.segments(self.probabilities(audio), FRAME / audio.rate, audio.duration, self._config, LAG)

    def probabilities(self, audio: Audio) -> NDArray[np.float32]:
        """(frames,): that somebody speaks in each 32 ms. Raises AudioError where the rate is not 16 kHz."""
        if audio.rate != RATE:
            raise AudioError(audio.id, f"silero needs {RATE} Hz, this is {audio.rate} Hz", "Resample it first.")
        count = -(-len(audio.samples) // FRAME)
        found = np.zeros(count, np.float32)
        h = c = np.zeros((1, 1, STATE), np.float32)

        def encode(first: int) -> Any:
            frames = _frames(audio.samples, first, min(first + self._block, count))
            return self._encoder.run(None, {"input": frames})[0]

        starts = range(0, count, self._block)
        for first, encoded in zip(starts, onnx_sessions.ordered(encode, starts, self._threads), strict=True):
            block, h, c = self._decoder.run(["speech_probs", "hn", "cn"], {self._between: encoded, "h": h, "c": c})
            found[first : first + self._block] = block.ravel()
            memory.release(audio.samples)
        return found

    @property
    def _between(self) -> str:
        return str(self._encoder.get_outputs()[0].name)


def load(
    model: Path, config: VadConfig | None = None, device: str = "cpu", threads: int = 0, block: int = BLOCK
) -> Silero:
    """The detector whose weights are the ONNX file `model`. Raises ModelDamaged where that is no silero v6 graph."""
    import onnx.utils

    digest = sha256(model)
    try:
        extract = onnx.utils.Extractor(onnx.load(str(model))).extract_model
        lstm = next(node for node in extract.__self__.graph.node if node.op_type == "LSTM")
        encoder = extract(["input"], [lstm.input[0]])
        decoder = extract([lstm.input[0], "h", "c"], ["speech_probs", "hn", "cn"])
    except Exception as error:
        raise ModelDamaged("silero-vad", str(model), "a silero v6 graph", f"{digest} ({error})") from error
    encode, decode = (onnx_sessions.open_session(part.SerializeToString(), device) for part in (encoder, decoder))
    return Silero(encode, decode, digest, config or VadConfig(), onnx_sessions.workers(threads), block)


def _frames(samples: Samples, first: int, last: int) -> Samples:
    """Frames first .. last, each behind its context: (last - first, 576). Around the recording there is silence."""
    start, end = first * FRAME - CONTEXT, last * FRAME
    views = np.lib.stride_tricks.sliding_window_view(cut(samples, start, end), CONTEXT + FRAME)
    return np.ascontiguousarray(views[::FRAME])
