"""What the review shows besides the transcript: sound of any kind, doubts of two systems, voices; and what it hides."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile

from diarize.config import Config
from diarize.errors import ModelMissing
from diarize.library import store as libraries
from diarize.models.store import Store
from diarize.types import Candidate, Speaker, Turn
from pipelines.processes import decoding
from pipelines.results import integrity
from pipelines.results.corrections import Corrections
from pipelines.review import sound
from pipelines.review import voices as voices_module
from pipelines.review.document import Viewing
from pipelines.review.server.recordings import Answer, ReviewedRecording, ReviewedRun, ReviewRequest
from pipelines.review.sound import played_type, waveform
from pipelines.review.voices import SpeakerVoices
from tests.corrections.test_operations import transcript
from tests.pipelines.people.test_enroll import ANNA, BEN, CONFIG, empty, sing
from tests.pipelines.review.serving import RATE, Served, serving, write_recording, write_results
from tests.pipelines.review.test_edit import run

__all__ = ["empty"]  # a fixture
NAME = {"op": "name_speaker", "speaker": "A", "name": "Anna"}


def test_fault_68_a_missing_recording_leaves_the_transcript(tmp_path: Path) -> None:
    recording = write_recording(tmp_path / "meeting.wav")
    folder = write_results(tmp_path / "out" / "meeting", recording)
    recording.rename(tmp_path / "moved.wav")
    with serving(folder) as served:
        state = served.state()
        assert state["audio"] is None and state["peaks"] is None and state["machine"]["words"]
        assert served.get("/r/meeting/audio").status_code == 404
        assert "--audio" in served.get("/r/meeting/peaks").json()["problem"]
        assert served.get("/r/meeting/speakers.json").json()["problem"] == "the recording was not found"
    with serving(folder, "--audio", str(tmp_path)) as served:
        assert served.state()["audio"]["type"] == "audio/wav"
        assert served.get("/r/meeting/audio").content == (tmp_path / "moved.wav").read_bytes()


def test_fault_68_another_file_in_its_place_is_not_played(tmp_path: Path) -> None:
    recording = write_recording(tmp_path / "meeting.wav")
    folder = write_results(tmp_path / "out" / "meeting", recording)
    data = bytearray(recording.read_bytes())
    data[-1] ^= 1
    recording.write_bytes(data)
    with serving(folder) as served:
        for address in ("audio", "peaks"):
            answer = served.get(f"/r/meeting/{address}")
            assert answer.status_code == 500 and "not the recording of this transcript" in answer.json()["problem"]


def test_fault_68_what_browsers_cannot_play_is_transcoded_once(tmp_path: Path) -> None:
    times = np.arange(20 * RATE) / RATE
    chirp = 0.3 * np.sin(2 * np.pi * (200 * times + 50 * times**2))
    soundfile.write(tmp_path / "meeting.aiff", chirp.astype(np.float32), RATE)
    folder = write_results(tmp_path / "out" / "meeting", tmp_path / "meeting.aiff")
    for attempt in range(2):
        with serving(folder, cache=tmp_path / "cache") as served:
            assert served.state()["audio"] == {"url": "audio", "type": "audio/ogg"}
            if attempt == 1:  # from the cache: the recording is not needed any more
                (tmp_path / "meeting.aiff").write_bytes((tmp_path / "meeting.aiff").read_bytes()[:-1] + b"x")
            opus = served.get("/r/meeting/audio")
            assert opus.headers["content-type"] == "audio/ogg" and opus.content[:4] == b"OggS"
            part = served.get("/r/meeting/audio", headers={"range": "bytes=0-3"})
            assert (part.status_code, part.content) == (206, b"OggS")
            assert len(served.get("/r/meeting/peaks").content) == 4000
    assert [path.name for path in folder.iterdir() if path.suffix == ".opus"] == []
    (tmp_path / "sound.opus").write_bytes(opus.content)
    before, after = (
        decoding.read(tmp_path / name, id="x").audios[0].samples[RATE * 7 : RATE * 9]
        for name in ("meeting.aiff", "sound.opus")
    )
    lags = range(-400, 401)
    products = [float(before[1000:-1000] @ after[1000 + lag : len(after) - 1000 + lag]) for lag in lags]
    assert abs(lags[int(np.argmax(products))]) <= 80  # 5 ms


@pytest.mark.parametrize(
    ("change", "played"),
    [
        ({}, "audio/wav"),
        ({"codec": "pcm_s32le"}, ""),
        ({"container": "aiff"}, ""),
        ({"streams": 2}, ""),
        ({"channels": 8}, ""),
        ({"decoded": 12.0}, ""),
        ({"declared": None}, ""),
        ({"notes": ("a gap of 3 s",)}, ""),
    ],
    ids=str,
)
def test_only_whole_files_are_played_as_they_are(tmp_path: Path, change: dict[str, Any], played: str) -> None:
    path = write_recording(tmp_path / "a.wav", 1.0)
    assert played_type(replace(decoding.read(path, id="a").source, **change), path) == played


@pytest.mark.parametrize(("options", "played"), [({}, "audio/mpeg"), ({"abr": "1"}, ""), ({"q": "4"}, "")], ids=str)
def test_an_mp3_is_played_as_it_is_unless_its_bit_rate_varies(
    tmp_path: Path, options: dict[str, str], played: str
) -> None:
    path = tmp_path / "a.mp3"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libmp3lame", rate=RATE, options={k: v for k, v in options.items() if k != "q"})
        stream.codec_context.layout, stream.codec_context.format = "mono", "s16p"
        stream.codec_context.bit_rate = 64_000
        if "q" in options:
            stream.codec_context.qscale = True
            stream.codec_context.global_quality = 4 * 118
        pcm = (3000 * np.sin(880 * np.arange(3 * RATE) / RATE)).astype(np.int16)
        for at in range(0, len(pcm), 576):
            frame = av.AudioFrame.from_ndarray(pcm[np.newaxis, at : at + 576], format="s16p", layout="mono")
            frame.sample_rate, frame.pts = RATE, at
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert played_type(decoding.read(path, id="a").source, path) == played


def test_the_waveform_of_two_channels_has_the_peaks_of_both() -> None:
    left, right = np.zeros(RATE, np.float32), np.zeros(RATE // 2 + 1, np.float32)
    left[170], right[171], right[-1] = 0.5, -1.0, 2.0
    pairs = np.frombuffer(waveform([left, right]), np.int8).reshape(-1, 2)
    assert len(pairs) == 100 and pairs[1].tolist() == [-127, 64] and pairs[50].tolist() == [0, 127]
    assert np.count_nonzero(pairs) == 3


def test_opus_of_a_long_recording_needs_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples are taken a minute at a time, from a memory-mapped file."""
    samples = np.memmap(tmp_path / "samples", np.float32, "w+", shape=(RATE * 150,))
    blocks: list[int] = []
    with (tmp_path / "a.opus").open("wb") as file:
        sound.encode_opus([samples], file, lambda: blocks.append(file.tell()))
    assert len(blocks) == 3
    assert decoding.read(tmp_path / "a.opus", id="a").audios[0].duration == pytest.approx(150, abs=0.1)


