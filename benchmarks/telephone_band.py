"""Does a calibration hold for telephone speech of 300 to 3,400 Hz, below the bandwidth that it was fitted on?

    python -m benchmarks.telephone_band [--data DATA] [--json FILE] [--speakers N] [--each N]

Utterances of an4-dev and speechocean-dev, close, through the simulated telephone of `verification` (8 kHz, mu-law; up
to 4 kHz), and through the same telephone after a band-pass of 300 to 3,400 Hz (Butterworth of order 8, as ITU-T G.712
asks for). The LRs are those of the supplied calibration without its check of the bandwidth; every pair of utterances of
a set is a trial.
"""

from __future__ import annotations

import argparse
import json
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
from scipy.signal import butter, sosfiltfilt

from benchmarks import verification
from diarize.audio import reading
from diarize.config import Config
from diarize.errors import AudioError
from diarize.library.scoring import calibration as calibrations
from diarize.metrics.verification import Floats
from diarize.models.store import Store
from diarize.types import Audio
from pipelines.people.utterance import UtteranceEmbedding, load_embedder

BAND = butter(8, (300, 3400), "bandpass", fs=16_000, output="sos")
PAIRS = (("close", "close"), ("phone", "phone"), ("narrow", "narrow"), ("close", "phone"), ("close", "narrow"))


def narrow(samples: Floats, rng: np.random.Generator) -> Floats:
    """300 to 3,400 Hz, 8 kHz, 8-bit mu-law."""
    return verification.phone(np.asarray(sosfiltfilt(BAND, samples)), rng)


CHANNELS = {"close": verification.close, "phone": verification.phone, "narrow": narrow}


def measure(data: Path, speakers: int, each: int) -> dict[str, Any]:
    """Figures of each set and pair of channels, and the bandwidths that were measured."""
    embedder = load_embedder(Config(), Store())
    supplied = calibrations.shipped(embedder.model)
    assert supplied is not None, "no calibration is supplied for this embedder"
    scorer = supplied.scorer()
    result: dict[str, Any] = {"model": embedder.model, "sets": {}}
    for name in verification.TESTS:
        who = verification.speakers(data / name)
        by_speaker: dict[str, list[Path]] = {}
        for path in sorted((data / name).glob("*.flac")):
            by_speaker.setdefault(who(path.stem), []).append(path)
        chosen = [path for speaker in sorted(by_speaker)[:speakers] for path in by_speaker[speaker][:each]]
        voices: dict[str, dict[str, UtteranceEmbedding]] = {channel: {} for channel in CHANNELS}
        for i, (path, channel) in enumerate(product(chosen, CHANNELS)):
            sound = reading.read(path, id=path.stem).audios[0]
            altered = CHANNELS[channel](sound.samples.astype(np.float64), np.random.default_rng([11, i]))
            try:
                voice = embedder.embed_audio(Audio(path.stem, altered.astype(np.float32)))
            except AudioError:
                continue
            if voice.seconds >= supplied.seconds[0]:
                voices[channel][path.stem] = voice
        rows: dict[str, Any] = {}
        for left, right in PAIRS:
            names = sorted(set(voices[left]) & set(voices[right]))
            pairs = list(combinations(names, 2))
            a, b = [voices[left][x] for x, _ in pairs], [voices[right][y] for _, y in pairs]
            scores = scorer(np.stack([u.vector for u in a]), np.stack([u.vector for u in b]))
            ratios = supplied.llr(scores, [u.seconds for u in a], [u.seconds for u in b])
            same = np.array([who(x) == who(y) for x, y in pairs])
            rows[f"{left}, {right}"] = {"same": int(same.sum()), **verification.figures(ratios, same)}
        bands = {c: np.percentile([u.bandwidth for u in v.values()], [5, 50, 95]).tolist() for c, v in voices.items()}
        result["sets"][name] = {"speakers": len({who(p.stem) for p in chosen}), "bands": bands, "figures": rows}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--speakers", type=int, default=100)
    parser.add_argument("--each", type=int, default=6)
    args = parser.parse_args()
    text = json.dumps(measure(args.data, args.speakers, args.each), indent=1)
    print(text)
    if args.json is not None:
        args.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
