"""Which of what a user gives goes to which recording, and what is refused before any work."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from diarize.config import ClusterConfig, Config, parse
from diarize.errors import ConfigError
from diarize.types import Segment
from pipelines.inputs.annotations import attach
from pipelines.inputs.jobs import Job
from pipelines.inputs.recordings import Input, RecordingMatcher, assign_ids, names_of

INPUTS = assign_ids([Input(Path(name), name) for name in ("a/x.wav", "b/x.wav", "y.wav")])


def jobs(*found: Input, cluster: ClusterConfig | None = None) -> list[Job]:
    return [Job(item, cluster or ClusterConfig()) for item in found or INPUTS]


def speech(path: Path, *found: Input) -> list[tuple[Segment, ...] | None]:
    done = attach(jobs(*found), None, path, (), Config())
    return [None if job.speech is None else job.speech.speech for job in done]


def known(found: list[Job], *paths: Path) -> list[Job]:
    return attach(found, None, None, paths, Config())


def rttm(recording: str, *turns: tuple[float, float, str]) -> str:
    return "".join(f"SPEAKER {recording} 1 {a} {b - a} <NA> <NA> {who} <NA> <NA>\n" for a, b, who in turns)


def file(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_recording_is_called_by_its_id_its_path_or_its_file_name() -> None:
    assert names_of(INPUTS[0]) == ("a--x", "a/x.wav", "a/x", "x.wav", "x")
    names = RecordingMatcher(INPUTS)
    assert [names.match(name) for name in ("a--x", "b/x", "x", "y.wav", "z")] == [(0,), (1,), (0, 1), (2,), ()]


def test_the_surest_name_counts() -> None:
    names = RecordingMatcher(
        assign_ids([Input(Path(name), name) for name in ("day/talk.wav", "talk.wav", "No\u0308.wav", ".")])
    )
    assert names.match("talk") == (1,)
    assert names.match("N\u00f6") == (2,)


def test_speech_of_several_recordings_stands_in_one_file(tmp_path: Path) -> None:
    text = rttm("a--x", (3, 5, "anna"), (1, 4, "bob")) + rttm("b/x", (0, 1, "anna")) + rttm("else", (0, 9, "anna"))
    path = file(tmp_path, "all.rttm", text + rttm("y", (7, 8, "bob"), (1, 2, "bob")))
    assert speech(path) == [(Segment(1, 5),), (Segment(0, 1),), (Segment(1, 2), Segment(7, 8))]
    job = attach(jobs(), None, path, (), Config())[0]
    assert job.annotation_digests()["speech"].startswith(f"file:{hashlib.sha256(path.read_bytes()).hexdigest()} ")


def test_a_file_of_one_recording_serves_the_one_there_is(tmp_path: Path) -> None:
    path = file(tmp_path, "speech.uem", "whatever 1 0.5 2\nwhatever 1 1 3\n")
    assert speech(path, INPUTS[2]) == [(Segment(0.5, 3),)]
    assert speech(file(tmp_path, "none.uem", ""), INPUTS[2]) == [()]


def test_a_folder_holds_a_file_for_each_recording(tmp_path: Path) -> None:
    file(tmp_path, "a--x.rttm", rttm("anything", (1, 2, "anna")))
    file(tmp_path, "b--x.uem", "b--x 1 3 4\nother 1 5 6\n")
    file(tmp_path, "y.rttm", "")
    file(tmp_path, "y.txt", "not speech")
    assert speech(tmp_path) == [(Segment(1, 2),), (Segment(3, 4),), ()]


def test_our_own_transcript_gives_speech(tmp_path: Path) -> None:
    golden = Path(__file__).resolve().parents[2] / "data" / "staff-meeting.json"
    path = file(tmp_path, "y.json", golden.read_text(encoding="utf-8"))
    (found,) = speech(path, INPUTS[2])
    assert found is not None
    assert found[0].start < found[0].end


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("all.rttm", rttm("y", (0, 1, "anna")), "has nothing on a/x.wav"),
        ("all.rttm", rttm("x", (0, 1, "anna")), "several recordings have this name"),
        ("all.rttm", rttm("y", (0, 1, "anna")) + rttm("y.wav", (0, 1, "anna")), "it is of y.wav, and so is 'y'"),
        ("all.rttm", "SPEAKER y\n", r"all\.rttm:1: not a SPEAKER line"),
        ("all.uem", "y 1 3 2\n", r"all\.uem:1"),
        ("all.json", "{}", "not a transcript"),
        ("all.lab", "0 1 speech", "not one of the files that are read here"),
    ],
)
def test_speech_that_cannot_be_used_is_refused(tmp_path: Path, name: str, text: str, what: str) -> None:
    with pytest.raises(ConfigError, match=what) as caught:
        speech(file(tmp_path, name, text))
    assert "--speech" in str(caught.value)


def test_a_folder_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    file(tmp_path, "y.uem", "a 1 0 1\nb 1 0 1\n")
    with pytest.raises(ConfigError, match=r"has no recordings with a name of y\.wav"):
        speech(tmp_path, INPUTS[2])
    with pytest.raises(ConfigError, match=r"no file for a/x\.wav. .*a--x\.rttm"):
        speech(tmp_path, INPUTS[0])
    file(tmp_path, "y.rttm", "")
    with pytest.raises(ConfigError, match=r"2 files for y\.wav"):
        speech(tmp_path, INPUTS[2])
    with pytest.raises(ConfigError, match="no such file or folder"):
        speech(tmp_path / "nowhere", INPUTS[2])
    path = tmp_path / "bytes.rttm"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not UTF-8 text"):
        speech(path, INPUTS[2])


def test_known_turns_and_links_come_together(tmp_path: Path) -> None:
    turns = file(tmp_path, "known.rttm", rttm("y", (0, 2, "anna"), (10, 12, "bob")))
    links = file(
        tmp_path,
        "links.csv",
        "recording,link,start_1,end_1,start_2,end_2\ny.wav,must,0,2,20,22\na/x,cannot,1,2,5,6\n",
    )
    found = known(jobs(), turns, links)
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (turns, links)]
    assert found[1].known is None
    assert found[0].known is not None
    assert found[0].known.cannot_link == {(0, 1)}
    assert found[2].known is not None
    assert found[2].known.by_person() == ((Segment(0, 2), Segment(20, 22)), (Segment(10, 12),))
    assert found[2].annotation_digests()["known"].startswith("+".join(f"file:{digest}" for digest in digests) + " ")


HEADER = "recording,link,start_1,end_1,start_2,end_2\n"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("recording,link\n", r"links\.csv:1: the columns are"),
        (HEADER + "y,may,0,1,2,3\n", r"links\.csv:2: a link is must or cannot, not 'may'"),
        (HEADER + "y,must,0,1,2\n", r"links\.csv:2: needs 6 cells"),
        (HEADER + "y,must,0,1,2,x\n", r"links\.csv:2: 'x' is not a time"),
        (HEADER + "y,must,0,1,3,2\n", r"links\.csv:2"),
        (HEADER + 'y,must,0,1,3,"4\n', "unexpected end of data"),
        (HEADER + "z,must,0,1,2,3\ny,must,0,1,2,3\n", "no such recording among the inputs"),
        (HEADER + "y,must,0,1,2,3\ny,cannot,2,3,0,1\n", r"links\.csv:3 says .* two people.*links\.csv:2"),
    ],
)
def test_links_that_are_wrong_are_refused_with_their_place(tmp_path: Path, text: str, what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        known(jobs(), file(tmp_path, "links.csv", text))


def test_fault_33_more_people_than_speakers_asked_for_is_refused_before_any_work(tmp_path: Path) -> None:
    path = file(tmp_path, "known.rttm", rttm("y", (0, 2, "anna"), (10, 12, "bob"), (20, 22, "carl")))
    with pytest.raises(ConfigError, match="known than the 2 speakers allowed"):
        known(jobs(INPUTS[2], cluster=ClusterConfig(num_speakers=2)), path)
    assert known(jobs(INPUTS[2], cluster=ClusterConfig(num_speakers=3)), path)[0].known is not None


@pytest.mark.parametrize("settings", [{"audio": {"channel": "per-channel"}}, {"diarizer": "tests.cheap:diarizer"}])
def test_what_finds_its_own_takes_neither_speech_nor_turns(tmp_path: Path, settings: dict[str, object]) -> None:
    path = file(tmp_path, "y.rttm", rttm("y", (0, 2, "anna")))
    with pytest.raises(ConfigError, match=r"--speech.*cannot be used together"):
        attach(jobs(INPUTS[2]), None, path, (), parse(settings, "test"))
    with pytest.raises(ConfigError, match=r"--known-turns.*cannot be used together"):
        attach(jobs(INPUTS[2]), None, None, (path,), parse(settings, "test"))


def test_marked_is_cut_at_the_end_of_the_recording_and_that_is_said(tmp_path: Path) -> None:
    path = file(tmp_path, "y.uem", "y 1 1 2\ny 1 9 12\ny 1 20 21\n")
    marked = attach(jobs(INPUTS[2]), None, path, (), Config())[0].speech
    assert marked is not None
    assert marked.within(10).speech == (Segment(1, 2), Segment(9, 10))
    assert marked.within(10).notes == ("speech: 3.000 s are beyond the end of the recording and were cut off",)
    assert marked.within(30).notes == ()


MISNAMED = "the file names the recording 'other'; it was used, but may be of another recording"


@pytest.mark.parametrize("in_folder", [False, True])
def test_a_file_that_calls_its_recording_something_else_is_heeded_and_that_is_said(
    tmp_path: Path, in_folder: bool
) -> None:
    (tmp_path / "speech").mkdir()
    (tmp_path / "known").mkdir()
    where = file(tmp_path / "speech", "y.uem", "other 1 1 2\n")
    turns = file(tmp_path / "known", "y.rttm", rttm("other", (0, 2, "anna")))
    if in_folder:
        where, turns = where.parent, turns.parent
    (job,) = attach(jobs(INPUTS[2]), None, where, (turns,), Config())
    assert job.speech is not None
    assert job.known is not None
    assert job.speech.within(10).notes == (f"speech: {MISNAMED}",)
    assert job.speech.within(1.5).notes[0] == f"speech: {MISNAMED}"
    assert job.known.notes == (f"known turns: {MISNAMED}",)


def test_links_of_one_other_recording_are_said_too_and_decide_the_result(tmp_path: Path) -> None:
    links = file(tmp_path, "links.csv", "recording,link,start_1,end_1,start_2,end_2\nother,must,0,2,20,22\n")
    (found,) = known(jobs(INPUTS[2]), links)
    assert found.known is not None
    assert found.known.notes == (f"known turns: {MISNAMED}",)
    (own,) = known(jobs(replace(INPUTS[2], id="other")), links)
    assert own.known is not None
    assert own.known.notes == ()
    assert own.annotation_digests() != found.annotation_digests()  # a note is part of a result


@pytest.mark.parametrize(
    ("settings", "options", "what"),
    [
        ({}, {}, "--speakers-from: transcript: there are no words with speakers. Name their file: --transcript FILE"),
        ({}, {"words": "none.srt"}, "its words have no speakers. Leave out --speakers-from transcript"),
        ({"audio": {"channel": "per-channel"}}, {"words": "a.srt"}, "per-channel: each channel is one speaker"),
        ({"diarizer": "own:x"}, {"words": "a.srt"}, "cannot be used with --diarizer"),
        ({}, {"words": "a.srt", "speech": "a.rttm"}, "cannot be used with --speech and --known-turns"),
        ({"label": {"speakers_from": "transcript", "names_in_text": False}}, {"words": "a.srt"}, "have no speakers"),
        ({"label": {"speakers_from": "compare"}}, {}, "--speakers-from: compare: there are no words"),
    ],
)
def test_speakers_of_words_that_cannot_be_taken_are_refused_before_any_work(
    tmp_path: Path, settings: dict[str, object], options: dict[str, str], what: str
) -> None:
    cue = "1\n00:00:01,000 --> 00:00:02,000\n"
    file(tmp_path, "a.srt", f"{cue}Anna: hello\n")
    file(tmp_path, "none.srt", f"{cue}hello\n")
    file(tmp_path, "a.rttm", rttm("a", (0, 1, "A")))
    config = parse({"label": {"speakers_from": "transcript"}} | settings, "test")
    paths = {name: tmp_path / path for name, path in options.items()}
    with pytest.raises(ConfigError) as caught:
        attach(jobs(Input(Path("a.wav"), "a.wav", "a")), paths.get("words"), paths.get("speech"), (), config)
    assert what in str(caught.value)


def test_speakers_of_words_are_taken_where_they_are(tmp_path: Path) -> None:
    path = file(tmp_path, "a.srt", "1\n00:00:01,000 --> 00:00:02,000\nAnna: hello\n")
    config = parse({"label": {"speakers_from": "transcript"}}, "test")
    (job,) = attach(jobs(Input(Path("a.wav"), "a.wav", "a")), path, None, (), config)
    assert job.words == path


@pytest.mark.parametrize("content", ['{"segments": [', "no subtitles", b"\xff\xfb\x90"])
def test_one_file_of_words_that_cannot_be_read_is_refused_before_any_work(tmp_path: Path, content: str | bytes) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(ConfigError, match=r"--transcript: .*a\.json"):
        attach(jobs(Input(Path("a.wav"), "a.wav", "a")), path, None, (), parse({}, "test"))
    (job,) = attach(jobs(Input(Path("a.wav"), "a.wav", "a")), tmp_path, None, (), parse({}, "test"))
    assert job.words == path  # in a folder it costs its own recording only
