"""Encryption at rest of names, voices and stored audio.

Every value is encrypted with AES-256-GCM (NIST SP 800-38D) under a random key of its library, with a new random nonce
of 96 bits. The associated data are the value's table, column and row, so that a value that was moved does not decrypt.
The library's key is stored in the library, encrypted in the same way with a key that scrypt (RFC 7914) derives from the
passphrase. Random nonces allow 2^32 values under one key (SP 800-38D, section 8.3): a thousand for each of four million
people.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from diarize.errors import LibraryDamaged, MissingExtra, PassphraseError

COST = 2**17  # scrypt's N with r = 8, p = 1: 128 MiB and about half a second, the least that OWASP asks of a password
MOST_COST = 2**20  # 1 GiB of memory; a file with a higher cost is refused
_LONGEST = 1 << 16  # characters of a passphrase; a longer first line is a mistake, or a device without an end
_NONCE = 12  # bytes
_KEY = 32  # bytes: AES-256


class Seal(Protocol):
    """How values are stored. `place` is where a value belongs: table/column/row."""

    encrypted: bool

    def close(self, value: bytes, place: str) -> bytes: ...

    def open(self, value: bytes, place: str) -> bytes:
        """Raises LibraryDamaged where the value was changed, or belongs to another place."""

    def blind(self, value: bytes) -> bytes:
        """A digest by which equal values are found."""

    def chain(self, previous: bytes, entry: bytes) -> bytes:
        """The hash of an entry of the audit log, from the hash of the entry before."""


class Plain:
    """No encryption."""

    encrypted = False

    def close(self, value: bytes, place: str) -> bytes:
        return value

    def open(self, value: bytes, place: str) -> bytes:
        return value

    def blind(self, value: bytes) -> bytes:
        return hashlib.sha256(value).digest()

    def chain(self, previous: bytes, entry: bytes) -> bytes:
        return hashlib.sha256(previous + entry).digest()


class Encrypted:
    """AES-GCM under the library's key; digests and the audit chain are HMAC-SHA256 (RFC 2104)."""

    encrypted = True

    def __init__(self, key: bytes, library: str) -> None:
        self._cipher = _aead(key)
        self._blind = hmac.digest(key, b"blind", "sha256")
        self._chain = hmac.digest(key, b"audit", "sha256")
        self._library = library

    def close(self, value: bytes, place: str) -> bytes:
        nonce = os.urandom(_NONCE)
        return nonce + bytes(self._cipher.encrypt(nonce, value, place.encode("utf-8")))

    def open(self, value: bytes, place: str) -> bytes:
        from cryptography.exceptions import InvalidTag

        try:
            return bytes(self._cipher.decrypt(value[:_NONCE], value[_NONCE:], place.encode("utf-8")))
        except (InvalidTag, ValueError) as error:
            raise LibraryDamaged(
                self._library,
                f"the encrypted value {place} was changed, or belongs to another place",
                "Restore a backup of it.",
            ) from error

    def blind(self, value: bytes) -> bytes:
        return hmac.digest(self._blind, value, "sha256")

    def chain(self, previous: bytes, entry: bytes) -> bytes:
        return hmac.digest(self._chain, previous + entry, "sha256")


def create(passphrase: str, library: str) -> tuple[Encrypted, bytes]:
    """A new key, and its record for the library's file (JSON: salt, cost, the sealed key)."""
    key, salt = os.urandom(_KEY), os.urandom(16)
    nonce = os.urandom(_NONCE)
    record = {"kdf": "scrypt", "n": COST, "r": 8, "p": 1, "salt": salt.hex(), "cipher": "AES-256-GCM"}
    sealed = nonce + _aead(_derive(passphrase, salt, COST, library)).encrypt(nonce, key, _bound(record))
    return Encrypted(key, library), json.dumps({**record, "key": sealed.hex()}).encode("ascii")


def unlock(passphrase: str, record: bytes, library: str) -> Encrypted:
    """The seal of a library with this key record.

    Raises PassphraseError for a wrong passphrase, LibraryDamaged for an invalid record.
    """
    try:
        fields: dict[str, Any] = json.loads(record)
        sealed, salt, cost = bytes.fromhex(fields.pop("key")), bytes.fromhex(fields["salt"]), fields["n"]
        if type(cost) is not int or not 2 <= cost <= MOST_COST or cost & (cost - 1):
            raise ValueError(f"its cost is {cost!r}")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LibraryDamaged(
            library, f"the record of its key cannot be read ({error})", "Restore a backup of it."
        ) from error
    cipher = _aead(_derive(passphrase, salt, cost, library))
    from cryptography.exceptions import InvalidTag

    try:
        key = cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], _bound(fields))
    except (InvalidTag, ValueError) as error:
        raise PassphraseError(
            library,
            "the passphrase is wrong",
            "Give the right one in DIARIZE_PASSPHRASE or in --passphrase-file. A lost passphrase cannot be recovered.",
        ) from error
    return Encrypted(bytes(key), library)


def passphrase_of(environment: Mapping[str, str], file: Path | None = None) -> str | None:
    """The user's passphrase: the first line of `file`, else DIARIZE_PASSPHRASE, else None.

    Raises PassphraseError for a file that cannot be read or is empty.
    """
    if file is None:
        return environment.get("DIARIZE_PASSPHRASE") or None
    try:
        with file.open(encoding="utf-8") as stream:  # perhaps a pipe of a password manager, or without an end
            text = stream.readline(_LONGEST + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise PassphraseError(str(file), f"the passphrase cannot be read from it ({error})", "") from error
    if len(text) > _LONGEST:
        raise PassphraseError(
            str(file), f"its first line is too long for a passphrase: more than {_LONGEST} characters", ""
        )
    lines = text.splitlines()
    if not lines or not lines[0]:
        raise PassphraseError(str(file), "its first line is empty; it must be the passphrase", "")
    return lines[0]


def _derive(passphrase: str, salt: bytes, cost: int, library: str) -> bytes:
    """Of the passphrase in NFC, so that the keyboard of another system gives the same."""
    if not passphrase:
        raise PassphraseError(library, "the passphrase is empty", "Leave it out, or set one.")
    try:
        from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
    except ImportError as error:
        raise MissingExtra("an encrypted library", "encrypt") from error
    text = unicodedata.normalize("NFC", passphrase).encode("utf-8", "surrogatepass")
    return bytes(Scrypt(salt=salt, length=_KEY, n=cost, r=8, p=1).derive(text))


def _bound(record: Mapping[str, Any]) -> bytes:
    """The rest of the key record, which is authenticated with the key."""
    return json.dumps(record, sort_keys=True).encode("ascii")


def _aead(key: bytes) -> Any:
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError as error:
        raise MissingExtra("an encrypted library", "encrypt") from error
    return AESGCM(key)
