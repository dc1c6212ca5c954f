"""The loop: batches -> loss -> weights, with checkpoints, and the EER on held-out speakers after each epoch.

Every batch is a function of the seed, the epoch and the step, never of what was drawn before, and a checkpoint holds
weights, optimizer and position. So a run that was killed and resumed gives the same weights to the bit, on the CPU
with the same number of threads.
"""

from __future__ import annotations

import contextlib
import csv
import io
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from diarize import files
from diarize.errors import BackendError, ConfigError, FormatError
from diarize.training import checkpoints, filterbanks, held_out, losses
from diarize.training.architectures.building import build
from diarize.training.augmentation import Augmentation
from diarize.training.data.clips import Clips
from diarize.training.recipe import Recipe
from diarize.types import Samples
from diarize.units import RATE

CHECKPOINT, BEST = "checkpoint.safetensors", "best.safetensors"
LONGEST_STEP = 10.0  # largest norm of a gradient


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """After a step; `eer` after the last step of an epoch, NaN without held-out speakers."""

    epoch: int  # from 1
    epochs: int
    step: int
    steps: int
    loss: float  # mean of the epoch so far
    eta: float | None  # s until the end
    eer: float | None = None


@dataclass(slots=True)
class Position:
    """How far training is; part of a checkpoint."""

    epoch: int = 0
    step: int = 0
    loss: float = 0.0  # sum over the steps of this epoch
    best_epoch: int = -1
    best_eer: float = math.inf
    history: list[dict[str, float]] = field(default_factory=list)  # one a finished epoch


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """The network with the weights of its best epoch (the last one, without held-out speakers)."""

    network: Any
    epoch: int  # from 1; that of the weights
    history: tuple[dict[str, float], ...]
    speakers: tuple[str, ...]  # trained on
    held_out: tuple[str, ...]
    duplicates: tuple[tuple[str, str, float], ...]  # held_out.near_duplicates of the training speakers


OnProgress = Callable[[TrainingProgress], None]


