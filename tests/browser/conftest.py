"""Debian's Chromium, driven by Playwright, and the review server with a real recording."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from diarize.types import Speaker, Transcript, Turn, Word
from tests.pipelines.review.serving import Served, serving, write_results

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

ROOT = Path(__file__).resolve().parents[2]
RECORDING = ROOT / "examples" / "conversation.flac"
PATIENCE = 60_000  # ms, for anything that a page is expected to do: the machine may be busy


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("Chromium is not installed: apt-get install chromium fonts-dejavu")
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    with playwright.sync_playwright() as driver:
        options = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
        browser = driver.chromium.launch(executable_path=path, args=options)
        yield browser
        browser.close()


@dataclass
class Tab:
    """A page of the browser, and what it complained about."""

    page: Page
    errors: list[str] = field(default_factory=list)

    def complain(self, kind: str, text: str) -> None:
        if kind == "error" and not text.endswith("/favicon.ico"):  # which browsers ask for, and nobody has
            self.errors.append(text)

    def open(self, address: str, selector: str = ".row") -> Page:
        self.page.goto(address)
        self.page.wait_for_selector(selector)
        return self.page


def new_tab(context: BrowserContext) -> Tab:
    tab = Tab(context.new_page())
    tab.page.set_default_timeout(PATIENCE)
    tab.page.on("pageerror", lambda error: tab.errors.append(str(error)))
    tab.page.on("console", lambda message: tab.complain(message.type, f"{message.text} {message.location['url']}"))
    return tab


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    context = chromium.new_context(viewport={"width": 1280, "height": 800}, accept_downloads=True)
    yield context
    context.close()


def conversation() -> Transcript:
    """The example's conversation, as its truth has it, with ids for names; one word is of low probability."""
    data = json.loads((ROOT / "examples" / "conversation.words.json").read_text("utf-8"))
    ids = {name: f"SPEAKER_{i:02d}" for i, name in enumerate(dict.fromkeys(word["speaker"] for word in data), 1)}
    words = [
        Word(word["start"], word["end"], word["word"], 0.4 if i == 7 else 0.9, ids[word["speaker"]])
        for i, word in enumerate(data)
    ]
    turns: list[Turn] = []
    for word in words:
        assert word.speaker is not None
        if turns and turns[-1].speaker == word.speaker and word.start - turns[-1].end < 1:
            turns[-1] = Turn(turns[-1].start, max(turns[-1].end, word.end), word.speaker, 0.9)
        else:
            turns.append(Turn(word.start, word.end, word.speaker, 0.9))
    turns.sort(key=lambda turn: turn.start)
    return Transcript("conversation", 83.2, "en", tuple(map(Speaker, ids.values())), tuple(turns), tuple(words))


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return write_results(tmp_path / "out" / "conversation", RECORDING, conversation())


@pytest.fixture
def served(results: Path) -> Iterator[Served]:
    with serving(results) as server:
        yield server


@pytest.fixture
def tab(context: BrowserContext, served: Served) -> Iterator[Tab]:
    """The review page, opened with the address that the command prints. It must not complain."""
    tab = new_tab(context)
    tab.open(f"{served.base}/?token={served.token}")
    yield tab
    assert tab.errors == []
