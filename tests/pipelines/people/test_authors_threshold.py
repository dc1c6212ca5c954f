"""The metric, the threshold and the preparation of a model decide where no calibration does."""

from __future__ import annotations

import csv
import io
import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from diarize.config import Config
from diarize.errors import ConfigError, UnknownBackend
from diarize.library.scoring import scores
from diarize.library.store import open as open_library
from diarize.models.registry import COSINE_ONLY, REGISTRY, ModelScoring
from diarize.models.store import Store
from pipelines import plan
from pipelines.people import compare, enroll, trials, utterance, verify
from pipelines.people.enroll import EnrolmentRequest
from pipelines.people.scoring import Scoring
from pipelines.people.utterance import UtteranceEmbedding
from pipelines.people.verify import Verifier
from run_pipeline import main
from tests.backends.test_embedder_onnx import write_autospeech
from tests.cheap import write_tones
from tests.shared import SHARED, needs_shared

FOLDER = SHARED / "models" / "speechidentity"


def config(embedder: str) -> Config:
    return Config.model_validate(
        {"vad": {"backend": "energy"}, "embedder": {"backend": embedder}, "run": {"offline": True}}
    )


def voice(*vector: float) -> UtteranceEmbedding:
    row = np.array(vector, np.float32)
    return UtteranceEmbedding("a.wav", "", row / np.linalg.norm(row), "m", 3.0, 8000.0)


def test_the_distance_and_its_threshold_decide() -> None:
    authors = ModelScoring("euclidean", 0.83, "of its authors")
    verifier = Verifier(scores.Euclidean(), None, 0.5, authors)
    near, far = verifier.verify(voice(1, 0), voice(1, 0.5)), verifier.verify(voice(1, 0), voice(0, 1))
    assert (near.decision, far.decision) == ("same", "different")
    assert far.score == pytest.approx(np.sqrt(2), abs=1e-6) and near.score < 0.83  # a distance, without a sign
    assert near.is_distance and near.score_threshold == 0.83 and near.llr is None
    assert near.reason == "by the threshold 0.83 of its authors" and near.similarity > far.similarity


def test_a_cosine_at_the_threshold_is_the_same_person() -> None:
    verifier = Verifier(scores.Cosine(), None, 0.5, ModelScoring("cosine", 1.0, "of a test"))
    assert verifier.verify(voice(1, 0), voice(1, 0)).decision == "same"
    assert verifier.verify(voice(1, 0), voice(1, 0.1)).decision == "different"
    other = Verifier(scores.SNorm(np.eye(2, dtype=np.float32)), None, 0.5, ModelScoring("cosine", 1.0, "of a test"))
    assert other.verify(voice(1, 0), voice(1, 0)).decision == "undecided"  # scores of another kind
    assert Verifier(scores.Cosine(), None, 0.5, COSINE_ONLY).verify(voice(1, 0), voice(1, 0)).decision == "undecided"


@pytest.fixture
def autospeech(tmp_path: Path) -> Store:
    """A store with a tiny model of AutoSpeech's signature, imported from a folder of that name."""
    write_autospeech(tmp_path / "autospeech")
    store = Store(tmp_path / "store", offline=True)
    assert [result.model for result in store.import_folder(tmp_path)] == ["autospeech"]
    assert set(store.pins("autospeech")) == {"proposed_veri.onnx", "mean.npy", "std.npy"}
    return store


