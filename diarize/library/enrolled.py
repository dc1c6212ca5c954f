"""The enrolled people that a run looks for: what the library has for the embedder, as plain data for the workers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diarize.config import Config, IdentifyConfig
from diarize.errors import LibraryError
from diarize.library.database.records import Matrix
from diarize.library.scoring import calibration as calibrations
from diarize.library.scoring.calibration import Calibration
from diarize.library.scoring.identification import OpenSet
from diarize.library.scoring.scores import Cosine
from diarize.library.search import approximate, mapped_matrix
from diarize.library.search.approximate import IndexFile
from diarize.library.search.live import LiveSearch
from diarize.library.search.mapped_matrix import MappedFiles
from diarize.library.store import Library
from diarize.text import counted
from diarize.types import Vectors

RE_EMBED = (
    "voices of two embedders are never compared: run `diarize enroll --re-embed` with the same embedder (for people "
    "whose audio is stored), or enrol again"
)


@dataclass(frozen=True, slots=True)
class MappedVoices:
    """The voices of a large library, which each process maps from its index files instead of a copy."""

    folder: Path
    files: MappedFiles
    model: str
    index: IndexFile | None  # None: every search is exact


@dataclass(frozen=True, slots=True, eq=False)
class EnrolledPeople:
    """The people whom a run looks for, and how it decides: plain data that crosses to the workers."""

    voices: Matrix | MappedVoices
    calibration: Calibration | None
    config: IdentifyConfig
    lacking: str = ""  # why nobody can be named; "" where somebody can
    notes: tuple[str, ...] = ()  # without names of people, as they are written into logs

    def load(self) -> OpenSet:
        """The identifier. Raises LibraryError where the files of a large library have been replaced."""
        if isinstance(self.voices, Matrix):
            return OpenSet(self.voices, self.calibration, self.config, self.lacking)
        folder, file = self.voices.folder, self.voices.index
        try:
            voices = mapped_matrix.open_matrix(folder, self.voices.files, self.voices.model)
            index = approximate.load(file) if file is not None else None
        except (OSError, ValueError) as error:
            problem = f"its index files were replaced while they were to be read ({error})"
            raise LibraryError(str(folder), problem, "Run the same command again.") from error
        return OpenSet(voices, self.calibration, self.config, self.lacking, index)


def enrolled_people(library: Library | None, model: str, config: Config) -> EnrolledPeople:
    """The people of a library who have a voice of the embedder `model`. Without a library (None) nobody is known, and
    unknown speakers are linked across recordings all the same.

    Raises FormatError and CalibrationError for a calibration that cannot be read, or is not for this embedder.
    """
    calibration = calibration_of(model, config.identify)
    if library is None:
        nobody = Matrix(model, (), (), np.empty((0, 0), np.float32), np.empty(0), "")
        return EnrolledPeople(nobody, calibration, config.identify, "no library was used")
    matrix = library.matrix(model)
    index = None if config.identify.exact else library.approximate_index(model)
    files = library.index.files(model)
    people, expired = library.counts()
    without = people - expired - len(matrix)
    others = ", ".join(name for name in library.models() if name != model)
    notes, lacking = [], ""
    if not people:
        lacking = "nobody is enrolled"
    elif people == expired:
        lacking = "the consent of everybody who is enrolled has ended"
    elif not len(matrix):
        lacking = f"the library has no voices for this embedder ({model}), only for {others or 'no other'}"
        notes.append(f"library: {lacking}, so every speaker is unknown; {RE_EMBED}")
    elif without:
        notes.append(
            f"library: without a voice for {model}, so they cannot be named: {without} of {counted(people, 'person')}; "
            f"{RE_EMBED}"
        )
    if expired:
        notes.append(f"library: not used, as their consent has ended: {expired} of {counted(people, 'person')}")
    elif not people:
        notes.append("library: nobody is enrolled, so every speaker is unknown; enrol somebody: diarize enroll")
    if calibration is None:
        reason = f"there is no calibration for {model}"
        lacking = lacking or f"{reason}, so nobody can be named"
        notes.append(
            f"library: {reason}, so nobody is named; make one: diarize calibrate, and set identify.calibration"
        )
    if index is not None:
        notes.append(
            f"library: approximate search in {len(matrix)} voices: the nearest voice is found in "
            f"{100 * index.recall:.1f} % of trials; --exact compares every voice"
        )
    voices = MappedVoices(*files, model, index) if files is not None else matrix
    return EnrolledPeople(voices, calibration, config.identify, lacking, tuple(notes))


def nearest_people(
    library: Library, search: LiveSearch, calibration: Calibration | None, config: IdentifyConfig, vectors: Vectors
) -> OpenSet:
    """The identifier for speakers with these `vectors` (k, d), of whose library a search in memory lists candidates.

    It decides as one that compares everybody, where the search proposes the nearest people. Raises LibraryError.
    """
    scorer = calibration.scorer() if calibration is not None else Cosine()
    queries = scorer.queries(scorer.transform(vectors)).astype(np.float32)
    near, background = library.candidates(search, queries)
    lacking = "" if calibration is not None else f"there is no calibration for {search.model}, so nobody can be named"
    return OpenSet(near, calibration, config, lacking, background=background)


def calibration_of(model: str, config: IdentifyConfig) -> Calibration | None:
    """The calibration for scores of the embedder `model`; None where there is none. Raises as `enrolled_people`."""
    if config.calibration is None:
        return calibrations.shipped(model)
    calibration = calibrations.load(Path(config.calibration))
    calibration.check_scores(model, calibration.kind)
    calibration.scorer()  # raises where the scores need a cohort
    return calibration
