"""Files for Praat, ELAN, Audacity, Label Studio and oTranscribe, minutes and pages: what no golden file shows."""

from __future__ import annotations

import html
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import pytest

from diarize import formats
from diarize.errors import FormatError
from diarize.formats import audacity, eaf, labelstudio, textgrid, transcript_json
from diarize.formats.tiers import Label
from diarize.types import DRAFT, Provenance, Speaker, Transcript, Turn, Word
from tests.formats.samples import EMPTY, HOSTILE, MEETING, WORDLESS

SHORT = '''File type = "ooTextFile"
Object class = "TextGrid"

0
2.5
<exists>
2
"IntervalTier"
"Anna"
0
2.5
2
0
1
""
1
2.5
"say ""hi"""
"TextTier"
"clicks"
0
2.5
1
1.5
"x"
'''


def test_praat_short_format_and_point_tiers() -> None:
    content = textgrid.loads(SHORT, "a.TextGrid")
    assert content.turns == (Label(1000, 2500, "Anna", 'say "hi"'),)
    assert content.notes == ("the point tier 'clicks' is not read",)


def test_tiers_of_praat_have_no_gaps_and_no_overlap() -> None:
    words = (Word(0.5, 1.0, "a", 1.0, "S1"), Word(0.8, 0.8, "b", 1.0, "S1"), Word(2.9, 3.0, "c", 1.0, "S1"))
    text = formats.dumps("textgrid", Transcript("x", 3.0, None, (Speaker("S1"),), (Turn(0.5, 3.0, "S1"),), words))
    times = [float(time) for time in re.findall(r"^            xm(?:in|ax) = ([\d.]+)", text, re.M)]
    assert times[:4] == [0.0, 0.5, 0.5, 3.0]
    assert times[4:] == [0.0, 0.5, 0.5, 1.0, 1.0, 1.001, 1.001, 2.9, 2.9, 3.0]


@pytest.mark.parametrize("name", [*HOSTILE, "A - words", "\x00\x0b\ufffe", "\ud800"], ids=ascii)
def test_every_name_and_text_comes_back(name: str) -> None:
    speakers = (Speaker("S1", name), Speaker("S2", "A"))
    words = (Word(1.0, 1.5, name, 1.0, "S1"), Word(1.5, 2.0, "x", 1.0, "S1"))
    talk = Transcript(name, 5.0, None, speakers, (Turn(1.0, 2.0, "S1"), Turn(3.0, 4.0, "S2")), words)
    for module in (textgrid, eaf, audacity, labelstudio):
        content = module.loads(module.dumps(talk), "x")
        assert [(label.start, label.end) for label in content.turns] == [(1000, 2000), (3000, 4000)]
        assert content.turns[1].speaker == "A"
        assert content.turns[0].text.endswith("x")
        if content.words is not None:
            assert content.words[-1].text == "x"


@pytest.mark.parametrize("module", [textgrid, eaf], ids=["praat", "elan"])
def test_a_speaker_whose_name_is_that_of_a_tier_of_words_is_a_speaker(module: Any) -> None:
    names = ("A", "A - words", "A - words (speaker)", "B (speaker)")
    speakers = tuple(Speaker(f"S{n}", name) for n, name in enumerate(names))
    turns = tuple(Turn(float(n), n + 0.5, f"S{n}") for n in range(4))
    words = tuple(Word(float(n), n + 0.5, "x", 1.0, f"S{n}") for n in range(1, 4))
    content = module.loads(module.dumps(Transcript("x", 5.0, None, speakers, turns, words)), "x")
    assert [label.speaker for label in content.turns] == list(names)
    assert [label.speaker for label in content.words] == list(names[1:])


def test_elan_documents() -> None:
    root = ElementTree.fromstring(formats.dumps("eaf", MEETING))
    assert root.get("VERSION") == root.get("FORMAT") == "3.0"
    slots = [int(slot.get("TIME_VALUE", "")) for slot in root.iter("TIME_SLOT")]
    assert slots == sorted(slots)
    assert [child.tag for child in root][:2] == ["HEADER", "TIME_ORDER"] and root[-1].tag == "LINGUISTIC_TYPE"
    assert eaf.loads(formats.dumps("eaf", EMPTY), "x").turns == ()


