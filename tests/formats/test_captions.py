"""Subtitles and captions of other tools: structure is never speech, and what is no speech is left out with a note."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from diarize.errors import FormatError
from diarize.formats import captions, words
from diarize.formats.timed_text import TimedText
from diarize.formats.timing_lines import parse_timing


def spoken(text: str, **options: Any) -> list[tuple[str, float, float]]:
    return [(word.text, word.start, word.end) for word in words.parse(text, "t.srt", **options).words]


def by_speaker(text: str, **options: Any) -> list[tuple[str | None, str]]:
    """(speaker, words) of each run of words of one speaker."""
    runs: list[tuple[str | None, str]] = []
    for word in words.parse(text, "t.vtt", **options).words:
        if runs and runs[-1][0] == word.speaker:
            runs[-1] = (word.speaker, f"{runs[-1][1]} {word.text}")
        else:
            runs.append((word.speaker, word.text))
    return runs


def srt(*cues: str, end: str = "\n") -> str:
    """A file of cues of one second at 1 s, 3 s, ..."""
    blocks = (f"{i}\n00:00:{2 * i - 1:02},000 --> 00:00:{2 * i:02},000\n{text}\n\n" for i, text in enumerate(cues, 1))
    return "".join(blocks).replace("\n", end)


def vtt(*cues: str) -> str:
    return "WEBVTT\n\n" + srt(*cues).replace(",000", ".000")


THREE = [("first", 1.0, 2.0), ("second", 3.0, 4.0), ("third", 5.0, 6.0)]
TIMING = "00:00:03,000 --> 00:00:04,000"


@pytest.mark.parametrize(
    "line",
    [
        "00: 00: 03, 000 --> 00: 00: 04, 000",
        "00:00:03,000 – 00:00:04,000",
        "00:00:03,000 –> 00:00:04,000",
        "00:00:03,000 —> 00:00:04,000",
        "00:00:03,000 −−> 00:00:04,000",
        "00:00:03,000 -> 00:00:04,000",
        "00:00:03,000 - - > 00:00:04,000",
        "00:00:03,000 ---> 00:00:04,000",
        "00:00:03,000 --&gt; 00:00:04,000",
        "00:00:03,000 → 00:00:04,000",
        "00:00:03,000 ==> 00:00:04,000",
        "00:00:03,000 00:00:04,000",
        "00:00:03,000-->00:00:04,000",
        "00:00:03:000 --> 00:00:04:000",
        "00:00:03 000 --> 00:00:04 000",
        "0:00:03.000,0:00:04.000",  # SBV
        "\u202a00:00:03,000 --> 00:00:04,000\u202c",
        "\u200f00:00:03,000 \u200f--> 00:00:04,000\u200f",
        "\ufeff00:00:03,000 --> 00:00:04,000",
        "00:00:03,000\u00a0-->\u300000:00:04,000",
        "０0：00：03，000 --> 00：00：04，000",
        "٠٠:٠٠:٠٣,٠٠٠ --> ٠٠:٠٠:٠٤,٠٠٠",
        "00:00:03,000 --> 00:00:04,000 X1:0 Y1:10",
        "2 00:00:03,000 --> 00:00:04,000",
        "\t00:00:03,000\t-->\t00:00:04,000\t",
    ],
    ids=ascii,
)
def test_a_damaged_timing_line_is_read(line: str) -> None:
    assert spoken(srt("first", "second", "third").replace(TIMING, line)) == THREE
    assert spoken(vtt("first", "second", "third").replace(TIMING.replace(",", "."), line)) == THREE


@pytest.mark.parametrize(
    "line",
    ["00:00:03,000 -->", "--> 00:00:04,000", "00:00:03,000 --> xx", "00:99:99:99 --> 1", "00.00.03.000 > 00.00.04.000"],
)
def test_a_timing_line_that_cannot_be_read_is_counted_and_is_no_word(line: str) -> None:
    content = words.parse(srt("first", "second", "third").replace(TIMING, line), "t.srt")
    assert [word.text for word in content.words] == ["first", "second", "third"]
    assert content.notes[0] == "1 cue without a valid time: the words have times from their neighbours (line 6)"


def test_negative_times_begin_at_zero() -> None:
    text = srt("first").replace("00:00:01,000", "-00:00:01,000")
    assert spoken(text) == [("first", 0.0, 2.0)]
    assert parse_timing("-00:00:01,500 --> - 00:00:00.500") == (-1.5, -0.5)


def test_text_behind_the_times_is_counted() -> None:
    content = words.parse(srt("first", "second").replace("04,000", "04,000 hello"), "t.srt")
    assert [word.text for word in content.words] == ["first", "second"]
    assert content.notes == ("1 timing line with other text behind the times, which was not read (line 6)",)


@pytest.mark.parametrize("text", [srt("first", "second").replace("\n", " "), srt(f"first 2 {TIMING} second")])
def test_lost_line_breaks_are_an_error_with_the_line(text: str) -> None:
    with pytest.raises(FormatError, match=r"t\.srt:[13]: .*timing line"):
        words.parse(text, "t.srt")


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", "\r\r\n", "\n\n", "\r\n\r\n"])
def test_every_line_end_also_doubled(end: str) -> None:
    for text in (srt("first", "second", "third"), vtt("first", "second", "third")):
        assert spoken(text.replace("\n", end)) == THREE
        assert spoken(text.rstrip("\n").replace("\n", end)) == THREE


def test_blank_lines_around_a_timing_line() -> None:
    text = "1\n\n00:00:01,000 --> 00:00:02,000\n\nfirst\n\n\n2\n\n00:00:03,000 --> 00:00:04,000\nsecond\n"
    assert spoken(text) == THREE[:2]
    assert spoken("WEBVTT\n\n" + text) == THREE[:2]


def test_cue_numbers_are_no_words_and_numbers_that_are_said_are() -> None:
    assert spoken("00:00:01,000 --> 00:00:02,000\n42\n\n00:00:03,000 --> 00:00:04,000\n43\n") == [
        ("42", 1.0, 2.0),
        ("43", 3.0, 4.0),
    ]
    assert spoken(srt("42", "7")) == [("42", 1.0, 2.0), ("7", 3.0, 4.0)]
    assert spoken(re.sub(r"(?m)^(\d)$", "\u200f\\1", srt("a", "b"))) == [("a", 1.0, 2.0), ("b", 3.0, 4.0)]
    assert spoken(srt("a", "b").replace("\n\n", "\n")) == [("a", 1.0, 2.0), ("b", 3.0, 4.0)]


def test_joined_files() -> None:
    assert spoken("\ufeff" + srt("first") + "\ufeff" + srt("first", "second").partition("\n\n")[2]) == THREE[:2]
    text = vtt("first") + "\ufeffWEBVTT\nKind: captions\n\n00:03.000 --> 00:04.000\nsecond\n"
    content = words.parse(text, "t.vtt")
    assert [word.text for word in content.words] == ["first", "second"] and content.notes == ()


def test_a_line_of_one_space_does_not_end_a_cue_and_an_empty_one_does() -> None:
    assert spoken(vtt("Line one\n \nLine two"))[-1] == ("two", 1.786, 2.0)
    content = words.parse(vtt("one\n\nstray text", "two"), "t.vtt")
    assert [word.text for word in content.words] == ["one", "two"]
    assert content.notes == ("1 line outside of all cues, not read (line 7)",)
    assert spoken("WEBVTT\n\n00:01.000 --> 00:02.000\none\n \n2\n00:03.000 --> 00:04.000\ntwo\n")[1][0] == "two"
    with pytest.raises(FormatError, match="has no cue: 1 line outside of all cues"):
        words.parse("WEBVTT\n\nhello\n", "t.vtt")


@pytest.mark.parametrize("space", ["\u2028", "\x85", "\x0b", "\x0c", "\u3000", "\xa0"], ids=ascii)
def test_other_white_space_ends_no_line_of_a_cue(space: str) -> None:
    for text in (srt(f"a{space}2{space}b", "c"), vtt(f"a{space}NOTE{space}b", "c")):
        assert [word[0] for word in spoken(text)][-2:] == ["b", "c"]


YOUTUBE = """WEBVTT
Kind: captions
Language: en

