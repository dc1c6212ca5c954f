"""Speakers of finished transcripts are enrolled by any name that an export shows, wherever the recording is now."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from diarize.errors import ConfigError
from diarize.library.store import Library
from diarize.models.store import Store
from diarize.types import Speaker, Transcript
from pipelines.people import enroll, enrolment_audio
from pipelines.people.enroll import EnrolmentRequest
from pipelines.results import outputs
from pipelines.results.corrections import Corrections
from tests.pipelines.people.test_enroll import CONFIG, empty, finished, library

__all__ = ["empty", "finished", "library"]  # fixtures


def test_every_name_that_an_export_shows_is_a_speaker(finished: Path) -> None:
    named = (
        Speaker("SPEAKER_01", "Ben Ö"),
        Speaker("SPEAKER_02", "Ben Ö", merged=("SPEAKER_04",)),
        Speaker("SPEAKER_03", link="unknown-1"),
        Speaker("S 5", "=Eva"),
    )
    transcript = Transcript("call", 30.0, speakers=named)
    ways = {
        "SPEAKER_03": "SPEAKER_03",
        "unknown-1": "SPEAKER_03",
        "Ben Ö (SPEAKER_02)": "SPEAKER_02",  # TXT, SRT, VTT
        "SPEAKER_04": "SPEAKER_02",
        "S%205": "S 5",  # RTTM
        "=Eva": "S 5",
        "'=Eva": "S 5",  # CSV
    }
    assert {name: enrolment_audio._find_speaker(transcript, name, finished) for name in ways} == ways
    with pytest.raises(ConfigError, match="Ben Ö is several speakers"):
        enrolment_audio._find_speaker(transcript, "Ben Ö", finished)


def test_the_recording_is_where_the_provenance_says(
    tmp_path: Path, finished: Path, library: Library, empty: Store
) -> None:
    moved = tmp_path / "elsewhere" / "renamed.wav"
    moved.parent.mkdir()
    (tmp_path / "in" / "call.wav").rename(moved)
    record = outputs.read_provenance(finished)
    source = {"path": str(moved), "sha256": "", "sha256_after": ""}
    (finished / outputs.PROVENANCE).write_text(json.dumps({**record, "source": source}))
    ben = enroll.enroll_from_transcript(library, EnrolmentRequest("Ben"), finished, "Ben", CONFIG, empty)
    assert ben.status == 0 and ben.rows[0].origin.startswith("renamed.wav")


def test_corrected_names_and_turns_are_enrolled(finished: Path, library: Library, empty: Store) -> None:
    corrections = Corrections(finished)
    corrections.append({"op": "name_speaker", "speaker": "SPEAKER_01", "name": "Anna"}, "max")
    corrections.append({"op": "assign", "start": 3000, "end": 6500, "from": "SPEAKER_01", "to": "SPEAKER_02"}, "max")
    anna = enroll.enroll_from_transcript(library, EnrolmentRequest("Anna"), finished, "Anna", CONFIG, empty)
    assert [(row.start, row.end) for row in anna.rows] == [(0.5, 2.75), (12.25, 16.5)]


def test_enough_confirmed_speech_is_enrolled_alone(
    finished: Path, library: Library, empty: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    corrections = Corrections(finished)
    corrections.append({"op": "check_turn", "turn": "t500", "checked": True}, "max")

    def rows(name: str) -> list[tuple[float, float]]:
        request = EnrolmentRequest(name, new=True)
        result = enroll.enroll_from_transcript(library, request, finished, "SPEAKER_01", CONFIG, empty)
        return [(row.start, row.end) for row in result.rows]

    assert rows("Anna") == [(0.5, 6.5), (12.25, 16.5)]  # 6 s are confirmed: too little
    monkeypatch.setattr(enrolment_audio, "COMPLETE", 5.0)
    assert rows("Anna again") == [(0.5, 6.5)]
