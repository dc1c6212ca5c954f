"""Attempts of real people: challenges, phrases, replays, quality; the recognizer is one that says what it is told."""

from __future__ import annotations

import json
import re
import sqlite3
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import av
import numpy as np
import pytest

import run_pipeline
from diarize.library import store as libraries
from diarize.models.store import Store
from diarize.types import Audio, Segment, Word
from pipelines.processes import decoding
from tests.shared import SHARED, needs_shared

pytestmark = needs_shared
DEV = SHARED / "data" / "libri-dev"
ANNA, ALSO_ANNA, BEN = (DEV / f"{name}.flac" for name in ("1688-142285-0003", "1688-142285-0002", "3005-163389-0003"))
OPTIONS = ["--embedder=ge2e", "--asr=tests.pipelines.guard.test_attempt:recognizer", "--offline"]


@dataclass(frozen=True)
class Prompted:
    """A recognizer that understands whatever the test wants."""

    text: ClassVar[str] = ""
    name: str = "prompted"

    def __call__(self, audio: Audio, speech: Sequence[Segment]) -> tuple[tuple[Word, ...], str | None]:
        return tuple(Word(i, i + 0.5, word) for i, word in enumerate(self.text.split())), "en"


def recognizer(**options: Any) -> Prompted:
    return Prompted()


