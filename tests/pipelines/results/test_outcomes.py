"""The row of a recording says what its transcript says."""

from __future__ import annotations

from pathlib import Path

from diarize.formats import transcript_json
from diarize.types import Segment, Transcript
from pipelines.inputs.recordings import Input
from pipelines.results.outcomes import Outcome


def test_the_lost_seconds_of_a_row_are_those_of_the_written_spans() -> None:
    lost = tuple(Segment(float(i), i + 0.1004) for i in range(3))  # 0.3012 s in all; 0.300 s in whole milliseconds
    transcript = Transcript("talk", 10.0, lost=lost)
    item = Input(Path("talk.wav"), "talk.wav", "talk")
    assert Outcome.of(transcript, item).lost == 0.3
    written = transcript_json.loads(transcript_json.dumps(transcript), "talk")
    assert Outcome.of(written, item).lost == 0.3
