"""Moonshine: with its real weights on the example conversation, and with scripted ones."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diarize.audio import reading
from diarize.backends import asr_moonshine
from diarize.backends.asr_moonshine import Decoded, Moonshine, Network
from diarize.config import AsrConfig
from diarize.errors import AudioError, ConfigError, ModelRefused
from diarize.formats import rttm
from diarize.metrics.normalisation import normalised
from diarize.timeline import union
from diarize.types import Audio, Segment, Word
from diarize.words import recognition

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def spoken() -> tuple[Audio, tuple[Segment, ...]]:
    audio = reading.read(EXAMPLES / "conversation.flac", id="conversation").audios[0]
    turns = rttm.loads((EXAMPLES / "conversation.rttm").read_text(), "conversation.rttm")["conversation"]
    return audio, union(Segment(turn.start, turn.end) for turn in turns)


@pytest.fixture(scope="module")
def moonshine(moonshine_model: Path) -> Moonshine:
    return asr_moonshine.load(moonshine_model, threads=2)


@pytest.fixture(scope="module")
def words(moonshine: Moonshine) -> tuple[Word, ...]:
    """The words of the whole conversation, recognized once for all tests."""
    words, language = moonshine(*spoken())
    assert language == "en"
    return words


def test_the_conversation_is_recognized_and_its_words_are_at_their_places(words: tuple[Word, ...]) -> None:
    truth = json.loads((EXAMPLES / "conversation.words.json").read_text())
    places: dict[str, list[float]] = {}
    for entry in truth:
        places.setdefault(normalised(entry["word"]), []).append(entry["start"])
    near = [
        min((abs(word.start - start) for start in places.get(normalised(word.text), ())), default=99.0)
        for word in words
    ]
    right = [distance for distance in near if distance < 0.5]
    assert len(right) >= 0.85 * len(truth)
    assert abs(len(words) - len(truth)) < 0.1 * len(truth)
    assert np.median(right) < 0.08
    assert np.percentile(right, 90) < 0.25
    assert sum(word.text[0].isupper() for word in words) > 20  # sentences and names
    assert sum(word.text.endswith((".", "?")) for word in words) > 10
    assert 0.7 < np.mean([word.probability for word in words]) < 1


def test_words_are_in_order_and_inside_speech(words: tuple[Word, ...]) -> None:
    _, speech = spoken()
    assert list(words) == sorted(words, key=lambda word: word.start)
    for word in words:
        assert 0 <= (word.probability or 0) <= 1 and word.text == word.text.strip() != ""
        assert any(segment.start <= word.start <= word.end <= segment.end for segment in speech), word
    assert recognition.describe_doubts(words, speech) == ()


def test_threads_and_other_speech_make_no_difference(moonshine_model: Path, words: tuple[Word, ...]) -> None:
    audio, speech = spoken()
    chunks = recognition.chunks(audio.samples, 16_000, speech, asr_moonshine.LONGEST, asr_moonshine.PAUSE)
    first = [segment for segment in speech if segment.end <= chunks[1].end]
    # In two threads these were computed beside other chunks; the margin of the last one reached the next chunk there.
    alone, _ = asr_moonshine.load(moonshine_model, threads=1)(audio, first)
    same = sum(word.end <= chunks[0].end for word in alone)
    assert same > 20
    assert alone[:same] == words[:same]
    assert [word.text for word in alone[:-1]] == [word.text for word in words[: len(alone) - 1]]


def test_fault_21_silence_has_no_words(moonshine: Moonshine) -> None:
    silence = Audio("r", np.zeros(3 * 16_000, dtype=np.float32))
    assert moonshine(silence, [Segment(0.0, 3.0)]) == ((), "en")
    assert moonshine(silence, ()) == ((), "en")


@pytest.mark.parametrize("seconds", [0.00001, 0.001, 0.05, 0.5])
def test_fault_23_the_shortest_speech_does_no_harm(moonshine: Moonshine, seconds: float) -> None:
    sound = (0.3 * np.sin(2 * np.pi * 220 * np.arange(16_000) / 16_000)).astype(np.float32)
    for start in (0.0, 0.25, 1.0 - seconds):
        words, _ = moonshine(Audio("r", sound), [Segment(start, start + seconds)])
        assert all(start <= w.start <= w.end <= start + seconds for w in words)
    assert moonshine(Audio("r", sound[:0]), [Segment(0.0, 1.0)]) == ((), "en")


def test_a_repetition_is_stopped_and_reported(moonshine: Moonshine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A decoder that says one word for ever."""
    word = moonshine._vocabulary.index("\u2581the".encode())
    monkeypatch.setattr(asr_moonshine, "_best", lambda logits: (word, -0.1))
    audio, _ = spoken()
    speech = [Segment(0.0, 10.0)]
    words, _ = moonshine(audio, speech)
    assert {w.text for w in words} == {"the"}
    assert len(words) == 16  # checked after every eighth token; without the check 65
    (note,) = recognition.describe_doubts(words, speech)
    assert "'the' was recognized 16 times in a row" in note


