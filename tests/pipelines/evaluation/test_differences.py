"""Two systems compared on the same recordings, and a UEM that lies beside the reference."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from diarize.errors import ConfigError
from pipelines.evaluation import report
from pipelines.evaluation.evaluate import EvaluationRequest, evaluate


def turn(recording: str, start: float, end: float) -> str:
    return f"SPEAKER {recording} 1 {start:.3f} {end - start:.3f} <NA> <NA> A <NA> <NA>\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten recordings of 10 s: system a misses 2 s of each, system b 1 to 1.9 s."""
    names = [f"r{i}" for i in range(10)]
    (tmp_path / "ref").mkdir()
    (tmp_path / "ref" / "all.rttm").write_text("".join(turn(name, 0, 10) for name in names))
    (tmp_path / "a.rttm").write_text("".join(turn(name, 2, 10) for name in names))
    (tmp_path / "b.rttm").write_text("".join(turn(name, 1 + i / 10, 10) for i, name in enumerate(names)))
    return tmp_path


def test_the_first_hypothesis_is_the_baseline(folder: Path) -> None:
    evaluation = evaluate(EvaluationRequest(folder / "ref", (folder / "a.rttm", folder / "b.rttm")))
    assert evaluation.baseline == "a.rttm" and not evaluation.systems[0].differences
    difference = evaluation.systems[1].differences["der"]
    assert difference.value == pytest.approx(-0.055) and difference.low < -0.055 < difference.high < 0
    assert difference.p == 2 / 1001
    (table,) = [table for table in report.tables(evaluation) if table.title == "Difference from a.rttm"]
    assert table.columns == ("measure", "b.rttm")
    assert table.rows[0][0] == "DER" and table.rows[0][1].startswith("-5.50 % [-") and "p 0.002" in table.rows[0][1]


def test_another_baseline_can_be_named(folder: Path) -> None:
    request = EvaluationRequest(folder / "ref", (folder / "a.rttm",), against=folder / "b.rttm")
    evaluation = evaluate(request)
    assert [system.name for system in evaluation.systems] == ["a.rttm", "b.rttm"] and evaluation.baseline == "b.rttm"
    assert evaluation.systems[0].differences["der"].value == pytest.approx(0.055)
    report.write(folder / "out", evaluation, pictures=False)
    written = json.loads((folder / "out" / "evaluation.json").read_text())
    assert written["baseline"] == "b.rttm"
    first, second = (system["pooled"]["der"] for system in written["systems"])
    assert set(first["difference"]) == {"value", "low", "high", "p"} and "difference" not in second
    assert "## Difference from b.rttm" in (folder / "out" / "evaluation.md").read_text()
    with pytest.raises(ConfigError, match="no such file"):
        evaluate(EvaluationRequest(folder / "ref", (folder / "a.rttm",), against=folder / "c.rttm"))


def test_one_system_has_no_baseline(folder: Path) -> None:
    evaluation = evaluate(EvaluationRequest(folder / "ref", (folder / "a.rttm",), against=folder / "a.rttm"))
    assert evaluation.baseline is None and not evaluation.systems[0].differences


PLACES = [("all.uem", "ref"), ("all.uem", "ref/all.rttm"), ("dev.UEM", "ref/all.rttm")]


@pytest.mark.parametrize(("name", "reference"), PLACES)
def test_a_uem_beside_the_reference_that_is_not_used_is_said(folder: Path, name: str, reference: str) -> None:
    uem = folder / "ref" / name
    uem.write_text("".join(f"r{i} 1 5 10\n" for i in range(10)))
    evaluation = evaluate(EvaluationRequest(folder / reference, (folder / "a.rttm",)))
    assert (
        f"a UEM lies beside the reference and was not used; to score its regions only: --uem {uem}" in evaluation.notes
    )
    assert evaluation.systems[0].pooled.errors.total == 100  # type: ignore[union-attr]
    evaluation = evaluate(EvaluationRequest(folder / reference, (folder / "a.rttm",), uem))
    assert not any("UEM" in note for note in evaluation.notes)


def test_uems_that_are_of_no_reference_are_not_said(folder: Path) -> None:
    for name in ("x.uem", "y.uem"):
        (folder / name).write_text("r0 1 0 10\n")
    (folder / "all.rttm").write_text((folder / "ref" / "all.rttm").read_text())
    assert not evaluate(EvaluationRequest(folder / "all.rttm", (folder / "a.rttm",))).notes


def test_a_baseline_with_one_recording_says_why_there_are_no_differences(folder: Path) -> None:
    for name in ("ref/all", "a", "b"):
        path = folder / f"{name}.rttm"
        path.write_text(path.read_text().splitlines(keepends=True)[0])
    evaluation = evaluate(EvaluationRequest(folder / "ref", (folder / "a.rttm",), against=folder / "b.rttm"))
    assert evaluation.notes == ("differences from the baseline need two recordings or more: they are left out",)
