"""Segmentation models of pyannote in ONNX Runtime: who of at most three people talks when, in windows of 10 s.

Two files of one network, with weights that were rounded in different ways: pyannote/segmentation-3.0 (MIT), and the
segmentation of pyannote/speaker-diarization-community-1 (CC-BY-4.0). H. Bredin, "pyannote.audio 2.1 speaker diarization
pipeline", Interspeech 2023; powerset classes: arXiv:2310.13025. The network normalises the level of each window, with a
constant that matters only if the sound is very quiet; so a quiet recording is amplified as a whole.

Windows are computed in batches of one size, the last one filled with silence, so that the result does not depend on
the number of threads.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarize import progress
from diarize.activity import CLASSES, LocalActivity
from diarize.audio import excerpts
from diarize.backends import onnx_sessions
from diarize.backends.graphs import ort_format, segmentation_graph
from diarize.errors import ModelRefused
from diarize.files import sha256
from diarize.types import Audio
from diarize.units import RATE

WINDOW = 160_000  # samples, what the model was trained on
FRAME = 270  # samples between frames
FIELD = 991  # samples, receptive field of a frame
FRAMES = (WINDOW - FIELD) // FRAME + 1  # of a window, 589
HOP = 296  # frames between windows, 5 s: every instant is in two windows
LONG = 2 * 3600  # s; in longer recordings windows do not overlap: half the cost, less gain (docs/method/turns.md)
LONG_HOP = 588  # frames
BATCH = 4  # windows computed at once by each thread, in 50 MB; more is no faster
LEVEL = 0.1  # RMS to which a quieter recording is raised, -20 dBFS
# In the graph of community-1: the log-probabilities of the classes, from which it derives who talks, and the branch
# that it takes for every input of three dimensions.
LOGARITHMS, BRANCH = "/inner/activation/LogSoftmax_output_0", "then_branch"


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
        """Raises AudioError if the rate is not 16 kHz."""
        onnx_sessions.check_rate(audio, RATE, "the segmentation")
        hop = HOP if audio.duration <= LONG else LONG_HOP
        level = excerpts.measure_rms(audio.samples, [(0, len(audio.samples))])
        gain = np.float32(max(1.0, LEVEL / level) if level > 0 else 1.0)
        input_name = self._session.get_inputs()[0].name

        def segment_batch(first: int) -> NDArray[np.float16]:
            starts = [(first + i) * hop * FRAME for i in range(BATCH)]
            sound = np.stack([excerpts.cut(audio.samples, start, start + WINDOW) for start in starts]) * gain
            logarithms = self._session.run(None, {input_name: sound[:, None]})[0]
            return np.asarray(np.exp(logarithms), dtype=np.float16)

        count = _count_windows(len(audio.samples), hop)
        firsts = range(0, count, BATCH)
        results = onnx_sessions.map_in_order(segment_batch, firsts, self._threads, audio.samples)
        batches = list(progress.reported(results, range(1, len(firsts) + 1)))
        return LocalActivity(np.concatenate(batches)[:count], hop, FRAME / RATE, FIELD / 2 / RATE)


def load(model: Path, device: str = "cpu", threads: int = 0) -> Segmentation:
    """The segmenter whose weights are the file `model`: segmentation-3.0 in ONNX, or community-1 in ORT format.

    A quantised segmentation-3.0 is restored to floating point (`segmentation_graph`).
    Raises ModelRefused if it is another kind of model, BackendError for a device that cannot be used.
    """
    digest = sha256(model)
    graph = restored = None
    with onnx_sessions.refuse_other_models(model, "it is not a segmentation graph"):
        if ort_format.is_ort(model):
            graph = ort_format.extract(ort_format.load(model), str(model), [LOGARITHMS], BRANCH)
        else:
            restored = segmentation_graph.restore(model)
    with onnx_sessions.refuse_other_models(model, "it does not take 10 s at 16 kHz"):
        session = onnx_sessions.open_session(graph or restored or model, device, "the segmentation")
        shape = session.run(None, {session.get_inputs()[0].name: np.zeros((1, 1, WINDOW), np.float32)})[0].shape
    if shape != (1, FRAMES, CLASSES):
        raise ModelRefused(str(model), f"it gives {shape}, not (1, {FRAMES}, {CLASSES})")
    return Segmentation(session, digest, onnx_sessions.count_threads(threads), restored is not None)


def _count_windows(samples: int, hop: int) -> int:
    """How many windows cover all frames."""
    frames = -(-samples // FRAME)
    return max(1, -(-(frames - FRAMES) // hop) + 1)
