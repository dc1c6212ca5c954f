"""Opus over a WebSocket, made by libopus; and what is no Opus."""

from __future__ import annotations

import io
import json
import wave
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from diarize.audio import reading
from diarize.client import Client, ServiceError, ServiceUnreachable
from pipelines.service.http import stream_routes
from pipelines.service.streams import opus
from pipelines.service.streams.opus import OpusSound, duration, page
from pipelines.service.work.refusals import Refusal
from tests.pipelines.service.servers import Running, enrolled, tone


def encoded(content: bytes, format: str | None = None, rate: int = 48_000, **options: str) -> Any:
    """The Opus packets of a WAV file; with a `format`, a file of that container."""
    with wave.open(io.BytesIO(content)) as file:
        source, samples = file.getframerate(), np.frombuffer(file.readframes(file.getnframes()), "<i2")
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=format or "ogg") as container:
        stream: Any = container.add_stream(
            "libopus", rate=rate, layout="mono", options={"frame_duration": "20", **options}
        )
        frame = av.AudioFrame.from_ndarray(samples[None], "s16", "mono")
        frame.sample_rate, frame.pts = source, 0
        resampler = av.AudioResampler("s16", "mono", rate)
        frames = [*resampler.resample(frame), *resampler.resample(None)]
        packets = [packet for each in frames for packet in stream.encode(each)] + stream.encode(None)
        container.mux(packets)
        return [bytes(packet) for packet in packets] if format is None else (container.close(), buffer.getvalue())[1]


def opposite(hertz: float, seconds: float, seed: int) -> list[bytes]:
    """Stereo packets whose channels have opposite phase: their mean is silence."""
    with wave.open(io.BytesIO(tone(hertz, seconds, seed))) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    packets: list[bytes] = []
    with av.open(io.BytesIO(), "w", format="ogg") as container:
        stream: Any = container.add_stream("libopus", rate=48_000, layout="stereo", options={"frame_duration": "20"})
        frame = av.AudioFrame.from_ndarray(np.stack([samples, -samples]), "s16p", "stereo")
        frame.sample_rate, frame.pts = 16_000, 0
        resampler = av.AudioResampler("s16", "stereo", 48_000)
        for each in [*resampler.resample(frame), *resampler.resample(None)]:
            packets += map(bytes, stream.encode(each))
        packets += map(bytes, stream.encode(None))
    return packets


def converse(service: Running, key: str, speaker: str, messages: Sequence[bytes], opening: object = None) -> list[Any]:
    """All that the service sends to a verification."""
    url = service.url.replace("http", "ws") + f"/v1/stream/verify?speaker={speaker}"
    answers: list[Any] = []
    with connect(url, additional_headers={"Authorization": f"Bearer {key}"}, proxy=None) as socket:
        with suppress(ConnectionClosed):
            socket.send(json.dumps(opening or {"codec": "opus"}))
            for message in messages:
                socket.send(message)
            socket.send(json.dumps({"end": True}))
        with suppress(ConnectionClosed):
            while True:
                answers.append(json.loads(socket.recv(30)))
    return answers


def pieces(content: bytes, size: int) -> list[bytes]:
    return [content[at : at + size] for at in range(0, len(content), size)]


def decode(content: bytes) -> tuple[str, float]:
    """(codec, s) of a file, as FFmpeg reads it."""
    with av.open(io.BytesIO(content)) as container:
        seconds = sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))
        return container.streams.audio[0].codec_context.name, seconds


@pytest.mark.parametrize("frame", ["2.5", "10", "20", "60"])
def test_packets_become_an_ogg_file_of_the_same_sound(frame: str) -> None:
    packets = encoded(tone(440, 3), frame_duration=frame)
    sound = OpusSound()
    for packet in packets:
        sound.add(packet)
    assert sound.seconds == pytest.approx(sum(map(duration, packets)))
    codec, seconds = decode(sound.content())
    assert codec in ("opus", "libopus") and seconds == pytest.approx(sound.seconds, abs=0.03)
    assert duration(packets[0]) == pytest.approx(float(frame) / 1000)


def test_pages_are_those_that_others_write() -> None:
    content = encoded(tone(440, 2), "ogg")
    sound = OpusSound()
    for piece in pieces(content, 777):
        sound.add(piece)
    assert sound.content() == content and sound.seconds == pytest.approx(decode(content)[1], abs=0.05)
    first = content[: content.index(b"OggS", 4)]  # our checksum is that of the reference writer
    packet = first[28:]
    ours = bytearray(page(packet, 0, 0, 0x02))
    theirs = bytearray(first)
    theirs[14:18] = ours[14:18]  # the number of the stream is a random one
    assert ours[22:26] == page(packet, 0, 0, 0x02)[22:26] and ours[:22] == theirs[:22] and ours[26:] == theirs[26:]
    assert decode(bytes(ours) + b"".join(page(p, 312 + 960 * (i + 1), i + 1) for i, p in enumerate(
        [b"OpusTags" + bytes(8), *encoded(tone(440, 1))]
    )))[1] > 0.9  # fmt: skip


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_pages_in_pieces_of_any_size(size: int) -> None:
    content = encoded(tone(440, 1), "ogg")
    sound = OpusSound()
    for piece in [content[:size], *pieces(content[size:], 500)]:
        sound.add(piece)
    assert sound.content() == content and sound.seconds > 1.9


