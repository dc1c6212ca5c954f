"""Are two recordings of one person? Is this the person they claim to be?"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from diarize.config import Config
from diarize.errors import CalibrationError, ConfigError, printable
from diarize.guard import spoofing
from diarize.library.database.records import Person
from diarize.library.scoring import scores
from diarize.library.scoring.calibration import Calibration, Side
from diarize.library.scoring.conditions import lines_of
from diarize.library.scoring.scores import Cosine, Scorer
from diarize.library.store import Library
from diarize.metrics import verification
from diarize.models.registry import COSINE_ONLY, ModelScoring
from diarize.models.store import Store
from diarize.speech import preparation
from diarize.types import SpoofScores, Voice
from pipelines.inputs.recordings import require
from pipelines.people.scoring import Scoring
from pipelines.people.utterance import UtteranceEmbedder, UtteranceEmbedding, load_embedder
from pipelines.people.wording import in_decades
from pipelines.processes import decoding

Decision = Literal["same", "different", "undecided"]
NOT_ASKED = "no decision was asked for: --prior P asks for one"
SAME_FILE = "both are the same file: this says nothing about speakers"


@dataclass(frozen=True, slots=True)
class ComparedVoice:
    """One of the two voices of a verification."""

    name: str  # the file, or the enrolled person
    seconds: float  # of speech
    bandwidth: float | None  # Hz
    digest: str = ""  # sha256 of the file
    spoof: SpoofScores | None = None  # of a countermeasure, where one was asked


@dataclass(frozen=True, slots=True)
class Verification:
    """Same person? `llr` (natural) is None without a calibration, or where it does not apply; `reason` says why."""

    a: ComparedVoice
    b: ComparedVoice
    model: str
    scoring: str
    cosine: float
    score: float  # a distance where `is_distance`, else higher speaks for one person
    llr: float | None
    at_bound: bool  # the data of the calibration support no more extreme value
    log10_lr: float | None  # `llr` as log10, as people and pictures see it
    prior: float | None  # None: no decision was asked for
    threshold: float | None  # of `llr`
    posterior: float | None  # probability of one person, from `llr` and `prior`
    decision: Decision
    reason: str
    notes: tuple[str, ...]
    is_distance: bool = False
    score_threshold: float | None = None  # of `score`, by the model's authors: it decides where there is no `llr`

    @property
    def similarity(self) -> float:
        """A number that is higher for voices that are more similar."""
        return -self.score if self.is_distance else self.score

    def as_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        values = {"schema": "diarize-verification/1", **asdict(self)}
        for side, voice in (("a", self.a), ("b", self.b)):
            del values[side]["spoof"]
            if voice.spoof is not None:
                values[side]["spoof"] = spoofing.as_dict(voice.spoof)
        return values


@dataclass(frozen=True, slots=True)
class Verifier:
    """Two voices -> a decision."""

    scorer: Scorer
    calibration: Calibration | None
    prior: float | None
    authors: ModelScoring = COSINE_ONLY  # how the authors of the model compare

    def verify(
        self, a: UtteranceEmbedding | Voice, b: UtteranceEmbedding, bandwidth: float | None = None
    ) -> Verification:
        """Compare two voices; `bandwidth` (Hz) is that of an enrolled voice `a`, where it is known.

        Raises CalibrationError where they are of two embedding models.
        """
        if a.model != b.model:
            problem = f"voices of two models cannot be compared: {a.model} and {b.model}"
            raise CalibrationError(problem, "Run `diarize enroll --re-embed` with the same embedder, or enrol again.")
        left = _compared(a, bandwidth)
        pair = a.vector[None], b.vector[None]
        score = float(self.scorer(*pair)[0])
        threshold = None if self.prior is None else verification.bayes_threshold(self.prior)
        llr: float | None = None
        notes = [SAME_FILE] if isinstance(a, UtteranceEmbedding) and a.digest and a.digest == b.digest else []
        at_bound, reason = False, "there is no calibration for these scores; make one: diarize calibrate"
        if self.calibration is not None:
            side = Side(left.seconds, left.bandwidth)
            calibration = self.calibration.for_sides(side, b.side)
            reason = calibration.refusal(side, b.side) or ""
            if not reason:
                llr = float(calibration.llr(score, left.seconds, b.seconds))
                at_bound = llr in calibration.bounds
                if calibration is not self.calibration and (lines := lines_of(side.bandwidth, b.bandwidth)):
                    notes.append(f"calibration of the condition {lines[0]}, {lines[1]} (by the measured bandwidths)")
        value = scores.shown(self.scorer.kind, score)
        decision: Decision = "undecided"
        if llr is not None and threshold is not None:
            decision = "same" if llr >= threshold else "different"
        elif llr is not None:
            reason = NOT_ASKED
        elif self.score_threshold is not None:
            decision = "same" if self.authors.is_same(value) else "different"
            reason = f"by the threshold {self.score_threshold:g} {self.authors.origin}"
        return Verification(
            a=left,
            b=_compared(b, None),
            model=b.model,
            scoring=self.scorer.kind,
            cosine=round(float(Cosine()(*pair)[0]), 6),
            score=round(value, 6),
            llr=None if llr is None else round(llr, 4),
            log10_lr=None if llr is None else round(in_decades(llr), 4),
            at_bound=at_bound,
            prior=self.prior,
            threshold=None if threshold is None else round(threshold, 4),
            posterior=None if llr is None or threshold is None else round(float(1 / (1 + np.exp(threshold - llr))), 6),
            decision=decision,
            reason=reason,
            notes=(
                *notes,
                *(
                    f"{Path(each.path).name}: {note}"
                    for each in (a, b)
                    if isinstance(each, UtteranceEmbedding)
                    for note in each.notes
                ),
            ),
            is_distance=self.is_distance,
            score_threshold=self.score_threshold,
        )

    @property
    def is_distance(self) -> bool:
        """Whether a lower score speaks for one person."""
        return self.scorer.kind == scores.EUCLIDEAN

    @property
    def score_threshold(self) -> float | None:
        """The authors' threshold of scores; None where there is none, or voices are compared in another way."""
        return self.authors.threshold if self.scorer.kind == self.authors.metric else None


