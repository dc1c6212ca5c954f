"""What is chosen, and what is said about it, from the settings and what lies in the store."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from diarize.config import Config, WindowsConfig, parse
from diarize.errors import ConfigError, ModelUnavailable, UnknownBackend
from diarize.models.store import Store
from pipelines import plan

ENERGY = {"backend": "energy"}


class Shelf(Store):
    """A store that has the models it is told of, and can fetch others."""

    def __init__(self, *names: str, fetched: tuple[str, ...] = ()) -> None:
        super().__init__(Path("shelf"), offline=True)
        self.names, self.fetched, self.asked = set(names), fetched, list[str]()

    def path(self, name: str) -> Path:
        return Path("shelf") / name

    def find(self, name: str) -> Path | None:
        return self.path(name) if name in self.names else None

    def digest(self, name: str) -> str:
        return f"digest of {name}"

    def pull(self, name: str, progress: Any = None, force: bool = False, wheels: Any = None) -> Path:
        self.asked.append(name)
        if name not in self.fetched:
            raise ModelUnavailable(name, "there is no network")
        return self.path(name)


def config(**sections: Any) -> Config:
    cheap = {"vad": ENERGY, "embedder": {"backend": "tests.cheap:embedder"}, "segmentation": {"backend": "none"}}
    return parse(cheap | sections, "test")


def installed(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    real = importlib.util.find_spec
    optional = ("faster_whisper", "pocketsphinx")

    def find_spec(name: str) -> object:
        return (SimpleNamespace() if name in packages else None) if name in optional else real(name)

    monkeypatch.setattr(plan, "find_spec", find_spec)


def test_auto_takes_the_best_embedder_in_the_store_and_says_which_is_better() -> None:
    made = plan.make(config(embedder={"backend": "auto"}), Shelf("campplus", "ge2e"), recognize=False)
    assert made.embed is not None
    assert made.embed.options["model"] == Path("shelf/campplus")
    assert made.models == {"campplus": "digest of campplus"}
    assert "diarize models pull community-1-embedding" in " ".join(made.notes)


def test_the_best_embedder_leaves_nothing_to_say() -> None:
    assert plan.make(config(embedder={"backend": "auto"}), Shelf("community-1-embedding"), recognize=False).notes == ()


def test_windows_are_those_of_the_embedder_unless_they_are_set() -> None:
    def windows(embedder: str, **settings: Any) -> tuple[float, float]:
        shelf = Shelf("ge2e", "community-1-embedding")
        made = plan.make(config(embedder={"backend": embedder}, windows=settings), shelf, recognize=False)
        return made.config.windows.length, made.config.windows.hop

    assert windows("community-1-embedding") == (1.2, 0.4)
    assert windows("ge2e") == (1.6, 0.8)
    assert windows("ge2e", hop=0.5) == (1.6, 0.5)
    assert windows("ge2e", length=0.6) == (0.6, 0.6)
    assert windows("ge2e", length=1.2, hop=0.4) == (1.2, 0.4)
    assert windows("community-1-embedding", length=2.0) == (2.0, 0.4)


def test_windows_of_voices_beside_an_end_to_end_diarizer_are_those_of_the_embedder(store: Store) -> None:
    settings = config(embedder={"backend": "ge2e"}, audio={"channel": "per-channel"})
    assert plan.make(settings, store, recognize=False, link=True).config.windows == plan.SPARSE_WINDOWS


def test_auto_takes_the_best_whisper_in_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, "faster_whisper", "pocketsphinx")
    shelf = Shelf("whisper-base", "whisper-medium")
    made = plan.make(config(), shelf)
    assert made.recognize is not None
    assert made.recognize.options["model"] == Path("shelf/whisper-medium")
    assert (shelf.asked, made.notes) == ([], ())


def test_auto_prefers_whisper_to_moonshine(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, "faster_whisper", "pocketsphinx")
    made = plan.make(config(), Shelf("moonshine-tiny-en", "whisper-tiny"))
    assert made.models == {"whisper-tiny": "digest of whisper-tiny"}


@pytest.mark.parametrize("packages", [("faster_whisper", "pocketsphinx"), ("pocketsphinx",), ()])
@pytest.mark.parametrize("language", [None, "en"])
def test_without_a_whisper_auto_takes_moonshine(
    monkeypatch: pytest.MonkeyPatch, packages: tuple[str, ...], language: str | None
) -> None:
    installed(monkeypatch, *packages)
    shelf = Shelf("moonshine-tiny-en", fetched=("whisper-small",))
    made = plan.make(config(asr={"language": language}), shelf)
    assert made.recognize is not None
    assert (made.recognize.name, made.recognize.options["model"]) == ("moonshine", Path("shelf/moonshine-tiny-en"))
    assert made.models == {"moonshine-tiny-en": "digest of moonshine-tiny-en"}
    assert made.notes == ()  # a default that works is no defect
    assert shelf.asked == []


@pytest.mark.parametrize(
    ("packages", "models", "language", "said"),
    [
        (("faster_whisper", "pocketsphinx"), (), None, "diarize models pull whisper-small"),
        (("faster_whisper", "pocketsphinx"), (), "en", "diarize models pull moonshine-tiny-en"),
        (("pocketsphinx",), (), "en", "pip install 'diarize-pipeline[whisper]'"),
        (("pocketsphinx",), ("moonshine-tiny-en",), "de", "Whisper is needed for the language 'de'"),
        (("faster_whisper",), ("moonshine-tiny-en",), "de", "to get it: diarize models pull whisper-small"),
        ((), ("whisper-small",), "de", "pip install 'diarize-pipeline[whisper]', then diarize models pull"),
        ((), (), None, "the transcript has no words"),
    ],
)
def test_auto_downloads_no_recognizer_and_says_how_to_get_one(
    monkeypatch: pytest.MonkeyPatch,
    packages: tuple[str, ...],
    models: tuple[str, ...],
    language: str | None,
    said: str,
) -> None:
    installed(monkeypatch, *packages)
    shelf = Shelf(*models, fetched=("whisper-small", "moonshine-tiny-en"))
    made = plan.make(config(asr={"language": language}), shelf)
    assert (made.recognize, made.models, shelf.asked) == (None, {}, [])
    assert said in " ".join(made.notes)


def test_a_recognizer_that_is_asked_for_by_name_is_fetched() -> None:
    for name, entry in (("moonshine", "moonshine-tiny-en"), ("whisper:small", "whisper-small")):
        shelf = Shelf(fetched=(entry,))
        made = plan.make(config(asr={"backend": name}), shelf)
        assert (list(made.models), shelf.asked, made.notes) == ([entry], [entry], ())


def test_where_the_words_are_given_no_recognizer_is_chosen_fetched_or_spoken_of() -> None:
    shelf = Shelf()
    made = plan.make(config(), shelf, recognize=False)
    assert (made.recognize, made.notes, shelf.asked) == (None, (), [])


def test_without_the_segmentation_model_it_is_said_that_overlap_is_not_heard() -> None:
    auto = config(segmentation={"backend": "auto"})
    made = plan.make(auto, Shelf(), recognize=False)
    assert "segment" not in made.stages
    assert "diarize models pull community-1-segmentation" in " ".join(made.notes)


@pytest.mark.parametrize(
    ("names", "best"),
    [
        (("pyannote-segmentation-3.0-int8",), "pyannote-segmentation-3.0-int8"),
        (("community-1-segmentation",), "community-1-segmentation"),
        (("pyannote-segmentation-3.0-int8", "community-1-segmentation"), "community-1-segmentation"),
    ],
)
def test_auto_prefers_the_segmentation_of_community_1(names: tuple[str, ...], best: str) -> None:
    chosen = plan.make(config(segmentation={"backend": "auto"}), Shelf(*names), recognize=False)
    assert (chosen.stages[0], chosen.notes, list(chosen.models)) == ("segment", (), [best])


def test_each_segmentation_model_can_be_chosen_by_name() -> None:
    for name in plan.SEGMENTERS:
        chosen = plan.make(config(segmentation={"backend": name}), Shelf(*plan.SEGMENTERS), recognize=False)
        assert list(chosen.models) == [name]


@pytest.mark.parametrize(
    ("section", "wanted", "hint"),
    [
        ("embedder", "ge2", "'ge2e'"),
        ("embedder", "whisper-tiny", "Known: auto, ge2e"),
        ("asr", "whisper:smal", "'whisper:small'"),
        ("asr", "pocketsphynx", "'pocketsphinx'"),
        ("asr", "moonshin", "'moonshine'"),
        ("vad", "silero6", "'silero'"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(section: str, wanted: str, hint: str) -> None:
    with pytest.raises(UnknownBackend, match=hint):
        plan.make(config(**{section: {"backend": wanted}}), Shelf())


def test_a_network_of_ones_own_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.onnx is not a file"):
        plan.make(config(embedder={"backend": str(tmp_path / "gone.onnx")}), Shelf())


def test_a_whisper_folder_is_taken_as_it_is(tmp_path: Path) -> None:
    made = plan.make(config(asr={"backend": f"whisper:{tmp_path}"}), Shelf())
    assert made.recognize is not None
    assert made.recognize.options["model"] == tmp_path
    assert made.models == {}


def test_an_end_to_end_diarizer_takes_the_place_of_three_stages_but_not_per_channel() -> None:
    made = plan.make(parse({"diarizer": "pyannote:lab/tiny", "asr": {"backend": "none"}}, "test"), Shelf())
    assert made.stages == ("diarize",)
    lines = plan.make(config(diarizer="pyannote:lab/tiny", audio={"channel": "per-channel"}), Shelf(), recognize=False)
    assert lines.stages[-1] == "detect" and "cluster" not in lines.stages
    assert "pyannote:lab/tiny is not used" in " ".join(lines.notes)


def test_the_fast_profile_takes_ge2e_with_its_windows_and_says_so() -> None:
    shelf = Shelf("community-1-embedding", "ge2e")
    accurate = plan.make(config(embedder={"backend": "auto"}), shelf, recognize=False)
    fast = plan.make(config(embedder={"backend": "auto"}, profile="fast"), shelf, recognize=False)
    assert accurate.embed is not None and accurate.embed.name == "community-1"
    assert accurate.config.windows == WindowsConfig()
    assert fast.embed is not None and fast.embed.name == "ge2e"
    assert fast.config.windows == plan.SPARSE_WINDOWS
    assert "profile: fast, embedder: ge2e" in " ".join(fast.notes)
    own = config(embedder={"backend": "auto"}, profile="fast", windows={"hop": 0.3})
    assert plan.make(own, shelf, recognize=False).config.windows == WindowsConfig(length=1.6, hop=0.3)
