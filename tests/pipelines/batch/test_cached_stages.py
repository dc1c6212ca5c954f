"""A rerun redoes what changed and nothing else, and its results are those of a run without any cache."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diarize.activity import NO_ACTIVITY, LocalActivity
from diarize.audio import reading as audio
from diarize.cache import code, codecs
from diarize.cache.store import Cache
from diarize.clustering import spectral
from diarize.config import AudioConfig, ClusterConfig, Config, parse
from diarize.errors import StageError
from diarize.models.store import Store
from diarize.timeline import union
from diarize.types import Audio, Embeddings, Segment, Turn, Word
from pipelines import plan
from pipelines.batch import cached_reading, cached_stages
from pipelines.batch.worker import Worker
from pipelines.inputs.jobs import Job
from pipelines.inputs.recordings import Input
from pipelines.plan import Choice
from pipelines.results.outcomes import Outcome
from pipelines.versions import versions
from tests.cheap import Clock, Pitch, Turnwise, write_tones

CALLS: Counter[str] = Counter()
TONES = ((300, 4), (700, 4), (300, 4), (1900, 4))


@dataclass(frozen=True)
class Loud:
    """A detector that is counted."""

    name: str = "loud"

    def __call__(self, audio: Audio, activity: LocalActivity = NO_ACTIVITY) -> tuple[Segment, ...]:
        CALLS["detect"] += 1
        edges = np.flatnonzero(np.diff(np.r_[0, audio.samples != 0, 0].astype(int))).reshape(-1, 2)
        return union((Segment(a / audio.rate, b / audio.rate) for a, b in edges.tolist()), 0.1)


@dataclass(frozen=True)
class Counted(Pitch):
    def __call__(self, audio: Audio, segments: Sequence[Segment], activity: LocalActivity = NO_ACTIVITY) -> Embeddings:
        CALLS["embed"] += 1
        return super().__call__(audio, segments)


@dataclass(frozen=True)
class Spoken(Clock):
    def __call__(self, audio: Audio, speech: Sequence[Segment]) -> tuple[tuple[Word, ...], str | None]:
        CALLS["recognize"] += 1
        return super().__call__(audio, speech)


@dataclass(frozen=True)
class Alone:
    """One speaker talks all the time, in windows that do not overlap."""

    name: str = "alone"

    def __call__(self, audio: Audio) -> LocalActivity:
        CALLS["segment"] += 1
        posteriors = np.zeros((int(audio.duration) + 1, 10, 7), np.float16)
        posteriors[..., 1] = 1
        return LocalActivity(posteriors, 10, 0.1, 0.05)


@dataclass(frozen=True)
class Whole(Turnwise):
    def __call__(self, audio: Audio) -> tuple[Turn, ...]:
        CALLS["diarize"] += 1
        return super().__call__(audio)


def detector(**options: Any) -> Loud:
    return Loud()


def embedder(**options: Any) -> Counted:
    return Counted()


def recognizer(**options: Any) -> Spoken:
    return Spoken(name=f"spoken in {options['config'].language}")


def segmenter(**options: Any) -> Alone:
    return Alone()


def diarizer(**options: Any) -> Whole:
    return Whole()


OWN = {
    "vad": {"backend": f"{__name__}:detector"},
    "embedder": {"backend": f"{__name__}:embedder"},
    "segmentation": {"backend": f"{__name__}:segmenter"},
    "asr": {"backend": f"{__name__}:recognizer"},
}
FIRST = {"read": 1, "segment": 1, "detect": 1, "embed": 1, "recognize": 1}


@pytest.fixture(autouse=True)
def _reads(monkeypatch: pytest.MonkeyPatch) -> None:
    decode = audio.read

    def counted(*arguments: Any, **options: Any) -> audio.Recording:
        CALLS["read"] += 1
        return decode(*arguments, **options)

    monkeypatch.setattr(audio, "read", counted)


def settings(changes: dict[str, dict[str, Any]] | None = None, **top: Any) -> Config:
    merged = {key: {**OWN.get(key, {}), **(changes or {}).get(key, {})} for key in {*OWN, *(changes or {})}}
    return parse({**merged, **top}, "test")


def run(path: Path, out: Path, config: Config) -> tuple[dict[str, int], Outcome]:
    """How often each stage was called, and the row."""
    CALLS.clear()
    chosen = plan.make(config, Store(offline=True))
    row = Worker(chosen, out, 1)(Job(Input(path, path.name, path.stem), config.cluster))
    assert row.status == "done", row.reason
    return dict(CALLS), row


def results(out: Path) -> dict[str, bytes]:
    """All that a run left, but what differs between two identical ones."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name != "provenance.json"
    }


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    return write_tones(tmp_path / "in" / "talk.wav", TONES)


