"""Long recordings: the effect of clustering only a part of the windows with each other.

    python -m benchmarks.compression [--data DATA] [--most N] [--spectral] [--workers 2] [--json FILE]

Simulated conversations of one and two hours (benchmarks/simulate.py; seeded) are processed by the default stages up to
the embeddings, once. Then the windows are clustered by default, and exactly: all windows in the mixture. `--spectral`
does the same with spectral clustering; its exact form (eigenvalues of matrices of all windows, which take minutes) is
left out above 4,000 windows. DER with collar 0, overlap scored. `differ` is the DER of the default's turns with the
exact ones as reference. A participant with little speech talks for 5 s.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from unittest import mock

from benchmarks import simulate
from benchmarks.accuracy import read_rttm, score
from benchmarks.simulate import Scene
from diarize import activity
from diarize.audio import reading
from diarize.clustering import clusterer, mixture, spectral, splitting
from diarize.clustering.clusterer import WindowClusterer
from diarize.config import Config, parse
from diarize.models.store import Store
from diarize.speech import windows
from diarize.turns import merging
from diarize.types import Embeddings, Errors, Labels, Segment, Turn
from pipelines import plan

HOUR = 3600.0
SCENES = (
    Scene(8000, "libri-dev", 2, HOUR, "room", "even"),
    Scene(8001, "libri-cohort", 5, HOUR, "close", "brief"),
    Scene(8002, "libri-cohort", 10, 2 * HOUR, "phone", "even"),
    Scene(8003, "speechocean-dev", 3, HOUR, "close", "even"),
    Scene(8004, "libri-dev", 4, 2 * HOUR, "close", "uneven"),
    Scene(8005, "an4-dev", 4, HOUR, "room", "even"),
    Scene(8006, "libri-cohort", 7, 2 * HOUR, "room", "uneven"),
    Scene(8007, "libri-dev", 5, HOUR, "phone", "uneven"),
    Scene(8008, "libri-cohort", 3, HOUR, "room", "brief"),
    Scene(8009, "speechocean-dev", 6, 2 * HOUR, "room", "even"),
    Scene(8010, "libri-cohort", 8, HOUR, "close", "uneven"),
    Scene(8011, "an4-dev", 6, HOUR, "phone", "even"),
)
ALL = sys.maxsize
DENSE = 4_000  # windows up to which the spectral way is done exactly
Way = Callable[["Heard"], Labels]


@dataclass(frozen=True, slots=True)
class Heard:
    """What clustering is given, and the truth."""

    id: str
    voices: Embeddings
    speech: tuple[Segment, ...]
    activity: activity.LocalActivity
    whole: Segment
    truth: tuple[Turn, ...]


@dataclass(frozen=True, slots=True)
class Row:
    recording: str
    windows: int
    speakers: int
    way: str
    found: int
    seconds: float  # of clustering
    errors: Errors
    differ: Errors | None  # against the exact turns of this way; None: these are exact, or there are no exact ones


def heard(scene: Scene, data: Path, config: Config) -> Heard:
    """The conversation through all stages before clustering."""
    planned = plan.make(config, Store(), recognize=False)
    stages, config = planned.build(), planned.config
    if not stages.segment.name or stages.embed is None or stages.detect is None:
        raise ValueError("a model is missing in the model store (diarize models pull)")
    with tempfile.TemporaryDirectory() as name:
        path = simulate.write(simulate.converse(scene, data), Path(name))
        sound = reading.read(path, id=path.stem).audios[0]
        local = stages.segment(sound)
        speech = stages.detect(sound, local)
        voices = stages.embed(sound, windows.over(speech, config.windows, local), activity=local)
        truth = read_rttm(path.with_suffix(".rttm"))
        return Heard(scene.id, voices, speech, local, Segment(0.0, sound.duration), truth)


def by_mixture(many: int, of: Heard) -> Labels:
    with mock.patch.object(clusterer, "_MIXTURE_MOST", many):
        occupancy = splitting.occupancy(of.voices.segments, of.activity)
        weights = mixture.weights_of(of.voices.segments)
        return WindowClusterer().of_embedder(of.voices.vectors, of.voices.model, weights, occupancy)


def by_spectrum(groups: int, of: Heard) -> Labels:
    with mock.patch.object(spectral, "_MOST_ITEMS", groups):
        return spectral.cluster(of.voices.vectors)


def compared(of: Heard, name: str, default: Way, exact: Way | None, config: Config) -> list[Row]:
    """One row of the default, and one of the exact where it is wanted."""
    rows: list[Row] = []
    truth: tuple[Turn, ...] | None = None
    for kind, way in (("exact", exact), ("default", default)):
        if way is None:
            continue
        began = time.perf_counter()
        labels = way(of)
        seconds = time.perf_counter() - began
        labels = splitting.split(of.voices, labels, of.activity, config.segmentation)
        voices, sections = of.voices.segments, (config.turns, config.segmentation)
        turns = merging.merge(voices, labels, of.speech, of.activity, (), *sections)
        found = score("", of.id, of.truth, turns, of.whole)
        differ = None if truth is None else score("", of.id, truth, turns, of.whole).errors
        truth = turns if way is exact else truth
        rows.append(
            Row(of.id, len(labels), found.speakers, f"{name}, {kind}", found.found, seconds, found.errors, differ)
        )
    return rows


def measured(scene: Scene, data: Path, both: bool) -> list[Row]:
    """All ways on one conversation."""
    config = parse({"embedder": {"backend": "ge2e"}, "segmentation": {"backend": "auto"}}, "options")
    of = heard(scene, data, config)
    rows = compared(of, "mixture", partial(by_mixture, clusterer._MIXTURE_MOST), partial(by_mixture, ALL), config)
    if both:
        dense = partial(by_spectrum, ALL) if len(of.voices.segments) <= DENSE else None
        rows += compared(of, "spectral", partial(by_spectrum, spectral._MOST_ITEMS), dense, config)
    return rows


def table(rows: Sequence[Row]) -> str:
    ways = list(dict.fromkeys(row.way for row in rows))
    lines = [f"{'DER, found; points of difference':46}{'windows':>8}" + "".join(f"{way:>20}" for way in ways)]
    for name in dict.fromkeys(row.recording for row in rows):
        own = {row.way: row for row in rows if row.recording == name}
        first = next(iter(own.values()))
        lines.append(f"{name:46}{first.windows:8}" + "".join(_cell(own.get(way)) for way in ways))
    sums = [[row for row in rows if row.way == way] for way in ways]
    lines.append(
        f"{'together, counts right':54}"
        + "".join(
            f"{100 * sum((row.errors for row in of), Errors()).rate:9.1f}"
            f"{sum(row.found == row.speakers for row in of):6} of{len(of):2}"
            for of in sums
        )
    )
    lines.append(f"{'seconds, the longest':54}" + "".join(f"{max(row.seconds for row in of):20.1f}" for of in sums))
    return "\n".join(lines)


def _cell(row: Row | None) -> str:
    if row is None:
        return f"{'-':>20}"
    differ = "" if row.differ is None else f"{100 * row.differ.rate:.2f}"
    return f"{100 * row.errors.rate:9.1f}{row.found:4}{differ:>7}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=simulate.DATA)
    parser.add_argument("--most", type=int, default=len(SCENES), help="how many conversations")
    parser.add_argument("--spectral", action="store_true", help="the spectral way too")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if not options.data.is_dir():
        print(f"skipped: there are no utterances in {options.data}")
        return
    with ProcessPoolExecutor(options.workers) as pool:
        found = pool.map(partial(measured, data=options.data, both=options.spectral), SCENES[: options.most])
        rows = [row for of in found for row in of]
    print(table(rows))
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
