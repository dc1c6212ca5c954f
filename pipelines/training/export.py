"""A model of the store, an ONNX file, or a training's weights -> ONNX, smaller where that is wanted, and checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from diarize import files
from diarize.backends.embedder_community1 import RANGES
from diarize.backends.embedder_onnx import features_of
from diarize.backends.embedders import campplus
from diarize.backends.features.front_ends import Features
from diarize.backends.graphs import quantisation
from diarize.errors import AudioError, ConfigError, FormatError, MissingExtra, ModelRefused
from diarize.models.store import Store
from diarize.training import card, shrinking, trunks
from diarize.training.shrinking import Fidelity
from diarize.units import RATE
from pipelines.inputs import recordings
from pipelines.processes import decoding

Form = Literal["float", "int8", "fp16"]
LONGEST = 6  # s of a recording that is used
MOST = 100  # recordings
CHECKED = 30  # of them that vectors are compared on
_SYNTHETIC = 12  # inputs where there are no recordings

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class ExportReport:
    """What was exported. `fidelity` is against the original, the same file where only its form did not change."""

    path: Path
    form: Form
    before: int  # bytes
    after: int
    fidelity: Fidelity
    checked_on: str
    ms: tuple[float, float]  # for a second of audio, one thread: before, after
    in_store: Path | None


@dataclass(frozen=True, slots=True, eq=False)
class _Source:
    model: bytes
    features: Features
    licence: str
    description: str
    bytes: int  # of the original
    exact: float | None = None  # largest difference from torch
    ranges: dict[str, tuple[float, float]] | None = None  # of its values, where they come with this project


def export(
    source: str, out: Path, store: Store, form: Form = "float", calibration: Path | None = None, save_as: str = "",
    replace: bool = False,
) -> ExportReport:  # fmt: skip
    """Write the model `source` to `out`, and to the store as `save_as`.

    `source`: a name in the store, an .onnx file, or the model.safetensors of a training. `calibration`: a folder of
    recordings, which int8 needs, except for models whose ranges come with this project. Raises ConfigError, ModelError,
    FormatError, OutputError.
    """
    original = _open(source, store)
    banks = _recordings(calibration, original.features) if calibration is not None else []
    if form == "int8" and not banks and original.ranges is None:
        problem, cure = "int8 needs recordings to measure ranges on", "Give their folder with --calibration."
        raise ConfigError("--int8", source, problem, cure)
    if form == "int8":
        model = shrinking.to_int8(original.model, banks, source, original.ranges)
    else:
        model = shrinking.to_fp16(original.model, source) if form == "fp16" else original.model
    checked = list(banks[:: max(1, len(banks) // CHECKED)]) or _synthetic(original.features.num_mel_bins)
    fidelity = shrinking.compare(original.model, model, checked)
    if original.exact is not None and form == "float":
        fidelity = Fidelity(original.exact, 1.0, 1.0, 0.0)
    long = np.resize(np.concatenate([each[0] for each in checked]), (1, 1000, original.features.num_mel_bins))
    ms = tuple(shrinking.milliseconds(each, long, 10.0) for each in (original.model, model))
    files.write(out, model)
    folder = None
    if save_as:
        description = f"{source} as {form}" if form != "float" else f"{source}, exported"
        entry = card.entry_of(save_as, model, original.features.num_mel_bins, original.licence, description)
        facts = {
            "licence": original.licence, "made from": source, "it": original.description, "form": form,
            "bytes": f"{len(model)} (before: {original.bytes})",
            "mean cosine to the original": f"{fidelity.cosine:.5f}",
            "largest difference of a component": f"{fidelity.difference:.1e}",
        }  # fmt: skip
        page = card.page(save_as, description, facts)
        folder = store.add(entry, {card.MODEL: model, "card.md": page.encode()}, replace)
    checked_on = f"{len(checked)} recordings" if banks else "random filter banks"
    return ExportReport(out, form, original.bytes, len(model), fidelity, checked_on, (ms[0], ms[1]), folder)


def _open(source: str, store: Store) -> _Source:
    path = Path(source)
    if path.suffix == ".safetensors":
        return _of_training(path)
    if path.suffix == ".onnx" and source not in store.registry:
        if not path.is_file():
            raise ConfigError("export-model", source, "is not a file")
        return _of_onnx(path, {}, "unknown", source)
    entry = store.registry.get(source)
    location = store.path(source)  # raises UnknownModel and ModelMissing
    assert entry is not None
    if entry.role != "embedder":
        raise ModelRefused(source, f"it is for {entry.role}; speaker embedders are exported")
    if source == "community-1-embedding":
        model = trunks.community1(location)
        ranges = quantisation.read_ranges(RANGES)
        return _Source(model, Features(), entry.terms, entry.description, location.stat().st_size, None, ranges)
    if entry.format.get("backend") == "campplus":
        model, features = campplus.graph(location), features_of(entry.format, {})
        return _Source(model, features, entry.terms, entry.description, location.stat().st_size)
    if location.suffix != ".onnx" or entry.format.get("features", "kaldi-fbank") != "kaldi-fbank":
        raise ModelRefused(source, "only models of filter banks are exported; its backend computes it in another form")
    return _of_onnx(location, entry.format, entry.terms, entry.description)


def _of_onnx(path: Path, format: Any, licence: str, description: str) -> _Source:
    from diarize.backends import embedder_onnx, onnx_sessions

    embedder_onnx.load(path, format)  # refuses other kinds of models
    session = onnx_sessions.open_session(path)
    features = features_of(format, session.get_modelmeta().custom_metadata_map)
    model = path.read_bytes()
    return _Source(model, features, licence, description, len(model))


def _of_training(path: Path) -> _Source:
    try:
        from diarize.training import checkpoints, exporting
        from diarize.training.architectures.building import build
        from diarize.training.recipe import ModelConfig
    except ModuleNotFoundError as error:
        raise MissingExtra("diarize export-model", "train") from error
    tensors, state = checkpoints.load(path)
    try:
        config = ModelConfig.model_validate(state["model"])
        network = build(config.architecture, config.bins, config.channels, config.dimension, config.genotype)
    except (KeyError, ValueError) as error:
        raise ModelRefused(str(path), f"it does not say which network it is of ({error})") from error
    checkpoints.restore("network", network, tensors, path)
    exported = exporting.export(network, config.bins)
    features = Features(num_mel_bins=config.bins)
    licence = str(state.get("licence", "unknown"))
    size = path.stat().st_size
    return _Source(exported.model, features, licence, config.architecture, size, exported.difference)


def _recordings(folder: Path, features: Features) -> list[Floats]:
    """Filter banks (1, T, bins) of the first seconds of recordings. Raises ConfigError, FormatError where none is."""
    inputs = recordings.find([folder]).inputs
    banks = []
    for item in inputs[:: max(1, len(inputs) // MOST)][:MOST]:
        try:
            samples = decoding.read(item.path, id=item.name).audios[0].samples[: LONGEST * RATE]
        except AudioError:
            continue
        if len(samples) >= RATE:
            banks.append(features(np.array(samples))[None])
    if not banks:
        raise FormatError(str(folder), "holds no recording of a second or more that can be read")
    return banks


def _synthetic(bins: int) -> Sequence[Floats]:
    rng = np.random.default_rng(0)
    return [(3 * rng.standard_normal((1, 200 + 20 * i, bins))).astype(np.float32) for i in range(_SYNTHETIC)]
