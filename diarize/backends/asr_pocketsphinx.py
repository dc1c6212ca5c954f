"""PocketSphinx with the English model that its package carries: draft words without a download (docs/method/words.md).

A GMM-HMM recognizer with a trigram language model (Huggins-Daines et al. 2006, "Pocketsphinx: a free, real-time
continuous speech recognition system for hand-held devices", ICASSP). It finds places, and it is no transcript.
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

from diarize import files
from diarize.audio import memory
from diarize.config import AsrConfig
from diarize.errors import BackendError, ConfigError
from diarize.types import Audio, Samples, Segment, Word
from diarize.units import RATE, round_time, to_samples
from diarize.words import recognition

if TYPE_CHECKING:
    from pocketsphinx import Decoder

LANGUAGE = "en"
LONGEST = 15.0  # s heard at once: enough to normalise the channel by, and its word lattice stays small
PAUSE = 1.0  # s; shorter pauses stay inside a piece

# Options of the decoder that differ from its own defaults.
SETTINGS: Mapping[str, int | str] = MappingProxyType(
    {
        "maxhmmpf": 3000,  # states searched in a frame (30,000): a third less time for one more word of 100 wrong
        "cmn": "batch",  # cepstral means of the piece itself, not of what was heard before it
        "loglevel": "FATAL",  # its C code writes to the standard error
    }
)

_FRAMES = 100  # a second
_MODEL = "en-us"  # folder in the package: acoustic model, trigrams (en-us.lm.bin), dictionary


@dataclass(frozen=True)
class PocketSphinx:
    """A `Recognizer`. `notes` says what it leaves undone."""

    name: str
    notes: tuple[str, ...]
    decoder: Decoder

    def __call__(self, audio: Audio, speech: Sequence[Segment]) -> tuple[tuple[Word, ...], str]:
        """Words by time, and "en". Raises ValueError where the audio is not at 16 kHz."""
        if audio.rate != RATE:
            raise ValueError(f"{audio.id}: PocketSphinx hears {RATE} Hz, got {audio.rate} Hz")
        words: list[Word] = []
        for piece in recognition.chunks(audio.samples, RATE, speech, LONGEST, PAUSE):
            words += self._words(audio.samples, piece)
            memory.release(audio.samples)
        return tuple(words), LANGUAGE

    def _words(self, samples: Samples, piece: Segment) -> Iterator[Word]:
        sound = samples[to_samples(piece.start) : to_samples(piece.end)]
        pcm = (np.clip(sound, -1, 1) * 32767).round().astype("<i2")
        if not pcm.any():  # it would hear a word in digital silence
            return
        # Without this, probabilities differ in the third digit by what was decoded before.
        self.decoder.reinit_feat()
        self.decoder.start_utt()
        try:
            self.decoder.process_raw(pcm.tobytes(), full_utt=True)
        finally:
            self.decoder.end_utt()
        if self.decoder.hyp() is None:
            return
        for heard in self.decoder.seg():
            if heard.word.startswith(("<", "[", "+")):  # <s>, </s>, <sil>, [NOISE], ++NOISE++: fillers
                continue
            start = min(round_time(piece.start + heard.start_frame / _FRAMES), piece.end)
            end = min(round_time(piece.start + (heard.end_frame + 1) / _FRAMES), piece.end)
            text, _, _ = heard.word.partition("(")  # our(2): the second pronunciation of "our"
            yield Word(start, max(start, end), text, min(max(heard.prob, 0.0), 1.0))


def load(config: AsrConfig | None = None) -> PocketSphinx:
    """The recognizer that needs no download; English only.

    Raises ConfigError for another language, BackendError where the package's model cannot be loaded.
    """
    from pocketsphinx import Decoder, get_model_path

    config = config or AsrConfig()
    if config.language not in (None, LANGUAGE):
        raise ConfigError(
            "settings",
            "asr.language",
            f"PocketSphinx knows English only, not {config.language!r}",
            "Choose a Whisper model (--asr whisper:small), or no words (--asr none).",
        )
    notes = ["The words are a draft by PocketSphinx, to find places by: about six in ten are wrong. Whisper is better."]
    if config.hotwords or config.initial_prompt:
        notes.append("PocketSphinx takes no hot words and no prompt: they made no difference.")
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
    return PocketSphinx(f"{name}/{settings}", tuple(notes), decoder)


def _digest(folder: Path) -> str:
    """sha256 over the names and digests of a folder's files."""
    lines = [f"{digest} {name}" for name, digest in files.digests(folder).items()]
    if not lines:
        raise OSError("no files there")
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()
