"""Known turns and given speech through the whole method, and through the main job."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from diarize.audio.reading import Recording
from diarize.clustering import constraints
from diarize.clustering.clusterer import WindowClusterer
from diarize.config import Config, parse
from diarize.models.store import Store
from diarize.types import Segment, Source, Transcript, Turn
from pipelines.batch.process import ProcessRequest, process
from pipelines.batch.run import RunObserver
from pipelines.inputs.jobs import MarkedSpeech
from pipelines.recording import Stages, transcribe
from pipelines.results import outputs
from tests.cheap import Pitch, write_tones
from tests.pipelines.test_recording import RATE, Loud, line

STAGES = Stages(detect=Loud(), embed=Pitch(), cluster=WindowClusterer())


def talk() -> Recording:
    """One tone from 0 to 9 s, another from 5 to 9 s."""
    low, high = line((0, 9)), line((5, 9), hertz=2500)
    samples = low.samples.copy()
    samples[5 * RATE :] = high.samples[5 * RATE :]
    return Recording((replace(low, samples=samples),), Source("talk.wav", "0" * 64, 1))


def spoken(found: Transcript) -> list[tuple[float, float, str]]:
    return [(turn.start, turn.end, turn.speaker) for turn in found.turns]


def test_the_result_obeys_what_is_known() -> None:
    turns = [Turn(0, 2, "anna"), Turn(2, 5, "bob"), Turn(5, 9, "anna"), Turn(9.5, 20, "carl")]
    known = constraints.resolve(turns, (), "file:123")
    found, _ = transcribe(talk(), STAGES, Config(), known=known)
    assert spoken(found) == [(0.0, 2.0, "SPEAKER_01"), (2.0, 5.0, "SPEAKER_02"), (5.0, 9.0, "SPEAKER_01")]
    assert found.provenance.stages["known"] == "file:123"
    assert found.provenance.notes == (
        "known turns that end after the recording: 9.5-20 s",
        "known turns without detected speech, which have no effect: 9.5-20 s",
    )


def test_a_count_that_is_asked_for_holds_beside_what_is_known() -> None:
    known = constraints.resolve([Turn(0, 2, "anna"), Turn(6, 9, "anna")], (), "it")
    config = parse({"cluster": {"num_speakers": 2}}, "test")
    found, _ = transcribe(talk(), replace(STAGES, cluster=WindowClusterer(config.cluster)), config, known=known)
    assert len(found.speakers) == 2
    by_time = {
        id: {turn.speaker for turn in found.turns if turn.overlap(Segment(*id)) > 0.9} for id in ((0, 2), (6, 9))
    }
    assert len(by_time[0, 2] & by_time[6, 9]) == 1


def test_nothing_is_speech_but_what_is_given() -> None:
    given = MarkedSpeech((Segment(1, 2), Segment(6, 8), Segment(9.5, 12)), "456").within(10)
    found, _ = transcribe(talk(), replace(STAGES, detect=given), Config())
    assert [(start, end) for start, end, _ in spoken(found)] == [(1.0, 2.0), (6.0, 8.0), (9.5, 10.0)]
    assert found.provenance.stages["detect"] == "file:456"
    assert found.provenance.notes == ("speech: 2.000 s are beyond the end of the recording and were cut off",)


def test_the_main_job_takes_speech_and_known_turns_and_needs_no_detector(tmp_path: Path) -> None:
    write_tones(tmp_path / "in" / "talk.wav", [(300, 3), (2000, 3), (300, 3)])
    (tmp_path / "speech.uem").write_text("waveform 1 0.5 3\nwaveform 1 2 3.5\nwaveform 1 7.5 10.5\n")
    (tmp_path / "links.csv").write_text(f"{','.join(('recording', 'link', 'start_1', 'end_1', 'start_2', 'end_2'))}\n"
                                        "talk.wav,cannot,0.5,3.5,7.5,10.5\n")  # fmt: skip
    config = parse(
        {
            "vad": {"backend": "silero"},  # of which there is no model
            "segmentation": {"backend": "none"},
            "embedder": {"backend": "tests.cheap:embedder"},
            "asr": {"backend": "none"},
        },
        "test",
    )
    request = ProcessRequest(
        (tmp_path / "in",),
        tmp_path / "out",
        speech=tmp_path / "speech.uem",
        known_turns=(tmp_path / "links.csv",),
    )
    report = process(request, config, Store(tmp_path / "models", offline=True), RunObserver())
    assert report.status == 0
    found = outputs.read(tmp_path / "out" / "talk")
    assert spoken(found) == [(0.5, 3.5, "SPEAKER_01"), (7.5, 10.5, "SPEAKER_02")]
    assert found.provenance.stages["detect"].startswith("file:")
    assert "names the recording 'waveform'" in found.provenance.notes[0]
    (row,) = json.loads((tmp_path / "out" / "run.json").read_text())["recordings"]
    assert found.provenance.notes[0] in row["notes"]


@pytest.mark.parametrize("most", [1, 2])
def test_without_anything_known_the_method_is_as_it_was(most: int) -> None:
    config = parse({"cluster": {"max_speakers": most}}, "test")
    stages = replace(STAGES, cluster=WindowClusterer(config.cluster))
    silent = constraints.resolve([Turn(9.2, 9.8, "anna")], (), "")
    plain, constrained = transcribe(talk(), stages, config)[0], transcribe(talk(), stages, config, known=silent)[0]
    assert spoken(plain) == spoken(constrained)