def test_where_two_systems_differ_is_a_doubt(tmp_path: Path) -> None:
    folder = write_results(tmp_path / "out" / "meeting", None)
    plain = transcript()
    other = replace(plain, turns=(*plain.turns[:2], Turn(9.0, 12.0, "B")))
    write_results(tmp_path / "other" / "meeting", None, other)
    with serving(folder.parent, "--compare", str(tmp_path / "other")) as served:
        state = served.state()
        systems = [(d["start"], d["end"], d["worth"]) for d in state["doubts"] if d["kind"] == "systems"]
        assert systems == [(9000, 12_000, 1.5)] and state["certain"] == 0.7
        served.send(0, {"op": "check_turn", "turn": "t9000", "checked": True})
        assert [d for d in served.state()["doubts"] if d["kind"] == "systems"] == []


def with_candidates() -> tuple[Speaker, ...]:
    both = (Candidate("1" * 32, "Anna", 0.8, 5.5), Candidate("2" * 32, "Max", 0.5, 1.25))
    return Speaker("A", "Anna", both, "1" * 32), Speaker("B", "Bea")


def in_words(ratio: str, log10: str) -> dict[str, str]:
    meaning = f"LR {ratio} (log10 {log10}): {ratio} times more probable if one person than if two"
    return {"text": f"LR {ratio}", "meaning": meaning}


def compared(recording: ReviewedRecording) -> dict[str, Any]:
    """`speakers.json` when the voices are compared."""
    end = time.monotonic() + 60
    while (described := recording.speakers())["pending"]:
        assert time.monotonic() < end
        time.sleep(0.02)
    return described


def speakers_of(served: Served) -> dict[str, Any]:
    speakers: dict[str, Any] = served.get("/r/meeting/speakers.json").json()["speakers"]
    return speakers


