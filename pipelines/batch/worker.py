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

from diarize.audio.reading import Recording
from diarize.clustering.constraints import NO_CONSTRAINTS
from diarize.clustering.spectral import Spectral, afresh
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
from pipelines.inputs.jobs import Job, WordsFromFile
from pipelines.plan import Plan
from pipelines.processes import decoding
from pipelines.recording import Stages, transcribe
from pipelines.results import fingerprint, outputs
from pipelines.results.outcomes import PRODUCT, Outcome, outcome


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
        watch: Callable[[str], None] = lambda stage: None,
        measured: Callable[[float], None] = lambda seconds: None,
    ) -> tuple[Transcript, Strangers | None]:
        """The labelled transcript of a recording, with its whole provenance; and the voices of its unknown speakers.

        `watch` is called with the name of each stage as it begins, `measured` with the length of the recording (s).
        Raises AudioError, StageError, OutputError where the scratch folder is full, and whatever building the stages
        raises: BackendError, ConfigError, LibraryError, ModelError.
        """
        item, config = job.input, self.plan.config
        current = ""

        def enter(stage: str) -> None:
            nonlocal current
            current = stage
            watch(stage)

        def decode() -> Recording:
            before = current
            if before != "read":  # a stage asks for the samples of a recording that the cache knows
                enter("read")
            recording = decoding.read(item.path, id=item.id, name=item.name, channel=config.audio.channel)
            if before != "read":
                enter(before)
            return recording

        enter("read")
        recording = cached_reading.read(item, config.audio.channel, self._cache, decode, self.plan.versions)
        measured(recording.audios[0].duration)
        if self._stages is None:
            enter("load")
            self._stages = cached_stages.build(self.plan, self._threads, self._cache)
        memo = self._cache.memo if self._cache else afresh
        stages = self._stages.bounded(Spectral(job.cluster, memo, config.segmentation), job.cluster)
        if job.speech is not None:
            stages = replace(stages, detect=job.speech.within(recording.audios[0].duration))
        transcript, strangers = transcribe(
            recording,
            stages,
            config.model_copy(update={"cluster": job.cluster}),
            known=job.known or NO_CONSTRAINTS,
            words=WordsFromFile(job.words) if job.words is not None else None,
            product=PRODUCT,
            observe=enter,
        )
        provenance = replace(
            transcript.provenance,
            notes=(*self.plan.notes, *transcript.provenance.notes),
            models=self.plan.models,
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
        watch: Callable[[str, str], None] = lambda id, stage: None,
        measured: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        """`watch` is called with (recording id, stage) as each stage begins; `measured` as `Transcriber` does."""
        self._transcribe, self._out = Transcriber(plan, threads), out
        self._watch, self._measured = watch, measured

    def __call__(self, job: Job) -> Outcome:
        """Never raises for a recording's own faults; whatever goes wrong becomes a row."""
        item = job.input
        row = Outcome(item.id, item.name, "failed")
        try:
            if item.problem is not None:
                raise item.problem
            return self._process(job)
        except StageError as error:
            return replace(row, stage=error.stage, reason=error.reason, passing=_passing(error))
        except AudioError as error:
            return replace(row, stage="read", reason=error.reason, passing=_passing(error))
        except OutputError as error:
            return replace(row, stage="write", reason=str(error), environment=True)
        except (BackendError, ConfigError, LibraryError, ModelError) as error:  # the next recording would meet the same
            return replace(row, stage="load", reason=str(error), environment=True)
        except DiarizeError as error:
            return replace(row, stage="read", reason=str(error))
        except (Exception, SystemExit) as error:  # a mistake of ours, or of a backend, must not end the batch either
            return replace(row, stage="unexpected", reason=f"{type(error).__name__}: {error}")

    def _process(self, job: Job) -> Outcome:
        item, config = job.input, self._transcribe.plan.config
        started, clock = datetime.now(UTC), time.monotonic()
        seconds: dict[str, float] = {}
        current, duration = "", 0.0

        def enter(stage: str) -> None:
            nonlocal current, clock
            now = time.monotonic()
            if current:
                seconds[current] = round(seconds.get(current, 0.0) + now - clock, 3)
            current, clock = stage, now
            self._watch(item.id, stage)

        def measured(length: float) -> None:
            nonlocal duration
            duration = length
            self._measured(length)

        seen = fingerprint.settled(fingerprint.looks(item.path))  # before the file is read
        transcript, strangers = self._transcribe(job, enter, measured)
        enter("write")
        row = replace(outcome(transcript, item), strangers=strangers)
        told = outputs.circumstances(started, seconds, duration) | {"cache": self._transcribe.cache_use()}
        made_of = fingerprint.of(job.recipe, row.digest)
        outputs.publish(self._out, transcript, row, item.path, config.output.formats, made_of, told, seen)
        return row


def serve(pipe: Connection) -> None:
    """A worker's side of `supervise.Child`: it is told the plan, then job after job, until nobody has more."""
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        pipe.send(("ready",))
        import scipy.sparse  # noqa: F401 - what clustering will need; the run is still being planned

        plan, out, threads = pipe.recv()
        worker = Worker(
            plan,
            out,
            threads,
            lambda id, stage: pipe.send(("stage", id, stage)),
            lambda seconds: pipe.send(("duration", seconds)),
        )
        while True:
            job = pipe.recv()
            pipe.send(("started",))
            pipe.send(("row", worker(job)))


def _passing(error: BaseException | None) -> bool:
    """Whether an error comes of one of the disk or the network, and not of a decoder that broke off."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__
    return error is not None and not isinstance(error, ConnectionError)
