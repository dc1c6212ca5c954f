"""PocketSphinx with the English model that its package carries: draft words without a download (docs/method/words.md).

A GMM-HMM recognizer with a trigram language model (Huggins-Daines et al. 2006, "Pocketsphinx: a free, real-time
continuous speech recognition system for hand-held devices", ICASSP). Its words help to find places; they are no
transcript.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from diarize import files, progress
from diarize.audio import excerpts
from diarize.config import AsrConfig
from diarize.errors import BackendError, ConfigError
from diarize.types import DRAFT, Audio, Samples, Segment, Word
from diarize.units import RATE, round_time, to_samples
from diarize.words import recognition

if TYPE_CHECKING:
    from pocketsphinx import Decoder

LANGUAGE = "en"
LONGEST = 15.0  # s decoded at once: enough to normalise the channel, and the word lattice stays small
PAUSE = 1.0  # s; shorter pauses stay inside a chunk

# Options of the decoder that differ from its own defaults.
SETTINGS: Mapping[str, int | str] = MappingProxyType(
    {
        "maxhmmpf": 3000,  # states searched in a frame (30,000): a third less time for one more word of 100 wrong
        "cmn": "batch",  # cepstral means of the chunk itself, not of the sound before it
        "loglevel": "FATAL",  # its C code writes to the standard error
    }
)

_FRAMES = 100  # a second
_MODEL = "en-us"  # folder in the package: acoustic model, trigrams (en-us.lm.bin), dictionary


@dataclass(frozen=True)
class PocketSphinx:
    """A `Recognizer`. `notes` report its limits."""

    name: str
    notes: tuple[str, ...]
    decoder: Decoder

    def __call__(self, audio: Audio, speech: Sequence[Segment]) -> tuple[tuple[Word, ...], str]:
        """Words by time, and "en". Raises ValueError if the audio is not at 16 kHz."""
        if audio.rate != RATE:
            raise ValueError(f"{audio.id}: PocketSphinx needs {RATE} Hz, got {audio.rate} Hz")
        words: list[Word] = []
        chunks = recognition.chunks(audio.samples, RATE, speech, LONGEST, PAUSE)
        for i, chunk in enumerate(chunks, 1):
            words += self._words(audio.samples, chunk)
            excerpts.release(audio.samples)
            progress.report(sum(each.duration for each in chunks[:i]), sum(each.duration for each in chunks))
        return tuple(words), LANGUAGE

    def _words(self, samples: Samples, chunk: Segment) -> Iterator[Word]:
        sound = samples[to_samples(chunk.start) : to_samples(chunk.end)]
        pcm = (np.clip(sound, -1, 1) * 32767).round().astype("<i2")
        if not pcm.any():  # it recognizes a word in digital silence
            return
        # Without this, probabilities depend, in the third digit, on what was decoded before.
        self.decoder.reinit_feat()
        self.decoder.start_utt()
        try:
            self.decoder.process_raw(pcm.tobytes(), full_utt=True)
        finally:
            self.decoder.end_utt()
        if self.decoder.hyp() is None:
            return
        for token in self.decoder.seg():
            if token.word.startswith(("<", "[", "+")):  # <s>, </s>, <sil>, [NOISE], ++NOISE++: fillers
                continue
            start = min(round_time(chunk.start + token.start_frame / _FRAMES), chunk.end)
            end = min(round_time(chunk.start + (token.end_frame + 1) / _FRAMES), chunk.end)
            text, _, _ = token.word.partition("(")  # our(2): the second pronunciation of "our"
            yield Word(start, max(start, end), text, min(max(token.prob, 0.0), 1.0))


def load(config: AsrConfig | None = None) -> PocketSphinx:
    """The recognizer that needs no download; English only.

    Raises ConfigError for another language, BackendError if the package's model cannot be loaded.
    """
    from pocketsphinx import Decoder, get_model_path

    check(config or AsrConfig())
    notes = (f"{DRAFT} by PocketSphinx: about six in ten are wrong. Whisper is better.",)
    folder = Path(get_model_path(_MODEL))
    try:
        name = f"pocketsphinx/{version('pocketsphinx')}/{_MODEL}/{_digest(folder)[:16]}"
        decoder = Decoder(
            hmm=str(folder / "en-us"),
            lm=str(folder / "en-us.lm.bin"),
            dict=str(folder / "cmudict-en-us.dict"),
            **SETTINGS,
        )
    except (OSError, RuntimeError) as error:
        raise BackendError(
            f"the English model of PocketSphinx ({folder}) cannot be loaded: {error}. "
            "Run: pip install --force-reinstall pocketsphinx"
        ) from error
    settings = ",".join(f"{key}={value}" for key, value in SETTINGS.items() if key != "loglevel")
    return PocketSphinx(f"{name}/{settings}", notes, decoder)


def check(config: AsrConfig, **_: object) -> None:
    """Raises ConfigError for another language than English."""
    if config.language not in (None, LANGUAGE):
        raise ConfigError(
            "settings",
            "asr.language",
            f"PocketSphinx supports English only, not {config.language!r}",
            "Choose a Whisper model (--asr whisper:small), or no words (--asr none).",
        )


def _digest(folder: Path) -> str:
    """sha256 over the names and digests of a folder's files."""
    lines = [f"{digest} {name}" for name, digest in files.digests(folder).items()]
    if not lines:
        raise OSError("no files there")
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()