def test_autospeech_by_name(
    tmp_path: Path, autospeech: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [write_tones(tmp_path / f"{name}.wav", [(hertz, 2)]) for name, hertz in (("a", 300), ("b", 320))]
    found = verify.verify(files[0], files[1], config("autospeech"), autospeech, Scoring())
    assert found.model.endswith("+whole") and found.score_threshold == 0.26
    assert found.score == found.cosine and found.decision == ("same" if found.cosine >= 0.26 else "different")
    monkeypatch.setenv("DIARIZE_MODELS", str(autospeech.folder))
    monkeypatch.setenv("COLUMNS", "120")
    arguments = ["verify", *map(str, files), "--embedder", "autospeech", "--vad", "energy", "--offline"]
    assert main(arguments) == 0
    text = " ".join(capsys.readouterr().out.split())
    match = "match" if found.decision == "same" else "unmatch"
    assert f"similar: {found.score:.4f} verification: {match} (threshold: 0.260)" in text
    assert main([*arguments, "--prepare", "sox-app", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["model"].endswith("+sox-app")


def test_preparations_do_not_meet(tmp_path: Path, autospeech: Store) -> None:
    file = write_tones(tmp_path / "a.wav", [(0, 1), (300, 2), (0, 1)])
    names = [None, "whole", "speech", "sox-app"]
    embedders = [utterance.load_embedder(config("autospeech"), autospeech, name) for name in names]
    models = [embedder.embed_file(file).model for embedder in embedders]
    assert models[0] == models[1] and len(set(models)) == 3
    with pytest.raises(ConfigError, match="is none of speech, whole, sox-app"):
        utterance.load_embedder(config("autospeech"), autospeech, "best")


def test_names_of_embedders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "store", offline=True)
    monkeypatch.chdir(tmp_path)
    write_autospeech(tmp_path)
    with pytest.raises(UnknownBackend, match="Did you mean 'wavlm-base-plus-sv'") as caught:
        plan.make(config("wavlm-base-plus-vs"), store)
    assert all(name in str(caught.value) for name in ("speechidentity", "FILE.onnx", "OWNER/NAME", "module:factory"))
    with pytest.raises(ConfigError, match=r"proposed_very\.onnx is not a file\. There: proposed_veri\.onnx"):
        plan.make(config("proposed_very.onnx"), store)
    assert plan._is_on_hub(REGISTRY["unispeech-sat-base-plus-sv"], "microsoft/unispeech-sat-base-plus-sv")
    assert not plan._is_on_hub(REGISTRY["unispeech-sat-base-plus-sv"], "microsoft/unispeech-sat-base-plus")


@needs_shared
def test_speechidentity_on_its_three_samples(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "store", offline=True)
    assert [result.model for result in store.import_folder(FOLDER)] == ["speechidentity"]
    found = compare.compare([FOLDER], config("speechidentity"), store, Scoring())
    rows = list(csv.DictReader(io.StringIO(found.as_csv())))
    assert [(f"{float(row['score']):.4f}", row["decision"]) for row in rows] == [
        ("0.7631", "same"), ("1.1691", "different"), ("1.3038", "different"),
    ]  # fmt: skip
    assert found.matrix()[1] == "distance (euclidean)" and not any(pair.notes for pair in found.pairs)
    with pytest.raises(ConfigError, match=r"euclidean distance.*Leave the option out"):
        compare.compare([FOLDER], config("speechidentity"), store, Scoring(method="cosine"))
    with pytest.raises(ConfigError, match="it gives 16000 Hz"):
        compare.compare([FOLDER], config("speechidentity"), store, Scoring(prepare="sox-app"))


@needs_shared
def test_speechidentity_says_what_is_not_true_48_khz(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", offline=True)
    store.import_folder(FOLDER)
    files = [write_tones(tmp_path / f"{i}.wav", [(300 + 20 * i, 1.5)]) for i in range(4)]
    found = verify.verify(files[0], files[1], config("speechidentity"), store, Scoring())
    assert "recorded at 16000 Hz" in found.notes[0] and "needs 48000 Hz" in found.notes[0]

    # Trials, and a calibration of distances: higher LLRs for smaller distances.
    lines = [f"{int(a // 2 == b // 2)} {a} {b}" for a, b in combinations(range(4), 2)]
    (tmp_path / "t.txt").write_text("\n".join(lines))
    scored = trials.score_trials(tmp_path / "t.txt", tmp_path, config("speechidentity"), store)
    assert scored.scorer.kind == "euclidean" and (scored.scores <= 0).all()

    # A library's voices are those of the main job, at 16 kHz and compared by their cosine: this model is refused there.
    with open_library(tmp_path / "library.db", create=True) as library:
        request = EnrolmentRequest("Anna")
        for refused in (
            lambda: enroll.enroll(library, request, files[:1], config("speechidentity"), store),
            lambda: plan.make(config("speechidentity"), store, recognize=False, library=library),
        ):
            with pytest.raises(ConfigError, match=r"48000 Hz by their euclidean distance.*at 16000 Hz.*score-trials"):
                refused()
    # Speakers of one recording are told apart with it, and a note says that it gets less than it needs.
    alone = plan.make(config("speechidentity"), store, recognize=False)
    assert alone.embed is not None and any("needs sound of 48000 Hz" in note for note in alone.embed.load(1).notes)