def load_verifier(embedder: UtteranceEmbedder, scoring: Scoring) -> Verifier:
    """How voices of `embedder` are compared. Raises as `Scoring.load`."""
    return Verifier(*scoring.load(embedder), scoring.prior, embedder.scoring)


def verify(a: Path, b: Path, config: Config, store: Store, scoring: Scoring) -> Verification:
    """Are these two recordings of one person? Raises AudioError where one cannot be read or holds no speech."""
    require([a, b])
    decoding.start()  # its process loads its code while the models are loaded
    embedder = load_embedder(config, store, scoring.prepare)
    return load_verifier(embedder, scoring).verify(embedder.embed_file(a), embedder.embed_file(b))


def verify_claim(
    name: str, recording: Path, library: Library, config: Config, store: Store, scoring: Scoring
) -> Verification:
    """Is the speaker of a recording the enrolled person `name` (or id)?

    Raises UnknownPerson, AudioError, and CalibrationError where the library holds no voice of theirs for this embedder.
    """
    require([recording])
    if scoring.prepare not in (None, preparation.SPEECH):
        problem = "voices of a library are those of the speech in their recordings"
        raise ConfigError("--prepare", scoring.prepare, problem, "Leave the option out.")
    person = library.find(name)
    decoding.start()
    embedder = load_embedder(config, store)
    verifier = load_verifier(embedder, scoring)
    voice, bandwidth = claimed_voice(library, person, embedder.model)
    return verifier.verify(voice, embedder.embed_file(recording), bandwidth)


def claimed_voice(library: Library, person: Person, model: str) -> tuple[Voice, float | None]:
    """(voice of an enrolled person, narrowest bandwidth of its utterances in Hz, where it is known).

    Raises CalibrationError where the library holds no voice of theirs for the embedder `model`.
    """
    voice = library.voice(person.id, model)
    if voice is None:
        who = printable(person.name)
        if person.expired:
            problem, cure = f"the consent of {who} ended on {person.expires}", "Renew it (enroll --expires DATE)."
        else:
            others = ", ".join(person.seconds) or "none"
            problem = f"the library has no voice of {who} for {model}, but of other models ({others})"
            cure = f"Run `diarize enroll --re-embed {person.id}` with the same embedder, or enrol them again."
        raise CalibrationError(problem, cure)
    return voice, narrowest(library, person.id)


def narrowest(library: Library, person: str) -> float | None:
    """The smallest bandwidth of the utterances behind a voice, in Hz; None where none was measured."""
    bandwidths = [u.quality["bandwidth"] for u in library.utterances(person) if "bandwidth" in u.quality]
    return min(bandwidths, default=None)


def _compared(voice: UtteranceEmbedding | Voice, bandwidth: float | None) -> ComparedVoice:
    if isinstance(voice, Voice):
        return ComparedVoice(voice.name, voice.seconds, bandwidth)
    return ComparedVoice(voice.path, voice.seconds, voice.bandwidth, voice.digest, voice.spoof)
