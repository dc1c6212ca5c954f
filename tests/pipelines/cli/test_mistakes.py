"""Mistakes in the settings are found before any work: exit status 2, one line, no results."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import run_pipeline
from diarize.config import Config
from diarize.models.store import Store
from pipelines import plan
from tests.cheap import SETTINGS, write_tones

ROOT = Path(__file__).resolve().parents[3]
TWO = [(300, 3.0), (2500, 3.0), (300, 3.0), (2500, 3.0)]

OWN = """
from tests import cheap


class Endless:
    name = "endless"

    def __call__(self, audio):
        return ()


def load(**options):
    return cheap.embedder()


def breaks(**options):
    raise RuntimeError("no licence")


def strange(language):
    return cheap.embedder()


def diarizer(**options):
    return Endless()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with two recordings and a module of the user's own."""
    write_tones(tmp_path / "in" / "a.wav", TWO)
    write_tones(tmp_path / "in" / "b.wav", TWO[:2])
    (tmp_path / f"{module(tmp_path)}.py").write_text(OWN)
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return tmp_path


def module(folder: Path) -> str:
    return "own_" + "".join(c if c.isalnum() else "_" for c in folder.name)


def refused(capfd: pytest.CaptureFixture[str], *words: object) -> str:
    """The one line on the error stream of a command that is refused with exit status 2."""
    assert run_pipeline.main([str(word) for word in words]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    return line.removeprefix("error: ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--vad", "OWN:lod"], "vad OWN:lod: OWN has no function 'lod'. Did you mean 'load'?"),
        (
            ["--vad", "nowhere:load"],
            "vad nowhere:load: there is no module nowhere, neither installed nor in",
        ),
        (["--vad", "OWN:load"], "vad OWN:load: it is called with (audio, activity=...), and does not take that"),
        (
            ["--embedder", "OWN:breaks"],
            "embedder OWN:breaks: it cannot be loaded: RuntimeError: no licence.",
        ),
        (["--embedder", "OWN:strange"], "embedder OWN:strange: it cannot be loaded: TypeError"),
        (["--diarizer", "OWN:diarizer"], "diarizer OWN:diarizer: it has no method bounded(cluster)"),
        (["--diarizer", "pyannote"], "--diarizer: pyannote needs a model. Write pyannote:<hub id or folder>."),
        (["--embedder", "gone.onnx"], "--embedder: gone.onnx is not a file."),
        (["--segmentation", "gone.onnx"], "--segmentation: gone.onnx is not a file."),
        (["--embedder", "bad.onnx"], "The model 'bad.onnx' is refused: ONNX Runtime cannot read it"),
        (["--segmentation", "bad.onnx"], "The model 'bad.onnx' is refused: it is not a segmentation graph"),
        (["--asr", "whisper:gone/folder"], "--asr: gone/folder is not a folder."),
        (
            ["--asr", "auto", "--language", "xx"],
            "--language: no recognizer supports the language 'xx'.",
        ),
        (["--out", "bad.onnx/results"], "--out: bad.onnx/results: bad.onnx is a file, not a folder."),
        (["--num-speakers", "0"], "--num-speakers must be at least 1, not 0."),
    ],
)
def test_nothing_is_done(folder: Path, options: list[str], message: str, capfd: pytest.CaptureFixture[str]) -> None:
    own = module(folder)
    words = [word.replace("OWN", own) for word in options]
    line = refused(capfd, "process", "in", *SETTINGS, "--out", "out", *words)
    assert line.startswith(message.replace("OWN", own))
    assert not (folder / "out").exists()


def test_a_setting_of_a_file_is_named_by_file_and_key(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "run.toml").write_text("[embedder]\nbackend = 'gone.onnx'\n")
    options = [word for word in SETTINGS if not word.startswith("--embedder")]
    line = refused(capfd, "process", "in", *options, "--out", "out", "--config", "run.toml")
    assert line == "run.toml: embedder.backend: gone.onnx is not a file. There: bad.onnx."


def test_a_device_that_is_not_there(folder: Path, store: Store, capfd: pytest.CaptureFixture[str]) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("there is a CUDA device")
    words = ["process", "in", *SETTINGS, "--out", "out", "--vad", "silero", "--device", "cuda"]
    assert refused(capfd, *words).startswith("--device cuda is not possible here: ONNX Runtime sees no CUDA device.")
    assert not (folder / "out").exists()


