"""RTTM, UEM, CTM, STM and SegLST: read back by this project, by pyannote and by MeetEval."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from diarize import formats
from diarize.errors import FormatError
from diarize.formats import ctm, rttm, seglst, stm, uem
from diarize.formats.naming import to_token
from diarize.formats.segments import text_segments
from diarize.text import join
from diarize.timeline import gaps
from diarize.types import Speaker, Transcript, Turn
from tests.formats.samples import EMPTY, HOSTILE, MEETING, transcripts


def said_as(name: str | None) -> str | None:
    """What a reader gets for a name: itself, or, where it is too long, the token that the `speakers` format maps."""
    return name if name is None or "~" not in to_token(name) else to_token(name)


@given(transcripts())
@settings(deadline=None)
def test_turns_come_back_from_rttm(transcript: Transcript) -> None:
    text = rttm.dumps(transcript)
    assert all(len(line.split(" ")) == 10 and float(line.split(" ")[4]) > 0 for line in text.splitlines())
    back = rttm.loads(text, "t.rttm")
    turns = [(t.start, t.end, t.speaker) for own in back.values() for t in own]
    assert turns == sorted((t.start, t.end, said_as(t.speaker) or "") for t in transcript.turns)
    assert list(back) in ([], [said_as(transcript.recording)])


@given(transcripts())
@settings(deadline=None)
def test_the_heard_parts_come_back_from_uem(transcript: Transcript) -> None:
    back = uem.loads(uem.dumps(transcript), "t.uem")
    assert [span for own in back.values() for span in own] == list(gaps(transcript.lost, transcript.duration))


@given(transcripts())
@settings(deadline=None)
def test_rows_come_back_from_stm(transcript: Transcript) -> None:
    back = [row for own in stm.loads(stm.dumps(transcript), "t.stm").values() for row in own]
    for row, known in zip(back, text_segments(transcript), strict=True):
        assert (row.start, row.end, row.speaker) == (known.start, known.end, said_as(known.speaker))
        assert row.text == " ".join(known.text.split())


@given(transcripts())
@settings(deadline=None)
def test_words_come_back_from_ctm(transcript: Transcript) -> None:
    back = [word for own in ctm.loads(ctm.dumps(transcript), "t.ctm").values() for word in own]
    said = sorted(transcript.words, key=lambda w: (w.start, w.end))
    assert Counter(word.text for word in back) == Counter(part for word in said for part in join([word.text]).split())
    assert all(a.start <= b.start for a, b in pairwise(back))


@given(transcripts())
@settings(deadline=None)
def test_rows_come_back_from_seglst(transcript: Transcript) -> None:
    back = seglst.loads(seglst.dumps(transcript), "t.json")
    assert [(r.start, r.end, r.speaker, r.text) for own in back.values() for r in own] == [
        (r.start, r.end, said_as(r.speaker), r.text) for r in text_segments(transcript)
    ]


def crowd() -> Transcript:
    """One turn a hostile name, in a recording of a hostile name."""
    turns = tuple(Turn(float(i), i + 0.5, name) for i, name in enumerate(HOSTILE))
    return Transcript("a b\n;;NA", 100.0, None, tuple(Speaker(name) for name in HOSTILE), turns)


def test_fault_36_pyannote_reads_rttm_and_uem_with_any_name(tmp_path: Path) -> None:
    from pyannote.database.util import load_rttm, load_uem

    for name in HOSTILE:
        quiet = Transcript(name, 3.0, None, (Speaker(name),), (Turn(0.0, 1.0, name),))
        (tmp_path / "a.rttm").write_text(rttm.dumps(quiet) + rttm.dumps(crowd()), encoding="utf-8")
        (tmp_path / "a.uem").write_text(uem.dumps(quiet), encoding="utf-8")
        read = load_rttm(tmp_path / "a.rttm")
        assert list(load_uem(tmp_path / "a.uem")) == [to_token(name)]
        assert set(read) == {to_token(name), to_token(crowd().recording)}
        assert read[to_token(name)].labels() == [to_token(name)]
    tracks = [(s.start, s.end, who) for s, _, who in read[to_token(crowd().recording)].itertracks(yield_label=True)]
    assert tracks == [(t.start, t.end, to_token(t.speaker)) for t in crowd().turns]


@pytest.mark.parametrize("transcript", [MEETING, crowd()], ids=["meeting", "crowd"])
def test_meeteval_reads_every_format_of_the_field(transcript: Transcript) -> None:
    import meeteval

    def said(segments: Any) -> list[tuple[Any, ...]]:
        return [(s.get("speaker"), float(s["start_time"]), float(s["end_time"]), s.get("words")) for s in segments]

    known = list(text_segments(transcript))
    read = meeteval.io.RTTM.parse(rttm.dumps(transcript))
    assert [(line.speaker_id, float(line.begin_time), float(line.duration)) for line in read.lines] == [
        (to_token(t.speaker), t.start, round(t.duration, 3)) for t in transcript.turns
    ]
    read = meeteval.io.STM.parse(stm.dumps(transcript))
    assert [(line.speaker_id, float(line.begin_time), line.transcript.split()) for line in read.lines] == [
        (
            "<NA>" if r.speaker is None else to_token(r.speaker),
            r.start,
            stm.dumps(transcript).splitlines()[i].split()[5:],
        )
        for i, r in enumerate(known)
    ]
    read = meeteval.io.SegLST(json.loads(seglst.dumps(transcript)))
    assert said(read) == [("<NA>" if r.speaker is None else to_token(r.speaker), r.start, r.end, r.text) for r in known]
    read = meeteval.io.UEM.parse("\n".join(uem.dumps(transcript).splitlines()[:1]))
    assert read.lines[0].filename == to_token(transcript.recording)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_meeteval_reads_ctm_and_scores_a_transcript_against_itself() -> None:
    import meeteval

    read = meeteval.io.CTM.parse(ctm.dumps(MEETING))
    assert [line.word for line in read.lines][-1] == "hm"
    assert float(read.lines[0].begin_time) == 0.5
    both = meeteval.io.STM.parse(stm.dumps(MEETING)).to_seglst()
    error = meeteval.wer.cpwer(both, both)["staff-meeting"]
    assert error.errors == 0 and error.length > 20
    segments = meeteval.io.SegLST(json.loads(seglst.dumps(MEETING)))
    assert meeteval.wer.cpwer(segments, segments)["staff-meeting"].errors == 0


def test_meta_text_of_sclite_is_escaped_and_nothing_else() -> None:
    words = [
        "50%",
        "%7B",
        "{a/b}",
        "@",
        "@home",
        "<unk>",
        "a<b",
        "IGNORE_TIME_SEGMENT_IN_SCORING",
        "100%25",
        ";;",
        "%%",
    ]
    from diarize.formats.nist import escape, unescape

    escaped = [escape(word) for word in words]
    assert escaped[0] == "50%" and escaped[4] == "@home" and escaped[6] == "a<b" and escaped[2] == "%7Ba/b%7D"
    assert not any(word.startswith("<") or set(word) & set("{}") for word in escaped)
    assert [unescape(word) for word in escaped] == words


def test_rttm_of_other_tools_is_read() -> None:
    text = (
        ";; a comment with any number of words in it, more than ten of them\n"
        "SPKR-INFO rec 1 <NA> <NA> <NA> unknown A <NA> <NA>\r\n"
        "SPEAKER rec 1 5.00 1.0 <NA> <NA> B <NA>\n"
        "\n"
        "SPEAKER rec 1 1.00 2.5 <NA> <NA> 100% 0.5 <NA>\n"
        "SPEAKER rec 1 9.00 0.0 <NA> <NA> A <NA> <NA>\n"
        "SPEAKER other 1 0 .5 <NA> <NA> A 17 <NA>\n"
    )
    assert rttm.loads("\ufeff" + text, "x") == {
        "rec": (Turn(1.0, 3.5, "100%", 0.5), Turn(5.0, 6.0, "B")),
        "other": (Turn(0.0, 0.5, "A"),),
    }


@pytest.mark.parametrize(
    ("module", "line", "message"),
    [
        (rttm, "SPEAKER a 1 0 1 <NA> <NA> Anna Maria <NA> <NA>", r"x:2: not a SPEAKER line of 10 fields .*space"),
        (rttm, "SPEAKER a 1 nan 1 <NA> <NA> A <NA> <NA>", "x:2: .*finite"),
        (rttm, "SPEAKER a 1 0 1e400 <NA> <NA> A <NA> <NA>", "x:2: .*finite"),
        (rttm, "SPEAKER a 1 1 -1 <NA> <NA> A <NA> <NA>", "x:2: .*start < end"),
        (rttm, "SPEAKER a 1 1,5 1 <NA> <NA> A <NA> <NA>", "x:2: '1,5' is not a time"),
        (rttm, "hello", "x:2: not a SPEAKER line"),
        (uem, "a 1 0", "x:2: a UEM line has 4 fields, not 3"),
        (uem, "a 1 5 4", "x:2: .*start < end"),
        (ctm, "a 1 0 1", "x:2: a CTM line has 5 to 8 fields"),
        (ctm, "a 1 0 -1 word", "x:2: .*start <= end"),
        (ctm, "a 1 inf 1 word", "x:2: .*finite"),
        (stm, "a 1 A 0", "x:2: an STM line"),
        (stm, "a 1 A 1 0 word", "x:2: .*start < end"),
    ],
)
def test_lines_that_are_none_are_told_with_their_number(module: Any, line: str, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        module.loads(f"\n{line}\n", "x")


@pytest.mark.parametrize(
    "text",
    ["{}", "[1]", '[{"words": "a"}]', '[{"session_id": "a", "words": 1}]', '[{"session_id": "a", "start_time": "x"}]'],
)
def test_what_is_no_seglst_is_refused(text: str) -> None:
    with pytest.raises(FormatError):
        seglst.loads(text, "x")


def test_an_stm_label_is_no_text_and_ctm_may_name_speakers() -> None:
    (row,) = stm.loads("a 1 A 0 1 <O,F0,M> hello there\n", "x")["a"]
    assert row.text == "hello there"
    (word,) = ctm.loads("a 1 0.5 0.5 hi 0.25 lex Anna%20Maria\n", "x")["a"]
    assert (word.end, word.probability, word.speaker) == (1.0, 0.25, "Anna Maria")


def test_the_map_leads_from_safe_ids_to_names() -> None:
    mapped = json.loads(formats.dumps("speakers", crowd()))
    assert [(one["token"], one["id"]) for one in mapped["speakers"]] == [(to_token(name), name) for name in HOSTILE]
    assert {line.split()[7] for line in rttm.dumps(crowd()).splitlines()} == {o["token"] for o in mapped["speakers"]}
    assert rttm.loads(rttm.dumps(EMPTY), "x") == {}
