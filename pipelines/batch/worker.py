"""One recording, from its file to its folder of results: what a worker does."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from diarize import progress
from diarize.audio.reading import Recording
from diarize.clustering.clusterer import WindowClusterer
from diarize.clustering.constraints import NO_CONSTRAINTS
from diarize.clustering.spectral import uncached
from diarize.errors import (
    AudioError,
    BackendError,
    ConfigError,
    DiarizeError,
    LibraryError,
    ModelError,
    OutputError,
    StageError,
)
from diarize.library.scoring.linking import Strangers
from diarize.types import Transcript
from pipelines.batch import cached_reading, cached_stages
from pipelines.batch.supervision import OnProgress, ignore_progress
from pipelines.inputs.jobs import Job, WordsFromFile
from pipelines.plan import Plan
from pipelines.processes import decoding
from pipelines.recording import Stages, transcribe
from pipelines.results import fingerprint, outputs
from pipelines.results.outcomes import PRODUCT, Outcome

PROGRESS_EVERY = 0.5  # s between two reports of progress inside a stage


class Transcriber:
    """Transcribes recordings one after the other; the stages are built for the first one and reused for the others."""

    def __init__(self, plan: Plan, threads: int = 0) -> None:
        """`threads` a model may use; 0 leaves it to the runtime."""
        self.plan, self._threads = plan, threads
        cache = cached_stages.open_cache(plan.config.run)
        self._cache = cached_stages.StageCache(cache) if cache is not None else None
        self._stages: Stages | None = None

    def __call__(
        self,
        job: Job,
        on_stage: Callable[[str], None] = lambda stage: None,
        on_duration: Callable[[float], None] = lambda seconds: None,
        on_share: Callable[[float], None] = lambda share: None,
    ) -> tuple[Transcript, Strangers | None]:
        """The labelled transcript of a recording, with its whole provenance; and the voices of its unknown speakers.

        `on_stage` is called with the name of each stage as it begins, `on_duration` with the length of the recording
        (s), and `on_share` with the share of the present stage that is done.
        Raises AudioError, StageError, OutputError where the scratch folder is full, and whatever building the stages
        raises: BackendError, ConfigError, LibraryError, ModelError.
        """
        with progress.watched(on_share):
            return self._work(job, on_stage, on_duration)

    def _work(
        self, job: Job, on_stage: Callable[[str], None], on_duration: Callable[[float], None]
    ) -> tuple[Transcript, Strangers | None]:
        item, config = job.input, self.plan.config
        current = ""

        def enter(stage: str) -> None:
            nonlocal current
            current = stage
            on_stage(stage)

        def decode() -> Recording:
            before = current
            if before != "read":  # a stage asks for the samples of a recording that the cache knows
                enter("read")
            audio = config.audio
            recording = decoding.read(item.path, id=item.id, name=item.name, channel=audio.channel, track=audio.track)
            if before != "read":
                enter(before)
            return recording

        # Of a recording that the cache knows, `decode` runs only when a stage asks for samples, or never.
        enter("read")
        recording = cached_reading.read(item, config.audio, self._cache, decode, self.plan.versions)
        on_duration(recording.audios[0].duration)

        # Models are loaded once; only what the job decides is replaced.
        if self._stages is None:
            enter("load")
            self._stages = cached_stages.build(self.plan, self._threads, self._cache)
        memo = self._cache.memo if self._cache else uncached
        stages = self._stages.bounded(WindowClusterer(job.cluster, memo, config.segmentation), job.cluster)
        if job.speech is not None:
            stages = replace(stages, detect=job.speech.within(recording.audios[0].duration))
        within = None if job.any_words else recording.audios[0].duration
        transcript, strangers = transcribe(
            recording,
            stages,
            config.model_copy(update={"cluster": job.cluster}),
            known=job.known or NO_CONSTRAINTS,
            words=None if job.words is None else WordsFromFile(job.words, config.label.names_in_text, within),
            product=PRODUCT,
            observe=enter,
        )

        # What the plan knows, and no stage.
        provenance = replace(
            transcript.provenance,
            notes=(*self.plan.notes, *transcript.provenance.notes),
            models=self.plan.models,
            licences=self.plan.licences,
            versions=self.plan.versions,
        )
        return replace(transcript, provenance=provenance), strangers

    def cache_use(self) -> dict[str, Any] | None:
        """How the cache was used since the last call, by stage; None where there is no cache."""
        return self._cache.take_usage() if self._cache is not None else None


class Worker:
    """Does jobs one after the other: each from its file to its folder of results."""

    def __init__(
        self,
        plan: Plan,
        out: Path,
        threads: int = 0,
        on_stage: Callable[[str, str], None] = lambda id, stage: None,
        on_duration: Callable[[float], None] = lambda seconds: None,
        on_progress: OnProgress = ignore_progress,
    ) -> None:
        """`on_stage` is called with (recording id, stage) as each stage begins; `on_duration` as by `Transcriber`."""
        self._transcribe, self._out = Transcriber(plan, threads), out
        self._on_stage, self._on_duration, self._on_progress = on_stage, on_duration, on_progress

    def __call__(self, job: Job) -> Outcome:
        """Every problem of the recording or the machine becomes a row; nothing is raised."""
        item = job.input
        row = Outcome(item.id, item.name, "failed")
        try:
            if item.problem is not None:
                raise item.problem
            return self._process(job)
        except StageError as error:
            return replace(row, stage=error.stage, reason=error.reason, transient=_is_transient(error))
        except AudioError as error:
            return replace(row, stage="read", reason=error.reason, transient=_is_transient(error))
        except OutputError as error:
            return replace(row, stage="write", reason=str(error), environment=True)
        except (BackendError, ConfigError, LibraryError, ModelError) as error:  # every recording would meet it
            return replace(row, stage="load", reason=str(error), environment=True)
        except DiarizeError as error:
            return replace(row, stage="read", reason=str(error))
        except (Exception, SystemExit) as error:  # a defect here or in a backend must not end the batch
            return replace(row, stage="unexpected", reason=f"{type(error).__name__}: {error}")

    def _process(self, job: Job) -> Outcome:
        item, config = job.input, self._transcribe.plan.config
        started, clock = datetime.now(UTC), time.monotonic()
        seconds: dict[str, float] = {}
        current = ""
        duration: float | None = None
        reported = clock

        def enter(stage: str) -> None:
            nonlocal current, clock
            now = time.monotonic()
            if current:
                seconds[current] = round(seconds.get(current, 0.0) + now - clock, 3)
            current, clock = stage, now
            self._on_stage(item.id, stage)

        def set_duration(seconds: float) -> None:
            nonlocal duration
            duration = seconds
            self._on_duration(seconds)
            self._on_progress(item.id, 1.0, seconds)

        def share(done: float) -> None:
            nonlocal reported
            if time.monotonic() - reported > PROGRESS_EVERY:
                reported = time.monotonic()
                self._on_progress(item.id, done, duration)

        state = fingerprint.if_resting(fingerprint.file_state(item.path))  # before the file is read
        transcript, strangers = self._transcribe(job, enter, set_duration, share)
        enter("write")
        row = replace(Outcome.of(transcript, item), strangers=strangers)
        circumstances = outputs.describe_circumstances(started, seconds, transcript.duration)
        circumstances["cache"] = self._transcribe.cache_use()
        wanted = fingerprint.compute(job.settings_digest, row.digest)
        names = config.output.formats
        return outputs.publish(self._out, transcript, row, item.path, names, wanted, circumstances, state)


def serve(pipe: Connection) -> None:
    """The worker's side of `SupervisedWorker`: it receives the plan, then job after job, until the pipe is closed."""
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        pipe.send(("ready",))
        import scipy.sparse  # noqa: F401 - for clustering, while the run is still being planned

        plan, out, threads = pipe.recv()

        def send_stage(id: str, stage: str) -> None:
            pipe.send(("stage", id, stage))

        def send_progress(id: str, share: float, duration: float | None) -> None:
            pipe.send(("progress", id, share, duration))

        worker = Worker(plan, out, threads, send_stage, lambda seconds: pipe.send(("duration", seconds)), send_progress)
        while True:
            job = pipe.recv()
            pipe.send(("started",))
            pipe.send(("row", worker(job)))


def _is_transient(error: BaseException | None) -> bool:
    """Whether the disk or the network caused an error, and not a decoder that broke."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__
    return error is not None and not isinstance(error, ConnectionError)
