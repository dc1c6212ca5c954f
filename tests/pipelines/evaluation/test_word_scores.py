"""Measures of words, against MeetEval itself and by hand."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import meeteval
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diarize.metrics.counts import Share, WordErrors
from diarize.types import Segment
from pipelines.evaluation import word_scores
from pipelines.evaluation.files import RecordingAnnotation, TextSpan
from pipelines.evaluation.scores import Rules, Score

AS_IT_IS = Rules(normalise=())


def side(*said: tuple[float, float, str | None, str]) -> RecordingAnnotation:
    """A side whose utterances are all the times it has."""
    found = tuple(TextSpan(*item) for item in said)
    return RecordingAnnotation("talk", None, found, found)


def by_word(*said: tuple[float, float, str | None, str]) -> RecordingAnnotation:
    """A side that times every word: the utterances' words, parted evenly."""
    words = []
    for start, end, who, text in said:
        parts = text.split()
        step = (end - start) / len(parts)
        words += [TextSpan(start + i * step, start + (i + 1) * step, who, part) for i, part in enumerate(parts)]
    return RecordingAnnotation("talk", None, tuple(TextSpan(*item) for item in said), tuple(words))


def score(
    reference: RecordingAnnotation,
    hypothesis: RecordingAnnotation,
    scored: Sequence[Segment] | None = None,
    rules: Rules = AS_IT_IS,
) -> Score:
    return word_scores.score_words(reference, hypothesis, scored, rules)[0]


REFERENCE = ((0.0, 2.0, "Ada", "good morning ben"), (2.0, 4.0, "Ben", "good morning"), (4.0, 5.0, "Ada", "well"))


def test_all_right() -> None:
    told, heard = side(*REFERENCE), by_word(*((a, b, f"S{who}", text) for a, b, who, text in REFERENCE))
    found = score(told, heard)
    assert found == Score(
        wer=WordErrors(length=6),
        cpwer=WordErrors(length=6),
        tcpwer=WordErrors(length=6),
        orcwer=WordErrors(length=6),
        wder=Share(0, 6),
    )


def test_right_words_of_the_wrong_speaker_cost_cpwer_and_wder_only() -> None:
    heard = by_word((0.0, 2.0, "1", "good morning ben"), (2.0, 4.0, "1", "good morning"), (4.0, 5.0, "1", "well"))
    found = score(side(*REFERENCE), heard)
    assert found.wer == found.orcwer == WordErrors(length=6)
    assert found.wder == Share(2, 6)
    assert found.cpwer == WordErrors(0, 2, 2, 6) == found.tcpwer


def test_a_substituted_word_counts_in_wder_with_its_speaker() -> None:
    heard = by_word((0.0, 2.0, "1", "could morning ben"), (2.0, 4.0, "1", "good morning"), (4.0, 5.0, "1", "well"))
    assert score(side(*REFERENCE), heard).wder == Share(2, 6)


def test_a_deleted_or_inserted_word_does_not_count_in_wder() -> None:
    heard = by_word((0.0, 2.0, "1", "morning ben"), (2.0, 4.0, "2", "good morning now"), (4.0, 5.0, "1", "well"))
    found = score(side(*REFERENCE), heard)
    assert found.wder == Share(0, 5)
    assert found.wer is not None and found.wer.rate == pytest.approx(2 / 6)


def test_words_far_from_their_time_are_wrong_for_tcpwer_alone() -> None:
    late = by_word((60.0, 62.0, "1", "good morning ben"), (62.0, 64.0, "2", "good morning"), (64.0, 65.0, "1", "well"))
    found = score(side(*REFERENCE), late)
    assert found.cpwer == WordErrors(length=6) and found.tcpwer == WordErrors(0, 6, 6, 6)
    near = score(side(*REFERENCE), late, rules=Rules(normalise=(), word_collar=61))
    assert near.tcpwer == WordErrors(length=6)


def test_words_of_nobody_are_wrong_speakers() -> None:
    heard = by_word((0.0, 2.0, "1", "good morning ben"), (2.0, 4.0, None, "good morning"), (4.0, 5.0, "1", "well"))
    found = score(side(*REFERENCE), heard)
    assert found.wder == Share(2, 6) and found.wer == WordErrors(length=6)


def test_without_speakers_there_is_wer_alone() -> None:
    heard = by_word(*((a, b, None, text) for a, b, _, text in REFERENCE))
    found = score(side(*REFERENCE), heard)
    assert found.wer == found.orcwer == WordErrors(length=6)
    assert (found.cpwer, found.tcpwer, found.wder) == (None, None, None)


def test_text_is_normalised_on_both_sides() -> None:
    told = side((0, 1, "A", "It’s Two O'Clock."))
    heard = side((0, 1, "x", "it's two o'clock"))
    assert score(told, heard, rules=Rules()).wer == WordErrors(length=3)
    assert score(told, heard).wer == WordErrors(substitutions=3, length=3)


def test_text_outside_the_uem_does_not_count() -> None:
    found = score(side(*REFERENCE), by_word((0, 2, "1", "good morning ben")), (Segment(0, 2),))
    assert found.wer == WordErrors(length=3) and found.cpwer == WordErrors(length=3)


@pytest.mark.parametrize(
    ("told", "heard", "errors"),
    [
        (side(), side((0, 1, "x", "a b")), WordErrors(insertions=2)),
        (side((0, 1, "A", "a b c")), side(), WordErrors(deletions=3, length=3)),
        (side(), side(), WordErrors()),
        (side((0, 1, "A", "...")), side((0, 1, "x", "!")), WordErrors()),
    ],
)
def test_one_side_is_silent(told: RecordingAnnotation, heard: RecordingAnnotation, errors: WordErrors) -> None:
    found = score(told, heard, rules=Rules())
    assert found.wer == found.cpwer == found.tcpwer == found.orcwer == errors
    assert found.wder == Share(0, 0)


