"""What all pictures share: colours, patterns, names, and the bytes of a file.

Colours are of Okabe and Ito 2008, "Color Universal Design", which people with any colour vision tell apart. Each
speaker has a pattern and a marker, too, so that pictures in grey are read as well.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal

from diarize.errors import MissingExtra
from diarize.formats.naming import encodable, make_labels, shorten
from diarize.types import Transcript

Format = Literal["png", "svg"]

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999")
PATTERNS = ("", "///", "...", "\\\\\\", "xxx", "---", "+++", "ooo", "|||")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<")
GREY = "#BBBBBB"
MOST = 40  # speakers, or recordings, that a picture has room for
_DPI = 120


@dataclass(frozen=True, slots=True)
class Look:
    """How one speaker is drawn: 72 speakers have different looks."""

    label: str
    colour: str
    pattern: str
    marker: str


def looks(transcript: Transcript) -> dict[str | None, Look]:
    """Speaker id (None: nobody) -> look, in the order of the speakers."""
    labels = make_labels(transcript)
    result: dict[str | None, Look] = {}
    for number, speaker in enumerate(transcript.speakers):
        result[speaker.id] = look(shorten(labels[speaker.id], 24), number)
    result[None] = Look("nobody", GREY, "", ".")
    return result


def look(label: str, number: int) -> Look:
    """The look of the speaker with this number, from 0."""
    colour, pattern = COLOURS[number % len(COLOURS)], PATTERNS[number % len(PATTERNS)]
    return Look(encodable(label), colour, pattern, MARKERS[number % len(MARKERS)])


def require() -> None:
    """Raises MissingExtra where no picture can be drawn."""
    if find_spec("matplotlib") is None:
        raise MissingExtra("pictures", "plot")


def figure(width: float, height: float) -> Any:
    """An empty figure, in inches. Raises MissingExtra without matplotlib."""
    require()
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def title(axes: Any, text: str) -> None:
    """A heading in which `$` is no mathematics."""
    axes.set_title(encodable(text), fontsize=10, loc="left").set_parse_math(False)


def name_rows(axes: Any, names: Sequence[str]) -> None:
    """Names at the rows of a picture, the first one on top."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(max(1, len(names)) - 0.5, -0.5)
    plain_ticks(axes)


def plain_ticks(axes: Any) -> None:
    """Names at axes as they are: a speaker may be called $x$."""
    for text in (*axes.get_yticklabels(), *axes.get_xticklabels()):
        text.set_parse_math(False)
    axes.tick_params(labelsize=8)


def bar(axes: Any, row: int, spans: Sequence[tuple[float, float]], own: Look, height: float = 0.76) -> None:
    """Bars of a speaker in a row, from (start, length)."""
    axes.broken_barh(
        spans,
        (row - height / 2, height),
        facecolor=own.colour,
        hatch=own.pattern,
        edgecolor="black",
        linewidth=0.2,
    )


def encode(figure: Any, format: Format) -> bytes:
    """The file: the same bytes for the same figure, without a date and without the version of matplotlib."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    file = io.BytesIO()
    with warnings.catch_warnings(), rc_context({"svg.hashsalt": "diarize", "svg.fonttype": "path"}):
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # names in scripts that the font lacks
        warnings.filterwarnings("ignore", message="constrained_layout not applied")  # very many rows
        if format == "png":
            FigureCanvasAgg(figure)
            figure.savefig(file, format="png", dpi=_DPI, metadata={"Software": None})
        else:
            FigureCanvasSVG(figure)
            figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return file.getvalue()
