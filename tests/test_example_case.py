"""The example case runs from its first command to the report, and is computed again."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from diarize.models.store import Store
from pipelines.evidence import folder, rederivation
from pipelines.evidence.formats import pdf

SCRIPT = Path(__file__).resolve().parents[1] / "examples" / "case" / "run.py"


@pytest.mark.slow
@pytest.mark.skipif(not pdf.typst_version(), reason="typst is not installed: pip install 'diarize-pipeline[evidence]'")
def test_the_example_goes_to_the_report(
    tmp_path: Path, two_embedders: Store, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("docx")
    monkeypatch.setenv("DIARIZE_MODELS", str(two_embedders.folder))
    spec = importlib.util.spec_from_file_location("example_case", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    place = tmp_path / "case"
    assert module.run(place, ("--offline",)) == 0
    told = capfd.readouterr().out
    assert "compared; blind" in told and "times more probable" in told
    case = folder.open_case(place)
    [report] = case.of("report")
    for language in ("en", "de"):
        data = case.read(report, f"report.{language}.pdf")
        assert data.startswith(b"%PDF") and len(re.findall(rb"/Type ?/Page\b", data)) > 8
    page = case.read(report, "report.en.html").decode()
    row = case.read_json(case.of("compare")[0], "comparison.json")["results"][0]
    assert row["refusal"] is None and row["log10"] > 1 and row["typicality"]["different"] == 264
    assert page.count("OPEN") == 2 and "Only 12 speakers" in page and "Stronger than the validation supports" in page
    result = rederivation.verify(place, two_embedders, models=False)
    assert result.differences == [] and result.recordings == 3
