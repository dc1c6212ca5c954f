"""`diarize adapt`: methods are measured on recordings, and a calibration is written that `verify` takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from diarize.library.scoring import adaptation
from diarize.models.store import Store
from run_pipeline import main
from tests.training.voices import folder_of_speakers, speech, write_wav


def test_a_folder_is_measured_with_a_source(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DIARIZE_MODELS", str(store.path("ge2e").parents[1]))
    calls = folder_of_speakers(tmp_path / "calls", 8, 3)
    for speaker in range(8, 12):
        for utterance in range(3):
            write_wav(tmp_path / "source" / f"person{speaker}" / f"{utterance}.wav", speech(speaker, utterance))
    (tmp_path / "source" / "person8" / "empty.wav").write_bytes(b"")
    common = ["--save", str(tmp_path / "calls.cal"), "--embedder", "ge2e", "--vad", "energy", "--offline"]
    assert main(["adapt", str(calls), "--source", str(tmp_path / "source"), *common]) == 3  # one is left out
    out, err = capsys.readouterr()
    assert "24 recordings of 8 speakers" in out and "left out: source/person8/empty.wav" in err
    for method in (*adaptation.METHODS, *adaptation.WITH_SOURCE):
        assert method in out
    pair = [str(calls / "speaker0" / "0.wav"), str(calls / "speaker0" / "1.wav")]
    command = ["verify", *pair, "--embedder", "ge2e", "--vad", "energy", "--calibration", str(tmp_path / "calls.cal")]
    assert main([*command, "--offline"]) == 0
    capsys.readouterr()

    write_wav(tmp_path / "source" / "whose.wav", speech(9, 9))
    assert main(["adapt", str(calls), "--source", str(tmp_path / "source"), *common]) == 2
    assert "--source" in capsys.readouterr().err
