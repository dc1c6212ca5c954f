"""`calibrate --fusion`, and `verify` with the score of another modality."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import run_pipeline
from diarize.errors import ConfigError
from diarize.guard import fusion
from pipelines.guard import fused
from tests.cheap import SETTINGS, write_tones

VOICES = [option for option in SETTINGS if not option.startswith(("--asr", "--segmentation"))]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rng = np.random.default_rng(4)
    lines = ["same,voice,face"]
    for i in range(400):
        same = i % 2
        face = "" if i % 10 == 3 else f"{rng.normal(0.3 + 0.4 * same, 0.15):.4f}"
        lines.append(f"{same},{rng.normal(4 * same - 2, 2):.4f},{face}")
    path = tmp_path / "scores.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_fusion_is_fitted_and_used(
    table: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = tmp_path / "fusion.json"
    assert run_pipeline.main(["calibrate", str(table), "--fusion", "--save", str(saved)]) == 0
    out = capfd.readouterr().out
    assert "voice + face" in out and "200 trials of one person, 200 of two" in out
    fitted = fusion.load(saved)
    assert fitted.fuse({"voice": 2.0, "face": 0.7}).value > fitted.fuse({"voice": 2.0}).value > 0

    # The voices of these tones have no calibration: only the face speaks.
    pair = [str(write_tones(tmp_path / f"{name}.wav", [(hz, 4.0)])) for name, hz in (("a", 300), ("b", 310))]
    command = ["verify", *pair, *VOICES, "--prior=0.5", "--fusion", str(saved)]
    assert run_pipeline.main([*command, "--with", "face=0.75", "--json"]) == 0
    record = json.loads(capfd.readouterr().out)["fusion"]
    assert record["used"] == ["face"] and record["missing"] == ["voice"] and record["is_same"] is True
    assert run_pipeline.main([*command, "--with", "face=0.2"]) == 0
    out = capfd.readouterr().out
    assert "face together:" in out and "missing: voice" in out and "decision of the fusion: different" in out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--with", "face=0.5"], "--fusion: is needed"),
        (["--fusion", "f.json"], "--with: is needed"),
        (["--fusion", "f.json", "--with", "face"], "write NAME=NUMBER"),
        (["--fusion", "f.json", "--with", "voice=1"], "write NAME=NUMBER"),
        (["--fusion", "f.json", "--with", "gait=1"], "no such modality"),
    ],
)
def test_wrong_options_are_refused(
    table: Path, tmp_path: Path, options: list[str], message: str, capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    fused.fit_file(table, Path("f.json"))
    pair = [str(write_tones(tmp_path / f"{name}.wav", [(300, 4.0)])) for name in "ab"]
    assert run_pipeline.main(["verify", *pair, *VOICES, *options]) == 2
    assert message in capfd.readouterr().err


def test_a_fusion_without_a_voice_is_refused(tmp_path: Path) -> None:
    fitted = fusion.fit({"face": [0.1, 0.9] * 50}, [False, True] * 50)
    with pytest.raises(ConfigError, match="no modality `voice`"):
        fused.fuse(None, {"face": 0.5}, fitted)  # type: ignore[arg-type] # refused before it is read


def test_scores_are_read() -> None:
    assert fused.parse_scores(["face=0.83", "gait="]) == {"face": 0.83, "gait": None}
    with pytest.raises(ConfigError, match="once for each"):
        fused.parse_scores(["face=0.83", "face=0.1"])


def test_calibrate_needs_audio_for_trials_of_recordings(table: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run_pipeline.main(["calibrate", str(table), "--save", str(table.with_suffix(".cal"))]) == 2
    assert "--audio: is needed" in capfd.readouterr().err
