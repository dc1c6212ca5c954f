"""Smaller forms of embedders: size, time, and errors before and after, as the table of docs/method/training.md.

    python -m benchmarks.exports [--models A,B] [--forms float,int8,fp16] [--data DATA] [--work FOLDER] [--json FILE]
                                 [--write docs/method/training.md]

Each model of the store is exported as `diarize export-model` does it, with libri-cohort as its calibration (nobody of
the trials speaks there). Each file then embeds the utterances of both lists of trials, as `diarize verify` does, and
runs through `diarize process` on examples/conversation.flac. EER: of cosines. Times: the network alone, without
features, on noise of 10 s, the best of some runs. Files, and vectors of utterances, stay in --work and are used again.
Rows that the file of `--json` has and this run does not measure stay in the file and in the table.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import models, simulate
from benchmarks.accuracy import read_rttm, score
from diarize.config import Config
from diarize.models.store import Store
from diarize.types import Segment
from pipelines.people.utterance import load_embedder
from pipelines.training.export import Form, export

ROOT = Path(__file__).resolve().parents[1]
MODELS = ("community-1-embedding", "ge2e", "campplus-zh-en")
FORMS: tuple[Form, ...] = ("float", "int8", "fp16")
CALIBRATION = "libri-cohort"
EXAMPLE = ROOT / "examples" / "conversation.flac"
MOST_LOST = 0.002  # EER that a smaller form may lose
BEGIN, END = "<!-- table: python -m benchmarks.exports -->", "<!-- end of the table -->"


@dataclass(frozen=True, slots=True)
class ExportRow:
    """One form of one model. Rates are shares; times are ms for a second of audio."""

    model: str
    form: Form
    bytes: int
    one_thread: float
    two_threads: float
    cosine: float  # to the original, mean
    lowest: float
    drift: float  # mean change of a similarity
    eer: dict[str, float]  # list of trials -> EER
    der: float  # of the example
    speakers: int  # counted there


def measure(model: str, form: Form, data: Path, work: Path, store: Store) -> ExportRow:
    """Export, then measure the file."""
    path = work / f"{model}-{form}.onnx"
    report = export(model, path, store, form, data / CALIBRATION)
    settings = {"embedder": {"backend": str(path)}, "run": {"device": "cpu"}}
    embedder = load_embedder(Config.model_validate(settings), store, None)
    which = models.Embedder(f"{model} as {form}", str(path), report.after, "")
    eer = {name: models.measure(which, embedder, data / name, work).eer_of_cosines for name in models.SETS}
    der, speakers = process(path, work / f"{path.stem}-out")
    fidelity, column = report.fidelity, 0 if form == "float" else 1
    return ExportRow(
        model, form, report.after, report.ms[column], report.ms_two[column], fidelity.cosine, fidelity.lowest,
        fidelity.drift, eer, der, speakers,
    )  # fmt: skip


def process(model: Path, out: Path) -> tuple[float, int]:
    """(DER, speakers counted) of the example through the command."""
    command = [sys.executable, str(ROOT / "run_pipeline.py"), "process", str(EXAMPLE), "--out", str(out), "-q"]
    command += ["--embedder", str(model), "--asr", "none", "--offline", "--cache", "none", "--force"]
    subprocess.run(command, check=True, cwd=ROOT)
    truth = read_rttm(EXAMPLE.with_suffix(".rttm"))
    (turns,) = out.glob("*/*.rttm")
    whole = Segment(0.0, max(turn.end for turn in truth) + 1.0)
    row = score("", EXAMPLE.stem, truth, read_rttm(turns), whole)
    return row.errors.rate, row.found


def table(rows: Sequence[ExportRow]) -> str:
    """The rows in Markdown, the change of the EER in points behind it."""
    heads = ("model", "form", "MB", "ms/s, 1 thread", "2 threads", "cosine, mean and lowest", "change of a similarity",
             *(f"EER %, {name}" for name in models.SETS), "DER % of the example (speakers)")  # fmt: skip
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for row in rows:
        before = next((r for r in rows if r.model == row.model and r.form == "float"), None)
        rates = []
        for name, rate in row.eer.items():
            change = "" if before is None or row is before else f" ({100 * (rate - before.eer[name]):+.2f})"
            rates.append(f"{100 * rate:.2f}{change}")
        near = "" if row is before else f"{row.cosine:.5f}, {row.lowest:.5f}"
        drift = "" if row is before else f"{row.drift:.4f}"
        cells = (row.model, row.form, f"{row.bytes / 1e6:.2f}", f"{row.one_thread:.2f}", f"{row.two_threads:.2f}", near,
                 drift, *rates, f"{100 * row.der:.1f} ({row.speakers})")  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def losses(rows: Sequence[ExportRow]) -> list[str]:
    """Exports that lose more than MOST_LOST of EER, in words."""
    plain = {row.model: row.eer for row in rows if row.form == "float"}
    return [
        f"{row.model} as {row.form}: {100 * (rate - plain[row.model][name]):+.2f} points on {name}"
        for row in rows
        for name, rate in row.eer.items()
        if row.model in plain and rate - plain[row.model][name] > MOST_LOST
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--forms", default=",".join(FORMS))
    parser.add_argument("--data", type=Path, default=simulate.DATA)
    parser.add_argument("--work", type=Path, default=Path("out/exports"))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--write", type=Path, metavar="PAGE")
    options = parser.parse_args()
    if not options.data.is_dir():
        print(f"skipped: there are no utterances in {options.data}")
        return
    options.work.mkdir(parents=True, exist_ok=True)
    store = Store(offline=True)
    rows = []
    for model in options.models.split(","):
        if store.find(model) is None:
            print(f"skipped: {model} is not in the model store")
            continue
        for form in [form for form in FORMS if form in options.forms.split(",")]:
            rows.append(measure(model, form, options.data, options.work, store))
            print(json.dumps(asdict(rows[-1])), flush=True)
    if options.json is not None:
        measured = {(row.model, row.form) for row in rows}
        earlier = (ExportRow(**row) for row in models.read_rows(options.json))
        rows = [*(row for row in earlier if (row.model, row.form) not in measured), *rows]
    rows.sort(key=lambda row: (row.model, FORMS.index(row.form)))
    print(table(rows))
    for problem in losses(rows):
        print(f"more than {100 * MOST_LOST:g} points of EER lost: {problem}")
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", encoding="utf-8")
    if options.write is not None:
        models.write(options.write, table(rows), BEGIN, END)


if __name__ == "__main__":
    main()
