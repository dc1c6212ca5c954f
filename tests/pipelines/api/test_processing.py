"""`diarize.process` gives what the command writes, to the byte; and says what is wrong in terms of its keywords."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import subprocess
import sys
import threading
import wave
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import diarize
import run_pipeline
from diarize.audio import reading
from diarize.config import ClusterConfig, Config
from diarize.errors import UnknownBackend
from diarize.models.store import Store
from pipelines.api import processing
from pipelines.batch import cached_stages
from pipelines.inputs import settings
from tests.cheap import SETTINGS, write_tones

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = ROOT / "examples"
CONVERSATION = EXAMPLES / "conversation.flac"
CHEAP: dict[str, Any] = {
    "vad": "energy",
    "segmentation": "none",
    "embedder": "tests.cheap:embedder",
    "asr": "tests.cheap:recognizer",
    "offline": True,
}
QUICK: dict[str, Any] = {"asr": "none", "offline": True, "cache": "none"}


@pytest.fixture(autouse=True)
def _models(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIARIZE_MODELS", str(store.folder))
    processing._forget()


@pytest.fixture
def tones(tmp_path: Path) -> Path:
    return write_tones(tmp_path / "in" / "tones.wav", [(300, 3.0), (2500, 3.0), (300, 2.0)])


def stereo(path: Path) -> Path:
    """A line of the conversation in each channel, under a name that is no id."""
    conversation = diarize.process(CONVERSATION, **QUICK)
    first = conversation.speakers[0].id
    sound = reading.read(CONVERSATION, id="c").audios[0]
    lines = np.zeros((len(sound.samples), 2))
    for turn in conversation.turns:
        piece = slice(int(turn.start * sound.rate), int(turn.end * sound.rate))
        lines[piece, int(turn.speaker == first)] = sound.samples[piece]
    with wave.open(str(path), "wb") as file:
        file.setparams((2, 2, sound.rate, 0, "NONE", ""))
        file.writeframes((lines * 32767).astype("<i2").tobytes())
    return path


def library(folder: Path) -> Path:
    """A library that knows one voice of the conversation, and the turns of its second half as a file of known turns."""
    transcript = diarize.process(CONVERSATION, **QUICK)
    transcript.save(f"{folder}/")
    command = ["enroll", "NA <b>", str(CONVERSATION), "--from", str(folder), "--speaker", "SPEAKER_01", "--offline"]
    assert run_pipeline.main([*command, "--library", str(folder / "people.db")]) == 0
    return folder / "people.db"


@pytest.mark.parametrize("case", ["plain", "count", "link", "library", "per-channel", "words", "constraints", "config"])
def test_the_transcript_is_that_of_the_command_to_the_byte(
    case: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path, options = CONVERSATION, list[str]()
    keywords: dict[str, Any] = {}
    if case == "count":
        keywords, options = {"num_speakers": np.int64(3)}, ["--num-speakers", "3"]
    elif case == "link":
        keywords, options = {"link": True}, ["--link"]
    elif case == "library":
        people = library(tmp_path)
        keywords, options = {"library": people, "prior": 0.2}, ["--library", str(people), "--prior", "0.2"]
    elif case == "per-channel":
        path = stereo(tmp_path / "Gespräch (2) für Anna.wav")
        keywords, options = {"channel": "per-channel"}, ["--channel", "per-channel"]
    elif case == "words":
        words = EXAMPLES / "conversation.words.json"
        keywords, options = {"transcript": words}, ["--transcript", str(words)]
    elif case == "constraints":
        known = EXAMPLES / "conversation.rttm"
        keywords, options = {"known_turns": known, "speech": str(known)}, ["--known-turns", str(known)]
        options += ["--speech", str(known)]
    elif case == "config":
        (tmp_path / "s.toml").write_text("[turns]\ngap = 0.7\n[cluster]\nnum_speakers = 2\n")
        keywords = {"config": {"turns": {"gap": 0.7}, "cluster": {"num_speakers": 2}}, "num_speakers": 5}
        options = ["--config", str(tmp_path / "s.toml"), "--num-speakers", "5"]
    result = diarize.process(path, **QUICK, **keywords)
    command = ["process", str(path), "--out", str(tmp_path / "out"), "--asr", "none", "--offline", "--cache", "none"]
    assert run_pipeline.main([*command, *options, "-q"]) == 0
    (folder,) = (tmp_path / "out").glob("*/")
    written = {file.name: file.read_bytes() for file in folder.iterdir() if file.name != "provenance.json"}
    assert result.to_json().encode() == written["transcript.json"]
    assert result.save(f"{tmp_path / 'mine'}{os.sep}") == tmp_path / "mine"
    saved = {file.name: file.read_bytes() for file in (tmp_path / "mine").iterdir()}
    assert json.loads(saved.pop("provenance.json"))["files"].keys() == written.keys()
    assert saved == written
    if case == "library":
        assert [speaker.name for speaker in result.speakers].count("NA <b>") == 1
        assert any(speaker.link == "unknown-1" for speaker in result.speakers)


SCRIPT = """
import diarize, hashlib
result = diarize.process("examples/conversation.flac", asr="none", offline=True, cache="none")
print(hashlib.sha256(result.to_json().encode()).hexdigest())
"""


@pytest.mark.parametrize("way", ["script", "stdin", "ipython", "forked"])
def test_it_works_wherever_python_runs_and_whatever_threads_it_has(way: str, tmp_path: Path) -> None:
    text, words = SCRIPT, [sys.executable, "-"]
    if way == "script":  # with no guard around its main part
        (tmp_path / "script.py").write_text(SCRIPT)
        text, words = "", [sys.executable, str(tmp_path / "script.py")]
    elif way == "ipython":
        pytest.importorskip("IPython")
        words = [sys.executable, "-m", "IPython", "--no-banner", "--quick", "--colors=NoColor", "-c", SCRIPT]
    elif way == "forked":
        text += """
