"""The example conversation is what its page says, and its script still makes it."""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from diarize.audio import reading
from diarize.formats import rttm
from diarize.types import Turn

FOLDER = Path(__file__).resolve().parents[1] / "examples"


def turns(folder: Path = FOLDER) -> tuple[Turn, ...]:
    return rttm.loads((folder / "conversation.rttm").read_text(encoding="utf-8"), "conversation.rttm")["conversation"]


def words(folder: Path = FOLDER) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / "conversation.words.json").read_text(encoding="utf-8"))
    return found


def has_flite() -> bool:
    try:
        ctypes.CDLL("libflite_cmu_us_kal16.so.1")
    except OSError:
        return False
    return True


def test_the_recording_and_its_truth_belong_together() -> None:
    recording = reading.read(FOLDER / "conversation.flac", id="conversation").audios[0]
    assert 60 <= recording.duration <= 90
    assert recording.samples.any() and not (recording.samples[:1600] == 0).all()  # room tone, not digital silence
    assert len({turn.speaker for turn in turns()}) == 4
    assert max(turn.end for turn in turns()) < recording.duration
    for word in words():
        assert any(
            turn.speaker == word["speaker"] and turn.start - 0.002 <= word["start"] < word["end"] <= turn.end + 0.002
            for turn in turns()
        ), word


def test_people_talk_at_once_now_and_then() -> None:
    spoken = turns()
    pairs = [(a, b) for a in spoken for b in spoken if a < b and a.overlap(b) > 0]
    assert sum(b.end < a.end for a, b in pairs) == 3  # short remarks into another's talk
    assert sum(b.end > a.end for a, b in pairs) == 2  # begun before the last speaker has ended


@pytest.mark.skipif(not has_flite(), reason="the flite library is not installed: apt-get install libflite1")
def test_the_script_makes_it_again(tmp_path: Path) -> None:
    subprocess.run([sys.executable, str(FOLDER / "make_conversation.py"), str(tmp_path)], check=True)
    assert [(w["speaker"], w["word"]) for w in words(tmp_path)] == [(w["speaker"], w["word"]) for w in words()]
    for ours, again in zip(turns(), turns(tmp_path), strict=True):
        assert again.start == pytest.approx(ours.start, abs=0.005)
        assert again.end == pytest.approx(ours.end, abs=0.005)
    remade = reading.read(tmp_path / "conversation.flac", id="again").audios[0]
    assert remade.duration == pytest.approx(
        reading.read(FOLDER / "conversation.flac", id="c").audios[0].duration, abs=0.01
    )
