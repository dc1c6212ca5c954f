"""Decoding in a process that is allowed nothing: the same result, and whatever happens to it costs one recording."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diarize.audio import reading, sample_buffer
from diarize.errors import AudioError, BackendError, OutputError
from pipelines.processes import confined, decoder, decoding, sandbox
from pipelines.processes.confined import Connection
from pipelines.processes.decoding import Decoder
from pipelines.processes.lifetime import LINEAR_ALGEBRA
from tests import media
from tests.media import Film, Track

pytestmark = pytest.mark.skipif(not decoding.available(), reason="needs Linux")

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def own() -> Iterator[Decoder]:
    own = Decoder()
    yield own
    own.close()


def read(path: Path, own: Decoder, **options: Any) -> reading.Recording:
    return reading.read(path, id="r", decode=own, **options)


def pid(own: Decoder) -> int:
    assert own._process is not None
    return own._process.process.pid


def good(folder: Path, seconds: float = 1.0) -> Path:
    return media.wav(folder / "good.wav", media.pcm16(media.noise(seconds, 16_000)), 16_000)


def alike(one: reading.Recording, other: reading.Recording) -> None:
    assert one.source == other.source
    assert len(one.audios) == len(other.audios)
    for a, b in zip(one.audios, other.audios, strict=True):
        assert a.samples.tobytes() == b.samples.tobytes()
        assert (a.lost, a.digest, a.pcm, a.rate) == (b.lost, b.digest, b.pcm, b.rate)


KINDS = [
    ("wav", "pcm_s16le", 1), ("wav", "pcm_f32le", 2), ("flac", "flac", 2), ("mp3", "libmp3lame", 2), ("ipod", "aac", 2),
    ("adts", "aac", 1), ("ogg", "libopus", 1), ("ogg", "vorbis", 2), ("webm", "libopus", 2), ("mpegts", "mp2", 2),
    ("aiff", "pcm_s16be", 1), ("au", "pcm_s16be", 1), ("caf", "alac", 1), ("matroska", "flac", 6),
    ("matroska", "pcm_s16le", 8), ("amr", "libopencore_amrnb", 1),
]  # fmt: skip


@pytest.mark.parametrize("damaged", [False, True])
def test_the_same_as_in_this_process(damaged: bool, own: Decoder, tmp_path: Path) -> None:
    """Byte for byte, for every kind of container: nothing that decoding needs is forbidden to the process."""
    for container, codec, channels in KINDS:
        rate = 8_000 if "amr" in codec else 48_000
        bits = 12_200 if "amr" in codec else 96_000
        track = Track(media.noise(2, rate, channels, level=0.4), rate, codec, bits, options={"strict": "experimental"})
        path = media.write(tmp_path / f"{container}.{codec}", container, track)
        if damaged:
            media.damage(path, 0.5, 0.6)
        try:
            here = reading.read(path, id="r")
        except AudioError as error:
            assert damaged
            with pytest.raises(AudioError, match=re.escape(str(error))):
                read(path, own)
        else:
            alike(read(path, own), here)


@pytest.mark.parametrize("channel", ["per-channel", "mix", "1"])
def test_every_choice_of_channels(channel: str, own: Decoder, tmp_path: Path) -> None:
    path = media.write(tmp_path / "a.mkv", "matroska", Film(1), Track(media.noise(1, 44_100, 2), 44_100, "flac"))
    alike(read(path, own, channel=channel), reading.read(path, id="r", channel=channel))


def test_errors_are_the_same(own: Decoder, tmp_path: Path) -> None:
    texts = {"playlist": b"#EXTM3U\nhttp://example.org/a.mp3\n", "utf16": "\ufeffProtokoll".encode("utf-16-le") * 50}
    for name, content in {
        **texts,
        "zeros": bytes(5000),
        "empty": b"",
        "ftyp": b"\0\0\0\x20ftypM4A " + bytes(99),
    }.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(AudioError) as here:
            reading.read(path, id="r")
        with pytest.raises(AudioError) as there:
            read(path, own)
        assert there.value.args == here.value.args
    with pytest.raises(AudioError, match="no channel 3"):
        read(good(tmp_path), own, channel="3")


def test_fault_19_an_error_of_the_disk_is_not_the_recordings(own: Decoder, tmp_path: Path) -> None:
    with FileIO("/proc/self/mem") as file, pytest.raises(AudioError, match="Input/output error") as raised:
        own(file, "a.wav", "auto", None, tmp_path)  # there is nothing at address 0
    assert isinstance(raised.value.__cause__, OSError)
    assert read(good(tmp_path), own).audios


def test_one_process_serves_many_recordings(own: Decoder, tmp_path: Path) -> None:
    path = good(tmp_path)
    read(path, own)
    first = pid(own)
    (tmp_path / "bad").write_bytes(bytes(1000))
    with pytest.raises(AudioError):
        read(tmp_path / "bad", own)
    read(path, own)
    assert pid(own) == first


def test_the_process_is_confined(own: Decoder, tmp_path: Path) -> None:
    read(good(tmp_path), own)
    assert own._process is not None
    assert own._process.confined
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid(own)}/status").read_text().splitlines())
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    limits = {
        line[:26].strip(): line[26:].split() for line in Path(f"/proc/{pid(own)}/limits").read_text().splitlines()
    }
    assert limits["Max address space"][0] == str(decoder.LIMITS.memory)
    assert limits["Max file size"][0] == str(decoder.LIMITS.file)
    assert limits["Max core file size"][0] == "0"
    assert int(limits["Max cpu time"][0]) <= decoding.CPU + 10


FORBIDDEN = """
import ctypes, json, os, resource, socket, threading
from pipelines.processes import sandbox
held = socket.socket()
assert sandbox.confine()
def run():
    thread = threading.Thread(target=print)
    thread.start()
