"""Whisper through faster-whisper, with a tiny model of random weights: only its understanding differs from real use."""

from __future__ import annotations

import itertools
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from diarize.backends import asr_whisper
from diarize.backends.devices import MemoryFallback
from diarize.config import AsrConfig
from diarize.errors import BackendError, ConfigError, ModelRefused
from diarize.types import Audio, Segment, Word
from tests.tiny_whisper import make, tiny_whisper

pytest.importorskip("faster_whisper", reason="needs the extra: whisper")
pytest.importorskip("transformers", reason="makes the tiny Whisper")

__all__ = ["tiny_whisper"]  # a fixture

FAST = AsrConfig(beam=1, batch=2, language="en")


def noise(seconds: float, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(seed).normal(0, 0.1, round(seconds * 16_000)).clip(-1, 1).astype(np.float32)


def recording(*parts: np.ndarray[Any, np.dtype[np.float32]]) -> Audio:
    return Audio("r", np.concatenate(parts))


def silence(seconds: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.zeros(round(seconds * 16_000), dtype=np.float32)


@pytest.fixture(scope="module")
def whisper(tiny_whisper: Path) -> asr_whisper.Whisper:
    return asr_whisper.load(tiny_whisper, FAST, device="cpu", threads=1, digest="0123456789abcdef" * 4)


@pytest.fixture
def english_only(tmp_path: Path) -> Path:
    return make(tmp_path / "tiny-random.en", multilingual=False)


def test_its_name_knows_every_file_of_its_folder(tiny_whisper: Path, tmp_path: Path) -> None:
    """Words are kept by this name: those of another tokenizer are others."""
    folder = Path(shutil.copytree(tiny_whisper, tmp_path / tiny_whisper.name))
    before = asr_whisper.load(folder, FAST, device="cpu", threads=1).name
    assert asr_whisper.load(tiny_whisper, FAST, device="cpu", threads=1).name == before
    with (folder / "tokenizer.json").open("a") as file:
        file.write("\n")
    assert asr_whisper.load(folder, FAST, device="cpu", threads=1).name != before


def test_words_lie_in_the_speech_they_were_heard_in(whisper: asr_whisper.Whisper) -> None:
    speech = (Segment(1.0, 4.0), Segment(10.0, 17.5), Segment(60.25, 64.0))
    words, language = whisper(recording(noise(65.0)), speech)
    assert language == "en"
    assert {i for w in words for i, s in enumerate(speech) if s.start <= w.start <= w.end <= s.end} == {0, 1, 2}
    assert all(any(s.start <= w.start <= w.end <= s.end for s in speech) for w in words)
    assert all(a.start <= b.start for a, b in itertools.pairwise(words))
    assert all(w.text == w.text.strip() != "" and w.speaker is None for w in words)


def test_times_are_on_the_recordings_own_clock(whisper: asr_whisper.Whisper) -> None:
    sound = noise(12.0, seed=3)
    alone, _ = whisper(recording(sound), [Segment(0.0, 12.0)])
    later = 101 * 16_000 + 4_639  # 101.2899375 s: on no whole hundredth
    shift = later / 16_000
    among, _ = whisper(
        recording(noise(20.0), silence(shift - 20.0), sound), [Segment(2.0, 19.0), Segment(shift, shift + 12.0)]
    )
    moved = [w for w in among if w.start >= shift]
    assert len(alone) > 5
    assert [w.text for w in moved] == [w.text for w in alone]
    for early, late in zip(alone, moved, strict=True):
        assert (late.start, late.end) == pytest.approx((early.start + shift, early.end + shift), abs=0.0011)


def test_the_same_input_gives_the_same_words(tiny_whisper: Path) -> None:
    audio, speech = recording(noise(40.0)), [Segment(0.0, 8.0), Segment(20.0, 40.0)]
    first, second = (asr_whisper.load(tiny_whisper, AsrConfig(batch=2), device="cpu", threads=n) for n in (1, 2))
    heard = first(audio, speech)
    assert len(heard[0]) > 5
    assert first(audio, speech) == heard  # nothing is remembered from call to call
    first(recording(noise(5.0, seed=9)), [Segment(0.0, 5.0)])
    assert first(audio, speech) == heard
    assert second(audio, speech) == heard  # nor does the number of threads matter


def test_all_speech_is_heard_and_little_of_it_at_a_time(
    whisper: asr_whisper.Whisper, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = np.linspace(-1, 1, 300 * 16_000, dtype=np.float32)  # each sample's value tells its place
    speech = (Segment(0.5, 41.0), Segment(41.8, 42.0), Segment(50.0, 50.4), Segment(120.0, 299.99))
    heard = np.zeros(len(samples), dtype=bool)
    sizes = []

    def transcribe(self: object, sound: Any, *, clip_timestamps: Any, **_: Any) -> tuple[Iterator[Any], None]:
        sizes.append(len(sound))
        for clip in clip_timestamps:  # cut as the library does
            part = sound[int(clip["start"] * 16_000) : int(clip["end"] * 16_000)]
            first = int(np.searchsorted(samples, part[0]))
            np.testing.assert_array_equal(samples[first : first + len(part)], part)
            assert len(part) <= 30 * 16_000
            heard[first : first + len(part)] = True
        return iter(()), None

    monkeypatch.setattr("faster_whisper.BatchedInferencePipeline.transcribe", transcribe)
    assert whisper(Audio("r", samples), speech) == ((), "en")
    for segment in speech:
        assert heard[round(segment.start * 16_000) : round(segment.end * 16_000)].all()
    assert max(sizes) <= FAST.batch * 30 * 16_000


def test_fault_49_a_gpu_without_room_gets_half_a_batch_and_then_the_cpu_does_it(
    tiny_whisper: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import faster_whisper

    whisper = asr_whisper.load(tiny_whisper, FAST, device="auto", threads=1)
    sound, speech = recording(noise(60.0)), (Segment(1, 4), Segment(50, 53))  # two chunks, one batch
    expected = whisper(sound, speech)
    transcribe = faster_whisper.BatchedInferencePipeline.transcribe
    room, asked = 1, []

    def limited(self: Any, *args: Any, **options: Any) -> Any:
        asked.append(len(options["clip_timestamps"]))
        if whisper.model is gpu and asked[-1] > room:
            raise RuntimeError("CUDA failed with error out of memory")
        return transcribe(self, *args, **options)

    monkeypatch.setattr("faster_whisper.BatchedInferencePipeline.transcribe", limited)
    gpu = whisper.model
    whisper._fallback = MemoryFallback("Whisper", True, whisper._move_to_cpu)
    assert [word.text for word in whisper(sound, speech)[0]] == [word.text for word in expected[0]]
    assert asked == [2, 1, 1]
    assert "batches of 1" in whisper.notes[0]
    room = 0
    assert [word.text for word in whisper(sound, speech)[0]] == [word.text for word in expected[0]]
    assert asked == [2, 1, 1, 1, 2]
    assert whisper.notes == ("Whisper was moved to the CPU: the GPU had too little memory",)


def test_fault_21_without_speech_nothing_is_run(whisper: asr_whisper.Whisper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("faster_whisper.BatchedInferencePipeline.transcribe")
    assert whisper(recording(noise(5.0)), ()) == ((), "en")
    assert whisper(Audio("r", silence(0.0)), [Segment(0.0, 1.0)]) == ((), "en")


def says(monkeypatch: pytest.MonkeyPatch, *segments: Any) -> None:
    """Make the library answer with these segments."""
    monkeypatch.setattr(
        "faster_whisper.BatchedInferencePipeline.transcribe", lambda *args, **options: (iter(segments), None)
    )


def segment(*words: tuple[str, float, float, float], seek: int = 0, silent: float = 0.1, likely: float = -0.3) -> Any:
    return SimpleNamespace(
        seek=seek,
        no_speech_prob=silent,
        avg_logprob=likely,
        words=[SimpleNamespace(word=w, start=s, end=e, probability=p) for w, s, e, p in words],
    )


def test_fault_22_what_whisper_takes_for_no_speech_has_no_words(
    whisper: asr_whisper.Whisper, monkeypatch: pytest.MonkeyPatch
) -> None:
    thanks = (" Thanks.", 1.0, 1.5, 0.4)
    audio, speech = recording(noise(4.0)), [Segment(0.0, 4.0)]
    says(monkeypatch, segment(thanks, silent=0.9, likely=-1.5))
    assert whisper(audio, speech) == ((), "en")
    for sure in (segment(thanks, silent=0.9, likely=-0.5), segment(thanks, silent=0.5, likely=-1.5)):
        says(monkeypatch, sure)
        assert whisper(audio, speech) == ((Word(1.0, 1.5, "Thanks.", 0.4),), "en")


def test_fault_43_times_beyond_the_chunk_and_backwards_are_brought_inside(
    whisper: asr_whisper.Whisper, monkeypatch: pytest.MonkeyPatch
) -> None:
    says(
        monkeypatch,
        segment((" a", -0.2, 0.5, 1.0000001), (" b", 1.5, 1.2, 0.5), (" c", 3.9, 4.6, -1e-9), (" d", 4.2, 4.8, 0.5)),
    )
    words, _ = whisper(recording(silence(10.0), noise(4.0)), [Segment(10.0, 14.0)])
    assert words == (
        Word(10.0, 10.5, "a", 1.0),
        Word(11.5, 11.5, "b", 0.5),
        Word(13.9, 14.0, "c", 0.0),
        Word(14.0, 14.0, "d", 0.5),
    )


def test_fault_42_tokens_become_words(whisper: asr_whisper.Whisper, monkeypatch: pytest.MonkeyPatch) -> None:
    said = [" It", " cost", " $5", ",000", "-ish", ".", " 你", "好", " "]
    says(monkeypatch, segment(*((text, i / 10, (i + 1) / 10, 0.9) for i, text in enumerate(said))))
    words, _ = whisper(recording(noise(4.0)), [Segment(0.0, 4.0)])
    assert [w.text for w in words] == ["It", "cost", "$5,000-ish.", "你", "好"]
    assert (words[2].start, words[2].end) == (0.2, 0.6)


def test_the_language_is_that_of_most_speech(tiny_whisper: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whisper = asr_whisper.load(tiny_whisper, AsrConfig(beam=1), device="cpu")
    answers = {5.0: [("de", 0.9), ("en", 0.1)], 20.0: [("en", 0.8), ("de", 0.2)]}

    def detect(self: object, audio: Any) -> tuple[str, float, list[tuple[str, float]]]:
        probabilities = answers[len(audio) / 16_000]
        return (*probabilities[0], probabilities)

    monkeypatch.setattr("faster_whisper.WhisperModel.detect_language", detect)
    says(monkeypatch)
    audio = recording(noise(200.0))
    assert whisper(audio, [Segment(0.0, 5.0)]) == ((), "de")
    short = [Segment(t, t + 5.0) for t in (0.0, 20.0, 40.0, 60.0)]
    long = Segment(100.0, 120.0)
    assert whisper(audio, [short[0], long]) == ((), "en")  # 16.5 s against 8.5 s
    assert whisper(audio, [*short, long]) == ((), "de")  # 18 s against 22 s


def test_the_language_is_detected_by_the_model_itself(tiny_whisper: Path) -> None:
    whisper = asr_whisper.load(tiny_whisper, AsrConfig(beam=1), device="cpu")
    _, language = whisper(recording(noise(5.0)), [Segment(0.0, 5.0)])
    assert language in whisper.model.supported_languages


def test_an_english_only_model(english_only: Path) -> None:
    words, language = asr_whisper.load(english_only, AsrConfig(beam=1), device="cpu")(
        recording(noise(3.0)), [Segment(0.0, 3.0)]
    )
    assert words
    assert language == "en"
    with pytest.raises(ConfigError, match=r"asr.language.*'de'.*English only"):
        asr_whisper.load(english_only, AsrConfig(language="de"), device="cpu")


def test_hot_words_and_prompt_reach_the_model(tiny_whisper: Path) -> None:
    audio, speech = recording(noise(6.0)), [Segment(0.0, 6.0)]
    plain, hot, told = (
        asr_whisper.load(tiny_whisper, FAST.model_copy(update=more), device="cpu")
        for more in ({}, {"hotwords": "xylem"}, {"initial_prompt": "Xylem."})
    )
    assert len({plain(audio, speech)[0], hot(audio, speech)[0], told(audio, speech)[0]}) == 3
    assert len({plain.name, hot.name, told.name}) == 3


def test_a_prompt_that_is_too_long_is_refused(tiny_whisper: Path) -> None:
    with pytest.raises(ConfigError, match="accepts 223"):
        asr_whisper.load(tiny_whisper, AsrConfig(hotwords="zq " * 60, initial_prompt="zq " * 60), device="cpu")


def test_an_unknown_language_is_refused(tiny_whisper: Path) -> None:
    for unknown in ("xx", "yue"):  # Cantonese came with a later model
        with pytest.raises(ConfigError, match=f"does not support '{unknown}'"):
            asr_whisper.load(tiny_whisper, AsrConfig(language=unknown), device="cpu")


def test_the_name_tells_what_decides_the_words(whisper: asr_whisper.Whisper, tiny_whisper: Path) -> None:
    assert whisper.name.startswith("whisper/tiny-random/0123456789abcdef/faster-whisper-")
    assert whisper.name.endswith("/cpu-int8_float32/beam1/batch2/language-en")
    other = asr_whisper.load(tiny_whisper, FAST, device="cpu")  # hashes the weights itself
    assert "/0123456789abcdef/" not in other.name


def test_fault_59_a_folder_without_its_files_is_refused_before_anybody_asks_a_hub(
    tiny_whisper: Path, tmp_path: Path
) -> None:
    with pytest.raises(ModelRefused, match=r"model\.bin, config\.json, tokenizer\.json missing"):
        asr_whisper.load(tmp_path / "nothing")
    folder = tmp_path / "part"
    shutil.copytree(tiny_whisper, folder)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelRefused, match=r"tokenizer\.json missing"):
        asr_whisper.load(folder)


def test_fault_59_damaged_weights_are_refused(tiny_whisper: Path, tmp_path: Path) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(tiny_whisper, folder)
    (folder / "model.bin").write_bytes((tiny_whisper / "model.bin").read_bytes()[:1000])
    with pytest.raises(BackendError, match="cannot be loaded as a Whisper model"):
        asr_whisper.load(folder, device="cpu")


def test_where_cuda_does_not_work_auto_takes_the_cpu_and_says_so(
    tiny_whisper: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: object, features: object) -> None:
        raise RuntimeError("Library libcublas.so.12 is not found or cannot be loaded")

    real = asr_whisper._whisper
    monkeypatch.setattr("ctranslate2.get_cuda_device_count", lambda: 1)
    monkeypatch.setattr("ctranslate2.get_supported_compute_types", lambda device: {"float16"})
    monkeypatch.setattr(asr_whisper, "_whisper", lambda model, device, kind, n: real(model, "cpu", "int8", n))
    monkeypatch.setattr("faster_whisper.WhisperModel.encode", broken)
    whisper = asr_whisper.load(tiny_whisper, FAST)
    assert "CPU" in whisper.notes[0] and "libcublas" in whisper.notes[0]
    assert "/cpu-int8" in whisper.name
    with pytest.raises(BackendError, match=r"libcublas.*--device cpu"):
        asr_whisper.load(tiny_whisper, FAST, device="cuda")


def test_nothing_goes_over_the_network(tiny_whisper: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    whisper = asr_whisper.load(tiny_whisper, FAST)
    assert whisper(recording(noise(2.0)), [Segment(0.0, 2.0)])[0]


@pytest.mark.parametrize("seconds", [0.001, 0.05, 0.5])
def test_fault_23_the_shortest_speech_is_heard(whisper: asr_whisper.Whisper, seconds: float) -> None:
    words, _ = whisper(recording(noise(1.0)), [Segment(0.25, 0.25 + seconds)])
    assert all(0.25 <= w.start <= w.end <= 0.25 + seconds for w in words)


def test_fault_21_digital_silence_taken_for_speech_does_no_harm(whisper: asr_whisper.Whisper) -> None:
    words, _ = whisper(recording(silence(31.0)), [Segment(0.0, 31.0)])
    assert all(0 <= w.start <= w.end <= 31.0 for w in words)


def test_another_rate_is_refused(whisper: asr_whisper.Whisper) -> None:
    with pytest.raises(ValueError, match="8000 Hz"):
        whisper(Audio("r", silence(1.0), rate=8_000), [Segment(0.0, 1.0)])