@pytest.mark.parametrize("messages", [[b"O", b"x"], [b"O", b"\x02" + bytes(40)], [b"Og", b"g", b"T" + bytes(40)]])
def test_what_begins_as_a_page_and_is_none_is_refused(messages: list[bytes]) -> None:
    sound = OpusSound()
    with pytest.raises(Refusal, match=r"not_audio: message 1 is no Opus packet"):
        for message in messages:
            sound.add(message)


@pytest.mark.parametrize("mono", [0, 3], ids=["stereo", "mono-first"])
def test_channels_of_opposite_phase_are_not_averaged(tmp_path: Path, mono: int) -> None:
    sound = OpusSound()
    for packet in [*encoded(tone(440, 1))[:mono], *opposite(440, 3, 96)]:
        sound.add(packet)
    path = tmp_path / "stereo.ogg"
    path.write_bytes(sound.content())
    samples = reading.read(path, id="stereo").audios[0].samples
    assert np.sqrt(np.mean(np.square(samples))) == pytest.approx(0.3 / np.sqrt(2), rel=0.25)  # 1 s of 4 is silence


def test_stereo_packets_are_verified(service: Running, client: httpx.Client, tenant: str) -> None:
    id = enrolled(client, 440)
    for hertz, decision in ((440, "accept"), (2000, "reject")):
        last = converse(service, service.key("verify", tenant=tenant), id, opposite(hertz, 3, 97))[-1]
        assert (last["type"], last["decision"]) == ("result", decision), last


@pytest.mark.parametrize("container", [None, "ogg"])
def test_enrolment_and_verification_of_opus(
    service: Running, client: httpx.Client, tenant: str, container: str | None
) -> None:
    id = enrolled(client, 440)
    key = service.key("admin", tenant=tenant)
    for hertz, decision in ((440, "accept"), (2000, "reject")):
        content = encoded(tone(hertz, 3, 90), container)
        answers = converse(service, key, id, content if container is None else pieces(content, 1000))
        progress = [each for each in answers if each["type"] == "progress"]
        assert progress and progress[0]["need"] == 1.5 and progress[-1]["enough"]
        assert progress == sorted(progress, key=lambda each: each["seconds"])
        assert (answers[-1]["type"], answers[-1]["decision"]) == ("result", decision), answers[-1]
        assert answers[-1]["received"]["type"].startswith("ogg (")
        assert answers[-1]["received"]["seconds"] == pytest.approx(4, abs=0.1)
    assert not list(service.service.uploads.iterdir())


