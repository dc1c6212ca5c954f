"""A digest of a set of voices that is updated by addition and subtraction, without reading the other voices.

LtHash (Lewi, Kim, Maykov, Weis 2019, "Securing Update Propagation with Homomorphic Hashing", section 2.4; the idea is
Bellare and Micciancio 1997): every voice is hashed to 1024 numbers of 16 bits, and the digest of a set is their sum
modulo 2^16, element by element. It does not depend on the order of the voices.
"""

from __future__ import annotations

import hashlib
import struct

import numpy as np
from numpy.typing import NDArray

LANES = 1024  # numbers of 16 bits: the paper's choice, about 200 bits of security
EMPTY = bytes(2 * LANES)


def of_voice(id: str, name: str, seconds: float, vector: NDArray[np.float32]) -> bytes:
    """The 1024 numbers of one voice, as 2048 bytes."""
    hasher = hashlib.shake_128()
    for part in (id.encode("utf-8"), name.encode("utf-8", "surrogatepass"), struct.pack("<d", seconds)):
        hasher.update(struct.pack("<q", len(part)) + part)
    hasher.update(np.ascontiguousarray(vector, dtype="<f4").tobytes())
    return hasher.digest(2 * LANES)


def add(total: bytes, voice: bytes) -> bytes:
    return bytes((_lanes(total) + _lanes(voice)).tobytes())


def subtract(total: bytes, voice: bytes) -> bytes:
    return bytes((_lanes(total) - _lanes(voice)).tobytes())


def digest(model: str, total: bytes) -> str:
    """The digest of the set, with its model, as a hex sha256."""
    return hashlib.sha256(model.encode("utf-8") + b"\0" + total).hexdigest()


def _lanes(data: bytes) -> NDArray[np.uint16]:
    return np.frombuffer(data, dtype="<u2")
