"""The app in a real browser: a recording from the microphone, the examples, no request to anybody else."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from diarize.audio import reading
from pipelines.app.answers import EXAMPLES
from tests import media
from tests.cheap import write_tones

pytest.importorskip("gradio", reason="Gradio is not installed: pip install 'diarize-pipeline[app]'")
api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium: apt-get install chromium")
WAIT = 120_000  # ms
PATIENCE = 5_000  # ms, before a button is pressed again
SETTINGS = """
[vad]
backend = "energy"
[embedder]
backend = "tests.cheap:embedder"
[asr]
backend = "none"
"""


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "own.toml").write_text(SETTINGS)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--no-browser", "--threshold", "0.7", "--library", str(tmp_path / "people.db"), "--port", str(port)]
    command = [sys.executable, "run_pipeline.py", "app", "--config", str(tmp_path / "own.toml"), *options]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Any]:
    """A page whose microphone hears a recording."""
    voice = reading.read(EXAMPLES / "nora-2.ogg", id="voice").audios[0]
    sound = media.wav(tmp_path / "microphone.wav", media.pcm16(0.3 * voice.samples.astype(float)), voice.rate)
    arguments = [
        "--no-sandbox",
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-audio-capture={sound}",
    ]
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(WAIT)
        yield page
        browser.close()


def press_until(button: Any, field: Any, pattern: str) -> None:
    """Press a button until a field has the answer: a recording reaches the page a moment after it was stopped."""
    for _ in range(WAIT // PATIENCE):
        button.click()
        try:
            api.expect(field).to_have_value(re.compile(pattern), timeout=PATIENCE)
            return
        except AssertionError:
            if not field.input_value().startswith("Error: "):  # the answer is still being computed
                break
    api.expect(field).to_have_value(re.compile(pattern), timeout=WAIT)


def test_the_app_in_a_browser(address: str, page: Any, tmp_path: Path) -> None:
    hosts: set[str] = set()
    page.on("request", lambda request: hosts.add(request.url.split("/")[2]) if "://" in request.url else None)
    page.goto(address)

    # Nothing was recorded: a sentence, and no exception.
    page.get_by_role("button", name="Compare", exact=True).click()
    answer = page.get_by_label("Answer")
    api.expect(answer).to_have_value("Error: record or choose both recordings, A and B.", timeout=WAIT)

    # The examples: one person twice.
    page.get_by_text("nora-2.ogg").first.click()
    api.expect(page.locator("audio, .waveform-container, [data-testid=waveform-x]").first).to_be_attached(timeout=WAIT)
    press_until(page.get_by_role("button", name="Compare", exact=True), answer, r"% similar")

    # Somebody is enrolled from the microphone, with consent.
    page.get_by_role("tab", name="Enrol and identify").click()
    page.get_by_label("Name", exact=True).fill("Anna <b>")
    page.get_by_label("Consent").fill("this test")
    page.get_by_role("button", name="Record", exact=True).first.click()
    page.wait_for_timeout(4000)
    page.get_by_role("button", name="Stop", exact=True).first.click()
    enrol = page.get_by_role("button", name="Enrol", exact=True)
    press_until(enrol, page.get_by_label("Result"), r"Anna <b> is enrolled with")

    # One recording: the transcript, and the review page in a frame.
    page.get_by_role("tab", name="Who said what, when").click()
    meeting = write_tones(tmp_path / "meeting.wav", [(160, 4.0), (2200, 4.0)])
    page.locator("input[type=file]").last.set_input_files(str(meeting))
    process = page.get_by_role("button", name="Process", exact=True)
    press_until(process, page.get_by_label("Transcript", exact=True), "SPEAKER_01")
    frame = page.frame_locator("iframe")
    api.expect(frame.get_by_role("article").first).to_be_visible(timeout=WAIT)

    assert hosts == {address.split("/")[2]}
