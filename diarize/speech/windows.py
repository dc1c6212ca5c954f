"""Windows over speech, one voice vector each (docs/method/windows.md)."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from diarize.activity import NO_ACTIVITY, LocalActivity
from diarize.config import WindowsConfig
from diarize.speech import stretches
from diarize.timeline import union
from diarize.types import Segment
from diarize.units import round_time

_TOLERANCE = 1e-6  # s; differences of times are not exact


def over(
    speech: Sequence[Segment], config: WindowsConfig | None = None, activity: LocalActivity = NO_ACTIVITY
) -> tuple[Segment, ...]:
    """Windows sorted by start, which together cover exactly the `speech` (any order; may overlap).

    With the `activity` of a segmentation model, speech is first cut into stretches of one speaker (stretches.py):
    windows cover these only, unless there is none.
    Speech no longer than a window is one window. Longer speech is cut into windows of full length that start every
    `hop` seconds; the last one is moved back to end with the speech, so that none is short.
    """
    config = config or WindowsConfig()
    windows: list[Segment] = []
    parts = union(speech)
    if activity.windows:
        parts = stretches.of_one_speaker(parts, activity) or parts
    for stretch in parts:
        steps = max(0, ceil((stretch.duration - config.length - _TOLERANCE) / config.hop))
        starts = [stretch.start + i * config.hop for i in range(steps)]
        windows += [Segment(round_time(start), round_time(start + config.length)) for start in starts]
        windows.append(Segment(round_time(max(stretch.start, stretch.end - config.length)), round_time(stretch.end)))
    return tuple(windows)
