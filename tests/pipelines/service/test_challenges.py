"""Challenges, replays and countermeasures over HTTP; the recognizer understands what the test wants."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from diarize.client import Client, ServiceError
from diarize.config import Config
from diarize.types import Audio, Segment, Word
from pipelines.inputs import settings as layers
from tests.pipelines.service.servers import Running, running, settings_in, tone, wav
from tests.pipelines.service.test_streams import HEADER, converse

HERE = "tests.pipelines.service.test_challenges"
ANNA, BEN = (300.0, 2000.0), (2500.0, 7000.0)  # Hz, of the noise that the cheap embedder takes for their voices


@dataclass(frozen=True)
class Understanding:
    """A recognizer that understands whatever the test wants."""

    text: ClassVar[str] = ""
    name: str = "understanding"

    def __call__(self, audio: Audio, speech: Sequence[Segment]) -> tuple[tuple[Word, ...], str | None]:
        return tuple(Word(i, i + 0.5, word) for i, word in enumerate(self.text.split())), "en"


def recognizer(**options: Any) -> Understanding:
    return Understanding()


@dataclass(frozen=True)
class Believing:
    """A countermeasure with the score that the test wants."""

    value: ClassVar[float] = 1.0
    name: str = "believing@1"
    seconds: float = 2.0
    error: str = "wrong half of the time"

    def __call__(self, audio: Audio, segments: Sequence[Segment]) -> NDArray[np.float32]:
        return np.full(len(segments), self.value, np.float32)


def countermeasure(**options: Any) -> Believing:
    return Believing()


def said(voice: tuple[float, float], seed: int, seconds: float = 5.0, noise: float = 0.0005) -> bytes:
    """Noise of a band, louder and quieter all the time: other than a tone, it has a fingerprint."""
    rng = np.random.default_rng(seed)
    n = int(seconds * 16_000)
    spectrum = np.fft.rfft(rng.standard_normal(n))
    hertz = np.fft.rfftfreq(n, 1 / 16_000)
    samples = np.fft.irfft(np.where((hertz > voice[0]) & (hertz < voice[1]), spectrum, 0), n)
    samples = 0.1 * samples / samples.std()
    whole = np.concatenate([np.zeros(8000), samples, np.zeros(8000)])
    return wav(whole + noise * rng.standard_normal(len(whole)))


def config(**options: Any) -> Config:
    chosen = {"vad": "energy", "embedder": "tests.cheap:embedder", "offline": True, "asr": f"{HERE}:recognizer"}
    resolved = layers.resolve_options({**chosen, **options}, None, {}).config
    assert isinstance(resolved, Config)
    return resolved


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service that checks challenges, and nothing else unless it is asked."""
    with running(settings_in(tmp_path_factory.mktemp("guarded"), config=config(), threads=2)) as own:
        yield own


@pytest.fixture
def people(guarded: Running, tenant: str) -> Iterator[tuple[httpx.Client, str, str]]:
    """(client, id of Anna, id of Ben) of a tenant of its own."""
    with guarded.client(guarded.key("admin", tenant=tenant)) as client:
        yield client, enrol(client, ANNA, 10), enrol(client, BEN, 20)


def enrol(client: httpx.Client, voice: tuple[float, float], seed: int) -> str:
    id = str(client.post("/v1/speakers", json={"name": "Anna", "consent": "in a test"}).json()["id"])
    for each in (seed, seed + 1):
        answer = client.post(f"/v1/speakers/{id}/utterances", params={"accept": "voices"}, content=said(voice, each))
        assert answer.status_code == 201, answer.text
    return id


def draw(client: httpx.Client, speaker: str, **options: Any) -> dict[str, Any]:
    answer = client.post("/v1/challenges", json={"speaker": speaker, **options})
    assert answer.status_code == 201, answer.text
    drawn: dict[str, Any] = answer.json()
    return drawn


def verify(client: httpx.Client, speaker: str, sound: bytes, challenge: str | None = None) -> dict[str, Any]:
    query = {"speaker": speaker} | ({} if challenge is None else {"challenge": challenge})
    answer = client.post("/v1/verify", params=query, content=sound)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def codes(body: dict[str, Any]) -> list[str]:
    return [reason["code"] for reason in body["reasons"]]


