"""Utterances -> clips: all of them decoded once, in one file of 16-bit samples that is mapped into memory.

    FOLDER/clips.pcm     samples at 16 kHz, clip after clip
    FOLDER/clips.json    written last: of each clip its id, speaker, first sample and length; what was skipped, and why

So training reads any crop at once, from a tar archive too, and its epochs do not decode again (115 MB an hour).
"""

from __future__ import annotations

import hashlib
import itertools
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from diarize import files
from diarize.audio.reading import Recording
from diarize.errors import AudioError, FormatError
from diarize.training.data.corpora import LabelledUtterance, Skipped
from diarize.types import Samples
from diarize.units import RATE

SHORTEST = 0.5  # s of a clip; a shorter one hardly describes a voice
QUIETEST = 1e-4  # largest sample of a clip; one below it is silent
VERSION = 1

Read = Callable[[Path, str], Recording]  # decodes a file: (path, id). Raises AudioError
OnClip = Callable[[int], None]  # called with the number of utterances done


@dataclass(frozen=True, slots=True)
class ClipInfo:
    """Where a clip lies in the file of samples."""

    id: str
    speaker: str
    first: int
    length: int
    digest: str  # of its samples


@dataclass(frozen=True, eq=False)
class Clips:
    """All clips, sorted by speaker and id; `skipped` lists (utterance, reason)."""

    path: Path  # of the samples
    infos: tuple[ClipInfo, ...]
    skipped: tuple[tuple[str, str], ...]

    @cached_property
    def _samples(self) -> NDArray[np.int16]:
        return np.memmap(self.path, np.int16, "r") if self.infos else np.zeros(0, np.int16)

    def samples(self, index: int, first: int = 0, length: int | None = None) -> Samples:
        """Samples of a clip in [-1, 1], or of a part of it."""
        info = self.infos[index]
        end = info.length if length is None else min(first + length, info.length)
        return self._samples[info.first + first : info.first + end].astype(np.float32) / np.float32(32_768)

    @cached_property
    def speakers(self) -> tuple[str, ...]:
        return tuple(sorted({info.speaker for info in self.infos}))

    @property
    def seconds(self) -> float:
        return sum(info.length for info in self.infos) / RATE

    @cached_property
    def digest(self) -> str:
        """sha256 over speakers and samples of all clips: what a model was trained on."""
        lines = "".join(f"{info.speaker}\t{info.digest}\n" for info in self.infos)
        return hashlib.sha256(lines.encode()).hexdigest()

    def cut(self, longest: float) -> Clips:
        """Clips of at most `longest` s: longer ones in equal parts, without those that are silent."""
        infos = []
        for index, info in enumerate(self.infos):
            count = max(1, -(-info.length // round(longest * RATE)))
            bounds = [info.length * i // count for i in range(count + 1)]
            for first, last in itertools.pairwise(bounds) if count > 1 else ():
                part = self._samples[info.first + first : info.first + last]
                if not _problem(self.samples(index, first, last - first)):
                    digest = hashlib.sha256(part.tobytes()).hexdigest()
                    name = f"{info.id}@{first / RATE:.2f}"
                    infos.append(ClipInfo(name, info.speaker, info.first + first, last - first, digest))
            if count == 1:
                infos.append(info)
        return Clips(self.path, tuple(infos), self.skipped)

    def of_speakers(self, names: Iterable[str]) -> tuple[int, ...]:
        """Indices of the clips of these speakers."""
        wanted = set(names)
        return tuple(i for i, info in enumerate(self.infos) if info.speaker in wanted)

    def reasons(self) -> Counter[str]:
        """Why utterances were skipped, counted: the reason up to its first colon."""
        return Counter(reason.partition(":")[0] for _, reason in self.skipped)

    def repeated(self) -> tuple[tuple[str, str, str, str], ...]:
        """(clip, speaker, clip, other speaker): the same samples under two names."""
        first: dict[str, ClipInfo] = {}
        pairs = []
        for info in self.infos:
            other = first.setdefault(info.digest, info)
            if other.speaker != info.speaker:
                pairs.append((other.id, other.speaker, info.id, info.speaker))
        return tuple(pairs)


def decode(
    utterances: Iterable[LabelledUtterance],
    skipped: Skipped,
    folder: Path,
    read: Read,
    on_clip: OnClip = lambda done: None,
) -> Clips:
    """Decode utterances into `folder`. What cannot be read, is empty, silent or too short is added to `skipped`.

    Raises OutputError where the disk is full or cannot be written; then nothing in `folder` counts as clips.
    """
    files.make_folder(folder)
    (folder / "clips.json").unlink(missing_ok=True)
    infos: list[ClipInfo] = []
    seen: set[tuple[str, str]] = set()
    position = 0
    decoded, whole = Path(), np.zeros(0, np.float32)
    with files.replacing(folder / "clips.pcm") as file:
        for done, utterance in enumerate(utterances, 1):
            on_clip(done)
            name = f"{utterance.speaker}: {utterance.id}"
            if (utterance.speaker, utterance.id) in seen:
                skipped.add(name, "listed twice")
                continue
            seen.add((utterance.speaker, utterance.id))
            try:
                if utterance.content is not None:
                    whole, decoded = _decode_content(utterance, utterance.content, read), Path()
                elif utterance.path != decoded:  # parts of one recording are listed one after the other
                    whole = read(utterance.path, utterance.id).audios[0].samples
                    decoded = utterance.path
                samples = _part(utterance, whole)
            except AudioError as error:
                skipped.add(name, f"cannot be read: {error.problem}")
                continue
            if problem := _problem(samples):
                skipped.add(name, problem)
                continue
            content = np.rint(np.clip(samples, -1, 1) * 32_767).astype("<i2").tobytes()
            file.write(content)
            digest = hashlib.sha256(content).hexdigest()
            infos.append(ClipInfo(utterance.id, utterance.speaker, position, len(samples), digest))
            position += len(samples)
    infos.sort(key=lambda info: (info.speaker, info.id))
    index = {"version": VERSION, "clips": [asdict(info) for info in infos], "skipped": skipped.reasons}
    files.write(folder / "clips.json", json.dumps(index))
    return Clips(folder / "clips.pcm", tuple(infos), tuple(skipped.reasons))


def load(folder: Path) -> Clips | None:
    """The clips that `decode` wrote to `folder`; None where there are none, or the files are cut or damaged."""
    try:
        index = json.loads((folder / "clips.json").read_bytes())
        infos = tuple(ClipInfo(**info) for info in index["clips"])
        total = sum(info.length for info in infos)
        if index["version"] != VERSION or (folder / "clips.pcm").stat().st_size != 2 * total:
            return None
        return Clips(folder / "clips.pcm", infos, tuple((str(a), str(b)) for a, b in index["skipped"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def check_speakers(clips: Clips, where: str, least: int = 2) -> None:
    """Raises FormatError where there are fewer speakers than training needs."""
    if len(clips.speakers) < least:
        counts = ", ".join(f"{reason} ({n})" for reason, n in clips.reasons().most_common(3))
        names = "no speaker" if not clips.speakers else f"one speaker ({clips.speakers[0]})"
        problem = f"holds usable clips of {names}; training needs {least} or more"
        raise FormatError(where, problem, f"Skipped: {counts}." if counts else "")


def _decode_content(utterance: LabelledUtterance, content: bytes, read: Read) -> Samples:
    with tempfile.NamedTemporaryFile(prefix="clip-", suffix=Path(utterance.id).suffix) as file:
        file.write(content)
        file.flush()
        return np.array(read(Path(file.name), utterance.id).audios[0].samples)


def _part(utterance: LabelledUtterance, samples: Samples) -> Samples:
    first = round(utterance.start * RATE)
    last = len(samples) if utterance.end is None else min(len(samples), round(utterance.end * RATE))
    return samples[first:last]


def _problem(samples: Samples) -> str:
    """Why samples are no clip; "" where they are."""
    if not len(samples):
        return "empty"
    if len(samples) < SHORTEST * RATE:
        return f"shorter than {SHORTEST} s"
    return "silent" if float(np.abs(samples).max()) < QUIETEST else ""


def crop(clips: Clips, index: int, length: int, rng: np.random.Generator) -> Samples:
    """`length` samples of a clip from a random place; a shorter clip is repeated."""
    available = clips.infos[index].length
    if available >= length:
        return clips.samples(index, int(rng.integers(available - length + 1)), length)
    return np.resize(np.roll(clips.samples(index), -int(rng.integers(available))), length)