import multiprocessing
def again(number):
    return diarize.process("examples/conversation.flac", asr="none", offline=True, cache="none").to_json()
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert set(pool.map(again, range(3))) == {result.to_json()}
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "4", "OPENBLAS_NUM_THREADS": "4"}
    environment |= {"IPYTHONDIR": str(tmp_path), "PYTHONWARNINGS": "error"} if way != "ipython" else {}
    done = subprocess.run(words, input=text, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=200)
    expected = hashlib.sha256(diarize.process(CONVERSATION, **QUICK).to_json().encode()).hexdigest()
    assert (done.stdout.split(), done.stderr) == ([expected], "")


def test_models_stay_loaded_for_the_next_call_and_only_those_of_the_last(
    tones: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[object] = []
    build = cached_stages.build

    def counted(*arguments: Any) -> Any:
        built.append(arguments)
        return build(*arguments)

    monkeypatch.setattr(cached_stages, "build", counted)
    first = diarize.process(tones, **CHEAP)
    assert diarize.process(tones, **CHEAP) == first
    assert len(diarize.process(tones, **CHEAP, num_speakers=1).speakers) == 1
    assert len(built) == 1
    diarize.process(tones, **CHEAP, config={"turns": {"gap": 0.9}})
    assert len(built) == 2 and len(processing._loaded) == 1


def test_threads_take_turns(tones: Path) -> None:
    """The decoder of one thread serves the next one, also when the first thread has ended."""
    results: list[diarize.Transcript] = []

    def run() -> None:
        results.append(diarize.process(tones, **CHEAP, cache="none"))

    for _ in range(4):
        threads = [threading.Thread(target=run) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(results) == 16 and len({result.to_json() for result in results}) == 1


def test_stages_are_reported_as_they_begin(tones: Path) -> None:
    stages: list[str] = []
    diarize.process(tones, **CHEAP, on_stage=stages.append)
    assert stages == ["read", "load", "detect", "embed", "cluster", "recognize"]


def test_the_environment_counts_as_for_the_command(tones: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIARIZE_CLUSTER_NUM_SPEAKERS", "1")
    assert len(diarize.process(tones, **CHEAP).speakers) == 1
    assert len(diarize.process(tones, **CHEAP, num_speakers=2).speakers) == 2
    assert len(diarize.process(tones, **CHEAP, config=Config(cluster=ClusterConfig(num_speakers=2))).speakers) == 2


def test_the_keywords_are_the_options_of_the_command() -> None:
    keywords = [each.name for each in inspect.signature(diarize.process).parameters.values()]
    unused = {"formats", "workers", "engine", "ray_address"}  # of whole runs
    assert set(settings.OPTIONS) - unused <= set(keywords)
    files = {"path", "transcript", "speech", "known_turns", "library", "link", "config", "on_stage", "unknown"}
    assert set(keywords) - set(settings.OPTIONS) == files


def refused(call: Callable[[], object]) -> tuple[str, str]:
    with pytest.raises((diarize.DiarizeError, TypeError)) as caught:
        call()
    return type(caught.value).__name__, str(caught.value)


@pytest.mark.parametrize(
    ("keywords", "kind", "message"),
    [
        (
            {"num_speaker": 2},
            "TypeError",
            "process() got an unexpected keyword argument 'num_speaker'. Did you mean 'num_speakers'?",
        ),
        (
            {"num_speakers": 0},
            "ConfigError",
            "num_speakers must be at least 1, not 0.",
        ),
        ({"num_speakers": "4"}, "ConfigError", "num_speakers: '4': is no whole number. Write num_speakers=2, say."),
        ({"num_speakers": 4.0}, "ConfigError", "num_speakers: 4.0: is no whole number."),
        ({"num_speakers": True}, "ConfigError", "num_speakers: True: is no whole number."),
        (
            {"min_speakers": 4, "max_speakers": 2},
            "ConfigError",
            "min_speakers, max_speakers: min_speakers (4) may not exceed",
        ),
        ({"device": "gpu"}, "ConfigError", 'device must be one of "auto", "cpu", "cuda", not "gpu".'),
        ({"channel": "left"}, "ConfigError", "channel must be auto, mix, per-channel, or the number"),
        ({"asr": 5}, "ConfigError", "asr must be a text, not 5."),
        ({"asr": "wisper"}, "UnknownBackend", "No asr backend is called 'wisper'."),
        ({"config": {"turn": {"gap": 1}}}, "ConfigError", "config: [turn]: no such section. Did you mean [turns]?"),
        (
            {"config": {"turns": {"gap": -1}}},
            "ConfigError",
            "config: turns.gap must be at least 0, not -1.",
        ),
        ({"config": 3}, "ConfigError", "config: int: settings are a dict, or the path of a TOML file."),
        ({"config": "nowhere.toml"}, "ConfigError", "nowhere.toml: cannot be read: No such file or directory."),
        ({"transcript": "nowhere.srt"}, "ConfigError", "transcript: nowhere.srt: no such file or folder."),
        (
            {"speech": "nowhere.rttm", "channel": "per-channel"},
            "ConfigError",
            "speech: channel per-channel: cannot be used together: each channel is",
        ),
        ({"known_turns": 3}, "TypeError", "known_turns: the path of a file is needed, as a str or a Path, not int"),
        ({"transcript": ""}, "ConfigError", "transcript: '': is no path."),
        ({"on_stage": 3}, "TypeError", "on_stage: a function is needed, not int"),
        ({"library": "nowhere.db"}, "LibraryMissing", "nowhere.db: "),
        (
            {"library": 3},
            "TypeError",
            "library: a Library, a path or an address is needed, as a str or a Path, not int",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_the_words_of_python(
    tones: Path, keywords: dict[str, Any], kind: str, message: str
) -> None:
    got, text = refused(lambda: diarize.process(tones, **{**CHEAP, **keywords}))
    assert got == kind
    assert text.startswith(message)
    assert "--" not in text


def test_what_is_no_recording_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("no sound " * 100)
    (tmp_path / "people.db").write_text("no library")
    for name, message in {
        "nowhere.wav": "nowhere.wav: does not exist",
        "empty.wav": "empty.wav: is empty (0 bytes).",
        ".": "is a folder, and one recording is processed. For folders: diarize process.",
        "text.wav": "text.wav: ",
        "x" * 300: "File name too long",
    }.items():
        kind, text = refused(partial(diarize.process, tmp_path / name, **CHEAP))
        assert kind == "AudioError" and message in text
    kind, text = refused(lambda: diarize.process(["a.wav", "b.wav"], **CHEAP))  # type: ignore[arg-type]
    assert (kind, text) == (
        "TypeError",
        "path: one recording's path is needed, as a str or a Path, not list. Call it once for each",
    )
    assert refused(lambda: diarize.process(b"a.wav", **CHEAP))[0] == "TypeError"  # type: ignore[arg-type]
    tones = write_tones(tmp_path / "tones.wav", [(300, 2.0)])
    assert refused(lambda: diarize.process(tones, **CHEAP, library=tmp_path / "people.db"))[0] == "LibraryUnreadable"
    kind, text = refused(lambda: diarize.process(tones, **CHEAP, channel=3))
    assert kind == "AudioError" and text.startswith(f"{tones}: there is no channel 3:")
    assert text.endswith("Choose another with channel.")
    assert issubclass(UnknownBackend, diarize.BackendError)


def test_a_stage_that_fails_raises_and_the_next_call_works(tmp_path: Path) -> None:
    bad = write_tones(tmp_path / "memory.wav", [(300, 3.0)])
    with pytest.raises(diarize.StageError, match="memory: embed failed: MemoryError: no room for 1 TB"):
        diarize.process(bad, **{**CHEAP, "embedder": "tests.cheap:dying_embedder"})
    assert diarize.process(bad, **CHEAP).speakers


def test_a_cache_that_cannot_be_written_is_warned_of_once(tones: Path) -> None:
    with pytest.warns(UserWarning, match="results of stages are not cached: ") as warned:
        first = diarize.process(tones, **CHEAP, cache=tones)
        assert diarize.process(tones, **CHEAP, cache=tones) == first
    assert [warning.filename for warning in warned] == [__file__]


def test_silence_is_an_empty_transcript(tmp_path: Path) -> None:
    result = diarize.process(write_tones(tmp_path / "silence.wav", [(0, 3.0)]), **CHEAP)
    assert (result.turns, result.words, result.speakers) == ((), (), ())
    assert "no speech was found" in result.notes
    assert list(result.to_dataframe().columns)[:3] == ["recording", "start", "end"]


def test_the_settings_of_the_tests_are_those_of_the_command() -> None:
    assert {f"--{name}={value}" for name, value in CHEAP.items() if value is not True} < {*SETTINGS}
