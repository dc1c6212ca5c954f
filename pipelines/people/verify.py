"""Are two recordings of one person? Is this the person they claim to be?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from diarize.config import Config
from diarize.errors import CalibrationError
from diarize.library.scoring import calibration as calibrations
from diarize.library.scoring.calibration import Calibration, Side
from diarize.library.scoring.scores import Cosine, Scorer
from diarize.library.store import Library
from diarize.metrics import verification
from diarize.models.store import Store
from diarize.types import Voice
from pipelines.people.trials import check_prior, scorer_for
from pipelines.people.utterance import Ears, Utterance, ears

Decision = Literal["same", "different", "undecided"]


@dataclass(frozen=True, slots=True)
class Compared:
    """One side of a comparison, as the result shows it."""

    name: str  # the file, or the enrolled person
    seconds: float  # of speech
    bandwidth: float | None  # Hz
    digest: str = ""  # sha256 of the file


@dataclass(frozen=True, slots=True)
class Verification:
    """Same person? `llr` (natural) is None where there is no calibration or where it refuses; `reason` says why."""

    a: Compared
    b: Compared
    model: str
    scoring: str
    cosine: float
    score: float
    llr: float | None
    at_bound: bool  # the data of the calibration support no more extreme value
    prior: float
    threshold: float  # of `llr`
    posterior: float | None  # probability of one person, from `llr` and `prior`
    decision: Decision
    reason: str
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return {"schema": "diarize-verification/1", **asdict(self)}


@dataclass(frozen=True, slots=True)
class Judge:
    """What turns two voices into a decision."""

    scorer: Scorer
    calibration: Calibration | None
    prior: float

    def __call__(self, a: Utterance | Voice, b: Utterance, bandwidth: float | None = None) -> Verification:
        """`bandwidth` (Hz) is that of an enrolled voice, where it is known."""
        if a.model != b.model:
            raise CalibrationError(
                f"voices of two models cannot be compared: {a.model} and {b.model}", "Enrol again: enroll --re-embed."
            )
        left = _shown(a, bandwidth)
        pair = a.vector[None], b.vector[None]
        value = float(self.scorer(*pair)[0])
        threshold = verification.bayes_threshold(self.prior)
        llr: float | None = None
        at_bound, reason = False, "there is no calibration for these scores; make one: diarize calibrate"
        if self.calibration is not None:
            refused = self.calibration.refusal(Side(left.seconds, left.bandwidth), b.side)
            reason = refused or ""
            if refused is None:
                llr = float(self.calibration.llr(value, left.seconds, b.seconds))
                at_bound = llr in self.calibration.bounds
        decision: Decision = "undecided" if llr is None else "same" if llr >= threshold else "different"
        return Verification(
            a=left,
            b=_shown(b, None),
            model=b.model,
            scoring=self.scorer.kind,
            cosine=round(float(Cosine()(*pair)[0]), 6),
            score=round(value, 6),
            llr=None if llr is None else round(llr, 4),
            at_bound=at_bound,
            prior=self.prior,
            threshold=round(threshold, 4),
            posterior=None if llr is None else round(float(1 / (1 + np.exp(threshold - llr))), 6),
            decision=decision,
            reason=reason,
            notes=(*(a.notes if isinstance(a, Utterance) else ()), *b.notes),
        )


def judge(
    hear: Ears, prior: float, calibration: Path | None = None, cohort: Path | None = None, way: str | None = None
) -> Judge:
    """How to decide. `calibration` None takes the shipped one, where it fits the embedder and the way of scoring.

    Raises ConfigError for a prior that is none, CalibrationError for a calibration that is made for something else.
    """
    check_prior(prior)
    model = hear.embed.name
    given = calibrations.load(calibration) if calibration is not None else None
    if given is not None and cohort is None and way is None:
        scorer: Scorer = given.scorer()
    else:
        scorer = scorer_for(model, cohort, way, hear, lambda name, done, total: None)
    if given is not None:
        given.meets(model, scorer.kind)
        return Judge(scorer, given, prior)
    shipped = calibrations.shipped(model)
    return Judge(scorer, shipped if shipped is not None and shipped.kind == scorer.kind else None, prior)


def verify(
    a: Path,
    b: Path,
    config: Config,
    store: Store,
    *,
    prior: float = 0.5,
    calibration: Path | None = None,
    cohort: Path | None = None,
    way: str | None = None,
) -> Verification:
    """Are these two recordings of one person? Raises AudioError where one cannot be read or holds no speech."""
    hear = ears(config, store)
    decide = judge(hear, prior, calibration, cohort, way)
    return decide(hear(a), hear(b))


def claim(
    name: str,
    recording: Path,
    library: Library,
    config: Config,
    store: Store,
    *,
    prior: float = 0.5,
    calibration: Path | None = None,
    cohort: Path | None = None,
    way: str | None = None,
) -> Verification:
    """Is the speaker of a recording the enrolled person `name` (or id)?

    Raises UnknownPerson, AudioError, and CalibrationError where the library holds no voice of theirs for this embedder.
    """
    person = library.find(name)
    hear = ears(config, store)
    decide = judge(hear, prior, calibration, cohort, way)
    voice = next((voice for voice in library.voices(hear.embed.name) if voice.id == person.id), None)
    if voice is None:
        held = ", ".join(library.models()) or "none"
        raise CalibrationError(
            f"the library has no voice of {name} for {hear.embed.name} (it holds: {held})",
            "Enrol them with this embedder, or renew their consent where it has expired.",
        )
    return decide(voice, hear(recording), _bandwidth(library, person.id))


def _bandwidth(library: Library, person: str) -> float | None:
    """The narrowest of the utterances that a voice was made of; None where nobody measured it."""
    found: Sequence[float] = [u.quality["bandwidth"] for u in library.utterances(person) if "bandwidth" in u.quality]
    return min(found, default=None)


def _shown(side: Utterance | Voice, bandwidth: float | None) -> Compared:
    if isinstance(side, Voice):
        return Compared(side.name, side.seconds, bandwidth)
    return Compared(side.path, side.seconds, side.bandwidth, side.digest)
