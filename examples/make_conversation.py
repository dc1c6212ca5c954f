"""Make examples/conversation.flac and its truth: a short meeting of four synthetic voices.

    python examples/make_conversation.py [FOLDER]

Needs Debian's flite library (apt-get install libflite1, version 2.2: voices slt, rms, awb and kal16), numpy, and PyAV
for the FLAC file. Times of words are the synthesiser's own: it is asked where each word's sounds begin and end. Running
it again gives the same samples; nobody needs to, as the results lie beside it.
"""

from __future__ import annotations

import ctypes
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

RATE = 16_000  # Hz, what the voices are made at
LEAD = 0.6  # s of room tone before the first word and after the last
ROOM_TONE = -62.0  # dBFS: a quiet room, so that pauses are not digital silence
SEED = 20

# Speaker -> flite voice, level of speech (dBFS, RMS) and speed (1 = the voice's own, more is slower).
VOICES = {
    "Nora": ("slt", -24.0, 1.0),
    "Felix": ("rms", -26.0, 0.92),
    "Hamish": ("awb", -29.0, 1.0),
    "Victor": ("kal16", -25.0, 0.95),
}

# Speaker, seconds between the end of everything said before and this line (negative: it begins while the line
# before is still being said), text.
SCRIPT = (
    ("Nora", 0.0, "Good morning everyone, and thank you for coming. Today we have three things to decide:"),
    ("Nora", 0.25, "the open day, the budget, and the new front door."),
    (
        "Felix",
        0.55,
        "Good morning Nora. I can start with the open day. We have the hall for the second Saturday in May,",
    ),
    ("Nora", -1.4, "Oh good."),
    ("Felix", 0.3, "and so far, forty people have said that they will come."),
    ("Hamish", 0.35, "Forty? That is more than last year. Do we have enough chairs?"),
    ("Felix", 0.5, "We have thirty chairs here, and the school can lend us another twenty."),
    ("Victor", 0.4, "I can bring them in my truck on Friday evening, if somebody helps me to carry them."),
    ("Hamish", -0.35, "I will help you. Call me when you leave the house."),
    ("Nora", 0.7, "Great. Then the budget. Victor, how much money is left?"),
    ("Victor", 0.6, "We have about nine hundred dollars. The music will cost two hundred,"),
    ("Hamish", -0.7, "Right."),
    ("Victor", 0.2, "and the food should cost about three hundred and fifty."),
    ("Felix", 0.45, "So, is there enough left for the door?"),
    ("Victor", 0.3, "Yes, if the door costs less than three hundred."),
    ("Hamish", 0.5, "I talked to the carpenter yesterday. He wants four hundred,"),
    ("Nora", -0.45, "Really?"),
    ("Hamish", 0.15, "but he said that he would take less, if we paint it ourselves."),
    ("Nora", 0.6, "Felix, would you like to paint it?"),
    ("Felix", 0.4, "Sure, I would love to. Should it be blue, or green?"),
    ("Hamish", 0.3, "Green, I think."),
    ("Victor", -0.4, "Blue, please. Everything else in this house is green."),
    ("Nora", 0.35, "We will vote about that next week. Is there anything else?"),
    ("Felix", 0.8, "No, not from me."),
    (
        "Victor",
        0.3,
        "One more thing. The key for the storage room is gone. If you find it, please put it back in the kitchen.",
    ),
    ("Nora", 0.5, "All right. Thank you all, and see you next Thursday."),
)


class _Wave(ctypes.Structure):
    """cst_wave of flite/cst_wave.h."""

    _fields_ = (
        ("type", ctypes.c_char_p),
        ("sample_rate", ctypes.c_int),
        ("num_samples", ctypes.c_int),
        ("num_channels", ctypes.c_int),
        ("samples", ctypes.POINTER(ctypes.c_short)),
    )


class _Voice(ctypes.Structure):
    """The head of cst_voice of flite/cst_voice.h."""

    _fields_ = (("name", ctypes.c_char_p), ("features", ctypes.c_void_p))


@dataclass(frozen=True)
class Spoken:
    samples: NDArray[np.float64]  # (n,), the line without the silence around it
    words: tuple[tuple[float, float, str], ...]  # start, end (s from the first word), text


