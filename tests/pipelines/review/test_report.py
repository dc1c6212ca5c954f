"""`diarize report`: one file, with all that the page needs, and nothing that a transcript could run."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from diarize.types import Speaker, Transcript
from pipelines.processes import decoding
from pipelines.results.corrections import Corrections
from pipelines.review import report
from tests.corrections.test_operations import transcript
from tests.pipelines.review.serving import write_recording, write_results
from tests.pipelines.review.test_edit import run

HOSTILE = "</script><script>alert(1)</script><!-- \u202e --> \ud800 & \"'"


@pytest.fixture(autouse=True)
def assets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that is not there yet would hide what is tested; this one has what an inline script must not have."""
    folder = tmp_path / "page"
    folder.mkdir()
    (folder / "review.js").write_text('const end = "</script><!--"; document.title = end;')
    (folder / "review.css").write_text("p::after { content: '</style>'; }")
    monkeypatch.setattr(report, "ASSETS", folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_results(tmp_path / "out" / "meeting", write_recording(tmp_path / "meeting.wav"))


def state_of(path: Path) -> dict[str, Any]:
    match = re.search(r'<script type="application/json" id="state">(.*?)</script>', path.read_text(), re.DOTALL)
    assert match is not None
    state: dict[str, Any] = json.loads(match[1])
    return state


def test_everything_is_in_the_file(folder: Path, tmp_path: Path) -> None:
    Corrections(folder).append({"op": "name_speaker", "speaker": "A", "name": "Anna"}, "anna")
    out = tmp_path / "one.html"
    done = run("report", str(folder), "--out", str(out), "--cache", "none")
    assert done.status == 0 and "MB of it sound" in done.stdout, done.stderr
    state = state_of(out)
    assert state["readonly"] and state["entries"][0]["operation"]["name"] == "Anna" and state["formats"] == []
    assert len(base64.b64decode(state["peaks"]["data"])) == 20 * 100 * 2 and state["peaks"]["rate"] == 100
    assert state["speakers"]["speakers"]["A"]["clearest"]
    kind, _, content = state["audio"]["url"].partition(";base64,")
    assert kind == "data:audio/ogg" == f"data:{state['audio']['type']}"
    opus = tmp_path / "sound.opus"
    opus.write_bytes(base64.b64decode(content))
    decoded = decoding.read(opus, id="sound").audios[0]
    assert abs(decoded.duration - 20) < 0.1
    assert (
        abs(float(abs(decoded.samples[16_000 * 5 + 12_000 :][:2000]).max()) - 0.4) < 0.1
    )  # level 0.75 to 0.875 of 0.5
    assert "<noscript>" in out.read_text() and "Anna:" in re.sub("<[^>]*>", "", out.read_text())


def test_the_same_results_give_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    for name in ("one.html", "two.html"):
        assert run("report", str(folder), "--out", str(tmp_path / name), "--cache", "none").status == 0
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()


def test_the_policy_allows_the_scripts_of_the_page_and_no_others(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "one.html"
    report.write(folder, out, "none", "")
    text = out.read_text()
    match = re.search(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', text)
    assert match is not None
    policy = html.unescape(match[1])
    assert policy.startswith("default-src 'none'; script-src 'sha256-") and "unsafe" not in policy
    for tag, source in (('<script type="module">', "script"), ("<style>", "style")):
        (content,) = re.findall(f"{tag}(.*?)</{source}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{source}-src 'sha256-{digest}'" in policy
    assert text.count("<script") == 2 and text.count("</script>") == 2 and "<!--" not in text


def test_fault_41_a_hostile_transcript_stays_text(tmp_path: Path) -> None:
    plain = transcript()
    names = tuple(replace(speaker, name=HOSTILE + speaker.id) for speaker in plain.speakers)
    words = tuple(replace(word, text=HOSTILE) for word in plain.words)
    hostile = Transcript("meeting", plain.duration, '"><script>', names, plain.turns, words)
    folder = write_results(tmp_path / "out" / "meeting", None, hostile)
    out = tmp_path / "one.html"
    written = report.write(folder, out, "embed", HOSTILE)
    assert "not found" in written.notes[0]
    text = out.read_text(encoding="utf-8")
    assert text.count("<script") == 2 and text.count("</script>") == 2 and "<!--" not in text
    state = state_of(out)
    assert state["machine"]["words"][0][3] == HOSTILE and state["author"] == HOSTILE and state["audio"] is None
    assert "\u202e" not in text.partition("<script")[0]


def test_linked_sound_is_played_where_it_is(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "reports" / "one page.html"
    out.parent.mkdir()
    written = report.write(folder, out, "link", "")
    assert state_of(out)["audio"] == {"url": "../meeting.wav", "type": "audio/wav"}
    assert written.linked == tmp_path / "meeting.wav" and "media-src data: blob: file:" in html.unescape(
        out.read_text()
    )


def test_a_recording_that_browsers_cannot_play_is_linked_as_opus(tmp_path: Path) -> None:
    odd = write_recording(tmp_path / "meeting.aiff")
    folder = write_results(tmp_path / "out" / "meeting", odd)
    out = tmp_path / "one.html"
    written = report.write(folder, out, "link", "")
    assert written.linked == tmp_path / "one.opus" and written.linked.read_bytes()[:4] == b"OggS"
    assert state_of(out)["audio"] == {"url": "one.opus", "type": "audio/ogg"}


def test_fault_68_another_file_in_place_of_the_recording_is_refused(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "meeting.wav"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    failed = run("report", str(folder), "--out", str(tmp_path / "one.html"), "--cache", "none")
    assert failed.status == 4 and "not the recording of this transcript" in failed.stderr
    assert not (tmp_path / "one.html").exists()


def test_fault_68_a_moved_recording_is_found_by_its_digest(folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "elsewhere" / "deep"
    place.mkdir(parents=True)
    (tmp_path / "meeting.wav").rename(place / "other name.wav")
    out = tmp_path / "one.html"
    assert report.write(folder, out, "embed", "").sound == 0
    assert report.write(folder, out, "embed", "", (tmp_path / "elsewhere",)).sound > 1000


def test_many_speakers_with_long_names(tmp_path: Path) -> None:
    plain = transcript()
    speakers = (*plain.speakers, *(Speaker(f"S{i}", "n" * 10_000) for i in range(1000)))
    turns = tuple(replace(plain.turns[0], start=i * 0.01, end=i * 0.01 + 0.01, speaker=f"S{i}") for i in range(1000))
    folder = write_results(tmp_path / "out" / "meeting", None, Transcript("meeting", 20.0, None, speakers, turns, ()))
    out = tmp_path / "one.html"
    report.write(folder, out, "none", "")
    assert len(state_of(out)["machine"]["speakers"]) == 1002
