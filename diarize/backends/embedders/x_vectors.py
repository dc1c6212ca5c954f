"""Speaker embeddings of transformers: any `*ForXVector` model, for example UniSpeech-SAT, WavLM or wav2vec 2.0.

The network takes samples at 16 kHz; its feature extractor (preprocessor_config.json) normalises them. A vector is what
the x-vector head gives before its classifier, scaled to unit length.

On a CPU excerpts are computed one by one, on a GPU those of one length together, so nothing is padded. A padded batch
would give other vectors: the first layer of most of these models normalises over time, padding included, and
transformers (5.23) counts the frames of the head without its dilation, so that its masked mean takes in up to six
frames of padding.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from diarize import files
from diarize.activity import NO_ACTIVITY, LocalActivity
from diarize.audio import excerpts
from diarize.backends import onnx_sessions, pooling
from diarize.backends.devices import MemoryFallback
from diarize.errors import BackendError, ModelRefused, ModelUnavailable
from diarize.types import Audio, Embeddings, Segment
from diarize.units import RATE, to_samples

SHORTEST = 0.5  # s; a shorter segment is extended: the head needs 15 frames of 20 ms, and deviations of a few more
LONGEST = 60.0  # s; a longer segment is cut into parts: the memory of attention grows with the square
CONFIG, FEATURES = "config.json", "preprocessor_config.json"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # the first that is there is read
HUB_ID = re.compile(r"(?P<id>[\w.-]+/[\w.-]+)(@(?P<revision>[\w.-]+))?")


class _Excerpt(NamedTuple):
    """A part of a segment. Excerpts of one length are computed together."""

    samples: int  # how many
    start: int  # sample
    owner: int  # position of the segment


class XVectorEmbedder:
    """An `Embedder`. Segments under 0.5 s are extended on both sides; over 60 s, vectors of parts are averaged."""

    def __init__(self, model: Any, features: Any, name: str, batch: int, device: str, threads: int) -> None:
        """`model` is in evaluation mode on `device`, `features` its feature extractor."""
        self._model, self._features, self._name, self._device = model, features, name, device
        self._batch = batch if device != "cpu" else 1  # on a CPU it saves no time, and changes the last bits
        self._threads = threads
        self._fallback = MemoryFallback(name, device != "cpu", self._move_to_cpu)

    @property
    def name(self) -> str:
        return self._name

    @property
    def notes(self) -> tuple[str, ...]:
        return self._fallback.notes

    def __call__(self, audio: Audio, segments: Sequence[Segment], activity: LocalActivity = NO_ACTIVITY) -> Embeddings:
        """`activity` is not used. Raises AudioError if the rate is not 16 kHz."""
        onnx_sessions.check_rate(audio, RATE, self.name)
        total = len(audio.samples)
        parts = sorted(part for i, segment in enumerate(segments) for part in _excerpts(segment, i, total))
        batches: list[list[_Excerpt]] = []
        for part in parts:
            if not batches or len(batches[-1]) == self._batch or batches[-1][0].samples != part.samples:
                batches.append([])
            batches[-1].append(part)

        def embed(batch: Sequence[_Excerpt]) -> NDArray[np.float32]:
            return self.embed([excerpts.cut(audio.samples, part.start, part.start + part.samples) for part in batch])

        results = list(onnx_sessions.map_in_order(embed, batches, self._threads, audio.samples))
        rows = np.concatenate([np.zeros((0, int(self._model.config.xvector_output_dim)), np.float32), *results])
        if not np.isfinite(rows).all():
            raise ValueError("the embedder gave vectors that are not finite")
        vectors = np.empty((len(segments), rows.shape[1]), np.float32)
        vectors[[part.owner for part in parts]] = rows
        if len(parts) > len(segments):  # else the rows stay as the model gives them, to the last bit
            vectors = pooling.pool(rows, [part.owner for part in parts], len(segments))
        return Embeddings(tuple(segments), vectors, self.name)

    def embed_with_whole(self, audio: Audio, segments: Sequence[Segment], whole: Sequence[Segment]) -> Embeddings:
        """As a call with `segments`, and one more row, the last: the vector of the parts of `whole`, joined.

        Raises AudioError if the rate is not 16 kHz, ValueError if `whole` is empty.
        """
        if not whole:
            raise ValueError("no segment to embed")
        rows = self(audio, segments).vectors
        joined = np.concatenate([excerpts.cut(audio.samples, *map(to_samples, (s.start, s.end))) for s in whole])
        last = self(Audio(audio.id, joined), [Segment(0.0, max(len(joined), 1) / RATE)]).vectors
        around = Segment(whole[0].start, whole[-1].end)
        return Embeddings((*segments, around), np.concatenate([rows, last]), self.name)

    def embed(self, sounds: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Excerpts of one length (n,) at 16 kHz -> unit rows."""
        import torch

        def work(first: int, end: int) -> NDArray[np.float32]:
            torch.set_num_threads(1)  # of this thread; sums that several share depend on their number
            inputs = self._features(list(sounds[first:end]), sampling_rate=RATE, return_tensors="pt")
            with torch.inference_mode():
                outputs = self._model(**{name: value.to(self._device) for name, value in inputs.items()})
                vectors = torch.nn.functional.normalize(outputs.embeddings, dim=-1)
            rows: NDArray[np.float32] = vectors.cpu().numpy()
            return rows

        return np.concatenate(list(self._fallback.run(work, len(sounds))))

    def _move_to_cpu(self) -> None:
        self._model.to("cpu")
        self._device = "cpu"


