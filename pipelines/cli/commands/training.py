"""`train`, `adapt`, `export-model`: speaker models of one's own (docs/training.md)."""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from diarize.models.store import Store
from diarize.text import counted
from diarize.training import recipe as recipes
from pipelines.cli import console
from pipelines.cli.commands import options

if TYPE_CHECKING:
    from diarize.training.data.clips import Clips
    from diarize.training.trainer import TrainingProgress
    from pipelines.training.train import TrainingReport

SHOWN = 10  # lines of each list
EVERY = 10.0  # s between two lines of progress


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The three commands."""
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

    adapt = commands.add_parser("adapt", help="measure how to compare voices of your recordings, without training")
    adapt.add_argument(
        "folder", type=Path, help="recordings like yours, one person each; with a folder a person, names are used"
    )
    adapt.add_argument("--save", required=True, type=Path, metavar="CAL", help="file for the calibration")
    adapt.add_argument("--trials", type=Path, metavar="FILE", help="measure and calibrate on these trials")
    adapt.add_argument("--audio", type=Path, metavar="FOLDER", help="folder with the recordings that --trials names")
    source = "recordings of other people, with a folder a person: measure PLDA of these, moved to yours (CORAL), too"
    adapt.add_argument("--source", type=Path, metavar="FOLDER", help=source)
    options.add(adapt, "vad", "embedder", "profile", "device")
    adapt.set_defaults(command=_adapt)

    export = commands.add_parser("export-model", help="export a model to ONNX, in a smaller form where you like")
    what = "name in the model store, .onnx file, or model.safetensors of a training"
    export.add_argument("model", metavar="MODEL", help=what)
    export.add_argument("--out", required=True, type=Path, metavar="FILE.onnx", help="file to write")
    forms = export.add_mutually_exclusive_group()
    forms.add_argument("--int8", action="store_true", help="convolutions in 8-bit integers; needs --calibration")
    forms.add_argument("--fp16", action="store_true", help="weights stored as 16-bit floats")
    calibration = "recordings to measure ranges on, and to compare with the original"
    export.add_argument("--calibration", type=Path, metavar="FOLDER", help=calibration)
    export.add_argument("--save-as", default="", metavar="NAME", help="also add it to the model store")
    export.add_argument("--force", action="store_true", help="replace a model of your own of that name")
    export.set_defaults(command=_export)


def _train(args: argparse.Namespace) -> int:
    from pipelines.training import train

    recipe = recipes.read(args.config, args.domain, args.teacher)
    report = train.train(recipe, Store(), _observer(), args.force)
    _print(report)
    return 0


def _adapt(args: argparse.Namespace) -> int:
    from pipelines.training.adapt import SAVED, adapt

    config = options.resolve(args).config
    report = adapt(args.folder, config, options.store(config), args.trials, args.audio, _show_progress, args.source)
    report.calibration.save(args.save)
    plain = report.rates["cosine"]
    rows = []
    for method, rate in report.rates.items():
        change = "" if method == "cosine" or not plain else f"{100 * (rate - plain) / plain:+.0f} %"
        note = "chosen" if method == report.chosen else "" if method in SAVED else "only measured"
        rows.append([method, f"{100 * rate:.2f} %", change, note])
    console.say(console.table(["method", "EER", "against cosine", ""], rows))
    for name, problem in report.problems.items():
        console.warn(f"left out: {name}: {problem}")
    people = f" of {counted(report.speakers, 'speaker')}" if report.speakers else ""
    console.say(f"{counted(report.recordings, 'recording')}{people}; measured on {report.measured_on}")
    if report.chosen == "cosine":
        console.say("no method is clearly better than cosine: vectors are compared as they are")
    console.say(f"calibration: {args.save}")
    return 3 if report.problems else 0


def _show_progress(name: str, done: int, total: int) -> None:
    if done % 100 == 0 or done == total:
        console.warn(f"{done} of {counted(total, 'recording')} read")


def _export(args: argparse.Namespace) -> int:
    from pipelines.training.export import export

    form: Literal["float", "int8", "fp16"] = "int8" if args.int8 else "fp16" if args.fp16 else "float"
    report = export(args.model, args.out, Store(), form, args.calibration, args.save_as, args.force)
    fidelity = report.fidelity
    rows = [
        ["size", f"{report.before / 1e6:.2f} MB -> {report.after / 1e6:.2f} MB"],
        ["ms for a second of audio, one thread, without features", f"{report.ms[0]:.2f} -> {report.ms[1]:.2f}"],
        ["the same, two threads", f"{report.ms_two[0]:.2f} -> {report.ms_two[1]:.2f}"],
        ["largest difference of a component, unit vectors", f"{fidelity.difference:.1e}"],
        ["cosine to the original, mean and lowest", f"{fidelity.cosine:.5f}, {fidelity.lowest:.5f}"],
        ["mean change of a similarity", f"{fidelity.drift:.5f}"],
        ["compared on", report.checked_on],
        ["to use it", f"--embedder {args.save_as or report.path}"],
    ]
    console.say(console.table([f"{args.model} as {report.form}", ""], rows))
    if not fidelity.is_good:
        console.warn(
            "its vectors are not near enough to the original's: measure errors before you use it (score-trials)"
        )
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

        def teaching(self, done: int, total: int) -> None:
            if self._is_due():
                console.warn(f"{done} of {total} pieces embedded by the teacher")

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
