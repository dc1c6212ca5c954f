"""Effect of known turns and known speech on DER and speaker counts.

    python -m benchmarks.constraints [--data DATA] [--simulated N] [--first-seed S] [--json FILE]

For each speaker of the reference, up to 1 or 2 of the turns of 3 s and more are drawn (seeded) and used as known turns;
a speaker without such turns has no known turn. Collar 0, overlap scored, default settings. `elsewhere` is the DER
outside the known turns, and `before` the same without constraints, so the known turns do not count there. `speech` uses
the reference's speech.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import accuracy, simulate
from diarize.activity import NO_ACTIVITY, LocalActivity
from diarize.audio import reading
from diarize.clustering import constraints
from diarize.config import parse
from diarize.models.store import Store
from diarize.timeline import gaps, intersect, union
from diarize.types import Audio, Errors, Segment, Turn
from pipelines import plan
from pipelines.evaluation.scores import Rules
from pipelines.evaluation.turn_scores import score_turns
from pipelines.inputs.jobs import MarkedSpeech
from pipelines.recording import Stages, find_turns

LEAST = 3.0  # s of a turn that is given
KNOWN = (1, 2)  # turns of each speaker
PARTS = ("errors", "elsewhere", "before")


@dataclass(frozen=True, slots=True)
class Row:
    set: str
    recording: str
    given: str
    speakers: int
    known: int  # speakers of whom a turn is given
    found: int
    errors: Errors
    elsewhere: Errors  # outside the known turns
    before: Errors  # there, without them


class Kept:
    """A stage that does the same work once."""

    def __init__(self, stage: Any) -> None:
        self._stage, self._kept, self.name = stage, dict[Any, Any](), stage.name

    def __call__(
        self, heard: Audio, segments: Sequence[Segment] | None = None, activity: LocalActivity = NO_ACTIVITY
    ) -> Any:
        key = (heard.id, tuple(segments or ()), activity.windows)
        if key not in self._kept:
            options = {"activity": activity} if activity.windows else {}
            result = self._stage(heard, *([] if segments is None else [segments]), **options)
            self._kept = {**dict(list(self._kept.items())[-1:]), key: result}
        return self._kept[key]


def drawn(truth: Sequence[Turn], count: int) -> list[Turn]:
    """Up to `count` long turns of each speaker."""
    rng, found = np.random.default_rng(0), list[Turn]()
    for speaker in sorted({turn.speaker for turn in truth}):
        own = [turn for turn in truth if turn.speaker == speaker and turn.duration >= LEAST]
        found += [own[i] for i in rng.permutation(len(own))[:count]]
    return found


def rows(set_: str, path: Path, truth: tuple[Turn, ...], stages: Stages, config: Any) -> Iterator[Row]:
    heard = reading.read(path, id=path.stem).audios[0]
    whole = accuracy.read_uem(path.with_suffix(".uem"), heard.duration)

    def found(used: Stages, known: Sequence[Turn] = ()) -> tuple[Turn, ...]:
        return find_turns([heard], used, config, constraints.resolve(known, (), "known")).turns

    def errors(turns: Sequence[Turn], scored: Sequence[Segment]) -> Errors:
        return score_turns(truth, turns, scored, Rules()).errors or Errors()

    plain = found(stages)
    people = len({turn.speaker for turn in truth})
    for given, known in (("nothing", []), *((f"{n} each", drawn(truth, n)) for n in KNOWN), ("speech", [])):
        used = stages
        if given == "speech":
            used = replace(stages, detect=MarkedSpeech(intersect(union(truth), whole), ""))
        turns = found(used, known)
        outside = intersect(whole, gaps(known, heard.duration))
        names = len({turn.speaker for turn in known})
        count = len({turn.speaker for turn in turns})
        before = errors(plain, outside)
        yield Row(set_, path.stem, given, people, names, count, errors(turns, whole), errors(turns, outside), before)


def table(rows: Sequence[Row]) -> str:
    lines = [f"{'set':14}{'given':9}{'DER':>7}{'elsewhere':>11}{'before':>8}{'known':>8}  counts right"]
    for set_, given in dict.fromkeys((row.set, row.given) for row in rows):
        own = [row for row in rows if (row.set, row.given) == (set_, given)]
        rates = [100 * sum((getattr(row, part) for row in own), Errors()).rate for part in PARTS]
        known = 100 * sum(row.known for row in own) / sum(row.speakers for row in own)
        right = sum(row.found == row.speakers for row in own)
        cells = f"{rates[0]:7.1f}{rates[1]:11.1f}{rates[2]:8.1f}{known:7.0f}%  {right} of {len(own)}"
        lines.append(f"{set_:14}{given:9}{cells}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=simulate.DATA)
    parser.add_argument("--simulated", type=int, default=24, help="how many conversations to simulate")
    parser.add_argument("--first-seed", type=int, default=1000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    config = parse({"embedder": {"backend": "ge2e"}}, "options")
    planned = plan.make(config, Store(), recognize=False)
    real, config = planned.build(2), planned.config
    kept: dict[str, Any] = {
        "detect": Kept(real.detect),
        "embed": Kept(real.embed),
        "segment": Kept(real.segment),
    }
    stages = replace(real, **kept)
    found: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        for scene in simulate.scenes(options.first_seed, options.simulated, exclude=("libri-dev",)):
            simulate.write(simulate.converse(scene, options.data), Path(name))
        for set_, folder in (*accuracy.sets(options.data), ("simulated", Path(name))):
            for path, truth in accuracy.references(folder):
                found += rows(set_, path, truth, stages, config)
    print(table(found))
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in found], indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
