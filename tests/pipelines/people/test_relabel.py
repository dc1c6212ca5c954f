"""A library changes, and finished transcripts follow without their recordings."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import run_pipeline
from diarize.errors import ConfigError
from diarize.library import enrolled
from diarize.library import store as libraries
from diarize.library.database.records import Enrolment
from diarize.library.store import Library
from pipelines.people.relabel import relabel
from pipelines.results import integrity, outputs, voiceprints
from tests.pipelines.inprocess import InProcess, contents
from tests.pipelines.test_strangers import TONES, place  # noqa: F401 - a fixture


@pytest.fixture
def out(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: F811
    """Results of four recordings with unknown speakers, whose voices were kept."""
    monkeypatch.setattr(enrolled, "calibration_of", lambda model, config: TONES)
    assert InProcess(monkeypatch)(place / "in", place / "out", "--link", "--keep-voices") == 0
    return place / "out"


def enrol(library: Library, out: Path, name: str, recording: str, row: int) -> str:
    """Enrol a speaker of a recording by their stored voice; the person's id."""
    record = outputs.read_provenance(out / recording)
    strangers = voiceprints.load(out / recording, record["strangers"])
    assert strangers is not None
    model = outputs.read(out / recording).provenance.stages["embed"]
    utterance = Enrolment(f"{row:064x}", 20.0, {}, strangers.vectors[row], model, 0.0, 20.0)
    return library.enrol(name, [utterance]).id


def names(out: Path) -> dict[str, list[str | None]]:
    return {path.parent.name: [s.name for s in outputs.read(path.parent).speakers] for path in out.glob("*/*.txt")}


def test_new_names_reach_transcripts_exports_tables_and_seals(out: Path, tmp_path: Path) -> None:
    words_before = {id: outputs.read(out / id) for id in "abcd"}
    shutil.rmtree(out.parent / "in")  # the recordings are not needed
    with libraries.open(tmp_path / "people.db", create=True) as library:
        anna = enrol(library, out, "Anna", "a", 0)
        assert names(out) == {id: [None, None] for id in "abcd"}
        result = relabel(out, library)
        assert result.status == 0 and set(result.rewritten) == set("abcd")
        assert {(change.before, change.after) for change in result.changes} == {(None, "Anna")}
        with_anna = {id for id, speakers in names(out).items() if "Anna" in speakers}
        assert "a" in with_anna
        assert "Anna" in (out / "a" / "transcript.txt").read_text() + (out / "a" / "transcript.csv").read_text()
        assert "Anna" in (out / "timeline.csv").read_text() and "Anna" in (out / "speakers.csv").read_text()
        report = integrity.check(out, inputs=False)
        assert report.differences == []

        # Done again, nothing changes, and no byte is written.
        before, seal = contents(out), integrity.seal(out)
        again = relabel(out, library)
        assert (again.rewritten, again.changes) == ((), [])
        assert (contents(out), integrity.seal(out)) == (before, seal)

        # Another name, one person for two entries, and nobody.
        library.rename(anna, "Anna Maria")
        changes = relabel(out, library).changes
        assert {(change.before, change.after) for change in changes} == {("Anna", "Anna Maria")}
        other = enrol(library, out, "Maria", "b", 1)
        library.merge(other, anna)
        relabel(out, library)
        assert all("Anna Maria" not in speakers for speakers in names(out).values())
        assert outputs.read(out / "a").speakers[0].voice == other
        library.remove(other)
        removed = relabel(out, library)
        assert {change.after for change in removed.changes} == {None}
        text = "".join(path.read_text() for path in out.glob("*/transcript*") if path.is_file())
        assert "Anna" not in text and "Maria" not in text
        assert integrity.check(out, inputs=False).differences == []
    for id, transcript in words_before.items():
        now = outputs.read(out / id)
        assert (now.turns, now.words, now.provenance) == (transcript.turns, transcript.words, transcript.provenance)
        assert "relabelled" in outputs.read_provenance(out / id)


def test_without_kept_voices_it_says_that_new_people_are_not_recognised(out: Path, tmp_path: Path) -> None:
    with libraries.open(tmp_path / "people.db", create=True) as library:
        enrol(library, out, "Anna", "a", 0)
        for id in "abcd":
            voiceprints.delete(out / id)
        before = contents(out)
        result = relabel(out, library)
        assert result.rewritten == () and "8 unknown speakers without a stored voiceprint" in result.notes[0]
        assert contents(out) == before


def test_a_run_without_a_library_says_that_nobody_can_be_named(
    place: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    assert InProcess(monkeypatch)(place / "in", place / "out") == 0
    with libraries.open(tmp_path / "people.db", create=True) as library:
        result = relabel(place / "out", library)
    assert result.unnamed == 4 and result.unknown == 0
    assert "made without a library" in result.notes[0] and "--library" in result.notes[0]


def test_one_damaged_transcript_costs_its_row_and_other_folders_are_refused(
    out: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with libraries.open(tmp_path / "people.db", create=True) as library:
        enrol(library, out, "Anna", "b", 0)
        (out / "a" / outputs.PROVENANCE).write_text("[")
        result = relabel(out, library)
        assert set(result.problems) == {"a"} and result.status == 3
        with pytest.raises(ConfigError, match="is not the folder of a run"):
            relabel(out / "b", library)
        with pytest.raises(ConfigError, match="is not the folder of a run"):
            relabel(tmp_path / "nowhere", library)
        library.rename(library.people()[0].id, "=Anna\x1b")
    capfd.readouterr()
    assert run_pipeline.main(["relabel", str(out), "--library", str(tmp_path / "people.db")]) == 3
    text = capfd.readouterr()
    assert "Anna -> =Anna" in text.out and "\x1b" not in text.out and text.err.startswith("failed: a: ")
    assert run_pipeline.main(["relabel", str(out), "--library", str(tmp_path / "people.db"), "--json"]) == 3
    fields = json.loads(capfd.readouterr().out)
    assert fields["schema"] == "diarize-relabelling/1" and fields["changes"] == []


def test_the_end_of_a_consent_takes_the_name_away(out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with libraries.open(tmp_path / "people.db", create=True) as library:
        enrol(library, out, "Anna", "a", 0)
        assert relabel(out, library).changes
        people = [replace(person, expired=True) for person in library.people()]
        monkeypatch.setattr(library, "people", lambda: people)
        changes = relabel(out, library).changes
        assert changes and {change.reason for change in changes} == {"the consent of the person has ended"}
