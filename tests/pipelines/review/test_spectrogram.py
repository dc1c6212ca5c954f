"""The spectrogram of the review page: where tones are in it, what it is computed from, what the server refuses."""

from __future__ import annotations

from pathlib import Path

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from diarize.units import RATE
from pipelines.review.spectrogram import BANDS, FLOOR, LONGEST, compute_spectrogram
from tests.pipelines.review.serving import serving, write_recording, write_results


def tone(hertz: float, seconds: float, level: float = 1.0) -> NDArray[np.float32]:
    return (level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def picture(*channels: NDArray[np.float32], start: int, end: int, width: int) -> NDArray[np.uint8]:
    return np.frombuffer(compute_spectrogram(channels, start, end, width), np.uint8).reshape(BANDS, width)


@pytest.mark.parametrize("hertz", [100.0, 1040.0, 5025.0, 7900.0])
@pytest.mark.parametrize("level", [1.0, 0.01])
def test_a_tone_is_in_its_band_at_its_level(hertz: float, level: float) -> None:
    values = picture(tone(hertz, 2, level), start=500, end=1500, width=40)
    assert set(values.argmax(axis=0)) == {int(hertz / 62.5)}
    decibels = FLOOR * (1 - values.max(axis=0) / 255)
    assert np.all(np.abs(decibels - 20 * np.log10(level)) < 3)
    far = np.abs(np.arange(BANDS) - hertz / 62.5) > 8
    assert values[far].max() < values.max() - 90  # 39 dB


@pytest.mark.parametrize(("start", "end", "width"), [(0, 60_000, 500), (9_000, 11_000, 2000), (9_980, 10_020, 80)])
def test_a_change_of_tone_is_in_its_column(start: int, end: int, width: int) -> None:
    samples = np.concatenate([tone(530, 10), tone(3030, 50)])
    loudest = picture(samples, start=start, end=end, width=width).argmax(axis=0)
    change = int(np.argmax(loudest > 20))
    assert abs(start + change * (end - start) / width - 10_000) <= max((end - start) / width, 5)
    assert set(loudest[:change]) == {8} and set(loudest[change:]) == {48}


def test_outside_of_the_recording_is_silence_and_channels_are_together() -> None:
    values = picture(tone(530, 1), tone(3030, 2), start=0, end=4000, width=40)
    assert np.all(values[8, 2:9] > 240) and np.all(values[48, 2:19] > 240) and values[8, 12:].max() < 150
    assert values[:, 21:].max() == 0
    assert picture(tone(530, 1), start=10**9 - 60_000, end=10**9 - 1, width=3).max() == 0


def test_a_short_click_is_in_a_column_of_a_long_picture() -> None:
    samples = np.zeros(60 * RATE, np.float32)
    samples[30 * RATE] = 1.0
    values = picture(samples, start=0, end=60_000, width=20)
    assert [int(column.max() > 0) for column in values.T].count(1) in (1, 2)


def test_the_server_answers_bounded_requests_only(tmp_path: Path) -> None:
    recording = write_recording(tmp_path / "meeting.wav")
    folder = write_results(tmp_path / "out" / "meeting", recording)
    address = "/r/meeting/spectrogram"
    with serving(folder) as served:
        answer = served.get(address, params={"start": 0, "end": 5000, "width": 100})
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["cache-control"] == "no-store"
        values = np.frombuffer(answer.content, np.uint8).reshape(BANDS, 100)
        assert set(values[:, 10::20].argmax(axis=0)) == {7}  # 440 Hz
        assert served.get(address, params={"start": 0, "end": LONGEST, "width": 4096}).status_code == 200
        for start, end, width in (
            (0, LONGEST + 1, 100),
            (0, 5000, 4097),
            (0, 5000, 0),
            (5000, 5000, 100),
            (5000, 100, 100),
            (-1, 5000, 100),
            ("x", 5000, 100),
            ("", 5000, 100),
            (0, "1e3", 100),
            (0, "9" * 4000, 100),
        ):
            refused = served.get(address, params={"start": start, "end": end, "width": width})
            assert refused.status_code == 422 and refused.json()["problem"], (start, end, width)
        assert served.get(address).status_code == 422
        assert served.get("/r/other/spectrogram?start=0&end=9&width=9").status_code == 404
        assert httpx.get(f"{served.base}{address}?start=0&end=9&width=9").status_code == 401
    recording.rename(tmp_path / "moved.wav")
    with serving(folder) as served:
        missing = served.get(f"{address}?start=0&end=9&width=9")
        assert missing.status_code == 404 and "--audio" in missing.json()["problem"]
