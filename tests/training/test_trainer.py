"""Training learns, and a run that is killed and resumed gives the same weights to the bit."""

from __future__ import annotations

import os
import pickle
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed; the extra train brings it")

from diarize.errors import BackendError, ConfigError, FormatError, ModelRefused, OutputError  # noqa: E402
from diarize.training import checkpoints, held_out, trainer  # noqa: E402
from diarize.training.data.clips import Clips  # noqa: E402
from diarize.training.recipe import Recipe, parse  # noqa: E402
from diarize.training.trainer import Trained, Trainer, TrainingProgress  # noqa: E402
from tests.training.voices import clips_from  # noqa: E402


class Killed(Exception):
    pass


def recipe(out: Path, **sections: Any) -> Recipe:
    values = {
        "name": "mine", "out": str(out), "data": [{"folder": "voices"}],
        "model": {"architecture": "xvector", "channels": 16, "dimension": 16, "bins": 24},
        "training": {"epochs": 3, "batch": 8, "crop": 0.6, "checkpoint": 1e-9},
        "held_out": {"share": 0.3}, "augment": {"noise": 0.5, "telephone": 0.3, "speeds": [1.1]},
    }  # fmt: skip
    for name, section in sections.items():
        values[name] = {**values.get(name, {}), **section}  # type: ignore[dict-item]
    return parse(values, "test")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Clips:
    return clips_from(tmp_path_factory.mktemp("clips"), 6, 6)


def weights(trained: Trained) -> bytes:
    return b"".join(value.numpy().tobytes() for value in trained.network.state_dict().values())


def test_two_speakers_are_learned_without_an_error(tmp_path: Path) -> None:
    clips = clips_from(tmp_path, 2, 6)
    sections = {
        "training": {"epochs": 40, "checkpoint": 60, "batch": 6}, "held_out": {"share": 0.0},
        "loss": {"kind": "cross-entropy"},
        "augment": {"noise": 0, "telephone": 0, "speeds": []}, "optimizer": {"rate": 5e-3, "final_rate": 1e-3},
    }  # fmt: skip
    loop = Trainer(recipe(tmp_path / "run", **sections), clips)
    trained = loop.run()
    losses = [row["loss"] for row in trained.history]
    assert losses[-1] < 0.1 * losses[0]
    speakers = [info.speaker for info in clips.infos]
    vectors = held_out.embed(trained.network, clips, range(len(clips.infos)), 24)
    assert held_out.measure(vectors, speakers) == 0.0
    rows = (tmp_path / "run" / "history.csv").read_text().splitlines()
    assert rows[0] == "epoch,loss,eer,rate" and len(rows) == 41


@pytest.mark.parametrize("loss", ["aam", "triplet", "ge2e"])
def test_each_loss_falls(tmp_path: Path, clips: Clips, loss: str) -> None:
    sections = {
        "loss": {"kind": loss, "margin_epochs": (0, 1)}, "training": {"epochs": 10, "checkpoint": 60, "batch": 12},
        "augment": {"noise": 0, "telephone": 0, "speeds": []}, "optimizer": {"rate": 3e-3},
    }  # fmt: skip
    history = Trainer(recipe(tmp_path / loss, **sections), clips).run().history
    assert min(row["loss"] for row in history[-3:]) < history[1 if loss == "aam" else 0]["loss"]


def test_a_run_that_stops_at_twenty_moments_gives_the_same_weights(tmp_path: Path, clips: Clips) -> None:
    whole = Trainer(recipe(tmp_path / "whole", training={"checkpoint": 60.0, "epochs": 14}), clips).run()
    moments = random.Random(0)
    stopped = 0
    while stopped < 20:  # each time by an exception somewhere in its next steps; what is not saved is lost
        left = moments.randrange(4)

        def stop(progress: TrainingProgress) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise Killed

        try:
            # A checkpoint now and then: after a stop, some steps are done again.
            interval = moments.choice([1e-9, 60.0])
            Trainer(recipe(tmp_path / "parts", training={"checkpoint": interval, "epochs": 14}), clips).run(stop)
        except Killed:
            stopped += 1
        else:
            break
    parts = Trainer(recipe(tmp_path / "parts", training={"epochs": 14}), clips).run()
    assert stopped == 20
    assert weights(parts) == weights(whole) and parts.history == whole.history


RUN = """
import sys
from pathlib import Path
from diarize.training.data import clips
from diarize.training.trainer import Trainer
from tests.training.test_trainer import recipe
Trainer(recipe(Path(sys.argv[1])), clips.load(Path(sys.argv[2]))).run(lambda p: print(p.epoch, p.step, flush=True))
"""


def test_fault_45_kill_9_while_training(tmp_path: Path, clips: Clips) -> None:
    whole = Trainer(recipe(tmp_path / "whole"), clips).run()
    command = [sys.executable, "-c", RUN, str(tmp_path / "killed"), str(clips.path.parent)]
    moments = random.Random(3)
    for _ in range(2):
        process = subprocess.Popen(
            command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": "."}
        )
        assert process.stdout is not None and process.stdout.readline()  # its first step is done
        time.sleep(moments.uniform(0.0, 0.1))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    resumed = Trainer(recipe(tmp_path / "killed"), clips).run()
    assert weights(resumed) == weights(whole)


