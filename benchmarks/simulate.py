"""Simulated conversations with reference, from single utterances of real speakers: seeded, always the same bytes.

    python benchmarks/simulate.py FOLDER [--data DATA] [--first-seed N] [--count N]

Each conversation is `<id>.flac` and `<id>.rttm`. Speakers take turns of one to four phrases; pauses between turns and
the share of turns that begin before the last one ends are like those in real conversations (between turns: median
0.3 s, a fifth of them negative). Conditions: `close` (dry), `phone` (8 kHz, mu-law), `room` (each speaker with a room
response of their own, pink noise at 17 to 23 dB). A source has little material for each speaker (13 s in libri-cohort,
20 s in speechocean-dev, 40 s in an4-dev, 80 s in libri-dev), so most conversations are at most one and a half times as
long as their material, and a repeated phrase is changed: up to 4 % faster or slower (with its pitch), brighter or
darker. Identical repetitions would be counted as separate speakers.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile
from numpy.typing import NDArray
from scipy.fft import next_fast_len
from scipy.signal import oaconvolve, resample_poly

Condition = Literal["close", "phone", "room"]
Share = Literal["even", "uneven", "brief"]
Floats = NDArray[np.float64]

RATE = 16_000
PAUSE = 0.2  # s; a longer silence within an utterance splits the truth, as the truth of real recordings does
_MATERIAL = {"libri-cohort": 13.0, "speechocean-dev": 18.0, "an4-dev": 30.0, "libri-dev": 75.0}  # s a speaker, about
SOURCES = tuple(_MATERIAL)
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@dataclass(frozen=True, slots=True)
class Phrase:
    """A stretch of one utterance between two pauses: samples at 16 kHz that are speech from end to end."""

    samples: Floats

    @property
    def seconds(self) -> float:
        return len(self.samples) / RATE


@dataclass(frozen=True, slots=True)
class Scene:
    """What to simulate; equal scenes give equal bytes."""

    seed: int
    source: str  # folder of utterances
    speakers: int
    seconds: float  # of conversation, about
    condition: Condition = "close"
    share: Share = "even"  # uneven: each next speaker talks 0.6 times as much; brief: the last one talks for about 5 s

    @property
    def id(self) -> str:
        return f"{self.source}-{self.speakers}x{self.seconds:.0f}s-{self.condition}-{self.share}-{self.seed}"


@dataclass(frozen=True, slots=True)
class Conversation:
    scene: Scene
    samples: Floats
    rate: int
    truth: tuple[tuple[float, float, str], ...]  # start, end, speaker


def scenes(first_seed: int, count: int, exclude: Sequence[str] = ()) -> tuple[Scene, ...]:
    """`count` scenes of 1 to 10 speakers, 1 to 20 min, all conditions and shares, from all sources but `exclude`."""
    made = []
    sources = [source for source in SOURCES if source not in exclude]
    for seed in range(first_seed, first_seed + count):
        rng = np.random.default_rng([20240601, seed])
        source = sources[seed % len(sources)]
        most = 5 if source == "libri-dev" else 10
        speakers = min(most, int(rng.choice([1, 2, 2, 3, 3, 4, 4, 5, 6, 8, 10])))
        longest = max(75.0, 1.6 * _MATERIAL[source] * speakers) if seed % 10 else 1200.0
        shortest = min(max(60.0, 15.0 * speakers), longest)
        seconds = float(np.round(np.exp(rng.uniform(np.log(shortest), np.log(longest)))))
        share: Share = "even" if speakers == 1 else rng.choice(["even", "even", "uneven", "brief"])
        condition: Condition = rng.choice(["close", "phone", "room"])
        made.append(Scene(seed, source, speakers, seconds, str(condition), str(share)))  # type: ignore[arg-type]
    return tuple(made)


def converse(scene: Scene, data: Path = DATA) -> Conversation:
    """The conversation that `scene` describes."""
    rng = np.random.default_rng([7, scene.seed])
    phrases = material(data / scene.source)
    names = [str(name) for name in rng.choice(sorted(phrases), scene.speakers, replace=False)]
    budget = dict(zip(names, _shares(scene) * scene.seconds * 0.85, strict=True))  # the rest is pauses
    queues = {name: [phrases[name][i] for i in rng.permutation(len(phrases[name]))] for name in names}
    said: list[tuple[float, str, Phrase]] = []  # start, speaker, phrase
    spent = dict.fromkeys(names, 0.0)
    used = dict.fromkeys(names, 0)
    at, last = float(rng.uniform(0.5, 1.2)), ""
    while left := [name for name in names if spent[name] < budget[name]]:
        others = [name for name in left if name != last] or left
        weights = np.array([budget[name] - spent[name] for name in others])
        speaker = str(rng.choice(others, p=weights / weights.sum()))
        if said:
            pause = float(rng.normal(0.35, 0.3) if rng.random() < 0.8 else -rng.uniform(0.2, 1.3))
            at = max(at + pause, said[-1][0] + 0.3) if speaker != last else at + float(rng.uniform(0.25, 0.8))
        for _ in range(int(rng.integers(1, 5))):
            again, place = divmod(used[speaker], len(queues[speaker]))
            phrase = _varied(queues[speaker][place], rng) if again else queues[speaker][place]
            used[speaker] += 1
            if said and said[-1][1] == speaker:
                at = max(at, said[-1][0] + said[-1][2].seconds + 0.21)
            said.append((at, speaker, phrase))
            spent[speaker] += phrase.seconds
            at += phrase.seconds + float(rng.uniform(0.22, 0.75))
            if spent[speaker] >= budget[speaker]:
                break
        at, last = said[-1][0] + said[-1][2].seconds, speaker
    samples, rate = recorded(said, names, scene.condition, rng)
    truth = tuple((round(start, 3), round(start + phrase.seconds, 3), name) for start, name, phrase in said)
    return Conversation(scene, samples, rate, truth)


def recorded(
    said: Sequence[tuple[float, str, Phrase]], names: Sequence[str], condition: Condition, rng: np.random.Generator
) -> tuple[Floats, int]:
    """What `names` said (start, name, phrase), as a recording under `condition`: (samples, rate)."""
    samples = _mix(said, names, condition, rng)
    return (_mu_law(resample_poly(samples, 1, 2)), RATE // 2) if condition == "phone" else (samples, RATE)


def write(conversation: Conversation, folder: Path) -> Path:
    """`<id>.flac` and `<id>.rttm` in `folder`; the path of the first."""
    name = conversation.scene.id
    path = folder / f"{name}.flac"
    soundfile.write(path, np.clip(conversation.samples, -1, 1), conversation.rate, subtype="PCM_16")
    lines = [f"SPEAKER {name} 1 {a:.3f} {b - a:.3f} <NA> <NA> {who} <NA> <NA>\n" for a, b, who in conversation.truth]
    path.with_suffix(".rttm").write_text("".join(lines), encoding="utf-8")
    return path


@cache
def material(folder: Path) -> dict[str, tuple[Phrase, ...]]:
    """speaker -> phrases of 0.3 to 6 s, from a folder of utterances of `shared/data`."""
    found: dict[str, list[Phrase]] = {}
    index = next((p for p in (folder / "transcripts.json", folder / "utterances.json") if p.is_file()), None)
    known = json.loads(index.read_text(encoding="utf-8")) if index else {}
    for path in sorted(folder.glob("*.flac")):
        entry = known.get(path.stem, {})
        speaker = entry.get("speaker", path.stem.split("-")[0])
        samples, rate = soundfile.read(path)
        if rate != RATE:
            raise ValueError(f"{path}: expected {RATE} Hz, found {rate}")
        words = entry.get("words")
        for start, end in _joined([(w[1], w[2]) for w in words]) if words else _speech(samples):
            if 0.3 <= end - start <= 12:
                found.setdefault(speaker, []).append(Phrase(_faded(samples[int(start * RATE) : int(end * RATE)])))
    return {speaker: tuple(phrases) for speaker, phrases in found.items() if sum(p.seconds for p in phrases) >= 6}


def _shares(scene: Scene) -> Floats:
    """Each speaker's share of the talk; they sum to 1."""
    if scene.share == "uneven":
        weights = 0.6 ** np.arange(scene.speakers)
    elif scene.share == "brief":
        brief = min(5.0 / scene.seconds, 0.5 / scene.speakers)
        weights = np.full(scene.speakers, (1 - brief) / max(scene.speakers - 1, 1))
        weights[-1] = brief
    else:
        weights = np.ones(scene.speakers)
    return np.asarray(weights / weights.sum(), dtype=np.float64)


