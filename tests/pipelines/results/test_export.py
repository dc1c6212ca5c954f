"""Exports with names and choices of a user."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from diarize import formats
from diarize.errors import ConfigError, FormatError
from diarize.formats import ctm, docx
from diarize.formats.csv import unguard_optional
from diarize.formats.naming import encodable, make_labels
from diarize.formats.options import ExportOptions
from diarize.types import Speaker, Transcript, Turn, Word
from pipelines.results import integrity, outputs
from pipelines.results.export import ExportRequest
from pipelines.review import edit, requests
from tests.formats.samples import HOSTILE, MEETING


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Results of two recordings."""
    for name in ("staff-meeting", "second"):
        source = MEETING.provenance.source
        assert source is not None
        provenance = replace(MEETING.provenance, source=replace(source, path=f"may/{name}.mp3"))
        outputs.write(tmp_path / "out" / name, replace(MEETING, recording=name, provenance=provenance), ["srt"], {})
    return tmp_path / "out"


def test_subtitles_are_named_like_the_recordings(run: Path, tmp_path: Path) -> None:
    request = ExportRequest(["srt"], template="{stem}.{lang}.srt", folder=tmp_path / "media")
    assert sorted(export.path.name for export in request.export([run])) == ["second.en.srt", "staff-meeting.en.srt"]
    text = (tmp_path / "media" / "staff-meeting.en.srt").read_text(encoding="utf-8")
    assert text == formats.dumps("srt", MEETING)


def test_what_the_speech_does_not_allow_is_said(run: Path) -> None:
    words = tuple(Word(i / 20, (i + 1) / 20, "quickly", 0.9, "S1") for i in range(40))
    outputs.write(run / "second", replace(MEETING, recording="second", words=words, duration=3.0), [], {})
    (export,) = ExportRequest(["srt"]).export([run / "second"])
    assert "subtitles of 5 faster than 17 characters a second" in export.notes[0]


def test_choices_change_the_file_and_verify_knows_them(run: Path) -> None:
    folder = run / "second"
    choices = ExportOptions(one_speaker_a_cue=True, byte_order_mark=True)
    for _ in ExportRequest(["vtt", "csv"], options=choices, template="{id}{suffix}").export([folder]):
        pass
    assert (folder / "second.csv").read_bytes().startswith(b"\xef\xbb\xbfrecording,")
    (run / "run.json").write_text('{"recordings": [{"id": "second", "status": "done"}]}')
    differences = {(each.where, each.kind) for each in integrity.check(run, inputs=False).differences}
    assert not {where for where, _ in differences if where.startswith("second/second.")}
    assert json.loads((folder / outputs.CHOICES).read_text()) == {
        "second.csv": {"byte_order_mark": True},
        "second.vtt": {"one_speaker_a_cue": True},
    }
    (folder / "second.csv").write_text("recording\n")
    differences = {(each.where, each.kind) for each in integrity.check(run, inputs=False).differences}
    assert ("second/second.csv", "extra") in differences


def differences_of(folder: Path) -> set[tuple[str, str]]:
    report = integrity.check(folder.parent, inputs=False)
    prefix = f"{folder.name}/"
    return {(each.where.removeprefix(prefix), each.kind) for each in report.differences if prefix in each.where}


def export(folder: Path, format: str, **choices: Any) -> None:
    assert [each.path.parent for each in ExportRequest([format], options=ExportOptions(**choices)).export([folder])]


@pytest.mark.parametrize(("format", "table"), [("md", False), ("docx", False), ("docx", True)])
def test_a_title_is_recorded_and_verify_says_that_the_file_is_right(run: Path, format: str, table: bool) -> None:
    if format in formats.BINARY:
        pytest.importorskip("docx")
    folder = run / "second"
    before = integrity.seal(run)
    export(folder, format, title="Board <b>meeting</b>", date="4 May 2026", table=table)
    path = folder / f"transcript{formats.suffix(format)}"
    report = integrity.check(run, inputs=False)
    assert not [each for each in report.differences if each.where.startswith("second/")]
    assert any("with the title 'Board <b>meeting</b>'" in note for note in report.notes)
    assert integrity.seal(run) == before

    # Corrections keep the title; a file that is changed by hand differs.
    edit.edit(folder, [lambda state: requests.name("S1=Ann", state)], "anna")
    options = ExportOptions(title="Board <b>meeting</b>", date="4 May 2026", table=table)
    assert path.read_bytes() == formats.encode(format, outputs.read_corrected(folder), options)
    assert differences_of(folder) == set()
    path.write_bytes(path.read_bytes() + b" ")
    assert differences_of(folder) == {(path.name, "changed")}

    # The next export without choices is the default one again.
    export(folder, format)
    assert path.read_bytes() == formats.encode(format, outputs.read_corrected(folder))
    assert differences_of(folder) == set() and json.loads((folder / outputs.CHOICES).read_text()) == {}


