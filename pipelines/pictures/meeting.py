"""One recording: turns above the spectrogram, speaking time, and who speaks after and into whom."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarize.formats.entries import speaking_times
from diarize.formats.times import format_short_clock
from diarize.turns.exchanges import Exchanges, count_exchanges
from diarize.types import Audio, Transcript
from pipelines.pictures import style
from pipelines.pictures.style import Look

_PER_MINUTE, _NARROWEST, _WIDEST = 2.0, 10.0, 48.0  # inches of width
_COLUMNS = 1000  # of a spectrogram
_FRAME = 512  # samples of a frame (Hann)
_FRAMES = 12  # frames of which a column is the mean
_RANGE = 70.0  # dB below the loudest that are shown


def turns(transcript: Transcript, audio: Audio | None) -> Any:
    """A figure with a row a speaker, and the spectrogram below it if there is sound."""
    looks = style.looks(transcript)
    speakers = [speaker.id for speaker in transcript.speakers]
    nobody = [word for word in transcript.words if word.speaker is None]
    rows: list[str | None] = [*speakers, *([None] if nobody else [])]
    end = max(transcript.duration, 1e-3)
    width = min(_WIDEST, max(_NARROWEST, _PER_MINUTE * end / 60))
    lanes_height = 0.3 * max(1, len(rows)) + 0.5
    figure = style.figure(width, lanes_height + (2.6 if audio is not None else 0.6))
    if audio is None:
        lanes = figure.add_subplot()
        lanes.set_xlabel("seconds")
    else:
        lanes, sound = figure.subplots(2, 1, sharex=True, height_ratios=(lanes_height, 2.4))
        levels = spectrogram(audio)
        extent = (0, audio.duration, 0, audio.rate / 2000)
        sound.imshow(levels, origin="lower", aspect="auto", extent=extent, cmap="cividis")
        sound.set_ylabel("kHz")
        sound.set_xlabel("seconds")
        sound.tick_params(labelsize=8)
    for row, id in enumerate(rows):
        own = transcript.turns if id is not None else ()
        spans = [(turn.start, turn.duration) for turn in own if turn.speaker == id]
        spans += [(word.start, max(word.duration, 0.05)) for word in nobody] if id is None else []
        style.bar(lanes, row, spans, looks[id])
    for span in transcript.lost:
        lanes.axvspan(span.start, span.end, facecolor="none", hatch="////", edgecolor=style.GREY, linewidth=0)
    style.name_rows(lanes, [looks[id].label for id in rows])
    lanes.set_xlim(0, end)
    lanes.grid(axis="x", linewidth=0.3)
    lanes.set_axisbelow(True)
    style.title(lanes, f"{transcript.recording[:80]}: who speaks when")
    return figure


def spectrogram(audio: Audio) -> NDArray[np.float32]:
    """Power in dB below the loudest (257, columns): a column is the mean of twelve frames, evenly in its time."""
    samples = audio.samples
    columns = max(1, min(_COLUMNS, len(samples) // _FRAME))
    count = columns * _FRAMES
    starts = np.linspace(0, max(0, len(samples) - _FRAME), count).astype(np.int64)
    window = np.hanning(_FRAME).astype(np.float32)
    power = np.empty((columns, _FRAME // 2 + 1), np.float32)
    for i in range(columns):
        own = starts[i * _FRAMES : (i + 1) * _FRAMES]
        frames = np.zeros((len(own), _FRAME), np.float32)
        for k, start in enumerate(own):
            piece = samples[start : start + _FRAME]
            frames[k, : len(piece)] = piece
        power[i] = (np.abs(np.fft.rfft(frames * window)) ** 2).mean(axis=0)
    levels = 10 * np.log10(power.T + 1e-12)
    shown: NDArray[np.float32] = np.maximum(levels - levels.max(), -_RANGE).astype(np.float32)
    return shown


def speaking(transcript: Transcript) -> Any:
    """A figure with a bar a speaker: speaking time, and the share of the sum."""
    looks = style.looks(transcript)
    times = speaking_times(transcript)
    total = sum(times.values()) or 1.0
    order = sorted(times, key=lambda id: (-times[id], list(times).index(id)))
    figure = style.figure(8.0, 0.36 * max(1, len(order)) + 1.1)
    axes = figure.add_subplot()
    for row, id in enumerate(order):
        style.bar(axes, row, [(0, times[id] / 60)], looks[id])
        text = f" {format_short_clock(times[id])}  {times[id] / total:.0%}"
        axes.text(times[id] / 60, row, text, va="center", fontsize=8)
    style.name_rows(axes, [looks[id].label for id in order])
    axes.set_xlim(0, max([*times.values(), 1.0]) / 60 * 1.25)
    axes.set_xlabel("minutes of speech")
    style.title(axes, f"{transcript.recording[:80]}: speaking time and share")
    return figure


def exchanges(transcript: Transcript) -> Any:
    """A figure with two tables: who speaks after whom, and who interrupts whom (`diarize.turns.exchanges`)."""
    looks = style.looks(transcript)
    speakers = [looks[speaker.id] for speaker in transcript.speakers]
    place = {speaker.id: i for i, speaker in enumerate(transcript.speakers)}
    counts: Exchanges = count_exchanges(transcript.turns)
    side = 1.9 + 0.42 * max(1, len(speakers))
    figure = style.figure(2 * side + 0.8, side + 0.4)
    panels = figure.subplots(1, 2)
    for axes, pairs, text in (
        (panels[0], counts.follows, "speaks after"),
        (panels[1], counts.interrupts, "interrupts"),
    ):
        _table(axes, pairs, place, speakers)
        style.title(axes, f"row {text} column (times)")
    return figure


def _table(axes: Any, pairs: Counter[tuple[str, str]], place: dict[str, int], speakers: Sequence[Look]) -> None:
    grid = np.zeros((max(1, len(speakers)), max(1, len(speakers))))
    for (one, other), count in pairs.items():
        grid[place[one], place[other]] = count
    shown = np.ma.masked_equal(grid, 0)
    axes.set_facecolor("#EEEEEE")
    axes.imshow(shown, cmap="cividis", vmin=0, vmax=max(grid.max(), 1))
    names = [own.label for own in speakers]
    axes.set_xticks(range(len(names)), names, rotation=90)
    style.name_rows(axes, names)
    if len(names) <= style.MOST:
        for (row, column), times in np.ndenumerate(grid):
            if times:
                colour = "white" if times < 0.6 * grid.max() else "black"
                axes.text(column, row, f"{times:.0f}", ha="center", va="center", fontsize=8, color=colour)