def load(
    model: Path | str, digest: str = "", batch: int = 16, device: str = "cpu", threads: int = 0, offline: bool = False
) -> XVectorEmbedder:
    """The embedder in the folder `model`, or of that id ("name/name", "name/name@revision") on the Hugging Face hub.

    `digest`: sha256 of the files, where the model store knows it. `threads` compute excerpts (0: one a core); the
    result does not depend on them. On a GPU, `batch` excerpts are computed at once. Raises ModuleNotFoundError without
    torch and transformers, ModelUnavailable if the model cannot be downloaded, ModelRefused if it is no x-vector model,
    is damaged, or holds more than weights; BackendError for a device that is not there.
    """
    import torch
    import transformers

    folder = Path(model) if Path(model).is_dir() else _download(str(model), offline)
    name = _architecture(folder)
    weights = next((file for file in WEIGHTS if (folder / file).is_file()), None)
    if weights is None or not (folder / FEATURES).is_file():
        missing = FEATURES if weights is not None else " or ".join(WEIGHTS)
        raise ModelRefused(str(folder), f"it has no {missing}", "Get the whole folder of the model.")
    if device == "cuda" and not torch.cuda.is_available():
        raise BackendError("transformers cannot run on CUDA: PyTorch finds no device. Use --device cpu.")
    chosen = "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
    with _quiet():
        try:
            features = transformers.AutoFeatureExtractor.from_pretrained(folder, local_files_only=True)
            network, report = getattr(transformers, name).from_pretrained(
                folder,
                local_files_only=True,
                use_safetensors=weights == WEIGHTS[0],
                weights_only=True,
                dtype=torch.float32,
                output_loading_info=True,
            )
        except Exception as error:  # transformers, safetensors and torch raise anything for damaged files
            problem = f"it cannot be read: {type(error).__name__}: {_first_line(error)}"
            raise ModelRefused(str(folder), problem, "Get the files again, as safetensors if there are any.") from error
    if lacking := sorted(key for key in report["missing_keys"] if not key.startswith(("objective.", "classifier."))):
        problem = f"its weights lack {len(lacking)} tensors of {name}, for example {lacking[0]}"
        raise ModelRefused(str(folder), problem, "Use a model that was trained for speaker verification.")
    if features.sampling_rate != RATE:
        raise ModelRefused(str(folder), f"it takes {features.sampling_rate} Hz, and audio is read at {RATE} Hz")
    # WavLM's attention: each call would warn, and the mask of a batch without padding changes nothing.
    warnings.filterwarnings("ignore", message="Support for mismatched key_padding_mask")
    digest = digest or _digest(folder, weights)
    identity = f"{name.removesuffix('ForXVector').lower()}@{digest[:16]}(x-vector{',cuda' if chosen == 'cuda' else ''})"
    return XVectorEmbedder(
        network.eval().to(chosen), features, identity, batch, chosen, onnx_sessions.count_threads(threads)
    )


def _excerpts(segment: Segment, owner: int, total: int) -> list[_Excerpt]:
    """Excerpts of one length, which cover the segment."""
    start, end = to_samples(segment.start), to_samples(segment.end)
    least = to_samples(SHORTEST)
    if end - start < least:
        return [_Excerpt(least, max(0, min((start + end - least) // 2, total - least)), owner)]
    count = ceil((end - start) / to_samples(LONGEST))
    size = (end - start) // count
    return [_Excerpt(size, start + i * size, owner) for i in range(count)]


def _architecture(folder: Path) -> str:
    """The class of the model in a folder. Raises ModelRefused if it is not one of transformers' x-vector models."""
    import transformers

    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        names = [str(each) for each in config.get("architectures") or ()]
    except (OSError, ValueError, AttributeError) as error:
        problem = f"it has no {CONFIG} of transformers ({_first_line(error)})"
        raise ModelRefused(str(folder), problem, "Name a folder that save_pretrained wrote, or a hub id.") from error
    name = next((each for each in names if each.endswith("ForXVector")), None)
    if name is None or not hasattr(transformers, name):
        kind = ", ".join(names) or "a model of unknown kind"
        problem = f"it is {kind}, not a model for speaker verification (*ForXVector)"
        raise ModelRefused(str(folder), problem, "For example: microsoft/unispeech-sat-base-plus-sv.")
    return name


def _download(model: str, offline: bool) -> Path:
    """The local folder of a model of the hub. Raises ModelUnavailable."""
    hub = HUB_ID.fullmatch(model)
    if hub is None:
        cure = f"Name a folder with a {CONFIG}, or an id: name/name."
        raise ModelUnavailable(model, "it is neither a folder nor a hub id", cure)
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.utils.tqdm import disable_progress_bars

    constants.HF_HUB_DISABLE_TELEMETRY = True  # its variable is read once, at an import that may be long past
    disable_progress_bars()
    try:
        patterns = [CONFIG, FEATURES, *WEIGHTS]
        place = snapshot_download(
            hub["id"], revision=hub["revision"], local_files_only=offline, allow_patterns=patterns
        )
    except Exception as error:  # the hub's client raises errors of its own, of its HTTP library and of the disk
        reason = "it was not downloaded before, and this run is offline" if offline else _first_line(error)
        cure = "Download it on a machine with a connection, and give the path of its folder in place of the id."
        raise ModelUnavailable(model, reason, cure) from error
    return Path(place)


def _digest(folder: Path, weights: str) -> str:
    """sha256 of the digests of the files that decide the vectors."""
    each = sorted(files.sha256(folder / name) for name in (CONFIG, FEATURES, weights))
    return hashlib.sha256("\n".join(each).encode()).hexdigest()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """transformers warns, prints and draws progress bars where it loads a model."""
    from transformers.utils import logging

    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    before = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(before)


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), "")