def test_there_are_at_most_six_and_a_half_tokens_a_second(
    moonshine: Moonshine, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = iter(i for i, text in enumerate(moonshine._vocabulary) if text.startswith("\u2581".encode()))
    monkeypatch.setattr(asr_moonshine, "_best", lambda logits: (next(numbers), -0.1))
    decoded = moonshine._network.decode(spoken()[0].samples[: 4 * 16_000], lambda tokens: False)
    assert len(decoded.tokens) == len(decoded.scores) == len(decoded.frames) - 1 == 26
    assert decoded.frames[-1] * asr_moonshine.FRAME == pytest.approx(4, abs=0.06)


class Scripted(Network):
    """A network that recognizes the same tokens in every chunk, and records the length of each."""

    def __init__(self, tokens: Sequence[int]) -> None:
        self.tokens, self.lengths = tuple(tokens), list[int]()

    def decode(self, sound: Any, repeats: Callable[[Sequence[int]], bool]) -> Decoded:
        self.lengths.append(len(sound))
        frames = tuple(range(0, 10 * (len(self.tokens) + 1), 10))
        return Decoded(self.tokens, (np.log(0.25).item(), np.log(0.5).item())[: len(self.tokens)], frames)


VOCABULARY = [b"<unk>", b"<s>", b"</s>", b"<0xC3>", b"<0xA9>", "\u2581Hi".encode(), b"gh", b",", "\u2581".encode()]


def test_long_speech_is_decoded_in_chunks_with_margins_on_the_recordings_clock() -> None:
    network = Scripted([5, 6])
    sound = np.full(60 * 16_000, 0.1, dtype=np.float32)
    speech = [Segment(1.0, 41.0), Segment(50.0, 51.0)]
    words, _ = Moonshine(network, VOCABULARY, "scripted", (), 1)(Audio("r", sound), speech)
    assert len(words) == len(network.lengths) >= 3
    assert max(network.lengths) <= (asr_moonshine.LONGEST + 2 * asr_moonshine.MARGIN) * 16_000
    # Margins at the ends of speech, none where speech was cut: no sound is decoded twice.
    assert sum(network.lengths) == pytest.approx((41 + 4 * asr_moonshine.MARGIN) * 16_000, abs=8)
    assert [w.text for w in words] == ["High"] * len(words)
    assert (words[0].start, words[-1].start) == (1.0, 50.0)
    assert words[0].end == pytest.approx(1.0 - asr_moonshine.MARGIN + asr_moonshine.LATE + 20 * 0.024, abs=1e-3)
    assert words[0].probability == pytest.approx(np.sqrt(0.25 * 0.5))


def test_tokens_become_words() -> None:
    assert asr_moonshine.split_words([5, 6, 7, 5], VOCABULARY) == [("High,", 0, 3), ("Hi", 3, 4)]
    assert asr_moonshine.split_words([5, 3, 4], VOCABULARY) == [("Hi\u00e9", 0, 3)]  # two bytes of one letter
    assert asr_moonshine.split_words([5, 3], VOCABULARY) == [("Hi\ufffd", 0, 2)]
    assert asr_moonshine.split_words([0, 8, 999], VOCABULARY) == []
    assert asr_moonshine.split_words([], VOCABULARY) == []


def test_the_list_of_tokens(tmp_path: Path, moonshine_model: Path) -> None:
    path = tmp_path / "tokenizer.bin"
    tokens = (b"", b"a", b"b" * 127, b"c" * 128, b"d" * 300)
    lengths = (bytes([len(t)]) if len(t) < 128 else bytes([128 + len(t) % 128, len(t) // 128]) for t in tokens)
    whole = b"".join(length + token for length, token in zip(lengths, tokens, strict=True))
    path.write_bytes(whole)
    assert asr_moonshine.read_vocabulary(path) == tokens
    for damaged in (whole[:-1], b"", b"\x05ab", b"\xff"):
        path.write_bytes(damaged)
        with pytest.raises(ModelRefused, match="not a complete list of tokens"):
            asr_moonshine.read_vocabulary(path)
    vocabulary = asr_moonshine.read_vocabulary(moonshine_model / "tokenizer.bin")
    assert (len(vocabulary), vocabulary[1], vocabulary[2]) == (32_768, b"<s>", b"</s>")


def test_another_language_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"English only, not 'de'.*Whisper.*diarize models pull whisper-small"):
        asr_moonshine.load(tmp_path, AsrConfig(language="de"))


def test_name_and_notes(moonshine: Moonshine, moonshine_model: Path) -> None:
    assert re.fullmatch(r"moonshine/moonshine-tiny-en/[0-9a-f]{16}/longest=.*", moonshine.name)
    assert moonshine.notes == ()
    told = asr_moonshine.load(moonshine_model, AsrConfig(language="en", hotwords="Anna"), digest="ab" * 32)
    assert told.name.split("/")[2] == "ab" * 8
    assert told.notes == ()  # the plan notes, once a run, that hot words are not used


def test_another_rate_is_refused(moonshine: Moonshine) -> None:
    with pytest.raises(AudioError, match="8000 Hz"):
        moonshine(Audio("r", np.zeros(8_000, dtype=np.float32), rate=8_000), [Segment(0.0, 1.0)])


def test_fault_59_files_that_are_no_moonshine(tmp_path: Path, moonshine_model: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    with pytest.raises(ModelRefused, match="cannot be read"):
        asr_moonshine.load(folder)
    for name in ("encoder_model.ort", "decoder_model_merged.ort"):
        (folder / name).symlink_to(moonshine_model / "encoder_model.ort")
    with pytest.raises(ModelRefused, match="0 nodes with a else_branch"):
        asr_moonshine.load(folder)
    (folder / "decoder_model_merged.ort").unlink()
    (folder / "decoder_model_merged.ort").symlink_to(moonshine_model / "decoder_model_merged.ort")
    (folder / "encoder_model.ort").unlink()
    (folder / "encoder_model.ort").write_bytes((moonshine_model / "encoder_model.ort").read_bytes()[:100_000])
    with pytest.raises(ModelRefused, match="not a Moonshine model"):
        asr_moonshine.load(folder)
