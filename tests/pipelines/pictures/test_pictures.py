"""Pictures of results: what is drawn, the same bytes each time, and whatever people are called."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import soundfile

import run_pipeline
from diarize import files
from diarize.activity import NO_ACTIVITY, LocalActivity
from diarize.config import Config
from diarize.types import Audio, Embeddings, Segment, Source, Speaker, Transcript, Turn
from pipelines.people.utterance import UtteranceEmbedder
from pipelines.pictures import meeting, overview, style, voices
from pipelines.results import integrity, outputs
from tests.formats.samples import EMPTY, HOSTILE, MEETING, WORDLESS

PNG = b"\x89PNG\r\n\x1a\n"
SOUND = Audio("r", np.sin(np.arange(24 * 16_000, dtype=np.float32) * 0.3))


class ToneEmbedder:
    """A vector of two numbers: which half of the recording a window is in."""

    name = "tone"

    def __call__(self, audio: Audio, segments: Sequence[Segment], activity: LocalActivity = NO_ACTIVITY) -> Embeddings:
        angles = [0.1 * i % 0.3 + (0.0 if s.start < audio.duration / 2 else 1.5) for i, s in enumerate(segments)]
        vectors = np.array([[np.cos(angle), np.sin(angle)] for angle in angles], np.float32)
        return Embeddings(tuple(segments), vectors, self.name)


def nothing(audio: Audio, activity: LocalActivity = NO_ACTIVITY) -> tuple[Segment, ...]:
    return ()


nothing.name = "nothing"  # type: ignore[attr-defined]
EMBEDDER = UtteranceEmbedder(nothing, ToneEmbedder(), Config())  # type: ignore[arg-type]
FIGURES: dict[str, Callable[[Transcript], Any]] = {
    "turns": lambda t: meeting.turns(t, SOUND),
    "turns without sound": lambda t: meeting.turns(t, None),
    "speaking": meeting.speaking,
    "exchanges": meeting.exchanges,
    "run": lambda t: overview.speaking(overview.collect([t, replace(t, recording="other")])),
}


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("transcript", [MEETING, EMPTY, WORDLESS], ids=["meeting", "empty", "wordless"])
def test_pictures_are_drawn_and_are_the_same_each_time(name: str, transcript: Transcript) -> None:
    png = style.encode(FIGURES[name](transcript), "png")
    assert png.startswith(PNG) and png == style.encode(FIGURES[name](transcript), "png")
    svg = style.encode(FIGURES[name](transcript), "svg")
    assert svg == style.encode(FIGURES[name](transcript), "svg") and b"<dc:date>" not in svg
    assert ElementTree.fromstring(svg).tag.endswith("svg")


def test_hostile_names_are_drawn() -> None:
    ids = [name for name in HOSTILE if len(name) < 100]
    turns = tuple(Turn(i / 4, i / 4 + 0.5, id) for i, id in enumerate(ids))
    talk = Transcript("$x^{$", 24.0, None, tuple(Speaker(id, id or None) for id in ids), turns)
    for draw in FIGURES.values():
        assert style.encode(draw(talk), "png").startswith(PNG)
    windows = voices.embed(talk, SOUND, EMBEDDER)
    assert windows is None  # everybody is interrupted within 0.4 s
    alone = replace(talk, turns=tuple(Turn(i / 2, i / 2 + 0.45, id) for i, id in enumerate(ids)))
    windows = voices.embed(alone, SOUND, EMBEDDER)
    assert windows is not None and set(windows.speakers) == set(ids)
    assert style.encode(voices.window_map(alone, windows), "svg") == style.encode(
        voices.window_map(alone, windows), "svg"
    )
    assert style.encode(voices.heat_map(alone, windows), "png").startswith(PNG)


def test_72_speakers_look_different() -> None:
    looks = [style.look("x", number) for number in range(72)]
    assert len({(look.colour, look.pattern) for look in looks}) == 72
    assert len({look.pattern for look in looks[:9]}) == 9  # also in grey


def test_windows_of_two_voices_are_apart() -> None:
    talk = Transcript("r", 24.0, None, (Speaker("A"), Speaker("B")), (Turn(0, 10, "A"), Turn(8, 24, "B")))
    windows = voices.embed(talk, SOUND, EMBEDDER)
    assert windows is not None
    assert voices.alone(talk.turns, "A", 24.0) == (Segment(0, 8),)
    points, share = voices.plane(windows.vectors)
    assert share == pytest.approx(1.0)
    ids, values = voices.similarity(windows)
    assert ids == ["A", "B"] and values[0, 0] == pytest.approx(1.0) and values[0, 1] < 0.5
    assert np.allclose(points, voices.plane(windows.vectors)[0])


def test_the_spectrogram_shows_a_tone_at_its_frequency() -> None:
    levels = meeting.spectrogram(SOUND)
    assert levels.shape[0] == 257 and levels.max() == 0
    assert levels.mean(axis=1).argmax() == round(0.3 / (2 * np.pi) * 512)
    assert meeting.spectrogram(Audio("r", np.zeros(10, np.float32))).shape == (257, 1)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Results of a recording that lies beside them."""
    path = tmp_path / "talk.wav"
    soundfile.write(path, np.asarray(SOUND.samples), 16_000)
    digest = files.sha256(path)
    provenance = replace(MEETING.provenance, source=Source("talk.wav", digest, path.stat().st_size))
    outputs.write(
        tmp_path / "out" / "talk",
        replace(MEETING, recording="talk", provenance=provenance),
        ["txt"],
        {},
        (path, digest),
    )
    (tmp_path / "out" / "run.json").write_text('{"recordings": [{"id": "talk", "status": "done"}]}')
    return tmp_path / "out"


def test_the_command_draws_what_it_can_and_says_the_rest(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run.parent / "talk.wav").write_bytes(b"x")
    assert run_pipeline.main(["plot", str(run / "talk"), "--as", "svg"]) == 0
    said = capsys.readouterr()
    assert "no spectrogram and no voices" in said.err
    assert sorted(path.name for path in (run / "talk" / "pictures").iterdir()) == [
        "exchanges.svg",
        "speaking.svg",
        "turns.svg",
    ]
    assert run_pipeline.main(["plot", str(run)]) == 0
    assert (run / "pictures" / "speaking.png").read_bytes().startswith(PNG)
    differences = {each.where for each in integrity.check(run, inputs=False).differences}
    assert not any("pictures" in where for where in differences)
    assert run_pipeline.main(["plot", str(run), "--as", "gif"]) == 2


def test_sound_of_another_recording_is_not_drawn(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    soundfile.write(run.parent / "other.wav", np.zeros(16_000), 16_000)
    assert run_pipeline.main(["plot", str(run / "talk"), "--audio", str(run.parent / "other.wav")]) == 0
    assert "is another recording" in capsys.readouterr().err
