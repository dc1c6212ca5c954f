"""Whisper through faster-whisper, on our own samples and our own speech segments (docs/method/words.md).

Radford et al. 2022, "Robust Speech Recognition via Large-Scale Weak Supervision" (arXiv 2212.04356). Word times come
from cross-attention and dynamic time warping, as faster-whisper computes them. Nothing here opens a network connection.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from diarize import files, progress
from diarize.audio import excerpts
from diarize.backends import devices
from diarize.backends.devices import MemoryFallback
from diarize.config import AsrConfig, Device
from diarize.errors import BackendError, ConfigError, DeviceMissing, ModelRefused
from diarize.types import Audio, Samples, Segment, Word
from diarize.units import RATE, round_time, to_samples
from diarize.words import recognition

if TYPE_CHECKING:
    from faster_whisper import WhisperModel

WINDOW = 30.0  # s that Whisper decodes at once (section 2.2); a shorter chunk is padded and takes the same time
LONGEST = WINDOW - 0.01  # s; a hundredth is left for rounding to samples
PAUSE = 2.0  # s; shorter pauses stay inside a chunk, for context; over longer silences Whisper invents words

LANGUAGE_CHUNKS = 5  # chunks that the language is detected from, spread evenly over the recording
# Whisper's own thresholds (section 4.5): a chunk counts as silence if its probability of no speech is above the first
# and the mean log-probability of its text is below the second.
NO_SPEECH, UNLIKELY = 0.6, -1.0

MOST_TOKENS = 223  # of hot words and prompt: half of the 448 that a Whisper decodes, without the token before them
_FILES = ("model.bin", "config.json", "tokenizer.json")  # without the last, faster-whisper would ask the hub for it


class Whisper:
    """A `Recognizer`. `notes` report a fallback to the CPU or to smaller batches."""

    def __init__(
        self,
        model: WhisperModel,
        config: AsrConfig,
        describe: Callable[[WhisperModel], str],
        notes: tuple[str, ...] = (),
        open_cpu: Callable[[], WhisperModel] | None = None,
    ) -> None:
        """`describe` gives the identity of a running model; `open_cpu` is None if the work must stay on its device."""
        self.model, self.config = model, config
        self._describe, self._notes, self._open_cpu = describe, notes, open_cpu
        on_gpu = model.model.device == "cuda"
        self._fallback = MemoryFallback("Whisper", on_gpu, None if open_cpu is None else self._move_to_cpu)

    @property
    def name(self) -> str:
        return self._describe(self.model)

    @property
    def notes(self) -> tuple[str, ...]:
        return (*self._notes, *self._fallback.notes)

    def _move_to_cpu(self) -> None:
        assert self._open_cpu is not None
        self.model = self._open_cpu()

    def __call__(self, audio: Audio, speech: Sequence[Segment]) -> tuple[tuple[Word, ...], str | None]:
        """Words by time, and the language; without speech none, and the language of the settings.

        Raises ValueError if the audio is not at 16 kHz.
        """
        if audio.rate != RATE:
            raise ValueError(f"{audio.id}: Whisper needs {RATE} Hz, got {audio.rate} Hz")
        chunks = recognition.chunks(audio.samples, RATE, speech, LONGEST, PAUSE)
        if not chunks:
            return (), self.config.language
        language = self.config.language
        if language is None:
            (language,) = self._fallback.run(lambda *_: _language(self.model, audio.samples, chunks), 1)
        words: list[Word] = []
        for first in range(0, len(chunks), self.config.batch):
            words += self._batch(audio.samples, chunks[first : first + self.config.batch], language)
            excerpts.release(audio.samples)
            done = sum(chunk.duration for chunk in chunks[: first + self.config.batch])
            progress.report(done, sum(chunk.duration for chunk in chunks))
        return tuple(words), language

    def _batch(self, samples: Samples, chunks: Sequence[Segment], language: str) -> list[Word]:
        """The words of one batch of chunks; in smaller batches if memory is short."""
        batches = self._fallback.run(lambda a, b: list(self._words(samples, chunks[a:b], language)), len(chunks))
        return [word for words in batches for word in words]

    def _words(self, samples: Samples, chunks: Sequence[Segment], language: str) -> Iterator[Word]:
        """The words of one batch of chunks. Only the samples of the batch are held in memory."""
        from faster_whisper import BatchedInferencePipeline

        # faster-whisper truncates the start of a clip to hundredths of a second. So each chunk gets a slot of 30 s, and
        # its time in the recording is added afterwards.
        slot = to_samples(WINDOW)
        sound = np.zeros(len(chunks) * slot, dtype=np.float32)
        clips = []
        for i, chunk in enumerate(chunks):
            excerpt = _samples(samples, chunk)
            sound[i * slot : i * slot + len(excerpt)] = excerpt
            clips.append({"start": i * WINDOW, "end": i * WINDOW + (len(excerpt) + 0.5) / RATE})  # it rounds down
        # A new pipeline for each batch: it stores where speech ended, and would keep that after an error.
        segments, _ = BatchedInferencePipeline(self.model).transcribe(
            sound,
            language=language,
            clip_timestamps=clips,
            vad_filter=False,
            word_timestamps=True,
            beam_size=self.config.beam,
            batch_size=self.config.batch,
            temperature=0.0,  # beam search alone: no sampling, so the same input gives the same words
            hotwords=_or_none(self.config.hotwords),
            initial_prompt=_or_none(self.config.initial_prompt),
        )
        for i, results in itertools.groupby(segments, key=lambda segment: round(segment.seek / (100 * WINDOW))):
            chunk = chunks[i]
            yield from recognition.merge(_tokens(results, chunk.start - i * WINDOW, chunk))


def load(
    model: Path, config: AsrConfig | None = None, device: Device = "auto", threads: int = 0, digest: str = ""
) -> Whisper:
    """The Whisper of a faster-whisper folder (`model.bin`, `config.json`, `tokenizer.json`, vocabulary).

    `digest` is that of its files, if the caller knows it. `threads` is for the CPU; 0 leaves the choice to CTranslate2.
    "auto" uses CUDA if it works. Raises ModelRefused if the folder is another one, BackendError if it cannot be used,
    DeviceMissing if the device cannot, ConfigError if language, hot words or prompt do not fit the model.
    """
    _check_files(model)
    config = config or AsrConfig()
    whisper, notes = _open(model, device, threads)
    _check(whisper, config)
    digest = digest or _digest(model)
    return Whisper(
        whisper,
        config,
        lambda running: _name(model, running, config, digest),
        notes,
        (lambda: _whisper(model, "cpu", "int8", threads)) if device == "auto" else None,
    )


def check(model: Path, config: AsrConfig, device: Device, **_: Any) -> None:
    """Raises what `load` raises for settings that do not fit, without loading the weights."""
    from tokenizers import Tokenizer

    _check_files(model)
    if device == "cuda":
        devices.require_cuda("ctranslate2")
    try:
        tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    except Exception as error:  # tokenizers raises nothing more special
        raise BackendError(f"{model} cannot be loaded as a Whisper model: {error}") from error
    of_english = model.name.endswith(".en")
    if config.language not in (None, "en") and (of_english or tokenizer.token_to_id(f"<|{config.language}|>") is None):
        cure = "It supports English only." if of_english else ""
        raise ConfigError("settings", "asr.language", f"this model does not support {config.language!r}", cure)
    _check_prompt(tokenizer, config, MOST_TOKENS)


def _check_files(model: Path) -> None:
    if missing := [name for name in _FILES if not (model / name).is_file()]:
        raise ModelRefused(
            str(model),
            f"it is not a faster-whisper folder: {', '.join(missing)} missing",
            "Use the folder of a converted model, or a name in the model store (diarize models list).",
        )


def _digest(folder: Path) -> str:
    """sha256 over the names and digests of a folder's files: words depend on the tokenizer as on the weights."""
    lines = (f"{digest} {name}\n" for name, digest in files.digests(folder).items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _open(model: Path, device: Device, threads: int) -> tuple[WhisperModel, tuple[str, ...]]:
    import ctranslate2

    notes: tuple[str, ...] = ()
    if device == "cuda" or (device == "auto" and ctranslate2.get_cuda_device_count() > 0):
        try:
            supported = ctranslate2.get_supported_compute_types("cuda")
            whisper = _whisper(model, "cuda", "float16" if "float16" in supported else "float32", threads)
            # Libraries of CUDA are loaded when they are first used, so a model that loads may still not run.
            whisper.encode(np.zeros((whisper.model.n_mels, 3000), dtype=np.float32))
            return whisper, notes
        except (RuntimeError, ValueError) as error:
            if device == "cuda":
                raise DeviceMissing(f"Whisper cannot run on CUDA: {error}") from error
            notes = (f"Whisper ran on the CPU, as CUDA does not work here: {error}",)
    try:
        return _whisper(model, "cpu", "int8", threads), notes
    except (RuntimeError, ValueError) as error:
        raise BackendError(f"{model} cannot be loaded as a Whisper model: {error}") from error


def _whisper(model: Path, device: str, compute_type: str, threads: int) -> WhisperModel:
    from faster_whisper import WhisperModel

    return WhisperModel(
        str(model), device=device, compute_type=compute_type, cpu_threads=threads, local_files_only=True
    )


def _check(whisper: WhisperModel, config: AsrConfig) -> None:
    has = whisper.hf_tokenizer.token_to_id  # the library's list includes languages of later models
    languages = [code for code in whisper.supported_languages if code == "en" or has(f"<|{code}|>") is not None]
    if config.language is not None and config.language not in languages:
        known = "English only" if languages == ["en"] else ", ".join(sorted(languages))
        raise ConfigError(
            "settings", "asr.language", f"this model does not support {config.language!r}", f"Supported: {known}."
        )
    _check_prompt(whisper.hf_tokenizer, config, whisper.max_length // 2 - 1)


def _check_prompt(tokenizer: Any, config: AsrConfig, room: int) -> None:
    texts = [text for text in (_or_none(config.hotwords), _or_none(config.initial_prompt)) if text]
    tokens = sum(len(tokenizer.encode(text, add_special_tokens=False).ids) for text in texts)
    if tokens > room:
        raise ConfigError(
            "settings",
            "asr.hotwords, asr.initial_prompt",
            f"together they have {tokens} tokens; Whisper accepts {room}",
            "Shorten them: the end of the prompt has most influence.",
        )


def _name(model: Path, whisper: WhisperModel, config: AsrConfig, digest: str) -> str:
    parts = [
        "whisper",
        model.name,
        digest[:16],
        f"faster-whisper-{version('faster-whisper')}",
        f"{whisper.model.device}-{whisper.model.compute_type}",
        f"beam{config.beam}",
        f"batch{config.batch}",  # matrix products of another shape round differently
        f"language-{config.language or 'detected'}",
    ]
    hints = [_or_none(config.hotwords) or "", _or_none(config.initial_prompt) or ""]
    if any(hints):
        parts.append(f"told-{hashlib.sha256(chr(0).join(hints).encode()).hexdigest()[:16]}")
    return "/".join(parts)


def _or_none(text: str | None) -> str | None:
    return (text or "").strip() or None


def _samples(samples: Samples, chunk: Segment) -> Samples:
    return samples[to_samples(chunk.start) : to_samples(chunk.end)]


def _language(whisper: WhisperModel, samples: Samples, chunks: Sequence[Segment]) -> str:
    """One language a recording: that of the greatest mean probability over a few chunks, weighted by their length."""
    if not whisper.model.is_multilingual:
        return "en"
    positions = np.unique(np.linspace(0, len(chunks) - 1, min(LANGUAGE_CHUNKS, len(chunks))).round().astype(int))
    weights: dict[str, float] = defaultdict(float)
    for chunk in (chunks[int(i)] for i in positions):
        _, _, probabilities = whisper.detect_language(audio=_samples(samples, chunk))
        for language, probability in probabilities:
            weights[language] += probability * chunk.duration
    return min(weights, key=lambda language: (-weights[language], language))


def _tokens(results: Iterable[Any], shift: float, chunk: Segment) -> Iterator[Word]:
    """faster-whisper's words of one chunk, with times in the recording, limited to the chunk."""
    for segment in results:
        if segment.no_speech_prob > NO_SPEECH and segment.avg_logprob < UNLIKELY:
            continue
        for word in segment.words or ():
            start, end = (min(max(float(t) + shift, chunk.start), chunk.end) for t in (word.start, word.end))
            start = min(round_time(start), chunk.end)
            end = min(max(round_time(end), start), chunk.end)
            yield Word(start, end, word.word, min(max(float(word.probability), 0.0), 1.0))
