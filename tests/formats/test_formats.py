"""The registry, the golden files, and what is true of every format."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

from diarize import files, formats
from diarize.config import Config
from diarize.errors import ConfigError
from diarize.types import DRAFT, Provenance, Segment, Speaker, Transcript, Turn, Word
from tests.formats.samples import EMPTY, HOSTILE, MEETING, WORDLESS, golden, transcripts

TEXTS = [name for name in formats.names() if name not in formats.BINARY]

SILENCE = {
    "txt": "",
    "srt": "",
    "vtt": "WEBVTT\n",
    "rttm": "",
    "uem": "silence 1 0.000 3.000\n",
    "csv": "recording,start,end,duration,speaker,name,text,confidence,human\r\n",
    "wordcsv": "recording,start,end,duration,speaker,name,text,probability,human\r\n",
    "ctm": "",
    "rtctm": "",
    "stm": "",
    "seglst": "[]\n",
    "speakers": '{\n  "recording": {"token": "silence", "id": "silence"},\n  "speakers": []\n}\n',
    "textgrid": (
        'File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0\nxmax = 3.000\ntiers? <exists>\nsize = 1\n'
        'item []:\n    item [1]:\n        class = "IntervalTier"\n        name = "turns"\n        xmin = 0\n'
        "        xmax = 3.000\n        intervals: size = 1\n        intervals [1]:\n            xmin = 0.000\n"
        '            xmax = 3.000\n            text = ""\n'
    ),
    "audacity": "",
    "labelstudio": '[{"data": {"audio": "silence"}, "predictions": [{"model_version": "", "result": []}]}]\n',
    "md": "# silence\n\nLength: 00:00:03.0\n",
    "otr": '{"text": "", "media": "silence", "media-time": 0.0, "media-source": ""}\n',
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_format_writes_its_golden_file(name: str) -> None:
    assert formats.encode(name, MEETING) == golden(name).read_bytes()


@pytest.mark.parametrize("name", SILENCE)
def test_fault_21_a_recording_in_which_nobody_speaks_has_a_valid_file(name: str) -> None:
    assert formats.dumps(name, EMPTY) == SILENCE[name]


def test_every_other_format_has_its_empty_form_tested() -> None:
    assert {*SILENCE, "json", "eaf", "html", "docx"} == set(formats.names())  # in test_tiers.py and test_docx.py


def test_unknown_formats_answer_with_the_nearest_known_name() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'srt'"):
        formats.suffix("sr")
    with pytest.raises(ConfigError, match="Did you mean 'rttm'"):
        formats.dumps(".RTTM", EMPTY)
    with pytest.raises(ConfigError, match="Known: json, txt"):
        formats.dumps("quux", EMPTY)


def test_suffixes_are_distinct_and_defaults_are_known() -> None:
    suffixes = [formats.suffix(name) for name in formats.names()]
    assert len(set(suffixes)) == len(suffixes)
    assert set(Config().output.formats) <= set(formats.names())


def test_nothing_heavy_is_imported_with_the_formats() -> None:
    code = (
        "import sys, diarize.formats, diarize.formats.words, pipelines.results.tables;"
        "print(sorted({'pandas', 'pyarrow', 'torch', 'onnxruntime'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("name", formats.names())
@pytest.mark.parametrize("hostile", HOSTILE, ids=ascii)
def test_fault_36_no_name_keeps_a_format_from_being_written(name: str, hostile: str, tmp_path: Path) -> None:
    transcript = Transcript(
        hostile,
        9.0,
        None,
        (Speaker(hostile, hostile), Speaker("other")),
        (Turn(1.0, 2.0, hostile), Turn(1.5, 3.0, "other")),
        (Word(1.0, 1.5, hostile, 0.5, hostile), Word(1.6, 2.0, "word", 0.5, "other"), Word(5.0, 6.0, hostile)),
    )
    files.write(tmp_path / "file", formats.encode(name, transcript))
    assert (tmp_path / "file").stat().st_size > 0


@given(transcripts())
@settings(deadline=None, max_examples=60)
def test_writing_is_a_function_of_the_transcript_alone(transcript: Transcript) -> None:
    for name in TEXTS:
        assert formats.encode(name, transcript) == formats.encode(name, replace(transcript))
        assert formats.dumps(name, transcript).encode("utf-8") == formats.encode(name, transcript)  # no lone surrogate


def test_times_finer_than_a_millisecond_are_the_same_in_every_format() -> None:
    fine = Transcript(
        "fine",
        2.0004,
        None,
        (Speaker("A"),),
        (Turn(0.12345, 0.12346, "A"), Turn(0.9996, 1.50049, "A")),
        (Word(0.9996, 1.2345, "hello", 1.0, "A"),),
    )
    assert formats.dumps("rttm", fine) == (
        "SPEAKER fine 1 0.123 0.001 <NA> <NA> A <NA> <NA>\nSPEAKER fine 1 1.000 0.500 <NA> <NA> A <NA> <NA>\n"
    )
    assert '{"start": 0.123, "end": 0.124, "speaker": "A", "confidence": null}' in formats.dumps("json", fine)
    assert "fine 1 1.000 0.234 hello" in formats.dumps("ctm", fine)  # halves to even
    assert "00:00:01.000 --> 00:00:02.000" in formats.dumps("vtt", fine)
    assert formats.dumps("uem", fine) == "fine 1 0.000 2.000\n"


@pytest.mark.parametrize(
    "odd", [(1, 4), (True, 4.1), (np.float32(1.5), np.float32(4.1)), (np.int64(1), np.int64(4))], ids=str
)
@pytest.mark.parametrize("name", formats.names())
def test_times_of_another_type_are_written_as_floats_are(name: str, odd: tuple[float, float]) -> None:
    """A backend may give any numbers."""
    start, end = (round(float(time), 3) for time in odd)
    plain = Transcript("odd", 9.0, None, (Speaker("S1"),), (Turn(start, end, "S1"),))
    assert formats.encode(name, replace(plain, turns=(Turn(*odd, "S1"),))) == formats.encode(name, plain)


def test_a_recording_without_words_still_tells_who_spoke_when() -> None:
    assert formats.dumps("txt", WORDLESS) == "[00:00:01.0 - 00:00:02.5] Anna:\n[00:00:02.0 - 00:00:04.0] S2:\n"
    assert (
        "00:00:01,000 --> 00:00:02,000\n[Anna]:\n\n2\n00:00:02,000 --> 00:00:02,500\n[Anna]:\n[S2]:\n"
        in formats.dumps("srt", WORDLESS)
    )
    assert "00:00:01.000 --> 00:00:02.000\n<v Anna>[Anna]:</v>\n" in formats.dumps("vtt", WORDLESS)


def test_fault_37_two_speakers_of_one_name_stay_two() -> None:
    twins = Transcript(
        "twins",
        9.0,
        None,
        (Speaker("S1", "Zo\u00eb"), Speaker("S2", "Zoe\u0308"), Speaker("S3", "Bo")),
        (Turn(0, 1, "S1"), Turn(1, 2, "S2"), Turn(2, 3, "S3")),
    )
    text = formats.dumps("txt", twins)
    assert "Zo\u00eb (S1):" in text and "Zoe\u0308 (S2):" in text and " Bo:" in text
    assert "[Zo\u00eb (S1)]:" in formats.dumps("srt", twins)
    assert "<v Zoe\u0308 (S2)>" in formats.dumps("vtt", twins)
    assert len({line.split()[7] for line in formats.dumps("rttm", twins).splitlines()}) == 3
    assert len({row.split(",")[4] for row in formats.dumps("csv", twins).splitlines()[1:]}) == 3


def test_what_could_not_be_decoded_is_no_part_of_the_uem() -> None:
    lost = replace(EMPTY, lost=(Segment(0.0, 1.0), Segment(2.5, 9.0)))
    assert formats.dumps("uem", lost) == "silence 1 1.000 2.500\n"
    assert formats.dumps("uem", replace(EMPTY, lost=(Segment(0.0, 9.0),))) == ""


def test_a_draft_says_so_before_its_first_word() -> None:
    note = f"{DRAFT} by a recognizer."
    words = (Word(0.0, 1.0, "hello", 0.5, "A"),)
    provenance = Provenance(notes=("another", note))
    draft = Transcript("a", 2.0, speakers=(Speaker("A"),), words=words, provenance=provenance)
    assert formats.dumps("txt", draft) == f"DRAFT: {note}\n\n[00:00:00.0 - 00:00:01.0] A: hello\n"
    assert formats.dumps("txt", replace(draft, words=())) == ""
    assert formats.dumps("txt", replace(draft, provenance=Provenance(notes=("another",)))).startswith("[00")