def _speech(samples: Floats) -> list[tuple[float, float]]:
    """Stretches of speech in a clean utterance, by level: above 0.4 of the way (in dB) from its floor to its peaks."""
    step = RATE // 100
    frames = samples[: len(samples) // step * step].reshape(-1, step)
    level = 10 * np.log10((frames**2).mean(1) + 1e-8)
    floor, peak = np.percentile(level, [5, 95])
    loud = np.flatnonzero(level > floor + 0.4 * (peak - floor))
    return [(max(0.0, a - 0.03), b + 0.05) for a, b in _joined([(i / 100, (i + 1) / 100) for i in loud]) if b - a > 0.1]


def _joined(spans: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    joined: list[tuple[float, float]] = []
    for start, end in spans:
        if joined and start - joined[-1][1] < PAUSE:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined


def _varied(phrase: Phrase, rng: np.random.Generator) -> Phrase:
    """The phrase said again: up to 4 % faster or slower, and up to 3 dB brighter or darker."""
    samples = resample_poly(phrase.samples, int(rng.integers(96, 105)), 100)
    tilted = samples.copy()
    tilted[1:] += rng.uniform(-0.3, 0.3) * samples[:-1]
    return Phrase(tilted)


def _faded(samples: Floats) -> Floats:
    ramp = np.linspace(0, 1, RATE // 200)
    faded = samples.copy()
    faded[: len(ramp)] *= ramp
    faded[-len(ramp) :] *= ramp[::-1]
    return faded


def _mix(
    said: Sequence[tuple[float, str, Phrase]], names: Sequence[str], condition: Condition, rng: np.random.Generator
) -> Floats:
    length = int((max(start + phrase.seconds for start, _, phrase in said) + 1.0) * RATE)
    total = np.zeros(length)
    for name in names:  # one at a time: ten lines of two hours would be 9 GB
        line = np.zeros(length)
        for start, speaker, phrase in said:
            if speaker == name:
                at = round(start * RATE)
                line[at : at + len(phrase.samples)] += phrase.samples
        line *= 10 ** (rng.uniform(-27, -23) / 20) / max(float(np.sqrt(np.mean(line[line != 0] ** 2))), 1e-6)
        total += oaconvolve(line, _room(rng))[:length] if condition == "room" else line
    level = float(np.sqrt(np.mean(total**2)))
    if condition == "room":
        total += _pink(length, rng) * level * 10 ** (-rng.uniform(17, 23) / 20)
    else:
        total += rng.standard_normal(length) * level * 10 ** (-45 / 20)
    return np.asarray(total * min(1.0, 0.98 / float(np.abs(total).max())), dtype=np.float64)


def _room(rng: np.random.Generator) -> Floats:
    """A room response: the direct sound, then noise that falls by 60 dB in 0.3 to 0.6 s and is 0 to 6 dB weaker."""
    decay = rng.uniform(0.3, 0.6)
    t = np.arange(int(decay * RATE)) / RATE
    tail = rng.standard_normal(len(t)) * 10 ** (-3 * t / decay)
    tail[: RATE // 400] = 0
    tail *= 10 ** (-rng.uniform(0, 6) / 20) / np.sqrt(np.sum(tail**2))
    tail[0] = 1.0
    return np.asarray(tail, dtype=np.float64)


def _pink(length: int, rng: np.random.Generator) -> Floats:
    """Noise with power falling as 1/f, of unit RMS."""
    spectrum = np.fft.rfft(rng.standard_normal(next_fast_len(length, real=True)))
    spectrum /= np.sqrt(np.maximum(np.arange(len(spectrum)), 1))
    noise = np.fft.irfft(spectrum)[:length]
    return np.asarray(noise / np.sqrt(np.mean(noise**2)), dtype=np.float64)


def _mu_law(samples: Floats) -> Floats:
    """Through 8-bit mu-law (ITU-T G.711, mu = 255) and back."""
    mu = 255.0
    coded = np.sign(samples) * np.log1p(mu * np.abs(np.clip(samples, -1, 1))) / np.log1p(mu)
    coded = np.round((coded + 1) / 2 * mu) / mu * 2 - 1
    return np.asarray(np.sign(coded) * np.expm1(np.abs(coded) * np.log1p(mu)) / mu, dtype=np.float64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=60)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for scene in scenes(options.first_seed, options.count):
        print(write(converse(scene, options.data), options.folder))


if __name__ == "__main__":
    main()
