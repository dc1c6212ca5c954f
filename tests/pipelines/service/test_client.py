"""The Python client against a real service."""

from __future__ import annotations

import pickle
from pathlib import Path

import httpx
import pytest

from diarize.client import Client, ServiceError, ServiceUnreachable
from tests.pipelines.service.servers import TONES, Running, enrolled, tone


def test_enrol_decide_list_delete(service: Running, tenant: str, tmp_path: Path) -> None:
    with Client(service.url, service.key("admin", tenant=tenant)) as client:
        anna = client.create("Anna", consent="in a test")
        (tmp_path / "a.wav").write_bytes(tone(440, 5, 1))
        half = client.add_utterance(anna.id, tmp_path / "a.wav", accept=TONES["accept"])
        assert (half.complete, half.seconds, half.required) == (False, 5.0, 8.0)
        whole = client.add_utterance(anna.id, tone(440, 5, 2), accept=TONES["accept"])
        assert whole.complete and whole == client.speaker(anna.id)
        assert client.verify(anna.id, tone(440, 3, 3)).accepted
        rejected = client.verify(anna.id, tone(2000, 3, 4))
        assert (rejected.decision, rejected.reasons) == ("reject", ("speaker_mismatch",))
        assert client.identify(tone(440, 3, 5)).speaker == anna.id
        assert [each.id for each in client.speakers()] == [anna.id]
        assert client.export(anna.id)["speaker"]["name"] == "Anna"
        client.delete(anna.id)
        with pytest.raises(ServiceError, match="speaker_not_found") as caught:
            client.speaker(anna.id)
        assert pickle.loads(pickle.dumps(caught.value)).code == "speaker_not_found"


def test_an_error_carries_its_facts(service: Running, tenant: str) -> None:
    with Client(service.url, service.key("admin", tenant=tenant)) as client:
        anna = client.create("Anna")
        with pytest.raises(ServiceError) as caught:
            client.add_utterance(anna.id, tone(440, 1, 1))
        assert (caught.value.code, caught.value.problem["need"], caught.value.problem["got"]) == (
            "audio_too_short",
            1.5,
            1,
        )


def test_a_recording_is_submitted(service: Running, tenant: str) -> None:
    with Client(service.url, service.key("identify", tenant=tenant)) as client:
        id = client.submit(tone(440, 4, 1), num_speakers=1)
        assert client.recording(id)["options"] == {"num_speakers": 1}
        with pytest.raises(ServiceError, match="not_finished"):
            client.transcript(id)
        with pytest.raises(ServiceError, match="recording_not_found"):
            list(client.events("f" * 32))


def test_the_next_address_is_asked_where_one_does_not_answer(service: Running, tenant: str) -> None:
    with Client(["http://127.0.0.1:9", service.url], service.key("admin", tenant=tenant)) as client:
        assert client.create("Anna").name == "Anna"
    with Client("http://127.0.0.1:9") as client, pytest.raises(ServiceUnreachable, match="cannot be reached"):
        client.speaker("x")


def test_a_stream_goes_to_the_next_address_where_one_does_not_answer(
    service: Running, client: httpx.Client, tenant: str
) -> None:
    id = enrolled(client, 440)
    sound = tone(440, 3, 6)[44:]
    pieces = iter([sound[at : at + 3200] for at in range(0, len(sound), 3200)])  # can be read once
    nobody = "http://127.0.0.1:9"
    with Client([nobody, service.url], service.key("verify", tenant=tenant)) as own:
        assert own.stream_verify(id, pieces).accepted
        assert own.stream_verify(id, [sound]).accepted
    with (
        Client([nobody, "http://127.0.0.1:10"]) as own,
        pytest.raises(ServiceUnreachable, match=r"127\.0\.0\.1:9, http://127\.0\.0\.1:10"),
    ):
        own.stream_verify(id, [sound])
