"""One recording, from its file to its folder of results: what a worker does."""

from __future__ import annotations

import contextlib
import hashlib
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

import diarize
from diarize import files
from diarize.audio.reading import Recording
from diarize.clustering.constraints import Constraints
from diarize.clustering.spectral import Spectral, afresh
from diarize.config import ClusterConfig, Config
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
from diarize.formats import words as word_files
from diarize.library.scoring.linking import Strangers
from diarize.timeline import intersect, total
from diarize.types import Audio, Segment, Transcript, Word
from diarize.units import round_time
from pipelines.batch import cached_reading, cached_stages
from pipelines.inputs.recordings import Input
from pipelines.plan import Plan
from pipelines.processes import decoding
from pipelines.recording import Stages, recognise
from pipelines.results import fingerprint, outputs, voiceprints

TWIN = re.compile(r"the same bytes as .*: processed once", re.DOTALL)  # the note of a recording that was not
PRODUCT = f"diarize-pipeline {diarize.__version__}"

Status = Literal["done", "failed", "crashed", "interrupted"]


@dataclass(frozen=True)
class FromElsewhere:
    """A `Detector` that finds the speech that somebody has marked: sorted, disjoint."""

    speech: tuple[Segment, ...]
    digest: str  # sha256 of the file it stands in
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"file:{self.digest}"

    def __call__(self, audio: Audio) -> tuple[Segment, ...]:
        """What of it is in the recording."""
        return self.within(audio.duration).speech

    def within(self, duration: float) -> FromElsewhere:
        """What of it is in a recording of `duration` s; the notes say what is beyond."""
        inside = intersect(self.speech, (Segment(0.0, duration),)) if duration > 0 else ()
        beyond = total(self.speech) - total(inside)
        note = f"speech: {beyond:.3f} s of what was given lie beyond the recording's end and were cut"
        return replace(self, speech=inside, notes=(*self.notes, note) if beyond > 1e-3 else self.notes)


@dataclass(frozen=True)
class Job:
    """A recording and what is special about it."""

    input: Input
    cluster: ClusterConfig  # the run's, or this recording's own
    words: Path | None = None  # a transcript made elsewhere, instead of a recognizer
    speech: FromElsewhere | None = None  # where somebody speaks, instead of voice activity detection
    known: Constraints | None = None  # what is known of who speaks
    recipe: str = ""  # digest of all that decides the result beside the file (fingerprint.py)

    def facts(self) -> dict[str, str]:
        """What was given with the recording, as plain data with digests of files: it decides the result too.

        Raises OSError where a given file cannot be read any more.
        """
        given = {}
        if self.words is not None:
            given["words"] = FromFile(self.words).name
        if self.speech is not None:
            given["speech"] = _own(self.speech.name, (self.speech.speech, self.speech.notes))
        if self.known is not None:
            known = self.known
            given["known"] = _own(known.name, (known.stretches, known.people, sorted(known.apart), known.notes))
        return given


@dataclass(frozen=True)
class Outcome:
    """One row of the report: plain data, so that it crosses process borders."""

    id: str
    name: str
    status: Status
    stage: str = ""
    reason: str = ""
    digest: str = ""
    duration: float | None = None  # s
    lost: float = 0.0  # s that could not be decoded
    speakers: int = 0
    turns: int = 0
    words: int = 0
    notes: tuple[str, ...] = ()
    tries: int = 1  # how often it was begun; a worker's death costs one
    passing: bool = False  # the disk or the network failed that the recording is on: the next run tries again
    environment: bool = False  # the machine is at fault (a full disk, a missing model), not the recording
    strangers: Strangers | None = None  # voices of those whom nobody knows, until they are linked
    kept: bool = False  # done by an earlier run, of the same file and settings, and left as it was


@dataclass(frozen=True)
class FromFile:
    """The words that another recognizer wrote into a file."""

    path: Path

    @property
    def name(self) -> str:
        return f"file:{files.sha256(self.path)}"

    def __call__(self) -> tuple[tuple[Word, ...], str | None]:
        return word_files.read(self.path)


def _own(name: str, said: object) -> str:
    """What is given with one recording by files that may say other things of other recordings."""
    return f"{name} {hashlib.sha256(repr(said).encode()).hexdigest()}"


