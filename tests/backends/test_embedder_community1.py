"""The embedder of community-1: with a linear map in place of its network, and with its own weights.

Those of the second kind compare with the whole network as its file has it.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diarize.activity import LocalActivity
from diarize.audio import reading
from diarize.backends import embedder_community1, onnx_sessions
from diarize.backends.embedder_community1 import Community1
from diarize.backends.features.front_ends import Features
from diarize.config import WindowsConfig
from diarize.errors import AudioError, ModelRefused
from diarize.formats import rttm
from diarize.models.store import Store
from diarize.speech import windows
from diarize.stages import Embedder, WholeEmbedder
from diarize.types import Audio, Segment, Vectors
from tests.backends import sounds
from tests.cheap import Pitch

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
WHOLE_FRAMES = (99 * 8 + 7) * 160 + 400  # samples of 100 frames of the network, none of them padded
SEAM = (embedder_community1.HOP + embedder_community1.MARGIN) * embedder_community1.STEP  # s, of the first two chunks


class Trunk:
    """A network whose frames are a linear map of the filter banks of 80 ms."""

    weight = np.random.default_rng(0).standard_normal((640, 2560)).astype(np.float32) / 25

    def run(self, names: Any, inputs: dict[str, Any]) -> list[Any]:
        banks = inputs["fbank"][0]
        count = -(-len(banks) // 8)
        padded = np.pad(banks, ((0, 8 * count - len(banks)), (0, 0)))
        return [np.maximum(padded.reshape(count, 640) @ self.weight, 0).T[None]]

    def get_providers(self) -> list[str]:
        return ["CPUExecutionProvider"]


@pytest.fixture(scope="module")
def embedder() -> Community1:
    random = np.random.default_rng(1)
    weight = random.standard_normal((256, 5120)).astype(np.float32)
    return Community1(Trunk(), weight, np.zeros(256, np.float32), "community-1@test", threads=1)


@pytest.fixture(scope="module")
def audio() -> Audio:
    random = np.random.default_rng(2)
    return Audio("noise", (0.1 * random.standard_normal(25 * 16_000)).astype(np.float32))


def test_the_whole_of_one_segment_is_that_segment(embedder: Community1, audio: Audio) -> None:
    windows = (Segment(1.0, 2.6), Segment(9.0, 10.6))
    alone = embedder(audio, (*windows, Segment(2.0, 17.3)))
    together = embedder.embed_with_whole(audio, windows, [Segment(2.0, 17.3)])
    assert together.segments == alone.segments
    assert together.vectors == pytest.approx(alone.vectors, abs=1e-6)
    assert together.model == embedder.name


def test_divided_speech_has_the_vector_of_all_its_frames(embedder: Community1, audio: Audio) -> None:
    """Two segments that touch, on the grid of the frames, are one."""
    divided = embedder.embed_with_whole(audio, (), [Segment(0.8, 4.0), Segment(4.0, 12.0)])
    assert divided.segments == (Segment(0.8, 12.0),)
    assert divided.vectors == pytest.approx(embedder(audio, [Segment(0.8, 12.0)]).vectors, abs=1e-6)
    apart = embedder.embed_with_whole(audio, (), [Segment(0.8, 4.0), Segment(20.0, 24.0)])
    assert not np.allclose(apart.vectors, embedder(audio, [Segment(0.8, 24.0)]).vectors, atol=1e-4)


def test_no_speech_has_no_vector(embedder: Community1, audio: Audio) -> None:
    with pytest.raises(ValueError, match="no segment"):
        embedder.embed_with_whole(audio, (), ())


def test_it_is_known_for_what_it_can_do(embedder: Community1) -> None:
    plain: Embedder = Pitch()
    assert isinstance(embedder, WholeEmbedder)
    assert not isinstance(plain, WholeEmbedder)


@pytest.fixture(scope="module")
def model(community_1: Store) -> Path:
    return community_1.path("community-1-embedding")


@pytest.fixture(scope="module")
def exact(model: Path) -> Community1:
    return embedder_community1.load(model, "float", threads=1)


@pytest.fixture(scope="module")
def quick(model: Path) -> Community1:
    return embedder_community1.load(model, threads=1)


@cache
def conversation() -> Audio:
    return reading.read(EXAMPLES / "conversation.flac", id="conversation").audios[0]


def turns() -> tuple[Segment, ...]:
    """Windows of the first 25 s of the conversation, each in one turn."""
    spoken_turns = rttm.loads((EXAMPLES / "conversation.rttm").read_text(), "conversation.rttm")["conversation"]
    parts = [Segment(turn.start, turn.end) for turn in spoken_turns if turn.end < 25]
    return windows.over(parts, WindowsConfig(length=1.2, hop=1.2))


def excerpt(samples: int) -> Audio:
    return Audio("excerpt", conversation().samples[:samples])


def cosines(left: Vectors, right: Vectors) -> np.ndarray:
    return np.asarray((left * right).sum(axis=1))


def original(model: Path, sound: Audio, window: Segment) -> np.ndarray:
    """The unit vector (1, 256) of `window` by the network of the file as it is, from filter banks and weights."""
    banks = Features(mean_normalised=False)(sound.samples)
    seconds = np.arange(len(banks)) / 100
    inside = (seconds > window.start - 0.005) & (seconds < window.end - 0.005)
    inputs = {"fbank": (banks - banks.mean(axis=0))[None], "weights": inside[None].astype(np.float32)}
    (vector,) = onnx_sessions.open_session(model).run(["embedding"], inputs)
    return np.asarray(vector / np.linalg.norm(vector))


@pytest.mark.parametrize("window", [Segment(0.8, 2.0), Segment(5.6, 6.8), Segment(3.2, 3.6)], ids=str)
def test_a_window_has_the_vector_of_the_whole_network(model: Path, exact: Community1, window: Segment) -> None:
    """The whole recording is a segment, too, so that the mean of the features is that of all of it."""
    sound = excerpt(WHOLE_FRAMES)
    assert cosines(exact(sound, [window, Segment(0.0, 8.0)]).vectors[:1], original(model, sound, window))[0] > 0.9999


def test_windows_at_the_seam_of_two_chunks_have_the_vectors_of_one_long_chunk(
    exact: Community1, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of the recording is speech, so the mean of the features differs along it."""
    sound = excerpt(60 * sounds.RATE)
    across = [Segment(SEAM + offset - 0.6, SEAM + offset + 0.6) for offset in (-1.2, -0.8, -0.4, 0.0, 0.4, 0.8, 1.2)]
    segments = [*across, Segment(0.0, 60.0)]
    divided = exact(sound, segments).vectors
    monkeypatch.setattr(embedder_community1, "CHUNK", 1000)
    monkeypatch.setattr(embedder_community1, "HOP", 1000 - 2 * embedder_community1.MARGIN)
    assert cosines(divided, exact(sound, segments).vectors).min() > 0.995


