"""An evaluation for people and for programs: tables, CSV, JSON, Markdown, pictures."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from diarize import files
from diarize.formats.csv import guard
from diarize.formats.naming import encodable, to_token, visible
from diarize.formats.times import format_short_clock
from diarize.text import counted
from pipelines.evaluation import picture
from pipelines.evaluation.scores import MEASURES, Evaluation, Place, Score, System
from pipelines.results import outputs

PICTURES = "pictures"
_MAIN = ("der", "missed", "false_alarm", "confusion", "jer", "wer", "cpwer", "tcpwer")  # in the table by recording
_BEST = "*"
_MOST_PLACES = 20  # in the report


@dataclass(frozen=True, slots=True)
class ReportTable:
    """A table of text: each row has a cell a column; the first `names` columns say what a row is about."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    names: int = 1


def tables(evaluation: Evaluation) -> tuple[ReportTable, ...]:
    """For people: all measures pooled with the systems side by side, each recording, speaker counts."""
    result = [_pooled(evaluation)]
    if len(evaluation.recordings) > 1:
        result.append(_by_recording(evaluation))
    if any(system.differences for system in evaluation.systems):
        result.append(_differences(evaluation))
    if evaluation.places:
        result.append(_places(evaluation.places))
    result += [_counts(system) for system in evaluation.systems if system.pooled.speakers]
    return tuple(result)


def describe_rules(evaluation: Evaluation) -> tuple[str, ...]:
    """Lines on the rules behind the figures, without which these mean nothing."""
    rules = evaluation.rules
    lines = [
        f"reference: {visible(evaluation.reference)}; UEM: {visible(evaluation.uem or 'none (all of both sides)')}; "
        f"{counted(len(evaluation.recordings), 'recording')}",
        f"DER: collar {rules.collar:g} s on each side of a boundary, "
        f"overlap {'left out' if rules.skip_overlap else 'scored'}, speakers paired as {rules.convention} does",
        f"boundaries within {rules.tolerance:g} s are the same; "
        f"tcpWER and WDER pair words within {rules.word_collar:g} s",
        f"text: {', '.join(rules.normalise) or 'as it is'}",
    ]
    if len(evaluation.recordings) > 1:
        lines.append(
            f"intervals: {100 * rules.level:g} %, {rules.resamples} bootstrap draws of recordings, seed {rules.seed}"
        )
    if evaluation.baseline is not None and len(evaluation.recordings) > 1:
        lines.append(f"differences: from {visible(evaluation.baseline)}, in the same draws of recordings; p two-sided")
    if len(evaluation.systems) > 1:
        lines.append(f"{_BEST} best")
    return tuple(lines)


def write(out: Path, evaluation: Evaluation, pictures: bool = True) -> tuple[Path, ...]:
    """`evaluation.csv`, `.md`, `pictures/*.png`, `places.csv` and, last, `evaluation.json` into `out`; their paths.

    Raises OutputError.
    """
    outputs.make_folder(out)
    written: list[Path] = []
    drawn: dict[str, str] = {}
    if pictures and evaluation.timelines:
        outputs.make_folder(out / PICTURES)
        for number, (recording, timelines) in enumerate(evaluation.timelines.items(), 1):
            name = f"{number:03d}-{to_token(recording)[:80]}.png"
            drawn[recording] = f"{PICTURES}/{name}"
            written.append(out / PICTURES / name)
            files.write(written[-1], picture.draw(recording, timelines))
    for name, text in (
        *([("places.csv", places_as_csv(evaluation.places))] if evaluation.places else []),
        ("evaluation.csv", as_csv(evaluation)),
        ("evaluation.md", as_markdown(evaluation, drawn)),
        ("evaluation.json", outputs.as_json(as_json(evaluation, drawn))),
    ):
        written.append(out / name)
        files.write(written[-1], text)
    return tuple(written)


