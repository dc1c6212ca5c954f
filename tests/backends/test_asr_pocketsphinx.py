"""PocketSphinx with its own English model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from diarize.backends import asr_pocketsphinx
from diarize.config import AsrConfig
from diarize.errors import BackendError, ConfigError
from diarize.types import Audio, Segment, Word
from tests.shared import SHARED, needs_shared

pytest.importorskip("pocketsphinx", reason="needs the extra: pocketsphinx")


def tone(seconds: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    return (0.3 * np.sin(2 * np.pi * 220 * np.arange(round(seconds * 16_000)) / 16_000)).astype(np.float32)


@pytest.fixture(scope="module")
def sphinx() -> asr_pocketsphinx.PocketSphinx:
    return asr_pocketsphinx.load()


def read(path: Path) -> np.ndarray[Any, np.dtype[np.float32]]:
    with av.open(str(path)) as container:
        resampler = av.AudioResampler("flt", "mono", 16_000)
        frames = [part for frame in container.decode(audio=0) for part in resampler.resample(frame)]
        return np.concatenate([part.to_ndarray()[0] for part in [*frames, *resampler.resample(None)]])


@needs_shared
def test_words_of_a_reader_are_found_near_their_places(sphinx: asr_pocketsphinx.PocketSphinx) -> None:
    name = "1688-142285-0003"
    truth = json.loads((SHARED / "data/libri-dev/transcripts.json").read_text())[name]
    sound = read(SHARED / f"data/libri-dev/{name}.flac")
    silence = np.zeros(5 * 16_000, dtype=np.float32)
    words, language = sphinx(Audio("r", np.concatenate([silence, sound])), [Segment(5.0, 5.0 + len(sound) / 16_000)])
    assert language == "en"
    right = [w for w in words for text, start, _ in truth["words"] if w.text == text and abs(w.start - 5 - start) < 0.2]
    assert len(right) >= 0.3 * len(truth["words"])
    assert all("(" not in w.text and "<" not in w.text and "[" not in w.text for w in words)


@needs_shared
def test_what_was_heard_before_makes_no_difference(sphinx: asr_pocketsphinx.PocketSphinx) -> None:
    first, second = (
        Audio(name, read(SHARED / f"data/libri-dev/{name}.flac")[16_000 : 4 * 16_000])
        for name in ("2609-156975-0004", "3331-159605-0005")
    )
    whole = [Segment(0.0, 3.0)]
    words = sphinx(first, whole)
    assert len(words[0]) > 3
    assert sphinx(first, whole) == words
    sphinx(second, whole)
    assert sphinx(first, whole) == words  # to the last bit, probabilities too
    assert asr_pocketsphinx.load()(first, whole) == words


def test_fault_21_silence_has_no_words(
    sphinx: asr_pocketsphinx.PocketSphinx, capfd: pytest.CaptureFixture[str]
) -> None:
    silence = Audio("r", np.zeros(3 * 16_000, dtype=np.float32))
    assert sphinx(silence, [Segment(0.0, 3.0)]) == ((), "en")
    assert sphinx(silence, ()) == ((), "en")
    assert capfd.readouterr() == ("", "")  # its C code keeps quiet


@pytest.mark.parametrize("seconds", [0.00001, 0.001, 0.026, 0.05, 0.5])
def test_fault_23_the_shortest_speech_does_no_harm(
    sphinx: asr_pocketsphinx.PocketSphinx, seconds: float, capfd: pytest.CaptureFixture[str]
) -> None:
    words, _ = sphinx(Audio("r", tone(1.0)), [Segment(0.25, 0.25 + seconds)])
    assert all(0.25 <= w.start <= w.end <= 0.25 + seconds for w in words)
    assert capfd.readouterr() == ("", "")
    assert sphinx(Audio("r", tone(0.0)), [Segment(0.0, 1.0)]) == ((), "en")


class Heard:
    """What the decoder is made to answer."""

    def __init__(self, word: str, start_frame: int, end_frame: int, prob: float) -> None:
        self.word, self.start_frame, self.end_frame, self.prob = word, start_frame, end_frame, prob


class Scripted:
    """A decoder that hears the same in every piece, and fails when it is told to."""

    def __init__(self, *heard: Heard) -> None:
        self.heard = heard
        self.sounds: list[bytes] = []
        self.open = False
        self.broken = False
        self.resets = 0

    def reinit_feat(self) -> None:
        self.resets += 1

    def start_utt(self) -> None:
        assert not self.open
        self.open = True

    def process_raw(self, data: bytes, *, full_utt: bool) -> None:
        assert full_utt
        if self.broken:
            raise RuntimeError("failed to process")
        self.sounds.append(data)

    def end_utt(self) -> None:
        self.open = False

    def hyp(self) -> object:
        return object()

    def seg(self) -> tuple[Heard, ...]:
        return self.heard


def test_fillers_and_variants_are_no_words_and_numbers_keep_their_ranges() -> None:
    decoder = Scripted(
        Heard("<s>", 0, 9, 1.0),
        Heard("our(2)", 10, 24, 0.25),
        Heard("[NOISE]", 25, 30, 0.5),
        Heard("<sil>", 31, 40, 0.5),
        Heard("blood", 41, 41, 1.0000001),
        Heard("on", 95, 120, -1e-12),
        Heard("</s>", 121, 130, 1.0),
    )
    words, _ = asr_pocketsphinx.PocketSphinx("scripted", (), decoder)(Audio("r", tone(9.0)), [Segment(7.5, 8.5)])
    assert words == (Word(7.6, 7.75, "our", 0.25), Word(7.91, 7.92, "blood", 1.0), Word(8.45, 8.5, "on", 0.0))


def test_long_speech_is_decoded_in_pieces_on_the_recordings_clock() -> None:
    decoder = Scripted(Heard("on", 10, 19, 0.5))
    speech = [Segment(1.0, 41.0), Segment(50.0, 51.0)]
    words, _ = asr_pocketsphinx.PocketSphinx("scripted", (), decoder)(Audio("r", tone(60.0)), speech)
    assert sum(len(sound) for sound in decoder.sounds) == pytest.approx(41 * 16_000 * 2, abs=8)
    assert max(len(sound) for sound in decoder.sounds) <= 15 * 16_000 * 2
    assert words[0].start == 1.1
    assert words[-1].start == 50.1
    assert len(words) == len(decoder.sounds) == decoder.resets >= 4


def test_an_error_in_one_recording_leaves_the_decoder_usable() -> None:
    decoder = Scripted(Heard("on", 10, 19, 0.5))
    recognizer = asr_pocketsphinx.PocketSphinx("scripted", (), decoder)
    decoder.broken = True
    with pytest.raises(RuntimeError, match="failed to process"):
        recognizer(Audio("r", tone(1.0)), [Segment(0.0, 1.0)])
    decoder.broken = False
    assert len(recognizer(Audio("r", tone(1.0)), [Segment(0.0, 1.0)])[0]) == 1


def test_another_language_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"English only, not 'de'.*whisper"):
        asr_pocketsphinx.load(AsrConfig(language="de"))


def test_the_name_carries_version_weights_and_settings(sphinx: asr_pocketsphinx.PocketSphinx) -> None:
    assert sphinx.name.startswith("pocketsphinx/5.")
    assert sphinx.name.endswith("/maxhmmpf=3000,cmn=batch")
    assert asr_pocketsphinx.load(AsrConfig(language="en")).name == sphinx.name


def test_it_is_said_to_be_a_draft(sphinx: asr_pocketsphinx.PocketSphinx) -> None:
    assert len(sphinx.notes) == 1 and "draft" in sphinx.notes[0]
    assert len(asr_pocketsphinx.load(AsrConfig(hotwords="Anna")).notes) == 1  # the plan notes unused hot words


def test_fault_59_a_model_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pocketsphinx.get_model_path", lambda name: str(tmp_path / name))
    with pytest.raises(BackendError, match=r"no files there.*pip install"):
        asr_pocketsphinx.load()
    (tmp_path / "en-us").mkdir()
    (tmp_path / "en-us" / "en-us.lm.bin").write_bytes(b"no model")
    with pytest.raises(BackendError, match=r"cannot be loaded.*pip install"):
        asr_pocketsphinx.load()
    assert capfd.readouterr() == ("", "")


def test_another_rate_is_refused(sphinx: asr_pocketsphinx.PocketSphinx) -> None:
    with pytest.raises(ValueError, match="8000 Hz"):
        sphinx(Audio("r", tone(1.0), rate=8_000), [Segment(0.0, 1.0)])
