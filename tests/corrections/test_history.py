"""The log of operations, its chain, undo and redo; corrections that are brought to another transcript."""

from __future__ import annotations

from dataclasses import replace

import pytest

from diarize.corrections import history, overlay
from diarize.corrections.anchoring import Anchors, match_speakers
from diarize.corrections.history import START, Entry
from diarize.corrections.operations import DoesNotFit, Operation
from diarize.corrections.state import State
from diarize.errors import FormatError
from diarize.types import Speaker, Transcript, Turn, Word
from tests.corrections.test_operations import STATE, transcript


def entries(*operations: Operation) -> tuple[Entry, ...]:
    listed: list[Entry] = []
    for number, operation in enumerate(operations, 1):
        entry = Entry(number, "2026-05-04T10:00:00+00:00", "anna", "base", operation)
        listed.append(replace(entry, hash=entry.chained(listed[-1].hash if listed else START)))
    return tuple(listed)


NAME = {"op": "name_speaker", "speaker": "A", "name": "Anna"}
EDIT = {"op": "edit_word", "word": "w2000", "text": "too"}
LOG = entries(NAME, EDIT, {"op": "undo", "number": 1}, {"op": "redo", "number": 1}, {"op": "undo", "number": 2})


def text(log: tuple[Entry, ...] = LOG) -> str:
    return "".join(entry.as_line() for entry in log)


def test_a_log_is_read_as_it_was_written() -> None:
    assert history.read(text(), "x") == (LOG, "")
    assert history.read("", "x") == ((), "")


def test_undo_and_redo() -> None:
    state = history.replay(STATE, LOG).state
    assert state.speakers[0].name == "Anna" and state.words[1].text == "two"
    assert [one.undone for one in history.replay(STATE, LOG).entries] == [False, True, False, False, False]
    with pytest.raises(DoesNotFit, match="taken back already"):
        history.check_entry({"op": "undo", "number": 2}, LOG)
    with pytest.raises(DoesNotFit, match="in effect"):
        history.check_entry({"op": "redo", "number": 1}, LOG)
    for number in (0, 6, 3, True, "1", None):
        with pytest.raises(DoesNotFit):
            history.check_entry({"op": "undo", "number": number}, LOG)


def test_a_line_that_was_not_finished_is_left_out() -> None:
    for cut in range(1, len(LOG[-1].as_line())):
        assert history.read(text()[:-cut], "x") == (LOG[:-1], "")


def test_every_change_of_the_log_is_noticed() -> None:
    """Any byte; and lines that are removed before the end, or exchanged. (The end itself is in provenance.json.)"""
    whole = text()
    for at in range(0, len(whole) - 1, 3):
        changed = whole[:at] + ("x" if whole[at] != "x" else "y") + whole[at + 1 :]
        try:
            assert history.read(changed, "x")[1] or history.read(changed, "x")[0] != LOG
            assert history.read(changed, "x")[1]
        except FormatError as error:
            assert "not a correction" in str(error)
    assert history.read(text((LOG[0], *LOG[2:])), "x")[1]
    assert history.read(text((LOG[1], LOG[0], *LOG[2:])), "x")[1]


def test_the_corrected_transcript_marks_what_people_decided() -> None:
    log = entries(NAME, EDIT, {"op": "assign", "start": 2000, "end": 3000, "from": "A", "to": "B"})
    shown = overlay.corrected(transcript(), history.replay(STATE, log).state)
    assert [(s.label, s.human) for s in shown.speakers] == [("Anna", True), ("Bea", False)]
    assert [(w.text, w.probability, w.human) for w in shown.words[:2]] == [("one", 0.9, False), ("too", None, True)]
    assert [turn.human for turn in shown.turns] == [True, True, True, False, False]
    assert shown.turns[0].confidence is None


def test_without_corrections_it_is_the_machine_s() -> None:
    assert overlay.corrected(transcript(), STATE) == transcript()


def again() -> Transcript:
    """The same recording, processed with other settings: other ids, other ends of turns, one word written otherwise."""
    return Transcript(
        "meeting",
        20.0,
        "en",
        (Speaker("X"), Speaker("Y"), Speaker("Z")),
        (Turn(1.2, 4.1, "X"), Turn(4.1, 8.0, "Y"), Turn(9.0, 11.9, "X"), Turn(16.0, 17.0, "Z")),
        (Word(1.1, 2.0, "one", 0.9, "X"), Word(2.0, 3.0, "to", 0.8, "X"), Word(4.1, 5.0, "three", 0.7, "Y")),
    )


def test_corrections_are_brought_to_another_transcript_where_they_fit() -> None:
    log = entries(
        NAME,
        {"op": "edit_word", "word": "w1000", "text": "won"},
        EDIT,
        {"op": "check_turn", "turn": "t9000", "checked": True},
        {"op": "delete_word", "word": "w9000"},
        {"op": "insert_word", "start": 13000, "end": 13500, "text": "new", "speaker": "B"},
        {"op": "edit_word", "word": "w@6", "text": "newer"},
    )
    anchors = Anchors(STATE, State.of(again()))
    result = history.replay(State.of(again()), log, lambda entry: anchors.translate(entry.operation))
    assert [one.entry.number for one in result.conflicts] == [3, 5]
    assert "'two' at 2.00 s is not there any more" in result.conflicts[0].problem
    assert result.state.speakers[0].name == "Anna"
    assert [word.text for word in result.state.words] == ["won", "to", "three", "newer"]
    assert result.state.words[-1].speaker == "Y"
    assert [turn.checked for turn in result.state.turns] == [False, False, True, False]


def test_speakers_are_matched_by_the_time_that_they_share() -> None:
    assert match_speakers(STATE.turns, State.of(again()).turns) == {"A": "X", "B": "Y"}
    assert match_speakers((), STATE.turns) == {}