def test_blind_hides_names_and_scores_until_a_person_has_decided(tmp_path: Path) -> None:
    plain = replace(transcript(), speakers=with_candidates())
    folder = write_results(tmp_path / "out" / "meeting", None, plain)
    with serving(folder) as served:
        assert served.state()["machine"]["speakers"][0]["name"] == "Anna"
        assert speakers_of(served)["A"]["candidates"] == [
            {"id": "1" * 32, "name": "Anna", "score": 0.8, "llr": 5.5, "runner_up": 4.25, **in_words("245", "2.39")},
            {"id": "2" * 32, "name": "Max", "score": 0.5, "llr": 1.25, "runner_up": None, **in_words("3.49", "0.54")},
        ]
        assert speakers_of(served)["A"]["seconds"] == 6000
    with serving(folder, "--blind") as served:
        texts = [served.get(f"/r/meeting/{address}").text for address in ("", "state.json", "speakers.json")]
        assert not any(name in text for text in texts for name in ("Anna", "Bea", "Max"))
        assert served.state()["blind"] and served.state()["formats"] == []
        assert served.get("/r/meeting/export/json").status_code == 404
        served.send(0, {**NAME, "name": "Maria"})
        assert [len(each["candidates"]) for each in speakers_of(served).values()] == [2, 0]


def test_fault_67_a_recording_that_is_processed_again_makes_the_page_reload(tmp_path: Path) -> None:
    folder = write_results(tmp_path / "out" / "meeting", None)
    with serving(folder) as served:
        version = served.state()["recording"]["version"]
        assert served.send(0, NAME, version=version).status_code == 200
        with served.client.stream("GET", "/r/meeting/events?after=1") as events:
            lines = events.iter_lines()
            assert next(lines).startswith(":")
            write_results(folder, None, replace(transcript(), language="de"))
            assert next(line for line in lines if line.startswith("event")) == "event: reload"
        with served.client.stream("GET", f"/r/meeting/events?after=1&version={version}") as events:
            assert next(line for line in events.iter_lines() if line.startswith("event")) == "event: reload"
        stale = served.send(1, {**NAME, "name": "Eva"}, version=version)
        assert stale.status_code == 409 and stale.json() == {"entries": [], "reload": True}
        assert served.send(1, {**NAME, "name": "Eva"}).status_code == 200


def test_verify_counts_the_corrections_of_people(tmp_path: Path) -> None:
    folder = write_results(tmp_path / "out" / "meeting", write_recording(tmp_path / "meeting.wav"))
    assert "by people" not in run("verify", str(folder.parent)).stdout
    run("edit", str(folder), "--name", "A=Anna", "--word", "2.5=too", "--author", "anna")
    done = run("verify", str(folder.parent))
    assert "2 corrections by people in 1 recording" in done.stdout
    assert [each for each in integrity.check(folder.parent).differences if each.where != "run.json"] == []
    assert json.loads(run("verify", str(folder.parent), "--json").stdout)["corrections"] == 2
    Corrections(folder).append({**NAME, "name": "Eva"}, "max")  # the process dies before it writes the exports
    with serving(folder):
        pass
    assert "Eva:" in (folder / "transcript.txt").read_text()


def test_voices_are_compared_enrolled_and_follow_corrections(tmp_path: Path, empty: Store) -> None:
    """A and C are one voice, B is another; after the enrolment of A, A and C have a candidate."""
    path = sing(tmp_path / "meeting.wav", (ANNA, 6), (BEN, 6), (ANNA, 6))
    turns = (Turn(0.5, 6.5, "A"), Turn(7.0, 13.0, "B"), Turn(13.5, 19.5, "C"))
    plain = replace(transcript(), speakers=tuple(map(Speaker, "ABC")), turns=turns, words=())
    folder = write_results(tmp_path / "out" / "meeting", path, plain)
    people = tmp_path / "people.db"
    libraries.open(people, create=True).close()
    voices = SpeakerVoices(CONFIG, empty, lambda: libraries.open(people))
    request = ReviewRequest(
        folder, Viewing("anna", library=True), voices=voices, library=lambda: libraries.open(people)
    )
    run = ReviewedRun(request, tmp_path)
    recording = run.recording("meeting")

    described = compared(recording)
    assert described["problem"] == ""
    assert {each["clearest"][0]["start"] for each in described["speakers"].values()} == {500, 7000, 13_500}
    assert [(pair["a"], pair["b"]) for pair in described["pairs"]][:1] == [("A", "C")]
    assert described["pairs"][0]["score"] > described["pairs"][1]["score"] + 0.3

    for refused in (("A", "Anna", " "), ("A", "", "agreed"), ("Z", "Anna", "agreed")):
        with pytest.raises(Answer) as failure:
            recording.enrol(*refused)
        assert failure.value.status == 422 and failure.value.content["problem"]
    assert recording.enrol("A", "Anna", "agreed on 1 May")["message"].startswith("Anna is enrolled: ")
    with libraries.open(people) as library:
        assert [(person.name, person.consent) for person in library.people()] == [("Anna", "agreed on 1 May")]
    candidates = {id: each["candidates"] for id, each in compared(recording)["speakers"].items()}
    assert {id: rows[0]["name"] for id, rows in candidates.items()} == {"A": "Anna", "B": "Anna", "C": "Anna"}
    assert candidates["C"][0]["score"] > candidates["B"][0]["score"] + 0.3

    recording.append(0, [{"op": "merge_speakers", "from": "C", "into": "A"}], None)
    assert [(pair["a"], pair["b"]) for pair in compared(recording)["pairs"]] in ([("A", "B")], [("B", "A")])
    run.close()


