"""Minutes as DOCX: what Word shows, what comes back, and what cannot happen."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import docx as python_docx
import pytest
from hypothesis import given, settings

from diarize import formats
from diarize.corrections.state import State
from diarize.errors import FormatError
from diarize.formats import docx
from diarize.formats.naming import make_labels
from diarize.formats.options import DEFAULT, ExportOptions
from diarize.formats.tiers import for_xml
from diarize.types import Speaker, Transcript, Turn, Word
from pipelines.results import outputs
from pipelines.results.corrections import Corrections
from pipelines.review import adopt
from tests.formats.samples import EMPTY, HOSTILE, MEETING, transcripts

TABLE = ExportOptions(table=True)


def opened(data: bytes) -> Any:
    return python_docx.Document(io.BytesIO(data))


def paragraphs(data: bytes) -> list[str]:
    return [paragraph.text for paragraph in opened(data).paragraphs]


def test_minutes_have_a_title_a_date_and_participants() -> None:
    file = opened(docx.encode(MEETING, ExportOptions(title="Board meeting", date="4 May 2026")))
    texts = [paragraph.text for paragraph in file.paragraphs]
    assert texts[:4] == ["Board meeting", "Date: 4 May 2026", "Recording: staff-meeting", "Length: 00:00:24.0"]
    cells = [[cell.text for cell in row.cells] for row in file.tables[0].rows]
    assert cells[:2] == [["Participant", "Speaking time", "Share"], ["Anna Maria", "00:00:08.9", "54%"]]
    assert file.core_properties.identifier == f"sha256:{'ab' * 32}"
    assert (file.core_properties.title, file.core_properties.subject) == ("Board meeting", "staff-meeting")
    assert file.core_properties.version == "0.1.0"


def test_paragraphs_have_the_stamps_of_analysis_programs() -> None:
    texts = paragraphs(docx.encode(MEETING))
    assert texts[texts.index("Transcript") + 1] == (
        "Anna Maria: Good morning. Let us begin with the figures of March, which went up by 50% in New York."
        " #00:00:06-8#"
    )


def test_a_table_has_spans_speakers_and_contents() -> None:
    rows = [[cell.text for cell in row.cells] for row in opened(docx.encode(MEETING, TABLE)).tables[1].rows]
    assert rows[0] == ["Timespan", "Speaker", "Content"]
    assert rows[2] == ["00:00:06.5 - 00:00:08.4", "=Bo <b>", "<laughs> I see: a --> b."]


def test_what_a_person_decided_is_underlined() -> None:
    words = (Word(1, 2, "The", 0.9, "A"), Word(2, 3, "budget", None, "A", human=True), Word(3, 4, "is.", 0.9, "A"))
    talk = Transcript("r", 9.0, "en", (Speaker("A", "Anna", human=True),), (Turn(1, 4, "A", human=True),), words)
    file = opened(docx.encode(talk))
    assert [run.text for p in file.paragraphs for run in p.runs if run.underline] == ["Anna:", "budget"]
    assert [run.text for run in file.tables[0].rows[1].cells[0].paragraphs[0].runs if run.underline] == ["Anna"]
    assert "Underlined: decided by a person." in [p.text for p in file.paragraphs]
    assert not any(run.underline for p in opened(docx.encode(MEETING)).paragraphs for run in p.runs)


@pytest.mark.parametrize("options", [DEFAULT, TABLE], ids=["paragraphs", "table"])
def test_the_same_transcript_gives_the_same_bytes(options: ExportOptions) -> None:
    data = docx.encode(MEETING, options)
    assert data == docx.encode(MEETING, options)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert not any(name.endswith("vbaProject.bin") for name in archive.namelist())


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
@pytest.mark.parametrize("options", [DEFAULT, TABLE], ids=["paragraphs", "table"])
def test_hostile_names_and_texts_are_text(name: str, options: ExportOptions) -> None:
    words = (Word(0, 1, name, 1.0, "S"), Word(1, 2, "end", 1.0, "S"))
    talk = Transcript(name, 9.0, name, (Speaker("S", name),), (Turn(0, 9, "S"),), words)
    data = docx.encode(talk, replace(options, title=name, date=name))
    label = for_xml(make_labels(talk)["S"])
    assert label in opened(data).tables[0].rows[1].cells[0].text
    (block,) = docx.loads(data, "x", [label]).turns
    assert block.speaker == " ".join(label.split()) and block.text.endswith("end")


def test_nobody_speaks() -> None:
    assert docx.loads(docx.encode(EMPTY), "x").turns == ()


@pytest.mark.parametrize("options", [DEFAULT, TABLE], ids=["paragraphs", "table"])
@settings(max_examples=15, deadline=None)
@given(transcript=transcripts())
def test_every_file_can_be_read_and_gives_no_operation(options: ExportOptions, transcript: Transcript) -> None:
    result, _ = adopt.compare(docx.encode(transcript, options), "x", "docx", transcript, State.of(transcript))
    assert result.operations == []


TALK = Transcript(
    "talk",
    20.0,
    "en",
    (Speaker("A", "Anna"), Speaker("B", "Bea")),
    (Turn(1.0, 4.0, "A", 0.9), Turn(4.5, 8.0, "B"), Turn(9.0, 12.0, "A")),
    (
        Word(1.0, 1.5, "Good", 0.9, "A"),
        Word(1.5, 2.5, "morning.", 0.8, "A"),
        Word(4.5, 5.0, "The", 0.7, "B"),
        Word(5.0, 6.0, "pudget", 0.7, "B"),
        Word(6.0, 7.0, "is", 0.7, "B"),
        Word(7.0, 8.0, "small.", 0.7, "B"),
        Word(9.0, 10.0, "Why?", 0.6, "A"),
    ),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "out" / "talk"
    outputs.write(path, TALK, ["docx"], {})
    return path


def every_run(file: Any) -> Iterator[Any]:
    for paragraph in file.paragraphs:
        yield from paragraph.runs
    for table in file.tables:
        for row in table.rows:
            for cell in row.cells:
                for paragraph in cell.paragraphs:
                    yield from paragraph.runs


def corrected(folder: Path, options: ExportOptions, *replacements: tuple[str, str]) -> Path:
    """An export in which somebody replaced texts in Word."""
    file = opened(formats.encode("docx", outputs.read_corrected(folder), options))
    for old, new in replacements:
        runs = [run for run in every_run(file) if old in run.text]
        assert runs, old
        for run in runs:
            run.text = run.text.replace(old, new)
    path = folder.parent / "corrected.docx"
    file.save(str(path))
    return path


@pytest.mark.parametrize("options", [DEFAULT, TABLE], ids=["paragraphs", "table"])
def test_corrections_in_word_become_operations(options: ExportOptions, folder: Path) -> None:
    log = Corrections(folder)
    assert adopt.adopt(corrected(folder, options), log).operation is None
    path = corrected(folder, options, ("pudget", "budget"))
    assert adopt.adopt(path, log).operation == {"op": "edit_word", "word": "w5000", "text": "budget"}
    path = corrected(folder, options, ("Bea", "Beatrix"))
    assert adopt.adopt(path, log).operation == {"op": "name_speaker", "speaker": "B", "name": "Beatrix"}
    log.append({"op": "edit_word", "word": "w5000", "text": "budget"}, "anna")
    assert adopt.adopt(corrected(folder, options), log).operation is None  # with what is underlined


def test_a_divided_paragraph_and_one_given_to_another_speaker(folder: Path) -> None:
    log = Corrections(folder)
    file = opened(formats.encode("docx", TALK))
    place = next(p for p in file.paragraphs if p.text.startswith("Bea:"))
    place.insert_paragraph_before("Bea: The pudget")
    for run in place.runs:
        run.text = {"Bea:": "", "The pudget is small.": "is small."}.get(run.text, run.text)
    file.add_paragraph("Written by hand.")
    path = folder.parent / "divided.docx"
    file.save(str(path))
    adoption = adopt.adopt(path, log)
    assert adoption.operation is None
    assert adoption.notes == ("1 paragraph without a time stamp at the end not read",)
    for run in place.runs:
        run.text = run.text.replace("is small.", "Anna: is small.")
    file.save(str(path))
    log.append(adopt.adopt(path, log).operation or {}, "anna")
    assert [word.speaker for word in log.corrected().words] == ["A", "A", "B", "B", "A", "A", "A"]


def test_tracked_changes_are_read_as_accepted(folder: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(formats.encode("docx", TALK))) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    text = parts["word/document.xml"].decode()
    old = "<w:t>The pudget is small.</w:t>"
    assert old in text
    change = (
        '<w:t xml:space="preserve">The </w:t></w:r>'
        '<w:del w:id="1" w:author="x"><w:r><w:delText>pudget</w:delText></w:r>'
        '</w:del><w:ins w:id="2" w:author="x"><w:r><w:t>budget</w:t></w:r></w:ins>'
        '<w:r><w:t xml:space="preserve"> is small.</w:t>'
    )
    parts["word/document.xml"] = text.replace(old, change).encode()
    path = folder.parent / "tracked.docx"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    operation = {"op": "edit_word", "word": "w5000", "text": "budget"}
    assert adopt.adopt(path, Corrections(folder)).operation == operation


def archive_of(document: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", document)
    return buffer.getvalue()


W = b'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\x03\x04",
        archive_of(b""),
        archive_of(b"<x/>"),
        archive_of(b"\xff\xff"),
        archive_of(b"<w:document " + W + b"><w:body/></w:document>"),
        archive_of(b"<!DOCTYPE x [<!ENTITY a 'b'>]><w:document " + W + b"><w:body/></w:document>"),
        archive_of(b"<w:document " + W + b"><w:body>" + b"<w:p>" * 5000 + b"</w:body></w:document>"),
        archive_of(b" " * 100_000_001),  # 100 kB that would be 100 MB
        archive_of(
            b"<w:document " + W + b"><w:body><w:p><w:r><w:t>x #00:00:01-0#</w:t></w:r></w:p></w:body></w:document>"
        ),
    ],
    ids=range(10),
)
def test_files_that_are_no_minutes_are_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        docx.loads(data, "x")
