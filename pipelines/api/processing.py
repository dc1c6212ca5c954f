"""The main job on one file, in the process of the caller."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Never

from diarize.audio import reading
from diarize.backends import devices
from diarize.config import Config, Device
from diarize.errors import AudioError
from diarize.models.store import Store
from pipelines import plan
from pipelines.api import keywords
from pipelines.api.keywords import AnyPath
from pipelines.api.library import Library
from pipelines.api.library import reading as reading_library
from pipelines.api.transcript import Transcript
from pipelines.batch import cached_stages
from pipelines.batch.worker import Transcriber
from pipelines.inputs import annotations as annotation_files
from pipelines.inputs import recordings
from pipelines.inputs.folders import is_folder
from pipelines.inputs.jobs import Job
from pipelines.inputs.recordings import Input
from pipelines.plan import Plan
from pipelines.results import fingerprint, linking


def process(
    path: AnyPath,
    *,
    num_speakers: int | None = None,
    min_speakers: int | None = None,
    max_speakers: int | None = None,
    asr: str | None = None,
    language: str | None = None,
    hotwords: str | None = None,
    initial_prompt: str | None = None,
    library: Library | AnyPath | None = None,
    link: bool = False,
    top: int | None = None,
    prior: float | None = None,
    exact: bool | None = None,
    transcript: AnyPath | None = None,
    speech: AnyPath | None = None,
    known_turns: AnyPath | Sequence[AnyPath] = (),
    speakers_from: Literal["recording", "compare", "transcript"] | None = None,
    names_in_text: bool | None = None,
    channel: str | int | None = None,
    track: int | None = None,
    vad: str | None = None,
    segmentation: AnyPath | None = None,
    embedder: AnyPath | None = None,
    profile: Literal["accurate", "fast"] | None = None,
    diarizer: str | None = None,
    spoof: bool | None = None,
    countermeasure: AnyPath | None = None,
    spoof_threshold: float | None = None,
    device: Device | None = None,
    offline: bool | None = None,
    cache: AnyPath | None = None,
    config: Mapping[str, Any] | Config | AnyPath | None = None,
    on_stage: Callable[[str], None] | None = None,
    **unknown: Never,
) -> Transcript:
    """Who said what, when, in one recording: what `diarize process FILE` does, to the byte, in this process.

    The keywords are the options of that command, and mean the same. `num_speakers`, `min_speakers`, `max_speakers`:
    what is known of the number of speakers. `asr`: the recognizer ("none": no words). `library`: enrolled people, who
    are then named. `transcript`: a file with words of another recognizer. `speech`, `known_turns`: files that say where
    speech is, and who is known to speak. `config`: any other setting, as a dict ({"turns": {"gap": 0.5}}) or the path
    of a TOML file; keywords go before it, and it goes before the environment. `on_stage` is called with the name of
    each stage as it begins.

    Models that are missing are fetched first, unless `offline`. The models of the last call stay loaded; threads that
    call at once take turns. The recording is decoded in a confined process of its own.

    Raises AudioError for a recording that cannot be read, ConfigError for a setting, ModelError and BackendError for a
    model that is missing or cannot be used, LibraryError, StageError where a stage fails, and TypeError for a keyword
    that does not exist.

    >>> import diarize
    >>> result = diarize.process("examples/conversation.flac", asr="none", num_speakers=4)
    >>> [speaker.id for speaker in result.speakers]
    ['SPEAKER_01', 'SPEAKER_02', 'SPEAKER_03', 'SPEAKER_04']
    """
    keywords.refuse_unknown(process, unknown)
    if on_stage is not None and not callable(on_stage):
        raise TypeError(f"on_stage: a function is needed, not {type(on_stage).__name__}")
    item = _input(keywords.path_of(path, "path", "one recording's path"))
    words_path = None if transcript is None else keywords.path_of(transcript, "transcript")
    speech_path = None if speech is None else keywords.path_of(speech, "speech")
    turns_paths = keywords.paths_of(known_turns, "known_turns")
    options = {
        "num_speakers": num_speakers,
        "min_speakers": min_speakers,
        "max_speakers": max_speakers,
        "asr": asr,
        "language": language,
        "hotwords": hotwords,
        "initial_prompt": initial_prompt,
        "top": top,
        "prior": prior,
        "exact": exact,
        "speakers_from": speakers_from,
        "names_in_text": names_in_text,
        "channel": channel,
        "track": track,
        "vad": vad,
        "segmentation": segmentation,
        "embedder": embedder,
        "profile": profile,
        "diarizer": diarizer,
        "spoof": spoof,
        "countermeasure": countermeasure,
        "spoof_threshold": spoof_threshold,
        "device": device,
        "offline": offline,
        "cache": cache,
    }
    with keywords.python_messages("process"):
        settings = keywords.resolve(options, config)
        (job,) = annotation_files.attach([Job(item, settings.cluster)], words_path, speech_path, turns_paths, settings)
        store = Store(offline=settings.run.offline)
        with _lock:
            chosen = _plan(settings, store, job, library, link)
            with _one_thread():
                return _transcribed(job, chosen, store, on_stage or (lambda stage: None))


def _input(path: Path) -> Input:
    """The recording, named as the command names a single file. Raises AudioError where there is no file."""
    if is_folder(path):
        raise AudioError(str(path), "is a folder, and one recording is processed", "For folders: diarize process.")
    try:
        is_file = path.is_file()
    except OSError:  # a name that is too long
        is_file = False
    if not is_file:
        reading.hash_recording(path)  # raises, before any model is fetched or loaded
    return recordings.find([path]).inputs[0]


def _plan(settings: Config, store: Store, job: Job, library: Library | AnyPath | None, link: bool) -> Plan:
    recognize, detect = job.words is None, job.speech is None
    with contextlib.nullcontext() if library is None else reading_library(library) as people:
        return plan.make(settings, store, None, recognize, people, link, detect)


def _transcribed(job: Job, chosen: Plan, store: Store, on_stage: Callable[[str], None]) -> Transcript:
    transcript, strangers = _transcriber(chosen, store)(job, on_stage)
    people, config = chosen.people, chosen.config.identify
    if strangers is not None:  # unknown people are called unknown-1, ..., as in a run of this one recording
        labels = {}
        if people is not None and people.calibration is not None:
            labels = linking.label_strangers(
                [(job.input.id, strangers)], people.calibration, config.prior, config.seconds
            )
        transcript = linking.with_labels(transcript, labels.get(job.input.id, {}))
    return Transcript.of(transcript)


_lock = threading.Lock()  # one recording at a time: models may not be used by several threads
_loaded: dict[str, Transcriber] = {}  # what decides the stages -> those of the last call


def _transcriber(chosen: Plan, store: Store) -> Transcriber:
    """The stages of the last call where they are the same, else new ones.

    The number of speakers may differ: it is part of the job.
    """
    run = chosen.config.run.model_dump(mode="json")
    key = json.dumps([fingerprint.hash_plan(chosen, store), run, str(store.folder)])
    if key not in _loaded:
        if problem := cached_stages.cache_problem(chosen.config.run):
            warnings.warn(f"results of stages are not cached: {problem}", stacklevel=4)
        _loaded.clear()
        _loaded[key] = Transcriber(chosen, devices.cores())
    return _loaded[key]


def _forget() -> None:
    """In a process that was forked: its parent's models and lock are not to be used."""
    global _lock
    _lock = threading.Lock()
    _loaded.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Linear algebra with one thread, as in worker processes: the last digits of sums depend on how many there are."""
    import scipy.linalg  # noqa: F401 - the limit reaches only libraries that are loaded
    import sklearn.cluster  # noqa: F401
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        yield
