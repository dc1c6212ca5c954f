"""What is on a page, and waiting for what a page does."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diarize.types import Transcript
from pipelines.results import outputs

if TYPE_CHECKING:
    from playwright.sync_api import Page

ROWS = """() => [...document.querySelectorAll('.row')].map(row => [
  row.querySelector('strong').textContent,
  [...row.querySelectorAll('.word')].map(word => word.textContent).join(' ')])"""


def rows(page: Page) -> list[tuple[str, str]]:
    """Speaker and text of the rows that are drawn."""
    return [(speaker, text) for speaker, text in page.evaluate(ROWS)]


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def until(page: Page, condition: str, patience: float = 60.0) -> None:
    """Wait until an expression is true. (Playwright's own waiting evaluates text in the page: its CSP forbids it.)"""
    end = time.monotonic() + patience
    while not page.evaluate(condition):
        assert time.monotonic() < end, f"not after {patience:g} s: {condition}; {page.inner_text('body')[:2000]}"
        page.wait_for_timeout(30)


def focus(page: Page, id: str) -> None:
    """The word is the current one; nothing plays."""
    page.click(f'[data-id="{id}"]')
    page.evaluate("document.querySelector('audio').pause()")


def saved(page: Page, folder: Path, count: int) -> None:
    """Wait until the page says that it is saved; by then the log has `count` entries."""
    page.wait_for_selector(f'[data-state="saved"][data-number="{count}"]')
    assert len(log(folder)) == count


def log(folder: Path) -> list[dict[str, Any]]:
    path = folder / "corrections.jsonl"
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []


def corrected(folder: Path) -> Transcript:
    return outputs.read_corrected(folder)


def word(folder: Path, text: str, n: int = 0) -> str:
    """Id of the n-th word with this text."""
    return [f"w{round(word.start * 1000)}" for word in outputs.read(folder).words if word.text == text][n]


def write(page: Page, text: str) -> None:
    """Type into the field that a key has opened, as soon as it has the focus."""
    until(page, "['INPUT', 'TEXTAREA'].includes(document.activeElement.tagName)")
    page.keyboard.type(text)
