"""A detached signature of a report's manifest: Ed25519 (RFC 8032) with a key of the user's own.

`openssl genpkey -algorithm ed25519 -out key.pem` makes a key. Needs the extra `evidence` (cryptography).
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

from diarize import files
from diarize.errors import ConfigError, MissingExtra


def sign(data: bytes, key: Path, passphrase: bytes | None = None) -> tuple[bytes, bytes]:
    """(signature in base64, public key in PEM). Raises ConfigError where the file is no Ed25519 key."""
    serialization, ed25519 = _cryptography()
    try:
        private = serialization.load_pem_private_key(files.read(key), passphrase)
    except (ValueError, TypeError) as error:
        raise ConfigError("--key", str(key), f"cannot be read: {error}", _CURE) from error
    if not isinstance(private, ed25519.Ed25519PrivateKey):
        raise ConfigError("--key", str(key), "is no Ed25519 key", _CURE)
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return base64.b64encode(private.sign(data)) + b"\n", bytes(public)


def problem(data: bytes, signature: bytes, public: bytes) -> str:
    """Why a signature is not valid; "" where it is. Raises MissingExtra."""
    serialization, ed25519 = _cryptography()
    from cryptography.exceptions import InvalidSignature

    try:
        key = serialization.load_pem_public_key(public)
        if not isinstance(key, ed25519.Ed25519PublicKey):
            return "the public key is no Ed25519 key"
        key.verify(base64.b64decode(signature, validate=False), data)
    except InvalidSignature:
        return "the signature is not of this manifest, or of another key"
    except ValueError as error:
        return f"the signature or the public key cannot be read: {error}"
    return ""


def fingerprint(public: bytes) -> str:
    """sha256 of a public key in PEM, as people compare it."""
    return hashlib.sha256(public).hexdigest()


def _cryptography() -> tuple[Any, Any]:
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ModuleNotFoundError as error:
        raise MissingExtra("signatures", "evidence") from error
    return serialization, ed25519


_CURE = "Make one: openssl genpkey -algorithm ed25519 -out key.pem"
