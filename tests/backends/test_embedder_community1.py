"""The embedder of community-1, with a linear map of random weights in place of its network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from diarize.backends.embedder_community1 import Community1
from diarize.stages import Embedder, WholeEmbedder
from diarize.types import Audio, Segment
from tests.cheap import Pitch


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