class Flite:
    """The flite library, as far as it is needed to speak a line and to learn when each word was said."""

    def __init__(self) -> None:
        try:
            self._lib = ctypes.CDLL("libflite.so.1", mode=ctypes.RTLD_GLOBAL)
        except OSError as error:
            raise SystemExit(f"{error}\nThe flite library is needed: apt-get install libflite1") from error
        pointer, text = ctypes.c_void_p, ctypes.c_char_p
        for name, result, arguments in (
            ("flite_init", ctypes.c_int, ()),
            ("flite_synth_text", pointer, (text, pointer)),
            ("flite_feat_set_float", None, (pointer, text, ctypes.c_float)),
            ("flite_ffeature_float", ctypes.c_float, (pointer, text)),
            ("utt_wave", ctypes.POINTER(_Wave), (pointer,)),
            ("utt_relation", pointer, (pointer, text)),
            ("relation_head", pointer, (pointer,)),
            ("item_next", pointer, (pointer,)),
            ("delete_utterance", None, (pointer,)),
        ):
            function = getattr(self._lib, name)
            function.restype, function.argtypes = result, arguments
        self._lib.flite_init()

    def say(self, text: str, voice: str, stretch: float) -> Spoken:
        register = getattr(ctypes.CDLL(f"libflite_cmu_us_{voice}.so.1"), f"register_cmu_us_{voice}")
        register.restype, register.argtypes = ctypes.POINTER(_Voice), (ctypes.c_char_p,)
        speaker = register(None)
        self._lib.flite_feat_set_float(speaker.contents.features, b"duration_stretch", stretch)
        utterance = self._lib.flite_synth_text(text.encode(), ctypes.cast(speaker, ctypes.c_void_p))
        wave = self._lib.utt_wave(utterance).contents
        if wave.sample_rate != RATE:
            raise SystemExit(f"voice {voice} speaks at {wave.sample_rate} Hz, not {RATE}")
        samples = np.ctypeslib.as_array(wave.samples, (wave.num_samples,)) / 32768
        times = []
        item = self._lib.relation_head(self._lib.utt_relation(utterance, b"Word"))
        while item:
            first, last = b"daughter1.daughter1.R:Segment.p.end", b"daughtern.daughtern.R:Segment.end"
            times.append([self._lib.flite_ffeature_float(item, b"R:SylStructure." + path) for path in (first, last)])
            item = self._lib.item_next(item)
        self._lib.delete_utterance(utterance)

        start, end = times[0][0], times[-1][1]
        words = tuple((a - start, b - start, word) for (a, b), word in zip(times, text.split(), strict=True))
        return Spoken(samples[round(start * RATE) : round(end * RATE)], words)


def level(samples: NDArray[np.float64], decibels: float) -> NDArray[np.float64]:
    """`samples` scaled to an RMS of `decibels` dBFS, their ends faded over 5 ms so that they do not click."""
    fade = np.ones(len(samples))
    edge = round(0.005 * RATE)
    fade[:edge] = np.linspace(0, 1, edge)
    fade[-edge:] = np.linspace(1, 0, edge)
    return np.asarray(samples * fade * 10 ** (decibels / 20) / np.sqrt(np.mean(samples**2)))


def room_tone(count: int) -> NDArray[np.float64]:
    """`count` samples of noise that falls by 3 dB an octave above 60 Hz, as a room's does."""
    # RandomState's stream is frozen by numpy, that of default_rng is not
    noise = np.random.RandomState(SEED).standard_normal(count)
    spectrum = np.fft.rfft(noise) / np.sqrt(np.maximum(np.fft.rfftfreq(count, 1 / RATE), 60.0))
    shaped = np.fft.irfft(spectrum, count)
    return np.asarray(shaped * 10 ** (ROOM_TONE / 20) / np.sqrt(np.mean(shaped**2)))


def write_flac(path: Path, samples: NDArray[np.int16]) -> None:
    with av.open(str(path), "w", format="flac", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("flac", rate=RATE, layout="mono", format="s16")
        stream.codec_context.options = {"flags": "+bitexact", "compression_level": "12"}
        frame = av.AudioFrame.from_ndarray(samples[None, :], format="s16", layout="mono")
        frame.sample_rate = RATE
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def main(folder: Path) -> None:
    flite = Flite()
    placed: list[tuple[str, int, Spoken]] = []  # speaker, first sample, line
    end = LEAD
    for speaker, gap, text in SCRIPT:
        voice, decibels, stretch = VOICES[speaker]
        line = flite.say(text, voice, stretch)
        line = Spoken(level(line.samples, decibels), line.words)
        first = round((end + gap) * RATE)
        placed.append((speaker, first, line))
        end = max(end, (first + len(line.samples)) / RATE)

    mixed = room_tone(round((end + LEAD) * RATE))
    for _, first, line in placed:
        mixed[first : first + len(line.samples)] += line.samples
    write_flac(folder / "conversation.flac", np.round(mixed * 32767).astype(np.int16))

    rows, words = [], []
    for speaker, first, line in placed:
        start, seconds = first / RATE, len(line.samples) / RATE
        rows.append(f"SPEAKER conversation 1 {start:.3f} {seconds:.3f} <NA> <NA> {speaker} <NA> <NA>\n")
        words += [
            {"speaker": speaker, "start": round(start + a, 3), "end": round(start + b, 3), "word": text}
            for a, b, text in line.words
        ]
    (folder / "conversation.rttm").write_text("".join(rows), encoding="utf-8")
    lines = ",\n".join(json.dumps(word) for word in sorted(words, key=lambda w: (w["start"], w["end"])))
    (folder / "conversation.words.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
