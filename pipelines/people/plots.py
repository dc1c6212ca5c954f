"""Pictures of scores: DET, Tippett, heat map. Needs the extra `plot` (matplotlib)."""

from __future__ import annotations

import io
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from diarize import files
from diarize.errors import MissingExtra
from diarize.formats.naming import encodable
from diarize.metrics import verification

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#666666"  # distinct for all kinds of colour vision (Okabe and Ito 2008)
_TICKS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4)  # error rates marked on a DET plot
_MOST = 60  # rows up to which a heat map shows names


def det(path: Path, same: ArrayLike, different: ArrayLike, title: str) -> None:
    """A DET curve, its EER marked, as PNG. Raises MissingExtra and OutputError."""
    from scipy.special import ndtri

    figure = _figure(5.5, 5.5)
    axes = figure.add_subplot()
    false_alarm, miss = verification.det(same, different)
    axes.step(false_alarm, miss, color=BLUE, where="post", label="scores")
    rate = verification.equal_error(same, different)[0]
    place = min(max(rate, _TICKS[0]), _TICKS[-1])  # at the edge where it lies outside
    label = f"EER {rate:.2%}" if rate else "EER 0: no error in these trials"
    axes.plot(ndtri(_ends()), ndtri(_ends()), color=GREY, linestyle=":", linewidth=1, label="equal errors")
    axes.plot(ndtri(place), ndtri(place), "o", color=ORANGE, label=label)
    places, names = ndtri(_TICKS), [f"{100 * tick:g}" for tick in _TICKS]
    axes.set_xticks(places, names)
    axes.set_yticks(places, names)
    axes.set_xlim(*ndtri(_ends()))
    axes.set_ylim(*ndtri(_ends()))
    axes.set_aspect("equal")
    axes.set_xlabel("False alarms (%), normal deviate scale")
    axes.set_ylabel("Misses (%), normal deviate scale")
    axes.set_title(title)
    axes.grid(color="#dddddd")
    axes.legend()
    _save(path, figure)


def tippett(path: Path, same: ArrayLike, different: ArrayLike, title: str) -> None:
    """A Tippett plot of log-likelihood ratios (natural; drawn in decades) as PNG."""
    figure = _figure(6.5, 4.5)
    axes = figure.add_subplot()
    values, same_share, different_share = verification.tippett(same, different)
    decades = values / np.log(10)
    axes.step(decades, 100 * same_share, color=BLUE, where="pre", label="one speaker")
    axes.step(decades, 100 * different_share, color=ORANGE, linestyle="--", where="pre", label="two speakers")
    axes.axvline(0, color=GREY, linewidth=1, linestyle=":")
    axes.set_ylim(0, 101)
    axes.set_xlabel("log10 likelihood ratio")
    axes.set_ylabel("Trials with at least this ratio (%)")
    axes.set_title(title)
    axes.grid(color="#dddddd")
    axes.legend()
    _save(path, figure)


def heat_map(path: Path, names: Sequence[str], values: ArrayLike, label: str) -> None:
    """Every pair's value (n, n) as a coloured square, NaN grey, as PNG."""
    grid = np.ma.masked_invalid(np.asarray(values, np.float64))
    side = 2.5 + 0.32 * min(len(names), _MOST)
    figure = _figure(side + 1.5, side)
    axes = figure.add_subplot()
    axes.set_facecolor("#cccccc")
    image = axes.imshow(grid, cmap="cividis")
    if len(names) <= _MOST:
        shown = [_plain(name) for name in names]
        axes.set_xticks(range(len(names)), shown, rotation=90, fontsize=8)
        axes.set_yticks(range(len(names)), shown, fontsize=8)
    else:
        axes.set_xlabel("recording, in the order of the table")
        axes.set_ylabel("recording, in the order of the table")
    figure.colorbar(image, ax=axes, label=label)
    _save(path, figure)


def _ends() -> tuple[float, float]:
    return _TICKS[0], _TICKS[-1]


def _plain(name: str) -> str:
    """A name as matplotlib draws it: not as mathematics, and at most 24 characters."""
    short = name if len(name) <= 24 else f"{name[:11]}…{name[-12:]}"
    return "".join(c if c.isprintable() else "�" for c in encodable(short)).replace("$", r"\$")


def require() -> None:
    """Raises MissingExtra where no picture can be drawn."""
    if find_spec("matplotlib") is None:
        raise MissingExtra("plots", "plot")


def _figure(width: float, height: float) -> Any:
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise MissingExtra("plots", "plot") from error
    return Figure(figsize=(width, height), layout="constrained")


def _save(path: Path, figure: Any) -> None:
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120, metadata={"Software": None})  # the same bytes in every version
    files.write(path, picture.getvalue())