def test_8_bit_numbers_change_vectors_little(quick: Community1, exact: Community1) -> None:
    left, right = quick(conversation(), turns()), exact(conversation(), turns())
    assert len(left.vectors) > 10
    assert cosines(left.vectors, right.vectors).min() > 0.98
    assert cosines(left.vectors, right.vectors).mean() > 0.99
    assert left.model != right.model


def test_neither_threads_nor_order_change_a_bit(model: Path, quick: Community1) -> None:
    expected = quick(conversation(), turns()).vectors
    assert np.array_equal(embedder_community1.load(model, threads=3)(conversation(), turns()).vectors, expected)
    assert np.array_equal(quick(conversation(), turns()[::-1]).vectors[::-1], expected)


@pytest.mark.parametrize("step", [0.016, 0.1], ids=["finer than frames", "coarser"])
def test_frames_in_which_two_talk_count_less(quick: Community1, step: float) -> None:
    """The activity is made up: it says that two talk from 9.6 s on, whatever is to be heard."""
    first, second, both = Segment(2.4, 7.2), Segment(9.6, 14.4), Segment(2.4, 14.4)
    count = round(18 / step)
    posteriors = np.zeros((1, count, 7), np.float16)
    posteriors[0, : round(9.6 / step), 1], posteriors[0, round(9.6 / step) :, 4] = 1, 1
    activity = LocalActivity(posteriors, hop=count, step=step, lag=step / 2)
    plain = quick(excerpt(18 * sounds.RATE), [first, second, both]).vectors
    weighted = quick(excerpt(18 * sounds.RATE), [first, second, both], activity=activity).vectors
    assert cosines(weighted[:2], plain[:2]).min() > 0.9999  # the weights of all their frames are the same
    assert weighted[2] @ plain[0] > plain[2] @ plain[0] + 0.01
    assert weighted[2] @ plain[1] < plain[2] @ plain[1] - 0.01


@pytest.mark.parametrize("seconds", [0.001, 0.05, 0.2, 0.5])
def test_fault_23_short_recordings(quick: Community1, seconds: float) -> None:
    samples = sounds.spoken(seconds + 0.1)[: round(seconds * sounds.RATE)]
    assert np.linalg.norm(quick(sounds.audio(samples), [Segment(0.0, seconds)]).vectors) == pytest.approx(1)


@pytest.mark.parametrize("level", [0.0, 1e-6])
def test_fault_21_silence_has_a_unit_vector(quick: Community1, level: float) -> None:
    assert np.linalg.norm(quick(sounds.audio(sounds.noise(2, level)), [Segment(0.0, 1.2)]).vectors) == pytest.approx(1)


def test_digital_silence_beside_speech_changes_its_vector_little(quick: Community1) -> None:
    """The mean of the features is that of speech."""
    speech = excerpt(8 * sounds.RATE)
    padded = Audio("padded", np.concatenate([speech.samples, np.zeros(2 * sounds.RATE, np.float32)]))
    part = Segment(0.8, 8.0)
    assert cosines(quick(speech, [part]).vectors, quick(padded, [part]).vectors)[0] > 0.99


def test_no_segments_give_no_vectors(quick: Community1) -> None:
    assert quick(sounds.audio(sounds.noise(1)), []).vectors.shape == (0, 256)


def test_another_rate_is_refused(quick: Community1) -> None:
    with pytest.raises(AudioError, match="8000 Hz"):
        quick(sounds.audio(np.zeros(100), rate=8000), [])


def test_the_name_says_the_weights_and_what_changes_the_result(quick: Community1, exact: Community1) -> None:
    assert quick.name.startswith("community-1@6e4af7d49562e6e7-int8(")
    assert exact.name.startswith("community-1@6e4af7d49562e6e7-float(")


def test_another_model_is_refused(community_1: Store) -> None:
    with pytest.raises(ModelRefused, match="Reshape_output_0"):
        embedder_community1.load(community_1.path("community-1-segmentation"))


@pytest.mark.parametrize("part", [0.0, 1e-5, 0.5, 0.99])
def test_a_truncated_model_is_refused(model: Path, tmp_path: Path, part: float) -> None:
    data, path = model.read_bytes(), tmp_path / "model.ort"
    path.write_bytes(data[: int(part * len(data))])
    with pytest.raises(ModelRefused):
        embedder_community1.load(path)
