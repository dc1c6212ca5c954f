"""The review page in a browser: listen, correct, undo, reload, export; two tabs; a server that goes away."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

from tests.browser.conftest import Tab, new_tab
from tests.browser.pages import corrected, focus, log, press, rows, saved, until, word, write
from tests.pipelines.review.serving import Served, serving

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_a_click_on_a_word_plays_it(tab: Tab, results: Path) -> None:
    """The sound is set to the word's start before it plays; after a pause it goes on a little earlier."""
    page = tab.page
    page.evaluate(
        """() => { window.starts = []; const audio = document.querySelector('audio');
        const time = Object.getOwnPropertyDescriptor(HTMLMediaElement.prototype, 'currentTime');
        Object.defineProperty(audio, 'currentTime', { get() { return time.get.call(this); },
            set(seconds) { window.starts.push(seconds); time.set.call(this, seconds); } }); }"""
    )
    for n, text in enumerate(("thank", "open", "coming."), 1):
        id = word(results, text)
        page.click(f'[data-id="{id}"]')
        until(page, f"window.starts.length === {n} && !document.querySelector('audio').paused")
        position = page.evaluate(f"window.starts[{n - 1}]")
        assert abs(position - int(id[1:]) / 1000) <= 0.05, (text, position)
        page.wait_for_selector(".sounding")
        press(page, "Space")
        until(page, "document.querySelector('audio').paused")
    position = page.evaluate("document.querySelector('audio').currentTime")
    press(page, "Space")
    until(page, "window.starts.length === 4")
    assert 0.4 <= position - page.evaluate("window.starts[3]") <= 1.0
    press(page, ".", ".")
    assert page.evaluate(
        "[document.querySelector('audio').playbackRate, document.querySelector('audio').preservesPitch]"
    ) == [1.3, True]


def test_a_meeting_is_corrected_with_the_keyboard_alone(tab: Tab, results: Path, served: Served) -> None:
    page = tab.page
    assert rows(page)[0][0] == "SPEAKER_01"

    # Name the speaker of the first turn, everywhere.
    press(page, "r")
    write(page, "Anna 1s2d")  # digits and letters in a field are text
    press(page, "Enter")
    saved(page, results, 1)
    assert {speaker for speaker, _ in rows(page)} >= {"Anna 1s2d", "SPEAKER_02"} and "SPEAKER_01" not in dict(
        rows(page)
    )

    # Give the second turn to speaker 3, to somebody by the first letters of the name, to somebody new.
    press(page, "ArrowDown", "3")
    saved(page, results, 2)
    assert rows(page)[1][0] == "SPEAKER_03"
    press(page, "/")
    write(page, "ann")
    press(page, "Enter")
    saved(page, results, 3)
    assert rows(page)[0][0] == "Anna 1s2d" and rows(page)[0][1].startswith("Good morning")
    until(page, "document.activeElement.closest('.transcript')")
    press(page, "Control+z")
    saved(page, results, 4)
    assert rows(page)[1][0] == "SPEAKER_03"
    press(page, "n")
    write(page, "Mia")
    press(page, "Enter")
    saved(page, results, 5)
    assert rows(page)[1][0] == "Mia"

    # Split the first turn at its fourth word; the second part is speaker 2's. Then the boundary moves by a word.
    press(page, "Home", "ArrowRight", "ArrowRight", "ArrowRight", "s", "2")
    saved(page, results, 6)
    assert rows(page)[:2] == [("Anna 1s2d", "Good morning everyone,"), ("SPEAKER_02", rows(page)[1][1])]
    assert rows(page)[1][1].startswith("and thank you")
    press(page, "]")
    saved(page, results, 7)
    assert rows(page)[0][1] == "Good morning everyone, and"
    press(page, "[")
    saved(page, results, 8)
    assert rows(page)[0][1] == "Good morning everyone,"

    # Split, and give the first part to the speaker before; merge the rest with it.
    press(page, "ArrowRight", "ArrowRight", "Shift+S")
    saved(page, results, 9)
    assert rows(page)[0][1].startswith("Good morning everyone, and thank")
    press(page, "m")
    saved(page, results, 10)
    assert rows(page)[0][1].startswith("Good morning everyone, and thank you")

    # Take two words out: Anna - speaker 4 - Anna. Write a word anew, check the turn.
    press(page, "Home", "ArrowRight", "Shift+ArrowRight", "e", "4")
    saved(page, results, 11)
    assert rows(page)[:2] == [("Anna 1s2d", "Good"), ("SPEAKER_04", "morning everyone,")]
    press(page, "Home", "Enter")
    write(page, "Bad")
    press(page, "Enter")
    saved(page, results, 12)
    assert rows(page)[0] == ("Anna 1s2d", "Bad")
    press(page, "c")
    saved(page, results, 13)
    assert page.locator(".row.checked").count() >= 1

    # Undo all of it, bring all of it again.
    after = rows(page)
    done = 12  # 13 entries, of which one is taken back and one is an undo
    for i in range(1, done):
        press(page, "Control+z")
        saved(page, results, 13 + i)
    assert {speaker for speaker, _ in rows(page)} == {"SPEAKER_01", "SPEAKER_02", "SPEAKER_03", "SPEAKER_04"}
    press(page, "Control+z")
    until(page, "document.querySelector('.message').textContent.includes('nothing to take back')")
    for i in range(1, done):
        press(page, "Control+Shift+z")
        saved(page, results, 13 + done - 1 + i)
    assert rows(page) == after

    # It is there after a reload, and in the exports.
    page.reload()
    page.wait_for_selector(".row")
    assert rows(page) == after
    text = served.get("/r/conversation/export/txt").text
    assert "Anna 1s2d: Bad" in text and "SPEAKER_04: morning everyone," in text
    labels = {speaker.label for speaker in corrected(results).speakers}
    assert labels == {"Anna 1s2d", "SPEAKER_02", "SPEAKER_03", "SPEAKER_04", "Mia"}