def test_elan_slots_without_a_time_lie_between_their_neighbours() -> None:
    slots = '<TIME_SLOT TIME_SLOT_ID="a" TIME_VALUE="100"/><TIME_SLOT TIME_SLOT_ID="b"/>'
    slots += '<TIME_SLOT TIME_SLOT_ID="c" TIME_VALUE="300"/>'
    part = '<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="x" TIME_SLOT_REF1="{}" TIME_SLOT_REF2="{}">'
    part += "<ANNOTATION_VALUE>{}</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>"
    tier = part.format("a", "b", "one") + part.format("b", "c", "two")
    text = f'<ANNOTATION_DOCUMENT><TIME_ORDER>{slots}</TIME_ORDER><TIER TIER_ID="T">{tier}</TIER></ANNOTATION_DOCUMENT>'
    assert eaf.loads(text, "x").turns == (Label(100, 200, "T", "one"), Label(200, 300, "T", "two"))


def test_audacity_lines_that_are_no_turns() -> None:
    content = audacity.loads("0.5\t1.5\t[Anna]: hi\n\\\t100\t200\n2\t2\tpoint\n3,0\t4,0\twho\n", "x")
    assert content.turns == (Label(500, 1500, "Anna", "hi"), Label(3000, 4000, None, "who"))
    assert content.notes == ("1 label of a point in time not read",)


def test_label_studio_annotations_come_before_predictions() -> None:
    task = json.loads(formats.dumps("labelstudio", WORDLESS))[0]
    value = {"start": 1, "end": 2, "labels": ["Anna"]}
    task["annotations"] = [{"result": [{"id": "r", "type": "labels", "value": value}, {"id": "c", "value": 3}]}]
    assert labelstudio.loads(json.dumps(task), "x").turns == (Label(1000, 2000, "Anna", ""),)
    with pytest.raises(FormatError, match="not one task"):
        labelstudio.loads("[{}, {}]", "x")


@pytest.mark.parametrize("name", ["html", "md", "otr"])
def test_a_draft_says_so_first(name: str) -> None:
    note = f"{DRAFT}: small model"
    text = formats.dumps(name, replace(MEETING, provenance=Provenance(notes=(note,))))
    assert 0 < text.index(f"DRAFT: {DRAFT}") < text.index("Anna")


def test_a_page_is_inert_and_marks_what_a_person_decided() -> None:
    words = (Word(1.0, 1.5, "<script>alert(1)</script>", None, "S1", human=True), Word(1.5, 2.0, "x", 0.5, "S1"))
    speakers = (Speaker("S1", '"><img src=x onerror=alert(1)>', human=True),)
    talk = Transcript("</title><script>", 5.0, None, speakers, (Turn(1.0, 2.0, "S1", human=True),), words)
    page = formats.dumps("html", talk)
    tags: list[str] = []

    class _Tags(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            tags.append(tag)
            assert not any(name.startswith("on") or name in ("src", "href") for name, _ in attrs)

    _Tags().feed(page)
    assert not {"script", "img", "a", "link", "iframe"} & set(tags)
    assert tags.count("mark") == 1 and page.count("✓") == 2
    assert f">{html.escape(words[0].text)}</mark> x" in page


def test_minutes_escape_markdown() -> None:
    words = (Word(1.0, 1.5, "*bold* `code` [a](b) <i>", 0.5, "S1"), Word(3.0, 3.5, "# 1. x | y", 0.5, "S1"))
    talk = Transcript("1. a_b_", 225.0, None, (Speaker("S1", "- Anna"),), (Turn(220.0, 223.0, "S1"),), words)
    text = formats.dumps("md", talk)
    assert text.startswith("# 1\\. a\\_b\\_\n")
    assert "\\- Anna: \\*bold\\* \\`code\\` \\[a\\](b) \\<i\\> #00:00:01-5#\n" in text
    assert "\\- Anna: \\# 1. x \\| y #00:00:03-5#\n" in text


def test_rows_that_a_person_decided_are_marked_in_csv() -> None:
    words = (Word(0.0, 1.0, "a", None, "S1", human=True), Word(2.0, 3.0, "b", 0.5, "S1"))
    turns = (Turn(0.0, 1.0, "S1"), Turn(2.0, 3.0, "S1"), Turn(4.0, 5.0, "S1", human=True))
    rows = formats.dumps("csv", Transcript("x", 5.0, None, (Speaker("S1"),), turns, words)).split("\r\n")
    assert [row.rpartition(",")[2] for row in rows] == ["human", "yes", "", "yes", ""]


def test_a_transcript_with_decisions_can_be_read_back() -> None:
    talk = replace(MEETING, turns=(replace(MEETING.turns[0], human=True), *MEETING.turns[1:]))
    assert transcript_json.loads(formats.dumps("json", talk), "x") == talk
