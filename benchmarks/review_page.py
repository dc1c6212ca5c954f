"""The review page with a long transcript: time to open, frames a second while scrolling, memory.

    python -m benchmarks.review_page --hours 10 --words 100000

Needs Debian's Chromium and Playwright. The transcript is made up: speakers in turn, words at an even pace; the sound is
silence. Frames are counted by the page's own requestAnimationFrame while the transcript is scrolled by a script.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

from diarize.types import Provenance, Speaker, Transcript, Turn, Word
from pipelines.processes import decoding
from pipelines.results import outputs

SCROLL = """seconds => new Promise(done => {
  const list = document.querySelector('.transcript');
  const gaps = []; let last = performance.now(); const end = last + seconds * 1000;
  const step = now => {
    gaps.push(now - last); last = now; list.scrollTop += 40;
    if (now < end) requestAnimationFrame(step); else done(gaps.slice(1));
  };
  requestAnimationFrame(step);
})"""
LETTERS = ("the", "of", "and", "to", "meeting", "is", "you", "that", "budget", "for", "on", "tomorrow", "with", "this")


def long_transcript(seconds: float, words: int, speakers: int = 6) -> Transcript:
    pace = seconds / words
    in_turn = 18
    ids = [f"SPEAKER_{i:02d}" for i in range(1, speakers + 1)]
    all_words = tuple(
        Word(
            i * pace,
            (i + 0.9) * pace,
            LETTERS[i * 7 % len(LETTERS)],
            0.3 + 0.7 * (i * 13 % 100) / 100,
            ids[i // in_turn % speakers],
        )
        for i in range(words)
    )
    turns = tuple(
        Turn(i * pace, min(i + in_turn, words) * pace, ids[i // in_turn % speakers], 0.4 + 0.6 * (i % 10) / 10)
        for i in range(0, words, in_turn)
    )
    return Transcript("long", seconds, "en", tuple(map(Speaker, ids)), turns, all_words)


def write_results(folder: Path, seconds: float, words: int) -> Path:
    recording = folder / "long.flac"
    with soundfile.SoundFile(recording, "w", 8000, 1) as file:
        noise = (np.random.default_rng(0).standard_normal(8000 * 60) * 0.01).astype(np.float32)
        for _ in range(round(seconds / 60)):
            file.write(noise)
    source = decoding.read(recording, id="long").source
    transcript = long_transcript(seconds, words)
    transcript = Transcript(
        "long", transcript.duration, "en", transcript.speakers, transcript.turns, transcript.words,
        provenance=Provenance(source=source),
    )  # fmt: skip
    outputs.write(folder / "out" / "long", transcript, ("txt",), {}, (recording, source.digest))
    return folder / "out"


def measure(address: str, scroll: float) -> dict[str, float]:
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium")
    if path is None:
        sys.exit("Chromium is not installed: apt-get install chromium")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--enable-precise-memory-info", "--js-flags=--expose-gc"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(300_000)
        opened = []
        for _ in range(3):
            began = time.perf_counter()
            page.goto(address)
            page.wait_for_selector(".row .word")
            opened.append(time.perf_counter() - began)
            address = page.url
        gaps = np.array(page.evaluate(SCROLL, scroll))
        began = time.perf_counter()
        page.keyboard.press("2")
        page.wait_for_selector('[data-state="saved"][data-number="1"]')
        operation = time.perf_counter() - began
        page.evaluate("gc()")
        memory = page.evaluate("performance.memory.usedJSHeapSize") / 1e6
        rows = page.evaluate("document.querySelectorAll('.row').length")
        browser.close()
    return {
        "open_first_s": round(opened[0], 2),
        "open_again_s": round(min(opened[1:]), 2),
        "frames_per_second": round(1000 / float(gaps.mean()), 1),
        "slowest_of_100_frames_ms": round(float(np.quantile(gaps, 0.99)), 1),
        "one_correction_until_saved_s": round(operation, 2),
        "javascript_heap_MB": round(memory, 1),
        "rows_in_the_document": rows,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=10.0)
    parser.add_argument("--words", type=int, default=100_000)
    parser.add_argument("--scroll", type=float, default=5.0, help="seconds of scrolling")
    args = parser.parse_args()
    root = Path(__file__).resolve().parents[1]
    with tempfile.TemporaryDirectory() as folder:
        out = write_results(Path(folder), args.hours * 3600, args.words)
        server = subprocess.Popen(
            [sys.executable, "run_pipeline.py", "review", str(out), "--no-browser", "--port", "0"],
            stdout=subprocess.PIPE, text=True, cwd=root, env={**os.environ, "PYTHONPATH": str(root)},
        )  # fmt: skip
        try:
            assert server.stdout is not None
            line = server.stdout.readline()
            match = re.match(r"http://\S+", line)
            if match is None:
                sys.exit(f"the server did not start: {line}")
            result = measure(match[0], args.scroll)
        finally:
            server.terminate()
            server.wait()
    print(json.dumps({"hours": args.hours, "words": args.words, "load": os.getloadavg()[0], **result}, indent=2))


if __name__ == "__main__":
    main()
