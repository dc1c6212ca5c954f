"""Words of other recognizers: every kind of file, and every kind of time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diarize import formats
from diarize.errors import FormatError
from diarize.formats import words
from diarize.formats.repair import PACE, repair_times
from diarize.formats.timed_text import TimedText, parse_probability, parse_time
from diarize.text import join
from diarize.types import Speaker, Transcript, Turn, Word
from tests.formats.samples import EMPTY, MEETING, WORDLESS, transcripts

OPENAI = {
    "text": " Hello there. Bye.",
    "language": "en",
    "segments": [
        {
            "id": 0,
            "start": 0.0,
            "end": 1.5,
            "text": " Hello there.",
            "avg_logprob": -0.2,
            "words": [
                {"word": " Hello", "start": 0.0, "end": 0.5, "probability": 0.9},
                {"word": " there.", "start": 0.5, "end": 1.5, "probability": 0.8},
            ],
        },
        {"id": 1, "start": 2.0, "end": 2.5, "text": " Bye.", "words": [{"word": " Bye.", "start": 2.0, "end": 2.5}]},
    ],
}
WHISPERX = {
    "segments": [
        {
            "start": 1.0,
            "end": 4.0,
            "text": " In 2014. Yes",
            "speaker": "SPEAKER_00",
            "words": [
                {"word": "In", "start": 1.0, "end": 1.2, "score": 0.7, "speaker": "SPEAKER_00"},
                {"word": "2014."},
                {"word": "Yes", "start": 3.0, "end": 4.0, "score": 0.6, "speaker": "SPEAKER_01"},
            ],
        }
    ],
    "word_segments": [{"word": "In", "start": 1.0, "end": 1.2, "score": 0.7}],
}
CPP = {
    "result": {"language": "de"},
    "transcription": [
        {
            "timestamps": {"from": "00:00:00,000", "to": "00:00:02,000"},
            "offsets": {"from": 0, "to": 2000},
            "text": " Guten Morgen.",
            "tokens": [
                {"text": "[_BEG_]", "offsets": {"from": 0, "to": 0}, "p": 0.9},
                {"text": " Gut", "offsets": {"from": 0, "to": 400}, "p": 0.9},
                {"text": "en", "offsets": {"from": 400, "to": 700}, "p": 0.5},
                {"text": " Morgen", "offsets": {"from": 700, "to": 1700}, "p": 0.8},
                {"text": ".", "offsets": {"from": 1700, "to": 2000}, "p": 0.9},
                {"text": "[_TT_100]", "offsets": {"from": 2000, "to": 2000}, "p": 0.1},
            ],
        }
    ],
}


def read(tmp_path: Path, content: Any, name: str = "file.json") -> tuple[tuple[Word, ...], str | None]:
    path = tmp_path / name
    data = content if isinstance(content, bytes) else content if isinstance(content, str) else json.dumps(content)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return words.read(path)


def told(found: tuple[Word, ...]) -> list[tuple[str, float, float]]:
    return [(word.text, word.start, word.end) for word in found]


def test_whisper(tmp_path: Path) -> None:
    found, language = read(tmp_path, OPENAI)
    assert language == "en"
    assert found == (
        Word(0.0, 0.5, "Hello", 0.9),
        Word(0.5, 1.5, "there.", 0.8),
        Word(2.0, 2.5, "Bye."),
    )


def test_a_list_of_segments_or_of_words_is_read_alike(tmp_path: Path) -> None:
    whole, _ = read(tmp_path, OPENAI)
    assert read(tmp_path, OPENAI["segments"]) == (whole, None)
    listed = [word for segment in OPENAI["segments"] for word in segment["words"]]  # type: ignore[index]
    assert read(tmp_path, listed) == (whole, None)
    assert read(tmp_path, {"words": listed, "text": "x", "segments": [{"start": 0, "end": 3, "text": "x"}]}) == (
        whole,
        None,
    )
    assert read(tmp_path, {"word_segments": listed}) == (whole, None)


def test_fault_43_whisperx_words_without_times_lie_between_their_neighbours(tmp_path: Path) -> None:
    found, _ = read(tmp_path, WHISPERX)
    assert found == (
        Word(1.0, 1.2, "In", 0.7, "SPEAKER_00"),
        Word(1.2, 3.0, "2014.", None, "SPEAKER_00"),
        Word(3.0, 4.0, "Yes", 0.6, "SPEAKER_01"),
    )


def test_fault_43_a_segment_of_words_without_any_time_is_spread_over_it(tmp_path: Path) -> None:
    value = {"segments": [{"start": 10.0, "end": 12.0, "text": "a bbb", "words": [{"word": "a"}, {"word": "bbb"}]}]}
    assert told(read(tmp_path, value)[0]) == [("a", 10.0, 10.5), ("bbb", 10.5, 12.0)]


def test_segments_without_words_are_split_by_characters(tmp_path: Path) -> None:
    value = {"segments": [{"start": 1.0, "end": 2.0, "text": " a bbb c"}, {"start": 5.0, "end": 6.0, "text": "你好 x"}]}
    assert told(read(tmp_path, value)[0]) == [
        ("a", 1.0, 1.2),
        ("bbb", 1.2, 1.8),
        ("c", 1.8, 2.0),
        ("你", 5.0, 5.333),
        ("好", 5.333, 5.667),
        ("x", 5.667, 6.0),
    ]


def test_whisper_cpp_joins_its_tokens_to_words(tmp_path: Path) -> None:
    assert read(tmp_path, CPP) == ((Word(0.0, 0.7, "Guten", 0.5), Word(0.7, 2.0, "Morgen.", 0.8)), "de")
    short = {"transcription": [{k: v for k, v in CPP["transcription"][0].items() if k in ("timestamps", "text")}]}  # type: ignore[index]
    assert told(read(tmp_path, short)[0]) == [("Guten", 0.0, 0.833), ("Morgen.", 0.833, 2.0)]


def test_whisper_cpp_tokens_that_are_not_the_text_give_way_to_it(tmp_path: Path) -> None:
    item = {"offsets": {"from": 0, "to": 1000}, "text": " all of it", "tokens": [{"text": " all", "p": 1}]}
    assert [word.text for word in read(tmp_path, {"transcription": [item]})[0]] == ["all", "of", "it"]


def test_transformers_chunks(tmp_path: Path) -> None:
    chunks = [{"text": " one", "timestamp": [0.0, 1.0]}, {"text": " two", "timestamp": [1.5, None]}]
    found, _ = read(tmp_path, {"text": "one two", "chunks": chunks})
    assert told(found) == [("one", 0.0, 1.0), ("two", 1.5, 1.5 + 3 / PACE)]


def test_whisper_timestamped_confidences(tmp_path: Path) -> None:
    inner = [{"text": "Hi", "start": 0.1, "end": 0.4, "confidence": 0.55}]
    found, _ = read(tmp_path, {"segments": [{"start": 0.0, "end": 1.0, "text": "Hi", "words": inner}], "language": ""})
    assert found == (Word(0.1, 0.4, "Hi", 0.55),)


@pytest.mark.parametrize("name", ["json", "srt", "vtt", "ctm", "seglst"])
def test_what_this_project_writes_is_read(name: str, tmp_path: Path) -> None:
    found, language = read(tmp_path, formats.dumps(name, MEETING), f"anything{formats.suffix(name)}")
    said = "".join(word.text for word in found)
    known = "".join(word.text for word in MEETING.words)
    if name == "srt":
        said = said.replace("‹", "<").replace("›", ">")
    assert said.replace(" ", "") == known.replace(" ", "")
    assert language == ("en" if name == "json" else None)
    if name == "json":
        assert found == MEETING.words
    if name != "ctm":
        assert found[-1].speaker is None and found[0].speaker in ("S1", "Anna Maria")
    assert read(tmp_path, formats.dumps(name, EMPTY), f"e{formats.suffix(name)}")[0] == ()
    assert read(tmp_path, formats.dumps(name, WORDLESS), f"w{formats.suffix(name)}")[0] == ()


@given(transcripts())
@settings(deadline=None, max_examples=60)
def test_every_word_comes_back_from_seglst_and_json(transcript: Transcript) -> None:
    known = sorted("".join(join([w.text for w in transcript.words]).split()))
    for name in ("json", "seglst", "ctm"):
        found, _ = words.loads(formats.dumps(name, transcript), f"t{formats.suffix(name)}")
        assert sorted("".join(join([w.text for w in found]).split())) == known


@pytest.mark.parametrize(
    ("encoding", "mark"),
    [("utf-8", ""), ("utf-8-sig", ""), ("utf-16-le", "\ufeff"), ("utf-16-be", "\ufeff"), ("utf-32", "")],
)
def test_byte_order_marks_and_line_ends(encoding: str, mark: str, tmp_path: Path) -> None:
    for text, name in (
        ("1\r\n00:00:01,000 --> 00:00:02,000\r\nGrüße\r\n", "a.srt"),
        ("WEBVTT\r\n\r\n00:01.000 --> 00:02.000\r\nGrüße\r\n", "a.vtt"),
        ('[{"word": "Grüße", "start": 1, "end": 2}]', "a.json"),
        ("a 1 1.0 1.0 Grüße\r\n", "a.ctm"),
    ):
        for name_ in (name, "a.txt"):  # the content decides, not the name
            assert told(read(tmp_path, (mark + text).encode(encoding), name_)[0]) == [("Grüße", 1.0, 2.0)]


def test_other_encodings_are_not_guessed(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"a\.srt:3: byte 34 \(0xfc\) is not UTF-8.*Save the file as UTF-8"):
        read(tmp_path, "1\n00:00:01,000 --> 00:00:02,000\nGrüße".encode("latin-1"), "a.srt")
    with pytest.raises(FormatError, match="is not UTF-16"):
        read(tmp_path, b"\xff\xfea", "a.srt")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty. Known: Whisper"),
        ("hello world, this is no transcript", "is not of a known kind. Known"),
        ("{", "not JSON"),
        ('{"a": 1}', "not that of a known recognizer"),
        ("[1, 2]", "is an object, not '1'"),
        ('{"segments": [{"text": 5}]}', "a text is not a string"),
        ('{"text": "hi", "segments": [{"text": "hi"}]}', "words have no times"),
        ('{"chunks": [{"text": "a"}]}', "a chunk is an object"),
        ('{"transcription": [{"offsets": {}}]}', "a segment is an object"),
        ('{"schema": "diarize-transcript/9"}', "newer version"),
        ('{"start": NaN}', "not that of a known recognizer"),
        ("a 1 0 1 x\nb 1 0 1 y\n", "has 2 recordings .*'a', 'b'.* none of them is 'file'"),
        ("a 1 0 1 x\nb 1 0\n", ":2: a CTM line has 5 to 8 fields"),
        (b"\x00\x01\x02", "is not of a known kind"),
    ],
)
def test_what_has_no_words_is_told(content: str | bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=message):
        read(tmp_path, content, "file.any")


def test_a_file_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="cannot be read"):
        words.read(tmp_path / "none.json")
    with pytest.raises(FormatError, match="cannot be read"):
        words.read(tmp_path)


def test_of_several_recordings_the_one_of_the_name_is_read(tmp_path: Path) -> None:
    assert told(read(tmp_path, "a 1 0 1 x\nfile 1 0 1 y\n", "file.ctm")[0]) == [("y", 0.0, 1.0)]


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (2.0, 1.0, (1.0, 2.0)),  # the wrong way round
        (-1.0, 1.0, (0.0, 1.0)),  # before the beginning
        (-2.0, -1.0, (0.0, 0.0)),
        (1.0, 1.0, (1.0, 1.0)),  # no length
        ("1,5", "2.5", (1.5, 2.5)),  # a decimal comma
        ("00:00:01.5", "0:02", (1.5, 2.0)),
        (1.0, 1e400, (1.0, 1.333)),  # no time: as long as five letters take
        (1.0, "nan", (1.0, 1.333)),
        (1.0, 1e300, (1.0, 1.333)),
        (None, 1.0, (0.667, 1.0)),
        (True, 1.0, (0.667, 1.0)),
        (1.0, [2], (1.0, 1.333)),
    ],
)
def test_fault_43_hostile_numbers_get_a_documented_time(
    start: Any, end: Any, expected: tuple[float, float], tmp_path: Path
) -> None:
    text = json.dumps([{"word": "hello", "start": start, "end": end}]).replace("Infinity", "1e400")
    assert told(read(tmp_path, text)[0]) == [("hello", *expected)]


def test_fault_43_words_out_of_order_keep_the_order_of_the_file() -> None:
    entries = [
        TimedText("b", 5.0, 6.0, word=True),
        TimedText("a", 1.0, 2.0, word=True),
        TimedText("c", None, None, word=True),
    ]
    assert told(repair_times(entries, "t")) == [("b", 5.0, 6.0), ("a", 1.0, 2.0), ("c", 2.0, 2.067)]
    entries = [
        TimedText("b", 5.0, 6.0, word=True),
        TimedText("?", None, None, word=True),
        TimedText("a", 1.0, 2.0, word=True),
    ]
    assert told(repair_times(entries, "t"))[1] == ("?", 6.0, 6.0)


def test_a_word_with_one_time_does_not_swallow_the_silence_beside_it() -> None:
    entries = [TimedText("hi", 1.0, None, word=True), TimedText("you", None, 60.0, word=True)]
    assert told(repair_times(entries, "t")) == [("hi", 1.0, 1.133), ("you", 59.8, 60.0)]


heads = st.sampled_from(
    ["", "WEBVTT\n\n", "[", '{"segments": [', "1\n00:00:01,000 --> 00:00:02,000\n", "a 1 0 1 x 1\n"]
)
lines = st.lists(
    st.one_of(
        st.text(max_size=20), st.sampled_from(["00:01.000 --> 00:02.000", "<v A>x", "a 1 0 1 y", '{"word": "a"}'])
    ),
    max_size=6,
)


@given(heads, lines)
@settings(deadline=None)
def test_any_text_is_read_or_refused(head: str, rest: list[str]) -> None:
    try:
        found, _ = words.loads(head + "\n".join(rest), "t.srt")
    except FormatError as error:
        assert str(error).startswith("t.srt")
    else:
        assert all(word.text and 0 <= word.start <= word.end for word in found)


@given(st.binary(max_size=40))
def test_any_bytes_are_text_or_refused(data: bytes) -> None:
    try:
        words.decode(data, "t")
    except FormatError as error:
        assert "is not UTF-" in str(error)


numbers = st.one_of(
    st.none(), st.floats(), st.integers(), st.booleans(), st.sampled_from(["1,5", "x", "", "1e400", "99:99", "-0", "٣"])
)
labels = st.fixed_dictionaries(
    {}, optional={"start": numbers, "end": numbers, "probability": numbers, "speaker": st.none() | st.text(max_size=3)}
)


@st.composite
def recognized(draw: Any) -> dict[str, Any]:
    inner = st.builds(lambda t, rest: {"word": t, **rest}, st.text(max_size=6), labels)
    segment = st.builds(
        lambda t, rest, inner: {"text": t, **rest} | ({} if inner is None else {"words": inner}),
        st.text(max_size=20),
        labels,
        st.none() | st.lists(inner, max_size=4),
    )
    return {"segments": draw(st.lists(segment, max_size=5))}


@given(recognized())
@settings(deadline=None)
def test_fault_43_no_text_is_lost_whatever_the_times_are(value: dict[str, Any]) -> None:
    from diarize.formats.whisper_json import parse

    said = [
        text
        for segment in value["segments"]
        for text in ([w["word"] for w in segment["words"]] if segment.get("words") else [segment["text"]])
    ]
    try:
        found = repair_times(parse(value, "t")[0], "t")
    except FormatError as error:
        assert "no times" in str(error)
        return
    assert "".join("".join(word.text.split()) for word in found) == "".join("".join(said).split())
    assert all(0 <= word.start <= word.end <= 3e7 and word.start == round(word.start, 3) for word in found)


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), 1e8, "1e400", "", "abc", None, True, [1], 10**400, "1:2:3:4"]
)
def test_what_is_no_time(value: Any) -> None:
    assert parse_time(value) is None


def test_probabilities_are_brought_into_their_range() -> None:
    assert [parse_probability(p) for p in (0.5, -1, 2, float("nan"), None, "0.25", "x", True)] == [
        0.5,
        0,
        1,
        None,
        None,
        0.25,
        None,
        None,
    ]


def test_a_turn_with_words_of_the_file_makes_a_transcript(tmp_path: Path) -> None:
    found, _ = read(tmp_path, WHISPERX)
    people = (Speaker("SPEAKER_00"), Speaker("SPEAKER_01"))
    transcript = Transcript("r", 5.0, None, people, (Turn(1.0, 3.0, "SPEAKER_00"), Turn(3.0, 4.0, "SPEAKER_01")), found)
    assert [u.text for u in transcript.utterances()] == ["In 2014.", "Yes"]
