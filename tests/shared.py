"""Real audio and weights for tests, kept outside the project: a folder `shared` beside the checkout."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("DIARIZE_SHARED", Path(__file__).resolve().parents[2] / "shared"))

needs_shared = pytest.mark.skipif(
    not (SHARED / "data").is_dir(),
    reason=f"real recordings are not there ({SHARED}); DIARIZE_SHARED names their folder",
)
