"""An embedder that does to its process what the recording is called."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diarize.activity import NO_ACTIVITY, LocalActivity
from diarize.types import Audio, Embeddings, Segment
from tests.cheap import Pitch

PLACE = "FAULTY_PLACE"  # a folder where it leaves what a test wants to know, and finds what it waits for


@dataclass(frozen=True)
class Faulty(Pitch):
    def __call__(self, audio: Audio, segments: Sequence[Segment], activity: LocalActivity = NO_ACTIVITY) -> Embeddings:
        place = Path(os.environ.get(PLACE, "."))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        match audio.id.partition("-")[0]:
            case "segfault":
                ctypes.string_at(0)
            case "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            case "once":  # it dies the first time
                if not (place / audio.id).exists():
                    (place / audio.id).touch()
                    os._exit(7)
            case "hungry":
                before = resource.getrlimit(resource.RLIMIT_AS)
                resource.setrlimit(resource.RLIMIT_AS, (2 << 30, before[1]))
                try:
                    np.ones(1 << 30)  # 8 GB
                finally:
                    resource.setrlimit(resource.RLIMIT_AS, before)
            case "hang":
                time.sleep(600)
            case "endless":
                while True:
                    pass
            case "stopped":
                os.kill(os.getpid(), signal.SIGSTOP)
            case "parent":  # it begins a process of its own, and hangs
                child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
                (place / "child").write_text(str(child.pid))
                time.sleep(600)
            case "patient":
                while not (place / "go").exists():
                    time.sleep(0.02)
            case "process":
                (place / audio.id).write_text(str(os.getpid()))
        return super().__call__(audio, segments)


def embedder(**options: Any) -> Faulty:
    return Faulty()
