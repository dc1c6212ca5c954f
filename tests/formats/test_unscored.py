"""What a reference leaves out of the scores or open: RTTM and STM as md-eval and sclite read them."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from diarize.errors import FormatError
from diarize.formats import csv, rttm, seglst, stm, uem, unscored
from diarize.formats.alternatives import OpenChoice, Passage, first, parse
from diarize.types import Segment, Turn

IGNORED = """;; CATEGORY "0" "" ""
rec 1 inter_segment_gap 0 10 <o,,unknown> ignore_time_segment_in_scoring
rec 1 SpkA 10 20 <o,f0,male> one two
rec 1 rec_1_inter_segment_gap 20 25 <o,,unknown>
rec 1 excluded_region 25 30 <o,,unknown> IGNORE_TIME_SEGMENT_IN_SCORING
rec 1 SpkB 28 31 IGNORETIMESEGMENTINSCORING
"""


def test_ignored_segments_and_gaps_are_no_turns() -> None:
    (segments,) = stm.loads(IGNORED, "a.stm").values()
    assert [(s.start, s.end, s.speaker, s.text) for s in segments] == [(10, 20, "SpkA", "one two")]
    assert unscored.of_stm(IGNORED, "a.stm") == {"rec": (Segment(0, 10), Segment(25, 31))}


def test_text_of_a_gap_is_of_nobody() -> None:
    ((segment,),) = stm.loads("rec 1 inter_segment_gap 0 10 <o,,> hello\n", "a.stm").values()
    assert segment.speaker is None and segment.text == "hello"


def test_a_speaker_whose_name_ends_like_a_gap_is_a_speaker() -> None:
    ((segment,),) = stm.loads("rec 1 my_inter_segment_gap 0 10 hello\n", "a.stm").values()
    assert segment.speaker == "my_inter_segment_gap"


def test_noscore_of_rttm() -> None:
    text = (
        "SPEAKER r 1 0 10 <NA> <NA> A <NA> <NA>\n"
        "NOSCORE r 1 2.0 3.0 <NA> <NA> <NA> <NA> <NA>\n"
        "NOSCORE r 1 4.0 2.0 <NA> <NA> <NA> <NA> <NA>\n"
        "NOSCORE r 1 9.0 0.0 <NA> <NA> <NA> <NA> <NA>\n"
        "NOSCORE other 1 1 1 <NA> <NA> <NA> <NA> <NA>\n"
        "NON-LEX r 1 8 0.5 <NA> uh A <NA> <NA>\n"
    )
    assert unscored.of_rttm(text, "r.rttm") == {"r": (Segment(2, 6),), "other": (Segment(1, 2),)}
    assert rttm.loads(text, "r.rttm") == {"r": (Turn(0, 10, "A"),)}


@pytest.mark.parametrize(
    ("more", "span"),
    [
        ("", Segment(4.5, 6.5)),  # half a second on each side
        ("LEXEME r 1 4.6 0.2 but lex A 1 <NA>\n", Segment(4.8, 6.5)),  # not into a word
        ("LEXEME r 1 4.6 1 but lex A 1 <NA>\n", Segment(5, 6.5)),
        ("SPEAKER r 1 6.25 1 <NA> <NA> B <NA> <NA>\n", Segment(4.5, 6.25)),  # not over the border of a turn
    ],
)
def test_sounds_of_rttm_are_not_scored_with_their_pauses(more: str, span: Segment) -> None:
    text = f"SPEAKER r 1 0 10 <NA> <NA> A <NA> <NA>\n{more}NON-LEX r 1 5 1 <NA> laugh A <NA> <NA>\n"
    assert unscored.of_rttm(text, "r.rttm") == {"r": (span,)}


def choice(*options: Passage) -> OpenChoice:
    return OpenChoice(options)


MAYBE = OpenChoice((("uh",), ()), optional=True)


@pytest.mark.parametrize(
    ("text", "passage"),
    [
        ("plain words", None),
        ("a { um / uh / @ } b", ("a", choice(("um",), ("uh",), ()), "b")),
        ("{um/uh} x", (choice(("um",), ("uh",)), "x")),
        ("{ / a }", (choice((), ("a",)),)),
        (
            "{ can not { at all / ever } / cannot }",
            (choice(("can", "not", choice(("at", "all"), ("ever",))), ("cannot",)),),
        ),
        ("i (uh) am", ("i", MAYBE, "am")),
        ("i @ am", ("i", "am")),
        ("{laugh} yes", None),  # braces without a slash are a word
        ("and/or", None),
        ("(you know)", None),  # sclite knows single optional words only
        ("%7B a / b %7D", None),
        ("%7B (uh)", ("{", MAYBE)),
    ],
)
def test_alternatives(text: str, passage: Passage | None) -> None:
    assert parse(text, "a.stm:1") == passage


@pytest.mark.parametrize("text", ["{ a / b", "a } b", "{ { a / b }", "{" * 99 + "/" + "}" * 99])
def test_braces_without_partner_are_errors_with_their_line(text: str) -> None:
    with pytest.raises(FormatError, match=r"a\.stm:1"):
        stm.loads(f"rec 1 A 0 5 {text}\n", "a.stm")


def test_the_text_of_a_segment_has_the_first_options() -> None:
    ((segment,),) = stm.loads("rec 1 A 0 5 <o> i { um / uh } (well) am @ here\n", "a.stm").values()
    assert segment.text == "i um (well) am here"
    assert segment.passage is not None and list(first(segment.passage)) == segment.text.split()


@given(st.text("ab{}/@()% \u3000", max_size=30))
@example("{/}")
def test_any_text_is_a_passage_or_an_error(text: str) -> None:
    try:
        passage = parse(text, "a.stm:1")
    except FormatError:
        return
    assert passage is None or not {"{", "}"} & {c for word in first(passage) for c in word if "{" not in text}


LINE = {
    "stm": (stm.loads, "r 1 A {start} {end} word\n"),
    "seglst": (
        seglst.loads,
        '[{{"session_id": "r", "speaker": "A", "start_time": {start}, "end_time": {end}, "words": "word"}}]',
    ),
    "uem": (uem.loads, "r 1 {start} {end}\n"),
    "csv": (csv.loads, "recording,start,end,speaker,text\r\nr,{start},{end},A,word\r\n"),
}


@pytest.mark.parametrize("format", LINE)
def test_segments_of_length_0_are_skipped_and_counted(format: str) -> None:
    loads, line = LINE[format]
    notes: list[str] = []
    assert loads(line.format(start=2, end=2), "file", notes) == {"r": ()}
    assert notes == ["file: 1 segment of length 0 skipped"]
    for start, end in ((3, 2), ("inf", "inf"), (-1, -1)):
        if format != "seglst" or start != "inf":
            with pytest.raises(FormatError):
                loads(line.format(start=start, end=end), "file")


def test_turns_of_length_0_are_skipped_and_counted() -> None:
    notes: list[str] = []
    assert rttm.loads("SPEAKER r 1 2 0 <NA> <NA> A <NA> <NA>\n" * 2, "r.rttm", notes) == {"r": ()}
    assert notes == ["r.rttm: 2 segments of length 0 skipped"]
    with pytest.raises(FormatError):
        rttm.loads("SPEAKER r 1 nan 0 <NA> <NA> A <NA> <NA>\n", "r.rttm")


FIELDS = ("r", "1", "A", "0", "5.5", "-1", "nan", "inf", "1e999", "<o>", "{", "/", "}", "@", "(x)", "NON-LEX", "laugh")


@given(st.lists(st.sampled_from((*FIELDS, "NOSCORE", "SPEAKER"))))
def test_only_our_errors_come_out(fields: list[str]) -> None:
    for reader in (stm.loads, rttm.loads, uem.loads, unscored.of_rttm, unscored.of_stm):
        for line in (" ".join(fields), "r 1 A 0 5 " + " ".join(fields), "SPEAKER r 1 " + " ".join(fields)):
            try:
                reader(line + "\n", "file")
            except FormatError as error:
                assert str(error).startswith("file")
