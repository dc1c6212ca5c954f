"""A run: the speaking time of each person in each recording."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from diarize.formats.entries import speaking_times
from diarize.formats.naming import shorten
from diarize.types import Transcript
from pipelines.pictures import style

_OTHERS = "without a name"


@dataclass(frozen=True, slots=True)
class RunTimes:
    """Recording -> person -> seconds of speech; speakers without a name are one person, the last."""

    seconds: dict[str, dict[str, float]]

    @property
    def people(self) -> list[str]:
        """Names, those who speak most first; the speakers without a name last."""
        totals: dict[str, float] = {}
        for own in self.seconds.values():
            for name, seconds in own.items():
                totals[name] = totals.get(name, 0.0) + seconds
        return sorted(totals, key=lambda name: (name == _OTHERS, -totals[name], name))


def collect(transcripts: Iterable[Transcript]) -> RunTimes:
    """The times of all recordings, of which one is in memory at a time."""
    seconds: dict[str, dict[str, float]] = {}
    for transcript in transcripts:
        names = {speaker.id: speaker.called or _OTHERS for speaker in transcript.speakers}
        own = seconds.setdefault(transcript.recording, {})
        for id, time in speaking_times(transcript).items():
            own[names[id]] = own.get(names[id], 0.0) + time
    return RunTimes(seconds)


def speaking(times: RunTimes) -> Any:
    """A figure with a bar a recording, divided by people; the people beyond the first 40 are one part."""
    people = times.people
    shown, rest = people[: style.MOST], set(people[style.MOST :])
    looks = {name: style.look(shorten(name, 24), number) for number, name in enumerate(shown)}
    if _OTHERS in looks:
        looks[_OTHERS] = style.Look(_OTHERS, style.GREY, "", ".")
    if rest:
        looks[""] = style.Look(f"{len(rest)} more people", "#FFFFFF", "", ".")
    recordings = list(times.seconds)[: 5 * style.MOST]
    figure = style.figure(10.0, 0.32 * max(1, len(recordings)) + 1.2 + 0.12 * len(looks))
    axes = figure.add_subplot()
    longest = 0.0
    for row, recording in enumerate(recordings):
        at = 0.0
        own = times.seconds[recording]
        parts = [(name, own[name]) for name in shown if name in own]
        parts += [("", sum(seconds for name, seconds in own.items() if name in rest))] if rest & set(own) else []
        for name, seconds in parts:
            style.bar(axes, row, [(at / 60, seconds / 60)], looks[name])
            at += seconds
        longest = max(longest, at)
    style.name_rows(axes, [style.look(shorten(recording, 32), 0).label for recording in recordings])
    axes.set_xlim(0, max(longest / 60, 1e-3) * 1.02)
    axes.set_xlabel("minutes of speech")
    left_out = len(times.seconds) - len(recordings)
    style.title(axes, "speaking time by person" + (f" ({left_out} more recordings)" if left_out else ""))
    _legend(axes, looks.values())
    return figure


def _legend(axes: Any, looks: Iterable[style.Look]) -> None:
    from matplotlib.patches import Patch

    patches = [
        Patch(facecolor=look.colour, hatch=look.pattern, edgecolor="black", linewidth=0.2, label=look.label)
        for look in looks
    ]
    if patches:
        legend = axes.legend(handles=patches, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
        for text in legend.get_texts():
            text.set_parse_math(False)
