"""A picture of one recording: the reference above each hypothesis on one time axis, errors in colours.

Colours are of Okabe and Ito 2008, "Color Universal Design", which people with any colour vision tell apart; hatching
tells errors apart in grey.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from typing import Any

from diarize.formats.naming import shorten
from diarize.timeline import gaps
from diarize.types import Segment, Turn
from pipelines.evaluation.scores import Timelines
from pipelines.evaluation.turn_scores import extent, merge_overlapping, to_annotation

_KINDS = {  # kind of pyannote's error analysis -> (what it is called, colour, hatching)
    "correct": ("right", "#BBBBBB", ""),
    "missed detection": ("missed", "#0072B2", "///"),
    "false alarm": ("false alarm", "#E69F00", "\\\\\\"),
    "confusion": ("another speaker", "#CC79A7", "xxx"),
}
_PER_MINUTE, _NARROWEST, _WIDEST = 3.0, 9.0, 60.0  # inches of width
_ROW = 0.28  # inches of height a speaker
_BAR = 0.76  # of a row's height


def draw(recording: str, timelines: Timelines) -> bytes:
    """A PNG. What the UEM leaves out is shaded. All errors are shown, also those that a collar forgives.

    A hypothesis's speakers are in the order of the reference speakers they are paired with, the others below them.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    reference = merge_overlapping(timelines.reference)
    everything = [*reference, *(turn for turns in timelines.hypotheses.values() for turn in turns)]
    end = max([turn.end for turn in everything] + [segment.end for segment in timelines.scored or ()] + [1.0])
    order = list(dict.fromkeys(turn.speaker for turn in reference))
    panels = [("reference", *_panel(reference, order))]
    for name, turns in timelines.hypotheses.items():
        panels.append((shorten(name), *_compare(reference, merge_overlapping(turns), timelines.scored, order)))
    heights = [max(1, len(labels)) for _, labels, _ in panels]
    width = min(_WIDEST, max(_NARROWEST, _PER_MINUTE * end / 60))
    figure = Figure(figsize=(width, _ROW * sum(heights) + 0.45 * len(panels) + 1.2), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for axis, (name, labels, bars) in zip(axes, panels, strict=True):
        _fill(axis, name, labels, bars, timelines.scored, end)
    axes[-1].set_xlabel("seconds")
    figure.suptitle(shorten(recording, 80), fontsize=11).set_parse_math(False)
    _legend(figure)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # names in scripts that the font lacks
        file = io.BytesIO()
        canvas.print_png(file, metadata={"Software": None})
    return file.getvalue()


_Bars = list[tuple[int, float, float, str]]  # (row, start, end, kind of error)


def _panel(turns: Sequence[Turn], order: Sequence[str]) -> tuple[list[str], _Bars]:
    """Row labels and bars of the reference: a row a speaker."""
    return [shorten(speaker, 24) for speaker in order], [
        (order.index(turn.speaker), turn.start, turn.end, "correct") for turn in turns
    ]


def _compare(
    reference: Sequence[Turn], hypothesis: Sequence[Turn], scored: Sequence[Segment] | None, order: Sequence[str]
) -> tuple[list[str], _Bars]:
    """Row labels and bars of a hypothesis, with what is wrong in it.

    Missed speech of a reference speaker is in the row of the paired speaker, or in a row of its own.
    """
    from pyannote.core import Segment as Stretch
    from pyannote.core import Timeline
    from pyannote.metrics.diarization import DiarizationErrorRate
    from pyannote.metrics.errors.identification import IdentificationErrorAnalysis

    ref, hyp = to_annotation(reference, "r"), to_annotation(hypothesis, "h")
    uem = Timeline([Stretch(s.start, s.end) for s in scored or extent([*reference, *hypothesis])])
    pairs = DiarizationErrorRate().optimal_mapping(ref, hyp, uem=uem)
    partner = {one: other for other, one in pairs.items()}
    rows: dict[str, str] = {}  # label of pyannote -> what the row is called
    for speaker in order:
        own = partner.get(f"r{speaker}")
        rows[f"r{speaker}"] = (
            f"{shorten(own[1:], 16)} = {shorten(speaker, 16)}" if own else f"nobody = {shorten(speaker, 16)}"
        )
    for label in hyp.labels():
        if label not in pairs:
            rows[label] = shorten(label[1:], 24)
    place = {label: row for row, label in enumerate(rows)}
    errors = IdentificationErrorAnalysis().difference(ref, hyp.rename_labels(mapping=pairs), uem=uem)
    bars = [
        (place[true if kind == "missed detection" else assigned], segment.start, segment.end, kind)
        for segment, _, (kind, true, assigned) in errors.itertracks(yield_label=True)
    ]
    return list(rows.values()), bars


def _fill(
    axis: Any, name: str, labels: Sequence[str], bars: _Bars, scored: Sequence[Segment] | None, end: float
) -> None:
    for kind, (_, colour, hatch) in _KINDS.items():
        for row in range(len(labels)):
            spans = [(start, stop - start) for at, start, stop, what in bars if at == row and what == kind]
            if spans:
                axis.broken_barh(
                    spans, (row - _BAR / 2, _BAR), facecolor=colour, hatch=hatch, edgecolor="black", linewidth=0.2
                )
    if scored is not None:
        for gap in gaps(scored, end):
            axis.axvspan(gap.start, gap.end, color="#EEEEEE", zorder=0)
    axis.set_yticks(range(len(labels)), labels)
    for text in (*axis.get_yticklabels(), axis.set_title(name, loc="left", fontsize=9)):
        text.set_parse_math(False)  # a speaker may be called $x$
    axis.tick_params(labelsize=8)
    axis.set_ylim(max(1, len(labels)) - 0.5, -0.5)
    axis.set_xlim(0, end)
    axis.grid(axis="x", linewidth=0.3)
    axis.set_axisbelow(True)


def _legend(figure: Any) -> None:
    from matplotlib.patches import Patch

    handles = [
        Patch(facecolor=colour, hatch=hatch, edgecolor="black", linewidth=0.2, label=title)
        for title, colour, hatch in _KINDS.values()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=8, frameon=False)
