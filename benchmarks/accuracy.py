"""Diarization error and speaker counts of the default settings, on every set there is.

    python -m benchmarks.accuracy [--data DATA] [--simulated N] [--first-seed S] [--segmentation NAME] [--json FILE]

Collar 0, overlap scored, UEM where there is one; scored by pyannote.metrics. `xvectors` is clustering and turns alone,
on given vectors and speech. Simulated conversations (benchmarks/simulate.py) are made from readers that are not in
sim-dev.
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
from diarize import audio, turns
from diarize.cluster import Spectral
from diarize.config import Config, parse
from diarize.models.store import Store
from diarize.types import Errors, Segment, Turn, Vectors
from pipelines import plan
from pipelines.recording import turns_of

SETS = ("sim-dev", "ami-excerpts", "phone-sample")


@dataclass(frozen=True, slots=True)
class Row:
    set: str
    recording: str
    speakers: int
    found: int
    errors: Errors


def references(folder: Path) -> Iterator[tuple[Path, tuple[Turn, ...]]]:
    """(recording, reference turns) of every recording of a folder."""
    for path in sorted(folder.glob("*.flac")):
        yield path, read_rttm(path.with_suffix(".rttm"))


def read_rttm(path: Path) -> tuple[Turn, ...]:
    rows = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    return tuple(Turn(float(r[3]), float(r[3]) + float(r[4]), r[7]) for r in rows if r and r[0] == "SPEAKER")


def read_uem(path: Path, duration: float) -> Segment:
    """The scored stretch: the recording whole where there is no UEM."""
    if not path.is_file():
        return Segment(0.0, duration)
    _, _, start, end = path.read_text(encoding="utf-8").split()
    return Segment(float(start), float(end))


def score(set_: str, name: str, truth: Sequence[Turn], found: Sequence[Turn], scored: Segment) -> Row:
    from pyannote.core import Annotation, Timeline
    from pyannote.core import Segment as Span
    from pyannote.metrics.diarization import DiarizationErrorRate

    def annotation(spoken: Sequence[Turn]) -> Any:
        made = Annotation(uri=name)
        for i, turn in enumerate(spoken):
            made[Span(turn.start, turn.end), i] = turn.speaker
        return made

    metric = DiarizationErrorRate(collar=0.0, skip_overlap=False)
    parts = metric.compute_components(
        annotation(truth), annotation(found), uem=Timeline([Span(scored.start, scored.end)])
    )
    errors = Errors(parts["missed detection"], parts["false alarm"], parts["confusion"], parts["total"])
    return Row(set_, name, len({t.speaker for t in truth}), len({t.speaker for t in found}), errors)


def recordings(folders: Sequence[tuple[str, Path]], config: Config) -> Iterator[Row]:
    """Each recording through all stages but recognition."""
    stages = plan.make(config, Store(), recognize=False).build()
    for set_, folder in folders:
        for path, truth in references(folder):
            heard = audio.read(path, id=path.stem).audios[0]
            _, found, _ = turns_of(heard, stages, config, lambda stage: None)
            yield score(set_, path.stem, truth, found, read_uem(path.with_suffix(".uem"), heard.duration))


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
        found = turns.merge(windows, Spectral(config.cluster)(vectors), speech, config.turns)
        truth = read_rttm(path.with_suffix(".rttm"))
        yield score("xvectors", path.stem, truth, found, Segment(0.0, max(t.end for t in (*truth, *found))))


def table(rows: Sequence[Row]) -> str:
    lines = [f"{'set':14}{'DER':>7}{'missed':>8}{'alarm':>7}{'confus.':>8}  counts right"]
    for set_ in dict.fromkeys(row.set for row in rows):
        own = [row for row in rows if row.set == set_]
        sums = sum((row.errors for row in own), Errors())
        parts = [100 * value / sums.total for value in (sums.missed, sums.false_alarm, sums.confusion)]
        right = sum(row.found == row.speakers for row in own)
        lines.append(
            f"{set_:14}{100 * sums.rate:7.1f}{parts[0]:8.1f}{parts[1]:7.1f}{parts[2]:8.1f}  {right} of {len(own)}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=simulate.DATA)
    parser.add_argument("--simulated", type=int, default=60, help="how many conversations to simulate")
    parser.add_argument("--first-seed", type=int, default=1000)
    parser.add_argument("--segmentation", default="auto", help="its backend; none: one speaker at a time")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    config = parse({"embedder": {"backend": "ge2e"}, "segmentation": {"backend": options.segmentation}}, "options")
    with tempfile.TemporaryDirectory() as name:
        made = Path(name)
        for scene in simulate.scenes(options.first_seed, options.simulated, exclude=("libri-dev",)):
            simulate.write(simulate.converse(scene, options.data), made)
        folders = [*((set_, options.data / set_) for set_ in SETS), ("simulated", made)]
        rows = [*recordings(folders, config), *given_vectors(options.data / "xvectors", config)]
    print(table(rows))
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
