"""Tables of figures on terminals of any width: all is there, and no figure is broken."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from pipelines.cli import figures

SYSTEMS = ("measure", "baseline", "ours-with-a-long-name", "another")
POOLED = (
    ("DER", "11.79 % [9.08, 16.13]", "6.47 % [3.63, 10.23] *", "8.00 % [1.00, 9.00]"),
    ("speakers counted right", "100.00 % [100.00, 100.00] *", "100.00 % [100.00, 100.00] *", "-"),
)
RECORDINGS = ("recording", "system", "DER", "missed", "false alarm", "confusion", "JER", "WER", "cpWER", "speakers")
EACH = tuple(
    (name, system, "10.26 %", "1.56 %", "1.45 %", "7.25 %", "∞", "20.37 %", "100.00 %", "2 of 2")
    for name in ("2031-05-02-board-meeting-room-4", "名前")
    for system in ("baseline", "ours")
)


def shown(columns: tuple[str, ...], rows: tuple[tuple[str, ...], ...], names: int, width: int) -> list[str]:
    """Each table as text, its title before it."""
    told = []
    for title, table in figures.fit_tables("A title", columns, rows, names, width):
        screen = Console(file=io.StringIO(), width=width, markup=False)
        screen.print(table)
        told.append(f"{title}\n{screen.file.getvalue()}")  # type: ignore[attr-defined]
    return told


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
def test_no_figure_is_broken_and_none_is_lost(width: int) -> None:
    text = "\n".join(shown(RECORDINGS, EACH, 2, width))
    assert max(map(len, text.splitlines())) <= width
    for figure, times in (("10.26", 4), ("1.56", 4), ("1.45", 4), ("7.25", 4), ("∞", 4), ("100.00", 4), ("2 of 2", 4)):
        assert len(re.findall(rf"(?<!\S){re.escape(figure)}(?!\S)", text)) == times
    for word in ("DER", "missed", "false", "alarm", "confusion", "cpWER", "speakers", "system"):
        assert re.search(rf"(?<!\S){word}(?!\S)", text)
    pooled = "\n".join(shown(SYSTEMS, POOLED, 1, width))
    assert max(map(len, pooled.splitlines())) <= width
    assert len(re.findall(r"\[100\.00, 100\.00\]", pooled)) == 2
    assert len(re.findall(r"\* 100\.00(?!\S)", pooled)) == 2


def test_columns_that_do_not_fit_go_on_in_a_further_table() -> None:
    assert [part.split("\n")[0] for part in shown(RECORDINGS, EACH, 2, 80)] == ["A title, %", "A title, % (continued)"]
    assert [part.split("\n")[0] for part in shown(RECORDINGS, EACH, 2, 120)] == ["A title, %"]
    assert len(shown(SYSTEMS, POOLED, 1, 120)) == 1
    beside, below = shown(SYSTEMS, POOLED, 1, 120)[0], shown(SYSTEMS, POOLED, 1, 80)[0]
    assert "11.79 [9.08, 16.13]" in beside
    assert "11.79 [" not in below


def test_a_recording_stands_once_above_its_systems() -> None:
    (text,) = shown(RECORDINGS, EACH, 2, 120)
    lines = [line.split()[0] for line in text.splitlines()[1:] if line.strip()]
    assert lines[3:] == ["2031-05-02-board-meeting-room-4", "baseline", "ours", "名前", "baseline", "ours"]


def test_what_has_no_unit_has_none_in_its_title_and_control_characters_are_shown() -> None:
    (text,) = shown(("speakers", "found 2"), (("there \x1bwere\n2", "1"),), 1, 80)
    assert text.startswith("A title\n")
    assert r"there \x1bwere\n2" in text
