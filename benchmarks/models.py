"""Every embedder at hand on two lists of trials: errors, cost, size and licence, as the table of docs/embedders.md.

    python -m benchmarks.models [--embedders A,B] [--onnx NAME=FILE ...] [--data DATA] [--cache FOLDER] [--json FILE]
                                [--write docs/embedders.md]

Default: the embedders in the model store, and community-1-embedding in floating point. Recordings go through the
product's own stages, prepared as `diarize verify` does. The threshold is the one that comes with the model: LLR 0 of
the calibration that is supplied for it, or that of its authors. Times are those of the CPU (speech detection and
embedding, all threads; decoding runs in a process of its own), so other load changes them little. `--cache` stores
voices and times between runs; `--write` replaces the table between two marks in a page. Results that the file of
`--json` has and this run does not measure stay in the file and in the table.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diarize.config import Config
from diarize.errors import AudioError
from diarize.library.scoring.calibration import Side
from diarize.metrics import verification
from diarize.models.store import Store
from pipelines.people import trials as lists
from pipelines.people.scoring import Scoring
from pipelines.people.utterance import UtteranceEmbedder, load_embedder

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
SETS = ("an4-dev", "speechocean-dev")
FLOAT = "community-1-embedding (float)"
PRIOR = 0.01  # of minDCF
BRIEF = (2.8, 3.2)  # s, utterances whose time is that of an enrolment or verification
GOALS = {"far": 0.01, "frr": 0.05, "eer": 0.02, "enrol": 500.0, "verify": 100.0}  # ms for the last two
BEGIN, END = "<!-- table: python -m benchmarks.models -->", "<!-- end of the table -->"


@dataclass(frozen=True, slots=True)
class Embedder:
    name: str  # as the table shows it
    backend: str  # as --embedder takes it
    size: int  # bytes
    licence: str
    precision: str = "int8"


@dataclass(frozen=True, slots=True, eq=False)
class Voices:
    """The utterances of one set, by one embedder."""

    names: tuple[str, ...]
    vectors: Any  # (n, d) float32
    sides: tuple[Side, ...]
    audio: tuple[float, ...]  # s, of each recording
    milliseconds: tuple[float, ...]  # of the CPU, of each


@dataclass(frozen=True, slots=True)
class Result:
    """One embedder on one set. Rates are shares; None: no threshold comes with the model."""

    embedder: str
    data: str
    scoring: str
    eer: float
    eer_of_cosines: float
    min_dcf: float
    threshold: str
    far: float | None
    frr: float | None
    left_out: int  # trials to which the threshold does not apply
    milliseconds: float  # per second of audio
    brief: float  # ms, median of utterances of about 3 s
    size: int
    licence: str


def at_hand(store: Store, onnx: Sequence[str]) -> Iterator[Embedder]:
    """Embedders in the model store, then the files of `NAME=FILE,LICENCE`."""
    for status in store.list():
        entry = status.entry
        if entry.role == "embedder" and status.state == "present":
            size = sum(path.stat().st_size for path in status.path.iterdir() if path.suffix != ".json")
            yield Embedder(entry.name, entry.name, size, entry.licence)
            if entry.name == "community-1-embedding":
                yield Embedder(FLOAT, entry.name, size, entry.licence, "float")
    for argument in onnx:
        name, _, place = argument.partition("=")
        path, _, licence = place.partition(",")
        yield Embedder(name, path, Path(path).stat().st_size, licence or "?")


def voices(embedder: UtteranceEmbedder, folder: Path, names: Sequence[str], cache: Path | None) -> Voices:
    """The named utterances in `folder`; those without speech are left out."""
    digest = hashlib.sha256(embedder.model.encode()).hexdigest()[:16]
    path = None if cache is None else cache / f"{folder.name}-{digest}.npz"
    if path is not None and path.is_file():
        with np.load(path) as stored:
            sides = tuple(Side(float(a), float(b)) for a, b in stored["sides"])
            times = (tuple(map(float, stored[key])) for key in ("audio", "milliseconds"))
            return Voices(tuple(stored["names"].tolist()), stored["vectors"], sides, *times)
    rows: list[tuple[str, Any, Side, float, float]] = []
    durations = {name: about["seconds"] for name, about in json.loads((folder / "utterances.json").read_text()).items()}
    for name in names:
        began = time.process_time()
        try:
            voice = embedder.embed_file(folder / f"{name}.flac")
        except AudioError:
            continue
        rows.append((name, voice.vector, voice.side, durations[name], 1000 * (time.process_time() - began)))
    columns = list(zip(*rows, strict=True))
    made = Voices(columns[0], np.stack(columns[1]), columns[2], columns[3], columns[4])
    if path is not None:
        sides_ = np.array([(side.seconds, side.bandwidth) for side in made.sides], np.float64)
        arrays = {"names": made.names, "vectors": made.vectors, "sides": sides_}
        np.savez(path, **arrays, audio=made.audio, milliseconds=made.milliseconds)
    return made


def measure(which: Embedder, embedder: UtteranceEmbedder, folder: Path, cache: Path | None) -> Result:
    """The figures of one embedder on the trials of one set."""
    listed = lists.read(folder / "trials.txt")
    names = sorted({name for trial in listed for name in (trial.a, trial.b)})
    heard = voices(embedder, folder, names, cache)
    at = {name: i for i, name in enumerate(heard.names)}
    pairs = [(at[trial.a], at[trial.b], trial.same) for trial in listed if trial.a in at and trial.b in at]
    a, b = (np.array([pair[i] for pair in pairs]) for i in (0, 1))
    same = np.array([pair[2] for pair in pairs])
    scorer, calibration = Scoring().load(embedder)
    values = scorer(heard.vectors[a], heard.vectors[b])
    cosines = np.einsum("nd,nd->n", heard.vectors[a], heard.vectors[b])

    # The threshold that comes with the model, as a threshold of `decided`.
    threshold: float | None = None
    decided, words = values, "none"
    if calibration is not None:
        seconds = [np.array([side.seconds for side in heard.sides])[index] for index in (a, b)]
        refused = [calibration.refusal(heard.sides[i], heard.sides[j]) is not None for i, j in zip(a, b, strict=True)]
        decided = np.where(refused, np.nan, calibration.llr(values, *seconds))
        threshold, words = 0.0, "LLR 0"
    elif embedder.scoring.threshold is not None:
        threshold = -embedder.scoring.threshold if embedder.scoring.is_distance else embedder.scoring.threshold
        words = f"{embedder.scoring.metric} {embedder.scoring.threshold:g}"
    usable = np.isfinite(decided)
    rates: tuple[float | None, float | None] = (None, None)
    if threshold is not None:
        rates = verification.errors_at(decided[usable & same], decided[usable & ~same], threshold)
    brief = [ms for ms, s in zip(heard.milliseconds, heard.audio, strict=True) if BRIEF[0] <= s <= BRIEF[1]]
    return Result(
        embedder=which.name,
        data=folder.name,
        scoring=scorer.kind.partition("(")[0],
        eer=verification.equal_error(values[same], values[~same])[0],
        eer_of_cosines=verification.equal_error(cosines[same], cosines[~same])[0],
        min_dcf=verification.min_dcf(values[same], values[~same], PRIOR)[0],
        threshold=words,
        far=rates[1],
        frr=rates[0],
        left_out=int((~usable).sum()),
        milliseconds=sum(heard.milliseconds) / sum(heard.audio),
        brief=float(np.median(brief)),
        size=which.size,
        licence=which.licence,
    )


def table(results: Sequence[Result]) -> str:
    """The results as a table in Markdown, the best first, with the service goals in the last row."""
    heads = ("embedder", "trials", "EER %", "of cosines", "minDCF(0.01)", "threshold", "FAR %", "FRR %",
             "ms per s of audio", "ms for 3 s", "MB", "licence")  # fmt: skip
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]

    def percent(value: float | None) -> str:
        return "" if value is None else f"{100 * value:.2f}"

    best = {name: min(r.eer for r in results if r.embedder == name) for name in {r.embedder for r in results}}
    for r in sorted(results, key=lambda r: (best[r.embedder], r.embedder, r.data)):
        cells = (r.embedder, r.data, percent(r.eer), percent(r.eer_of_cosines), f"{r.min_dcf:.3f}", r.threshold,
                 percent(r.far), percent(r.frr), f"{r.milliseconds:.0f}", f"{r.brief:.0f}",
                 f"{r.size / 1e6:.1f}", r.licence)  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    goals: Mapping[str, str] = {key: f"< {100 * value:g}" for key, value in GOALS.items() if value < 1}
    times = f"enrol < {GOALS['enrol']:g}, verify < {GOALS['verify']:g}"
    lines.append(f"| *goal of a service* | | {goals['eer']} | | | | {goals['far']} | {goals['frr']} | | {times} | | |")
    return "\n".join(lines)


def write(page: Path, text: str, begin: str = BEGIN, end: str = END) -> None:
    """Replace what stands between two marks of a page. Raises ValueError where it has no such marks."""
    content = page.read_text(encoding="utf-8")
    before, first, rest = content.partition(begin)
    _, last, after = rest.partition(end)
    if not first or not last:
        raise ValueError(f"{page} has no place for a table: {begin} ... {end}")
    page.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}", encoding="utf-8")


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Results of earlier runs; none where there is no such file."""
    rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--embedders", help="names of the table, with commas; default: all")
    parser.add_argument("--onnx", action="append", default=[], metavar="NAME=FILE,LICENCE", help="one more embedder")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--write", type=Path, metavar="PAGE")
    options = parser.parse_args()
    if options.cache is not None:
        options.cache.mkdir(parents=True, exist_ok=True)
    store = Store(offline=True)
    wanted = None if options.embedders is None else options.embedders.split(",")
    results = []
    for which in at_hand(store, options.onnx):
        if wanted is not None and which.name not in wanted:
            continue
        settings = {"embedder": {"backend": which.backend, "precision": which.precision}, "run": {"device": "cpu"}}
        embedder = load_embedder(Config.model_validate(settings), store, None)
        for name in SETS:
            results.append(measure(which, embedder, options.data / name, options.cache))
            print(json.dumps(asdict(results[-1])), flush=True)
    if options.json is not None:
        measured = {(result.embedder, result.data) for result in results}
        earlier = (Result(**row) for row in read_rows(options.json))
        results = [*(r for r in earlier if (r.embedder, r.data) not in measured), *results]
    text = table(results)
    print(text)
    if options.json is not None:
        content = json.dumps([asdict(result) for result in results], indent=1)
        options.json.write_text(content + "\n", encoding="utf-8")
    if options.write is not None:
        write(options.write, text)


if __name__ == "__main__":
    main()