def test_early_stop(tmp_path: Path, clips: Clips, monkeypatch: pytest.MonkeyPatch) -> None:
    rates = iter([0.3, 0.2, 0.25, 0.26, 0.1])
    monkeypatch.setattr(held_out, "measure", lambda *args: next(rates))
    trained = Trainer(recipe(tmp_path / "run", training={"epochs": 9, "patience": 2, "checkpoint": 60}), clips).run()
    assert len(trained.history) == 4 and trained.epoch == 2


def test_fault_48_disk_full_at_a_checkpoint(tmp_path: Path, clips: Clips, monkeypatch: pytest.MonkeyPatch) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    settings = recipe(tmp_path / "run")
    whole = Trainer(recipe(tmp_path / "whole"), clips).run()

    def fill_disk(progress: TrainingProgress) -> None:
        if progress.epoch == 2:
            opened = lambda path: Path("/dev/full").open("wb", buffering=0)  # noqa: E731, SIM115
            monkeypatch.setattr("diarize.files._create", opened)

    with pytest.raises(OutputError, match="disk is full"):
        Trainer(settings, clips).run(fill_disk)
    monkeypatch.undo()
    assert weights(Trainer(settings, clips).run()) == weights(whole)


def test_a_checkpoint_that_is_none_is_refused(tmp_path: Path, clips: Clips) -> None:
    settings = recipe(tmp_path / "run", training={"epochs": 1})
    Trainer(settings, clips).run()
    path = settings.out / trainer.CHECKPOINT
    with pytest.raises(ConfigError, match="its checkpoint is of another recipe"):
        Trainer(recipe(tmp_path / "run", training={"epochs": 2}), clips).run()

    class Attack:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "ran"),)

    whole = path.read_bytes()
    for content in (b"", whole[:-10], whole[:100], pickle.dumps(Attack()), b"\xff" * 64):
        path.write_bytes(content)
        with pytest.raises(ModelRefused, match="no checkpoint"):
            Trainer(settings, clips).run()
    assert not (tmp_path / "ran").exists()
    checkpoints.save(path, {"network.x": torch.zeros(1)}, checkpoints_identity(settings, clips))
    with pytest.raises(ModelRefused, match="of another network"):
        Trainer(settings, clips).run()


def checkpoints_identity(settings: Recipe, clips: Clips) -> dict[str, str]:
    return {"recipe": settings.digest, "data": clips.digest}


def test_a_gpu_that_is_not_there_and_one_that_is_too_small(
    tmp_path: Path, clips: Clips, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not torch.cuda.is_available():
        with pytest.raises(BackendError, match="No GPU"):
            Trainer(recipe(tmp_path / "run", training={"device": "cuda"}), clips)
    loop = Trainer(recipe(tmp_path / "run"), clips)

    def run_out(x: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(loop.network, "forward", run_out)
    with pytest.raises(BackendError, match=r"too little memory for a batch of 8\. Set batch or crop lower"):
        loop.run()
    loop = Trainer(recipe(tmp_path / "nan", optimizer={"rate": 1e30, "warmup": 0}), clips)
    with pytest.raises(BackendError, match="no number any more"):
        loop.run()


def test_too_few_clips(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="too few clips for one batch"):
        Trainer(recipe(tmp_path / "run", held_out={"share": 0}), clips_from(tmp_path, 2, 1))


def test_a_teacher_is_imitated(tmp_path: Path, clips: Clips) -> None:
    voices = np.random.default_rng(0).standard_normal((6, 12))[clips_speakers(clips)]
    voices /= np.linalg.norm(voices, axis=1, keepdims=True)
    targets = np.stack([voices, voices[:, ::-1]]).astype(np.float32)  # of the voices at both speeds of the recipe
    sections = {"training": {"epochs": 24, "checkpoint": 60}, "augment": {"noise": 0, "telephone": 0}}
    sections["optimizer"] = {"rate": 3e-3}  # type: ignore[dict-item]
    history = Trainer(recipe(tmp_path / "run", **sections), clips, targets).run().history
    assert history[-1]["loss"] < 0.7 * history[0]["loss"]


def clips_speakers(clips: Clips) -> list[int]:
    return [clips.speakers.index(info.speaker) for info in clips.infos]


def test_one_person_under_two_names_is_listed() -> None:
    rng = np.random.default_rng(0)
    people = rng.standard_normal((12, 24))
    rows, names = [], []
    for i in range(12):
        for _ in range(6):
            rows.append(people[0 if i == 7 else i] + 0.4 * rng.standard_normal(24))
            names.append(f"name{i}")
    vectors = np.stack(rows)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    pairs = held_out.near_duplicates(vectors.astype(np.float32), names)
    assert ("name0", "name7") in [pair[:2] for pair in pairs] or not pairs
    assert {pair[:2] for pair in pairs} <= {("name0", "name7")}