def test_a_phrase_is_drawn_said_and_accepted(
    people: tuple[httpx.Client, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, anna, _ = people
    drawn = draw(client, anna, language="de", seconds=60)
    assert len(set(drawn["phrase"].split())) == 6 and drawn["speaker_id"] == anna
    assert drawn["phrase"] != draw(client, anna, language="de")["phrase"]
    monkeypatch.setattr(Understanding, "text", f"Ja: {drawn['phrase'].upper()}.")
    body = verify(client, anna, said(ANNA, 30), drawn["id"])
    assert (body["decision"], codes(body)) == ("accept", ["verified"])
    assert body["guard"]["challenge"] == "valid" and all(word["is_right"] for word in body["guard"]["words"])
    assert body["llr"] > body["threshold"]
    plain = verify(client, anna, said(ANNA, 31))
    assert (plain["decision"], plain["reasons"], "guard" in plain) == ("accept", [], False)
    actions = [(each["action"], each["outcome"]) for each in client.get("/v1/events").json()["events"]]
    assert ("challenge", "done") in actions and ("verify", "accept") in actions


def test_every_reason_that_applies_is_listed(
    people: tuple[httpx.Client, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, anna, _ = people
    monkeypatch.setattr(Understanding, "text", "something that was recorded last week")
    body = verify(client, anna, said(ANNA, 40), draw(client, anna)["id"])
    assert (body["decision"], codes(body)) == ("reject", ["phrase_mismatch"])
    body = verify(client, anna, said(BEN, 41), draw(client, anna)["id"])
    assert (body["decision"], codes(body)) == ("reject", ["phrase_mismatch", "speaker_mismatch"])
    body = verify(client, anna, said(ANNA, 10), draw(client, anna)["id"])  # the sound of the enrolment
    assert (body["decision"], codes(body)) == ("reject", ["spoofing_suspected", "phrase_mismatch"])
    assert body["guard"]["replay"]

    drawn = draw(client, anna)
    monkeypatch.setattr(Understanding, "text", drawn["phrase"])
    body = verify(client, anna, said(ANNA, 42, noise=0.06), drawn["id"])
    assert codes(body)[0] == "poor_quality" and body["decision"] != "accept"
    silent = verify(client, anna, wav(np.zeros(48_000)), draw(client, anna)["id"])
    assert (silent["decision"], codes(silent)) == ("inconclusive", ["poor_quality", "phrase_mismatch"])


def test_of_accepted_sound_the_newest_fingerprints_are_kept(tmp_path: Path) -> None:
    with running(settings_in(tmp_path, guard=True, most_fingerprints=2)) as own, own.client() as client:
        anna = enrol(client, ANNA, 10)
        sounds = [said(ANNA, 60 + number) for number in range(3)]
        assert [verify(client, anna, sound)["decision"] for sound in sounds] == ["accept"] * 3
        again = [verify(client, anna, sound) for sound in reversed(sounds)]
        assert [(body["decision"], codes(body)) for body in again] == [
            ("reject", ["spoofing_suspected"]),
            ("reject", ["spoofing_suspected"]),
            ("accept", ["verified"]),  # its fingerprint was the oldest
        ]
        assert codes(verify(client, anna, said(ANNA, 10))) == ["spoofing_suspected"]  # that of the enrolment stays
        with own.settings.tenants.open("default") as library:
            assert len(list(library.guard.prints(anna))) == 4


def test_a_challenge_that_does_not_hold_looks_like_one_that_never_was(
    guarded: Running, people: tuple[httpx.Client, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, anna, ben = people
    used, of_ben = draw(client, anna), draw(client, ben)
    monkeypatch.setattr(Understanding, "text", used["phrase"])
    assert verify(client, anna, said(ANNA, 50), used["id"])["decision"] == "accept"
    with guarded.client(guarded.key("admin", tenant="strangers")) as stranger:
        of_stranger = draw(stranger, enrol(stranger, ANNA, 60))
    soon = draw(client, anna, seconds=5)
    time.sleep(5.1)
    for text in (of_ben["phrase"], of_stranger["phrase"], soon["phrase"], used["phrase"]):
        monkeypatch.setattr(Understanding, "text", text)  # whatever the phrase was: it is not asked
        answers = []
        for number, id in enumerate((used["id"], of_ben["id"], of_stranger["id"], soon["id"], "0" * 32, "never")):
            body = verify(client, anna, said(ANNA, 51), id)
            assert (body["decision"], codes(body)) == ("inconclusive", ["expired"]), number
            answers.append({**body, "received": None})
        assert all(answer == answers[0] for answer in answers)
    with guarded.client(guarded.key("admin", tenant="strangers")) as stranger:  # where it is still to be used
        anna_there = stranger.get("/v1/speakers").json()["speakers"][0]["id"]
        monkeypatch.setattr(Understanding, "text", of_stranger["phrase"])
        assert verify(stranger, anna_there, said(ANNA, 52), of_stranger["id"])["decision"] == "accept"
        # The challenge of Ben was used up by the attempt to use it for Anna.
    monkeypatch.setattr(Understanding, "text", of_ben["phrase"])
    assert codes(verify(client, ben, said(BEN, 53), of_ben["id"])) == ["expired"]


def test_one_of_two_answers_at_once_is_accepted(
    guarded: Running, tenant: str, people: tuple[httpx.Client, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, anna, _ = people
    first, second = draw(client, anna), draw(client, anna)
    monkeypatch.setattr(Understanding, "text", f"{first['phrase']} {second['phrase']}")
    key = guarded.key("verify", tenant=tenant)

    def race(ids: Sequence[str], sounds: Sequence[bytes]) -> list[dict[str, Any]]:
        answers: list[dict[str, Any]] = []

        def ask(id: str, sound: bytes) -> None:
            with guarded.client(key) as own:
                answers.append(verify(own, anna, sound, id))

        threads = [threading.Thread(target=ask, args=pair) for pair in zip(ids, sounds, strict=True)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sorted(answers, key=lambda answer: answer["decision"])

    same_sound = race([first["id"], second["id"]], [said(ANNA, 70)] * 2)
    assert [codes(each) for each in same_sound] == [["verified"], ["spoofing_suspected"]]
    third = draw(client, anna)
    monkeypatch.setattr(Understanding, "text", third["phrase"])
    same_challenge = race([third["id"]] * 2, [said(ANNA, 71), said(ANNA, 72)])
    assert [codes(each) for each in same_challenge] == [["verified"], ["expired"]]


def test_the_same_request_again_has_the_same_answer(
    people: tuple[httpx.Client, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, anna, _ = people
    drawn = draw(client, anna)
    monkeypatch.setattr(Understanding, "text", drawn["phrase"])
    request = {"params": {"speaker": anna, "challenge": drawn["id"]}, "headers": {"Idempotency-Key": "once"}}
    first, again = (client.post("/v1/verify", **request, content=said(ANNA, 80)) for _ in range(2))  # type: ignore[arg-type]
    assert first.json()["decision"] == "accept" and again.json() == first.json()
    assert again.headers["Idempotency-Replayed"] == "true"
    other = client.post("/v1/verify", **request, content=said(ANNA, 81))  # type: ignore[arg-type]
    assert other.json()["code"] == "idempotency_mismatch"


def test_who_may_draw_for_whom(guarded: Running, tenant: str, people: tuple[httpx.Client, str, str]) -> None:
    client, anna, _ = people
    with guarded.client(guarded.key("read", "enrol", tenant=tenant)) as reader:
        assert reader.post("/v1/challenges", json={"speaker": anna}).json()["code"] == "forbidden"
    with guarded.client(guarded.key("verify", tenant=f"{tenant}_other")) as stranger:
        assert stranger.post("/v1/challenges", json={"speaker": anna}).json()["code"] == "speaker_not_found"
    for options, code in (
        ({"language": "xx"}, "invalid_request"),
        ({"seconds": 4}, "invalid_request"),
        ({"seconds": 86_400}, "invalid_request"),
        ({"speaker": "f" * 32}, "speaker_not_found"),
        ({"phrase": "of my own"}, "invalid_request"),
    ):
        assert client.post("/v1/challenges", json={"speaker": anna, **options}).json()["code"] == code, options
    client.put(f"/v1/speakers/{anna}/opt-out")
    assert client.post("/v1/challenges", json={"speaker": anna}).json()["code"] == "opted_out"


def test_the_client_and_a_stream_answer_challenges(
    guarded: Running, tenant: str, people: tuple[httpx.Client, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, anna, _ = people
    key = guarded.key("verify", tenant=tenant)
    with Client(guarded.url, key) as client:
        drawn = client.challenge(anna, language="fr", seconds=60)
        monkeypatch.setattr(Understanding, "text", drawn.phrase)
        assert client.verify(anna, said(ANNA, 90), challenge=drawn).accepted
        again = client.verify(anna, said(ANNA, 90), challenge=drawn.id)
        assert (again.decision, again.reasons) == ("reject", ("expired", "spoofing_suspected"))
        with pytest.raises(ServiceError, match="speaker_not_found"):
            client.challenge("f" * 32)
        drawn = client.challenge(anna)
    monkeypatch.setattr(Understanding, "text", drawn.phrase)
    result = converse(guarded, key, "verify", f"{anna}&challenge={drawn.id}", said(ANNA, 91)[HEADER:])[-1]
    assert (result["decision"], codes(result)) == ("accept", ["verified"])


def test_a_service_that_always_checks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = config(countermeasure=f"{HERE}:countermeasure", spoof_threshold=0.0)
    with running(settings_in(tmp_path, config=chosen, guard=True, compat=True)) as own, own.client() as client:
        anna = enrol(client, ANNA, 10)
        body = verify(client, anna, said(ANNA, 30))
        assert (body["decision"], codes(body)) == ("accept", ["verified"])
        assert body["guard"]["spoofing"] == {
            "model": "believing@1",
            "error": "wrong half of the time",
            "threshold": 0.0,
            "score": 1.0,
            "suspected": False,
        }
        quieter = said(ANNA, 30)[:HEADER] + (np.frombuffer(said(ANNA, 30)[HEADER:], "<i2") // 2).tobytes()
        for sound in (said(ANNA, 30), quieter, said(ANNA, 10)):  # again, at another level, of the enrolment
            body = verify(client, anna, sound)
            assert (body["decision"], codes(body)) == ("reject", ["spoofing_suspected"])
        compat = client.post("/verify", params={"claimed_speaker_id": "Anna"}, content=said(ANNA, 30)).json()
        assert compat["verified"] is False and set(compat) == {
            "verified",
            "similarity",
            "threshold",
            "claimed_speaker_id",
        }
        assert client.post("/v1/verify", params={"speaker": anna}, content=tone(440, 1)).status_code == 422  # as before
        copied = client.post(f"/v1/speakers/{anna}/utterances", params={"accept": "voices"}, content=quieter).json()
        assert copied["code"] == "duplicate" and anna not in copied["detail"]

        monkeypatch.setattr(Believing, "value", -1.0)
        assert codes(verify(client, anna, said(ANNA, 31))) == ["spoofing_suspected"]
        refused = client.post(
            f"/v1/speakers/{anna}/utterances", params={"accept": "voices"}, content=said(ANNA, 32)
        ).json()
        assert refused["code"] == "spoofing_suspected"


def test_a_service_without_a_recognizer_says_so(tmp_path: Path) -> None:
    with running(settings_in(tmp_path, config=config(asr="none"))) as own, own.client() as client:
        anna = enrol(client, ANNA, 10)
        answers = (
            client.post("/v1/challenges", json={"speaker": anna}),
            client.post("/v1/verify", params={"speaker": anna, "challenge": "0" * 32}, content=said(ANNA, 30)),
        )
        for answer in answers:
            assert (answer.status_code, answer.json()["code"]) == (409, "phrases_not_checked")


@pytest.mark.parametrize(
    ("options", "guard", "enabled", "threshold"),
    [
        ([], False, False, None),
        (["--guard"], True, False, None),
        (["--countermeasure=aasist"], True, True, None),
        (["--countermeasure=aasist", "--spoof-threshold=-1.5"], True, True, -1.5),
    ],
)
def test_options_of_serve(
    tmp_path: Path,
    options: list[str],
    guard: bool,
    enabled: bool,
    threshold: float | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import run_pipeline
    from pipelines.service import server

    seen: list[Any] = []
    monkeypatch.setattr(server, "run", lambda chosen, *rest: seen.append(chosen))
    assert run_pipeline.main(["serve", "--data", str(tmp_path), *options]) == 0
    spoof = seen[0].config.spoof
    assert (seen[0].guard, spoof.enabled, spoof.threshold) == (guard, enabled, threshold)
