"""How two voices are compared: what the user chose -> a scorer and a calibration (docs/method/scores.md)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from diarize import files
from diarize.config import Config
from diarize.errors import ConfigError
from diarize.library.scoring import calibration as calibrations
from diarize.library.scoring import scores
from diarize.library.scoring.calibration import Calibration
from diarize.library.scoring.scores import Scorer
from diarize.text import counted
from pipelines.inputs import recordings
from pipelines.people.utterance import OnUtterance, UtteranceEmbedder, embed_files
from pipelines.results.outcomes import PRODUCT
from pipelines.versions import versions

METHODS = ("cosine", "centred", "s-norm")


@dataclass(frozen=True, slots=True)
class Scoring:
    """What a user chooses; None is the default. Raises ConfigError for a prior or a method that does not exist."""

    prior: float | None = None  # probability of one speaker before the recordings are compared; None: no decision
    calibration: Path | None = None  # file that `diarize calibrate` saved; default: the shipped one, where it fits
    cohort: Path | None = None  # folder of recordings of other people, one person each
    # Of METHODS; default: centred by the cohort, else that of the calibration, else that of the model's authors.
    method: str | None = None
    prepare: str | None = None  # what of a file is embedded (diarize.speech.preparation); default: as its authors do

    def __post_init__(self) -> None:
        if self.prior is not None and not 0 < self.prior < 1:
            raise ConfigError("--prior", str(self.prior), "a prior lies between 0 and 1")
        if self.method not in (None, *METHODS):
            raise ConfigError("--scoring", str(self.method), f"is none of {', '.join(METHODS)}")

    def read_calibration(self) -> Calibration | None:
        """The user's calibration. Raises FormatError where it cannot be read, ConfigError where a file is missing."""
        for option, path in (("--calibration", self.calibration), ("--cohort", self.cohort)):
            if path is not None and not path.exists():
                raise ConfigError(option, str(path), "there is no such file or folder")
        return None if self.calibration is None else calibrations.load(self.calibration)

    def load(
        self, embedder: UtteranceEmbedder, on_utterance: OnUtterance = lambda name, done, total: None
    ) -> tuple[Scorer, Calibration | None]:
        """(scorer, calibration of its scores) for the voices of `embedder`; None where no calibration fits.

        Raises ConfigError where other people's voices are needed and missing, CalibrationError where the user's
        calibration is for other scores, FormatError where it cannot be read.
        """
        own = self.read_calibration()
        if own is not None and self.cohort is None and self.method is None:
            scorer: Scorer = scores.Euclidean() if own.kind == scores.EUCLIDEAN else own.scorer()
        else:
            scorer = self._scorer(embedder, on_utterance)
        if own is not None:
            own.check_scores(embedder.model, scorer.kind)
            return scorer, own
        shipped = calibrations.shipped(embedder.model)
        return scorer, shipped if shipped is not None and shipped.kind == scorer.kind else None

    def _scorer(self, embedder: UtteranceEmbedder, on_utterance: OnUtterance) -> Scorer:
        is_distance = embedder.scoring.is_distance
        if self.method == "cosine" and is_distance:
            problem = f"voices of {embedder.model} are compared by their {embedder.scoring.metric} distance"
            raise ConfigError("--scoring", self.method, problem, "Leave the option out.")
        if self.method == "cosine":
            return scores.Cosine()
        if is_distance and self.method is None and self.cohort is None:
            return scores.Euclidean()
        if self.cohort is None:
            shipped = calibrations.shipped(embedder.model)
            if self.method == "s-norm" or (self.method == "centred" and shipped is None):
                problem, cure = "needs voices of other people", "Give their folder with --cohort."
                raise ConfigError("--scoring", self.method, problem, cure)
            return shipped.scorer() if shipped is not None else scores.Cosine()
        inputs = recordings.find([self.cohort]).inputs
        voices, _ = embed_files({item.name: item.path for item in inputs}, embedder, on_utterance)
        if len(voices) < 2:
            problem = f"{counted(len(voices), 'recording')} with speech, at least two are needed"
            raise ConfigError("--cohort", str(self.cohort), problem)
        vectors = np.stack([voices[name].vector for name in sorted(voices)])
        return scores.SNorm(vectors) if self.method == "s-norm" else scores.centred(vectors)


def describe_run(config: Config, scoring: Scoring, model: str) -> dict[str, Any]:
    """What a record of a comparison needs beside its result: product, time, settings, digest of the calibration."""
    path = scoring.calibration or calibrations.SHIPPED.get(model.partition("@")[0])
    supplied = scoring.calibration is None
    applies = path is not None and (not supplied or calibrations.shipped(model) is not None)
    return {
        "product": PRODUCT,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "settings": config.model_dump(mode="json", exclude={"run", "asr", "output", "cluster"}),
        "calibration": {"sha256": files.sha256(path), "supplied": supplied} if applies and path is not None else None,
        "versions": versions(),
    }


DEFAULT = Scoring()