def test_shift_and_a_digit_is_for_the_whole_cluster(tab: Tab, results: Path) -> None:
    page = tab.page
    first = rows(page)[0][0]
    press(page, "Shift+Digit2")
    saved(page, results, 1)
    assert (
        first not in {speaker for speaker, _ in rows(page)} and log(results)[0]["operation"]["op"] == "merge_speakers"
    )
    press(page, "Control+z")
    saved(page, results, 2)
    assert rows(page)[0][0] == first


def test_search_and_replace(tab: Tab, results: Path) -> None:
    page = tab.page
    press(page, "Control+f")
    write(page, "THE door")
    until(page, "document.querySelector('.search .count').textContent.startsWith('1 of ')")
    count = int(page.inner_text(".search .count").split(" of ")[1])
    assert count >= 1
    page.fill('[aria-label="Replace with"]', "the gate")
    page.click("text=Replace all")
    saved(page, results, 1)
    text = " ".join(w.text for w in corrected(results).words)
    assert "the door" not in text.lower() and text.lower().count("the gate") == count
    press(page, "Escape")
    page.wait_for_selector(".search", state="detached")


def test_filters(tab: Tab) -> None:
    page = tab.page
    page.check("text=unsure")
    until(page, "document.querySelectorAll('.row').length === 1")
    page.uncheck("text=unsure")
    page.select_option('[aria-label="Only this speaker"]', label="SPEAKER_02")
    until(page, "[...document.querySelectorAll('.row strong')].every(one => one.textContent === 'SPEAKER_02')")
    press(page, "c")


def test_names_in_the_list_of_speakers(tab: Tab, results: Path) -> None:
    page = tab.page
    page.fill("#name-1", "Felix")
    press(page, "Enter")
    saved(page, results, 1)
    assert "Felix" in dict(rows(page)) and "Felix" in page.inner_text(".chips")


def test_an_end_of_a_turn_is_dragged(tab: Tab, results: Path) -> None:
    page = tab.page
    turn = corrected(results).turns[0]
    box = page.locator(".lanes canvas").bounding_box()
    assert box is not None
    labels, span, lane = 92, 30.0, 20 + 64 + 8 + 13  # px of the names; s in view at first; px to the first lane
    x = box["x"] + labels + turn.end / span * (box["width"] - labels)
    y = box["y"] + lane
    page.mouse.move(x, y)
    until(page, "document.querySelector('.lanes canvas').style.cursor === 'ew-resize'")
    page.mouse.down()
    page.mouse.move(x + 10, y, steps=3)
    page.mouse.up()
    saved(page, results, 1)
    moved = corrected(results).turns[0]
    assert 0.2 < abs(moved.end - turn.end) < 4


def test_two_tabs(tab: Tab, served: Served, results: Path) -> None:
    """What is done in one tab appears in the other, and neither overwrites the other."""
    other = new_tab(tab.page.context)
    other.open(f"{served.base}/r/conversation/")
    press(tab.page, "r")
    write(tab.page, "Anna")
    press(tab.page, "Enter")
    until(other.page, "document.querySelector('.row strong').textContent === 'Anna'")
    focus(other.page, word(results, "thank"))
    press(other.page, "Enter")
    write(other.page, "thanks")
    press(other.page, "Enter")
    tab.page.wait_for_selector(".word.written")
    for one in (tab, other):
        one.page.wait_for_selector('[data-state="saved"]')
    assert rows(tab.page) == rows(other.page)
    assert [entry["operation"]["op"] for entry in log(results)] == ["name_speaker", "edit_word"]
    assert other.errors == []


def test_two_tabs_at_the_same_time(tab: Tab, served: Served, results: Path) -> None:
    """Both have changes that wait while nothing can be sent: all of them arrive, in both."""
    context = tab.page.context
    other = new_tab(context)
    other.open(f"{served.base}/r/conversation/")
    context.set_offline(True)
    for page, name in ((tab.page, "Anna"), (other.page, "Bea")):
        press(page, "n")
        write(page, name)
        press(page, "Enter")
        page.wait_for_selector('[data-state="offline"]')
        assert "Not saved" in page.inner_text(".saved")
        press(page, "ArrowDown")
    context.set_offline(False)
    for page in (tab.page, other.page):
        page.wait_for_selector('[data-state="saved"][data-waiting="0"]')
    names = "[...document.querySelectorAll('.card input[id]')].map(one => one.value).filter(Boolean).sort().join()"
    for page in (tab.page, other.page):
        until(page, f"{names} === 'Anna,Bea' || {names} === 'Anna' || {names} === 'Bea'")
    assert rows(tab.page) == rows(other.page)
    tab.errors.clear()  # of requests without a network


