"""What to train, on what, and how: a TOML file as frozen sections, with defaults and presets for domains.

The defaults are those of WeSpeaker's recipes (arXiv:2210.17016), scaled down to what a CPU trains in minutes.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from diarize import files
from diarize.config import Section
from diarize.errors import ConfigError, FormatError, ModelRefused
from diarize.models.registry import check_own_name

Architecture = Literal["xvector", "ecapa", "resnet34", "redimnet", "autospeech", "speechidentity"]
Domain = Literal["telephone", "far-field", "noisy"]

# What `domain` sets in [augment] where the file does not: multi-condition training for one kind of recordings.
DOMAINS: dict[str, dict[str, Any]] = {
    "telephone": {"telephone": 0.6, "noise": 0.2, "noise_snr": (10.0, 25.0)},
    "far-field": {"reverberation": 0.6, "noise": 0.4, "noise_snr": (5.0, 20.0)},
    "noisy": {"noise": 0.7, "noise_snr": (0.0, 15.0), "reverberation": 0.2},
}


class SourceConfig(Section):
    """One source of utterances: exactly one of the four kinds."""

    folder: Path | None = Field(None, description="folder of speakers: speaker/utterance.wav, deeper folders too")
    manifest: Path | None = Field(None, description="CSV or Parquet with the columns path and speaker")
    cuts: Path | None = Field(None, description="lhotse cuts, JSON lines, also .gz")
    common_voice: Path | None = Field(None, description="Common Voice archive, .tar or .tar.gz, read as it is")
    table: str = Field("validated.tsv", description="table of a Common Voice archive that lists its utterances")

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if sum(kind is not None for kind in (self.folder, self.manifest, self.cuts, self.common_voice)) != 1:
            raise ValueError("a source is exactly one of folder, manifest, cuts and common_voice")
        return self

    @property
    def path(self) -> Path:
        path: Path = getattr(self, self.kind)
        return path

    @property
    def kind(self) -> str:
        return next(k for k in ("folder", "manifest", "cuts", "common_voice") if getattr(self, k) is not None)


class ModelConfig(Section):
    architecture: Architecture = Field("xvector", description="network")
    channels: int | None = Field(None, ge=4, description="width of the network; unset: that of its paper")
    dimension: int | None = Field(None, ge=8, description="of the embeddings; unset: that of its paper")
    genotype: str | None = Field(None, description="autospeech: cells as printed by its search; unset: the published")
    bins: int = Field(80, ge=16, le=128, description="mel filter banks")


class LossConfig(Section):
    kind: Literal["cross-entropy", "aam", "triplet", "ge2e"] = "aam"
    scale: float = Field(32.0, gt=0, description="s of AAM-softmax")
    margin: float = Field(0.2, ge=0, lt=3.2, description="of AAM-softmax (radians) or of triplets (squared distance)")
    margin_epochs: tuple[int, int] = Field((2, 6), description="the margin of aam rises from 0 between these epochs")
    subcentres: int = Field(1, ge=1, le=10, description="centres a speaker, of aam; more for noisy labels")


class AugmentConfig(Section):
    speeds: tuple[float, ...] = Field((0.9, 1.1), description="each makes new speakers; []: none")
    noise: float = Field(0.0, ge=0, le=1, description="probability of noise")
    noise_snr: tuple[float, float] = Field((5.0, 20.0), description="dB, range")
    noise_folder: Path | None = Field(None, description="recordings of noise; unset: babble of the data, pink noise")
    reverberation: float = Field(0.0, ge=0, le=1, description="probability of a room")
    rooms: int = Field(40, ge=1, le=5000, description="rooms that are simulated")
    telephone: float = Field(0.0, ge=0, le=1, description="probability of a telephone line")
    codecs: tuple[Literal["mu-law", "a-law", "amr-nb", "opus"], ...] = ("mu-law", "a-law", "amr-nb", "opus")

    @model_validator(mode="after")
    def _in_range(self) -> Self:
        if not all(0.5 <= speed <= 2 and speed != 1 for speed in self.speeds):
            raise ValueError("speeds lie between 0.5 and 2 and are not 1")
        if self.noise_snr[0] > self.noise_snr[1]:
            raise ValueError("noise_snr is written [lowest, highest]")
        if self.telephone and not self.codecs:
            raise ValueError("a telephone line needs codecs")
        return self


class OptimizerConfig(Section):
    kind: Literal["adam", "sgd"] = "adam"
    rate: float = Field(1e-3, gt=0, description="learning rate at its highest")
    final_rate: float = Field(1e-5, gt=0, description="learning rate at the end; falls exponentially")
    warmup: float = Field(0.05, ge=0, lt=1, description="share of all steps in which the rate rises")
    decay: float = Field(1e-4, ge=0, description="weight decay")


class ScheduleConfig(Section):
    epochs: int = Field(20, ge=1)
    batch: int = Field(32, ge=2, description="crops a step")
    utterances: int = Field(4, ge=2, description="of each speaker in a batch, for triplet and ge2e")
    crop: float = Field(2.0, ge=0.5, le=20, description="s of each utterance in an epoch")
    patience: int = Field(0, ge=0, description="epochs without a better EER after which training ends; 0: never")
    checkpoint: float = Field(60.0, gt=0, description="s between checkpoints; one more after each epoch")
    seed: int = Field(0, ge=0)
    threads: int = Field(1, ge=1, description="of torch; another number changes the last bits of weights")
    device: Literal["cpu", "cuda"] = "cpu"
    precision: Literal["float32", "bfloat16"] = Field("float32", description="bfloat16: mixed precision, on a GPU")


class HeldOutConfig(Section):
    share: float = Field(0.1, ge=0, lt=1, description="of speakers, whose EER is measured after each epoch")
    speakers: tuple[str, ...] = Field((), description="names, in place of the share")


class TeacherConfig(Section):
    model: str | None = Field(None, description="embedder of the store that is imitated; no names of speakers needed")
    piece: float = Field(4.0, ge=1, description="s; longer recordings are cut into equal parts, each with its vector")
    pairs: float = Field(1.0, ge=0, description="weight of the similarities within a batch, beside each vector's own")


class Recipe(Section):
    """All sections of a training file."""

    name: str = Field(description="of the model in the store")
    out: Path = Field(description="folder for checkpoints and logs")
    licence: str = Field("unknown", description="SPDX identifier of the weights, for the card")
    domain: Domain | None = Field(None, description="preset of [augment]")
    data: tuple[SourceConfig, ...] = Field(min_length=1)
    held_out: HeldOutConfig = HeldOutConfig()
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    augment: AugmentConfig = AugmentConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    training: ScheduleConfig = ScheduleConfig()
    teacher: TeacherConfig = TeacherConfig()

    @property
    def digest(self) -> str:
        """sha256 of all settings that change the weights."""
        neutral: Any = {"name": True, "out": True, "licence": True, "domain": True, "training": {"checkpoint"}}
        values = self.model_dump(mode="json", exclude=neutral)
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def read(path: Path, domain: str | None = None, teacher: str | None = None) -> Recipe:
    """The recipe of a TOML file, whose paths are relative to its folder. `domain` and `teacher` replace its own.

    Raises ConfigError where it cannot be read, or a key or a value is wrong.
    """
    try:
        values = tomllib.loads(files.read_text(path))
    except FormatError as error:
        raise ConfigError(str(path), "file", error.problem) from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(str(path), "file", str(error)) from error
    if domain is not None:
        values["domain"] = domain
    if teacher is not None and isinstance(values.setdefault("teacher", {}), dict):
        values["teacher"]["model"] = teacher
    return parse(values, str(path), path.parent)


def parse(values: Mapping[str, Any], where: str, folder: Path = Path()) -> Recipe:
    """A Recipe from nested values; paths are relative to `folder`. Raises ConfigError."""
    preset = DOMAINS.get(str(values.get("domain")), {})
    if isinstance(own := values.get("augment", {}), Mapping) and preset:
        values = {**values, "augment": {**preset, **own}}
    try:
        recipe = Recipe.model_validate(values)
        check_own_name(recipe.name)
    except ModelRefused as error:
        raise ConfigError(where, "name", error.problem, error.cure) from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "recipe"
        raise ConfigError(where, key, *_explain(first)) from error
    return recipe.model_copy(
        update={
            "out": folder / recipe.out,
            "data": tuple(_moved(source, folder) for source in recipe.data),
            "augment": _moved(recipe.augment, folder),
        }
    )


def _moved(section: Any, folder: Path) -> Any:
    """The section with its paths below `folder`, where they are relative."""
    paths = {name: folder / value for name, value in section if isinstance(value, Path)}
    return section.model_copy(update=paths)


def _explain(error: Any) -> tuple[str, str]:
    """(problem, cure) of an error of pydantic."""
    if error["type"] != "extra_forbidden":
        got = "" if isinstance(error["input"], Mapping) else f" (got {error['input']!r})"
        return error["msg"].removeprefix("Value error, ") + got, "docs/training.md lists all settings."
    known = _keys(Recipe, error["loc"][:-1])
    similar = difflib.get_close_matches(str(error["loc"][-1]), known, n=1)
    hint = f"Did you mean {similar[0]!r}? " if similar else ""
    return "no setting has this name", f"{hint}Known: {', '.join(known)}."


def _keys(section: Any, location: tuple[Any, ...]) -> tuple[str, ...]:
    """Names of the settings in the section at `location`."""
    for part in location:
        if isinstance(part, str):
            annotation = section.model_fields[part].annotation
            section = next((a for a in getattr(annotation, "__args__", ()) if hasattr(a, "model_fields")), annotation)
    return tuple(section.model_fields)
