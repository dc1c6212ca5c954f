"""The voices of a recording: a map of its windows, and how similar its speakers are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarize.timeline import gaps, intersect, union
from diarize.types import Audio, Segment, Transcript, Turn
from pipelines.people.utterance import UtteranceEmbedder
from pipelines.pictures import style
from pipelines.pictures.style import Look

_SHORTEST = 0.4  # s of a stretch of one speaker that is embedded


@dataclass(frozen=True, slots=True, eq=False)
class SpeakerWindows:
    """Windows in which one speaker speaks alone: rows of unit length (n, d), and the speaker of each."""

    vectors: NDArray[np.float32]
    speakers: tuple[str, ...]
    model: str


def embed(transcript: Transcript, audio: Audio, embedder: UtteranceEmbedder) -> SpeakerWindows | None:
    """The windows of all speakers; None where nobody speaks alone."""
    rows: list[NDArray[np.float32]] = []
    speakers: list[str] = []
    for speaker in transcript.speakers:
        if pieces := alone(transcript.turns, speaker.id, audio.duration):
            windows = embedder.embed_speech(audio, pieces, pieces).windows
            rows.append(windows.vectors)
            speakers += [speaker.id] * len(windows.vectors)
    return SpeakerWindows(np.concatenate(rows), tuple(speakers), embedder.model) if rows else None


def alone(turns: Sequence[Turn], speaker: str, duration: float) -> tuple[Segment, ...]:
    """Where nobody else talks, in a recording of some seconds."""
    others = union(turn for turn in turns if turn.speaker != speaker)
    own = union(turn for turn in turns if turn.speaker == speaker)
    return tuple(piece for piece in intersect(own, gaps(others, duration)) if piece.duration >= _SHORTEST)


def plane(vectors: NDArray[np.float32]) -> tuple[NDArray[np.float64], float]:
    """Points (n, 2) in the plane in which the vectors differ most (principal components, Pearson 1901), and the share
    of their variance that it shows. The coordinate of largest size of each axis is positive."""
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    _, sizes, axes = np.linalg.svd(centred, full_matrices=False)
    axes = axes[:2] * np.sign(axes[:2][np.arange(len(axes[:2])), np.abs(axes[:2]).argmax(axis=1)])[:, None]
    points = np.zeros((len(vectors), 2))
    points[:, : len(axes)] = centred @ axes.T
    whole = float((sizes**2).sum())
    return points, float((sizes[:2] ** 2).sum()) / whole if whole else 1.0


def window_map(transcript: Transcript, windows: SpeakerWindows) -> Any:
    """A figure with a point a window, with the colour and marker of its speaker."""
    looks = style.looks(transcript)
    points, share = plane(windows.vectors)
    figure = style.figure(7.5, 5.5)
    axes = figure.add_subplot()
    for id in dict.fromkeys(windows.speakers):
        own = np.array([speaker == id for speaker in windows.speakers])
        look = looks[id]
        axes.scatter(
            points[own, 0],
            points[own, 1],
            s=22,
            c=look.colour,
            marker=look.marker,
            edgecolors="black",
            linewidths=0.3,
            label=look.label,
        )
    style.title(axes, f"{transcript.recording[:60]}: windows of speech, by voice ({share:.0%} of the variance)")
    axes.set_xlabel("first principal component")
    axes.set_ylabel("second principal component")
    style.plain_ticks(axes)
    legend = axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    for text in legend.get_texts():
        text.set_parse_math(False)
    return figure


def similarity(windows: SpeakerWindows) -> tuple[list[str], NDArray[np.float64]]:
    """Speakers, and the cosine of the means of their windows (n, n)."""
    ids = list(dict.fromkeys(windows.speakers))
    of = np.array(windows.speakers)
    means = np.stack([windows.vectors[of == id].astype(np.float64).mean(axis=0) for id in ids])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    return ids, means @ means.T


def heat_map(transcript: Transcript, windows: SpeakerWindows) -> Any:
    """A figure with the similarity of every two voices."""
    ids, values = similarity(windows)
    looks: Mapping[str | None, Look] = style.looks(transcript)
    names = [looks[id].label for id in ids]
    side = 2.4 + 0.42 * len(ids)
    figure = style.figure(side + 1.4, side)
    axes = figure.add_subplot()
    image = axes.imshow(values, cmap="cividis", vmin=min(0.0, float(values.min())), vmax=1.0)
    axes.set_xticks(range(len(names)), names, rotation=90)
    style.name_rows(axes, names)
    if len(names) <= style.MOST:
        for (row, column), value in np.ndenumerate(values):
            colour = "black" if value > 0.6 else "white"
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=7, color=colour)
    figure.colorbar(image, ax=axes, label="cosine of the voices")
    style.title(axes, "similarity of voices")
    return figure
