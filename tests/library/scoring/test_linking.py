"""The same unknown person in several recordings, by hand-computed ratios."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from diarize.library.scoring.linking import Strangers, group, link, ratios
from diarize.library.scoring.scores import Centred
from tests.library.scoring.test_identification import PLAIN, voice

D = 64


def strangers(*voices: np.ndarray, seconds: float = 10.0, prefix: str = "S") -> Strangers:
    rows = np.array(voices, np.float32)
    ids = tuple(f"{prefix}{k}" for k in range(len(voices)))
    return Strangers(ids, rows, (seconds,) * len(voices), 8000.0, rows.astype(np.float64).mean(axis=0))


def test_a_person_in_two_recordings_has_one_number() -> None:
    anna, bo = voice(0, p0=0.95), voice(1, p1=0.95)
    again = voice(2, p0=0.95)
    found = link([strangers(anna, bo), strangers(again, prefix="T")], PLAIN, 0.05, 2.0)
    assert found == [{"S0": 1, "S1": 2}, {"T0": 1}]
    assert link([strangers(anna)], PLAIN, 0.05, 2.0) == [{"S0": 1}]
    assert link([], PLAIN, 0.05, 2.0) == []


def test_two_speakers_of_one_recording_are_never_one_person() -> None:
    same = voice(0, p0=0.95)
    assert link([strangers(same, same)], PLAIN, 0.05, 2.0) == [{"S0": 1, "S1": 2}]
    apart = link([strangers(same, same), strangers(same)], PLAIN, 0.05, 2.0)
    assert apart[1]["S0"] in (1, 2)
    assert [len(set(one.values())) for one in apart] == [2, 1]


def test_groups_are_joined_by_the_mean_of_their_ratios() -> None:
    # 0-1 are joined at 5; the mean of 0-2 and 1-2 is 2.5 once, and 3.5 once
    table = np.array([[0, 5, 1.0], [5, 0, 4.0], [1.0, 4.0, 0]])
    recording = np.array([0, 1, 2])
    assert group(table, recording, 2.94) == [1, 1, 2]
    assert group(np.where(table == 1.0, 3.0, table), recording, 2.94) == [1, 1, 1]
    assert group(np.where(table == 1.0, 1.88, table), recording, 2.94) == [1, 1, 1]  # at the threshold itself
    assert group(-table, recording, 2.94) == [1, 2, 3]


def test_who_said_too_little_has_no_number() -> None:
    anna = voice(0, p0=0.95)
    found = link([strangers(anna, seconds=1.5), strangers(anna), strangers(anna, seconds=0.5)], PLAIN, 0.05, 2.0)
    assert found == [{}, {"S0": 1}, {}]
    narrow = replace(strangers(anna), bandwidth=1000.0)  # outside of what was calibrated
    assert link([narrow, strangers(anna)], PLAIN, 0.05, 2.0) == [{}, {"S0": 1}]


def test_what_two_recordings_differ_in_lifts_the_ratio() -> None:
    direction = np.zeros((1, D))
    direction[0, 7] = 1.0
    scorer = Centred(np.zeros(D), direction)
    made = replace(PLAIN, kind=scorer.kind, mean=(0.0,) * D, channels=(tuple(direction[0].tolist()),), channel=5.0)
    close, far = voice(0, p0=0.9), voice(1, p0=0.8, p7=0.5)
    table = ratios([strangers(close), strangers(far)], made)
    score = float(scorer(close[None], far[None])[0])
    assert table[0, 1] == pytest.approx(10 * score - 5 + 5 * 0.5**2, abs=1e-3)
    assert table[0, 1] == table[1, 0]
