"""Tenants never see each other's people, whatever is asked in which order."""

from __future__ import annotations

import itertools

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.pipelines.service.servers import TONES, Running, enrolled, tone

_numbers = itertools.count(1)
_STEPS = st.lists(
    st.tuples(
        st.integers(0, 1),  # who asks
        st.sampled_from(
            ["create", "enrol", "verify", "identify", "list", "name", "show", "rename", "delete", "export"]
        ),
        st.integers(0, 5),  # about which of all speakers
    ),
    min_size=5,
    max_size=10,
)


@pytest.mark.slow
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=_STEPS)
def test_tenants_never_see_each_others_people(service: Running, steps: list[tuple[int, str, int]]) -> None:
    number = next(_numbers)
    keys = [service.key("admin", tenant=f"p{number}_{side}") for side in (0, 1)]
    clients = [service.client(key) for key in keys]
    owners: dict[str, int] = {}  # id -> side
    names: dict[str, str] = {}
    try:
        for side in (0, 1):  # the same name on both sides
            made = clients[side].post("/v1/speakers", json={"name": "Anna"}).json()
            owners[made["id"]], names[made["id"]] = side, f"Anna of {side}"
            clients[side].patch(f"/v1/speakers/{made['id']}", json={"name": names[made["id"]]})
        for at, (side, action, which) in enumerate(steps):
            id = sorted(owners)[which % len(owners)]
            answer = _do(clients[side], action, id, 1000 * number + at)
            own = owners[id] == side
            assert answer.status_code < 500, answer.text
            if action == "create":
                owners[answer.json()["id"]], names[answer.json()["id"]] = side, f"New {at} of {side}"
                clients[side].patch(f"/v1/speakers/{answer.json()['id']}", json={"name": f"New {at} of {side}"})
            elif action in ("enrol", "verify", "show", "rename", "delete", "export") and not own:
                assert (answer.status_code, answer.json()["code"]) == (404, "speaker_not_found")
            elif action == "delete":
                assert answer.status_code == 204
                del owners[id]
            for other, owner in owners.items():
                if owner != side:
                    assert names[other] not in answer.text
                    assert other not in answer.text
        for side in (0, 1):
            listed = {each["id"] for each in clients[side].get("/v1/speakers").json()["speakers"]}
            assert listed == {id for id, owner in owners.items() if owner == side}
    finally:
        for client in clients:
            client.close()


def _do(client: httpx.Client, action: str, id: str, seed: int) -> httpx.Response:
    sound = tone(440, 3, seed)
    match action:
        case "create":
            return client.post("/v1/speakers", json={"name": "Anna"})
        case "enrol":
            return client.post(f"/v1/speakers/{id}/utterances", params=TONES, content=sound)
        case "verify":
            return client.post("/v1/verify", params={"speaker": id}, content=sound)
        case "identify":
            return client.post("/v1/identify", params={"top": 50}, content=sound)
        case "list":
            return client.get("/v1/speakers")
        case "name":
            return client.get("/v1/speakers", params={"name": "Anna of 0"})
        case "show":
            return client.get(f"/v1/speakers/{id}")
        case "rename":
            return client.patch(f"/v1/speakers/{id}", json={"consent": "yes"})
        case "delete":
            return client.delete(f"/v1/speakers/{id}")
        case _:
            return client.get(f"/v1/speakers/{id}/export", params={"vectors": True})


def test_recordings_events_and_opt_outs_are_a_tenants_own(service: Running) -> None:
    keys = [service.key("admin", tenant=name) for name in ("left", "right")]
    with service.client(keys[0]) as left, service.client(keys[1]) as right:
        id = enrolled(left, 440)
        job = left.post("/v1/recordings", content=b"no audio").json()["id"]
        left.put(f"/v1/speakers/{id}/opt-out")
        assert right.get(f"/v1/speakers/{id}").json()["code"] == "speaker_not_found"
        assert right.delete(f"/v1/speakers/{id}/opt-out").json()["code"] == "speaker_not_found"
        seen = {each["action"] for each in right.get("/v1/events").json()["events"]}
        assert seen == {"show", "opt-in"}  # what it asked for itself
        assert right.get("/v1/recordings").json()["recordings"] == []
        for answer in (
            right.get(f"/v1/recordings/{job}"),
            right.get(f"/v1/recordings/{job}/events"),
            right.get(f"/v1/recordings/{job}/transcript"),
            right.post(f"/v1/recordings/{job}/cancel"),
            right.delete(f"/v1/recordings/{job}"),
        ):
            assert (answer.status_code, answer.json()["code"]) == (404, "recording_not_found")
        assert left.delete(f"/v1/recordings/{job}").status_code == 204


def test_a_repeated_request_is_a_tenants_own(service: Running) -> None:
    headers = {"Idempotency-Key": "the-same"}
    ids = []
    for tenant in ("one", "two"):
        with service.client(service.key("admin", tenant=tenant)) as client:
            ids.append(client.post("/v1/speakers", json={"name": "Anna"}, headers=headers).json()["id"])
    assert ids[0] != ids[1]
