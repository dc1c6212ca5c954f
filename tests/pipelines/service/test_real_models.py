"""The default models behind HTTP: a recording of two people comes back with who said what."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from difflib import SequenceMatcher
from pathlib import Path

import httpx
import pytest

from diarize.client import Client
from diarize.models.store import Store
from tests.pipelines.service.servers import ROOT

EXAMPLES = ROOT / "examples"


def plain(words: list[str]) -> list[str]:
    return [text for word in words if (text := re.sub(r"[^a-z0-9']", "", word.casefold()))]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_recording_is_transcribed_by_the_default_recognizer(
    tmp_path: Path, store: Store, moonshine_model: Path
) -> None:
    """The job uses the recognizer, the detector and the embedder that `serve` chooses where nobody names any."""
    command = [sys.executable, "-m", "diarize", "serve", "--data", str(tmp_path), "--port", "0", "--offline"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (tmp_path / "log").open("w") as log:
        started = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert started.stdout is not None
        match = re.search(r"http://\S+", started.stdout.readline())
        assert match, (tmp_path / "log").read_text()
        with Client(match[0], timeout=600) as client:
            id = client.submit(EXAMPLES / "conversation.flac", num_speakers=2)
            job = client.wait(id)
            assert job["state"] == "done", job
            transcript = json.loads(client.transcript(id))
            words = transcript["words"]
            text = client.transcript(id, "txt")
        assert httpx.get(f"{match[0]}/healthz", trust_env=False).status_code == 200
    finally:
        started.terminate()
        started.wait(60)
        assert started.stdout is not None
        started.stdout.close()
    assert "moonshine" in transcript["provenance"]["stages"]["recognize"]
    truth = json.loads((EXAMPLES / "conversation.words.json").read_text())
    expected, recognized = plain([word["word"] for word in truth]), plain([word["text"] for word in words])
    assert SequenceMatcher(None, expected, recognized).ratio() > 0.8, recognized
    assert {word["speaker"] for word in words if word["speaker"]} == {"SPEAKER_01", "SPEAKER_02"}
    assert all(0 <= word["start"] < word["end"] for word in words) and len(text.split()) > len(recognized) / 2
