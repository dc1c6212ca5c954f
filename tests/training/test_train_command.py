"""`diarize train`, from recordings to a model that other commands use by name."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is not installed; the extra train brings it")

from diarize.backends import embedder_onnx
from diarize.models.store import Store
from diarize.types import Audio, Segment
from run_pipeline import main
from tests.training.voices import folder_of_speakers, speech, write_wav

RECIPE = """
name = "mine"
out = "run"
licence = "CC0-1.0"
data = [{folder = "voices"}]
model = {architecture = "xvector", channels = 16, dimension = 16, bins = 24}
held_out = {share = 0.4}
training = {epochs = 4, batch = 8, crop = 0.6}
augment = {speeds = []}
"""
IMITATION = """
name = "smaller"
out = "smaller"
data = [{folder = "recordings"}]
model = {architecture = "xvector", channels = 8, dimension = 8, bins = 24}
training = {epochs = 2, batch = 8, crop = 0.6}
augment = {speeds = [1.1]}
teacher = {piece = 2.0}
"""


def test_a_model_is_trained_and_used_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DIARIZE_MODELS", str(tmp_path / "models"))
    voices = folder_of_speakers(tmp_path / "voices", 5, 4)
    (voices / "speaker0" / "empty.wav").write_bytes(b"")
    config = tmp_path / "recipe.toml"
    config.write_text(RECIPE)
    assert main(["train", "--config", str(config)]) == 0
    out, err = capsys.readouterr()
    assert "20 clips of 5 speakers (2 held out)" in err
    assert "1 utterance skipped: cannot be read (1)" in err
    assert "diarize process RECORDING --embedder mine" in out

    card = (tmp_path / "models" / "mine" / "card.md").read_text()
    assert "- licence: CC0-1.0" in card and "largest difference" in card
    assert main(["train", "--config", str(config)]) == 2  # the name is not free
    assert "(--force)" in capsys.readouterr().err
    assert main(["train", "--config", str(config), "--force"]) == 0  # it is done, and goes to the store again
    capsys.readouterr()

    store = Store()
    embedder = embedder_onnx.load(store.path("mine"), store.registry["mine"].format)
    samples = speech(1, 0)
    rows = embedder(Audio("a", samples, 16_000, "0" * 64), [Segment(0, 1.5)])
    assert rows.vectors.shape == (1, 16)
    by_metadata = embedder_onnx.load(store.path("mine"))
    assert by_metadata.name == embedder.name  # the file says by itself what it takes

    # A smaller one imitates it, on recordings of nobody in particular.
    for speaker in range(4):
        write_wav(tmp_path / "recordings" / f"{speaker}.wav", speech(speaker, 9, 12.0))
    imitation = tmp_path / "imitation.toml"
    imitation.write_text(IMITATION)
    assert main(["train", "--config", str(imitation), "--teacher", "mine"]) == 0
    err = capsys.readouterr().err
    assert "24 clips of 1 speaker (0 held out)" in err
    assert "- teacher: mine" in (tmp_path / "models" / "smaller" / "card.md").read_text()
    assert len(list((tmp_path / "smaller").glob("targets-*.npy"))) == 2  # one a speed
    assert main(["train", "--config", str(imitation), "--force"]) == 4  # without a teacher, names are needed
    assert "training needs 2 or more" in capsys.readouterr().err

    one, two = write_wav(tmp_path / "1.wav", speech(1, 50, 4)), write_wav(tmp_path / "2.wav", speech(1, 51, 4))
    assert main(["verify", str(one), str(two), "--embedder", "mine", "--vad", "energy", "--offline"]) == 0
    assert "cosine" in capsys.readouterr().out


def test_a_misspelt_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "recipe.toml"
    config.write_text(RECIPE.replace("licence", "lisence"))
    assert main(["train", "--config", str(config)]) == 2
    assert "Did you mean 'licence'?" in capsys.readouterr().err
