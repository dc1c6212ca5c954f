"""The enrolled people that a run looks for: what the library has for the embedder, as plain data for the workers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diarize.config import Config, IdentifyConfig
from diarize.errors import CalibrationError, LibraryError
from diarize.library.database.records import Matrix
from diarize.library.scoring import calibration as calibrations
from diarize.library.scoring.calibration import Calibration
from diarize.library.scoring.identification import OpenSet
from diarize.library.search import mapped_matrix
from diarize.library.search.mapped_matrix import Filed
from diarize.library.store import Library
from diarize.text import counted


@dataclass(frozen=True, slots=True)
class Mapped:
    """Voices that lie in files: each process maps them, none copies them."""

    folder: Path
    files: Filed
    model: str


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """Whom to look for, and how to decide."""

    voices: Matrix | Mapped
    calibration: Calibration | None
    config: IdentifyConfig
    lacking: str = ""  # why nobody can be named; "" where somebody can
    notes: tuple[str, ...] = ()  # no names: notes stand in logs

    def load(self) -> OpenSet:
        """The identifier. Raises LibraryError where the files of a large library were replaced meanwhile."""
        if isinstance(self.voices, Matrix):
            return OpenSet(self.voices, self.calibration, self.config, self.lacking)
        folder = self.voices.folder
        try:
            voices = mapped_matrix.mapped(folder, self.voices.files, self.voices.model)
        except (OSError, ValueError) as error:
            problem = f"its index files were replaced while they were to be read ({error})"
            raise LibraryError(str(folder), problem, "Run the same command again.") from error
        return OpenSet(voices, self.calibration, self.config, self.lacking)


def known(library: Library | None, model: str, config: Config) -> Known:
    """What a library has for the embedder `model`; without one nobody is known, and strangers are linked all the same.

    Raises FormatError and CalibrationError for a calibration that cannot be read, or is not for this embedder.
    """
    calibration = calibration_of(model, config.identify)
    if library is None:
        nobody = Matrix(model, (), (), np.empty((0, 0), np.float32), np.empty(0), "")
        return Known(nobody, calibration, config.identify, "no library was given")
    matrix = library.matrix(model)
    place = library.index.place(model)
    people, expired = library.counts()
    without = people - expired - len(matrix)
    held = ", ".join(name for name in library.models() if name != model)
    notes, lacking = [], ""
    if not people:
        lacking = "nobody is enrolled"
    elif people == expired:
        lacking = "the consent of everybody who is enrolled has ended"
    elif not len(matrix):
        lacking = f"the library has no voice for this embedder ({model}), but for {held or 'none'}"
        notes.append(f"library: {lacking}, so every speaker is unknown; make them: diarize enroll --re-embed")
    elif without:
        notes.append(
            f"library: without a voice for {model}, and not looked for: {without} of {counted(people, 'person')}"
        )
    if expired:
        notes.append(f"library: not looked for, as their consent has ended: {expired} of {counted(people, 'person')}")
    elif not people:
        notes.append("library: nobody is enrolled, so every speaker is unknown; enrol somebody: diarize enroll")
    if calibration is None:
        reason = f"there is no calibration for {model}"
        lacking = lacking or f"{reason}, so nobody can be named"
        notes.append(
            f"library: {reason}, so nobody is named; make one: diarize calibrate, and set identify.calibration"
        )
    voices = Mapped(*place, model) if place is not None else matrix
    return Known(voices, calibration, config.identify, lacking, tuple(notes))


def calibration_of(model: str, config: IdentifyConfig) -> Calibration | None:
    """The calibration for scores of the embedder `model`; None where there is none. Raises as `known`."""
    if config.calibration is None:
        return calibrations.shipped(model)
    made = calibrations.load(Path(config.calibration))
    if made.model != model:
        raise CalibrationError(
            f"made for scores of {made.model}, not of {model}", "Make one for it: diarize calibrate."
        )
    made.scorer()  # refuses scores that would need a cohort
    return made
