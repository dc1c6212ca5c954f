"""Right and wrong names in conversations, with the default settings and a library of 125 people.

    python -m benchmarks.identification [--embedder auto] [--data DATA] [--conversations N] [--first-seed S]
        [--json FILE]

The library has the five readers of libri-dev, from the utterances of enrol.txt (which are in no conversation), and the
120 readers of libri-cohort, from one utterance each. The conversations are sim-dev, N simulated ones of readers of
libri-dev, and N of readers of libri-cohort (benchmarks/simulate.py), a third of each `close`, `phone` and `room`.

`all`: all participants are enrolled, and the main job is run. `left out`: once for each participant, with a library
without this participant, who should then be unknown. `strangers`: conversations of readers of libri-cohort, with a
library without the participants. `linked`: no reader of libri-dev is enrolled; unknown speakers of all recordings of a
condition get labels `unknown-1`, ...

Times are counted in steps of 10 ms. `right` is the share of the participants' speaking time in which a speaker with
their name talks; `of heard` is the same for the time in which speech was detected; `wrong names` are speakers with
another name than that of the participant who speaks most in their turns.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np

from benchmarks import simulate
from benchmarks.accuracy import read_rttm
from diarize.audio import reading
from diarize.config import AudioConfig, Config, parse
from diarize.library import store as libraries
from diarize.library.database.records import Matrix
from diarize.library.scoring import people as naming
from diarize.library.scoring.identification import OpenSet
from diarize.library.scoring.linking import Strangers
from diarize.library.scoring.people import Voices
from diarize.models.store import Store
from diarize.types import Speaker, Turn
from pipelines import plan
from pipelines.batch import process
from pipelines.batch.run import RunObserver
from pipelines.people import enroll, enrolment_audio, enrolment_checks
from pipelines.people.scoring import Scoring
from pipelines.people.utterance import load_embedder
from pipelines.people.verify import load_verifier
from pipelines.recording import find_turns
from pipelines.results import linking, outputs

STEP = 0.01  # s
CONDITIONS: tuple[simulate.Condition, ...] = ("close", "phone", "room")
SETS = ("sim-dev", "simulated", "strangers")


@dataclass(frozen=True, slots=True)
class Row:
    """One recording with one library."""

    set: str
    condition: str
    recording: str
    library: str  # "all", or who is left out
    total: float  # s that participants speak
    heard: float  # s of them in which anybody was found to speak
    right: float  # s
    speakers: int  # found
    wrong: int  # speakers with a name that is not theirs
    named_absent: bool  # who is left out has somebody's name


@dataclass(frozen=True, slots=True)
class Heard:
    """What does not depend on the library."""

    set: str
    path: Path
    truth: tuple[Turn, ...]
    turns: tuple[Turn, ...]
    voices: Voices

    @property
    def condition(self) -> str:
        return next(word for word in self.path.stem.split("-") if word in CONDITIONS)


def enrolled(data: Path, place: Path, config: Config, store: Store) -> None:
    """The library, by the same steps as `enroll`; what they refuse is forced in, as the set is fixed."""
    embedder = load_embedder(config, store)
    verifier = load_verifier(embedder, Scoring())
    people: dict[str, list[Path]] = {}
    for line in (data / "libri-dev" / "enrol.txt").read_text(encoding="utf-8").splitlines():
        reader, name = line.split()
        people.setdefault(reader, []).append(data / "libri-dev" / name)
    for path in sorted((data / "libri-cohort").glob("*.flac")):
        people.setdefault(path.stem.split("-")[0], []).append(path)
    with libraries.open(place, create=True) as library:
        for reader, paths in people.items():
            request = enroll.EnrolmentRequest(reader, accept=frozenset(enrolment_checks.CHECKS))
            excerpts = enrolment_audio.read_files(paths, AudioConfig())
            enroll.add_utterances(library, request, None, excerpts, embedder, verifier)


def conversations(data: Path, folder: Path, first: int, count: int) -> Iterator[tuple[str, Path]]:
    """(set, path) of what is simulated."""
    taken = {line.split()[1] for line in (data / "libri-dev" / "enrol.txt").read_text(encoding="utf-8").splitlines()}
    fresh = folder / "data" / "libri-dev"
    fresh.mkdir(parents=True)
    for path in (data / "libri-dev").iterdir():
        if path.name not in taken:
            (fresh / path.name).symlink_to(path)
    (folder / "data" / "libri-cohort").symlink_to(data / "libri-cohort")
    for set_, source in (("simulated", "libri-dev"), ("strangers", "libri-cohort")):
        (folder / set_).mkdir()
        for seed in range(first, first + count):
            rng = np.random.default_rng([77, seed])
            speakers, seconds = int(rng.integers(2, 6)), float(rng.integers(90, 240))
            share: simulate.Share = str(rng.choice(["even", "even", "uneven", "brief"]))  # type: ignore[assignment]
            if source == "libri-cohort":  # who have 13 s each
                seconds, share = 16.0 * speakers, "even"
            scene = simulate.Scene(seed, source, speakers, seconds, CONDITIONS[seed % 3], share)
            yield set_, simulate.write(simulate.converse(scene, folder / "data"), folder / set_)


def rated(row: Row, truth: Sequence[Turn], turns: Sequence[Turn], named: dict[str, str | None]) -> Row:
    """`row` with its counts. `named`: speaker of `turns` -> name."""
    steps = round(max(turn.end for turn in (*truth, *turns)) / STEP) + 1
    said, found = _tracks(((t.speaker, t) for t in truth), steps), _tracks(((t.speaker, t) for t in turns), steps)
    names = _tracks(((named[t.speaker] or "", t) for t in turns), steps)
    anybody = np.any(list(found.values()), axis=0)
    main = {id: max(said, key=lambda who: int((said[who] & track).sum())) for id, track in found.items()}
    return replace(
        row,
        total=sum(STEP * track.sum() for track in said.values()),
        heard=sum(STEP * (track & anybody).sum() for track in said.values()),
        right=sum(STEP * (track & names[who]).sum() for who, track in said.items() if who in names),
        speakers=len(found),
        wrong=sum(named[id] not in (None, who) for id, who in main.items()),
        named_absent=any(named[id] is not None and who == row.library for id, who in main.items()),
    )


def _tracks(spans: Iterable[tuple[str, Turn]], steps: int) -> dict[str, np.ndarray]:
    made: dict[str, np.ndarray] = {}
    for who, turn in spans:
        track = made.setdefault(who, np.zeros(steps, bool))
        track[round(turn.start / STEP) : round(turn.end / STEP)] = True
    return made


def main_job(heard: Sequence[Heard], place: Path, out: Path, config: Config, store: Store) -> Iterator[Row]:
    """Everybody is enrolled; what `process --library` writes is scored."""
    request = process.ProcessRequest(
        tuple(one.path for one in heard), out, library=partial(libraries.open, place, read_only=True)
    )
    report = process.process(request, config, store, RunObserver())
    ids = {Path(row.name).stem: row.id for row in report.outcomes}
    for one in heard:
        transcript = outputs.read(out / ids[one.path.stem])
        names = {speaker.id: speaker.name for speaker in transcript.speakers}
        yield rated(_row(one, "all"), one.truth, transcript.turns, names)


def without(matrix: Matrix, readers: Iterable[str]) -> Matrix:
    """The library without these people."""
    gone = set(readers)
    kept = [row for row, name in enumerate(matrix.names) if name not in gone]
    ids, names = ([many[row] for row in kept] for many in (matrix.ids, matrix.names))
    return replace(matrix, ids=ids, names=names, vectors=matrix.vectors[kept], seconds=matrix.seconds[kept])


def recognised(one: Heard, identify: OpenSet, gap: float) -> tuple[tuple[Turn, ...], dict[str, str | None]]:
    found = naming.name_speakers(one.turns, one.voices, identify, gap)
    return found.turns, {speaker.id: speaker.name for speaker in found.speakers}


def _row(one: Heard, library: str) -> Row:
    return Row(one.set, one.condition, one.path.stem, library, 0.0, 0.0, 0.0, 0, 0, False)


def listened(paths: Sequence[tuple[str, Path]], config: Config, store: Store) -> Iterator[Heard]:
    stages = plan.make(config, store, recognize=False).build()
    for set_, path in paths:
        sound = reading.read(path, id=path.stem).audios[0]
        found = find_turns([sound], stages, config)
        voices = naming.voices_of(found.turns, found.tracks)
        yield Heard(set_, path, read_rttm(path.with_suffix(".rttm")), found.turns, voices)


def linked(heard: Sequence[Heard], identify: OpenSet, gap: float) -> dict[str, int]:
    """Pairs of speakers of two recordings: of one person and linked, of one and not, of two and linked, of two."""
    unknown: list[tuple[str, Strangers]] = []
    main: dict[tuple[str, str], str] = {}
    for one in heard:
        found = naming.name_speakers(one.turns, one.voices, identify, gap)
        if found.strangers is not None:
            unknown.append((one.path.stem, found.strangers))
        for speaker in found.speakers:
            main[one.path.stem, speaker.id] = _most(one.truth, found.turns, speaker)
    assert identify.calibration is not None
    settings = identify.config
    called = linking.label_strangers(unknown, identify.calibration, settings.prior, settings.seconds)
    everybody = [(recording, id, label) for recording, own in called.items() for id, label in own.items()]
    counts = Counter((main[a[:2]] == main[b[:2]], a[2] == b[2]) for a, b in combinations(everybody, 2) if a[0] != b[0])
    names = ("one person, linked", "one person, not linked", "two people, linked", "two people, not linked")
    return dict(zip(names, (counts[same, link] for same in (True, False) for link in (True, False)), strict=True))


def _most(truth: Sequence[Turn], turns: Sequence[Turn], speaker: Speaker) -> str:
    shared: Counter[str] = Counter()
    for turn in turns:
        if turn.speaker == speaker.id:
            for said in truth:
                shared[said.speaker] += turn.overlap(said)  # type: ignore[assignment]
    return shared.most_common(1)[0][0]


def table(rows: Sequence[Row]) -> str:
    lines = [f"{'set':10} {'condition':10} {'library':10} {'rows':>5} {'right':>7} {'of heard':>9} {'wrong names':>12}"]
    lines[0] += f" {'speakers':>9} {'left out, named':>16}"
    kinds: dict[str, Callable[[Row], bool]] = {
        "all": lambda row: row.library == "all",
        "left out": lambda row: row.library not in ("all", "none"),
        "strangers": lambda row: row.library == "none",
    }
    for set_ in SETS:
        for condition in CONDITIONS:
            for kind, belongs in kinds.items():
                own = [r for r in rows if r.set == set_ and r.condition == condition and belongs(r)]
                if not own:
                    continue
                sums = [
                    sum(getattr(row, key) for row in own) for key in ("right", "total", "heard", "wrong", "speakers")
                ]
                right, total, heard, wrong, speakers = sums
                lines.append(
                    f"{set_:10} {condition:10} {kind:10} {len(own):5} {100 * right / total:6.1f}% "
                    f"{100 * right / heard:8.1f}% {wrong:12} {speakers:9} {sum(row.named_absent for row in own):16}"
                )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=simulate.DATA)
    parser.add_argument("--embedder", default="auto")
    parser.add_argument("--conversations", type=int, default=30)
    parser.add_argument("--first-seed", type=int, default=8000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    config = parse({"asr": {"backend": "none"}, "embedder": {"backend": options.embedder}}, "benchmark")
    store = Store()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        place = folder / "readers.db"
        enrolled(options.data, place, config, store)
        paths = [("sim-dev", path) for path in sorted((options.data / "sim-dev").glob("*.flac"))]
        paths += conversations(options.data, folder, options.first_seed, options.conversations)
        heard = [*listened(paths, config, store)]
        known = [one for one in heard if one.set != "strangers"]
        rows = [*main_job(known, place, folder / "out", config, store)]
        with libraries.open(place, read_only=True) as library:
            people = plan.make(config, store, recognize=False, library=library).people
        assert people is not None
        identify, gap = people.load(), config.turns.gap
        for one in heard:
            present = sorted({turn.speaker for turn in one.truth})
            for gone in [[who] for who in present] if one.set != "strangers" else [present]:
                turns, names = recognised(one, replace(identify, library=without(identify.library, gone)), gap)
                rows.append(rated(_row(one, gone[0] if one.set != "strangers" else "none"), one.truth, turns, names))
        nobody = replace(identify, library=without(identify.library, {t.speaker for o in known for t in o.truth}))
        pairs: dict[str, dict[str, int]] = {
            condition: linked([one for one in known if one.condition == condition], nobody, gap)
            for condition in CONDITIONS
        }
        pairs["all"] = linked(known, nobody, gap)
    print(table(rows))
    for condition, counts in pairs.items():
        print(f"linked, {condition}: " + ", ".join(f"{name} {count}" for name, count in counts.items()))
    if options.json:
        found = {"recordings": [asdict(row) for row in rows], "linked": pairs}
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
