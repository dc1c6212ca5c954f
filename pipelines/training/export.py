"""A model of the store, an ONNX file, or a training's weights -> ONNX, smaller where that is wanted, and checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from diarize import files
from diarize.backends import embedder_ge2e
from diarize.backends.embedder_community1 import RANGES
from diarize.backends.embedder_onnx import features_of
from diarize.backends.embedders import campplus
from diarize.backends.features.front_ends import Features
from diarize.backends.graphs import campplus as graph_campplus
from diarize.backends.graphs import quantisation
from diarize.errors import AudioError, ConfigError, FormatError, MissingExtra, ModelRefused
from diarize.models.store import Store
from diarize.training import card, shrinking, trunks
from diarize.training.shrinking import Fidelity
from diarize.types import Samples
from diarize.units import RATE
from pipelines.inputs import recordings
from pipelines.processes import decoding

Form = Literal["float", "int8", "fp16"]
LONGEST = 6  # s of a recording that is used
LONG = 10.0  # s whose time is measured
MOST = 100  # recordings
CHECKED = 30  # of them that vectors are compared on
CAMPPLUS = {"framework": "3d-speaker", "normalize_samples": "1"}  # metadata of the file
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
    ms_two: tuple[float, float]  # in two threads
    in_store: Path | None


@dataclass(frozen=True, slots=True, eq=False)
class _Source:
    model: bytes
    inputs: Callable[[Samples], Floats]  # what the network takes for samples at 16 kHz, with a first dimension of items
    format: dict[str, Any]  # of an entry of the store
    licence: str
    description: str
    bytes: int  # of the original
    exact: float | None = None  # largest difference from torch
    ranges: dict[str, tuple[float, float]] | None = None  # of its values, where they come with this project
    exact_layers: tuple[str, ...] = ()  # weights of convolutions that stay in floating point in int8


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
    banks = _recordings(calibration, original.inputs) if calibration is not None else []
    if form == "int8" and not banks and original.ranges is None and shrinking.needs_ranges(original.model):
        problem, cure = "int8 needs recordings to measure ranges on", "Give their folder with --calibration."
        raise ConfigError("--int8", source, problem, cure)
    if form == "int8":
        model = shrinking.to_int8(original.model, banks, source, original.ranges, original.exact_layers)
    else:
        model = shrinking.to_fp16(original.model, source) if form == "fp16" else original.model
    checked = list(banks[:: max(1, len(banks) // CHECKED)]) or _synthetic(original.inputs)
    fidelity = shrinking.compare(original.model, model, checked)
    if original.exact is not None and form == "float":
        fidelity = Fidelity(original.exact, 1.0, 1.0, 0.0)
    long = original.inputs(_noise(LONG))
    ms, ms_two = (
        (shrinking.milliseconds(original.model, long, LONG, n), shrinking.milliseconds(model, long, LONG, n))
        for n in (1, 2)
    )
    files.write(out, model)
    folder = None
    if save_as:
        description = f"{source} as {form}" if form != "float" else f"{source}, exported"
        entry = card.entry_of(save_as, model, original.format, original.licence, description)
        facts = {
            "licence": original.licence, "made from": source, "it": original.description, "form": form,
            "bytes": f"{len(model)} (before: {original.bytes})",
            "mean cosine to the original": f"{fidelity.cosine:.5f}",
            "largest difference of a component": f"{fidelity.difference:.1e}",
        }  # fmt: skip
        page = card.page(save_as, description, facts)
        folder = store.add(entry, {card.MODEL: model, "card.md": page.encode()}, replace)
    checked_on = f"{len(checked)} recordings" if banks else "noise"
    return ExportReport(out, form, original.bytes, len(model), fidelity, checked_on, ms, ms_two, folder)


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
        return _Source(
            model, *_banks(Features()), entry.terms, entry.description, location.stat().st_size, None, ranges
        )
    size = location.stat().st_size
    if source == "ge2e" or entry.format.get("backend") == "ge2e":
        model = (
            location.read_bytes()
            if location.suffix == ".onnx"
            else shrinking.with_metadata(embedder_ge2e.build(location), {"framework": "ge2e"})
        )
        return _Source(model, embedder_ge2e.power, {"backend": "ge2e"}, entry.terms, entry.description, size)
    if entry.format.get("backend") == "campplus":
        features = features_of(entry.format, {})
        model = shrinking.with_metadata(campplus.graph(location), CAMPPLUS)
        return _Source(
            model, *_banks(features), entry.terms, entry.description, size, exact_layers=(graph_campplus.SENSITIVE,)
        )
    if location.suffix != ".onnx" or entry.format.get("features", "kaldi-fbank") != "kaldi-fbank":
        raise ModelRefused(source, "only GE2E and models of filter banks are exported; this one has another input")
    return _of_onnx(location, entry.format, entry.terms, entry.description)


def _of_onnx(path: Path, format: Any, licence: str, description: str) -> _Source:
    from diarize.backends import embedder_onnx, onnx_sessions

    embedder_onnx.load(path, format)  # refuses other kinds of models
    session = onnx_sessions.open_session(path)
    features = features_of(format, session.get_modelmeta().custom_metadata_map)
    model = path.read_bytes()
    return _Source(model, *_banks(features), licence, description, len(model))


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
    features = _banks(Features(num_mel_bins=config.bins))
    licence = str(state.get("licence", "unknown"))
    size = path.stat().st_size
    return _Source(exported.model, *features, licence, config.architecture, size, exported.difference)


def _banks(features: Features) -> tuple[Callable[[Samples], Floats], dict[str, Any]]:
    """(samples -> filter banks (1, T, bins), the format of an entry of the store)."""
    return lambda samples: features(samples)[None], {"features": "kaldi-fbank", **asdict(features)}


def _recordings(folder: Path, inputs: Callable[[Samples], Floats]) -> list[Floats]:
    """Inputs of the first seconds of recordings. Raises ConfigError, FormatError where none can be read."""
    items = recordings.find([folder]).inputs
    banks = []
    for item in items[:: max(1, len(items) // MOST)][:MOST]:
        try:
            samples = decoding.read(item.path, id=item.name).audios[0].samples[: LONGEST * RATE]
        except AudioError:
            continue
        if len(samples) >= RATE:
            banks.append(inputs(np.array(samples)))
    if not banks:
        raise FormatError(str(folder), "holds no recording of a second or more that can be read")
    return banks


def _synthetic(inputs: Callable[[Samples], Floats]) -> Sequence[Floats]:
    return [inputs(_noise(1.8 + 0.2 * i, i)) for i in range(_SYNTHETIC)]


def _noise(seconds: float, seed: int = 0) -> Samples:
    """Noise whose spectrum and level change: where there are no recordings."""
    rng = np.random.default_rng(seed)
    count = round(seconds * RATE)
    samples = rng.standard_normal(count).cumsum() if seed % 2 else rng.standard_normal(count)
    level = np.interp(np.arange(count), np.linspace(0, count, 12), rng.uniform(0.05, 1, 12))
    samples = (samples - samples.mean()) * level
    return np.asarray(0.3 * samples / np.abs(samples).max(), np.float32)
