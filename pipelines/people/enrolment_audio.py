"""Audio in which one person speaks, for enrolment: whole files, a part of one, a speaker's turns in a transcript."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diarize.config import AudioConfig
from diarize.errors import AudioError, ConfigError, printable
from diarize.formats.naming import make_labels, to_token
from diarize.library.scoring import enrolment
from diarize.timeline import total
from diarize.types import Audio, Segment, Speaker, Transcript
from diarize.units import round_time, to_samples
from pipelines.processes import decoding
from pipelines.results import outputs, sources

COMPLETE = 12.0  # s of speech in all utterances: half the errors of 4 s; more gains little


@dataclass(frozen=True, slots=True, eq=False)
class EnrolmentAudio:
    """The part from `start` to `end` (s) of a recording. The digest of `audio` is the recording's."""

    origin: str  # file name and, for a part, its times: what people read
    audio: Audio
    start: float
    end: float
    notes: tuple[str, ...] = ()


def read_files(
    paths: Sequence[Path], audio: AudioConfig, start: float | None = None, end: float | None = None
) -> Iterator[EnrolmentAudio | AudioError]:
    """Each recording, or the error of one that cannot be read; `start` and `end` (s) select a part of a single one.

    Raises ConfigError for times outside the recording.
    """
    if len(paths) != 1 and (start is not None or end is not None):
        problem = f"they apply to one recording, not to {len(paths)}"
        raise ConfigError("command line", "--start, --end", problem)
    for path in paths:
        try:
            recording = decoding.read(path, id=path.name, channel=audio.channel, track=audio.track)
        except AudioError as error:
            yield error
            continue
        sound, notes = recording.audios[0], recording.source.notes
        name = f"{path.name} ({sound.line})" if sound.line else path.name
        if start is None and end is None:
            yield EnrolmentAudio(name, sound, 0.0, round_time(sound.duration), notes)
        else:
            yield _cut(name, sound, _check_times(sound.duration, start, end), notes)


def read_transcript(folder: Path, speaker: str, path: Path | None) -> Iterator[EnrolmentAudio]:
    """The parts of a processed recording where `speaker` (id, name or label) talks and nobody else does.

    Names and turns are those after the corrections of people. Where people have corrected or confirmed enough of the
    speaker's turns, those alone are used.

    `folder` holds the recording's results. The recording is at `path`; None: it is searched for near `folder`. Raises
    FormatError where there is no transcript, ConfigError for a speaker who is not in it, AudioError where the recording
    is missing, is another one, or has no such part.
    """
    transcript = outputs.read_corrected(folder)
    id = _find_speaker(transcript, speaker, folder)
    if path is None:
        path = sources.find(transcript, folder)
    if path is None:
        name = transcript.provenance.source.path if transcript.provenance.source is not None else str(folder)
        cure = "Give its path after the name: diarize enroll NAME AUDIO --from ..."
        raise AudioError(name, "the recording of this transcript was not found", cure)
    audio, notes = _read_recording(path, transcript, id)
    settings = transcript.provenance.settings.get("audio", {})
    by_channel = settings.get("channel") == "per-channel"  # then the others are on channels of their own
    turns = [turn for turn in transcript.turns if turn.speaker == id or not by_channel]
    parts = enrolment.alone([turn for turn in turns if turn.speaker != id or turn.human], id)
    if total(parts) < COMPLETE:
        parts = enrolment.alone(turns, id)
    if not parts:
        raise AudioError(str(path), f"{printable(speaker)} talks nowhere for 2 s while nobody else does")
    for part in parts:
        yield _cut(f"{path.name} ({audio.line})" if audio.line else path.name, audio, part, notes)


def _cut(name: str, audio: Audio, part: Segment, notes: tuple[str, ...]) -> EnrolmentAudio:
    samples = audio.samples[to_samples(part.start, audio.rate) : to_samples(part.end, audio.rate)]
    origin = f"{name} {part.start:.2f}-{part.end:.2f} s"
    lost = tuple(
        Segment(max(0.0, s.start - part.start), min(s.end, part.end) - part.start)
        for s in audio.lost
        if s.overlap(part) > 0
    )
    cut = Audio(origin, samples, audio.rate, audio.digest, lost, line=audio.line)
    return EnrolmentAudio(origin, cut, part.start, part.end, notes)


def _check_times(duration: float, start: float | None, end: float | None) -> Segment:
    """The part that `start` and `end` select. Raises ConfigError."""
    first, last = 0.0 if start is None else start, duration if end is None else end
    if not (np.isfinite([first, last]).all() and 0 <= first < min(last, duration)):
        problem = f"{first:.2f} to {last:.2f} s is not a part of a recording of {duration:.2f} s"
        raise ConfigError("command line", "--start, --end", problem)
    return Segment(round_time(first), round_time(min(last, duration)))


def _find_speaker(transcript: Transcript, speaker: str, folder: Path) -> str:
    """The id of the speaker whom a user means: by id, by name or label, or by a name as an export writes it.

    Raises ConfigError for nobody, or several.
    """
    labels = make_labels(transcript)
    names_of: tuple[Callable[[Speaker], Iterable[str | None]], ...] = (
        lambda each: (each.id,),
        lambda each: (each.called,),
        lambda each: (labels[each.id], to_token(each.id), to_token(each.label), f"'{each.label}"),  # ' guards CSV
        lambda each: each.merged,
    )
    ids: list[str] = []
    for names in names_of:
        ids = ids or [each.id for each in transcript.speakers if speaker in names(each)]
    if len(ids) != 1:
        known = ", ".join(s.id if s.called is None else f"{s.id} ({printable(s.called)})" for s in transcript.speakers)
        problem = f"{printable(speaker)} is {'several speakers' if ids else 'not a speaker'} of {folder}"
        raise ConfigError("command line", "--speaker", problem, f"Its speakers: {known or 'none'}.")
    return ids[0]


def _read_recording(path: Path, transcript: Transcript, speaker: str) -> tuple[Audio, tuple[str, ...]]:
    """(audio, notes), with the channel that the main job used; of one speaker a channel, that speaker's channel."""
    settings = transcript.provenance.settings.get("audio", {})
    channel = str(settings.get("channel", "auto"))
    if channel == "per-channel":
        channel = speaker.removeprefix("CHANNEL_")
    recording = decoding.read(path, id=path.name, channel=channel, track=settings.get("track"))
    source = transcript.provenance.source
    if source is None or recording.source.digest != source.digest:
        expected = "none" if source is None else source.digest[:16]
        problem = f"not the recording that was transcribed (sha256 {recording.source.digest[:16]}, not {expected})"
        raise AudioError(str(path), problem, "Give the recording of which the transcript was made.")
    return recording.audios[0], recording.source.notes
