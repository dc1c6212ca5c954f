"""A training from its recipe to a model in the store. A run that was killed continues where its checkpoint is."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from diarize import files
from diarize.audio.reading import Recording
from diarize.config import parse
from diarize.errors import FormatError, MissingExtra, ModelRefused
from diarize.models.registry import check_own_name
from diarize.models.store import Store
from diarize.stages import Embedder
from diarize.training.augmentation import change_speed
from diarize.training.data import clips as clips_of
from diarize.training.data import corpora
from diarize.training.data.clips import Clips
from diarize.training.recipe import Recipe
from diarize.types import Audio, Samples, Segment
from diarize.units import RATE
from diarize.version import __version__
from pipelines.batch.lock import Lock
from pipelines.people.utterance import load_embedder
from pipelines.processes import decoding

if TYPE_CHECKING:
    from diarize.training.trainer import Trained, TrainingProgress

TEACHERS = {"community-1": "community-1-embedding"}  # short name -> name in the store
WEIGHTS = "model.safetensors"


@dataclass(frozen=True, slots=True, eq=False)
class TrainingReport:
    """What came of a training."""

    name: str
    folder: Path  # of the model in the store
    clips: Clips
    trained: Trained
    difference: float  # between the ONNX model and torch
    bytes: int
    notes: tuple[str, ...]


class TrainingObserver:
    """What a command shows of a training."""

    def decoding(self, done: int) -> None:
        """So many utterances are decoded."""

    def teaching(self, done: int, total: int) -> None:
        """The teacher has embedded so many pieces; `total` counts those of all speeds."""

    def data(self, clips: Clips, held_out: int) -> None:
        """All are decoded; so many speakers are held out."""

    def step(self, progress: TrainingProgress) -> None:
        """After a step."""


def train(recipe: Recipe, store: Store, observer: TrainingObserver, replace: bool = False) -> TrainingReport:
    """Decode, train, export, and add the model to the store.

    Raises MissingExtra without torch; ConfigError and FormatError for data that cannot be used; OutputError for a full
    disk; ModelRefused where the name is not free (`replace`: but an own model's is).
    """
    try:
        from diarize.training import card, checkpoints, exporting, trainer
    except ModuleNotFoundError as error:
        raise MissingExtra("diarize train", "train") from error
    check_own_name(recipe.name)
    if recipe.name in store.registry and not replace:
        cure = "Choose another name, or replace it (--force)."
        raise ModelRefused(recipe.name, "the model store has a model of this name", cure)
    files.make_folder(recipe.out)
    with Lock(recipe.out):
        begun = time.monotonic()
        clips = read_clips(recipe, observer.decoding)
        where = ", ".join(str(source.path) for source in recipe.data)
        clips_of.check_speakers(clips, where, 1 if recipe.teacher.model is not None else 2)
        targets = None
        if recipe.teacher.model is not None:
            clips = clips.cut(recipe.teacher.piece)
            targets = _targets(recipe, clips, store, observer)
        loop = trainer.Trainer(recipe, clips, targets, _noises(recipe))
        observer.data(clips, len(loop.held_out))
        result = loop.run(observer.step)
        exported = exporting.export(result.network, recipe.model.bins)
        eer = next((row["eer"] for row in result.history if row["epoch"] == result.epoch), math.nan)
        description = f"{recipe.model.architecture}, trained on {clips.seconds / 3600:.2f} h of {len(clips.speakers)} "
        description += f"speakers with diarize {__version__}"
        facts = {
            "licence": recipe.licence,
            "architecture": recipe.model.model_dump_json(),
            "parameters": sum(p.numel() for p in result.network.parameters()),
            "input": f"{recipe.model.bins} Kaldi filter banks, 16 kHz, minus their mean",
            "sha256 of model.onnx": hashlib.sha256(exported.model).hexdigest(),
            "largest difference between torch and ONNX": f"{exported.difference:.1e}",
            "data": ", ".join(f"{source.kind} {source.path.name}" for source in recipe.data),
            "sha256 of the data (speakers and samples)": clips.digest,
            "clips": f"{len(clips.infos)}, {clips.seconds / 60:.1f} min, {len(clips.skipped)} skipped",
            "speakers": f"{len(result.speakers)} trained on, {len(result.held_out)} held out",
            "EER on held-out speakers": f"{100 * eer:.2f} %" if math.isfinite(eer) else "not measured",
            "teacher": recipe.teacher.model,
            "domain": recipe.domain,
            "recipe": recipe.model_dump_json(exclude={"out", "data"}),
            "seconds of this run": round(time.monotonic() - begun),
        }
        format = {"features": "kaldi-fbank", "num_mel_bins": recipe.model.bins}
        entry = card.entry_of(recipe.name, exported.model, format, recipe.licence, description)
        checkpoints.save(
            recipe.out / WEIGHTS,
            checkpoints.flatten("network", result.network),
            {"model": recipe.model.model_dump(mode="json"), "licence": recipe.licence, "dimension": loop.dimension},
        )
        contents = {
            card.MODEL: exported.model,
            "card.md": card.page(recipe.name, description, facts, result.history).encode(),
            WEIGHTS: (recipe.out / WEIGHTS).read_bytes(),
        }
        folder = store.add(entry, contents, replace)
        trainer.write_tensorboard(recipe.out / "tensorboard", result.history)
        return TrainingReport(recipe.name, folder, clips, result, exported.difference, len(exported.model), loop.notes)


def read_clips(recipe: Recipe, on_clip: clips_of.OnClip) -> Clips:
    """The recipe's clips. Those of a training that has begun are used again: its data stay as they were."""
    folder = recipe.out / "data"
    sources = json.dumps([[source.kind, str(source.path), source.table] for source in recipe.data])
    has_begun = (recipe.out / "checkpoint.safetensors").exists() and (folder / "sources.json").is_file()
    if has_begun and files.read_text(folder / "sources.json") == sources and (clips := clips_of.load(folder)):
        return clips
    skipped = corpora.Skipped()
    utterances = (
        utterance
        for source in recipe.data
        for utterance in corpora.read(source.kind, source.path, source.table, skipped, recipe.teacher.model is not None)
    )
    clips = clips_of.decode(utterances, skipped, folder, _read, on_clip)
    files.write(folder / "sources.json", sources)
    return clips


def _read(path: Path, id: str) -> Recording:
    return decoding.read(path, id=id)


def _noises(recipe: Recipe) -> tuple[Samples, ...]:
    """Recordings of noise that the recipe names. Raises ConfigError, FormatError."""
    folder = recipe.augment.noise_folder
    if folder is None or not recipe.augment.noise:
        return ()
    if not folder.is_dir():
        raise FormatError(str(folder), "is not a folder with recordings of noise")
    utterances = (
        corpora.LabelledUtterance(path.relative_to(folder).as_posix(), "noise", path)
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in corpora.SUFFIXES and path.is_file()
    )
    noises = clips_of.decode(utterances, corpora.Skipped(), recipe.out / "noise", _read)
    if not noises.infos:
        raise FormatError(str(folder), "holds no recording of noise that can be read")
    return tuple(noises.samples(i) for i in range(len(noises.infos)))


def _targets(recipe: Recipe, clips: Clips, store: Store, observer: TrainingObserver) -> NDArray[np.float32]:
    """Vectors of the teacher (speeds, clips, d), computed once for each speed, also over several runs."""
    name = str(recipe.teacher.model)
    settings = {"embedder": {"backend": TEACHERS.get(name, name)}, "vad": {"backend": "energy"}}
    embedder = load_embedder(parse(settings, "[teacher]"), store).embedder
    speeds = (1.0, *recipe.augment.speeds)
    rows = []
    for i, speed in enumerate(speeds):
        key = hashlib.sha256(f"{clips.digest}\n{embedder.name}\n{speed}".encode()).hexdigest()
        path = recipe.out / f"targets-{key[:16]}.npy"
        if path.is_file():
            with contextlib.suppress(OSError, ValueError):
                stored: NDArray[np.float32] = np.load(path, allow_pickle=False)
                if len(stored) == len(clips.infos):
                    rows.append(stored)
                    continue
        total = len(speeds) * len(clips.infos)
        vectors = teach(embedder, clips, speed, functools.partial(_count, observer, i * len(clips.infos), total))
        with files.replacing(path) as file:
            np.save(file, vectors, allow_pickle=False)
        rows.append(vectors)
    return np.stack(rows)


def _count(observer: TrainingObserver, before: int, total: int, done: int) -> None:
    observer.teaching(before + done, total)


def teach(
    embedder: Embedder, clips: Clips, speed: float = 1.0, on_clip: clips_of.OnClip = lambda done: None
) -> NDArray[np.float32]:
    """Unit vectors (clips, d) of an embedder for whole clips at a speed."""
    rows = []
    for index, info in enumerate(clips.infos):
        samples = clips.samples(index)
        if speed != 1:
            samples = change_speed(samples, speed)
        audio = Audio(info.id, samples, RATE, hashlib.sha256(samples.tobytes()).hexdigest())
        rows.append(embedder(audio, (Segment(0.0, len(samples) / RATE),)).vectors[0])
        on_clip(index + 1)
    return np.stack(rows)