def mmap_code():
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    if libc.mmap(None, 4096, 7, 0x22, -1, 0) == ctypes.c_void_p(-1).value:
        raise PermissionError
tries = {
    "open": lambda: os.open("/etc/passwd", os.O_RDONLY), "create": lambda: os.open("x", os.O_CREAT | os.O_WRONLY),
    "list": lambda: os.listdir("/"), "remove": lambda: os.unlink("x"), "rename": lambda: os.rename("x", "y"),
    "socket": socket.socket, "pair": socket.socketpair,
    "connect": lambda: held.connect(("127.0.0.1", 9)),
    "fork": os.fork, "thread": run, "exec": lambda: os.execv("/bin/true", ["true"]),
    "kill": lambda: os.kill(os.getppid(), 0), "code": mmap_code,
    "limits": lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)), "memfd": lambda: os.memfd_create("x"),
}
found = {}
for name, act in tries.items():
    try:
        act()
        found[name] = "done"
    except (PermissionError, RuntimeError, ValueError):  # threads say RuntimeError, limits ValueError
        found[name] = "refused"
print(json.dumps(found))
"""


def test_nothing_can_be_opened_connected_or_started(tmp_path: Path) -> None:
    out = subprocess.run([sys.executable, "-c", FORBIDDEN], cwd=ROOT, capture_output=True, text=True, check=True)
    found = json.loads(out.stdout)
    assert len(found) == 15
    assert set(found.values()) == {"refused"}


def test_a_foreign_machine_goes_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "vax")
    assert not sandbox.confine()


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (signal.SIGSEGV, "breaks the decoder: the process was killed by signal 11 (SIGSEGV)"),
        (
            signal.SIGKILL,
            "breaks the decoder: the process was killed by signal 9 (SIGKILL), probably because memory ran out",
        ),
        (signal.SIGXCPU, "needs more than 63 s of processor time to be decoded"),
    ],
)
def test_fault_50_the_death_of_the_process_costs_one_recording(
    number: signal.Signals, said: str, own: Decoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = good(tmp_path)
    read(path, own)
    victim = pid(own)
    send = socket.send_fds

    def shoot(*args: Any) -> int:
        os.kill(victim, signal.SIGSTOP)
        sent = send(*args)
        os.kill(victim, number)
        os.kill(victim, signal.SIGCONT)
        return sent

    monkeypatch.setattr(socket, "send_fds", shoot)
    with pytest.raises(AudioError) as caught:
        read(path, own)
    assert caught.value.problem == said
    monkeypatch.undo()
    alike(read(path, own), reading.read(path, id="r"))
    assert pid(own) != victim


def test_a_process_that_died_while_idle_costs_nothing(own: Decoder, tmp_path: Path) -> None:
    path = good(tmp_path)
    read(path, own)
    assert own._process is not None
    os.kill(pid(own), signal.SIGKILL)
    own._process.process.wait()
    assert read(path, own).audios[0].duration == 1


def test_fault_51_a_process_that_says_nothing_is_given_up(
    own: Decoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = good(tmp_path)
    read(path, own)
    os.kill(pid(own), signal.SIGSTOP)
    monkeypatch.setattr(confined, "SILENCE", 0.2)
    with pytest.raises(AudioError, match=r"no sign of life for 0 s"):
        read(path, own)
    assert read(path, own).audios[0].duration == 1


@pytest.mark.parametrize("restarts", [True, False])
def test_the_next_process_starts_at_once_where_that_is_wanted(
    restarts: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, own = good(tmp_path), Decoder(restarts=restarts)
    try:
        own.start(Path(tempfile.gettempdir()))
        first = pid(own)
        read(path, own)
        assert pid(own) == first
        os.kill(first, signal.SIGSTOP)
        monkeypatch.setattr(confined, "SILENCE", 0.2)
        with pytest.raises(AudioError, match="no sign of life"):
            read(path, own)
        monkeypatch.undo()
        assert (own._process is not None) is restarts
        alike(read(path, own), reading.read(path, id="r"))
        assert pid(own) != first
    finally:
        own.close()


def test_processor_time_is_bounded(own: Decoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten hours of sound cannot be decoded in a second."""
    monkeypatch.setattr(decoding, "CPU", 0)
    monkeypatch.setattr(decoding, "CPU_PER_MB", 0)
    path = media.wav(tmp_path / "a.wav", np.zeros(0, np.int16), 48_000, declared=36_000 * 96_000)
    with path.open("r+b") as file:
        file.truncate(44 + 36_000 * 96_000)
    monkeypatch.setattr("hashlib.file_digest", lambda file, name: __import__("hashlib").sha256())
    with pytest.raises(AudioError, match="needs more than 0 s of processor time"):
        read(path, own)
    monkeypatch.undo()
    assert read(good(tmp_path), own).audios[0].duration == 1


