"""Pieces of recordings in which one person is to be heard: whole files, a stretch of one, a speaker's turns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diarize.errors import AudioError, ConfigError, printable
from diarize.library.scoring import enrolment
from diarize.types import Audio, Segment, Transcript
from diarize.units import round_time, to_samples
from pipelines.processes import decoding
from pipelines.results import outputs


@dataclass(frozen=True, slots=True, eq=False)
class Take:
    """`sound` is what was cut out of a recording, from `start` to `end` (s) of it; its digest is the recording's."""

    origin: str  # what a person should read about where it is from
    sound: Audio
    start: float
    end: float
    notes: tuple[str, ...] = ()


def of_files(
    paths: Sequence[Path], channel: str, start: float | None = None, end: float | None = None
) -> Iterator[Take | AudioError]:
    """Each recording, or the error that keeps it from being heard; `start` and `end` (s) for one recording alone.

    Raises ConfigError for times that are outside of it.
    """
    if len(paths) != 1 and (start is not None or end is not None):
        raise ConfigError("command line", "--start, --end", "they belong to one recording, and several were given")
    for path in paths:
        try:
            recording = decoding.read(path, id=path.name, channel=channel)
        except AudioError as error:
            yield error
            continue
        sound, notes = recording.audios[0], recording.source.notes
        if start is None and end is None:
            yield Take(path.name, sound, 0.0, round_time(sound.duration), notes)
        else:
            yield _cut(path.name, sound, _within(sound.duration, start, end), notes)


def of_transcript(folder: Path, speaker: str, path: Path | None) -> Iterator[Take | AudioError]:
    """The stretches of a finished recording where `speaker` (id or name) talks and nobody else does.

    `folder` is one that the main job left; the recording is at `path`, or looked for beside it. Raises FormatError
    where there is no transcript, ConfigError for a speaker who is not in it, AudioError where the recording is not
    found, or is another one.
    """
    transcript = outputs.read(folder)
    id = _speaker(transcript, speaker, folder)
    found = path if path is not None else _recording(transcript, folder)
    sound, notes = _read(found, transcript, id)
    stretches = enrolment.alone(transcript.turns, id)
    if not stretches:
        raise AudioError(str(found), f"{printable(speaker)} talks nowhere for 2 s while nobody else does")
    for stretch in stretches:
        yield _cut(found.name, sound, stretch, notes)


def _cut(name: str, sound: Audio, piece: Segment, notes: tuple[str, ...]) -> Take:
    samples = sound.samples[to_samples(piece.start, sound.rate) : to_samples(piece.end, sound.rate)]
    origin = f"{name} {piece.start:.2f}-{piece.end:.2f} s"
    lost = tuple(
        Segment(max(0.0, s.start - piece.start), min(s.end, piece.end) - piece.start)
        for s in sound.lost
        if s.overlap(piece) > 0
    )
    return Take(origin, Audio(origin, samples, sound.rate, sound.digest, lost), piece.start, piece.end, notes)


def _within(duration: float, start: float | None, end: float | None) -> Segment:
    first, last = 0.0 if start is None else start, duration if end is None else end
    if not (np.isfinite([first, last]).all() and 0 <= first < min(last, duration)):
        problem = f"{first:.2f} to {last:.2f} s is no part of a recording of {duration:.2f} s"
        raise ConfigError("command line", "--start, --end", problem)
    return Segment(round_time(first), round_time(min(last, duration)))


def _speaker(transcript: Transcript, wanted: str, folder: Path) -> str:
    meant = [s.id for s in transcript.speakers if wanted == s.id] or [
        s.id for s in transcript.speakers if wanted == s.name
    ]
    if len(meant) != 1:
        there = ", ".join(s.id if s.name is None else f"{s.id} ({printable(s.name)})" for s in transcript.speakers)
        problem = f"{printable(wanted)} is {'no speaker' if not meant else 'several speakers'} of {folder}"
        raise ConfigError("command line", "--speaker", problem, f"There are: {there or 'none'}.")
    return meant[0]


def _recording(transcript: Transcript, folder: Path) -> Path:
    source = transcript.provenance.source
    name = source.path if source is not None else ""
    for place in (Path(), folder, folder.parent, folder.parent.parent):
        if name and (place / name).is_file():
            return place / name
    cure = "Give its path beside --from."
    raise AudioError(name or str(folder), "the recording of this transcript was not found", cure)


def _read(path: Path, transcript: Transcript, speaker: str) -> tuple[Audio, tuple[str, ...]]:
    """The recording as the main job read it; of recordings with a speaker a channel, that channel."""
    settings = transcript.provenance.settings.get("audio", {})
    channel = str(settings.get("channel", "auto"))
    if channel == "per-channel":
        channel = speaker.removeprefix("CHANNEL_")
    recording = decoding.read(path, id=path.name, channel=channel)
    source = transcript.provenance.source
    if source is None or recording.source.digest != source.digest:
        known = "none" if source is None else source.digest[:16]
        problem = f"it is not the recording that was transcribed (sha256 {recording.source.digest[:16]}, not {known})"
        raise AudioError(str(path), problem, "Give the recording that the transcript was made of.")
    return recording.audios[0], recording.source.notes