def as_csv(evaluation: Evaluation) -> str:
    """A row for each system, recording (empty: all pooled) and measure: counts, rate and interval."""
    sheet = io.StringIO()
    writer = csv.writer(sheet)
    writer.writerow(("system", "recording", "measure", "part", "whole", "rate", "low", "high", "best"))
    for system in evaluation.systems:
        for recording, score in (("", system.pooled), *system.scores.items()):
            for name, measure in MEASURES.items():
                if (counts := measure.counts(score)) is None:
                    continue
                rate, ends = measure.rate(score), system.intervals.get(name) if not recording else None
                cells = [f"{number:.6f}" for number in (*counts, *([] if rate is None else [rate]))]
                cells += [""] * (3 - len(cells)) + ([f"{end:.6f}" for end in ends] if ends else ["", ""])
                best = "best" if not recording and system.name in evaluation.best(name) else ""
                writer.writerow((guard(system.name), guard(recording), name, *cells, best))
    return sheet.getvalue()


def places_as_csv(places: Sequence[Place]) -> str:
    """A row for each place that people corrected."""
    sheet = io.StringIO()
    writer = csv.writer(sheet)
    writer.writerow(("recording", "start", "end", "kind", "machine", "corrected"))
    for place in places:
        cells = (guard(place.machine), guard(place.corrected))
        writer.writerow((guard(place.recording), f"{place.start:.3f}", f"{place.end:.3f}", place.kind, *cells))
    return sheet.getvalue()


def as_json(evaluation: Evaluation, pictures: dict[str, str]) -> dict[str, Any]:
    """Everything as plain data. A rate that is infinite or has a denominator of 0 is null; its counts say why."""
    return {
        "schema": "diarize-evaluation/1",
        "reference": evaluation.reference,
        "uem": evaluation.uem,
        "rules": asdict(evaluation.rules),
        "recordings": list(evaluation.recordings),
        "baseline": evaluation.baseline,
        "notes": list(evaluation.notes),
        "systems": [
            {
                "name": system.name,
                "path": system.path,
                "pooled": _measures(system.pooled, system, evaluation),
                "speaker_counts": [
                    {"reference": ref, "hypothesis": hyp, "recordings": times}
                    for (ref, hyp), times in sorted(system.pooled.count_table().items())
                ],
                "recordings": {recording: _measures(score) for recording, score in system.scores.items()},
            }
            for system in evaluation.systems
        ],
        "pictures": pictures,
        "places": [asdict(place) for place in evaluation.places],
    }


def as_markdown(evaluation: Evaluation, pictures: dict[str, str]) -> str:
    """The tables, their rules, and links to the pictures."""
    lines = ["# Evaluation", ""]
    lines += [f"- {_cell(line)}" for line in (*describe_rules(evaluation), *evaluation.notes)]
    for table in tables(evaluation):
        lines += ["", f"## {_cell(table.title)}", ""]
        for at, row in enumerate((table.columns, *table.rows)):
            lines.append("| " + " | ".join(_cell(cell) for cell in row) + " |")
            if at == 0:
                lines.append("|---|" + "---:|" * (len(row) - 1))
    if pictures:
        lines += ["", "## Pictures", ""]
        lines += [f"- [{_cell(recording)}]({name.replace('%', '%25')})" for recording, name in pictures.items()]
    return "\n".join(lines) + "\n"


def percent(rate: float | None) -> str:
    """A rate as people read it."""
    if rate is None:
        return "-"
    return f"{100 * rate:.2f} %" if isfinite(rate) else "∞"


def _pooled(evaluation: Evaluation) -> ReportTable:
    rows = []
    for name, measure in MEASURES.items():
        if all(measure.counts(system.pooled) is None for system in evaluation.systems):
            continue
        best = evaluation.best(name)
        cells = []
        for system in evaluation.systems:
            ends = system.intervals.get(name)
            interval = f" [{100 * ends[0]:.2f}, {100 * ends[1]:.2f}]" if ends else ""
            mark = f" {_BEST}" if system.name in best else ""
            cells.append(percent(measure.rate(system.pooled)) + interval + mark)
        rows.append((measure.title, *cells))
    return ReportTable("All recordings", ("measure", *(visible(s.name) for s in evaluation.systems)), tuple(rows))