def test_fault_49_memory_is_bounded(tmp_path: Path) -> None:
    """In a process that may have little, a recording that needs more is refused, and the next one is not."""
    code = (
        "import sys; from dataclasses import replace; from pipelines.processes import decoder;"
        "decoder.LIMITS = replace(decoder.LIMITS, memory=int(sys.argv[2])); decoder.serve(int(sys.argv[1]), [])"
    )
    path = media.write(tmp_path / "a.mka", "matroska", Track(media.noise(60, 16_000, 8), 16_000, "pcm_s16le"))
    ours, theirs = socket.socketpair()
    ours.settimeout(60)
    with ours, theirs:
        command = [sys.executable, "-c", code, str(theirs.fileno()), str(330 << 20)]
        alone = {**os.environ, **dict.fromkeys(LINEAR_ALGEBRA, "1")}  # threads of their own take memory
        with subprocess.Popen(command, cwd=ROOT, env=alone, pass_fds=[theirs.fileno()]) as process:
            connection = Connection(ours)
            assert connection.receive()[0] == confined.READY

            def ask(path: Path) -> tuple[bytes, bytes]:
                options = {
                    "channel": "per-channel",
                    "track": None,
                    "folder": str(tmp_path),
                    "rate": 16_000,
                    "longest": 60,
                }
                with FileIO(path) as file:
                    connection.send(confined.REQUEST, json.dumps(options).encode(), file)
                kind, content = connection.receive()
                while kind not in (decoder.DONE, decoder.REFUSED, decoder.BROKEN):
                    kind, content = connection.receive()
                return kind, bytes(content)

            try:
                kind, content = ask(path)
                assert kind == decoder.BROKEN
                assert "330 MiB of memory" in json.loads(content)[0]
                assert ask(good(tmp_path))[0] == decoder.DONE
            finally:
                process.kill()


def test_fault_24_long_recordings_are_handed_over_in_a_file(own: Decoder, tmp_path: Path) -> None:
    path = media.wav(tmp_path / "long.wav", np.zeros(0, np.int16), 16_000, declared=700 * 64_000)
    wave = media.pcm16(media.noise(2, 16_000, 2))
    header = bytearray(path.read_bytes())
    header[22:24], header[28:34] = b"\x02\0", (64_000).to_bytes(4, "little") + b"\x04\0"
    path.write_bytes(header)
    with path.open("r+b") as file:
        file.truncate(44 + 700 * 64_000)
        file.seek(44 + 600 * 64_000)
        file.write(wave.tobytes())
    for channel in ("auto", "per-channel"):
        there = read(path, own, channel=channel, scratch=tmp_path)
        assert own._process is None  # who could still change the file is gone
        alike(there, reading.read(path, id="r", channel=channel))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["long.wav"]


