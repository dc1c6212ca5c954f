"""Published weights in other containers -> the files that the registry pins.

SpeechIdentity is published as a checkpoint of TensorFlow. Its data file is the memory of all tensors, one after the
other, at places that its index file lists; the tensors of the network come before those of the optimizer. They are
copied from there into a NumPy archive: nothing of the checkpoint is run, and the archive's sha256 is pinned. The places
and the CRC-32C of each tensor were compared with the index.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from diarize.errors import ModelUnavailable

# Name in the archive -> (first byte, shape), little-endian float32.
SPEECHIDENTITY: dict[str, tuple[int, tuple[int, ...]]] = {
    "v0": (131_608, (80, 512)),  # first layer, forward: kernel, recurrent kernel, bias
    "v1": (295_448, (128, 512)),
    "v2": (557_592, (512,)),
    "v3": (559_640, (80, 512)),  # first layer, backward
    "v4": (723_480, (128, 512)),
    "v5": (985_624, (512,)),
    "v6": (987_672, (256, 512)),  # second layer, forward
    "v7": (1_511_960, (128, 512)),
    "v8": (1_774_104, (512,)),
    "v9": (1_776_152, (256, 512)),  # second layer, backward
    "v10": (2_300_440, (128, 512)),
    "v11": (2_562_584, (512,)),
    "kernel": (0, (256, 128)),
    "bias": (131_072, (128,)),
}
LAYOUTS = {"speechidentity": SPEECHIDENTITY}


def convert(model: str, layout: str, source: Path, target: Path) -> None:
    """Write the tensors of the data file `source` at the places of `layout` (a key of LAYOUTS) to the archive `target`.

    Raises ModelUnavailable if the file is too short, OSError if `target` cannot be written.
    """
    data = source.read_bytes()
    arrays = {}
    for name, (start, shape) in LAYOUTS[layout].items():
        end = start + 4 * math.prod(shape)
        if end > len(data):
            raise ModelUnavailable(model, f"the checkpoint ends at byte {len(data)}, before tensor {name!r}")
        arrays[name] = np.frombuffer(data[start:end], "<f4").reshape(shape)
    with target.open("xb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type] # its stubs take a named array for an option
