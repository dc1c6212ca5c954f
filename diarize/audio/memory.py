"""Giving memory back. A memory-mapped recording stays on the disk, but every page that was read counts as resident."""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray


def release(array: NDArray[Any]) -> None:
    """Let the system drop the resident pages of a memory-mapped array; the next read brings them back from the file.

    Call it after each block of a long recording, so that ten hours do not end up in memory. Arrays that live in memory,
    and mappings that may hold unsaved private changes (copy-on-write), are left alone.
    """
    owner: object = array
    while isinstance(owner, np.ndarray | memoryview):
        if isinstance(owner, np.memmap) and owner.mode == "c":
            return
        owner = owner.obj if isinstance(owner, memoryview) else owner.base
    if isinstance(owner, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):  # not on Windows, which trims by itself
        owner.madvise(mmap.MADV_DONTNEED)