def test_a_server_that_goes_away_and_comes_back(context: object, results: Path) -> None:
    """Changes wait, visibly, and are sent as soon as the new address has been opened; even after a reload."""
    from playwright.sync_api import BrowserContext

    assert isinstance(context, BrowserContext)
    tab = new_tab(context)
    with serving(results) as server:
        page = tab.open(f"{server.base}/?token={server.token}")
        port = httpx.URL(server.base).port
        press(page, "r")
        write(page, "Anna")
        press(page, "Enter")
        saved(page, results, 1)
        server.process.kill()
        server.process.wait(20)
    focus(page, word(results, "thank"))
    press(page, "Enter")
    write(page, "thanks")
    press(page, "Enter")
    page.wait_for_selector('[data-state="offline"][data-waiting="1"]')
    assert "1 change waiting" in page.inner_text(".saved")
    with serving(results, "--port", str(port)) as server:
        page.wait_for_selector('[data-state="refused"]')
        new_tab(context).open(f"{server.base}/?token={server.token}")
        page.wait_for_selector('[data-state="saved"]')
        assert [entry["operation"]["op"] for entry in log(results)] == ["name_speaker", "edit_word"]


def test_the_sheet_lists_the_keys(tab: Tab) -> None:
    page = tab.page
    press(page, "?")
    sheet = page.inner_text("dialog")
    assert "this turn, or the selection, is that speaker's" in sheet and "undo, as often as you like" in sheet
    press(page, "1")  # does nothing under the sheet
    press(page, "Escape")
    page.wait_for_selector("dialog", state="detached")
    assert page.locator('[data-state="saved"]').count() == 1


def test_typing_in_a_field_triggers_nothing_and_a_file_field_takes_no_keys(tab: Tab, results: Path) -> None:
    page = tab.page
    page.focus("#name-0")
    write(page, "d1s0m")
    assert log(results) == [] and page.input_value("#name-0") == "d1s0m"
    press(page, "Escape")
    page.evaluate(
        """() => { const field = document.createElement('input'); field.type = 'file';
        document.body.append(field); field.focus(); }"""
    )
    press(page, "2")
    saved(page, results, 1)


def test_readable_without_javascript(chromium: object, served: Served) -> None:
    from playwright.sync_api import Browser

    assert isinstance(chromium, Browser)
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{served.base}/?token={served.token}")
    assert re.search(r"SPEAKER_01:\s+Good morning", page.inner_text("body"))
    context.close()


CONTRASTS = """() => {
  const rgb = text => (text.match(/[\\d.]+/g) ?? []).map(Number);
  const part = v => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; };
  const luminance = ([r, g, b]) => 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  const weak = [];
  for (const element of document.querySelectorAll('#app *')) {
    if (element.localName === 'option' || element.disabled || element.closest(':disabled, .badge')) continue;
    if (![...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim())) continue;
    if (!element.checkVisibility({checkVisibilityCSS: true})) continue;
    let ground = element, colour;
    do { colour = rgb(getComputedStyle(ground).backgroundColor); ground = ground.parentElement; }
    while (ground && colour.length > 3 && colour[3] === 0);
    const [a, b] = [luminance(rgb(getComputedStyle(element).color)), luminance(colour)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    const name = `${element.className || element.localName} ${element.textContent.slice(0, 20)}`;
    if (ratio < 4.5) weak.push(`${name} ${ratio.toFixed(2)}`);
  }
  return weak;
}"""

NAMELESS = """() => [...document.querySelectorAll('button, input, select, textarea, summary, a, canvas, [role=feed]')]
  .filter(one => !(one.textContent.trim() || one.ariaLabel || one.labels?.length))
  .map(one => one.outerHTML.slice(0, 80))"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_and_names_for_screen_readers(tab: Tab, scheme: str) -> None:
    page = tab.page
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    press(page, "c")
    page.wait_for_selector(".row.checked")
    press(page, "Control+f")
    write(page, "the")
    page.wait_for_selector(".found")
    assert page.evaluate(CONTRASTS) == []
    assert page.evaluate(NAMELESS) == []


def test_on_a_phone_nothing_is_wider_than_the_screen(tab: Tab) -> None:
    page = tab.page
    page.set_viewport_size({"width": 390, "height": 844})
    until(page, "document.documentElement.scrollWidth <= 390")
    assert page.is_visible(".assign") and page.is_visible(".row")


def test_the_next_doubt(tab: Tab) -> None:
    page = tab.page
    press(page, "Alt+3")
    until(page, "document.querySelector('.certainty span').textContent.startsWith('1 doubt left, ')")
    press(page, "d")
    page.wait_for_selector(".word.low.cursor")
    press(page, "c")
    until(page, "document.querySelector('.certainty span').textContent.startsWith('0 doubts left')")
