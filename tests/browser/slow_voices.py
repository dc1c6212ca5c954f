"""An embedder that waits until a file is there, and counts what it is asked for: voices that take long to compare."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diarize.activity import NO_ACTIVITY, LocalActivity
from diarize.types import Audio, Embeddings, Segment
from tests.pipelines.people.test_enroll import Tones

FOLDER = "SLOW_VOICES"  # environment variable: the folder of the files `go` and `calls`


@dataclass(frozen=True)
class SlowTones(Tones):
    def __call__(self, audio: Audio, segments: Sequence[Segment], activity: LocalActivity = NO_ACTIVITY) -> Embeddings:
        folder = Path(os.environ[FOLDER])
        with (folder / "calls").open("a") as file:
            file.write(f"{segments[0].start}\n")
        while not (folder / "go").exists():
            time.sleep(0.05)
        return super().__call__(audio, segments, activity)


def embedder(**options: Any) -> Tones:
    return SlowTones()
