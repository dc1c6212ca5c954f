"""A transcript written by an enemy: nothing of it becomes markup, script, style or an address, on both pages."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from diarize.types import Speaker, Transcript, Turn, Word
from tests.browser.conftest import ROOT, new_tab
from tests.browser.pages import press, rows, saved, until, write
from tests.pipelines.review.serving import serving, write_recording, write_results

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ATTACKS = (
    "<script>window.pwned=1</script>",
    "<img src=x onerror=window.pwned=1>",
    "--> <!--",
    "</script><script>window.pwned=1</script>",
    "\u202egnp.exe",
    "javascript:window.pwned=1",
    "__proto__",
    "constructor",
    "&lt;b&gt;",
    "x" * 10_000,
    "\ud800",
    "' onmouseover=window.pwned=1 '",
    "]]>",
    "\u0000\u001b[31m",
    "שלום",
    "{{7*7}}",
)


def hostile() -> Transcript:
    """1,000 speakers, of whom some are called badly and one by an id that is bad; words likewise."""
    ids = ["</script><b>", *(f"SPEAKER_{i:04d}" for i in range(1, 1000))]
    speakers = tuple(Speaker(id, ATTACKS[i] if i < len(ATTACKS) else None) for i, id in enumerate(ids))
    turns = tuple(Turn(i * 0.02, i * 0.02 + 0.02, id, 0.5) for i, id in enumerate(ids))
    words = tuple(
        Word(i * 0.02, i * 0.02 + 0.02, ATTACKS[i % len(ATTACKS)] if i < 100 else "word", 0.3, id)
        for i, id in enumerate(ids)
    )
    return Transcript("meeting", 20.0, "en", speakers, turns, words)


def check_inert(page: Page) -> None:
    assert page.evaluate("window.pwned") is None
    assert (
        page.evaluate(
            "document.querySelectorAll('#app :is(script, img, style, iframe, object, b b, [onerror])').length"
        )
        == 0
    )
    assert page.evaluate("({}).polluted") is None
    texts = dict.fromkeys(text for _, text in rows(page))
    assert "<script>window.pwned=1</script>" in texts
    assert "x" * 10_000 in texts


def test_a_hostile_transcript_on_the_server(context: BrowserContext, tmp_path: Path) -> None:
    folder = write_results(tmp_path / "out" / "meeting", write_recording(tmp_path / "meeting.wav"), hostile())
    with serving(folder) as server:
        tab = new_tab(context)
        page = tab.open(f"{server.base}/?token={server.token}")
        check_inert(page)
        press(page, "r")
        write(page, "<b onclick=window.pwned=1>")
        press(page, "Enter")
        saved(page, folder, 1)
        for dialog in ("?", "h"):
            press(page, dialog)
            page.wait_for_selector("dialog")
            press(page, "Escape")
            page.wait_for_selector("dialog", state="detached")
        press(page, "/")
        write(page, "SPEAKER_0900")
        press(page, "Enter")
        saved(page, folder, 2)
        assert rows(page)[0][0] == "SPEAKER_0900"
        press(page, "Control+f")
        write(page, "<img")
        page.wait_for_selector(".found")
        check_inert(page)
        assert tab.errors == []


def report(folder: Path, *arguments: str) -> Path:
    """The single file that `diarize report` writes."""
    path = folder.parent / "page.html"
    command = [sys.executable, "run_pipeline.py", "report", str(folder), *arguments, "--out", str(path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=300)
    return path


def test_a_hostile_transcript_in_a_single_file(context: BrowserContext, tmp_path: Path) -> None:
    folder = write_results(tmp_path / "out" / "meeting", write_recording(tmp_path / "meeting.wav"), hostile())
    tab = new_tab(context)
    check_inert(tab.open(report(folder).as_uri()))
    assert tab.errors == []


def test_a_single_file_plays_and_its_corrections_can_be_applied(
    context: BrowserContext, results: Path, tmp_path: Path
) -> None:
    """From file://: the sound, a name, a word, a note; what was taken back is not among the corrections."""
    path = report(results)
    tab = new_tab(context)
    page = tab.open(path.as_uri())
    page.click(".word >> nth=4")
    until(page, "!document.querySelector('audio').paused && document.querySelector('audio').currentTime > 1")
    press(page, "Space", "r")
    write(page, "Anna")
    press(page, "Enter", "3", "Control+z", "Enter")
    write(page, "thanked")
    press(page, "Enter", "Shift+N")
    write(page, "whose voice?")
    press(page, "Enter")
    page.wait_for_selector('[data-state="local"][data-number="5"]')
    with page.expect_download() as download:
        page.click("text=Download corrections")
    file = tmp_path / "corrections.jsonl"
    download.value.save_as(file)
    assert len(file.read_text("utf-8").splitlines()) == 3
    command = [sys.executable, "run_pipeline.py", "edit", str(results), "--apply", str(file)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=300)
    text = (results / "transcript.txt").read_text("utf-8")
    assert "Anna: Good morning everyone, and thanked" in text
    assert tab.errors == []
