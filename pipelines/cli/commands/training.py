"""`train`: a speaker model of one's own (docs/training.md)."""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING

from diarize.models.store import Store
from diarize.text import counted
from diarize.training import recipe as recipes
from pipelines.cli import console

if TYPE_CHECKING:
    from diarize.training.data.clips import Clips
    from diarize.training.trainer import TrainingProgress
    from pipelines.training.train import TrainingReport

SHOWN = 10  # lines of each list
EVERY = 10.0  # s between two lines of progress


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command."""
    train = commands.add_parser("train", help="train a speaker model on your own recordings")
    train.add_argument(
        "--config", required=True, type=Path, metavar="FILE.toml", help="what to train, on what, and how"
    )
    domain = "train for telephone lines, distant microphones, or noise: preset of [augment]"
    train.add_argument("--domain", choices=tuple(recipes.DOMAINS), help=domain)
    teacher = "imitate this embedder, as community-1: recordings without names of speakers suffice"
    train.add_argument("--teacher", metavar="NAME", help=teacher)
    train.add_argument("--force", action="store_true", help="replace the model of the same name in the store")
    train.set_defaults(command=_train)


def _train(args: argparse.Namespace) -> int:
    from pipelines.training import train

    recipe = recipes.read(args.config, args.domain, args.teacher)
    report = train.train(recipe, Store(), _observer(), args.force)
    _print(report)
    return 0


def _observer() -> train.TrainingObserver:  # type: ignore[name-defined] # noqa: F821 - imported when a training begins
    from pipelines.training.train import TrainingObserver

    class Printed(TrainingObserver):
        def __init__(self) -> None:
            self._printed = time.monotonic()

        def _is_due(self) -> bool:
            due = time.monotonic() - self._printed >= EVERY
            if due:
                self._printed = time.monotonic()
            return due

        def decoding(self, done: int) -> None:
            if self._is_due():
                console.warn(f"{counted(done, 'utterance')} decoded")

        def data(self, clips: Clips, held_out: int) -> None:
            print_data(clips, held_out)

        def step(self, progress: TrainingProgress) -> None:
            if progress.eer is not None or self._is_due():
                console.warn(progress_line(progress))

    return Printed()


def print_data(clips: Clips, held_out: int) -> None:
    """What is trained on, and what was skipped."""
    speakers = f"{counted(len(clips.speakers), 'speaker')} ({held_out} held out)"
    console.warn(f"{counted(len(clips.infos), 'clip')} of {speakers}, {clips.seconds / 60:.1f} min")
    if clips.skipped:
        reasons = ", ".join(f"{reason} ({count})" for reason, count in clips.reasons().most_common())
        console.warn(f"{counted(len(clips.skipped), 'utterance')} skipped: {reasons}")
        for name, reason in clips.skipped[:SHOWN]:
            console.warn(f"  {name}: {reason}")
        if len(clips.skipped) > SHOWN:
            console.warn(f"  ... all of them: {clips.path.with_name('clips.json')}")
    for id, speaker, other_id, other in clips.repeated()[:SHOWN]:
        console.warn(f"the same sound under two names: {speaker} ({id}), {other} ({other_id})")


def progress_line(progress: TrainingProgress) -> str:
    at = f"epoch {progress.epoch} of {progress.epochs}"
    step = "" if progress.eer is not None else f", step {progress.step} of {progress.steps}"
    eer = "" if progress.eer is None or math.isnan(progress.eer) else f", EER {100 * progress.eer:.2f} % (held out)"
    eta = "" if progress.eta is None else f", {console.clock(progress.eta)} left"
    return f"{at}{step}, loss {progress.loss:.3f}{eer}{eta}"


def _print(report: TrainingReport) -> None:
    trained = report.trained
    for a, b, cosine in trained.duplicates[:SHOWN]:
        console.warn(f"perhaps one person under two names: {a}, {b} (similarity {cosine:.2f})")
    for note in report.notes:
        console.warn(f"note: {note}")
    row = next((row for row in trained.history if row["epoch"] == trained.epoch), None)
    eer = "not measured" if row is None or math.isnan(row["eer"]) else f"{100 * row['eer']:.2f} %"
    rows = [
        ["model", f"{report.name}, {report.bytes / 1e6:.1f} MB"],
        ["weights", f"of epoch {trained.epoch} of {len(trained.history)}"],
        ["EER on held-out speakers", eer],
        ["ONNX against torch", f"largest difference {report.difference:.1e}"],
        ["card", str(report.folder / "card.md")],
        ["to use it", f"diarize process RECORDING --embedder {report.name}"],
    ]
    console.say(console.table(["", ""], rows))
