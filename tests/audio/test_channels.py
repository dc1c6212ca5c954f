"""The choice of channels, on arrays."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from diarize.audio.channels import ChannelSelection, ChannelStatistics, select_channels

RNG = np.random.default_rng(0)
TALK = (0.1 * RNG.standard_normal(64_000)).astype(np.float32)
OTHER = (0.1 * RNG.standard_normal(64_000)).astype(np.float32)
HUSH = np.zeros(64_000, np.float32)


def statistics(*channels: NDArray[np.float32]) -> ChannelStatistics:
    gathered = ChannelStatistics(len(channels))
    table = np.stack(channels, axis=1)
    for at in range(0, len(table), 16_000):
        gathered.add(table[at : at + 16_000])
    return gathered


def pick(*channels: NDArray[np.float32], wanted: str = "auto") -> ChannelSelection:
    return select_channels(statistics(*channels), wanted)


def heard(choice: ChannelSelection, *channels: NDArray[np.float32]) -> NDArray[np.float32]:
    mixed: NDArray[np.float32] = np.stack(channels, axis=1) @ choice.weights[0]
    return mixed


def test_one_channel() -> None:
    assert pick(TALK).weights.tolist() == [[1]]
    assert pick(TALK).reason == "0: the only one"


def test_fault_28_dual_mono_is_one_channel() -> None:
    choice = pick(TALK, TALK)
    assert choice.weights.tolist() == [[1, 0]]
    assert "1 is a copy of 0 (correlation 1.00)" in choice.reason


def test_fault_28_a_quieter_copy_is_left_out() -> None:
    assert pick(0.3 * TALK, TALK).weights.tolist() == [[0, 1]]


def test_fault_28_one_live_channel_of_eight_is_not_diluted() -> None:
    hum = (0.0005 * RNG.standard_normal(64_000)).astype(np.float32)  # -46 dB under the talk
    channels = [HUSH, hum, HUSH, TALK, HUSH, hum, HUSH, HUSH]
    choice = pick(*channels)
    assert np.array_equal(heard(choice, *channels), TALK)
    assert choice.reason == "3: 0, 1, 2, 4, 5, 6 and 7 are silent"


def test_fault_28_one_dead_channel() -> None:
    choice = pick(HUSH, TALK)
    assert choice.weights.tolist() == [[0, 1]]
    assert "0 is silent" in choice.reason


def test_a_constant_offset_is_no_sound() -> None:
    assert pick(HUSH + 0.5, TALK).weights.tolist() == [[0, 1]]


def test_fault_27_opposed_copies_never_cancel() -> None:
    choice = pick(TALK, -TALK)
    assert choice.weights.tolist() == [[1, 0]]
    assert "inverted" in choice.reason


def test_fault_27_partly_opposed_channels_are_turned() -> None:
    opposed = -0.8 * TALK + 0.6 * OTHER
    choice = pick(TALK, opposed)
    assert choice.weights.tolist() == [[0.5, -0.5]]
    assert "1 is inverted before the sum" in choice.reason
    assert np.std(heard(choice, TALK, opposed)) > 0.9 * np.std(TALK)


def test_fault_29_two_lines_are_both_heard() -> None:
    choice = pick(TALK, OTHER)
    assert choice.weights.tolist() == [[0.5, 0.5]]
    assert choice.reason == "mean of 0 and 1: their sounds differ"


def test_a_short_word_on_a_quiet_line_keeps_it_alive() -> None:
    once = HUSH.copy()
    once[16_000:32_000] = 0.2 * OTHER[16_000:32_000]
    assert pick(TALK, once).weights.tolist() == [[0.5, 0.5]]


def test_fault_28_six_channels() -> None:
    surround = [OTHER, -0.9 * OTHER, TALK, HUSH, HUSH, HUSH]
    choice = pick(*surround)
    assert np.count_nonzero(choice.weights) == 2
    assert np.corrcoef(heard(choice, *surround), TALK)[0, 1] > 0.6


def test_silence_everywhere() -> None:
    choice = pick(HUSH, HUSH)
    assert choice.weights.tolist() == [[1, 0]]
    assert choice.reason == "0: all 2 are silent"


def test_nothing_at_all() -> None:
    assert select_channels(ChannelStatistics(2), "auto").weights.tolist() == [[1, 0]]


def test_what_is_asked_for_is_taken() -> None:
    assert pick(TALK, OTHER, wanted="1").weights.tolist() == [[0, 1]]
    assert pick(TALK, OTHER, wanted="mix").weights.tolist() == [[0.5, 0.5]]
    assert pick(TALK, OTHER, wanted="per-channel").weights.tolist() == [[1, 0], [0, 1]]
    with pytest.raises(ValueError, match="no channel 2: the recording has 2 channels"):
        pick(TALK, OTHER, wanted="2")


def test_statistics_do_not_depend_on_blocks() -> None:
    table = np.stack([TALK, OTHER], axis=1)
    whole, parts = ChannelStatistics(2), statistics(TALK, OTHER)
    whole.add(table)
    assert whole.count == parts.count == 64_000
    assert whole.correlations == pytest.approx(parts.correlations)
    assert whole.means == pytest.approx(parts.means)
    assert whole.correlations[0, 1] == pytest.approx(np.corrcoef(TALK, OTHER)[0, 1], abs=1e-5)
