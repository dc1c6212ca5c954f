"""One channel of a telephone call: a high voice that talks without a pause, 8 kHz, mu-law; with reference, seeded.

    python -m benchmarks.telephone_lines FOLDER [--data DATA]

Each line is `<id>.flac` and `<id>.rttm`, about 100 s: three runs of 8 to 55 s of one speaker, phrases without pauses
between them or 0.3 s apart, silence in between. The speakers are those of speechocean-dev with a median pitch of 235 Hz
and more (autocorrelation). Conditions: through a handset (300 to 3400 Hz) or not, digital silence or a noise floor of
-60 or -50 dBFS, saturated or not; level -18 dBFS RMS.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray
from scipy.signal import butter, resample_poly, sosfilt

from benchmarks import simulate

SPEAKERS = (
    *("9622", "9613", "1447", "0104", "0075", "0103", "0048", "0567", "8057", "0149", "1439", "1465", "1502", "9647"),
    *("2030", "1061", "1469", "2402", "2438", "9118", "9615", "3075", "5432", "2014"),
)
LEVEL = 10 ** (-18 / 20)
# handset, noise floor (dBFS), saturated, s between phrases
CONDITIONS = (
    (False, None, False, 0.0),
    (True, None, False, 0.0),
    (True, -50.0, False, 0.0),
    (True, None, True, 0.0),
    (False, None, False, 0.3),
    (False, -60.0, False, 0.0),
)
Floats = NDArray[np.float64]


def line(phrases: tuple[simulate.Phrase, ...], seed: int) -> tuple[Floats, list[tuple[float, float]]]:
    """(samples at 8 kHz, speech)."""
    rng = np.random.default_rng([11, seed])
    handset, floor, saturated, between = CONDITIONS[seed % len(CONDITIONS)]
    pieces: list[Floats] = []
    spans: list[tuple[float, float]] = []
    at = 0  # samples

    def add(samples: Floats) -> None:
        nonlocal at
        pieces.append(samples)
        at += len(samples)

    queue: list[int] = []
    for _ in range(3):
        add(np.zeros(int(rng.uniform(0.5, 4) * simulate.RATE)))
        first, seconds = at, float(rng.uniform(8, 55))
        while at - first < seconds * simulate.RATE:
            queue = queue or rng.permutation(len(phrases)).tolist()
            start, samples = at, phrases[queue.pop()].samples
            add(samples / np.sqrt(np.mean(samples**2)))
            spans.append((start / simulate.RATE, at / simulate.RATE))
            add(np.zeros(int(between * simulate.RATE)))
    add(np.zeros(simulate.RATE))
    sound = np.concatenate(pieces)
    if handset:
        sound = sosfilt(butter(4, [300, 3400], "band", fs=simulate.RATE, output="sos"), sound)
    sound = sound * LEVEL / np.sqrt(np.mean(sound[np.concatenate(pieces) != 0] ** 2))
    if floor is not None:
        sound = sound + rng.standard_normal(len(sound)) * 10 ** (floor / 20)
    if saturated:
        sound = np.tanh(3 * sound) / 3
    return simulate._mu_law(np.clip(resample_poly(sound, 1, 2), -1, 1)), spans


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", type=Path, default=simulate.DATA)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    material = simulate.material(options.data / "speechocean-dev")
    for seed, speaker in enumerate(SPEAKERS):
        samples, spans = line(material[speaker], seed)
        path = options.folder / f"line-{speaker}-{seed % len(CONDITIONS)}.flac"
        soundfile.write(path, np.clip(samples, -1, 1), simulate.RATE // 2, subtype="PCM_16")
        rows = [f"SPEAKER {path.stem} 1 {a:.3f} {b - a:.3f} <NA> <NA> {speaker} <NA> <NA>\n" for a, b in spans if a < b]
        path.with_suffix(".rttm").write_text("".join(rows), encoding="utf-8")
        print(path)


if __name__ == "__main__":
    main()
