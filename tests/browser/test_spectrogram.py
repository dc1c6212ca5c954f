"""The spectrogram in the timeline: shown on demand, asked of the server once for each part, not in the single file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.browser.conftest import ROOT, Tab, new_tab
from tests.browser.pages import press, until

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

# Of the grey points in the strip beneath the waveform, right of the names (also those under the tint of a selection),
# the share that is not of one of the two commonest shades. Empty strips, lanes and text have few of them.
SHADES = """() => { const canvas = document.querySelector('.lanes canvas'), ratio = devicePixelRatio;
  const [x, y, w, h] = [92 * ratio, 84 * ratio, canvas.width - 92 * ratio, 96 * ratio];
  const pixels = canvas.getContext('2d').getImageData(x, y, w, h).data;
  const counts = new Array(256).fill(0);
  for (let i = 0; i < pixels.length; i += 4) {
    const [red, green, blue] = pixels.subarray(i, i + 3);
    if (Math.abs(red - green) < 24 && Math.abs(green - blue) < 32) counts[green] += 1;
  }
  const [all, ...rest] = [counts.reduce((sum, one) => sum + one), ...counts.sort((one, other) => other - one)];
  return 1 - (rest[0] + rest[1]) / Math.max(all, 1); }"""
SHOWN, HIDDEN = f"({SHADES})() > 0.3", f"({SHADES})() < 0.15"


def asked(page: Page) -> list[str]:
    """The requests for spectrograms from now on."""
    addresses: list[str] = []
    page.on("request", lambda request: addresses.append(request.url) if "/spectrogram?" in request.url else None)
    return addresses


def test_the_spectrogram_is_shown_on_demand_and_asked_for_once(tab: Tab) -> None:
    page = tab.page
    requests = asked(page)
    button = page.get_by_role("button", name="Spectrogram")
    assert button.get_attribute("aria-pressed") == "false"
    assert page.evaluate(HIDDEN)
    press(page, "x")
    until(page, SHOWN)
    assert button.get_attribute("aria-pressed") == "true"
    assert len(requests) == 1 and "start=0&end=30000&width=" in requests[0]

    button.click()
    until(page, HIDDEN)
    press(page, "x")
    until(page, SHOWN)
    page.emulate_media(color_scheme="dark")
    page.wait_for_timeout(500)
    assert page.evaluate(SHOWN) and len(requests) == 1

    # The part that is in view then, once the view rests; too long a part is not asked for.
    press(page, "=", "=", "=")
    until(page, SHOWN)
    page.wait_for_timeout(1000)
    query = httpx.URL(requests[-1]).params
    assert len(requests) == 2 and int(query["end"]) - int(query["start"]) == 3750
    page.click("text=Whole recording")  # of 83 s
    until(page, HIDDEN)
    page.wait_for_timeout(500)
    assert len(requests) == 2


def test_why_there_is_no_spectrogram_is_said_in_its_place(tab: Tab) -> None:
    """A part that cannot be computed is not asked for again and again, and another one is."""
    page = tab.page
    page.route("**/spectrogram?*", lambda route: route.fulfill(status=500, json={"problem": "the disk is full"}))
    requests = asked(page)
    press(page, "x")
    page.wait_for_timeout(3000)
    assert page.evaluate(HIDDEN)
    assert len(requests) == 1
    page.unroute("**/spectrogram?*")
    press(page, "=")
    until(page, SHOWN)
    assert len(requests) == 2 and len(tab.errors) == 1 and "500" in tab.errors.pop()


def test_the_single_file_has_none(context: BrowserContext, results: Path) -> None:
    command = [sys.executable, "run_pipeline.py", "report", str(results), "--out", str(results / "page.html")]
    subprocess.run([*command, "--cache", "none"], cwd=ROOT, check=True, capture_output=True)
    tab = new_tab(context)
    page = tab.open((results / "page.html").as_uri())
    assert page.get_by_role("button", name="Spectrogram").count() == 0
    assert page.get_by_role("button", name="Whole recording").count() == 1
    press(page, "x")
    until(page, "document.querySelector('.message').textContent.includes('diarize review')")
    assert page.evaluate(HIDDEN) and tab.errors == []