def test_candidates_follow_the_library_and_problems_pass(
    tmp_path: Path, empty: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person is enrolled from another recording, renamed and removed elsewhere; the library is away for a moment."""
    monkeypatch.setattr(voices_module, "AGAIN", 0.0)
    turns = (Turn(0.5, 6.5, "A"), Turn(7.0, 13.0, "B"))
    plain = replace(transcript(), speakers=tuple(map(Speaker, "AB")), turns=turns, words=())
    for name in ("first", "second"):
        write_results(tmp_path / "out" / name, sing(tmp_path / f"{name}.wav", (ANNA, 6), (BEN, 6)), plain)
    people, away = tmp_path / "people.db", tmp_path / "away.db"
    libraries.open(people, create=True).close()
    voices = SpeakerVoices(CONFIG, empty, lambda: libraries.open(people))
    viewing = Viewing("anna", library=True)
    run = ReviewedRun(
        ReviewRequest(tmp_path / "out", viewing, voices=voices, library=lambda: libraries.open(people)), tmp_path
    )
    first, second = run.recording("first"), run.recording("second")

    def candidates() -> list[str]:
        described = compared(first)
        assert described["problem"] == ""
        return [one["name"] for one in described["speakers"]["A"]["candidates"]]

    assert candidates() == []
    person = second.enrol("A", "Anna", "agreed")["id"]
    assert candidates() == ["Anna"]
    with libraries.open(people) as library:
        library.rename(person, "Anna Berg")
    assert candidates() == ["Anna Berg"]

    people.rename(away)
    first.append(0, [{"op": "name_speaker", "speaker": "B", "name": "Ben"}], None)
    described = compared(first)
    assert "people.db" in described["problem"] and described["speakers"]["A"]["candidates"] == []
    away.rename(people)
    assert candidates() == ["Anna Berg"]

    with libraries.open(people) as library:
        library.remove(person)
    assert candidates() == []
    run.close()


def test_a_model_that_was_missing_is_used_when_it_is_there(
    tmp_path: Path, empty: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = sing(tmp_path / "meeting.wav", (ANNA, 6), (BEN, 6))
    turns = (Turn(0.5, 6.5, "A"), Turn(7.0, 13.0, "B"))
    plain = replace(transcript(), speakers=tuple(map(Speaker, "AB")), turns=turns, words=())
    voices = SpeakerVoices(CONFIG, empty)
    folder = write_results(tmp_path / "out" / "meeting", path, plain)
    run = ReviewedRun(ReviewRequest(folder, Viewing("anna"), voices=voices), tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(voices_module, "load_embedder", missing_model)
        assert "a folder that is empty yet" in compared(run.recording("meeting"))["problem"]
    described = compared(run.recording("meeting"))
    assert described["problem"] == "" and len(described["pairs"]) == 1
    run.close()


def missing_model(config: Config, store: Store) -> Any:
    raise ModelMissing("embedder", "a folder that is empty yet")


def test_without_models_candidates_are_those_of_the_run(tmp_path: Path, empty: Store) -> None:
    path = write_recording(tmp_path / "meeting.wav")
    folder = write_results(tmp_path / "out" / "meeting", path, replace(transcript(), speakers=with_candidates()))
    voices = SpeakerVoices(Config.model_validate({"run": {"offline": True}}), empty)
    run = ReviewedRun(ReviewRequest(folder, Viewing("anna"), voices=voices), tmp_path)
    described = compared(run.recording("meeting"))
    assert len(described["speakers"]["A"]["candidates"]) == 2 and described["pairs"] == []
    assert "models pull" in described["problem"]
    with pytest.raises(Answer) as failure:
        run.recording("meeting").enrol("A", "Anna", "agreed")
    assert failure.value.status == 404 and "--library" in failure.value.content["problem"]
    run.close()