class Worker:
    """Does jobs one after the other with stages that are built once."""

    def __init__(
        self,
        plan: Plan,
        out: Path,
        threads: int = 0,
        watch: Callable[[str, str], None] | None = None,
        measured: Callable[[float], None] | None = None,
    ) -> None:
        """`watch` is told (recording id, stage) as each stage begins, `measured` how long (s) the recording is."""
        self._plan, self._out, self._threads = plan, out, threads
        self._watch = watch or (lambda id, stage: None)
        self._measured = measured or (lambda seconds: None)
        cache = cached_stages.opened(plan.config.run)
        self._kept = cached_stages.Kept(cache) if cache is not None else None
        self._stages: Stages | None = None

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
        item, config = job.input, self._plan.config
        started, clock = datetime.now(UTC), time.monotonic()
        seconds: dict[str, float] = {}
        current = ""

        def enter(stage: str) -> None:
            nonlocal current, clock
            now = time.monotonic()
            if current:
                seconds[current] = round(seconds.get(current, 0.0) + now - clock, 3)
            current, clock = stage, now
            self._watch(item.id, stage)

        enter("read")
        seen = fingerprint.settled(fingerprint.looks(item.path))

        def decode() -> Recording:
            before = current
            if before != "read":  # a stage asks for the samples of a recording that is known from before
                enter("read")
            found = decoding.recording(item.path, id=item.id, name=item.name, channel=config.audio.channel)
            if before != "read":
                enter(before)
            return found

        recording = cached_reading.read(item, config.audio.channel, self._kept, decode, self._plan.versions)
        self._measured(recording.audios[0].duration)
        if self._stages is None:
            enter("load")
            self._stages = cached_stages.build(self._plan, self._threads, self._kept)
        stages = self._stages.bounded(Spectral(job.cluster, self._kept.memo if self._kept else afresh), job.cluster)
        if job.words is not None:
            stages = replace(stages, given=FromFile(job.words))
        if job.speech is not None:
            stages = replace(stages, detect=job.speech.within(recording.audios[0].duration))
        if job.known is not None:
            stages = replace(stages, known=job.known)
        settings = config.model_copy(update={"cluster": job.cluster})
        transcript, strangers = recognise(recording, stages, settings, PRODUCT, enter)
        provenance = replace(
            transcript.provenance,
            notes=(*self._plan.notes, *transcript.provenance.notes),
            models=self._plan.models,
            versions=self._plan.versions,
        )
        transcript = replace(transcript, provenance=provenance)
        enter("write")
        row = replace(outcome(transcript, item), strangers=strangers)
        told = circumstances(started, seconds, recording.audios[0].duration)
        told |= {"cache": self._kept.told() if self._kept is not None else None}
        made_of = fingerprint.of(job.recipe, row.digest)
        publish(self._out, transcript, row, item.path, config.output.formats, made_of, told, seen)
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
            lambda seconds: pipe.send(("length", seconds)),
        )
        while True:
            job = pipe.recv()
            pipe.send(("begun",))
            pipe.send(("row", worker(job)))


def _passing(error: BaseException | None) -> bool:
    """Whether an error comes of one of the disk or the network, and not of a decoder that broke off."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__
    return error is not None and not isinstance(error, ConnectionError)


def outcome(transcript: Transcript, item: Input) -> Outcome:
    """The row of a finished recording."""
    source = transcript.provenance.source
    return Outcome(
        id=item.id,
        name=item.name,
        status="done",
        digest=source.digest if source is not None else "",
        duration=transcript.duration,
        lost=round_time(total(transcript.lost)),
        speakers=len(transcript.speakers),
        turns=len(transcript.turns),
        words=len(transcript.words),
        notes=(*(source.notes if source is not None else ()), *transcript.provenance.notes),
    )


def circumstances(started: datetime, seconds: dict[str, float], duration: float) -> dict[str, Any]:
    """What differs from run to run: when, where, how long."""
    return {
        "product": PRODUCT,
        "started": started.isoformat(timespec="seconds"),
        "seconds": seconds,
        "audio_seconds": round(duration, 3),
        "machine": outputs.machine(),
    }


def publish(
    out: Path,
    transcript: Transcript,
    row: Outcome,
    path: Path,
    formats: Iterable[str],
    made_of: str,
    told: Mapping[str, Any],
    seen: fingerprint.Looks | None = None,
    twin: str = "",
) -> None:
    """A recording's results into its folder, with what a later run must know to keep them. Raises OutputError, and
    AudioError where the recording at `path` is no longer the file that was read.

    `made_of` is the fingerprint, `told` the circumstances, `seen` how the file looked before it was read, `twin` the
    name of the recording of the same run that has the same bytes.
    """
    folder = out / row.id
    voices = ""
    if row.strangers is not None:
        outputs.make(folder)
        voices = voiceprints.keep(folder, row.strangers)
    source = transcript.provenance.source
    known = {
        "fingerprint": made_of,
        "input": {"size": source.size if source is not None else 0, "looks": seen},
        "same_bytes_as": twin,
        "strangers": voices,
        "row": plain(row),
    }
    try:
        outputs.write(folder, transcript, formats, {**told, **known}, (path, row.digest))
    except DiarizeError:
        if voices:  # of strangers, and of no result: no run would ever take them away
            voiceprints.forget(folder)
        raise


def plain(row: Outcome) -> dict[str, Any]:
    """What a row says of a recording, without what differs from run to run."""
    return {
        f.name: getattr(row, f.name) for f in fields(row) if f.name not in ("strangers", "kept", "tries", "passing")
    }


def copy(
    out: Path,
    original: Outcome,
    item: Input,
    config: Config,
    made_of: str = "",
    seen: fingerprint.Looks | None = None,
    twin: str = "",
) -> Outcome:
    """The finished results of a recording once more, for another file with the same bytes, as if it had been processed.

    `twin` is the name of the first of those of one run, which the notes then tell. Raises OutputError and FormatError,
    and AudioError where that file changed meanwhile.
    """
    transcript = outputs.read(out / original.id)
    source = transcript.provenance.source
    notes = tuple(note for note in transcript.provenance.notes if not TWIN.fullmatch(note))
    provenance = replace(
        transcript.provenance,
        source=replace(source, path=item.name) if source is not None else None,
        notes=(*notes, f"the same bytes as {twin}: processed once") if twin else notes,
    )
    speakers = tuple(replace(speaker, link=None) for speaker in transcript.speakers)
    transcript = replace(transcript, recording=item.id, provenance=provenance, speakers=speakers)
    row = replace(outcome(transcript, item), strangers=original.strangers)
    told = circumstances(datetime.now(UTC), {}, transcript.duration)
    publish(out, transcript, row, item.path, config.output.formats, made_of, told, seen, twin)
    return row