def _by_recording(evaluation: Evaluation) -> ReportTable:
    measures = [name for name in _MAIN if any(MEASURES[name].counts(s.pooled) is not None for s in evaluation.systems)]
    several = len(evaluation.systems) > 1
    rows = []
    for recording in evaluation.recordings:
        for system in evaluation.systems:
            score = system.scores[recording]
            counted = [f"{hyp} of {ref}" for ref, hyp in score.speakers] or ["-"]
            cells = [percent(MEASURES[name].rate(score)) for name in measures]
            rows.append((visible(recording), *([visible(system.name)] if several else []), *cells, *counted))
    titles = [MEASURES[name].title.strip() for name in measures]
    names = ("recording", "system") if several else ("recording",)
    return ReportTable("By recording", (*names, *titles, "speakers"), tuple(rows), len(names))


def _differences(evaluation: Evaluation) -> ReportTable:
    """How much more each system has than the baseline, with the interval and p of the paired bootstrap."""
    others = [system for system in evaluation.systems if system.name != evaluation.baseline]
    rows = []
    for name, measure in MEASURES.items():
        if not any(name in system.differences for system in others):
            continue
        cells = []
        for system in others:
            each = system.differences.get(name)
            if each is None:
                cells.append("-")
            else:
                low, high = (f"{100 * end:+.2f}" for end in (each.low, each.high))
                cells.append(f"{100 * each.value:+.2f} % [{low}, {high}] p {each.p:.3f}")
        rows.append((measure.title, *cells))
    title = f"Difference from {visible(evaluation.baseline or '')}"
    return ReportTable(title, ("measure", *(visible(system.name) for system in others)), tuple(rows))


def _places(places: Sequence[Place]) -> ReportTable:
    """The longest places where another person speaks, and words, each kind in the order of the longest."""
    longest = sorted(places, key=lambda place: (-place.duration, place.recording, place.start))[:_MOST_PLACES]
    rows = [
        (
            visible(place.recording),
            f"{format_short_clock(place.start)} - {format_short_clock(place.end)}",
            place.kind,
            visible(place.machine) or "-",
            visible(place.corrected) or "-",
        )
        for place in longest
    ]
    more = f"; places.csv has all {len(places)}" if len(places) > len(rows) else ""
    columns = ("recording", "time", "what was wrong", "machine", "corrected")
    return ReportTable(f"Where people corrected the machine, the longest first{more}", columns, tuple(rows), 2)


def _counts(system: System) -> ReportTable:
    """Recordings by their number of speakers in the reference (rows) and in the hypothesis (columns)."""
    counted = system.pooled.count_table()
    numbers = sorted({hyp for _, hyp in counted})
    return ReportTable(
        f"Speakers counted by {visible(system.name)}: recordings",
        ("speakers", *(f"found {number}" for number in numbers)),
        tuple(
            (f"there were {ref}", *(str(counted[ref, number] or "") for number in numbers))
            for ref in sorted({ref for ref, _ in counted})
        ),
    )


def _measures(score: Score, system: System | None = None, evaluation: Evaluation | None = None) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, measure in MEASURES.items():
        if (counts := measure.counts(score)) is None:
            continue
        rate = measure.rate(score)
        values[name] = {
            "part": counts[0],
            "whole": counts[1],
            "rate": rate if rate is not None and isfinite(rate) else None,
        }
        if system is not None and evaluation is not None:
            values[name]["interval"] = list(system.intervals[name]) if name in system.intervals else None
            values[name]["best"] = system.name in evaluation.best(name)
            if name in system.differences:
                values[name]["difference"] = asdict(system.differences[name])
    return values


def _cell(text: str) -> str:
    """Text that Markdown shows as it is."""
    text = encodable(visible(text)).strip()
    for character in "\\`*_[]<>|#":
        text = text.replace(character, "\\" + character)
    return text
