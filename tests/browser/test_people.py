"""Who the speakers are, in a browser: candidates and pairs, enrolment with a consent, blind review, a reload."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from diarize.library import store as libraries
from diarize.types import Candidate, Speaker, Transcript, Turn, Word
from tests.browser import slow_voices
from tests.browser.conftest import Tab, new_tab
from tests.browser.pages import corrected, focus, log, press, rows, saved, until, word, write
from tests.pipelines.people.test_enroll import ANNA, BEN, sing
from tests.pipelines.review.serving import serving, write_results

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
VOICES = ("--vad", "energy", "--embedder", "tests.pipelines.people.test_enroll:embedder")
CARD = "document.querySelectorAll('.card')"


def meeting() -> Transcript:
    """A and C are one voice, B is another; the machine took B for Max."""
    candidates = (Candidate("1" * 32, "Max", 0.81, 5.5), Candidate("2" * 32, "Ida", 0.5, 1.25))
    turns = (Turn(0.5, 6.5, "A", 0.9), Turn(7.0, 13.0, "B", 0.7), Turn(13.5, 19.5, "C", 0.9))
    words = tuple(
        Word(turn.start + i, turn.start + i + 0.5, text, 0.4 if text == "tea" else 0.9, turn.speaker)
        for turn, texts in zip(turns, ("we begin now", "no tea here", "so we end"), strict=True)
        for i, text in enumerate(texts.split())
    )
    speakers = (Speaker("A"), Speaker("B", "Max", candidates, "1" * 32), Speaker("C"))
    return Transcript("meeting", 20.0, "en", speakers, turns, words)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Results of a recording in which two voices sing."""
    path = sing(tmp_path / "meeting.wav", (ANNA, 6), (BEN, 6), (ANNA, 6))
    return write_results(tmp_path / "out" / "meeting", path, meeting())


def cards(page: Page) -> list[str]:
    texts: list[str] = page.evaluate(f"[...{CARD}].map(card => card.querySelector('.candidates')?.innerText ?? '')")
    return texts


def test_candidates_are_confirmed_and_a_speaker_is_enrolled_with_a_consent(
    context: BrowserContext, folder: Path, tmp_path: Path
) -> None:
    """Anna is enrolled from A with a written consent; then she is the candidate of C, and a click confirms it."""
    people = tmp_path / "people.db"
    libraries.open(people, create=True).close()
    tab = new_tab(context)
    with serving(folder, "--library", str(people), *VOICES) as served:
        page = tab.open(f"{served.base}/?token={served.token}")
        press(page, "Alt+1")

        # Pairs who may be one person say what their score is.
        page.wait_for_selector(".pairs")
        pair = page.inner_text(".pairs li:nth-child(2)")
        assert "similarity 0." in pair and "A" in pair and "C" in pair and "score" not in pair
        assert "higher speaks for one person" in str(page.get_attribute(".pairs small", "title"))

        # Nobody is enrolled without a name, nor without a consent.
        first = page.locator(".card").nth(0)
        first.locator("summary").click()
        button = first.locator(".enrol button")
        assert button.is_disabled() and button.inner_text() == "Give a name first"
        page.fill("#name-0", "Anna")
        press(page, "Enter")
        saved(page, folder, 1)
        assert button.is_disabled() and button.inner_text() == "Enrol"
        first.locator(".enrol input").fill("   ")
        assert button.is_disabled()
        first.locator(".enrol input").fill("agreed on 1 May, by mail")
        press(page, "Enter")
        until(page, f"{CARD}[0].querySelector('[role=status]').textContent.startsWith('Anna is enrolled: ')")
        with libraries.open(people) as library:
            assert [(one.name, one.consent) for one in library.people()] == [("Anna", "agreed on 1 May, by mail")]
        assert first.locator(".enrol input").input_value() == "" and button.is_disabled()

        # She is a candidate now of who has no name, with what the score is; a click names the speaker everywhere.
        until(page, f"{CARD}[2].querySelector('.candidates')?.innerText.includes('Anna')")
        assert "similarity 0." in cards(page)[2] and cards(page)[0] == ""
        page.locator(".card").nth(2).locator(".candidates button").click()
        saved(page, folder, 2)
        assert page.input_value("#name-2") == "Anna" and rows(page)[2][0] == "Anna"
        assert log(folder)[1]["operation"] == {"op": "name_speaker", "speaker": "C", "name": "Anna"}
        assert cards(page)[2] == ""
    assert [one.name for one in corrected(folder).speakers] == ["Anna", "Max", "Anna"]
    assert tab.errors == []


def test_blind_hides_the_machine_until_a_person_has_decided(context: BrowserContext, folder: Path) -> None:
    tab = new_tab(context)
    with serving(folder, "--blind") as served:
        page = tab.open(f"{served.base}/?token={served.token}")
        press(page, "Alt+1")
        page.wait_for_selector(".card .actions button")
        shown = page.evaluate("document.documentElement.outerHTML")
        assert not any(secret in shown for secret in ("Max", "Ida", "LR ", "Export"))
        assert page.locator(".word.low").count() == 0 and "blind" in page.inner_text("header.top").lower()
        assert rows(page)[1][0] == "B"

        # What the machine took B for is shown when a person has named B, and not before that is saved.
        page.fill("#name-1", "Berta")
        press(page, "Enter")
        saved(page, folder, 1)
        until(page, f"{CARD}[1].querySelector('.candidates')?.innerText.includes('Max')")
        assert cards(page)[1].startswith("By the voice:\n") and "LR 245" in cards(page)[1]
        meaning = page.locator(".candidates button").first.get_attribute("title")
        assert meaning is not None and "245 times more probable if one person than if two" in meaning
        assert [cards(page)[0], cards(page)[2]] == ["", ""]
    assert tab.errors == []


