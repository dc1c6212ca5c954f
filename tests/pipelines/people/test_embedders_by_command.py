"""`enroll`, `verify`, `identify`, `compare`, `score-trials` and `process` with each kind of embedder, by command."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from run_pipeline import main
from tests.backends.test_embedder_onnx import write_autospeech, write_model
from tests.shared import SHARED
from tests.training.voices import speech, write_wav

TINY = ("x", "embedding"), {"framework": "3d-speaker", "feature_normalize_type": "global-mean"}


@dataclass(frozen=True)
class Kind:
    """An embedder, and how its registry entry compares: the metric, and the threshold (None: it has none)."""

    make: Callable[[Path, Path], str]  # (folder, model store) -> what --embedder takes
    metric: str = "cosine"
    threshold: float | None = None
    in_libraries: bool = True
    with_workers: bool = True  # identify and process, whose workers load it anew


def _onnx(folder: Path, store: Path) -> str:
    return str(write_model(folder / "tiny.onnx", *TINY))


def _x_vectors(folder: Path, store: Path) -> str:
    pytest.importorskip("transformers", reason="transformers is not installed; the extra of this name brings it")
    from tests.backends.embedders.test_x_vectors import save

    return str(save(folder / "tiny-sat"))


def _autospeech(folder: Path, store: Path) -> str:
    write_autospeech(folder / "autospeech")
    assert main(["models", "import", str(folder)]) == 0
    return "autospeech"


def _speechidentity(folder: Path, store: Path) -> str:
    weights = SHARED / "models" / "speechidentity"
    if not weights.is_dir():
        pytest.skip(f"needs the weights of SpeechIdentity in {weights}")
    assert main(["models", "import", str(weights)]) == 0
    return "speechidentity"


KINDS = {
    "onnx": Kind(_onnx),
    "transformers": Kind(_x_vectors, with_workers=False),  # each worker would import torch
    "autospeech": Kind(_autospeech, "cosine", 0.26),
    "speechidentity": Kind(_speechidentity, "euclidean", 0.83, in_libraries=False),
}


@pytest.mark.parametrize("name", KINDS)
def test_every_command_takes_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kind = KINDS[name]
    monkeypatch.setenv("DIARIZE_MODELS", str(tmp_path / "models"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    folder = tmp_path / "voices"
    one, two, other = (
        write_wav(folder / f"{label}.wav", speech(speaker, utterance, 6.0))
        for label, speaker, utterance in (("one", 1, 0), ("two", 1, 1), ("other", 2, 0))
    )
    options = ["--embedder", kind.make(tmp_path, tmp_path / "models"), "--vad", "energy", "--offline"]
    capsys.readouterr()

    def run(*arguments: str, status: int = 0) -> str:
        """The output of a command; its messages where it fails."""
        assert main([*arguments, *options]) == status, (arguments, capsys.readouterr().err)
        out, err = capsys.readouterr()
        return out if status == 0 else err

    # Comparisons: the metric and the threshold of the entry decide.
    result = json.loads(run("verify", str(one), str(other), "--json"))
    assert result["scoring"] == kind.metric and result["is_distance"] == (kind.metric == "euclidean")
    assert result["score_threshold"] == kind.threshold and result["llr"] is None
    if kind.threshold is None:
        assert result["decision"] == "undecided"
    else:
        same = result["score"] <= kind.threshold if result["is_distance"] else result["score"] >= kind.threshold
        assert result["decision"] == ("same" if same else "different")
    expected = 2 - 2 * result["cosine"]
    assert result["score"] == pytest.approx(expected**0.5 if result["is_distance"] else result["cosine"], abs=1e-4)
    run("compare", str(folder), "--out", "compared")
    pairs = json.loads(Path("compared", "comparison.json").read_text())["pairs"]
    assert len(pairs) == 3 and {pair["scoring"] for pair in pairs} == {kind.metric}
    assert result["score"] in [pytest.approx(pair["score"], abs=1e-4) for pair in pairs]
    trials = tmp_path / "trials.txt"
    trials.write_text("1 one two\n0 one other\n0 two other\n")
    run("score-trials", str(trials), "--audio", str(folder), "--out", "scored")
    summary = json.loads(Path("scored", "summary.json").read_text())
    assert summary["scoring"] == kind.metric and summary["trials"] == {"same": 1, "different": 2}

    # Libraries, and who speaks in a recording.
    library = ["--library", str(tmp_path / "people.db")]
    if kind.in_libraries:
        assert "Anna" in run("enroll", "Anna", str(one), *library)
        claim = json.loads(run("verify", "--claim", "Anna", str(two), *library, "--json"))
        assert not claim["model"].endswith("+whole")  # the voice of the speech in it
        if not kind.with_workers:
            return
        speakers = json.loads(run("identify", str(two), *library, "--json"))["recordings"][0]["speakers"]
        assert speakers and all(speaker["name"] is None for speaker in speakers)  # no calibration: nobody is named
        run("process", str(two), "--out", str(tmp_path / "out"), "--asr", "none", *library)
    else:
        message = run("enroll", "Anna", str(one), *library, status=2)
        assert "48000 Hz by their euclidean distance" in message and "verify, compare and score-trials" in message
        run("process", str(two), "--out", str(tmp_path / "out"), "--asr", "none")
    transcript = json.loads(next((tmp_path / "out").rglob("transcript.json")).read_text())
    assert transcript["turns"]
