"""Transcripts for the tests of the formats. `python -m tests.formats.samples` writes the golden files anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from diarize import formats
from diarize.formats.times import round_transcript
from diarize.types import Candidate, Provenance, Segment, Source, Speaker, Transcript, Turn, Word

DATA = Path(__file__).resolve().parents[1] / "data"

# Fault 36, and more of the kind: what a speaker or a recording may be called.
HOSTILE = (
    "Anna Maria",
    "tab\tand\nnewline\r",
    "\"quoted\" 'name'",
    "<script>alert(1)</script>",
    '=HYPERLINK("http://example.org";"x")',
    "+1",
    "-1",
    "@SUM(A1)",
    "'apostrophe",
    "a --> b",
    "👩‍👩‍👧 family",
    "\u202egnp.exe\u202c",
    "\u2066isolated\u2069",
    "x" * 10_000,
    "",
    "NA",
    "null",
    "nan",
    "01",
    "<NA>",
    ";; comment",
    "100%",
    "%41",
    "%",
    "~",
    "~tilde",
    "inter_segment_gap",
    "[a]: b",
    "?",
    " space around ",
    "\u00a0\u2028\u2029\x85\x0b\x0c\x1c",
    "Zo\u00eb",
    "Zoe\u0308",
    "שרה",
    "小林",
    "สมชาย",
    "{\\an8}top",
    "a,b;c|d",
    "$(rm -rf ~)",
    "../../etc/passwd",
    "CON",
    "undecodable \udcff byte",
    "\ufeffmark",
    "nul\x00byte",
)

MEETING = Transcript(
    "staff-meeting",
    24.0,
    "en",
    (
        Speaker(
            "S1",
            "Anna Maria",
            (Candidate("voice-7", "Anna Maria", 0.81, 6.25), Candidate("voice-2", "Bo", 0.34)),
            voice="voice-7",
            reason="log-likelihood ratio 6.25, 2.94 needed",
            merged=("S4",),
        ),
        Speaker("S2", "=Bo <b>"),
        Speaker("S3", link="unknown-1"),
    ),
    (
        Turn(0.5, 6.9, "S1", 0.97),
        Turn(6.4, 11.25, "S2", 0.88),
        Turn(12.0, 14.5, "S1"),
        Turn(15.0, 17.2, "S3"),
        Turn(21.5, 22.0, "S2"),
    ),
    (
        Word(0.5, 0.8, "Good", 0.99, "S1"),
        Word(0.8, 1.3, "morning.", 0.98, "S1"),
        Word(1.6, 1.8, "Let", 0.97, "S1"),
        Word(1.8, 2.0, "us", 0.96, "S1"),
        Word(2.0, 2.4, "begin", 0.99, "S1"),
        Word(2.4, 2.6, "with", 0.99, "S1"),
        Word(2.6, 2.7, "the", 0.99, "S1"),
        Word(2.7, 3.2, "figures", 0.95, "S1"),
        Word(3.2, 3.4, "of", 0.99, "S1"),
        Word(3.4, 3.9, "March,", 0.94, "S1"),
        Word(4.0, 4.3, "which", 0.99, "S1"),
        Word(4.3, 4.6, "went", 0.99, "S1"),
        Word(4.6, 4.8, "up", 0.99, "S1"),
        Word(4.8, 5.0, "by", 0.98, "S1"),
        Word(5.0, 5.6, "50%", 0.75, "S1"),
        Word(5.6, 6.8, "in New York.", 0.7, "S1"),
        Word(6.5, 6.9, "<laughs>", 0.4, "S2"),
        Word(7.0, 7.3, "I", 0.99, "S2"),
        Word(7.3, 7.8, "see:", 0.9, "S2"),
        Word(7.8, 8.2, "a", 0.9, "S2"),
        Word(8.2, 8.4, "-->", 0.5, "S2"),
        Word(8.4, 8.4, "b.", 0.5, "S2"),
        Word(12.1, 12.6, "שלום", 0.9, "S1"),
        Word(12.6, 13.2, "לכולם", 0.9, "S1"),
        Word(15.1, 15.6, "東京", 0.8, "S3"),
        Word(15.6, 15.8, "へ", 0.8, "S3"),
        Word(15.8, 16.4, "行く", 0.8, "S3"),
        Word(18.9, 19.3, "hm", 0.31),
    ),
    (Segment(19.5, 21.0),),
    Provenance(
        "diarize-pipeline 0.1.0",
        Source(
            "staff-meeting.mp3",
            "ab" * 32,
            384_000,
            "mp3",
            "mp3",
            0,
            1,
            44_100,
            2,
            "mix",
            24.1,
            24.0,
            ("clipped",),
            ("cd" * 32,),
        ),
        {"vad": "silero-v6", "asr": "whisper-small"},
        {"cluster": {"max_speakers": 20, "num_speakers": None}},
        ("words by a small model",),
        {"silero-vad-v6": "ef" * 32},
        {"cluster": 0},
        {"numpy": "2.0.0", "libavcodec": "62.28.102"},
        {"silero-vad-v6": "MIT"},
    ),
)
EMPTY = Transcript("silence", 3.0)
WORDLESS = Transcript(
    "no-words", 9.0, None, (Speaker("S1", "Anna"), Speaker("S2")), (Turn(1.0, 2.5, "S1"), Turn(2.0, 4.0, "S2"))
)

texts = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=12))
milliseconds = st.integers(0, 90_000)


@st.composite
def segments(draw: Any) -> tuple[float, float]:
    start = draw(milliseconds)
    return start / 1000, (start + draw(st.integers(1, 9_000))) / 1000


@st.composite
def transcripts(draw: Any) -> Transcript:
    """Transcripts of up to 4 hostile speakers; times to the millisecond."""
    ids = draw(st.lists(texts, max_size=4, unique=True))
    named = tuple(Speaker(id, draw(st.none() | texts)) for id in ids)
    unit = st.floats(0, 1)
    turns, words = [], []
    for start, end in draw(st.lists(segments(), max_size=6)) if ids else []:
        turns.append(Turn(start, end, draw(st.sampled_from(ids)), draw(st.none() | unit)))
    for start, end in draw(st.lists(segments(), max_size=8)):
        speaker = draw(st.sampled_from([None, *ids]))
        words.append(Word(start, draw(st.sampled_from([start, end])), draw(texts), draw(unit), speaker))
    lost = tuple(Segment(*span) for span in draw(st.lists(segments(), max_size=2)))
    turns.sort(key=lambda turn: turn.start)
    language = draw(st.none() | st.just("en"))
    return round_transcript(
        Transcript(draw(texts), draw(milliseconds) / 1000, language, named, tuple(turns), tuple(words), lost)
    )


def golden(format: str) -> Path:
    return DATA / f"{MEETING.recording}{formats.suffix(format)}"


if __name__ == "__main__":
    DATA.mkdir(exist_ok=True)
    for name in formats.names():
        if name not in formats.BINARY:
            golden(name).write_bytes(formats.encode(name, MEETING))