CHANGES: dict[str, tuple[dict[str, Any], dict[str, int]]] = {
    "nothing": ({}, {}),
    "count": ({"cluster": {"num_speakers": 2}}, {}),
    "formats": ({"output": {"formats": ["srt"]}}, {}),
    "gap between turns": ({"turns": {"gap": 1.0}}, {}),
    "labels": ({"label": {"max_distance": 0.0}}, {}),
    "recognizer": ({"asr": {"language": "de"}}, {"recognize": 1}),  # this one listens to no samples
    "windows": ({"windows": {"length": 0.5, "hop": 0.2}}, {"read": 1, "embed": 1}),
    "overlap": ({"segmentation": {"overlap": 0.5}}, {}),
    "channel": ({"audio": {"channel": "0"}}, {"read": 1}),  # the same samples by another way
}


@pytest.mark.parametrize("change", CHANGES)
def test_fault_56_only_the_stages_that_a_setting_changes_are_redone(change: str, talk: Path, tmp_path: Path) -> None:
    assert run(talk, tmp_path / "first", settings())[0] == FIRST
    changes, expected = CHANGES[change]
    config = settings(changes)
    assert run(talk, tmp_path / "again", config)[0] == expected
    without = config.model_copy(update={"run": config.run.model_copy(update={"cache": "none"})})
    assert run(talk, tmp_path / "without", without)[0] == FIRST
    assert results(tmp_path / "again") == results(tmp_path / "without")


