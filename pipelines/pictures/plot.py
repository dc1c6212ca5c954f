"""Pictures of a recording's results, or of a run, into a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diarize import files
from diarize.config import Config
from diarize.errors import DiarizeError, FormatError
from diarize.models.store import Store
from diarize.types import Audio, Transcript
from pipelines.people.utterance import load_embedder
from pipelines.pictures import meeting, overview, style, voices
from pipelines.pictures.style import Format
from pipelines.processes import decoding
from pipelines.results import outputs
from pipelines.results.integrity import PICTURES


@dataclass(frozen=True, slots=True)
class PlottedFile:
    """A picture that was written; or, without a path, why it was not drawn."""

    path: Path | None
    problem: str = ""


def plot_recording(
    folder: Path,
    out: Path | None,
    formats: Sequence[Format],
    config: Config,
    store: Store,
    audio: Path | None = None,
    machine: bool = False,
) -> Iterator[PlottedFile]:
    """The pictures of a recording: `turns`, `speaking`, `exchanges`, and of its sound `voices` and `similarity`.

    `audio` is the recording, if it is not where it was. Without its sound, or without a model, a picture is left out,
    and its problem says why. `machine`: without the corrections of people. Raises FormatError, MissingExtra and
    OutputError.
    """
    style.require()
    transcript = outputs.read(folder) if machine else outputs.read_corrected(folder)
    place = folder / PICTURES if out is None else out
    outputs.make_folder(place)
    sound, problem = _read_sound(folder, transcript, audio, config)
    if problem:
        yield PlottedFile(None, f"no spectrogram and no voices: {problem}")
    yield from _write(place, "turns", formats, lambda: meeting.turns(transcript, sound))
    yield from _write(place, "speaking", formats, lambda: meeting.speaking(transcript))
    yield from _write(place, "exchanges", formats, lambda: meeting.exchanges(transcript))
    if sound is None:
        return
    try:
        embedder = load_embedder(config, store)
    except DiarizeError as error:
        yield PlottedFile(None, f"no voices: {error}")
        return
    windows = voices.embed(transcript, sound, embedder)
    if windows is None:
        yield PlottedFile(None, "no voices: nobody speaks alone for long enough")
        return
    for note in embedder.notes:
        yield PlottedFile(None, note)
    yield from _write(place, "voices", formats, lambda: voices.window_map(transcript, windows))
    yield from _write(place, "similarity", formats, lambda: voices.heat_map(transcript, windows))


def plot_run(out: Path, to: Path | None, formats: Sequence[Format]) -> Iterator[PlottedFile]:
    """The picture of a run: `speaking`, the time of each person in each recording. Raises FormatError, OutputError."""
    style.require()
    place = out / PICTURES if to is None else to
    folders = [path.parent for path in sorted(out.glob(f"*/{outputs.TRANSCRIPT}"))]
    if not folders:
        raise FormatError(str(out), "has no results")
    times = overview.collect(map(outputs.read_corrected, folders))
    outputs.make_folder(place)
    yield from _write(place, "speaking", formats, lambda: overview.speaking(times))


def _read_sound(folder: Path, transcript: Transcript, path: Path | None, config: Config) -> tuple[Audio | None, str]:
    """The sound of a recording, checked by its digest; or why there is none."""
    source = transcript.provenance.source
    if path is None:
        recorded = outputs.read_provenance(folder).get("source")
        if not isinstance(recorded, dict) or not isinstance(recorded.get("path"), str):
            return None, "the results do not say where the recording is; name it with --audio"
        path = Path(recorded["path"])
    if not path.is_file():
        return None, f"{path} is not there; name the recording with --audio"
    try:
        recording = decoding.read(path, id=transcript.recording, channel="auto", track=config.audio.track)
    except DiarizeError as error:
        return None, str(error)
    if source is not None and recording.source.digest != source.digest:
        return None, f"{path} is another recording: its sha256 differs"
    return recording.audios[0], ""


def _write(place: Path, name: str, formats: Sequence[Format], draw: Callable[[], Any]) -> Iterator[PlottedFile]:
    for format in formats:
        path = place / f"{name}.{format}"
        files.write(path, style.encode(draw(), format))
        yield PlottedFile(path)
