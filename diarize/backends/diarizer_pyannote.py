"""pyannote.audio's own speaker diarization pipeline as an end-to-end diarizer (docs/method/end-to-end.md).

The package is kept on a short lead: no telemetry, no file access but the folder it was given, no code out of a model
(checkpoints are read as weights alone, and only its own diarization class is accepted), no output of its own.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from diarize import files
from diarize.config import ClusterConfig, Device
from diarize.errors import BackendError, ModelRefused, ModelUnavailable
from diarize.types import Audio, Turn
from diarize.units import round_time

SEED = 0  # for anything in the pipeline that draws random numbers
MOST_SPEAKERS = 255  # the pipeline counts them in a byte, and fails above
# The one pipeline that is accepted: others upload the recording (pyannoteai.sdk) or give no diarization.
PIPELINES = (
    "pyannote.audio.pipelines.SpeakerDiarization",
    "pyannote.audio.pipelines.speaker_diarization.SpeakerDiarization",
)
CONFIG, WEIGHTS = "config.yaml", "pytorch_model.bin"  # file names that pyannote.audio fixes (AssetFileName)
PLDA_FILES = ("plda.npz", "xvec_transform.npz")
_HUB = re.compile(r"(?P<id>[\w.-]+/[\w.-]+)(@(?P<revision>[\w.-]+))?")
# What pyannote.audio and Lightning say, and why nobody needs to hear it.
_KNOWN_WARNINGS = (
    r"\s*torchcodec is not installed correctly",  # it decodes files: the pipeline is given samples
    r"TensorFloat-32 \(TF32\) has been disabled",  # as it should be for results that repeat
    r"std\(\): degrees of freedom is <= 0",  # statistics over a single frame, where somebody says one short sound
    r"\s*The detected number of speakers",  # a caller sees the number
    r"Mean of empty slice|invalid value encountered in divide",  # no speech long enough for an embedding: one speaker
    r"Model has been trained with a task-dependent loss function",  # it is not trained here
    r"Detected pickle protocol \d+ in the checkpoint",  # it is read, or refused, all the same
)


@dataclass(frozen=True)
class Pyannote:
    """A loaded pipeline: Audio -> turns, overlapping where people talk at once."""

    pipeline: Any = field(repr=False)  # pyannote.audio.pipelines.SpeakerDiarization, on its device
    identity: str  # of the package and the weights
    cluster: ClusterConfig

    @property
    def name(self) -> str:
        counts = self.cluster.num_speakers or f"{self.cluster.min_speakers}-{self.cluster.max_speakers}"
        return f"{self.identity} speakers={counts}"

    @property
    def seed(self) -> int:
        """What its random numbers begin with, for the provenance."""
        return SEED

    def bounded(self, cluster: ClusterConfig) -> Pyannote:
        """The same pipeline with other bounds on the number of speakers; nothing is loaded again."""
        return replace(self, cluster=cluster)

    def __call__(self, audio: Audio) -> tuple[Turn, ...]:
        """Who speaks when, sorted, speakers numbered by first appearance, times in whole milliseconds.

        Recordings shorter than the model's window (10 s) are padded with silence by pyannote.audio; what it hears in
        the padding is cut off. Needs memory for a copy of the samples.
        """
        import torch

        if len(audio.samples) == 0:
            return ()
        waveform = torch.from_numpy(np.array(audio.samples)[None])  # a copy: torch has no read-only memory
        given = {"waveform": waveform, "sample_rate": audio.rate, "uri": audio.id}
        count = self.cluster.num_speakers
        wanted = (
            {"num_speakers": count}
            if count is not None
            else {"min_speakers": self.cluster.min_speakers, "max_speakers": self.cluster.max_speakers}
        )
        bounds = {key: min(value, MOST_SPEAKERS) for key, value in wanted.items()}
        with _quiet(), _seeded():
            found = self.pipeline(given, **bounds).speaker_diarization
        tracks = ((segment.start, segment.end, label) for segment, _, label in found.itertracks(yield_label=True))
        return turns_of(tracks, audio.duration)


def load(
    model: str,
    device: Device = "auto",
    cluster: ClusterConfig | None = None,
    offline: bool = False,
    token: str | None = None,
) -> Pyannote:
    """The pipeline in the folder `model` (with a config.yaml), or of that id ("name/name", "name/name@revision") on the
    Hugging Face hub, where `token` (unset: HF_TOKEN, or a stored login) opens models that ask for consent.

    `cluster` bounds the number of speakers; `offline` takes hub models only from what was downloaded before.
    Raises ModuleNotFoundError without pyannote.audio, ModelUnavailable where the model cannot be had, ModelRefused
    where it is no diarization pipeline or holds more than weights, BackendError for a device that is not there.
    """
    os.environ["PYANNOTE_METRICS_ENABLED"] = "0"  # read whenever it would report
    with _quiet():
        import pyannote.audio

    folder = _folder(model, offline, token)
    config, parts = _parts(folder, offline, token)
    with _quiet(), _seeded(), _weights_only():
        try:
            pipeline = pyannote.audio.Pipeline.from_pretrained(config)
        except Exception as error:  # its loaders raise anything; whatever it is, this folder cannot be used
            raise _unreadable(folder, error) from error
    pipeline.to(_device(device))

    identity = f"pyannote.audio {version('pyannote.audio')} sha256:{_digest(folder, parts)}"
    return Pyannote(pipeline, identity, ClusterConfig() if cluster is None else cluster)


def turns_of(tracks: Iterable[tuple[float, float, Any]], duration: float) -> tuple[Turn, ...]:
    """Tracks (start, end, label) as sorted turns: cut to [0, duration], in milliseconds, speakers numbered by first
    appearance. A track with nothing left after that is dropped."""
    end_of_all = round_time(duration)
    kept = []
    for start, end, label in tracks:
        start, end = max(0.0, round_time(start)), min(end_of_all, round_time(end))
        if start < end:
            kept.append((start, end, str(label)))
    kept.sort()
    numbers = {label: n for n, label in enumerate(dict.fromkeys(label for _, _, label in kept), start=1)}
    return tuple(sorted(Turn(start, end, f"SPEAKER_{numbers[label]:02d}") for start, end, label in kept))


def _folder(model: str, offline: bool, token: str | None) -> Path:
    """The local folder of a model. Raises ModelUnavailable."""
    if Path(model).is_dir():
        return Path(model).resolve()
    hub = _HUB.fullmatch(model)
    if hub is None:
        raise ModelUnavailable(
            model,
            "there is no such folder, and it is no hub id",
            f"Name a folder with a {CONFIG}, or an id: name/name.",
        )
    return _download(hub["id"], hub["revision"], offline, token)


def _download(id: str, revision: str | None, offline: bool, token: str | None) -> Path:
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError
    from huggingface_hub.utils.tqdm import disable_progress_bars

    constants.HF_HUB_DISABLE_TELEMETRY = True  # its variable is read once, at an import that may be long past
    disable_progress_bars()
    page = f"https://huggingface.co/{id}"
    try:
        folder = snapshot_download(
            id,
            revision=revision,
            token=token,
            local_files_only=offline,
            allow_patterns=[CONFIG, f"*{WEIGHTS}", *(f"*{name}" for name in PLDA_FILES)],
        )
    except GatedRepoError as error:
        raise ModelUnavailable(
            id,
            "its authors want their terms accepted first",
            f"Accept them on {page}, make a token with read rights on https://huggingface.co/settings/tokens, "
            "and put it into HF_TOKEN.",
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelUnavailable(
            id, "the hub knows no such model, or does not show it without a token", f"See {page}, and set HF_TOKEN."
        ) from error
    except LocalEntryNotFoundError as error:
        raise ModelUnavailable(
            id,
            "it was not downloaded before, and this run is offline" if offline else "the hub cannot be reached",
            f"Fetch {page} on a machine with a connection, and give the folder's path in place of the id.",
        ) from error
    except Exception as error:  # the hub's client raises errors of its own, of its HTTP library and of the disk
        raise ModelUnavailable(id, f"{type(error).__name__}: {_first_line(error)}", f"See {page}.") from error
    return Path(folder)


def _parts(folder: Path, offline: bool, token: str | None) -> tuple[dict[str, Any], tuple[Path, ...]]:
    """config.yaml with every part as a local path, and the files behind them. Raises ModelRefused, ModelUnavailable."""
    import yaml
    from pyannote.audio.core.plda import PLDA

    path = folder / CONFIG
    if not path.is_file():
        raise ModelRefused(str(folder), f"it has no {CONFIG}", "Name the folder that a whole pipeline lies in.")
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
        name, given = config["pipeline"]["name"], dict(config["pipeline"]["params"])
    except (OSError, UnicodeDecodeError, yaml.YAMLError, TypeError, ValueError, KeyError) as error:
        raise ModelRefused(
            str(path), f"it cannot be read as a pipeline: {type(error).__name__}: {_first_line(error)}"
        ) from error
    if name not in PIPELINES:
        raise ModelRefused(str(path), f"the pipeline {name!r} is not {PIPELINES[0]}", "Name a diarization pipeline.")
    if "preprocessors" in config:
        raise ModelRefused(str(path), "it runs code of its own (preprocessors)", "Remove that section.")

    found: list[Path] = []
    for part in ("segmentation", "embedding"):
        place = _place(folder, part, given.get(part), offline, token)
        found.append(place if place.is_file() else place / WEIGHTS)
        given[part] = {"checkpoint": str(found[-1])}
    if given.get("clustering", "VBxClustering") == "VBxClustering":
        place = _place(folder, "plda", given.get("plda"), offline, token)
        found += [place / file for file in PLDA_FILES]
        given["plda"] = {"checkpoint": str(place)}
    else:
        # pyannote.audio 4 would download a PLDA model for every pipeline; other clusterings never look at it
        given["plda"] = object.__new__(PLDA)
    if missing := [str(file) for file in found if not file.is_file()]:
        raise ModelRefused(str(path), f"a part is missing: {', '.join(missing)}", "Get the whole folder of the model.")
    kept = {key: config[key] for key in ("version", "dependencies", "params", "freeze") if key in config}
    return {**kept, "pipeline": {"name": name, "params": {**given, "legacy": False}}}, tuple(found)


def _place(folder: Path, part: str, value: Any, offline: bool, token: str | None) -> Path:
    """Where a part named in config.yaml lies: "$model/<below the folder>", a path, a hub id, or a mapping of these."""
    below = ""
    if isinstance(value, Mapping):
        value, below = value.get("checkpoint"), str(value.get("subfolder") or "")
    if not isinstance(value, str) or not value:
        raise ModelRefused(str(folder / CONFIG), f"it names no {part}")
    if value == "$model" or value.startswith("$model/"):
        return folder / value.removeprefix("$model").lstrip("/") / below
    if (folder / value).exists():  # an absolute path stays as it is
        return folder / value / below
    return _folder(value, offline, token) / below


def _digest(folder: Path, parts: Iterable[Path]) -> str:
    """One digest (16 of 64 hex digits) of config.yaml and of every part's bytes."""
    each = [files.sha256(file) for file in (folder / CONFIG, *parts)]
    return hashlib.sha256("\n".join(each).encode()).hexdigest()[:16]


