"""pyannote/segmentation-3.0 (MIT) in ONNX Runtime: who of at most three people talks when, in windows of 10 s.

H. Bredin, "pyannote.audio 2.1 speaker diarization pipeline", Interspeech 2023; powerset classes: arXiv:2310.13025. The
network sees each window at its own level, but for a constant in the normalisation that only matters where sound is very
quiet; so a quiet recording is brought up as a whole.

Windows are computed in batches of one size, the last one filled with silence, so that the result does not depend on
the number of threads.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarize.activity import CLASSES, LocalActivity
from diarize.audio import memory
from diarize.backends import onnx_sessions, segmentation_graph
from diarize.backends.excerpt import cut
from diarize.errors import AudioError, ModelRefused
from diarize.files import sha256
from diarize.types import Audio, Samples
from diarize.units import RATE

WINDOW = 160_000  # samples, what the model was trained on
FRAME = 270  # samples between frames
FIELD = 991  # samples that a frame sees
FRAMES = (WINDOW - FIELD) // FRAME + 1  # of a window, 589
HOP = 296  # frames between windows, 5 s: every instant is in two windows
LONG = 2 * 3600  # s; in longer recordings windows do not overlap: half the cost, less gain (docs/method/turns.md)
LONG_HOP = 588  # frames
BATCH = 4  # windows computed at once by each thread, in 50 MB; more is no faster
LEVEL = 0.1  # RMS to which a quieter recording is raised, -20 dBFS
BLOCK = 60 * RATE  # samples whose level is computed at once


class Segmentation:
    """A `Segmenter`."""

    def __init__(self, session: Any, digest: str, threads: int, restored: bool) -> None:
        self._session, self._digest, self._threads, self._restored = session, digest, threads, restored

    @property
    def name(self) -> str:
        how = (",restored" if self._restored else "") + (",cuda" if onnx_sessions.on_cuda(self._session) else "")
        return f"segmentation@{self._digest[:16]}(hop={HOP}/{LONG_HOP},level={LEVEL}{how})"

    @property
    def notes(self) -> tuple[str, ...]:
        return onnx_sessions.notes(self._session)

    def __call__(self, audio: Audio) -> LocalActivity:
        """Raises AudioError where the rate is not 16 kHz."""
        if audio.rate != RATE:
            raise AudioError(audio.id, f"the segmentation needs {RATE} Hz, this is {audio.rate} Hz", "Resample it.")
        hop = HOP if audio.duration <= LONG else LONG_HOP
        level = _level(audio.samples)
        gain = np.float32(max(1.0, LEVEL / level) if level > 0 else 1.0)
        input_name = self._session.get_inputs()[0].name

        def listen(first: int) -> NDArray[np.float16]:
            starts = [(first + i) * hop * FRAME for i in range(BATCH)]
            sound = np.stack([cut(audio.samples, start, start + WINDOW) for start in starts]) * gain
            found = self._session.run(None, {input_name: sound[:, None]})[0]
            return np.asarray(np.exp(found), dtype=np.float16)

        count = _windows(len(audio.samples), hop)
        blocks = []
        for block in onnx_sessions.ordered(listen, range(0, count, BATCH), self._threads):
            blocks.append(block)
            memory.release(audio.samples)
        return LocalActivity(np.concatenate(blocks)[:count], hop, FRAME / RATE, FIELD / 2 / RATE)


def load(model: Path, device: str = "cpu", threads: int = 0) -> Segmentation:
    """The segmenter whose weights are the ONNX file `model`; a quantised one is computed in floating point.

    Raises ModelRefused where it takes or gives something else, BackendError for a device that cannot be used.
    """
    digest = sha256(model)
    try:
        restored = segmentation_graph.restored(model)
    except Exception as error:  # what onnx makes of other bytes is of many kinds
        raise ModelRefused(str(model), f"it is no segmentation graph: {error}") from error
    try:
        session = onnx_sessions.open_session(restored or model, device, "the segmentation")
        shape = session.run(None, {session.get_inputs()[0].name: np.zeros((1, 1, WINDOW), np.float32)})[0].shape
    except (RuntimeError, ValueError) as error:
        raise ModelRefused(str(model), f"it does not take 10 s at 16 kHz: {error}") from error
    if shape != (1, FRAMES, CLASSES):
        raise ModelRefused(str(model), f"it gives {shape}, not (1, {FRAMES}, {CLASSES})")
    return Segmentation(session, digest, onnx_sessions.workers(threads), restored is not None)


def _windows(samples: int, hop: int) -> int:
    """How many windows hold every frame."""
    frames = -(-samples // FRAME)
    return max(1, -(-(frames - FRAMES) // hop) + 1)


def _level(samples: Samples) -> float:
    """RMS of the recording."""
    energy = 0.0
    for first in range(0, len(samples), BLOCK):
        energy += float(np.square(samples[first : first + BLOCK], dtype=np.float64).sum())
        memory.release(samples)
    return float(np.sqrt(energy / len(samples))) if len(samples) else 0.0