def test_fault_56_another_model_redoes_what_hangs_on_it(
    talk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(talk, tmp_path / "out", settings())
    monkeypatch.setattr(sys.modules[__name__], "embedder", lambda **options: Counted(name="pitch 2"))
    assert run(talk, tmp_path / "out", settings())[0] == {"read": 1, "embed": 1}
    monkeypatch.setattr(sys.modules[__name__], "segmenter", lambda **options: Alone(name="alone 2"))
    assert run(talk, tmp_path / "out", settings())[0] == {"segment": 1}  # what it advises is the same


def test_fault_56_other_code_of_a_stage_redoes_it(talk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = settings({"vad": {"backend": "energy"}})
    run(talk, tmp_path / "out", config)
    assert run(talk, tmp_path / "out", config)[0] == {}
    taken = code.digest

    def changed(module: str) -> str:
        return taken(module) + (" changed" if module == "diarize.backends.vad_energy" else "")

    monkeypatch.setattr(code, "digest", changed)
    assert run(talk, tmp_path / "out", config)[0] == {"read": 1}  # it hears the same, so that nobody else hears anew
    monkeypatch.setattr(codecs, "SCHEMA", codecs.SCHEMA + 1)
    assert run(talk, tmp_path / "out", config)[0] == {"read": 1, "segment": 1, "embed": 1, "recognize": 1}


def test_an_end_to_end_diarizer_and_a_recording_a_channel_are_kept_too(talk: Path, tmp_path: Path) -> None:
    whole = settings(diarizer=f"{__name__}:diarizer")
    assert run(talk, tmp_path / "out", whole)[0] == {"read": 1, "diarize": 1, "recognize": 1}
    first = results(tmp_path / "out")
    assert run(talk, tmp_path / "out", whole)[0] == {}
    assert results(tmp_path / "out") == first
    alone = settings({"audio": {"channel": "per-channel"}})
    assert run(talk, tmp_path / "alone", alone)[0]["detect"] == 1
    first = results(tmp_path / "alone")
    assert run(talk, tmp_path / "alone", alone)[0] == {}
    assert results(tmp_path / "alone") == first


def test_the_same_sound_in_another_file_is_heard_once(talk: Path, tmp_path: Path) -> None:
    run(talk, tmp_path / "out", settings())
    other = talk.with_name("other.wav")
    other.write_bytes(talk.read_bytes() + b"LIST\x04\x00\x00\x00abcd")
    assert run(other, tmp_path / "out", settings())[0] == {"read": 1}


def kept(config: Config) -> list[Path]:
    cache = cached_stages.open_cache(config.run)
    assert cache is not None
    return sorted(path for path in cache.folder.glob("??/*") if path.is_file())


def test_results_do_not_depend_on_what_is_in_the_cache(talk: Path, tmp_path: Path) -> None:
    config = settings()
    run(talk, tmp_path / "none", settings(run={"cache": "none"}))
    expected = results(tmp_path / "none")
    run(talk, tmp_path / "first", config)
    assert results(tmp_path / "first") == expected
    generator = np.random.default_rng(3)
    for i in range(8):
        for path in kept(config):
            if generator.random() < 0.5:
                path.unlink()
        run(talk, tmp_path / str(i), config)
        assert results(tmp_path / str(i)) == expected


def test_fault_57_damaged_entries_are_made_again(talk: Path, tmp_path: Path) -> None:
    config = settings()
    run(talk, tmp_path / "first", config)
    for path in kept(config):
        data = bytearray(path.read_bytes())
        data[-1] ^= 255
        path.write_bytes(data)
    assert run(talk, tmp_path / "again", config)[0] == FIRST
    assert results(tmp_path / "again") == results(tmp_path / "first")
    assert run(talk, tmp_path / "again", config)[0] == {}


def test_fault_48_a_cache_that_cannot_be_used_is_said_and_costs_nothing(talk: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    broken = settings(run={"cache": str(tmp_path / "file")})
    run(talk, tmp_path / "none", settings(run={"cache": "none"}))
    assert run(talk, tmp_path / "out", broken)[0] == FIRST
    assert results(tmp_path / "out") == results(tmp_path / "none")
    assert str(tmp_path / "file") in cached_stages.cache_problem(broken.run)
    assert (
        cached_stages.cache_problem(settings().run)
        == cached_stages.cache_problem(settings(run={"cache": "none"}).run)
        == ""
    )
    assert "Not a directory" in (tmp_path / "out" / "talk" / "provenance.json").read_text(encoding="utf-8")


def test_a_backend_of_this_project_is_not_loaded_for_what_is_kept(
    talk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settings({"vad": {"backend": "energy"}})
    run(talk, tmp_path / "first", config)
    load = Choice.load

    def refusing(self: Choice, threads: int) -> Any:
        assert self.name != "energy", "loaded"
        return load(self, threads)

    monkeypatch.setattr(Choice, "load", refusing)
    run(talk, tmp_path / "again", config)
    assert results(tmp_path / "again") == results(tmp_path / "first")


def test_a_backend_that_is_another_one_than_before_is_asked_under_its_own_name(tmp_path: Path) -> None:
    choice = Choice("vad", "energy", {"config": Config().vad})
    store = Cache(tmp_path / "stages", 10**9)
    first = cached_stages.StageCache(store).stage(choice, 1)
    sound = Audio("a", np.zeros(16_000, np.float32), pcm="0" * 64)

    @dataclass(frozen=True)
    class Elsewhere:
        """What the same files come to on another device."""

        name: str = "energy on a GPU"

        def __call__(self, audio: Audio, activity: LocalActivity = NO_ACTIVITY) -> tuple[Segment, ...]:
            return (Segment(0, 1),)

    class Moved(Choice):
        def load(self, threads: int) -> Any:
            return Elsewhere()

    moved = Moved(choice.stage, choice.name, choice.options)
    second = cached_stages.StageCache(store).stage(moved, 1)
    assert second.name == first.name
    assert second(sound) == (Segment(0, 1),)
    assert second.name == "energy on a GPU"
    assert first(sound) == ()  # nothing was kept under the former name
    assert cached_stages.StageCache(store).stage(choice, 1)(sound) == ()


def test_samples_are_decoded_when_a_stage_asks(talk: Path, tmp_path: Path) -> None:
    keeping = cached_stages.StageCache(Cache(tmp_path / "stages", 10**9))
    item = Input(talk, "day/talk.wav", "talk")

    def decode() -> audio.Recording:
        return audio.read(talk, id="talk", name="day/talk.wav")

    CALLS.clear()
    first = cached_reading.read(item, AudioConfig(), keeping, decode, versions())
    again = cached_reading.read(item, AudioConfig(), keeping, decode, versions())
    assert CALLS["read"] == 1
    assert again.source == first.source
    (sound,), (known,) = first.audios, again.audios
    for name in ("id", "rate", "digest", "lost", "pcm", "duration"):
        assert getattr(known, name) == getattr(sound, name)
    assert CALLS["read"] == 1
    assert known.samples.tobytes() == sound.samples.tobytes()
    assert known.samples is known.samples
    assert CALLS["read"] == 2
    renamed = cached_reading.read(replace(item, name="other.wav"), AudioConfig(), keeping, decode, versions())
    assert renamed.source == replace(first.source, path="other.wav")


def test_fault_18_a_known_recording_that_changes_before_it_is_decoded_is_refused(talk: Path, tmp_path: Path) -> None:
    keeping = cached_stages.StageCache(Cache(tmp_path / "stages", 10**9))
    item = Input(talk, "talk.wav", "talk")

    def decode() -> audio.Recording:
        return audio.read(talk, id="talk")

    cached_reading.read(item, AudioConfig(), keeping, decode, versions())
    known = cached_reading.read(item, AudioConfig(), keeping, decode, versions()).audios[0]
    write_tones(talk, TONES[:2])
    with pytest.raises(StageError, match="changed while it was read") as caught:
        known.samples  # noqa: B018
    assert caught.value.stage == "read"
    talk.unlink()
    with pytest.raises(StageError, match="does not exist"):
        known.samples  # noqa: B018


def test_what_clustering_needs_for_any_count_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(5)
    people = generator.standard_normal((3, 16))[generator.integers(0, 3, 900)]  # so many that they are grouped
    vectors = people + 0.4 * generator.standard_normal(people.shape)
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    counts = (None, 2, 3, 25)
    expected = [spectral.cluster(vectors, ClusterConfig(num_speakers=n, max_speakers=max(20, n or 0))) for n in counts]
    keeping = cached_stages.StageCache(Cache(tmp_path, 10**9))
    spectra = Counter[str]()

    def counted(weights: Any, most: int) -> Any:
        spectra[str(most)] += 1
        return spectrum(weights, most)

    spectrum = spectral._eigenvalues
    monkeypatch.setattr(spectral, "_eigenvalues", counted)
    for n, labels in zip(counts, expected, strict=True):
        config = ClusterConfig(num_speakers=n, max_speakers=max(20, n or 0))
        assert np.array_equal(spectral.cluster(vectors, config, keeping.memo), labels)
    assert spectra == {"20": 8, "25": 8}


def test_bounds_of_a_diarizer_are_part_of_what_is_asked(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Bounded:
        speakers: int | None = None

        @property
        def name(self) -> str:
            return f"bounded {self.speakers}"

        def __call__(self, audio: Audio) -> tuple[Turn, ...]:
            return (Turn(0, 1, f"S{self.speakers}", 1 / 3),)

        def bounded(self, cluster: ClusterConfig) -> Bounded:
            return Bounded(cluster.num_speakers)

    class Own(Choice):
        def load(self, threads: int) -> Any:
            return Bounded()

    stage = cached_stages.StageCache(Cache(tmp_path, 10**9)).stage(Own("diarizer", f"{__name__}:diarizer"), 1)
    sound = Audio("a", np.zeros(16_000, np.float32), pcm="0" * 64)
    two, three = (stage.bounded(ClusterConfig(num_speakers=n)) for n in (2, 3))
    for _ in range(2):
        assert [two(sound), three(sound)] == [(Turn(0, 1, "S2", 1 / 3),), (Turn(0, 1, "S3", 1 / 3),)]
    assert (two.name, three.name) == ("bounded 2", "bounded 3")
