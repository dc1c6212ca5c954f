"""Any speaker model in ONNX: WeSpeaker, 3D-Speaker, NeMo as exported by sherpa-onnx, ReDimNet2, AutoSpeech, and ones of
samples.

An ONNX graph does not describe the features that a model was trained on. They come from the model store's `format`,
else from the number of dimensions of its input, and from the metadata that sherpa-onnx's exporters write into the
file; without these, filter banks are WeSpeaker's. The names of inputs and outputs come from the graph itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from diarize.activity import NO_ACTIVITY, LocalActivity
from diarize.audio import excerpts
from diarize.backends import embedder_ge2e, onnx_sessions, pooling
from diarize.backends.embedder_ge2e import GE2E
from diarize.backends.features.front_ends import Features, RawSamples, ReDimNetMel, StftMagnitude
from diarize.errors import ModelRefused
from diarize.files import sha256
from diarize.types import Audio, Embeddings, Samples, Segment
from diarize.units import RATE, to_samples

SHORTEST = 0.5  # s; a shorter segment is extended, as a few frames do not describe a voice
SHORTEST_REDIMNET = 1.0  # s, the least that ReDimNet2's exported graphs take
LONGEST = 10.0  # s; a longer one is cut into parts, so that memory stays bounded
# What a model takes, by `features` of its format: the number of dimensions of its first input, and what they are.
INPUTS = {
    "kaldi-fbank": (3, "filter banks (N, T, bins)"),
    "samples": (2, "samples (N, T)"),
    "redimnet-mel": (4, "ReDimNet's mel spectrograms (N, 1, bins, T)"),
    "stft-magnitude": (3, "AutoSpeech's spectrograms (N, 300, 257)"),
}
LONGEST_WINDOWS = 600.0  # s; of front ends that cut an excerpt into windows by themselves
STATISTICS = ("mean.npy", "std.npy")  # beside an AutoSpeech model: what its spectrograms are normalised by
# Keys that exporters write into models for other tasks -> what such a model is, and the option that takes it.
OTHER_TASKS = {
    "powerset_max_classes": ("a segmentation model (who of a few speakers talks when)", "--segmentation FILE.onnx"),
    "vocab_size": ("a speech recognition model", "--asr"),
    "blank_id": ("a speech recognition model", "--asr"),
    "n_mels": ("a speech recognition model", "--asr"),
}


class FrontEnd(Protocol):
    """Samples (n,) -> what the model takes, without its first dimension. Its repr is a part of the model's identity."""

    @property
    def rate(self) -> int: ...

    def __call__(self, samples: Samples) -> NDArray[np.float32]: ...


class _Excerpt(NamedTuple):
    """A part of a segment. Excerpts of one length are computed together."""

    samples: int  # how many
    start: int  # sample
    owner: int  # position of the segment


