"""Diarization error and speaker counts of the default settings, on all sets.

    python -m benchmarks.accuracy [--data DATA] [--simulated N] [--first-seed S] [--profile fast] [--embedder NAME]
                                  [--segmentation NAME] [--json FILE]

A set is a folder of recordings, each with an RTTM file of the same name, and optionally a UEM file: DATA itself, or any
folder in it. Collar 0, overlap scored, within the UEM; scored by pyannote.metrics. `xvectors` tests clustering and
turns only, with existing vectors and speech. Simulated conversations (benchmarks/simulate.py) use readers that are not
in sim-dev, if DATA has them.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import simulate
from diarize.audio import reading
from diarize.clustering import spectral
from diarize.config import Config, parse
from diarize.models.store import Store
from diarize.turns import merging
from diarize.types import Errors, Segment, Turn, Vectors
from pipelines import plan
from pipelines.inputs.recordings import SUFFIXES
from pipelines.recording import find_turns

SETS = ("sim-dev", "ami-excerpts", "phone-sample")


@dataclass(frozen=True, slots=True)
class Row:
    set: str
    recording: str
    speakers: int
    found: int
    errors: Errors


def sets(data: Path) -> list[tuple[str, Path]]:
    """(name, folder) of every set of `data`, those named in `SETS` first. Raises SystemExit where there is none."""
    folders = [data, *(data / name for name in SETS), *sorted(path for path in data.iterdir() if path.is_dir())]
    found = [(folder.resolve().name, folder) for folder in dict.fromkeys(folders) if next(references(folder), None)]
    if not found:
        raise SystemExit(f"{data}: no recording with an RTTM of its name beside it, here or one folder down.")
    return found


def references(folder: Path) -> Iterator[tuple[Path, tuple[Turn, ...]]]:
    """(recording, reference turns) of every recording of a folder that has a reference."""
    for path in sorted(folder.glob("*")):
        if path.suffix.lower() in SUFFIXES and path.with_suffix(".rttm").is_file():
            yield path, read_rttm(path.with_suffix(".rttm"))


def read_rttm(path: Path) -> tuple[Turn, ...]:
    rows = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    spoken = [(float(r[3]), float(r[4]), r[7]) for r in rows if r and r[0] == "SPEAKER"]
    return tuple(Turn(start, start + duration, speaker) for start, duration, speaker in spoken if duration > 0)


def read_uem(path: Path, duration: float) -> tuple[Segment, ...]:
    """The scored stretches: the recording whole where there is no UEM."""
    if not path.is_file():
        return (Segment(0.0, duration),)
    rows = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    return tuple(Segment(float(r[2]), float(r[3])) for r in rows if len(r) >= 4 and r[0] != ";;")


def score(set_: str, name: str, truth: Sequence[Turn], found: Sequence[Turn], *scored: Segment) -> Row:
    from pyannote.core import Annotation, Timeline
    from pyannote.core import Segment as Span
    from pyannote.metrics.diarization import DiarizationErrorRate

    def annotation(spoken: Sequence[Turn]) -> Any:
        made = Annotation(uri=name)
        for i, turn in enumerate(spoken):
            made[Span(turn.start, turn.end), i] = turn.speaker
        return made

    metric = DiarizationErrorRate(collar=0.0, skip_overlap=False)
    whole = Timeline([Span(stretch.start, stretch.end) for stretch in scored])
    parts = metric.compute_components(annotation(truth), annotation(found), uem=whole)
    errors = Errors(parts["missed detection"], parts["false alarm"], parts["confusion"], parts["total"])
    return Row(set_, name, _count(truth, scored), _count(found, scored), errors)


def _count(spoken: Sequence[Turn], scored: Sequence[Segment]) -> int:
    """Speakers who are heard in what is scored."""
    return len({t.speaker for t in spoken if any(t.start < s.end and s.start < t.end for s in scored)})


def recordings(folders: Sequence[tuple[str, Path]], config: Config) -> Iterator[Row]:
    """Each recording through all stages but recognition."""
    planned = plan.make(config, Store(), recognize=False)
    stages, config = planned.build(), planned.config
    for set_, folder in folders:
        for path, truth in references(folder):
            heard = reading.read(path, id=path.stem).audios[0]
            found = find_turns([heard], stages, config).turns
            yield score(set_, path.stem, truth, found, *read_uem(path.with_suffix(".uem"), heard.duration))


def given(vectors: Path, lab: Path) -> tuple[list[Segment], Vectors, list[Segment]]:
    """(windows, unit vectors, speech) of an .npz with `vectors`, `start`, `end`, and a .lab of `start end speech`."""
    data = np.load(vectors)
    unit = data["vectors"] / np.linalg.norm(data["vectors"], axis=1, keepdims=True)
    windows = [Segment(float(a), float(b)) for a, b in zip(data["start"], data["end"], strict=True)]
    lines = lab.read_text(encoding="utf-8").splitlines()
    return windows, unit.astype(np.float32), [Segment(*(float(value) for value in line.split()[:2])) for line in lines]


def given_vectors(folder: Path, config: Config) -> Iterator[Row]:
    """Clustering and turns on the x-vectors of a meeting."""
    for path in sorted(folder.glob("*.npz")):
        windows, vectors, speech = given(path, path.with_suffix(".lab"))
        found = merging.merge(windows, spectral.cluster(vectors, config.cluster), speech, config=config.turns)
        truth = read_rttm(path.with_suffix(".rttm"))
        yield score("xvectors", path.stem, truth, found, Segment(0.0, max(t.end for t in (*truth, *found))))


def table(rows: Sequence[Row]) -> str:
    lines = [f"{'set':14}{'DER':>7}{'missed':>8}{'alarm':>7}{'confus.':>8}  counts right, within one"]
    for set_ in dict.fromkeys(row.set for row in rows):
        own = [row for row in rows if row.set == set_]
        sums = sum((row.errors for row in own), Errors())
        parts = [100 * value / sums.total for value in (sums.missed, sums.false_alarm, sums.confusion)]
        right, near = (sum(abs(row.found - row.speakers) <= off for row in own) for off in (0, 1))
        lines.append(
            f"{set_:14}{100 * sums.rate:7.1f}{parts[0]:8.1f}{parts[1]:7.1f}{parts[2]:8.1f}"
            f"  {right} of {len(own)}, {near}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=simulate.DATA)
    parser.add_argument("--simulated", type=int, default=60, help="how many conversations to simulate")
    parser.add_argument("--first-seed", type=int, default=1000)
    parser.add_argument("--profile", default="accurate", help="accurate or fast")
    parser.add_argument("--embedder", default="auto", help="its backend")
    parser.add_argument("--segmentation", default="auto", help="its backend; none: one speaker at a time")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    config = parse(
        {
            "profile": options.profile,
            "embedder": {"backend": options.embedder},
            "segmentation": {"backend": options.segmentation},
        },
        "options",
    )
    with tempfile.TemporaryDirectory() as name:
        made = Path(name)
        scenes = list(simulate.scenes(options.first_seed, options.simulated, exclude=("libri-dev",)))
        if lacking := sorted({scene.source for scene in scenes if not (options.data / scene.source).is_dir()}):
            print(f"No conversations are simulated: {options.data} holds no {', '.join(lacking)}.")
        else:
            for scene in scenes:
                simulate.write(simulate.converse(scene, options.data), made)
        folders = [*sets(options.data), ("simulated", made)]
        rows = [*recordings(folders, config), *given_vectors(options.data / "xvectors", config)]
    print(table(rows))
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