def test_a_file_of_the_run_that_is_exported_with_choices_has_its_new_digest(run: Path) -> None:
    folder = run / "second"
    outputs.write(folder, replace(MEETING, recording="second"), ["md", "srt"], {})
    before = integrity.seal(run)
    export(folder, "md", title="Board meeting")
    assert differences_of(folder) == set() and integrity.seal(run) != before
    (folder / outputs.CHOICES).unlink()
    assert differences_of(folder) == {("transcript.md", "changed")}
    export(folder, "md", title="Board meeting")
    outputs.write(folder, replace(MEETING, recording="second"), ["md"], {})  # processed again
    assert not (folder / outputs.CHOICES).exists() and differences_of(folder) == set()


@pytest.mark.parametrize("content", ["", "[]", '{"a": 1}', '{"a": {"colour": 1}}', '{"a": {"title": 1}}', "[" * 10**5])
def test_a_damaged_record_of_choices_is_a_difference(run: Path, content: str) -> None:
    (run / "second" / outputs.CHOICES).write_text(content)
    assert differences_of(run / "second") == {(outputs.CHOICES, "changed")}
    with pytest.raises(FormatError, match="export again"):
        export(run / "second", "md")


@pytest.mark.parametrize(
    "template",
    ["{stem", "{0}", "{stem.upper}", "{stem!r}", "{stem:>99}", "../{stem}", "a/b", "{name}", "x\x00", "{stem}\n"],
)
def test_a_template_that_gives_no_file_name_is_refused(template: str, run: Path) -> None:
    with pytest.raises(ConfigError, match="--name-template"):
        list(ExportRequest(["srt"], template=template).export([run]))


@pytest.mark.parametrize("template", ["same.srt", "{lang}{suffix}", "{stem}.srt"])
def test_two_files_of_one_name_are_refused(template: str, run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="written twice"):
        list(ExportRequest(["srt", "vtt"], template=template, folder=tmp_path / "media").export([run]))


@pytest.mark.parametrize("template", ["transcript.json", "corrections.jsonl", "provenance.json"])
def test_results_are_not_replaced_by_exports(template: str, run: Path) -> None:
    with pytest.raises(ConfigError, match="gives the name"):
        list(ExportRequest(["srt"], template=template).export([run / "second"]))


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_a_hostile_name_of_a_recording_stays_in_the_folder(name: str, tmp_path: Path) -> None:
    source = MEETING.provenance.source
    assert source is not None
    provenance = replace(MEETING.provenance, source=replace(source, path=name))
    talk = replace(MEETING, recording=name, language=name, provenance=provenance)
    outputs.write(tmp_path / "out" / "r", talk, [], {})
    (export,) = ExportRequest(["srt"], template="{stem}.{lang}.srt", folder=tmp_path / "media").export(
        [tmp_path / "out/r"]
    )
    assert [path.name for path in (tmp_path / "media").iterdir()] == [export.path.name]
    assert export.path.parent == tmp_path / "media" and export.path.name.isprintable()


def test_a_whole_run_in_every_format(run: Path) -> None:
    files = {export.path for export in ExportRequest(formats.names()).export([run])}
    suffixes = [formats.suffix(name) for name in formats.names()]
    assert files == {run / id / f"transcript{suffix}" for id in ("second", "staff-meeting") for suffix in suffixes}
    for id in ("second", "staff-meeting"):
        talk = outputs.read(run / id)
        for name in formats.names():
            assert (run / id / f"transcript{formats.suffix(name)}").read_bytes() == formats.encode(name, talk)


@pytest.mark.parametrize("name", ["docx", "wordcsv", "rtctm"])
def test_hostile_names_in_the_tables_and_documents_of_words(name: str) -> None:
    ids = [each for each in HOSTILE if len(each) < 100]
    words = tuple(Word(i, i + 0.5, f"{id} x", 0.5, id) for i, id in enumerate(ids))
    turns = tuple(Turn(i, i + 0.5, id) for i, id in enumerate(ids))
    talk = Transcript("=r()", 99.0, "en", tuple(Speaker(id, id) for id in ids), turns, words)
    data = formats.encode(name, talk)
    if name == "wordcsv":
        rows = list(csv.DictReader(io.StringIO(data.decode(), newline="")))
        assert [unguard_optional(row["speaker"]) for row in rows] == [encodable(id) for id in ids]
        assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row.values())
    elif name == "rtctm":
        own = ctm.loads(data.decode(), "x")["=r()"]
        assert {word.speaker for word in own} == set(ids)
    else:
        labels = list(make_labels(talk).values())
        assert len(docx.loads(data, "x", labels).turns) == len(ids)