00:00:00.160 --> 00:00:02.470 align:start position:0%
\x20
hello<00:00:00.480><c> and</c><00:00:00.800><c> welcome</c>

00:00:02.470 --> 00:00:02.480 align:start position:0%
hello and welcome
\x20

00:00:02.480 --> 00:00:04.800 align:start position:0%
hello and welcome
to<00:00:02.720><c> the</c><00:00:03.040><c> show</c>

00:00:04.800 --> 00:00:04.810 align:start position:0%
to the show
\x20
"""


def test_rolling_captions_are_read_once() -> None:
    content = words.parse(YOUTUBE, "t.vtt")
    assert [(word.text, word.start) for word in content.words] == [
        ("hello", 0.16),
        ("and", 0.48),
        ("welcome", 0.8),
        ("to", 2.48),
        ("the", 2.72),
        ("show", 3.04),
    ]
    assert content.notes == ("rolling captions: 9 repeated words read once",)


def contiguous(*cues: str) -> str:
    blocks = (f"{i + 1}\n00:00:{i:02},000 --> 00:00:{i + 1:02},000\n{text}\n\n" for i, text in enumerate(cues))
    return "".join(blocks)


@pytest.mark.parametrize(
    ("cues", "said"),
    [
        (("a b", "a b\nc d", "c d\ne"), "a b c d e"),  # a line below the last
        (("a\nb\nc", "b\nc\nd", "c\nd\ne"), "a b c d e"),  # three lines
        (("a", "a b", "a b c", "a b c d"), "a b c d"),  # a line that grows
        (("a", "a\nb", "b", "b\nc"), "a b c"),  # shown alone before it rolls
        (("no.", "no.", "no.", "no."), "no. no. no. no."),  # said again
        (("shalom", "shalom again"), "shalom shalom again"),
        (("I think", "I think so", "yes", "no", "so"), "I think I think so yes no so"),
    ],
)
def test_what_rolls_and_what_is_said_again(cues: tuple[str, ...], said: str) -> None:
    assert " ".join(word[0] for word in spoken(contiguous(*cues))) == said


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            vtt("Anna Maria Lopez: Good morning.", "Bob: Hello."),
            [("Anna Maria Lopez", "Good morning."), ("Bob", "Hello.")],
        ),
        (
            srt("Speaker 0: Good morning.", "Speaker 1: Hello."),
            [("Speaker 0", "Good morning."), ("Speaker 1", "Hello.")],
        ),
        (srt("SPEAKER_00:hi", "x", "y", "z"), [("SPEAKER_00", "hi"), (None, "x y z")]),
        (srt(">> ANNA: Hi.\n>> BOB: Hello.", ">> ANNA: Bye."), [("ANNA", "Hi."), ("BOB", "Hello."), ("ANNA", "Bye.")]),
        (srt("Anna: Hi", "there", "Bob: Yes"), [("Anna", "Hi there"), ("Bob", "Yes")]),
        (srt("张三：你好", "李四：好"), [("张三", "你 好"), ("李四", "好")]),
        (srt("[Anna]: Hi\n[Bob]: Hello"), [("Anna", "Hi"), ("Bob", "Hello")]),
        (srt("(speaker 0) Hi", "(speaker ?) Hm"), [("speaker 0", "Hi"), (None, "Hm")]),  # whisper.cpp --diarize
        (srt("<v Anna>Hi</v>", "<v Bob>Yes"), [("Anna", "Hi"), ("Bob", "Yes")]),
        (vtt("bob: hi", "iPhone (2): yes", "bob: no"), [("bob", "hi"), ("iPhone (2)", "yes"), ("bob", "no")]),
        (vtt("Dr. Anna O'Neil (she/her): hi"), [("Dr. Anna O'Neil (she/her)", "hi")]),
        (vtt("\u200fדנה כהן: שלום", "yes&nbsp;no"), [("דנה כהן", "שלום yes no")]),
        (srt("he said: go", "and then: no&nbsp;more"), [(None, "he said: go and then: no more")]),
        (srt("- Hi.\n- Hello."), [(None, "Hi. Hello.")]),
        (srt("Note: this", "is said", "so: yes", "it is 10: 30"), [(None, "Note: this is said so: yes it is 10: 30")]),
        (srt("We need three things: a", "b", "c: d"), [(None, "We need three things: a b c: d")]),
    ],
)
def test_names_in_the_text_are_speakers(text: str, expected: list[tuple[str | None, str]]) -> None:
    assert by_speaker(text) == expected


def test_names_in_the_text_are_noted_and_may_stay_there() -> None:
    text = vtt("Anna: Good morning.", "Bob: Hello.")
    (note,) = words.parse(text, "t.vtt").notes
    assert note.startswith("2 names before a colon read as speakers") and "--names-in-text off" in note
    assert by_speaker(text, names_in_text=False) == [(None, "Anna: Good morning. Bob: Hello.")]
    assert words.parse(text, "t.vtt", names_in_text=False).notes == ()


GUID = "6f0f2ce4-5c9c-4b3c-8f2c-0123456789ab"


@pytest.mark.parametrize(
    "text",
    [
        f"WEBVTT\n\n{GUID}/12-0\n00:00:01.000 --> 00:00:02.000\n<v Anna Lopez>Good\nmorning.</v>\n\n"
        f"{GUID}/13-0\n00:00:03.000 --> 00:00:04.000\n<v Bob>Hi.</v>\n",  # Teams
        f'WEBVTT\n\nNOTE duration:"00:00:04"\n\nNOTE Confidence: 0.9\n\n{GUID}\n00:00:01.000 --> 00:00:02.000\n'
        f"<v Anna Lopez>Good morning.\n \n{GUID}\n00:00:03.000 --> 00:00:04.000\n<v Bob>Hi.\n",
        'WEBVTT\n\n1 "Anna Lopez" (123456)\n00:00:01.000 --> 00:00:02.000\nGood morning.\n\n'
        '2 "Bob" (9)\n00:00:03.000 --> 00:00:04.000\nHi.\n',  # Webex
        "WEBVTT\n\n1\n00:00:01.000 --> 00:00:02.000\nAnna Lopez: Good morning.\n\n"
        "2\n00:00:03.000 --> 00:00:04.000\nBob: Hi.\n",  # Zoom
    ],
    ids=["teams", "teams-notes", "webex", "zoom"],
)
def test_meetings(text: str) -> None:
    assert by_speaker(text) == [("Anna Lopez", "Good morning."), ("Bob", "Hi.")]


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("[BLANK_AUDIO]", ""),
        ("Good morning. [SPEAKER_TURN]", "Good morning."),
        ("[Music] hi [dramatic music\nplaying] you", "hi you"),
        ("(applause)", ""),
        ("(upbeat jazz)\nhi", "hi"),
        ("so (he laughs) yes (maybe)", "so yes (maybe)"),
        ("♪ la la ♪", "la la"),
        ("♪♪", ""),
        ("*sighs* no", "no"),
        ("［拍手］はい", "は い"),
        ("(I know.)", "(I know.)"),
        ("a * b * c", "a * b * c"),
    ],
)
def test_marks_of_sounds_are_no_words(text: str, rest: str) -> None:
    for content in (
        words.parse(srt(text, "x"), "t"),
        words.parse(
            json.dumps({"segments": [{"start": 1, "end": 2, "text": text}, {"start": 3, "end": 4, "text": "x"}]}), "t"
        ),
    ):
        assert " ".join(word.text for word in content.words) == f"{rest} x".strip()
        assert bool(content.notes) == (" ".join(text.split()) != rest)
        assert content.notes == () or "of sounds and the like left out" in content.notes[0]


def test_marks_in_lists_of_words() -> None:
    listed = [
        TimedText(text, i, i + 1, word=True) for i, text in enumerate([" Hi", " [Music", " playing]", "you", "[_x"])
    ]
    texts, notes = captions.clean_segments(listed)
    assert [text.text.strip() for text in texts] == ["Hi", "you", "[_x"]
    assert notes == ("1 mark of sounds and the like left out: [Music playing]",)
    segment = TimedText("Hi [Music] you", 0, 3, words=tuple(listed[:3]))
    assert [word.text.strip() for word in captions.clean_segments([segment])[0][0].words] == ["Hi"]
    content = words.parse("r 1 0 1 [noise]\nr 1 1 1 hi\nr 1 2 1 <unk>\nr 1 3 1 [sic]\n", "t.ctm")
    assert [word.text for word in content.words] == ["hi", "[sic]"] and len(content.notes) == 1


@pytest.mark.parametrize(
    "text", ["<v.", "<v ", "[a] (b) ", "(", "a\n", "A: ", "<br ", "*a", "- ", ">", "♪a", "1:", "-", "1\n", "&", "\r"]
)
def test_hostile_text_is_read_in_linear_time(text: str) -> None:
    began = time.process_time()
    for head in ("1\n", "WEBVTT\n\n"):
        words.parse(f"{head}00:01.000 --> 00:02.000\n{text * 20_000}\n", "t")
    assert time.process_time() - began < 10  # s; far more where each sign is looked for up to the end


MARKS = st.sampled_from(["", "", " ", "\t", "\u200f", "\u200e", "\ufeff", "\u202a", "\xa0", "\u3000", "\u2009"])
ARROWS = st.sampled_from(["-->", "->", "–>", "—>", "→", "- ->", "--&gt;", "==>", "−−>", "--->"])
ENDS = st.sampled_from(["\n", "\r", "\r\n", "\r\r\n", "\n\n"])
DIGITS = st.sampled_from(["0123456789", "٠١٢٣٤٥٦٧٨٩", "０１２３４５６７８９", "०१२३४५६७८९"])
VOCABULARY = ("alpha", "beta", "gamma", "delta")


@st.composite
def damaged(draw: st.DrawFn) -> tuple[str, list[str]]:
    """A file whose timing lines are damaged, and what is said in it."""
    digits, end, said = draw(DIGITS), draw(ENDS), []
    blocks = []
    for i in range(draw(st.integers(1, 4))):
        times = []
        for second in (2 * i + 1, 2 * i + 2):
            comma = draw(st.sampled_from([",", ".", ":", " , "]))
            time = f"00{draw(MARKS)}:00:{draw(MARKS)}0{second}{comma}000"
            times.append("".join(digits[int(c)] if c in "0123456789" else c for c in time))
        own = draw(st.lists(st.sampled_from(VOCABULARY), min_size=1, max_size=3))
        said += own
        timing = f"{draw(MARKS)}{times[0]}{draw(MARKS)}{draw(ARROWS)}{draw(MARKS)}{times[1]}{draw(MARKS)}"
        blocks.append(f"{draw(MARKS)}{i + 1}\n{timing}\n{draw(MARKS)}{' '.join(own)}\n\n")
    head = draw(st.sampled_from(["", "\ufeff", "WEBVTT\n\n"]))
    return (head + "".join(blocks)).replace("\n", end), said


@given(damaged())
@settings(deadline=None, max_examples=200)
def test_no_part_of_a_damaged_timing_line_becomes_a_word_and_no_word_is_lost(case: tuple[str, list[str]]) -> None:
    text, said = case
    content = words.parse(text, "t.srt")
    assert [word.text for word in content.words] == said
    assert not any("without a valid time" in note for note in content.notes)


@given(st.data())
@settings(deadline=None, max_examples=300)
def test_whatever_is_changed_in_a_timing_line_no_part_of_it_becomes_a_word(data: st.DataObject) -> None:
    line = TIMING
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(line)))
        change = data.draw(st.sampled_from(["", *" ,.:->–→0159\u200f\ufeff\u2028\x85\x0c\t\xa0"]))
        line = line[:at] + change + line[at + data.draw(st.integers(0, 2)) :]
    for make in (srt, vtt):
        text = make("alpha", "beta", "gamma").replace(TIMING if make is srt else TIMING.replace(",", "."), line)
        try:
            content = words.parse(text, "t.srt")
        except FormatError:
            continue
        assert {word.text for word in content.words} <= set(VOCABULARY), (line, content)
        assert len(content.words) == 3 or content.notes, (line, content)


SYNTAX = (
    [
        TIMING,
        "\n",
        "\r",
        " ",
        "1",
        "2",
        "WEBVTT",
        "NOTE",
        "<v A>",
        "</v>",
        "<00:01.000>",
        "Anna: x",
        "[Music]",
        "(",
        "♪",
    ],
    [">> ", "- ", "&lt;", "{\\an8}", "\u200f", "\ufeff", "\u2028", "-->", '1 "A" (2)', "<c>", ":", "]"],
)
PIECES = st.lists(st.one_of(*map(st.sampled_from, SYNTAX), st.text(max_size=3)), max_size=30)


@given(st.sampled_from(["", "WEBVTT\n\n", "1\n" + TIMING + "\nhi\n"]), PIECES, st.booleans())
@example("", ["\r", "\r", TIMING], True)
@settings(deadline=None, max_examples=300)
def test_any_subtitles_are_read_or_refused(head: str, pieces: list[str], names_in_text: bool) -> None:
    try:
        content = words.parse(head + "".join(pieces), "t.srt", "", names_in_text)
    except FormatError as error:
        assert str(error).startswith("t.srt")
    else:
        assert all(word.text.strip() and 0 <= word.start <= word.end for word in content.words)
        assert not any(re.search(r"\d:\d.*-->|-->.*\d:\d", word.text) for word in content.words)