def test_a_reload_in_the_middle_of_work_loses_nothing_and_comes_back_to_its_place(
    tab: Tab, results: Path, context: BrowserContext
) -> None:
    page = tab.page
    press(page, "Alt+3")
    press(page, "End", "ArrowRight")
    press(page, "c")
    saved(page, results, 1)
    press(page, "r")
    write(page, "Anna")
    press(page, "Enter")
    saved(page, results, 2)
    place = page.get_attribute(".word.cursor", "data-id")
    before = rows(page)

    # A correction that was not sent yet waits in the tab, over the reload, and is sent after it.
    context.route("**/operations", lambda route: route.abort())
    press(page, "Shift+N")
    write(page, "a doubtful place")
    press(page, "Enter")
    page.wait_for_selector('[data-state="offline"][data-waiting="1"]')
    context.unroute("**/operations")
    page.on("dialog", lambda dialog: dialog.accept())  # the browser asks, as something is not saved
    page.reload()
    page.wait_for_selector(".word.cursor")
    saved(page, results, 3)
    assert log(results)[2]["operation"]["text"] == "a doubtful place"
    assert page.get_attribute(".word.cursor", "data-id") == place
    assert page.inner_text('.passes [aria-pressed="true"] b') == "3 Words"
    until(page, "document.querySelector('.row.current .note')?.textContent.includes('a doubtful place')")
    box = page.locator(".row.current").bounding_box()
    assert box is not None and 0 < box["y"] < 800
    assert rows(page)[-len(before) :][-1][0] == before[-1][0]
    start = int(str(place).removeprefix("w")) / 1000
    assert abs(page.evaluate("document.querySelector('audio').currentTime") - start) < 0.05
    press(page, "Control+z")
    saved(page, results, 4)
    tab.errors.clear()  # of the request that was refused


def test_voices_that_take_long_block_neither_sound_nor_corrections(
    context: BrowserContext, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three tabs: the voices are compared once, in the background, and all three tabs learn the result."""
    monkeypatch.setenv(slow_voices.FOLDER, str(tmp_path))
    options = ("--vad", "energy", "--embedder", "tests.browser.slow_voices:embedder")
    with serving(folder, *options) as served:
        tabs = [new_tab(context) for _ in range(3)]
        for number, tab in enumerate(tabs, 1):
            page = tab.open(f"{served.base}/?token={served.token}")
            press(page, "Alt+1")
            page.wait_for_selector("text=Voices are being compared")
            page.wait_for_selector(".card .actions button")  # the clearest speech can be played meanwhile
            focus(page, word(folder, "we"))
            press(page, "n")
            write(page, f"Person {number}")
            press(page, "Enter")
            saved(page, folder, number)
        assert (tmp_path / "calls").read_text().count("\n") == 1
        (tmp_path / "go").touch()
        for tab in tabs:
            tab.page.wait_for_selector(".pairs")
            assert tab.page.locator("text=Voices are being compared").count() == 0
        assert [tab.errors for tab in tabs] == [[], [], []]


def test_a_tab_that_nobody_sees_holds_no_connection(context: BrowserContext, folder: Path) -> None:
    """It catches up with what was done meanwhile when it is seen again."""
    hide = """hidden => { Object.defineProperty(document, 'hidden', {configurable: true, get: () => hidden});
    document.dispatchEvent(new Event('visibilitychange')); }"""
    with serving(folder) as served:
        hidden, seen = new_tab(context), new_tab(context)
        for tab in (hidden, seen):
            tab.open(f"{served.base}/?token={served.token}")
        hidden.page.evaluate(hide, True)
        press(seen.page, "r")
        write(seen.page, "Anna")
        press(seen.page, "Enter")
        saved(seen.page, folder, 1)
        hidden.page.wait_for_timeout(1500)  # three times the time between two looks of the server
        assert rows(hidden.page)[0][0] == "A"
        hidden.page.evaluate(hide, False)
        until(hidden.page, "document.querySelector('.row strong').textContent === 'Anna'")
        assert hidden.errors == seen.errors == []


def test_the_times_of_a_word(tab: Tab, results: Path) -> None:
    page = tab.page
    id = word(results, "thank")
    old = next(one for one in corrected(results).words if one.text == "thank")
    focus(page, id)
    press(page, "t")
    until(page, "document.activeElement.localName === 'input'")
    press(page, "ArrowDown", "PageUp", "Enter")  # 10 ms earlier, 100 ms later
    saved(page, results, 1)
    page.wait_for_selector("dialog", state="detached")
    new = next(one for one in corrected(results).words if one.text == "thank")
    assert (round(new.start - old.start, 3), new.end, new.speaker) == (0.09, old.end, old.speaker)
    assert page.locator(f'.word.written.cursor[data-id="{id}"]').count() == 1

    press(page, "t")
    end = page.locator(".times input").nth(1)
    for text, problem in (("soon", "Write times as"), ("0:00.000", "must end after")):
        end.fill(text)
        press(page, "Enter")
        until(page, f"document.querySelector('dialog .problem').textContent.includes('{problem}')")
    end.fill("9:59:59")
    press(page, "Enter")
    until(page, "document.querySelector('dialog .problem').textContent.length > 20")
    press(page, "Escape")
    page.wait_for_selector("dialog", state="detached")
    press(page, "Control+z")
    saved(page, results, 2)
    assert next(one for one in corrected(results).words if one.text == "thank").start == old.start
