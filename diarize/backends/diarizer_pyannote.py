"""pyannote.audio's own speaker diarization pipeline as an end-to-end diarizer (docs/method/end-to-end.md).

The package is restricted: no telemetry, no file access outside the model's folder, no code from a model (checkpoints
are read as weights alone, and only its own diarization class is accepted), no output of its own.
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
from diarize.backends import devices
from diarize.config import ClusterConfig, Device
from diarize.errors import DeviceMissing, ModelRefused, ModelUnavailable
from diarize.types import Audio, Turn
from diarize.units import round_time

SEED = 0  # for anything in the pipeline that draws random numbers
MOST_SPEAKERS = 255  # the pipeline counts them in a byte, and fails above
# The only pipeline that is accepted: others upload the recording (pyannoteai.sdk) or give no diarization.
PIPELINES = (
    "pyannote.audio.pipelines.SpeakerDiarization",
    "pyannote.audio.pipelines.speaker_diarization.SpeakerDiarization",
)
CONFIG, WEIGHTS = "config.yaml", "pytorch_model.bin"  # file names that pyannote.audio fixes (AssetFileName)
PLDA_FILES = ("plda.npz", "xvec_transform.npz")
_HUB = re.compile(r"(?P<id>[\w.-]+/[\w.-]+)(@(?P<revision>[\w.-]+))?")
# Warnings of pyannote.audio and Lightning, and why they do not matter here.
_KNOWN_WARNINGS = (
    r"\s*torchcodec is not installed correctly",  # it decodes files: the pipeline gets samples
    r"TensorFloat-32 \(TF32\) has been disabled",  # as it should be for results that repeat
    r"std\(\): degrees of freedom is <= 0",  # statistics over a single frame, where somebody says one short sound
    r"\s*The detected number of speakers",  # the caller has the number
    r"Mean of empty slice|invalid value encountered in divide",  # no speech long enough for an embedding: one speaker
    r"Model has been trained with a task-dependent loss function",  # it is not trained here
    r"Detected pickle protocol \d+ in the checkpoint",  # it is read or refused in any case
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
        """The seed of its random numbers, for the provenance."""
        return SEED

    def bounded(self, cluster: ClusterConfig) -> Pyannote:
        """The same pipeline with other bounds on the number of speakers; nothing is loaded again."""
        return replace(self, cluster=cluster)

    def __call__(self, audio: Audio) -> tuple[Turn, ...]:
        """Who speaks when, sorted, speakers numbered by first appearance, times in whole milliseconds.

        Recordings shorter than the model's window (10 s) are padded with silence by pyannote.audio; turns in the
        padding are cut off. Needs memory for a copy of the samples.
        """
        import torch

        if len(audio.samples) == 0:
            return ()
        waveform = torch.from_numpy(np.array(audio.samples)[None])  # a copy: torch has no read-only memory
        recording = {"waveform": waveform, "sample_rate": audio.rate, "uri": audio.id}
        count = self.cluster.num_speakers
        limits = (
            {"num_speakers": count}
            if count is not None
            else {"min_speakers": self.cluster.min_speakers, "max_speakers": self.cluster.max_speakers}
        )
        bounds = {key: min(value, MOST_SPEAKERS) for key, value in limits.items()}
        with _quiet(), _seeded():
            annotation = self.pipeline(recording, **bounds).speaker_diarization
        tracks = ((segment.start, segment.end, label) for segment, _, label in annotation.itertracks(yield_label=True))
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

    `cluster` bounds the number of speakers; with `offline`, a hub model must have been downloaded before. Raises
    ModuleNotFoundError without pyannote.audio, ModelUnavailable if the model cannot be downloaded, ModelRefused if it
    is not a diarization pipeline or holds more than weights, BackendError for a device that is not there.
    """
    os.environ["PYANNOTE_METRICS_ENABLED"] = "0"  # it reads this before each report
    with _quiet():
        import pyannote.audio

    folder = _find_folder(model, offline, token)
    config, parts = _read_config(folder, offline, token)
    with _quiet(), _seeded(), _weights_only():
        try:
            pipeline = pyannote.audio.Pipeline.from_pretrained(config)
        except Exception as error:  # its loaders raise anything; in each case this folder cannot be used
            raise _unreadable(folder, error) from error
    pipeline.to(_device(device))

    identity = f"pyannote.audio {version('pyannote.audio')} sha256:{_digest(folder, parts)}"
    return Pyannote(pipeline, identity, ClusterConfig() if cluster is None else cluster)


def check(model: str, device: Device, offline: bool, **_: Any) -> None:
    """Raises what `load` raises for settings that do not fit, without pyannote.audio; a hub model is fetched."""
    if device == "cuda":
        devices.require_cuda("torch")
    folder = _find_folder(model, offline, None)
    if not (folder / CONFIG).is_file():
        raise ModelRefused(str(folder), f"it has no {CONFIG}", "Name the folder of a whole pipeline.")


def turns_of(tracks: Iterable[tuple[float, float, Any]], duration: float) -> tuple[Turn, ...]:
    """Tracks (start, end, label) as sorted turns: cut to [0, duration], in milliseconds, speakers numbered by first
    appearance. Tracks that are then empty are dropped."""
    last = round_time(duration)
    times = ((max(0.0, round_time(start)), min(last, round_time(end)), str(label)) for start, end, label in tracks)
    inside = sorted((start, end, label) for start, end, label in times if start < end)
    numbers = {label: n for n, label in enumerate(dict.fromkeys(label for _, _, label in inside), start=1)}
    return tuple(sorted(Turn(start, end, f"SPEAKER_{numbers[label]:02d}") for start, end, label in inside))


