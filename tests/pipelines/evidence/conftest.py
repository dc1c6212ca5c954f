"""A case of tones, with backends that need no model: each person is a pair of tones."""

from __future__ import annotations

import wave
from collections.abc import Callable
from itertools import combinations, islice
from pathlib import Path

import numpy as np
import pytest

from diarize.models.store import Store
from pipelines.evidence import comparison, facts, folder, items
from pipelines.evidence.folder import Case
from pipelines.people import trials
from pipelines.people.utterance import UtteranceEmbedder, load_embedder
from tests.pipelines.people.test_trials import CONFIG

Add = Callable[..., Case]
RATE = 16_000
ACCEPTED = ["noise", "clipping", "voices"]  # tones and noise are no speech


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "models", offline=True)


@pytest.fixture(scope="session")
def audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("audio")
    tones = combinations((160, 390, 920, 2200, 5200), 2)  # each in a band of its own
    for person, (low, high) in enumerate(islice(tones, 6)):
        for take in range(3):
            write_voice(place / f"p{person}-{take}.wav", low, high, 10 * person + take)
    return place


def write_voice(path: Path, low: float, high: float, seed: int) -> Path:
    """A wav file of a person whose pitches are `low` and `high` (Hz): tones that come and go, and noise of its own."""
    rng = np.random.default_rng(seed)
    t = np.arange(14 * RATE) / RATE
    slow = np.interp(t, np.arange(0, 15, 0.25), rng.uniform(0.1, 1, 60))
    talk = (t % 3.5 > 0.5) * slow
    sound = talk * 0.3 * np.where(t % 3.5 < 2, np.sin(2 * np.pi * low * t), np.sin(2 * np.pi * high * t))
    sound = sound + (0.002 + 0.02 * talk) * rng.standard_normal(len(t))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((sound * 32767).astype("<i2").tobytes())
    return path


@pytest.fixture
def embedder(store: Store) -> UtteranceEmbedder:
    return load_embedder(CONFIG, store)


@pytest.fixture(scope="session")
def trial_list(audio: Path) -> Path:
    names = [path.stem for path in sorted(audio.glob("*.wav"))]
    lines = [f"{int(a[:2] == b[:2])} {a} {b}" for a, b in combinations(names, 2)]
    (audio / "t.txt").write_text("\n".join(lines))
    return audio / "t.txt"


@pytest.fixture(scope="session")
def calibration(audio: Path, trial_list: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("calibration") / "cal.json"
    scored = trials.score_trials(trial_list, audio, CONFIG, Store(place.parent / "models", offline=True))
    trials.calibrate(scored, "tones")[0].save(place)
    return place


@pytest.fixture
def new_case(tmp_path: Path) -> Case:
    return folder.create(tmp_path / "case", facts.CaseFacts("2026-1", "A. Beck", language="en").as_dict())


@pytest.fixture
def add(embedder: UtteranceEmbedder) -> Add:
    def added(case: Case, path: Path, role: str, **selection: object) -> Case:
        part = items.Selection(**selection)  # type: ignore[arg-type]
        return items.add(case, path, role, embedder, part, items.Receipt("police", "2026-11-02"))

    return added


@pytest.fixture
def compared(new_case: Case, add: Add, audio: Path, embedder: UtteranceEmbedder, calibration: Path) -> Case:
    case = add(add(new_case, audio / "p1-0.wav", "questioned"), audio / "p1-1.wav", "known")
    return comparison.compare(case, embedder, comparison.calibration_for(embedder, calibration), ACCEPTED)[0]
