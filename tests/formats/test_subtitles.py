"""SRT and WebVTT: what is shown, what cannot happen, and what FFmpeg makes of them."""

from __future__ import annotations

import html
import time
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diarize import formats
from diarize.errors import FormatError
from diarize.formats import cue_timing, cues, line_breaks, srt, vtt
from diarize.formats.naming import make_labels, visible
from diarize.formats.options import ExportOptions
from diarize.formats.segments import TextSegment
from diarize.formats.times import format_clock
from diarize.formats.timing_lines import parse_timing
from diarize.text import join
from diarize.types import Speaker, Transcript, Turn, Word
from tests.formats.samples import HOSTILE, MEETING, transcripts


class Tags(HTMLParser):
    """Every tag and text of a piece of markup, as an HTML parser sees it."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.said = ""
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.said += data


def squeezed(text: str) -> str:
    return "".join(text.split())


@given(transcripts())
@settings(deadline=None)
def test_nothing_that_is_said_is_missing_and_no_cue_is_broken(transcript: Transcript) -> None:
    said = squeezed("".join(visible(join([w.text for w in u.words])) for u in transcript.utterances()))
    shown = make_labels(transcript)
    web = [cue.strip("\n").split("\n") for cue in vtt.dumps(transcript).split("\n\n")[1:] if cue.strip()]
    assert all(parse_timing(cue[0]) is not None and 2 <= len(cue) <= 3 and all(cue) for cue in web)
    assert not any("-->" in line for cue in web for line in cue[1:])
    sub = [cue.split("\n") for cue in srt.dumps(transcript).split("\n\n") if cue]
    assert [cue[0] for cue in sub] == [str(i + 1) for i in range(len(sub))]
    assert all(parse_timing(cue[1]) is not None and 3 <= len(cue) <= 4 and all(cue) for cue in sub)
    assert len(sub) == len(web) or transcript.words
    if transcript.words:
        back = vtt.loads(vtt.dumps(transcript), "t.vtt")
        assert sorted(squeezed("".join(row.text for row in back))) == sorted(said)
        assert {row.speaker for row in back} <= {None, *(" ".join(label.split()) for label in shown.values())}


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_fault_41_names_and_text_are_inert_markup(name: str) -> None:
    transcript = Transcript("r", 9.0, None, (Speaker("S", name),), (Turn(0, 9, "S"),), (Word(0, 1, name, 1.0, "S"),))
    for line in vtt.dumps(transcript).split("\n")[3:]:
        parsed = Tags(line)
        assert set(parsed.tags) <= {"v"}
    if visible(name):
        (row,) = vtt.loads(vtt.dumps(transcript), "t.vtt")
        assert row.text == visible(name)
        assert row.speaker == make_labels(transcript)["S"]
    assert not set("<>") & set(srt.dumps(transcript).replace("-->", ""))
    assert "{\\" not in srt.dumps(transcript)


def crowd() -> Transcript:
    """A word and a turn for every hostile name that has something to show."""
    names = [name for name in HOSTILE if visible(name) and len(name) < 100]
    words = tuple(Word(i, i + 0.5, name, 1.0, name) for i, name in enumerate(names))
    return Transcript(
        "r", 99.0, None, tuple(map(Speaker, names)), tuple(Turn(w.start, w.end, w.text) for w in words), words
    )


@pytest.mark.parametrize("transcript", [MEETING, crowd()], ids=["meeting", "crowd"])
@pytest.mark.parametrize(("module", "demuxer"), [(srt, "srt"), (vtt, "webvtt")])
def test_ffmpeg_reads_the_same_cues(module: ModuleType, demuxer: str, transcript: Transcript, tmp_path: Path) -> None:
    path = tmp_path / "meeting"
    path.write_text(module.dumps(transcript), encoding="utf-8")
    with av.open(str(path), format=demuxer) as container:
        packets = [(p.pts, p.duration, bytes(p).decode()) for p in container.demux() if p.pts is not None]
    rows = module.loads(module.dumps(transcript), "meeting")
    assert [(pts, duration) for pts, duration, _ in packets] == [
        (round(row.start * 1000), round(row.duration * 1000)) for row in rows
    ]
    for (_, _, text), row in zip(packets, rows, strict=True):
        assert squeezed(row.text) in squeezed(html.unescape(text))


@given(transcripts(), st.booleans())
@settings(deadline=None)
def test_cues_are_short_and_never_overlap(transcript: Transcript, one_speaker: bool) -> None:
    found = cues.make_cues(transcript, lambda speaker: f"[{speaker}]: ", ExportOptions(one_speaker))
    assert [cue.start for cue in found] == sorted(cue.start for cue in found)
    assert all(a.end <= b.start for a, b in pairwise(found))
    if one_speaker:
        assert all(len(cue.parts) == 1 for cue in found)
    longest = max((word.duration for word in transcript.words), default=0.0)
    if transcript.words:
        assert all(cue.duration <= max(cue_timing.LONGEST, longest + 0.001) + 1e-9 for cue in found)


def talk_of(*utterances: tuple[str, float, float, str], length: float = 60.0) -> Transcript:
    """A transcript of (speaker, start, seconds a word, text)."""
    words = tuple(
        Word(round(start + i * pace, 3), round(start + (i + 0.9) * pace, 3), text, 0.9, speaker)
        for speaker, start, pace, said in utterances
        for i, text in enumerate(said.split())
    )
    ids = dict.fromkeys(word.speaker for word in words if word.speaker is not None)
    turns = tuple(sorted((Turn(w.start, w.end, w.speaker or "") for w in words), key=lambda turn: turn.start))
    return Transcript("r", length, "en", tuple(map(Speaker, ids)), turns, words)


def shown(transcript: Transcript, one_speaker: bool = False) -> list[tuple[float, float, tuple[str, ...]]]:
    found = cues.make_cues(transcript, lambda speaker: f"{speaker}: ", ExportOptions(one_speaker))
    return [(cue.start, cue.end, cue.lines) for cue in found]


def test_a_short_cue_stays_for_a_second_where_there_is_room() -> None:
    assert shown(talk_of(("A", 1.0, 0.3, "Yes."), ("B", 8.0, 0.3, "No."))) == [
        (1.0, 2.0, ("A: Yes.",)),
        (8.0, 9.0, ("B: No.",)),
    ]
    assert shown(talk_of(("A", 59.5, 0.3, "Yes."))) == [(59.5, 60.0, ("A: Yes.",))]  # the recording ends


def test_speech_that_is_too_fast_stays_until_it_is_read_or_somebody_speaks() -> None:
    fast = "one two three four five six seven eight nine ten"
    ((start, end, lines),) = shown(talk_of(("A", 1.0, 0.1, fast)))
    assert (start, round(len("".join(lines).removeprefix("A: ")) / (end - start))) == (1.0, 17)
    talk = talk_of(
        ("A", 1.0, 0.1, fast), ("B", 2.0, 0.1, fast), ("A", 3.0, 0.1, fast), ("B", 4.0, 0.1, fast), length=5.0
    )
    assert cue_timing.broken_rules(cues.make_cues(talk, lambda speaker: "")) == (
        "4 subtitles of 4 faster than 17 characters a second: the speech is",
    )


def test_two_speakers_at_once_have_a_line_each_of_one_cue() -> None:
    talk = talk_of(("A", 1.0, 0.4, "Shall we begin with the budget?"), ("B", 2.5, 0.4, "Yes, please."))
    assert shown(talk) == [(1.0, 3.529, ("A: Shall we begin with the budget?", "B: Yes, please."))]
    first, second = shown(talk, one_speaker=True)
    assert first[2] == ("A: Shall we begin with the budget?",) and second[2] == ("B: Yes, please.",)
    assert first[1] == second[0] and second[1] - second[0] >= 1.0
    assert "[A]: Shall we begin with the budget?\n[B]: Yes, please.\n" in srt.dumps(talk)
    assert "<v A>Shall we begin with the budget?</v>\n<v B>Yes, please.</v>\n" in vtt.dumps(talk)
    for module in (srt, vtt):
        assert [(row.speaker, row.text) for row in module.loads(module.dumps(talk), "t")] == [
            ("A", "Shall we begin with the budget?"),
            ("B", "Yes, please."),
        ]


def test_an_interjection_does_not_hide_the_long_sentence_around_it() -> None:
    long = "and then we went to the office where nobody knew what had happened to the keys of it"
    talk = talk_of(("A", 0.0, 0.35, long), ("B", 3.0, 0.3, "Mhm."))
    found = shown(talk, one_speaker=True)
    assert all(end - start >= 0.99 for start, end, _ in found)
    assert [lines for *_, lines in found if lines[0].startswith("B")] == [("B: Mhm.",)]


def test_lines_end_at_sensible_places() -> None:
    assert line_breaks.break_lines("We cannot pay for the chairs, because the money is gone.") == (
        "We cannot pay for the chairs,",
        "because the money is gone.",
    )
    assert line_breaks.break_lines("Nobody has ever told us about the house of my friends") == (
        "Nobody has ever told us about",
        "the house of my friends",
    )
    assert line_breaks.break_lines("昨日は友達と一緒に東京の美術館へ行って絵を見ました") == (
        "昨日は友達と一緒に東京の",
        "美術館へ行って絵を見ました",
    )
    assert line_breaks.break_lines("我们昨天去了北京的博物馆，看到了很多古老的绘画作品和雕塑") == (
        "我们昨天去了北京的博物馆，",
        "看到了很多古老的绘画作品和雕塑",
    )


def test_subtitles_end_with_sentences_rather_than_inside_one() -> None:
    said = "The hall is booked. We still need some chairs and a few tables. Who can bring them on Friday morning?"
    ends = [lines[-1][-1] for *_, lines in shown(talk_of(("A", 0.0, 0.35, said)))]
    assert set(ends) <= {".", "?"}


def test_turns_without_words_show_who_speaks_at_once() -> None:
    talk = Transcript(
        "r",
        20.0,
        None,
        (Speaker("A"), Speaker("B")),
        (Turn(0.0, 12.0, "A"), Turn(5.0, 6.0, "B"), Turn(12.0, 13.0, "B")),
    )
    assert shown(talk) == [
        (0.0, 5.0, ("A:",)),
        (5.0, 6.0, ("A:", "B:")),
        (6.0, 12.0, ("A:",)),
        (12.0, 13.0, ("B:",)),
    ]
    assert [row.speaker for row in srt.loads(srt.dumps(talk), "t")] == ["A", "A", "B", "A", "B"]
    assert [row.speaker for row in vtt.loads(vtt.dumps(talk), "t")] == ["A", "A", "B", "A", "B"]


def test_long_speech_is_cut_into_two_lines_of_42_columns() -> None:
    words = tuple(Word(i * 0.3, i * 0.3 + 0.25, f"word{i}" + "." * (i % 9 == 8), 1.0, "A") for i in range(200))
    talk = Transcript("r", 99.0, None, (Speaker("A", "Anna"),), (Turn(0, 99, "A"),), words)
    for cue in cues.make_cues(talk, lambda speaker: "[Anna]: "):
        assert len(cue.lines) <= 2 and all(line_breaks.count_columns(line) <= 42 for line in cue.lines)
        assert cue.duration <= 7.0
    assert join(row.text for row in srt.loads(srt.dumps(talk), "t.srt")) == join(word.text for word in words)


def test_fault_42_scripts_without_spaces_are_cut_by_columns() -> None:
    words = tuple(Word(i * 0.1, i * 0.1 + 0.1, character, 1.0, "A") for i, character in enumerate("東京へ行く、" * 20))
    talk = Transcript("r", 99.0, "ja", (Speaker("A"),), (Turn(0, 99, "A"),), words)
    found = cues.make_cues(talk, lambda speaker: "")
    assert all(
        len(cue.lines) <= 2 and all(line_breaks.count_columns(line) <= 42 for line in cue.lines) for cue in found
    )
    assert "".join("".join(cue.lines) for cue in found) == "東京へ行く、" * 20
    assert not any(line.startswith("、") for cue in found for line in cue.lines)


@pytest.mark.parametrize(
    "text", ["שלום עולם", "مرحبا بالعالم", "नमस्ते दुनिया", "สวัสดีชาวโลก", "你好 world 世界", "한국어 문장"]
)
def test_fault_42_every_script_is_shown_and_read_back(text: str) -> None:
    words = tuple(Word(i, i + 0.9, part, 1.0, "A") for i, part in enumerate(text.split()))
    talk = Transcript("r", 9.0, None, (Speaker("A", text[:5]),), (Turn(0, 9, "A"),), words)
    for module in (srt, vtt):
        (row,) = module.loads(module.dumps(talk), "t")
        assert (row.text, row.speaker) == (join(text.split()), visible(text[:5]))
    assert f"{visible(text[:5])}: {join(text.split())}\n" in formats.dumps("txt", talk)


def test_directional_overrides_are_kept_out_of_what_people_read() -> None:
    trick = "\u202egnp.exe\u202c \u2066x\u2069"
    talk = Transcript("r", 9.0, None, (Speaker("A", trick),), (Turn(0, 9, "A"),), (Word(0, 1, trick, 1.0, "A"),))
    for name in ("txt", "srt", "vtt"):
        assert not set("\u202e\u202c\u2066\u2069") & set(formats.dumps(name, talk))
    assert trick in formats.dumps("json", talk)


def test_clocks() -> None:
    assert format_clock(0.0) == "00:00:00.000"
    assert format_clock(3599.9996, ",") == "01:00:00,000"
    assert format_clock(72 * 3600 + 61.5) == "72:01:01.500"
    assert format_clock(400 * 3600) == "400:00:00.000"


def test_srt_of_other_tools_is_read() -> None:
    text = (
        "\ufeff1\r\n00:00:01,000 --> 00:00:02,500 X1:0\r\n<i>Hello</i> {\\an8}there\r\n\r\nafter a blank line\r\n\r\n"
        "2\r\n0:00:03.5 --> 0:00:04.25\r\n1\r\n3\r\n00:00:05,000 --> 00:00:06,000\r\n[SPEAKER_01]: a < b\r\n"
    )
    assert srt.loads(text, "x") == (
        TextSegment(1.0, 2.5, None, "Hello there after a blank line"),
        TextSegment(3.5, 4.25, None, "1"),
        TextSegment(5.0, 6.0, "SPEAKER_01", "a < b"),
    )


def test_vtt_of_other_tools_is_read() -> None:
    text = (
        "WEBVTT - title\n\nSTYLE\n::cue { color: red }\n\nNOTE a\n00:09 --> note\n\n"
        "intro\n00:01.000 --> 00:04.000 align:start\n<v.loud Anna Maria>Hi <b>there</b> &amp; <c.x>you</c>\n\n"
        "00:05.000 --> 00:06.000\n<00:05.000><c>one</c><00:05.500><c> two</c>\n\n"
        "00:07.000 --> 00:09.000\n<v A>yes</v> <v B>no</v>\n"
    )
    assert vtt.loads(text, "x") == (
        TextSegment(1.0, 4.0, "Anna Maria", "Hi there & you"),
        TextSegment(5.0, 5.5, None, "one"),
        TextSegment(5.5, 6.0, None, "two"),
        TextSegment(7.0, 8.2, "A", "yes"),
        TextSegment(8.2, 9.0, "B", "no"),
    )


@pytest.mark.parametrize("times", ["00:00:02,000 --> 00:00:01,000", "00:99:99:99 --> 1", "--:-- --> 00:00:02.000"])
@pytest.mark.parametrize(("module", "head"), [(srt, "1"), (vtt, "WEBVTT\n")])
def test_cues_without_a_usable_time_are_told(module: ModuleType, head: str, times: str) -> None:
    with pytest.raises(FormatError, match="t: cue 1"):
        module.loads(f"{head}\n{times}\nx\n", "t")


def test_style_tags_that_are_never_closed_are_looked_through_once() -> None:
    text = "1\n00:00:01,000 --> 00:00:02,000\n" + "<i {\\ " * 40_000
    began = time.process_time()
    (entry,) = srt.parse(text)
    assert time.process_time() - began < 2  # s; minutes where each tag is looked for up to the end of the line
    assert len(entry.text) == len(text.splitlines()[2]) - 1