def _find_folder(model: str, offline: bool, token: str | None) -> Path:
    """The local folder of a model. Raises ModelUnavailable, and ModelRefused for a name that is none."""
    if Path(model).is_dir():
        return Path(model).resolve()
    hub = _HUB.fullmatch(model)
    if hub is None:
        raise ModelRefused(
            model,
            "it is neither a folder nor a hub id",
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
            "its authors require that you accept their terms",
            f"Accept them on {page}, make a token with read rights on https://huggingface.co/settings/tokens, "
            "and put it into HF_TOKEN.",
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelUnavailable(
            id, "the hub has no such model, or hides it without a token", f"See {page}, and set HF_TOKEN."
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


def _read_config(folder: Path, offline: bool, token: str | None) -> tuple[dict[str, Any], tuple[Path, ...]]:
    """config.yaml with every part as a local path, and the files behind them. Raises ModelRefused, ModelUnavailable."""
    import yaml
    from pyannote.audio.core.plda import PLDA

    file = folder / CONFIG
    if not file.is_file():
        raise ModelRefused(str(folder), f"it has no {CONFIG}", "Name the folder of a whole pipeline.")
    try:
        config = yaml.safe_load(file.read_text(encoding="utf-8"))
        name, params = config["pipeline"]["name"], dict(config["pipeline"]["params"])
    except (OSError, UnicodeDecodeError, yaml.YAMLError, TypeError, ValueError, KeyError) as error:
        raise ModelRefused(
            str(file), f"it cannot be read as a pipeline: {type(error).__name__}: {_first_line(error)}"
        ) from error
    if name not in PIPELINES:
        raise ModelRefused(str(file), f"the pipeline {name!r} is not {PIPELINES[0]}", "Name a diarization pipeline.")
    if "preprocessors" in config:
        raise ModelRefused(str(file), "it runs code of its own (preprocessors)", "Remove that section.")

    paths: list[Path] = []
    for part in ("segmentation", "embedding"):
        place = _locate_part(folder, part, params.get(part), offline, token)
        paths.append(place if place.is_file() else place / WEIGHTS)
        params[part] = {"checkpoint": str(paths[-1])}
    if params.get("clustering", "VBxClustering") == "VBxClustering":
        place = _locate_part(folder, "plda", params.get("plda"), offline, token)
        paths += [place / plda_file for plda_file in PLDA_FILES]
        params["plda"] = {"checkpoint": str(place)}
    else:
        # pyannote.audio 4 would download a PLDA model for every pipeline; other clusterings do not use it
        params["plda"] = object.__new__(PLDA)
    if missing := [str(path) for path in paths if not path.is_file()]:
        raise ModelRefused(str(file), f"a part is missing: {', '.join(missing)}", "Get the whole folder of the model.")
    accepted = {key: config[key] for key in ("version", "dependencies", "params", "freeze") if key in config}
    return {**accepted, "pipeline": {"name": name, "params": {**params, "legacy": False}}}, tuple(paths)


def _locate_part(folder: Path, part: str, value: Any, offline: bool, token: str | None) -> Path:
    """The path of a part in config.yaml: "$model/<below the folder>", a path, a hub id, or a mapping of these."""
    below = ""
    if isinstance(value, Mapping):
        value, below = value.get("checkpoint"), str(value.get("subfolder") or "")
    if not isinstance(value, str) or not value:
        raise ModelRefused(str(folder / CONFIG), f"it names no {part}")
    if value == "$model" or value.startswith("$model/"):
        return folder / value.removeprefix("$model").lstrip("/") / below
    if (folder / value).exists():  # an absolute path stays as it is
        return folder / value / below
    return _find_folder(value, offline, token) / below


def _digest(folder: Path, parts: Iterable[Path]) -> str:
    """One digest (16 of 64 hex digits) of config.yaml and of every part's bytes."""
    each = [files.sha256(file) for file in (folder / CONFIG, *parts)]
    return hashlib.sha256("\n".join(each).encode()).hexdigest()[:16]


def _device(device: Device) -> Any:
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise DeviceMissing("pyannote.audio cannot run on CUDA: PyTorch finds no device")
    return torch.device("cpu" if device == "cpu" or not torch.cuda.is_available() else "cuda")


@contextlib.contextmanager
def _weights_only() -> Iterator[None]:
    """Checkpoints are read by the unpickler that builds nothing but tensors.

    pyannote.audio 4.0 calls torch.load(weights_only=False), which runs any program in a file; the environment variable
    overrides that (torch.load, note on TORCH_FORCE_WEIGHTS_ONLY_LOAD). The classes allowed beside tensors are the plain
    data that pyannote.audio itself stores in a checkpoint (Model.on_save_checkpoint), and torch's version text.
    """
    import torch
    from pyannote.audio.core.task import Problem, Resolution, Specifications
    from torch.torch_version import TorchVersion

    force, opposite = "TORCH_FORCE_WEIGHTS_ONLY_LOAD", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
    before = {key: os.environ.pop(key, None) for key in (force, opposite)}
    os.environ[force] = "1"
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
    """The same random numbers each time; the state of other generators stays."""
    import torch

    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(SEED)
        yield


def _unreadable(folder: Path, error: Exception) -> ModelRefused:
    import pickle

    if isinstance(error, pickle.UnpicklingError):
        named = re.search(r"GLOBAL (\S+)", str(error))
        what = f"it needs {named[1]}" if named else "it is not a plain checkpoint"
        return ModelRefused(
            str(folder), f"a checkpoint holds more than weights, and is not opened: {what}", "Use another model."
        )
    return ModelRefused(str(folder), f"pyannote.audio cannot load it: {type(error).__name__}: {_first_line(error)}")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or "no reason given").splitlines()[0]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Drops known warnings and the output of pyannote.audio."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        for message in _KNOWN_WARNINGS:
            warnings.filterwarnings("ignore", message=message)
        yield