def _device(device: Device) -> Any:
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise BackendError("pyannote.audio cannot run on CUDA: PyTorch finds no device. Use --device cpu.")
    return torch.device("cpu" if device == "cpu" or not torch.cuda.is_available() else "cuda")


@contextlib.contextmanager
def _weights_only() -> Iterator[None]:
    """Checkpoints are read by the unpickler that builds tensors and nothing else.

    pyannote.audio 4.0 calls torch.load(weights_only=False), which runs any program that a file holds; the variable
    overrules that (torch.load, note on TORCH_FORCE_WEIGHTS_ONLY_LOAD). The classes admitted beside tensors are the
    plain data that pyannote.audio itself puts into a checkpoint (Model.on_save_checkpoint), and torch's version text.
    """
    import torch
    from pyannote.audio.core.task import Problem, Resolution, Specifications
    from torch.torch_version import TorchVersion

    mine, opposite = "TORCH_FORCE_WEIGHTS_ONLY_LOAD", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
    before = {key: os.environ.pop(key, None) for key in (mine, opposite)}
    os.environ[mine] = "1"
    try:
        with torch.serialization.safe_globals([Problem, Resolution, Specifications, TorchVersion]):
            yield
    finally:
        for key, value in before.items():
            os.environ.pop(key, None)
            if value is not None:
                os.environ[key] = value


@contextlib.contextmanager
def _seeded() -> Iterator[None]:
    """The same random numbers each time, and none taken from anybody else's."""
    import torch

    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(SEED)
        yield


def _unreadable(folder: Path, error: Exception) -> ModelRefused:
    import pickle

    if isinstance(error, pickle.UnpicklingError):
        named = re.search(r"GLOBAL (\S+)", str(error))
        what = f"it asks for {named[1]}" if named else "it is no plain checkpoint"
        return ModelRefused(
            str(folder), f"a checkpoint holds more than weights, and is not opened: {what}", "Use another model."
        )
    return ModelRefused(str(folder), f"pyannote.audio cannot load it: {type(error).__name__}: {_first_line(error)}")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or "no reason given").splitlines()[0]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Known warnings are dropped, and what pyannote.audio prints is not printed."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        for message in _KNOWN_WARNINGS:
            warnings.filterwarnings("ignore", message=message)
        yield
