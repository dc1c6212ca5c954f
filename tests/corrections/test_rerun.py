"""Corrections after a meeting was processed again with other settings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import run_pipeline
from benchmarks import corrections as benchmark
from diarize.corrections.operations import apply
from diarize.corrections.state import EditedWord, State
from diarize.types import Speaker, Transcript, Turn, Word
from pipelines.results import outputs
from tests.shared import SHARED, needs_shared

TRUTH = (Turn(0.0, 4.0, "anna"), Turn(4.0, 8.0, "ben"), Turn(8.0, 12.0, "anna"), Turn(13.0, 14.0, "ben"))
TEXT = "we need more chairs / I can bring them today / how many are there / twenty"
SPOKEN = tuple(
    EditedWord("", 4000 * i + 700 * k, 4000 * i + 700 * k + 600, text, TRUTH[i].speaker)
    for i, sentence in enumerate(TEXT.split(" / "))
    for k, text in enumerate(sentence.split())
)
MACHINE = Transcript(
    "talk",
    15.0,
    "en",
    (Speaker("SPEAKER_01"), Speaker("SPEAKER_02"), Speaker("SPEAKER_03")),
    (Turn(0.0, 5.0, "SPEAKER_01"), Turn(5.0, 8.0, "SPEAKER_02"), Turn(8.0, 12.0, "SPEAKER_03")),
    tuple(
        Word(
            w.start / 1000, w.end / 1000, {"chairs": "cheers", "bring": "bring"}.get(w.text, w.text), 0.9, "SPEAKER_01"
        )
        for w in SPOKEN
        if w.text not in ("today", "twenty")
    ),
)


def test_a_transcript_is_corrected_in_full() -> None:
    state = State.of(MACHINE)
    for number, operation in enumerate(benchmark.corrections_of(state, TRUTH, SPOKEN), 1):
        state = apply(state, operation, number)
    names = {speaker.id: speaker.name for speaker in state.speakers}
    spoken = [(turn.start, turn.end, names[turn.speaker]) for turn in state.turns]
    assert spoken == [(0, 4000, "anna"), (4000, 8000, "ben"), (8000, 12_000, "anna"), (13_000, 14_000, "ben")]
    assert [word.text for word in state.words] == [word.text for word in SPOKEN]


def test_corrections_are_applied_to_another_transcript_or_listed() -> None:
    other = {"SPEAKER_01": "S2", "SPEAKER_02": "S1", "SPEAKER_03": "S2"}  # two of three clusters are one now
    after = replace(
        MACHINE,
        speakers=(Speaker("S1"), Speaker("S2")),
        turns=tuple(replace(turn, speaker=other[turn.speaker]) for turn in MACHINE.turns),
        words=tuple(replace(word, speaker=other[word.speaker or ""]) for word in MACHINE.words),
    )
    outcome = benchmark.compare(MACHINE, after, TRUTH, SPOKEN, "two-speakers")
    assert outcome.corrections - outcome.applied == 1
    assert outcome.reasons == {"N is not among the speakers any more": 1}  # the join of two who are one already
    assert outcome.der_corrected == 0.0 < outcome.der_machine
    assert benchmark.compare(MACHINE, MACHINE, TRUTH, SPOKEN, "the same").reasons == {}


@pytest.mark.slow
@needs_shared
def test_nine_of_ten_corrections_of_a_meeting_still_apply(tmp_path: Path) -> None:
    """A real meeting, corrected in full, and processed again with another number of speakers and another profile."""
    recording = SHARED / "data" / "sim-dev" / "dev2-phone.flac"
    for name, options in (("before", ()), ("after", ("--num-speakers", "6", "--profile", "fast"))):
        place = ["--out", str(tmp_path / name), "--offline", "-q"]
        status = run_pipeline.main(["process", str(recording), *place, *options])
        if status == 5:
            pytest.skip("the default models are not in the store: diarize models pull")
        assert status == 0
    turns, words = benchmark.read_truth(recording)
    before, after = (outputs.read(tmp_path / name / "dev2-phone") for name in ("before", "after"))
    outcome = benchmark.compare(before, after, turns, words, "after")
    assert len(before.speakers) != len(after.speakers)
    assert outcome.corrections > 50
    assert outcome.applied >= 0.9 * outcome.corrections
    assert sum(outcome.reasons.values()) == outcome.corrections - outcome.applied
