"""`--compat`: the requests and answers of a known system, on the loopback without a key."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.pipelines.service.servers import running, settings_in, tone


def _form(content: bytes) -> dict[str, tuple[str, bytes, str]]:
    return {"audio": ("a.wav", content, "audio/wav")}


@pytest.fixture(autouse=True)
def _tones_pass_the_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pure tone counts as clipped and as two voices; the requests of `--compat` cannot ignore checks."""
    from pipelines.people import enrolment_checks

    monkeypatch.setattr(enrolment_checks, "MOST_CLIPPED", 1.0)
    monkeypatch.setattr("diarize.library.scoring.enrolment.halves", lambda vectors, calibration: None)


def test_enrol_verify_identify_as_they_are_known(tmp_path: Path) -> None:
    with running(settings_in(tmp_path, compat=True)) as own:
        own.key("read")  # there are keys, and the loopback needs none here
        with own.client() as client:
            for number, (name, hertz) in enumerate((("anna", 440), ("bert 2", 2000)), 1):
                answer = client.post(
                    "/enroll", params={"speaker_id": name}, files=_form(tone(hertz, 4, number, 44_100))
                )
                assert answer.status_code == 200, answer.text
                assert answer.json() == {"status": "success", "speaker_id": name, "total_speakers": number}
            same = client.post("/verify", params={"claimed_speaker_id": "anna"}, files=_form(tone(440, 3, 5)))
            assert set(same.json()) == {"verified", "similarity", "threshold", "claimed_speaker_id"}
            assert (same.json()["verified"], same.json()["claimed_speaker_id"]) == (True, "anna")
            assert same.json()["similarity"] >= same.json()["threshold"]
            assert same.json()["threshold"] == pytest.approx((24 + 2.9444) / 30, abs=1e-4)  # LLR = 30 score - 24
            other = client.post("/verify", params={"claimed_speaker_id": "anna"}, files=_form(tone(2000, 3, 6)))
            assert other.json()["verified"] is False and other.json()["similarity"] < other.json()["threshold"]
            nobody = client.post("/verify", params={"claimed_speaker_id": "carl"}, files=_form(tone(440, 3, 7)))
            assert nobody.status_code == 404 and "carl" in nobody.json()["error"]
            matches = client.post("/identify", files=_form(tone(2000, 3, 8, 8000))).json()["matches"]
            assert [(each["speaker_id"], each["rank"]) for each in matches] == [("bert 2", 1), ("anna", 2)]
            assert all(set(each) == {"speaker_id", "similarity", "rank"} for each in matches)
            refused = client.post("/enroll", params={"speaker_id": "dora"}, files=_form(tone(440, 0.5, 9)))
            assert refused.status_code == 422
            assert own.service.libraries.of("default").named("dora") == ()
            assert client.get("/v1/speakers").status_code == 401  # /v1 asks for a key all the same


def test_without_the_option_there_are_no_such_paths(tmp_path: Path) -> None:
    with running(settings_in(tmp_path)) as own, own.client() as client:
        assert client.post("/enroll", params={"speaker_id": "a"}, files=_form(tone(440, 3))).status_code == 404


def test_curl_speaks_to_it(tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    (tmp_path / "a.wav").write_bytes(tone(440, 4))
    with running(settings_in(tmp_path / "data", compat=True)) as own:
        url = f"{own.url}/enroll?speaker_id=anna"
        command = ["curl", "-sS", "--noproxy", "*", "-F", f"audio=@{tmp_path / 'a.wav'}", url]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        assert done.stdout == '{"status":"success","speaker_id":"anna","total_speakers":1}'