HOSTILE = {
    "empty": [b""],
    "no frames": [bytes([0x4B, 0])],
    "too many frames": [bytes([0x4B, 63]) + bytes(100)],
    "half a code": [bytes([0x4B])],
    "the beginning of a page": [b"O", b"gg"],
    "too many bytes": [bytes([0x08]) + bytes(9000)],
    "larger than a page": [bytes([0x4B, 6]) + bytes(70_000)],
    "samples": [bytes(range(256)) * 30] * 20,
    "text": [b"Hello, is anybody there?" * 100],
    "wav": [tone(440, 1)[:8000]],
    "another stream": [b"OggS" + bytes(23) + b"\x01vorbis" + bytes(100)],
    "a page without an end": [b"OggS" + b"\xff" * 300],
    "no page behind a page": [b"HEAD", b"garbage" * 10],
    "packets of noise": [bytes([0x08]) + bytes([n * 37 % 256 for n in range(40)]) for _ in range(100)],
    "headers alone": [b"TAGS"],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_opus_is_refused(service: Running, client: httpx.Client, tenant: str, name: str) -> None:
    id = enrolled(client, 440)
    key = service.key("verify", tenant=tenant)
    whole = encoded(tone(440, 1), "ogg")
    known = {
        b"HEAD": whole[: whole.index(b"OggS", 4)],
        b"TAGS": whole[: whole.index(b"OggS", whole.index(b"OpusTags"))],
    }
    last = converse(service, key, id, [known.get(message, message) for message in HOSTILE[name]])[-1]
    assert last["type"] == "problem", last
    assert last["code"] in ("not_audio", "audio_empty", "no_speech", "audio_too_short"), last
    if name not in ("packets of noise", "headers alone", "a page without an end"):
        assert last["code"] == "not_audio" and last["status"] == 415
    good = converse(service, key, id, encoded(tone(440, 3, 91)))  # the service answers as before
    assert good[-1]["decision"] == "accept"


def test_streams_have_an_end(service: Running, client: httpx.Client, tenant: str) -> None:
    id = enrolled(client, 440)
    key = service.key("verify", tenant=tenant)
    silence = encoded(tone(440, 1))[0]
    long = converse(service, key, id, [silence] * 3100)[-1]  # 62 s
    assert (long["code"], long["limit"]) == ("audio_too_long", 60.0)
    head = encoded(tone(440, 1), "ogg")
    position = bytearray(head)
    at = head.rindex(b"OggS")
    position[at + 6 : at + 14] = (48_000 * 3600).to_bytes(8, "little")
    assert converse(service, key, id, [bytes(position)])[-1]["code"] == "audio_too_long"
    assert converse(service, key, id, [bytes(300_000)])[-1]["code"] == "too_large"
    with pytest.raises(Refusal, match="too_large"):
        sound = OpusSound()
        sound.add(head[: head.index(b"OggS", 4)])
        for _ in range(300):
            sound.add(b"OggS" + bytes(2) + b"\xff" * 8 + bytes(12) + b"\xff" * 256 + bytes(255 * 255))
    assert opus.MOST_BYTES < 2 * 60 * 510_000 / 8 and stream_routes.LONGEST == 60


def test_what_decodes_to_hours_ends_with_a_refusal(service: Running, client: httpx.Client, tenant: str) -> None:
    """Packets of 120 ms and positions that say little: the decoder counts for itself."""
    id = enrolled(client, 440)
    content = encoded(tone(440, 1), "ogg")
    first = content[28 : content.index(b"OggS", 4)]
    head = page(first, 0, 0, 0x02) + page(b"OpusTags" + bytes(8), 0, 1)  # of the stream of the pages below
    packet = encoded(tone(440, 1), frame_duration="120", b="6000")[1]
    assert duration(packet) == pytest.approx(0.12)
    bomb = head + b"".join(page(packet, 960, number) for number in range(2, 9000))  # 18 minutes
    assert len(bomb) < opus.MOST_BYTES
    last = converse(service, service.key("verify", tenant=tenant), id, pieces(bomb, 200_000))[-1]
    assert last["type"] == "problem"
    assert last["code"] in ("audio_too_long", "audio_too_costly"), last


def test_the_client_streams(service: Running, client: httpx.Client, tenant: str) -> None:
    reports: list[Any] = []
    with Client(service.url, service.key("admin", tenant=tenant)) as own:
        id = enrolled(client, 440)
        packets = encoded(tone(440, 3, 92))
        assert own.stream_verify(id, packets, codec="opus", on_progress=reports.append).accepted
        assert reports[-1]["enough"]
        assert own.stream_verify(id, pieces(tone(440, 3, 93)[44:], 3200)).accepted
        assert own.stream_verify(id, pieces(encoded(tone(2000, 3, 94), "ogg"), 500), codec="opus").decision == "reject"
        new = own.create("Berta", consent="in a test")
        with pytest.raises(ServiceError) as caught:
            own.stream_utterance(new.id, [b"no packet" * 1000], codec="opus")
        assert (caught.value.code, caught.value.status) == ("not_audio", 415)
        with pytest.raises(ServiceError) as caught:
            own.stream_utterance(new.id, encoded(tone(660, 5, 95)), codec="opus")
        assert caught.value.code in ("clipped", "two_speakers")  # a tone: as over HTTP
    with Client(service.url, "dz_wrong") as stranger, pytest.raises(ServiceError) as caught:
        stranger.stream_verify(id, packets, codec="opus")
    assert caught.value.code == "unauthenticated"
    with Client("http://127.0.0.1:9") as nobody, pytest.raises(ServiceUnreachable):
        nobody.stream_verify(id, packets, codec="opus")


def test_a_real_voice(tmp_path: Path) -> None:
    """Speech of the example conversation survives the way through packets."""
    import soundfile

    samples, rate = soundfile.read(Path(__file__).parents[3] / "examples" / "conversation.flac")
    soundfile.write(tmp_path / "a.wav", samples[: 5 * rate], rate, subtype="PCM_16")
    sound = OpusSound()
    for packet in encoded((tmp_path / "a.wav").read_bytes()):
        sound.add(packet)
    with av.open(io.BytesIO(sound.content())) as container:
        resampler = av.AudioResampler("flt", "mono", rate)
        frames = [each for frame in container.decode(audio=0) for each in resampler.resample(frame)]
    decoded = np.concatenate([frame.to_ndarray()[0] for frame in frames])
    n = min(len(decoded), 5 * rate) - rate // 10
    original = samples[:n]
    spectra = np.fft.rfft(original, 2 * n), np.fft.rfft(decoded[:n], 2 * n)
    correlation = np.abs(np.fft.irfft(spectra[0] * np.conj(spectra[1]))).max()
    assert correlation / (np.linalg.norm(original) * np.linalg.norm(decoded[:n])) > 0.9
