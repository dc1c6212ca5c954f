"""Files that somebody corrected in an editor: each comes back as the corrections that were made, and as no others."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diarize import formats
from diarize.corrections.operations import apply
from diarize.corrections.state import State
from diarize.errors import DiarizeError, FormatError
from diarize.types import Speaker, Transcript, Turn, Word
from pipelines.results import outputs
from pipelines.results.corrections import Corrections
from pipelines.review import adopt
from pipelines.review.adopt import Adoption
from tests.formats.samples import MEETING, transcripts

FORMATS = ("textgrid", "eaf", "audacity", "labelstudio", "srt", "vtt", "txt", "rttm", "json")
WITH_WORDS = ("textgrid", "eaf", "json")
WITH_TEXT = ("textgrid", "eaf", "audacity", "labelstudio", "srt", "vtt", "txt")
CAPTIONS = ("srt", "vtt", "txt")

TALK = Transcript(
    "talk",
    20.0,
    "en",
    (Speaker("A"), Speaker("B", "Bea")),
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
    outputs.write(path, TALK, FORMATS, {})
    return path


def write(folder: Path, format: str, transcript: Transcript) -> Path:
    path = folder.parent / f"edited{formats.suffix(format)}"
    path.write_text(formats.dumps(format, transcript), encoding="utf-8", newline="")
    return path


def adopted(folder: Path, path: Path) -> Adoption:
    corrections = Corrections(folder)
    adoption = adopt.adopt(path, corrections)
    if adoption.operation is not None:
        corrections.append(adoption.operation, "anna")
    return adoption


def changed(folder: Path, format: str, *replacements: tuple[str, str]) -> Path:
    """A copy of an export in which texts were replaced."""
    text = formats.dumps(format, outputs.read_corrected(folder))
    for old, new in replacements:
        assert old in text, (old, text)
        text = text.replace(old, new)
    path = folder.parent / f"edited{formats.suffix(format)}"
    path.write_text(text, encoding="utf-8", newline="")
    return path


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("transcript", [TALK, MEETING], ids=["talk", "meeting"])
def test_a_file_that_nobody_changed_gives_no_operation(format: str, transcript: Transcript, folder: Path) -> None:
    outputs.write(folder, transcript, FORMATS, {})
    assert adopt.adopt(write(folder, format, transcript), Corrections(folder)) == Adoption(None)


@pytest.mark.parametrize("format", FORMATS)
@settings(max_examples=40, deadline=None)
@given(transcript=transcripts())
def test_every_export_can_be_read_and_gives_no_operation(format: str, transcript: Transcript) -> None:
    state = State.of(transcript)
    for options in formats.variants(format):
        text = formats.dumps(format, transcript, options)
        assert adopt.compare(text, "file", format, transcript, state)[0].operations == []


@pytest.mark.parametrize("format", WITH_TEXT)
def test_a_corrected_word_of_a_text_is_one_operation(format: str, folder: Path) -> None:
    if format in ("textgrid", "eaf"):
        path = changed(folder, format, ("The pudget", "The budget"))  # in the tier of turns alone
    else:
        path = changed(folder, format, ("pudget", "budget"))
    assert adopted(folder, path).operation == {"op": "edit_word", "word": "w5000", "text": "budget"}
    assert adopted(folder, path).operation is None


@pytest.mark.parametrize("format", WITH_WORDS)
def test_a_corrected_word_of_a_tier_is_one_operation(format: str, folder: Path) -> None:
    path = changed(
        folder, format, ('"pudget"' if format != "eaf" else ">pudget<", '"budget"' if format != "eaf" else ">budget<")
    )
    assert adopted(folder, path).operation == {"op": "edit_word", "word": "w5000", "text": "budget"}
    assert adopted(folder, path).operation is None


@pytest.mark.parametrize("format", [name for name in FORMATS if name not in ("rttm",)])
def test_a_speaker_with_another_name_is_named(format: str, folder: Path) -> None:
    path = changed(folder, format, ("Bea", "Beatrix"))
    assert adopted(folder, path).operation == {"op": "name_speaker", "speaker": "B", "name": "Beatrix"}
    assert adopted(folder, path).operation is None
    assert outputs.read_corrected(folder).label("B") == "Beatrix"


@pytest.mark.parametrize("format", [name for name in FORMATS if name not in CAPTIONS])
def test_a_turn_of_another_speaker_is_given_to_that_speaker(format: str, folder: Path) -> None:
    third = Turn(9.0, 12.0, "B")
    words = (*TALK.words[:6], Word(9.0, 10.0, "Why?", 0.6, "B"))
    path = write(folder, format, Transcript("talk", 20.0, "en", TALK.speakers, (*TALK.turns[:2], third), words))
    expected = {"op": "assign", "start": 9000, "end": 12000, "from": "A", "to": "B"}
    assert adopted(folder, path).operation == expected
    assert adopted(folder, path).operation is None
    result = outputs.read_corrected(folder)
    assert [word.speaker for word in result.words] == [word.speaker for word in words]


@pytest.mark.parametrize("format", CAPTIONS)
def test_a_subtitle_of_another_speaker_is_given_to_that_speaker(format: str, folder: Path) -> None:
    words = (*TALK.words[:6], Word(9.0, 10.0, "Why?", 0.6, "B"))
    path = write(folder, format, Transcript("talk", 20.0, "en", TALK.speakers, TALK.turns, words))
    expected = {"op": "assign", "start": 9000, "end": 12000, "from": "A", "to": "B"}
    assert adopted(folder, path).operation == expected
    assert adopted(folder, path).operation is None


@pytest.mark.parametrize("format", [name for name in FORMATS if name not in CAPTIONS])
def test_a_moved_end_is_one_operation(format: str, folder: Path) -> None:
    turns = (*TALK.turns[:2], Turn(9.0, 11.0, "A"))
    path = write(folder, format, Transcript("talk", 20.0, "en", TALK.speakers, turns, TALK.words))
    assert adopted(folder, path).operation == {"op": "set_turn", "turn": "t9000", "start": 9000, "end": 11000}
    assert adopted(folder, path).operation is None


@pytest.mark.parametrize("format", [name for name in FORMATS if name not in CAPTIONS])
def test_a_new_speaker_is_added(format: str, folder: Path) -> None:
    speakers = (*TALK.speakers, Speaker("C", "Carl"))
    turns = (*TALK.turns[:2], Turn(9.0, 12.0, "C"))
    words = (*TALK.words[:6], Word(9.0, 10.0, "Why?", 0.6, "C"))
    path = write(folder, format, Transcript("talk", 20.0, "en", speakers, turns, words))
    name = "C" if format == "rttm" else "Carl"
    assert adopted(folder, path).operation == {
        "op": "group",
        "operations": [
            {"op": "add_speaker", "speaker": "SPEAKER_01", "name": name},
            {"op": "assign", "start": 9000, "end": 12000, "from": "A", "to": "SPEAKER_01"},
        ],
    }
    assert adopted(folder, path).operation is None


@pytest.mark.parametrize("format", WITH_WORDS)
def test_words_are_moved_added_and_removed(format: str, folder: Path) -> None:
    words = (TALK.words[0], Word(1.6, 2.6, "morning.", 0.8, "A"), *TALK.words[3:], Word(10.5, 11.0, "Well", 0.5, "A"))
    path = write(folder, format, Transcript("talk", 20.0, "en", TALK.speakers, TALK.turns, words))
    assert adopted(folder, path).operation == {
        "op": "group",
        "operations": [
            {"op": "time_word", "word": "w1500", "start": 1600, "end": 2600},
            {"op": "delete_word", "word": "w4500"},
            {"op": "insert_word", "start": 10500, "end": 11000, "text": "Well", "speaker": "A"},
        ],
    }
    assert adopted(folder, path).operation is None


@pytest.mark.parametrize("format", [name for name in WITH_TEXT if name not in WITH_WORDS])
def test_words_of_a_text_are_added_and_removed_and_all_others_stay(format: str, folder: Path) -> None:
    path = changed(folder, format, ("The pudget is small.", "budget is very small. Is it?"))
    assert adopted(folder, path).operation is not None
    words = outputs.read_corrected(folder).words
    assert [word.text for word in words[2:-1]] == ["budget", "is", "very", "small.", "Is", "it?"]
    assert [word.probability for word in words if word.text in ("is", "small.")] == [0.7, 0.7]
    assert adopted(folder, path).operation is None


@pytest.mark.parametrize("format", ["audacity", "labelstudio", "textgrid", "eaf"])
def test_a_removed_turn_goes_with_its_words(format: str, folder: Path) -> None:
    path = write(folder, format, Transcript("talk", 20.0, "en", TALK.speakers, TALK.turns[:2], TALK.words[:6]))
    assert adopted(folder, path).operation is not None
    result = outputs.read_corrected(folder)
    assert len(result.turns) == 2 and len(result.words) == 6
    assert adopted(folder, path).operation is None


@pytest.mark.parametrize("format", FORMATS)
def test_later_corrections_are_no_difference_of_an_older_export(format: str, folder: Path) -> None:
    path = changed(folder, format)
    corrections = Corrections(folder)
    corrections.append({"op": "edit_word", "word": "w6000", "text": "was"}, "anna")
    corrections.append({"op": "set_turn", "turn": "t9000", "start": 9000, "end": 11000}, "anna")
    assert adopted(folder, path).operation is None
    if format not in ("rttm", "json"):
        path.write_text(path.read_text(encoding="utf-8").replace("pudget", "budget"), encoding="utf-8")
        assert adopted(folder, path).operation == {"op": "edit_word", "word": "w5000", "text": "budget"}
        assert [word.text for word in outputs.read_corrected(folder).words[3:5]] == ["budget", "was"]


def test_a_taken_back_adoption_can_be_made_again(folder: Path) -> None:
    path = changed(folder, "srt", ("pudget", "budget"))
    assert adopted(folder, path).operation is not None
    Corrections(folder).append({"op": "undo", "number": 1}, "anna")
    assert adopted(folder, path).operation is not None


def test_times_of_subtitles_are_not_read_and_that_is_said(folder: Path) -> None:
    adoption = adopted(folder, changed(folder, "srt", ("00:00:09,000", "00:00:09,500")))
    assert adoption.operation is None
    assert adoption.notes == ("1 span of time not in the export: only texts and speakers are read here",)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.eaf", "<!DOCTYPE x [<!ENTITY a 'b'>]><ANNOTATION_DOCUMENT/>"),
        ("a.eaf", "<a>" * 100_000),
        ("a.eaf", "<ANNOTATION_DOCUMENT>"),
        ("a.eaf", "<x/>"),
        ("a.eaf", ""),
        ("a.TextGrid", ""),
        ("a.TextGrid", 'File type = "ooTextFile"\nObject class = "TextGrid"\n0 1 <exists> 999999999'),
        ("a.TextGrid", '"' * 100_001),
        ("a.labels.txt", "x\ty\tz"),
        ("a.labels.txt", "1\t2e400\tz"),
        ("a.txt", "[00:00:99:99 - x] y"),
        ("a.json", "[[[[" * 10_000),
        ("a.json", "[{}]"),
        ("a.srt", "1\n00:00:05,000 --> 00:00:01,000\nx\n"),
        ("a.rttm", "SPEAKER a 1 x y <NA> <NA> S1 <NA> <NA>"),
        ("a.docx", "PK"),
        ("a", "x"),
    ],
)
def test_hostile_files_raise_our_errors(name: str, content: str, folder: Path) -> None:
    path = folder.parent / name
    path.write_text(content, encoding="utf-8")
    with pytest.raises(FormatError):
        adopt.adopt(path, Corrections(folder))


@pytest.mark.parametrize("format", FORMATS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_files_raise_our_errors_or_give_operations_that_fit(format: str, data: st.DataObject) -> None:
    text = formats.dumps(format, TALK)
    for _ in range(data.draw(st.integers(1, 3))):
        at, size = data.draw(st.integers(0, len(text))), data.draw(st.integers(0, 12))
        part = data.draw(st.sampled_from(["", "0", "9", "<", '"', "\n", "Bea", "\t", "é", "-1", "A"]))
        text = text[:at] + part + text[at + size :]
    state = State.of(TALK)
    try:
        result, _ = adopt.compare(text, "file", format, TALK, state)
    except DiarizeError:
        return
    if result.operations:
        apply(state, {"op": "group", "operations": result.operations}, 1)


def test_utf_16_of_praat_is_read(folder: Path) -> None:
    path = changed(folder, "textgrid", ('"pudget"', '"budget"'))
    path.write_bytes(path.read_text(encoding="utf-8").encode("utf-16"))
    assert adopted(folder, path).operation is not None
    path = changed(folder, "eaf", (">budget<", ">Budget<"), ("UTF-8", "UTF-16"))
    path.write_bytes(path.read_text(encoding="utf-8").encode("utf-16"))
    assert adopted(folder, path).operation is not None