@pytest.fixture(autouse=True)
def _models(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIARIZE_MODELS", str(store.folder))


@pytest.fixture(scope="module")
def enrolled(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library with Anna, of two recordings, and Ben, of one."""
    library = tmp_path_factory.mktemp("library") / "people.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIARIZE_MODELS", str(store.folder))
        options = ["--library", str(library), "--embedder=ge2e", "--offline"]
        for name, take in (("Anna", "1688-142285-000[01]"), ("Ben", "3005-163389-000[0]")):
            paths = sorted(str(path) for path in DEV.glob(f"{take}.flac"))
            assert run_pipeline.main(["enroll", name, *paths, *options]) == 0
    return library


@pytest.fixture
def library(enrolled: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "people.db"
    with sqlite3.connect(enrolled) as source, sqlite3.connect(copy) as target:
        source.backup(target)
    target.close()
    source.close()
    return copy


def attempt(
    library: Path, recording: Path, capfd: pytest.CaptureFixture[str], *options: str, claim: str = "Anna"
) -> dict[str, Any]:
    """What `verify --json` says under `guard`, and `status`."""
    capfd.readouterr()
    command = ["verify", str(recording), "--claim", claim, "--library", str(library), "--prior=0.5", "--json"]
    status = run_pipeline.main([*command, *OPTIONS, *options])
    out, err = capfd.readouterr()
    assert out, err
    return {**json.loads(out)["guard"], "status": status}


def test_sound_is_accepted_once(library: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    first = attempt(library, ANNA, capfd, "--guard")
    assert (first["verified"], first["reason"], first["status"]) == (True, "verified", 0)
    again = attempt(library, ANNA, capfd, "--guard")
    assert (again["verified"], again["reason"], again["status"]) == (False, "spoofing_suspected", 1)
    assert again["replay_of"] == ANNA.name

    # Another file of the same sound: quieter, in MP3.
    samples = decoding.read(ANNA, id="a", channel="auto", track=None).audios[0].samples
    copy = tmp_path / "copy.mp3"
    with av.open(str(copy), "w") as file:
        stream = file.add_stream("libmp3lame", rate=16_000)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray((samples * 16_000).astype(np.int16)[None], format="s16", layout="mono")
        frame.rate = 16_000
        for packet in (*stream.encode(frame), *stream.encode(None)):
            file.mux(packet)
    assert attempt(library, copy, capfd, "--guard")["reason"] == "spoofing_suspected"
    enrolled = attempt(library, DEV / "1688-142285-0000.flac", capfd, "--guard")
    assert enrolled["reason"] == "spoofing_suspected"  # of an enrolment
    assert attempt(library, ALSO_ANNA, capfd, "--guard")["reason"] == "verified"


def test_another_voice_is_another_voice(library: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert attempt(library, BEN, capfd, "--guard")["reason"] == "speaker_mismatch"
    with libraries.open(library) as opened:  # sound that was refused is not kept
        assert len(list(opened.guard.prints())) == 3


def draw(library: Path, capfd: pytest.CaptureFixture[str], *options: str) -> dict[str, str]:
    capfd.readouterr()
    assert run_pipeline.main(["verify", "--challenge", "--library", str(library), "--json", *options]) == 0
    drawn: dict[str, str] = json.loads(capfd.readouterr().out)
    return drawn


def test_a_challenge_is_answered_once(
    library: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = draw(library, capfd, "--claim", "Anna")
    monkeypatch.setattr(Prompted, "text", f"Yes: {drawn['phrase'].upper()}.")
    answer = attempt(library, ANNA, capfd, "--answer", drawn["id"])
    assert answer["reason"] == "verified" and all(word["is_right"] for word in answer["words"])
    assert attempt(library, ALSO_ANNA, capfd, "--answer", drawn["id"])["reason"] == "expired"  # used
    assert attempt(library, ALSO_ANNA, capfd, "--answer", "0" * 32)["reason"] == "expired"  # never drawn


def test_a_wrong_answer_uses_the_challenge_up(
    library: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = draw(library, capfd)
    monkeypatch.setattr(Prompted, "text", "something that was recorded last week")
    wrong = attempt(library, ANNA, capfd, "--answer", drawn["id"])
    assert wrong["reason"] == "phrase_mismatch" and wrong["phrase"] == drawn["phrase"]
    monkeypatch.setattr(Prompted, "text", drawn["phrase"])
    assert attempt(library, ANNA, capfd, "--answer", drawn["id"])["reason"] == "expired"


def test_a_challenge_of_somebody_else_or_too_late_is_none(
    library: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for_ben = draw(library, capfd, "--claim", "Ben")
    monkeypatch.setattr(Prompted, "text", for_ben["phrase"])
    assert attempt(library, ANNA, capfd, "--answer", for_ben["id"])["reason"] == "expired"
    soon = draw(library, capfd, "--seconds=1")
    monkeypatch.setattr(Prompted, "text", soon["phrase"])
    import time

    time.sleep(1.1)
    assert attempt(library, ANNA, capfd, "--answer", soon["id"])["reason"] == "expired"


def test_a_phrase_of_the_operators_own(
    library: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Prompted, "text", "four one nine two")
    assert attempt(library, ANNA, capfd, "--phrase=four one nine two")["reason"] == "verified"
    assert attempt(library, ALSO_ANNA, capfd, "--phrase=three eight seven five")["reason"] == "phrase_mismatch"


def test_noise_and_scraps_say_nothing(library: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    samples = decoding.read(ANNA, id="a", channel="auto", track=None).audios[0].samples
    noisy = samples * 0.2 + np.random.default_rng(0).standard_normal(len(samples)) * 0.2 * samples.std()
    for name, sound in (("noisy", noisy), ("silent", samples * 0)):
        with wave.open(str(tmp_path / f"{name}.wav"), "wb") as file:
            file.setparams((1, 2, 16_000, 0, "NONE", ""))
            file.writeframes((np.clip(sound, -1, 1) * 32767).astype("<i2").tobytes())
        assert attempt(library, tmp_path / f"{name}.wav", capfd, "--guard")["reason"] == "poor_quality"


def test_what_is_printed(library: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_pipeline.main(["verify", "--challenge", "--library", str(library), "--words=de"]) == 0
    out = capfd.readouterr().out
    phrase, id = re.findall(r"say: (.*)", out)[0], re.findall(r"--answer (\w+)", out)[0]
    words = phrase.split()
    monkeypatch.setattr(Prompted, "text", " ".join([*words[:3], "Quatsch", *words[4:]]))
    command = ["verify", str(ANNA), "--claim=Anna", "--library", str(library), "--prior=0.5", "--answer", id, *OPTIONS]
    assert run_pipeline.main(command) == 0
    out = capfd.readouterr().out
    assert "recognized quatsch" in out
    assert "verified: yes (verified)" in out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--challenge", str(ANNA)], "checks no recording"),
        ([str(ANNA), "--guard"], "--claim: is needed"),
        ([str(ANNA), "--claim=Anna", "--answer=x", "--phrase=y"], "does not go with --answer"),
        ([str(ANNA), str(BEN), "--claim=Anna", "--guard"], "2 given, 1 needed"),
        (["--challenge", "--words=xx"], "there are no words for 'xx'"),
        (["--challenge", "--claim=Nobody"], "nobody is called Nobody"),
        ([], "0 given, 2 needed"),
    ],
)
def test_impossible_combinations(
    library: Path, options: list[str], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run_pipeline.main(["verify", *options, "--library", str(library)]) == 2
    assert message in capfd.readouterr().err


def test_a_copy_is_not_enrolled_twice_nor_for_somebody_else(
    library: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    samples = decoding.read(DEV / "1688-142285-0001.flac", id="a", channel="auto", track=None).audios[0].samples
    copy = tmp_path / "copy.wav"
    with wave.open(str(copy), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes((samples[8000:] * 10_000).astype("<i2").tobytes())
    command = ["enroll", "Anna", str(copy), "--library", str(library), "--embedder=ge2e", "--offline", "--json"]
    for name in ("Anna", "Mallory"):
        capfd.readouterr()
        assert run_pipeline.main([*command[:1], name, *command[2:]]) == 4
        (row,) = json.loads(capfd.readouterr().out)["utterances"]
        assert row["check"] == "replay" and "1688-142285-0001.flac" in row["reason"]
    assert run_pipeline.main([*command, "--accept=replay"]) == 0


def test_prints_follow_a_person(library: Path) -> None:
    with libraries.open(library) as opened:
        anna, ben = opened.find("Anna").id, opened.find("Ben").id
        opened.merge(anna, ben)
        assert [each.person for each in opened.guard.prints()] == [anna] * 3
        opened.remove(anna)
        assert list(opened.guard.prints()) == []