def test_scratch_files_that_were_needed_on_the_way_are_empty_for_the_next_recording(
    own: Decoder, tmp_path: Path
) -> None:
    """Two channels of six minutes need a scratch file, the six minutes of one channel that come of them do not."""
    sound = np.zeros((2, 360 * 8_000))
    sound[:, -8_000:] = 0.5
    loud = media.wav(tmp_path / "loud.wav", media.pcm16(sound + 0.25), 8_000)
    quiet = media.wav(tmp_path / "quiet.wav", media.pcm16(sound), 8_000)
    processes = set()
    for path in (loud, quiet, loud):
        alike(read(path, own, scratch=tmp_path), reading.read(path, id="r"))
        processes.add(pid(own))
    assert len(processes) == 1


def test_a_scratch_folder_that_is_not_there(own: Decoder, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    assert read(good(tmp_path), own, scratch=gone).audios[0].duration == 1  # short ones need none
    path = media.wav(tmp_path / "long.wav", np.zeros(0, np.int16), 16_000, declared=700 * 32_000)
    with path.open("r+b") as file:
        file.truncate(44 + 700 * 32_000)
    with pytest.raises(OutputError, match=r"gone.*No such file"):
        read(path, own, scratch=gone)


@pytest.mark.parametrize(
    "answer",
    [
        (b"?", b""),
        (decoder.DONE, b"{}"),
        (decoder.DONE, b"[" * 100_000),
        (decoder.DONE, b"\xff"),
        (decoder.MAPPED, b'{"file": 0, "length": 1000000}'),
        (decoder.MAPPED, b'{"file": 99, "length": 1}'),
        (decoder.MAPPED, b'{"file": 0, "length": -1}'),
        (decoder.SAMPLES, b"abc"),
        (decoder.REFUSED, b"1"),
        (b"d", None),
    ],
)
def test_answers_of_a_process_that_was_taken_over(
    answer: tuple[bytes, bytes | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it says, the recording is refused and the process is not used again."""
    own = Decoder()
    process = own._ready(tmp_path)
    ours, theirs = socket.socketpair()
    with theirs:
        process._connection.socket.close()
        process._connection.socket = ours
        kind, content = answer
        size = 1 << 60 if content is None else len(content)
        theirs.sendall(confined.HEAD.pack(kind, size) + (content or b""))
        with pytest.raises(AudioError, match="its answer is not valid"):
            read(good(tmp_path), own, scratch=tmp_path)
        assert own._process is None
        assert process.process.poll() is not None


def test_it_dies_with_its_parent(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from pipelines.processes import decoding;"
        "decoding.read(Path(sys.argv[1]), id='r'); print(decoding.decoder()._process.process.pid, flush=True);"
        "os.kill(os.getpid(), 9)"
    )
    out = subprocess.run([sys.executable, "-c", code, str(good(tmp_path))], cwd=ROOT, capture_output=True, text=True)
    assert out.returncode == -signal.SIGKILL
    place = Path("/proc") / out.stdout.strip()
    for _ in range(100):
        if not place.exists() or "\nState:\tZ" in (place / "status").read_text():
            break
        time.sleep(0.05)
    else:
        pytest.fail("it is still there")


def test_a_process_that_cannot_begin_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "broken_decoder.py").write_text("raise ImportError('no such library')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(decoding, "_CHILD", "broken_decoder")
    with pytest.raises(BackendError, match=r"cannot start: ImportError: no such library"):
        read(good(tmp_path), Decoder())
    monkeypatch.setattr(sys, "executable", str(tmp_path / "none"))
    with pytest.raises(BackendError, match="cannot start: No such file"):
        read(good(tmp_path), Decoder())


def test_elsewhere_recordings_are_decoded_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(decoding, "available", lambda: False)
    monkeypatch.setattr(decoding, "decoder", lambda: pytest.fail("there is none"))
    assert decoding.read(good(tmp_path), id="r").audios[0].duration == 1


def test_scratch_files_that_are_used_up() -> None:
    with tempfile.TemporaryFile() as file:
        scratch = sample_buffer.ScratchFiles(Path("x"), [file])
        assert scratch.next_file() is file
        with pytest.raises(OSError, match="Too many open files"):
            scratch.next_file()