def test_a_language_that_the_recognizer_lacks(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pocketsphinx")
    words = ["process", "in", *SETTINGS, "--out", "out", "--asr", "pocketsphinx", "--language", "de"]
    assert refused(capfd, *words).startswith("--language: PocketSphinx supports English only, not 'de'.")


def test_a_package_that_is_not_installed(
    folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from diarize import backends

    there = backends._is_there
    monkeypatch.setattr(backends, "_is_there", lambda name: name != "pocketsphinx" and there(name))
    line = refused(capfd, "process", "in", *SETTINGS, "--out", "out", "--asr", "pocketsphinx")
    assert line.endswith("Run: pip install 'diarize-pipeline[pocketsphinx]'") and not (folder / "out").exists()


def test_a_module_in_the_current_folder_is_used_also_by_workers(folder: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "diarize", "process", "in", *SETTINGS, "--out", "out", "-q"]
    command += ["--embedder", f"{module(folder)}:load"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert (folder / "out" / "a" / "transcript.json").exists()


def test_a_script_without_a_guard_runs(folder: Path) -> None:
    script = folder / "script.py"
    settings = "vad='energy', segmentation='none', embedder='tests.cheap:embedder', asr='none', cache='none'"
    script.write_text(f"import diarize\nprint(len(diarize.process('in/a.wav', {settings}).speakers))\n")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, script], cwd=folder, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "2\n", "")


def test_results_inside_the_folder_of_the_recordings_are_not_searched(folder: Path) -> None:
    words = ["process", "in", *SETTINGS, "--out", "in/results", "-q"]
    assert run_pipeline.main(words) == 0
    write_tones(folder / "in" / "results" / "a" / "excerpt.wav", TWO)
    assert run_pipeline.main(words) == 0
    report = (folder / "in" / "results" / "run.json").read_text()
    assert "excerpt" not in report and "transcript" not in report


def test_hot_words_that_are_not_used_are_noted() -> None:
    settings = Config.model_validate(
        {
            "vad": {"backend": "energy"},
            "embedder": {"backend": "tests.cheap:embedder"},
            "segmentation": {"backend": "none"},
            "asr": {"backend": "none", "hotwords": "Anna"},
        }
    )
    assert plan.make(settings, Store(offline=True)).notes == ("hotwords: not used, because no words are recognized",)
    settings = settings.model_copy(update={"asr": settings.asr.model_copy(update={"backend": "pocketsphinx"})})
    assert plan.make(settings, Store(offline=True)).notes == (
        "hotwords: not used, because pocketsphinx cannot use them; Whisper can",
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("verify gone", "gone: there is no such file or folder."),
        ("verify in/a.wav gone.wav", "gone.wav: there is no such file or folder."),
        ("compare in gone --out out", "gone: there is no such file or folder."),
        ("compare in --out bad.onnx", "--out: bad.onnx: is a file, not a folder."),
        ("compare in/a.wav --out out", "compare: recordings: 1 named, at least two are needed."),
        ("score-trials gone.txt --audio in --out out", "gone.txt: there is no such file or folder."),
        ("calibrate bad.onnx --audio in --save gone/c.json", "--save: gone/c.json: there is no folder gone."),
        ("calibrate bad.onnx --audio in --save in", "--save: in: is a folder, not a file."),
        ("enroll Anna gone.wav --library new.db", "gone.wav: there is no such file or folder."),
        ("enroll Anna in/a.wav --start -3 --library new.db", "--start must be a time in seconds, not -3."),
        (
            "enroll Anna in/a.wav --start 3 --end 2 --library new.db",
            "--start, --end: 3 to 2 s is no part",
        ),
        ("enroll Anna in/a.wav --speaker X --library new.db", "--speaker: X: is used with --from only."),
        ("enroll Anna in/a.wav --embedder gone.onnx --library new.db", "--embedder: gone.onnx is not a file."),
        ("speakers import gone.zip --library new.db", "gone.zip: there is no such file or folder."),
        ("identify gone.wav --library new.db", "gone.wav: there is no such file or folder."),
    ],
)
def test_other_commands(folder: Path, words: str, message: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert refused(capfd, *words.split()).startswith(message)
    assert not (folder / "out").exists() and list(folder.glob("new.db*")) == []


def test_a_failed_import_leaves_no_library(folder: Path) -> None:
    assert run_pipeline.main(["speakers", "import", "bad.onnx", "--library", "new.db"]) != 0
    assert list(folder.glob("new.db*")) == []


def test_a_folder_of_unknown_models_is_described(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run_pipeline.main(["models", "import", "in"]) == 4
    assert "in: 2 files (a.wav, b.wav), and none is of a known model" in capfd.readouterr().err
    (folder / "empty").mkdir()
    assert run_pipeline.main(["models", "import", "empty"]) == 4
    assert "empty: there is no file in it." in capfd.readouterr().err


def test_a_store_that_does_not_exist_is_named(
    folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIARIZE_MODELS", str(folder / "nowhere"))
    assert run_pipeline.main(["models", "verify"]) == 0
    expected = f"there is no model in the store ({folder / 'nowhere'}, which does not exist)"
    assert capfd.readouterr().out.strip() == expected


@pytest.mark.parametrize(
    "settings", [{"label": {"speakers_from": "transcript"}}, {"audio": {"channel": "per-channel"}}]
)
def test_a_number_of_speakers_without_effect_is_noted(settings: dict[str, object], store: Store) -> None:
    own = {"vad": {"backend": "energy"}, "asr": {"backend": "none"}}
    without = plan.make(Config.model_validate(own | settings), store)
    assert not any("--num-speakers" in note for note in without.notes)
    chosen = plan.make(Config.model_validate(own | settings | {"cluster": {"num_speakers": 3}}), store)
    assert sum(note.startswith("--num-speakers: not used") for note in chosen.notes) == 1
