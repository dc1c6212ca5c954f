"""Approximate search against the exact one; its file is derived, checked, and never believed."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from diarize.config import IdentifyConfig
from diarize.library import store
from diarize.library.scoring import identification
from diarize.library.scoring.identification import OpenSet
from diarize.library.search import approximate
from diarize.library.search.exact import search_all
from tests.library.scoring.test_identification import PLAIN
from tests.library.voices import MODEL, enrolment, opened, voice

pytest.importorskip("faiss", reason="the extra `faiss` is not installed")
pytestmark = pytest.mark.filterwarnings("ignore:builtin type:DeprecationWarning")  # of faiss's own bindings


@pytest.fixture
def crowd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """400 people in a library that is large enough for index files."""
    monkeypatch.setattr("diarize.library.search.index.MANY", 1)
    monkeypatch.setattr(approximate, "LARGE", 100)
    monkeypatch.setattr(approximate, "TRAINING", 20)
    with opened(tmp_path / "s.db") as library, library.batch():
        for seed in range(400):
            library.enrol(f"person {seed}", [enrolment(seed)])
    return tmp_path / "s.db"


def index_files(library: Path) -> list[Path]:
    return list(library.with_name("s.db.index").glob("*.faiss"))


def test_it_proposes_the_nearest(crowd: Path) -> None:
    queries = np.stack([voice(seed) for seed in range(0, 400, 13)])
    with store.open(crowd) as library:
        file, matrix = library.approximate_index(MODEL), library.matrix(MODEL)
    assert file is not None
    assert (file.covered, [file.path]) == (400, index_files(crowd))
    assert 0.9 <= file.recall <= 1
    proposals = approximate.load(file).propose(queries)
    for rows, nearest in zip(proposals, search_all(queries, matrix, 1), strict=True):
        assert nearest[0].voice in {matrix.ids[int(row)] for row in rows}
        assert len(rows) <= approximate.PROPOSALS
    with store.open(crowd, read_only=True) as library:
        library.matrix(MODEL)
        assert library.approximate_index(MODEL) == file  # read, not made again


def test_later_people_are_not_covered_and_people_who_are_removed_are_in_no_file(crowd: Path) -> None:
    with opened(crowd, ids="new") as library:
        library.update_indexes()
        files = index_files(crowd)
        late = library.enrol("late", [enrolment(5000)])
        file = library.approximate_index(MODEL)
        assert file is not None
        assert (file.covered, index_files(crowd)) == (400, files)
        for seed in range(6000, 6040):
            library.enrol("more", [enrolment(seed)])
        library.update_indexes()
        assert index_files(crowd) != files  # a tenth more
        library.remove(late.id)
        assert index_files(crowd) == []
        file = library.approximate_index(MODEL)
        assert file is not None
        assert file.covered == 440


def test_fault_57_58_a_damaged_or_planted_index_never_reaches_faiss(crowd: Path) -> None:
    with store.open(crowd) as library:
        file = library.approximate_index(MODEL)
    assert file is not None
    data = bytearray(file.path.read_bytes())
    data[len(data) // 2] ^= 1
    file.path.write_bytes(data)
    with pytest.raises(ValueError, match="its content has changed"):
        approximate.load(file)
    with store.open(crowd, read_only=True) as library:
        assert library.approximate_index(MODEL) is None  # searches are exact
    with store.open(crowd) as library:
        again = library.approximate_index(MODEL)
    assert again is not None
    assert again.path != file.path
    assert index_files(crowd) == [again.path]


def test_who_has_no_index(crowd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with store.open(crowd, read_only=True) as library:
        assert library.approximate_index(MODEL) is None  # nobody made it, and here it may not be written
    with opened(tmp_path / "few.db") as library:
        library.enrol("Anna", [enrolment(1)])
        library.update_indexes()
        assert library.approximate_index(MODEL) is None
    with monkeypatch.context() as patch, store.open(crowd) as library:
        patch.setitem(sys.modules, "faiss", None)
        assert library.approximate_index(MODEL) is None
    assert index_files(crowd) == []


@pytest.mark.parametrize("sample", [50, 10_000])
def test_speakers_are_identified_as_by_an_exact_search(
    sample: int, crowd: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(crowd, ids="new") as library:
        file = library.approximate_index(MODEL)
        late = library.enrol("late", [enrolment(5000)])
        matrix = library.matrix(MODEL)
    assert file is not None
    config = IdentifyConfig(prior=0.3, chance=0.9, margin=0.1)
    exact = OpenSet(matrix, PLAIN, config)
    fast = OpenSet(matrix, PLAIN, config, index=approximate.load(file))
    assert fast.name == exact.name.removesuffix(")") + f",index={file.hash[:16]})"
    monkeypatch.setattr(identification, "SAMPLE", sample)
    for seeds in ([3, 17, 5000], [250], [901, 902]):
        vectors = np.stack([voice(seed) for seed in seeds])
        seconds = [10.0] * len(seeds)
        answers, expected = fast(vectors, seconds, 8000.0), exact(vectors, seconds, 8000.0)
        assert [one.person for one in answers] == [one.person for one in expected]
        assert [one.candidates[0] for one in answers] == [one.candidates[0] for one in expected]
        assert (answers == expected) or sample < len(matrix)  # a sample changes a deviation by hundredths
    assert fast(voice(5000)[None], [10.0], 8000.0)[0].candidates[0].voice == late.id
