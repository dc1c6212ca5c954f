"""Reports: every section, both languages, the same bytes, a signature, and what may never stand in one."""

from __future__ import annotations

import re
import subprocess
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from diarize.errors import ConfigError
from diarize.models.store import Store
from pipelines.evidence import comparison, notes, rederivation, report, sections, texts, validation
from pipelines.evidence.facts import LANGUAGES
from pipelines.evidence.folder import Case
from pipelines.evidence.formats import html, pdf
from pipelines.evidence.formats.document import Document, Paragraph, ReportSection
from pipelines.people import wording
from pipelines.people.scoring import Scoring
from pipelines.people.utterance import UtteranceEmbedder
from tests.pipelines.evidence.conftest import ACCEPTED, Add
from tests.pipelines.people.test_trials import CONFIG

DATE = datetime(2026, 12, 1, 9, 30, tzinfo=UTC)
needs_typst = pytest.mark.skipif(not pdf.typst_version(), reason="typst is not installed: pip install typst")


def keys(values: dict[str, Any], path: str = "") -> set[str]:
    """Dotted names of all texts, each with the values that it takes."""
    names = set[str]()
    for key, value in values.items():
        if isinstance(value, dict):
            names |= keys(value, f"{path}{key}.")
        else:
            names.add(f"{path}{key} {sorted(re.findall(r'{(.*?)}', value))}")
    return names


def test_every_language_has_the_same_texts() -> None:
    tables = [tomllib.loads((texts.FOLDER / f"{name}.toml").read_text(encoding="utf-8")) for name in LANGUAGES]
    assert keys(tables[0]) == keys(tables[1])
    with pytest.raises(ConfigError, match="fr is not known"):
        texts.load("fr")


def test_a_ratio_in_words() -> None:
    words = texts.load("en")
    assert words.ratio(2.29) == "LR 195 (log10 2.29)"
    assert words.ratio(-0.5) == "LR 1/3.16 (log10 -0.50)"
    assert "195 times more probable if both are of one person" in words.in_words(2.29)
    assert "3.16 times more probable if they are of two people" in words.in_words(-0.5)
    assert "as probable for one person as for two" in words.in_words(0.001)
    assert texts.load("de").ratio(1.2345) == "LR 17,2 (log10 1,23)"
    assert [wording.significant(v) for v in (1.0, 10.0, 99.96, 5090.4, 123456)] == ["1", "10", "100", "5090", "123000"]


def test_the_report_holds_every_section_and_never_a_decision(compared: Case) -> None:
    case = notes.add(compared, "remark", "A. Beck", "<script>alert(1)</script>")
    for language in LANGUAGES:
        words = texts.load(language)
        page = html.render(sections.build(case, words, DATE, 5)).decode()
        for title in words.section("section").values():
            assert title in page
        assert words.ratio(case_result(case)["log10"]) in page
        assert "<script>" not in page and "&lt;script&gt;" in page
        plain = page.replace(words("report.c12"), "").lower()
        assert not re.search(r"\bmatch(es)?\b|identified|posterior [0-9]", plain)
        assert words("checklist.open") in page and words("validation.none") in page


def case_result(case: Case) -> dict[str, Any]:
    row: dict[str, Any] = case.read_json(case.of("compare")[-1], "comparison.json")["results"][0]
    return row


def test_a_copy_without_names(compared: Case) -> None:
    page = html.render(sections.build(compared, texts.load("en"), DATE, 4, blind=True)).decode()
    assert "A. Beck" not in page and "police" not in page and "p1-0.wav" not in page and "[...]" in page


def test_a_validated_case_shows_its_figures(
    new_case: Case,
    add: Add,
    audio: Path,
    trial_list: Path,
    calibration: Path,
    embedder: UtteranceEmbedder,
    store: Store,
) -> None:
    case, _ = validation.validate(new_case, trial_list, audio, CONFIG, store, Scoring(calibration=calibration))
    case = add(add(case, audio / "p1-0.wav", "questioned"), audio / "p1-1.wav", "known")
    case = add(case, audio / "p1-2.wav", "known")
    case = comparison.compare(case, embedder, comparison.calibration_for(embedder, calibration), ACCEPTED)[0]
    words = texts.load("en")
    page = html.render(sections.build(case, words, DATE, 6)).decode()
    assert words("validation.few", speakers=6) in page and words("validation.tippett") in page
    assert words("result.each", known="K2") in page and page.count("<svg") == 3 * 4 + 3
    case = report.write(case, ["en"], ["html"], DATE)
    assert rederivation.verify(case.folder, store, models=False).differences == []


@needs_typst
def test_the_same_bytes_with_a_fixed_date_and_fonts_of_its_own(compared: Case) -> None:
    document = sections.build(compared, texts.load("de"), DATE, 4)
    first = pdf.render(document)
    assert first == pdf.render(document) and first.startswith(b"%PDF-1.7")
    assert b"/MarkInfo<</Marked true" in first and b"/FontFile" in first and b"pdfuaid:part" in first
    assert b"/Lang(de)" in first


@needs_typst
def test_characters_without_a_font_are_written_as_numbers() -> None:
    paragraph = Paragraph('日本 مرحبا \U0001f600 \u202e "quote" \\ #let x = 1 $y$ [a] *b* ' + "x" * 200)
    parts = (ReportSection("1. ∀", "computed", (paragraph,)),)
    kinds = texts.load("en").section("kind")
    document = Document("A", "B", "", "en", DATE, kinds, "Page {page} of {pages}", parts)
    assert pdf.render(document).startswith(b"%PDF")


def test_a_signature_is_of_the_manifest(compared: Case, store: Store, tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    key = tmp_path / "key.pem"
    made_by = subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(key)], capture_output=True)
    if made_by.returncode:
        pytest.skip("openssl cannot make an Ed25519 key")
    case = report.write(compared, ["en"], ["html"], DATE, key=key)
    result = rederivation.verify(case.folder, store, models=False)
    assert result.differences == [] and any("signed by the key" in note for note in result.notes)
    signature = (case.folder / "0005-report" / report.SIGNATURE).read_bytes()
    public = (case.folder / "0005-report" / report.PUBLIC_KEY).read_bytes()
    assert rederivation.verify(case.folder, store, models=False, public_key=public).differences == []
    told = rederivation.verify(case.folder, store, models=False, public_key=b"other").differences
    assert ["another key" in difference.what for difference in told] == [True]
    from pipelines.evidence.signature import problem

    manifest = (case.folder / "0005-report" / report.MANIFEST).read_bytes()
    assert problem(manifest, signature, public) == "" and "not of this manifest" in problem(b"x", signature, public)
    with pytest.raises(ConfigError, match="cannot be read"):
        report.write(case, ["en"], ["html"], DATE, key=tmp_path / "case" / "log.jsonl")


def test_a_report_edited_by_hand_is_named(compared: Case, store: Store) -> None:
    case = report.write(compared, ["en"], ["html"], DATE)
    path = case.folder / "0005-report" / "report.en.html"
    path.write_bytes(path.read_bytes().replace(b"LR ", b"LR 1"))
    where = {difference.where for difference in rederivation.verify(case.folder, store, models=False).differences}
    assert "0005-report/report.en.html" in where
    with pytest.raises(ConfigError, match="Known: html, pdf, docx"):
        report.write(compared, ["en"], ["odt"], DATE)