class Onnx:
    """An `Embedder`. Segments under 0.5 s (ReDimNet2: 1 s) are extended on both sides; over 10 s, vectors of parts are
    averaged."""

    def __init__(self, session: Any, name: str, features: FrontEnd, batch: int, threads: int) -> None:
        self._session, self._features, self._threads = session, features, threads
        self._name = name
        self._batch = 1 if session.get_inputs()[0].shape[0] == 1 else batch  # exported for one excerpt at a time
        self._shortest = SHORTEST_REDIMNET if isinstance(features, ReDimNetMel) else SHORTEST
        self._makes_windows = isinstance(features, StftMagnitude)
        self._longest = LONGEST_WINDOWS if self._makes_windows else LONGEST

    @property
    def name(self) -> str:
        device = ",cuda" if onnx_sessions.on_cuda(self._session) else ""
        return f"{self._name}({self._features}{device})"

    @property
    def notes(self) -> tuple[str, ...]:
        return onnx_sessions.notes(self._session)

    def __call__(self, audio: Audio, segments: Sequence[Segment], activity: LocalActivity = NO_ACTIVITY) -> Embeddings:
        """`activity` is not used. Raises AudioError if the rate is not the model's."""
        rate = self._features.rate
        onnx_sessions.check_rate(audio, rate, self.name)
        total = len(audio.samples)
        parts = sorted(part for i, segment in enumerate(segments) for part in self._excerpts(segment, i, total))
        batches: list[list[_Excerpt]] = []
        for part in parts:
            if not batches or len(batches[-1]) == self._batch or batches[-1][0].samples != part.samples:
                batches.append([])
            batches[-1].append(part)

        def embed(batch: Sequence[_Excerpt]) -> NDArray[np.float32]:
            sounds = (excerpts.cut(audio.samples, part.start, part.start + part.samples) for part in batch)
            if self._makes_windows:  # the vector of an excerpt is the mean of those of its windows
                return np.stack([self._run_windows(self._features(sound)) for sound in sounds])
            return self._run(np.stack([self._features(sound) for sound in sounds]))

        return pooling.embed_parts(audio, segments, batches, embed, self._dimension, self._threads, self.name)

    def _excerpts(self, segment: Segment, owner: int, total: int) -> list[_Excerpt]:
        """Excerpts of one length, which cover the segment."""
        rate = self._features.rate
        start, end = to_samples(segment.start, rate), to_samples(segment.end, rate)
        least = to_samples(self._shortest, rate)
        if end - start < least:
            start = max(0, min((start + end - least) // 2, total - least))
            return [_Excerpt(least, start, owner)]
        count = ceil((end - start) / to_samples(self._longest, rate))
        size = (end - start) // count
        return [_Excerpt(size, start + i * size, owner) for i in range(count)]

    @property
    def _dimension(self) -> int:
        size = self._session.get_outputs()[-1].shape[-1]
        return size if isinstance(size, int) else 1

    def _run_windows(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """(windows, frames, bins) -> (d,)."""
        rows = [self._run(windows[i : i + self._batch]) for i in range(0, len(windows), self._batch)]
        return np.asarray(np.concatenate(rows).mean(axis=0), dtype=np.float32)

    def _run(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, ...), as the model takes it -> (n, d)."""
        first, *others = self._session.get_inputs()
        inputs: dict[str, NDArray[Any]] = {first.name: frames}
        if others:  # NeMo: bins before frames, and how many frames there are; its last output is the vector
            inputs = {first.name: np.ascontiguousarray(frames.transpose(0, 2, 1))}
            inputs[others[0].name] = np.full(len(frames), frames.shape[1], np.int64)
        vectors: NDArray[np.float32] = self._session.run([self._session.get_outputs()[-1].name], inputs)[0]
        return vectors.reshape(len(frames), -1)


def load(
    model: Path, format: Mapping[str, Any] | None = None, batch: int = 16, device: str = "cpu", threads: int = 0
) -> Onnx | GE2E:
    """The embedder whose network is the ONNX file `model`, or the one ONNX file in that folder.

    `format` describes its input, from the model store: `features`, a key of INPUTS, and the fields of the front end
    (others are ignored). A file whose metadata say that it is the GE2E model goes to its own backend. Raises
    ModelRefused if the file is not an ONNX model, is not for speaker embeddings, or has another input; BackendError for
    a device that cannot be used.
    """
    if model.is_dir():
        model = next(iter(sorted(model.glob("*.onnx"))), model)
    with onnx_sessions.refuse_other_models(model, "ONNX Runtime cannot read it", "Get the file again."):
        session = onnx_sessions.open_session(model, device, model.stem)
    format = format or {}
    shape = session.get_inputs()[0].shape
    metadata = session.get_modelmeta().custom_metadata_map
    if metadata.get("framework") == "ge2e":
        return embedder_ge2e.load(model, batch, device, threads)
    _refuse_other_tasks(model, session, metadata)
    kind = format.get("features") or _guess_features(shape)
    if kind not in INPUTS:
        known = ", ".join(name for _, name in INPUTS.values())
        raise ModelRefused(str(model), f"a speaker model takes {known}, this one takes {kind or 'an input'} {shape}")
    if len(shape) != INPUTS[kind][0] or len(session.get_inputs()) > (2 if kind == "kaldi-fbank" else 1):
        raise ModelRefused(
            str(model),
            f"it should take {INPUTS[kind][1]}, but has {len(session.get_inputs())} inputs, {shape} the first",
        )
    if kind == "stft-magnitude":
        features: FrontEnd = _with_statistics(model, format)
    else:
        bins = _count_bins(kind, session)
        features = front_end_of(kind, format, metadata, bins)
        if bins is not None and bins != getattr(features, "num_mel_bins", bins):
            problem = f"it takes {bins} bins, and its description says {getattr(features, 'num_mel_bins', None)}"
            raise ModelRefused(str(model), problem, "Is it the right file?")
    if features.rate != RATE:
        problem = f"its description says that it takes {features.rate} Hz; speech is embedded at {RATE} Hz"
        raise ModelRefused(str(model), problem, "Use a model of that rate.")
    return Onnx(
        session, f"onnx:{model.stem}@{sha256(model)[:16]}", features, batch, onnx_sessions.count_threads(threads)
    )


def _guess_features(shape: Sequence[Any]) -> str:
    """The key of INPUTS for a model that only the shape of its first input describes; "" if none fits."""
    if len(shape) == 3 and shape[-1] == 257:  # no filter bank has as many bins as a transform of 512 samples
        return "stft-magnitude"
    return next((kind for kind, (rank, _) in INPUTS.items() if rank == len(shape)), "")


def _refuse_other_tasks(model: Path, session: Any, metadata: Mapping[str, str]) -> None:
    """Raises ModelRefused for a model of another task, by its metadata or the shape of its result."""
    output = session.get_outputs()[-1].shape
    values = output if isinstance(output, list) else []
    per_frame = len(values) > 2 and any(value != 1 for value in values[1:-1])
    what, option = next((task for key, task in OTHER_TASKS.items() if key in metadata), ("", ""))
    if not what and "model_type" in metadata and "framework" not in metadata:
        what, option = f"a model of the type {metadata['model_type']}", "the option of its task"
    if what:
        raise ModelRefused(
            str(model), f"it is {what}, not a model for speaker embeddings", f"Such a file is for {option}."
        )
    if per_frame:
        problem = f"it gives values for each frame ({session.get_outputs()[-1].name} {values}), as models that detect"
        problem += " speech, segment speakers or recognize words do; a speaker model gives one vector (N, d)"
        raise ModelRefused(str(model), problem, "For a segmentation model, use --segmentation FILE.onnx.")


def _count_bins(kind: str, session: Any) -> int | None:
    """The number of bins that a model's first input has, where its graph fixes it."""
    first, *others = session.get_inputs()
    axis = {"kaldi-fbank": 1 if others else 2, "redimnet-mel": 2}.get(kind)
    size = None if axis is None else first.shape[axis]
    return size if isinstance(size, int) else None


def _with_statistics(model: Path, format: Mapping[str, Any]) -> StftMagnitude:
    """AutoSpeech's front end with the arrays beside the file. Raises ModelRefused if they are missing or no arrays."""
    paths = [model.parent / name for name in STATISTICS]
    try:
        mean, deviation = (np.asarray(np.load(path, allow_pickle=False), np.float32) for path in paths)
        np.broadcast_shapes(mean.shape, deviation.shape, (300, 257))
    except (OSError, ValueError, EOFError) as error:
        problem = f"{' and '.join(STATISTICS)} beside it, which normalise its input, cannot be read ({error})"
        raise ModelRefused(str(model), problem, "Copy them from where the model was published.") from error
    fields = {key: value for key, value in format.items() if key in StftMagnitude.__dataclass_fields__}
    digest = "+".join(sha256(path)[:8] for path in paths)
    return StftMagnitude(**{**fields, "mean": mean, "deviation": deviation, "statistics": digest})


def front_end_of(
    kind: str, format: Mapping[str, Any], metadata: Mapping[str, str], bins: int | None = None
) -> FrontEnd:
    """The front end of a model with `features` = `kind`, a key of INPUTS; `bins` is the number that its input has."""
    if bins is not None:
        metadata = {"feat_dim": str(bins), **metadata}
        if kind == "redimnet-mel" or any(key in Features.__dataclass_fields__ for key in format):
            format = {"num_mel_bins": bins, **format}
    if kind == "kaldi-fbank":
        return features_of(format, metadata)
    kind_of = ReDimNetMel if kind == "redimnet-mel" else RawSamples
    return kind_of(**{key: value for key, value in format.items() if key in kind_of.__dataclass_fields__})


def features_of(format: Mapping[str, Any], metadata: Mapping[str, str]) -> Features:
    """The features of the store's `format`, or of the `metadata` of sherpa-onnx's exporters, or WeSpeaker's."""
    stored = {key: value for key, value in format.items() if key in Features.__dataclass_fields__}
    if stored:
        return Features(**stored)
    framework = metadata.get("framework", "wespeaker")
    unit = framework == "nemo" or metadata.get("normalize_samples", "0") == "1"
    return Features(
        rate=int(metadata.get("sample_rate", 16_000)),
        num_mel_bins=int(metadata.get("feat_dim", 80)),
        frame_length=int(metadata.get("window_size_ms", 25)) / 1000,
        frame_shift=int(metadata.get("window_stride_ms", 10)) / 1000,
        window=metadata.get("window_type", {"wespeaker": "hamming", "nemo": "hann"}.get(framework, "povey")),
        sample_scale=1.0 if unit else 32_768.0,
        mean_normalised=metadata.get("feature_normalize_type", "global-mean") in ("global-mean", "per_feature"),
        variance_normalised=metadata.get("feature_normalize_type") == "per_feature",
        slaney=framework == "nemo",
    )
