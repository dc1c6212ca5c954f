"""TLS by files, and a named proxy whose forwarded headers are believed."""

from __future__ import annotations

import ipaddress
import json
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from pipelines.service.access.binding import Binding
from tests.pipelines.service.servers import running, settings_in


def _certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    pytest.importorskip("cryptography", reason="the extra `encrypt` is not installed")
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "service of a test")])
    own = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(own, critical=False).sign(key, hashes.SHA256())
    )  # fmt: skip
    paths = folder / "cert.pem", folder / "key.pem"
    paths[0].write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


def test_tls_by_files(tmp_path: Path) -> None:
    import ssl

    certificate, key = _certificate(tmp_path)
    chosen = replace(settings_in(tmp_path), binding=Binding(port=0, certificate=certificate, private_key=key))
    trusted = ssl.create_default_context(cafile=str(certificate))
    with running(chosen) as own:
        url = own.url.replace("http://", "https://")
        with httpx.Client(base_url=url, verify=trusted, trust_env=False) as client:
            assert client.get("/healthz").status_code == 200
        with own.client() as plain, pytest.raises(httpx.TransportError):
            plain.get("/healthz")


def test_forwarded_headers_of_a_named_proxy_are_believed(tmp_path: Path) -> None:
    first = settings_in(tmp_path)
    with running(first) as own:
        key = own.key("read")
    with running(replace(first, binding=Binding(port=0, proxies=("127.0.0.1",)))) as own, own.client(key) as client:
        client.get("/v1/speakers", headers={"X-Forwarded-For": "203.0.113.9"})
        last = time.monotonic() + 30  # a line is written after its answer
        while not own.lines and time.monotonic() < last:
            time.sleep(0.05)
        assert json.loads(own.lines[-1])["client"] == "203.0.113.9"
        statuses = [  # each address that the proxy names has failures of its own
            client.get(
                "/v1/speakers", headers={"Authorization": "Bearer x", "X-Forwarded-For": f"203.0.113.{n}"}
            ).status_code
            for n in range(25)
        ]
        assert set(statuses) == {401}
