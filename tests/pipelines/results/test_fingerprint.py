"""What decides a result changes its fingerprint, and the place of a file does not."""

from __future__ import annotations

import shutil
from pathlib import Path

from diarize.config import Config
from diarize.models.store import Store
from pipelines.plan import Choice, Plan
from pipelines.results import fingerprint


def common(folder: Path, model: object) -> str:
    pyannote = Choice("diarizer", "pyannote", {"model": str(model), "device": "auto", "offline": True})
    return fingerprint.hash_plan(Plan(Config(), None, None, None, pyannote, (), {}), Store(folder / "store"))


def test_fault_56_a_pipeline_that_changed_in_its_folder_counts(tmp_path: Path) -> None:
    own = tmp_path / "own"
    (own / "segmentation").mkdir(parents=True)
    (own / "config.yaml").write_text("pipeline: {}")
    (own / "segmentation" / "weights.bin").write_bytes(b"one")
    before = common(tmp_path, own)
    shutil.copytree(own, tmp_path / "elsewhere")
    assert common(tmp_path, tmp_path / "elsewhere") == before
    (own / "segmentation" / "weights.bin").write_bytes(b"two")
    assert common(tmp_path, own) != before
    ids = {common(tmp_path, id) for id in ("somebody/pipeline", "somebody/pipeline@main", "another/pipeline")}
    assert len(ids) == 3