class Trainer:
    """Trains the network of a recipe on clips; continues from the checkpoint in the recipe's folder."""

    def __init__(
        self,
        recipe: Recipe,
        clips: Clips,
        targets: NDArray[np.float32] | None = None,
        noises: Sequence[Samples] = (),
    ) -> None:
        """`targets` (speeds, clips, d): unit vectors of a teacher to imitate, in place of speakers' names; the speeds
        are 1 and those of the recipe.

        Raises FormatError where there are too few speakers, MissingExtra, BackendError for a GPU that is not there.
        """
        self.recipe, self.clips, self._targets = recipe, clips, targets
        config = recipe.training
        self.held_out = held_out.choose(clips, recipe.held_out.share, recipe.held_out.speakers, config.seed)
        self.speakers = tuple(name for name in clips.speakers if name not in set(self.held_out))
        self._train = np.array(clips.of_speakers(self.speakers))
        self._validate = clips.of_speakers(self.held_out)
        label = {name: i for i, name in enumerate(self.speakers)}
        self._labels = np.array([label.get(info.speaker, -1) for info in clips.infos])
        self._augmentation = Augmentation(recipe.augment, clips, self._train.tolist(), config.seed, noises)
        self._speeds = self._augmentation.speeds
        if config.device == "cuda" and not torch.cuda.is_available():
            raise BackendError('No GPU can be used by this torch. Set device = "cpu" in [training].')
        self._device = torch.device(config.device)
        self._make_networks()
        self._batches = len(self._batch_plan(0))
        if not self._batches:
            raise FormatError("data", "too few clips for one batch", "Set batch lower in [training], or add data.")

    @property
    def notes(self) -> tuple[str, ...]:
        """What the recipe asks for and this machine cannot do."""
        return tuple(f"codec {name}: this build of FFmpeg cannot encode it" for name in self._augmentation.left_out)

    def run(self, on_progress: OnProgress = lambda progress: None) -> Trained:
        """Train to the end. Raises OutputError for a full disk, ConfigError where the checkpoint is of another recipe,
        BackendError where the GPU has too little memory or the loss is no number any more."""
        with _deterministic(self.recipe.training.threads):
            position = self._restore()
            begun, done, saved = time.monotonic(), 0, time.monotonic()
            while not self._is_over(position):
                plan = self._batch_plan(position.epoch)
                while position.step < len(plan):
                    position.loss += self._step(plan[position.step], position)
                    position.step += 1
                    done += 1
                    remaining = (self.recipe.training.epochs - position.epoch) * len(plan) - position.step
                    eta = (time.monotonic() - begun) / done * remaining
                    if position.step < len(plan) and time.monotonic() - saved >= self.recipe.training.checkpoint:
                        self._save(position)
                        saved = time.monotonic()
                    on_progress(self._progress(position, len(plan), eta))
                self._finish_epoch(position, len(plan))
                saved = time.monotonic()
                last = position.history[-1]
                on_progress(
                    TrainingProgress(position.epoch, self.recipe.training.epochs, len(plan), len(plan),
                                     last["loss"], 0.0 if self._is_over(position) else eta, last["eer"])
                )  # fmt: skip
            return self._result(position)

    def _make_networks(self) -> None:
        model, loss, seed = self.recipe.model, self.recipe.loss, self.recipe.training.seed
        torch.manual_seed(seed)
        try:
            self.network = build(model.architecture, model.bins, model.channels, model.dimension, model.genotype)
        except ValueError as error:
            raise ConfigError("recipe", "model", str(error)) from error
        self.network = self.network.to(self._device)
        with torch.inference_mode():
            self.network.eval()
            probe = torch.zeros(1, 100, model.bins, device=self._device)
            self.dimension = int(self.network(probe).shape[1])
            self.network.train()
        classes = len(self.speakers) * len(self._speeds)
        if self._targets is not None:
            criterion: Any = losses.Imitation(self.dimension, self._targets.shape[-1], self.recipe.teacher.pairs)
        elif loss.kind == "aam":
            criterion = losses.AngularMargin(self.dimension, classes, loss.scale, loss.subcentres)
        elif loss.kind == "cross-entropy":
            criterion = losses.CrossEntropy(self.dimension, classes)
        else:
            triplet = loss.kind == "triplet"
            criterion = losses.SemiHardTriplet(loss.margin) if triplet else losses.GeneralisedEndToEnd()
        self.criterion = criterion.to(self._device)
        self._parameters = [*self.network.parameters(), *self.criterion.parameters()]
        config = self.recipe.optimizer
        if config.kind == "sgd":
            self.optimizer: Any = torch.optim.SGD(
                self._parameters, config.rate, momentum=0.9, nesterov=True, weight_decay=config.decay
            )
        else:
            self.optimizer = torch.optim.AdamW(self._parameters, config.rate, weight_decay=config.decay)

    def _batch_plan(self, epoch: int) -> list[list[tuple[int, int]]]:
        """Batches of (clip, position of its speed) of an epoch, each clip once, or groups of each speaker."""
        config = self.recipe.training
        rng = np.random.default_rng([config.seed, epoch, 1])
        if self._targets is not None or self.recipe.loss.kind in ("aam", "cross-entropy"):
            order = rng.permutation(self._train)
            speeds = rng.integers(len(self._speeds), size=len(order))
            items = list(zip(order.tolist(), speeds.tolist(), strict=True))
            batches = [items[i : i + config.batch] for i in range(0, len(items), config.batch)]
            return [batch for batch in batches if len(batch) >= min(config.batch, 8)]
        # Losses over pairs need several clips of each speaker in a batch, at one speed: another one is another voice.
        groups = []
        for speaker in rng.permutation(len(self.speakers)).tolist():
            own = rng.permutation(np.flatnonzero(self._labels == speaker))
            own = np.resize(own, -(-len(own) // config.utterances) * config.utterances)
            for first in range(0, len(own), config.utterances):
                speed = int(rng.integers(len(self._speeds)))
                groups.append([(int(clip), speed) for clip in own[first : first + config.utterances]])
        groups = [groups[i] for i in rng.permutation(len(groups))]
        size = max(2, config.batch // config.utterances)
        chunks = [groups[i : i + size] for i in range(0, len(groups), size)]
        return [[item for group in chunk for item in group] for chunk in chunks if len(chunk) >= 2]

    def _step(self, batch: Sequence[tuple[int, int]], position: Position) -> float:
        """One step of the optimizer; the loss."""
        config = self.recipe.training
        key = [config.seed, position.epoch, position.step]
        length = round(config.crop * RATE)
        sounds = [
            self._augmentation.crop(clip, length, self._speeds[speed], np.random.default_rng([*key, i, 2]))
            for i, (clip, speed) in enumerate(batch)
        ]
        banks = torch.from_numpy(filterbanks.compute(np.stack(sounds), self.recipe.model.bins)).to(self._device)
        clips, speeds = np.array(batch).T
        if self._targets is not None:
            truth = torch.from_numpy(self._targets[speeds, clips])
        else:
            truth = torch.from_numpy(self._labels[clips] + len(self.speakers) * speeds)
        self._set_rates(position)
        torch.manual_seed(int(np.random.default_rng([*key, 3]).integers(2**31)))  # of dropout
        mixed = config.precision == "bfloat16"
        try:
            with torch.autocast(self._device.type, torch.bfloat16, enabled=mixed):
                vectors = self.network(banks)
            loss = self.criterion(vectors.float(), truth.to(self._device))
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self._parameters, LONGEST_STEP)
            self.optimizer.step()
        except torch.OutOfMemoryError as error:
            cure = "Set batch or crop lower in [training]; training continues from its last checkpoint."
            raise BackendError(f"The GPU has too little memory for a batch of {len(batch)}. {cure}") from error
        value = float(loss.detach())
        if not math.isfinite(value):
            where = f"epoch {position.epoch + 1}, step {position.step + 1}"
            raise BackendError(f"The loss is no number any more ({where}). Set a lower rate in [optimizer].")
        return value

    def _set_rates(self, position: Position) -> None:
        """Learning rate and margin of a step: functions of the share of all steps that are done."""
        config, schedule, total = self.recipe.optimizer, self.recipe.training, self._batches
        done = (position.epoch * total + position.step) / (schedule.epochs * total)
        if done < config.warmup:
            rate = config.rate * (done + 1 / (schedule.epochs * total)) / (config.warmup + 1e-9)
            rate = min(rate, config.rate)
        else:
            rate = config.rate * (config.final_rate / config.rate) ** ((done - config.warmup) / (1 - config.warmup))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        if isinstance(self.criterion, losses.AngularMargin):
            first, last = self.recipe.loss.margin_epochs
            at = position.epoch + position.step / total
            share = 1.0 if at >= last else max(0.0, (at - first) / max(last - first, 1e-9))
            self.criterion.margin = self.recipe.loss.margin * share

    def _finish_epoch(self, position: Position, steps: int) -> None:
        eer = math.nan
        if self._validate:
            names = [self.clips.infos[i].speaker for i in self._validate]
            vectors = held_out.embed(self.network, self.clips, self._validate, self.recipe.model.bins)
            eer = held_out.measure(vectors, names)
        rate = float(self.optimizer.param_groups[0]["lr"])
        position.history.append(
            {"epoch": position.epoch + 1, "loss": position.loss / steps, "eer": eer, "rate": rate}
        )  # fmt: skip
        if not self._validate or eer < position.best_eer:
            position.best_epoch, position.best_eer = position.epoch, eer if self._validate else math.inf
            if self._validate:  # before the checkpoint, which says that it is there
                checkpoints.save(self.recipe.out / BEST, checkpoints.flatten("network", self.network), {})
        position.epoch, position.step, position.loss = position.epoch + 1, 0, 0.0
        self._save(position)
        files.write(self.recipe.out / "history.csv", history_csv(position.history))

    def _is_over(self, position: Position) -> bool:
        schedule = self.recipe.training
        waited = position.epoch - 1 - position.best_epoch
        stopped = bool(schedule.patience and self._validate and position.history and waited >= schedule.patience)
        return position.epoch >= schedule.epochs or stopped

    def _progress(self, position: Position, steps: int, eta: float) -> TrainingProgress:
        mean = position.loss / position.step
        return TrainingProgress(position.epoch + 1, self.recipe.training.epochs, position.step, steps, mean, eta)

    @property
    def _identity(self) -> dict[str, str]:
        return {"recipe": self.recipe.digest, "data": self.clips.digest}

    def _save(self, position: Position) -> None:
        tensors = {
            **checkpoints.flatten("network", self.network),
            **checkpoints.flatten("criterion", self.criterion),
            **checkpoints.flatten_optimizer(self.optimizer),
        }
        checkpoints.save(self.recipe.out / CHECKPOINT, tensors, {**self._identity, **asdict(position)})

    def _restore(self) -> Position:
        path = self.recipe.out / CHECKPOINT
        files.make_folder(self.recipe.out)
        if not path.exists():
            return Position()
        tensors, state = checkpoints.load(path)
        for key, value in self._identity.items():
            if state.pop(key, None) != value:
                problem = f"its checkpoint is of another {key}"
                raise ConfigError(str(self.recipe.out), "out", problem, "Choose another folder, or remove this one.")
        checkpoints.restore("network", self.network, tensors, path)
        checkpoints.restore("criterion", self.criterion, tensors, path)
        checkpoints.restore_optimizer(self.optimizer, tensors)
        return Position(**state)

    def _result(self, position: Position) -> Trained:
        if self._validate:
            tensors, _ = checkpoints.load(self.recipe.out / BEST)
            checkpoints.restore("network", self.network, tensors, self.recipe.out / BEST)
        self.network.eval()
        duplicates: list[tuple[str, str, float]] = []
        if self._targets is None:
            # Names whose clips the network cannot tell apart, of all speakers, the held-out ones too.
            everyone = range(len(self.clips.infos))
            vectors = held_out.embed(self.network, self.clips, everyone, self.recipe.model.bins)
            duplicates = held_out.near_duplicates(vectors, [info.speaker for info in self.clips.infos])
        return Trained(
            self.network, position.best_epoch + 1, tuple(position.history), self.speakers, self.held_out,
            tuple(duplicates),
        )  # fmt: skip


def history_csv(history: Sequence[dict[str, float]]) -> str:
    """A row an epoch: epoch, mean loss, EER, learning rate at its end."""
    sheet = io.StringIO()
    writer = csv.writer(sheet, lineterminator="\n")
    writer.writerow(("epoch", "loss", "eer", "rate"))
    writer.writerows((int(row["epoch"]), f"{row['loss']:.6f}", f"{row['eer']:.6f}", f"{row['rate']:.3e}")
                     for row in history)  # fmt: skip
    return sheet.getvalue()


def write_tensorboard(folder: Path, history: Sequence[dict[str, float]]) -> bool:
    """The history as TensorBoard reads it; False where the package is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ModuleNotFoundError:
        return False
    with SummaryWriter(str(folder)) as writer:
        for row in history:
            for name in ("loss", "eer", "rate"):
                if math.isfinite(row[name]):
                    writer.add_scalar(name, row[name], int(row["epoch"]))
    return True


@contextlib.contextmanager
def _deterministic(threads: int) -> Iterator[None]:
    """Torch computes the same each time, with so many threads; its settings are as before afterwards."""
    before = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.set_num_threads(before[1])