utterances = st.lists(
    st.tuples(st.integers(0, 40), st.integers(1, 4), st.sampled_from("AB"), st.text("abc ", min_size=1, max_size=9)),
    min_size=1,
    max_size=6,
)


@settings(max_examples=60, deadline=None)
@given(utterances, utterances)
def test_the_word_error_rates_are_those_of_meeteval(
    told: list[tuple[int, int, str, str]], heard: list[tuple[int, int, str, str]]
) -> None:
    told, heard = ([item for item in given if item[3].strip()] for given in (told, heard))
    if not (told and heard):
        return
    files = [
        meeteval.io.SegLST(
            [
                {"session_id": "x", "speaker": who, "start_time": at, "end_time": at + long, "words": text}
                for at, long, who, text in sorted(items, key=lambda item: (item[0], item[0] + item[1]))
            ]
        )
        for items in (told, heard)
    ]
    one, two = (side(*((at, at + long, who, text) for at, long, who, text in items)) for items in (told, heard))
    found = score(one, two)
    logging.disable(logging.WARNING)
    try:
        for ours, theirs in (
            (found.cpwer, meeteval.wer.cpwer(*files)["x"]),
            (found.tcpwer, meeteval.wer.tcpwer(*files, collar=5)["x"]),
            (found.orcwer, meeteval.wer.orcwer(*files)["x"]),
        ):
            assert ours is not None
            wrong = ours.substitutions + ours.deletions + ours.insertions
            assert (wrong, ours.length) == (theirs.errors, theirs.length)
    finally:
        logging.disable(logging.NOTSET)


def test_the_exact_orc_wer_gives_way_to_a_search_where_it_would_take_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word_scores, "MOST_STATES", 10)
    found, notes = word_scores.score_words(side(*REFERENCE), by_word(*REFERENCE), None, AS_IT_IS)
    assert found.orcwer == WordErrors(length=6)
    assert len(notes) == 1 and notes[0].startswith("talk: ORC-WER by MeetEval's greedy search")


@pytest.mark.parametrize("longest", [2, 4])
def test_a_long_recording_is_cut_in_pauses(monkeypatch: pytest.MonkeyPatch, longest: int) -> None:
    said = [(i * 10.0, i * 10 + 5.0, "AB"[i % 2], f"word{i} and more") for i in range(9)]
    heard = [
        (a + 0.1, b, "yx"[who == "A"] if a < 80 else "y", text.replace("more", "less")) for a, b, who, text in said
    ]
    whole = score(side(*said), by_word(*heard))
    monkeypatch.setattr(word_scores, "LONGEST", longest)
    cut, notes = word_scores.score_words(side(*said), by_word(*heard), None, AS_IT_IS)
    assert cut == whole and cut.wder == Share(3, 27) and cut.wer == WordErrors(9, 0, 0, 27)
    assert notes == (f"talk: WER, ORC-WER and WDER in {9 if longest == 2 else 5} pieces, cut in pauses: it is long",)


def test_talk_without_pause_is_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word_scores, "LONGEST", 1)
    endless = side((0, 9, "A", "a b c"), (1, 3, "B", "d"), (4, 8, "B", "e"))
    assert word_scores.score_words(endless, endless, None, AS_IT_IS)[1] == ()


def test_nothing_is_logged_and_logging_is_left_as_it_was(caplog: pytest.LogCaptureFixture) -> None:
    overlapping = side((0, 5, "A", "a b"), (1, 4, "A", "c d"))
    score(overlapping, overlapping)
    assert caplog.records == [] and logging.root.manager.disable == logging.NOTSET


def test_fault_36_hostile_speaker_names_are_speakers() -> None:
    names = ("", "<NA>", "speaker 0", "NA", "\ud800")
    said = [(float(i), i + 1.0, name, f"word{i}") for i, name in enumerate(names)]
    found = score(side(*said), by_word(*said))
    assert found.cpwer == WordErrors(length=5) and found.wder == Share(0, 5)


def test_fault_43_words_without_length_and_out_of_order() -> None:
    told = side((0.0, 1.0, "A", "one two"), (2.0, 3.0, "A", "three"))
    heard = RecordingAnnotation(
        "talk",
        None,
        (TextSpan(0.2, 2.5, "x", "one two three"),),
        (TextSpan(2.5, 2.5, "x", "three"), TextSpan(0.2, 0.2, "x", "one"), TextSpan(0.7, 0.8, "x", "two")),
    )
    found = score(told, heard)
    assert found.wer == found.tcpwer == WordErrors(length=3) and found.wder == Share(0, 3)


def test_files_of_tools_are_read_alike(tmp_path: Path) -> None:
    from pipelines.evaluation import files as evaluation_files

    (tmp_path / "a.stm").write_text("talk 1 Ada 0 2 <O,F0> good morning ben\ntalk 1 Ben 2 4 good morning\n")
    (tmp_path / "b.ctm").write_text("talk 1 0.1 0.3 good\ntalk 1 0.5 0.3 morning\ntalk 1 2.1 0.5 ben\n")
    told = evaluation_files.read(tmp_path / "a.stm")["talk"]
    heard = evaluation_files.read(tmp_path / "b.ctm")["talk"]
    assert score(told, heard).wer == WordErrors(0, 2, 0, 5)
