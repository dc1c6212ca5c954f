"""Makes the recordings of the example case with the free flite synthesizer: nobody's voice is in them.

    python examples/case/make_recordings.py [FOLDER]

Four voices of flite, each also played a little slower and faster, which makes other voices of it: twelve speakers.
Speaker slt speaks in the questioned and the known recordings; the others and slt in the validation.
"""

from __future__ import annotations

import sys
from itertools import combinations
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import make_conversation as flite

SPEEDS = {"": 1.0, "-low": 0.88, "-high": 1.12}
SPEAKERS = {
    f"{voice}{name}": (voice, speed) for voice in ("rms", "awb", "kal16", "slt") for name, speed in SPEEDS.items()
}
CASE = {
    "questioned": (
        "Hello, it is me. I will be at the station at half past eight.",
        "Bring the papers with you, and do not tell anybody where we are going to meet.",
        "If the train is late, wait at the small coffee shop on the other side of the street.",
        "I have the keys for the car, and we can leave as soon as you arrive.",
    ),
    "known-1": (
        "My name is not important. I have worked in the harbour for seven years.",
        "In the evening I usually go home by bus, and on Sunday I visit my parents.",
        "I have never been in that building, and I do not know the man in the picture.",
        "May I have a glass of water, please?",
    ),
    "known-2": (
        "We bought the boat last summer, and we painted it blue and white.",
        "There are four chairs, two tables, and an old lamp in the back of the shop.",
        "I would like to call my brother before we go on.",
    ),
}
LINES = (
    "The library is closed on Monday, but it is open until eight on all other days of the week.",
    "Please send the parcel to the second address, and keep the receipt until it has arrived.",
)


def speak(voice: str, speed: float, lines: tuple[str, ...]) -> NDArray[np.float64]:
    """Lines with pauses between them, in a quiet room, at 16 kHz."""
    engine, parts = flite.Flite(), [np.zeros(flite.RATE // 2)]
    for line in lines:
        samples = engine.say(line, voice, 1.0).samples
        places = np.arange(0, len(samples) - 1, speed)  # played faster or slower: pitch and formants move together
        samples = np.interp(places, np.arange(len(samples)), samples)
        parts += [flite.level(samples, -26.0), np.zeros(round(0.35 * flite.RATE))]
    sound = np.concatenate(parts)
    return sound + flite.room_tone(len(sound))


def write_opus(path: Path, samples: NDArray[np.float64]) -> None:
    """Opus at 24 kbit/s, as a messenger sends it."""
    with av.open(str(path), "w", format="ogg", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libopus", rate=flite.RATE, layout="mono")
        stream.bit_rate = 24_000
        values = np.round(samples * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(values[None, :], format="s16", layout="mono")
        frame.sample_rate = flite.RATE
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def main(folder: Path) -> None:
    (folder / "validation").mkdir(parents=True, exist_ok=True)
    for name, lines in CASE.items():
        write_opus(folder / f"{name}.ogg", speak("slt", 1.0, lines))
    names = []
    for speaker, (voice, speed) in SPEAKERS.items():
        for i, line in enumerate(LINES):
            names.append((speaker, f"{speaker}_{i + 1}"))
            write_opus(folder / "validation" / f"{names[-1][1]}.ogg", speak(voice, speed, (line,)))
    lines_ = [f"{int(a == b)} {x} {y}\n" for (a, x), (b, y) in combinations(names, 2)]
    (folder / "validation" / "trials.txt").write_text("".join(lines_), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
