"""Speakers: enrolment that grows, what is refused and why, changes, export, deletion."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from pipelines.service.work.retention import retain
from pipelines.service.work.settings import Keeping
from tests.pipelines.service.conftest import NewClient
from tests.pipelines.service.servers import TONES, Running, enrolled, running, settings_in, tone


def new(client: httpx.Client, **fields: object) -> httpx.Response:
    return client.post("/v1/speakers", json={"name": "Anna Maria", **fields})


def test_an_enrolment_grows_until_it_is_complete(client: httpx.Client) -> None:
    speaker = new(client, consent="by letter").json()
    assert (speaker["state"], speaker["enrolment"]["share"]) == ("enrolling", 0.0)
    place = f"/v1/speakers/{speaker['id']}/utterances"
    first = client.post(place, params=TONES, content=tone(440, 5, 1))
    assert first.status_code == 201
    assert first.json()["speaker"]["enrolment"] == {"seconds": 5.0, "required": 8.0, "share": 0.625, "complete": False}
    again = client.post(place, params=TONES, content=tone(440, 5, 1))
    assert (again.status_code, again.json()["outcome"], again.json()["speaker"]["utterances"]) == (200, "known", 1)
    second = client.post(place, params=TONES, files={"audio": ("x.wav", tone(440, 5, 2), "audio/wav")}).json()
    assert (second["speaker"]["state"], second["speaker"]["enrolment"]["complete"]) == ("enrolled", True)
    assert client.get(f"/v1/speakers/{speaker['id']}").json() == second["speaker"]


def test_a_refused_utterance_says_which_check_and_what_was_received(client: httpx.Client) -> None:
    id = enrolled(client, 440)
    place = f"/v1/speakers/{id}/utterances"

    def refused(content: bytes, **options: object) -> dict[str, object]:
        answer = client.post(place, content=content, params=options)  # type: ignore[arg-type]
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == answer.status_code
        return dict(answer.json())

    short = refused(tone(440, 1, 3))
    assert (short["code"], short["need"], short["got"]) == ("audio_too_short", 1.5, 1.0)
    received = short["received"]
    assert received == {
        "bytes": len(tone(440, 1, 3)), "type": "wav (pcm_s16le)", "declared_type": "", "seconds": 2.0
    }  # fmt: skip
    assert refused(tone(440, 4, 4))["code"] == "clipped"
    assert refused(tone(440, 4, 4, noise=0.1), accept="clipping")["code"] == "too_noisy"
    other = refused(tone(1500, 4, 5), accept=["clipping", "voices"])
    assert (other["code"], other["check"]) == ("speaker_mismatch", "agreement")
    assert refused(tone(440, 0.0, 6, noise=0.0))["code"] == "no_speech"
    empty = refused(b"")
    assert (empty["code"], empty["received"]) == (
        "audio_empty", {"bytes": 0, "type": "empty", "declared_type": "", "seconds": None}
    )  # fmt: skip
    assert refused(b"PK\x03\x04" + bytes(500))["code"] == "not_audio"


def test_the_recording_of_another_speaker_is_refused_without_their_name(client: httpx.Client) -> None:
    first = new(client, name="Zacharias").json()["id"]
    assert client.post(f"/v1/speakers/{first}/utterances", params=TONES, content=tone(440, 5, 9)).status_code == 201
    second = new(client, name="Berta").json()["id"]
    answer = client.post(f"/v1/speakers/{second}/utterances", params=TONES, content=tone(440, 5, 9))
    assert (answer.status_code, answer.json()["code"]) == (422, "duplicate")
    assert "Zacharias" not in answer.text and first not in answer.text


def test_two_utterances_of_two_people_are_not_one_person(client: httpx.Client) -> None:
    id = new(client).json()["id"]
    client.post(f"/v1/speakers/{id}/utterances", params=TONES, content=tone(440, 5, 1))
    answer = client.post(f"/v1/speakers/{id}/utterances", params=TONES, content=tone(2000, 5, 2))
    assert answer.json()["code"] == "speaker_mismatch"


def test_a_missing_file_in_a_form_is_said(client: httpx.Client) -> None:
    id = new(client).json()["id"]
    answer = client.post(f"/v1/speakers/{id}/utterances", files={"sound": ("a.wav", tone(440, 5), "audio/wav")})
    assert (answer.json()["code"], answer.json()["received"]) == ("audio_missing", {"fields": ["sound"]})


def test_a_body_may_come_in_chunks_and_as_another_container(client: httpx.Client, tmp_path: Path) -> None:
    import soundfile

    rate = 44_100
    source = tmp_path / "a.wav"
    source.write_bytes(tone(440, 5, 1, rate))
    samples, _ = soundfile.read(source)
    soundfile.write(tmp_path / "a.flac", samples, rate)
    content = (tmp_path / "a.flac").read_bytes()
    id = new(client).json()["id"]
    pieces = (content[i : i + 1000] for i in range(0, len(content), 1000))
    answer = client.post(f"/v1/speakers/{id}/utterances", params=TONES, content=pieces)
    assert answer.status_code == 201, answer.text


def test_pages_of_speakers_hold_each_once_and_no_vectors(client: httpx.Client) -> None:
    ids = {new(client, name=f"Person {n}").json()["id"] for n in range(5)}
    listed: list[str] = []
    after = ""
    while True:
        page = client.get("/v1/speakers", params={"limit": 2, "after": after}).json()
        listed += [each["id"] for each in page["speakers"]]
        assert all("vectors" not in each for each in page["speakers"])
        if page["next"] is None:
            break
        after = page["next"]
    assert listed == sorted(ids)
    named = client.get("/v1/speakers", params={"name": "Person 3"}).json()["speakers"]
    assert [each["name"] for each in named] == ["Person 3"]


def test_a_key_may_do_what_its_scopes_say(client: httpx.Client, as_scope: NewClient) -> None:
    id = enrolled(client, 440)
    matrix = {
        "enrol": [201, 403, 403, 403, 403, 403],
        "read": [403, 200, 403, 403, 403, 403],
        "verify": [403, 403, 200, 403, 403, 403],
        "identify": [403, 403, 403, 200, 403, 403],
        "admin": [201, 200, 200, 200, 200, 204],
    }
    for scope, expected in matrix.items():
        own = as_scope(scope)
        victim = new(client).json()["id"]
        answers = [
            new(own),
            own.get(f"/v1/speakers/{id}"),
            own.post("/v1/verify", params={"speaker": id}, content=tone(440, 3, 50)),
            own.post("/v1/identify", content=tone(440, 3, 51)),
            own.get(f"/v1/speakers/{id}/export", params={"vectors": True}),
            own.delete(f"/v1/speakers/{victim}"),
        ]
        assert [answer.status_code for answer in answers] == expected, scope
    assert client.get(f"/v1/speakers/{id}/export").json()["utterances"][0].get("vectors") is None
    with_vectors = client.get(f"/v1/speakers/{id}/export", params={"vectors": True}).json()
    assert len(with_vectors["utterances"][0]["vectors"]["pitch"]) == 32


def test_verification_accepts_rejects_and_says_why_not(client: httpx.Client) -> None:
    id = enrolled(client, 440)

    def decide(speaker: str, content: bytes) -> dict[str, object]:
        answer = client.post("/v1/verify", params={"speaker": speaker}, content=content)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    accepted = decide(id, tone(440, 3, 60))
    assert accepted["decision"] == "accept"
    assert accepted["score"] >= accepted["score_threshold"]  # type: ignore[operator]
    assert decide(id, tone(2000, 3, 61))["decision"] == "reject"
    begun = new(client).json()["id"]
    assert decide(begun, tone(440, 3, 62))["decision"] == "not_enrolled"
    client.post(f"/v1/speakers/{begun}/utterances", params=TONES, content=tone(440, 3, 63))
    partial = decide(begun, tone(440, 3, 64))
    assert (partial["decision"], partial["reasons"][0]["code"]) == ("not_enrolled", "enrolment_incomplete")  # type: ignore[index]
    unknown = client.post("/v1/verify", params={"speaker": "f" * 32}, content=tone(440, 3, 65))
    assert (unknown.status_code, unknown.json()["code"]) == (404, "speaker_not_found")


def test_identification_names_the_speaker_or_nobody(client: httpx.Client) -> None:
    anna, bert = enrolled(client, 440, "Anna"), enrolled(client, 2000, "Bert")
    answer = client.post("/v1/identify", content=tone(2000, 3, 70)).json()
    assert (answer["decision"], answer["speaker_id"]) == ("accept", bert)
    assert [each["speaker_id"] for each in answer["matches"]] == [bert, anna]
    stranger = client.post("/v1/identify", params={"top": 1}, content=tone(5000, 3, 71)).json()
    assert (stranger["decision"], stranger["speaker_id"], len(stranger["matches"])) == ("reject", None, 1)
    client.delete(f"/v1/speakers/{bert}")
    assert client.post("/v1/identify", content=tone(2000, 3, 72)).json()["decision"] == "reject"


def test_who_has_opted_out_has_no_data_and_is_not_enrolled_again(client: httpx.Client, service: Running) -> None:
    id = enrolled(client, 440)
    gone = client.put(f"/v1/speakers/{id}/opt-out").json()
    assert (gone["state"], gone["name"], gone["utterances"]) == ("opted_out", "", 0)
    assert client.post("/v1/verify", params={"speaker": id}, content=tone(440, 3, 1)).json()["decision"] == "opted_out"
    refused = client.post(f"/v1/speakers/{id}/utterances", params=TONES, content=tone(440, 5, 2))
    assert (refused.status_code, refused.json()["code"]) == (409, "opted_out")
    assert client.post("/v1/identify", content=tone(440, 3, 3)).json()["matches"] == []
    assert client.put(f"/v1/speakers/{id}/opt-out").status_code == 200
    assert client.delete(f"/v1/speakers/{id}/opt-out").status_code == 204
    assert client.get(f"/v1/speakers/{id}").status_code == 404


def test_an_etag_guards_against_lost_changes(client: httpx.Client) -> None:
    id = new(client).json()["id"]
    tag = client.get(f"/v1/speakers/{id}").headers["etag"]
    assert client.get(f"/v1/speakers/{id}", headers={"If-None-Match": tag}).status_code == 304
    renamed = client.patch(f"/v1/speakers/{id}", json={"name": "Berta"}, headers={"If-Match": tag})
    assert (renamed.status_code, renamed.json()["name"]) == (200, "Berta")
    for lost in (
        client.patch(f"/v1/speakers/{id}", json={"name": "Carla"}, headers={"If-Match": tag}),
        client.post(f"/v1/speakers/{id}/utterances", content=tone(440, 5), headers={"If-Match": tag}),
        client.delete(f"/v1/speakers/{id}", headers={"If-Match": tag}),
    ):
        assert (lost.status_code, lost.json()["code"]) == (412, "precondition_failed")
    assert client.delete(f"/v1/speakers/{id}", headers={"If-Match": renamed.headers["etag"]}).status_code == 204


def test_a_repeated_request_has_its_effect_once(client: httpx.Client) -> None:
    headers = {"Idempotency-Key": "order 17".replace(" ", "-")}
    first = client.post("/v1/speakers", json={"name": "Anna"}, headers=headers)
    second = client.post("/v1/speakers", json={"name": "Anna"}, headers=headers)
    assert (second.status_code, second.json()) == (201, first.json())
    assert second.headers["idempotency-replayed"] == "true"
    assert len(client.get("/v1/speakers").json()["speakers"]) == 1
    other = client.post("/v1/speakers", json={"name": "Berta"}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")
    place = f"/v1/speakers/{first.json()['id']}/utterances"
    headers = {"Idempotency-Key": "utterance-1"}
    answers = [client.post(place, params=TONES, content=tone(440, 5, 1), headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[1].json()["speaker"]["utterances"] == 1


def test_request_ids_are_answered_and_only_safe_ones_are_taken(client: httpx.Client) -> None:
    assert client.get("/healthz", headers={"X-Request-Id": "a-1.b_2"}).headers["x-request-id"] == "a-1.b_2"
    for strange in ("a b", "x" * 65, "a%0d", '{"a"}'):
        assert client.get("/healthz", headers={"X-Request-Id": strange}).headers["x-request-id"] != strange
    refused = client.get(f"/v1/speakers/{'f' * 32}", headers={"X-Request-Id": "r-9"})
    assert refused.json()["request_id"] == "r-9"


def test_events_say_who_did_what_without_names(client: httpx.Client) -> None:
    id = enrolled(client, 440, "Anna-Sophie")
    client.post("/v1/verify", params={"speaker": id}, content=tone(2000, 3, 80))
    page = client.get("/v1/events")
    actions = [(each["action"], each["person"], each["outcome"]) for each in page.json()["events"]]
    assert actions == [("create", id, "done"), ("enrol", id, "done"), ("enrol", id, "done"), ("verify", id, "reject")]
    assert "Anna-Sophie" not in page.text
    assert [each["action"] for each in client.get(f"/v1/speakers/{id}/export").json()["events"]][-1] == "verify"


def test_consent_quotas_and_retention(tmp_path: Path) -> None:
    chosen = settings_in(
        tmp_path, require_consent=True, quota_people=2, quota_hours=14 / 3600, keeping=Keeping(unfinished=7, expired=30)
    )
    with running(chosen) as own, own.client() as client:
        assert new(client).json()["code"] == "consent_missing"
        id = enrolled(client, 440)  # 12 s of sound
        today = datetime.now(UTC).date()
        late = new(client, consent="yes", expires=str(today - timedelta(days=1)))
        assert (late.status_code, late.json()["code"]) == (422, "invalid_request")
        begun = new(client, consent="yes", expires=str(today)).json()["id"]
        full = new(client, consent="yes")
        assert (full.status_code, full.json()["code"]) == (429, "quota_exceeded")
        assert client.patch(f"/v1/speakers/{id}", json={"consent": ""}).json()["code"] == "consent_missing"
        assert client.post("/v1/verify", params={"speaker": id}, content=tone(440, 3, 1)).status_code == 200
        spent = client.post("/v1/verify", params={"speaker": id}, content=tone(440, 3, 2))
        assert (spent.status_code, spent.json()["code"]) == (429, "quota_exceeded")
        assert int(spent.headers["retry-after"]) > 0

        def later(days: int) -> dict[str, int]:
            service = own.service
            return retain(
                service.room, service.jobs, service.ledger, service.log, datetime.now(UTC) + timedelta(days=days)
            )

        assert later(6)["speakers"] == 0
        assert later(8)["speakers"] == 1  # the one that was begun
        assert client.get(f"/v1/speakers/{begun}").status_code == 404
        assert client.get(f"/v1/speakers/{id}").json()["state"] == "enrolled"
        client.patch(f"/v1/speakers/{id}", json={"expires": str(date(2031, 1, 1))})
        assert later(31 + (date(2031, 1, 1) - today).days)["speakers"] == 1
        assert client.get("/v1/speakers").json()["speakers"] == []


def test_the_rate_of_a_key_is_limited(tmp_path: Path) -> None:
    chosen = settings_in(tmp_path)
    with contextlib.ExitStack() as stack:
        limits = replace(chosen.limits, rate=0.5, burst=3)
        own = stack.enter_context(running(replace(chosen, limits=limits)))
        client, other = (stack.enter_context(own.client(own.key("read"))) for _ in range(2))
        answers = [client.get("/v1/speakers") for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert answers[-1].json()["code"] == "rate_limited"
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 2
        assert other.get("/v1/speakers").status_code == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/openapi.json"])
def test_the_state_of_the_service_needs_no_key(service: Running, path: str) -> None:
    service.key("read")
    with service.client() as client:
        assert client.get(path).status_code == 200
        assert client.get("/metrics").status_code == 401


def test_metrics_count_routes_and_no_ids(client: httpx.Client) -> None:
    id = new(client).json()["id"]
    client.get(f"/v1/speakers/{id}")
    text = client.get("/metrics").text
    assert 'diarize_requests_total{method="GET",route="/v1/speakers/{speaker}",status="200"}' in text
    assert id not in text
