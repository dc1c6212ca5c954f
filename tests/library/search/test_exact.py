"""Exact search against the definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diarize.library.database.records import Matrix, Texts
from diarize.library.search.exact import search, search_all
from tests.library.voices import MODEL


def matrix(vectors: np.ndarray[tuple[int, int], np.dtype[np.float32]], ids: list[str] | None = None) -> Matrix:
    ids = ids or [f"{i:04d}" for i in range(len(vectors))]
    names = [f"name of {id}" for id in ids]
    return Matrix(MODEL, Texts.of(ids), Texts.of(names), vectors, np.ones(len(ids)), "")


def voices(count: int, dimension: int, seed: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    made = np.random.default_rng(seed).standard_normal((count, dimension)).astype(np.float32)
    return np.asarray(made / np.linalg.norm(made, axis=1, keepdims=True), dtype=np.float32)


@settings(deadline=None, max_examples=50)
@given(count=st.integers(0, 40), top=st.integers(1, 12), block=st.integers(1, 50), seed=st.integers(0, 10**6))
def test_the_best_are_found_whatever_the_blocks(count: int, top: int, block: int, seed: int) -> None:
    held = voices(count, 8, seed)
    held[count // 2 :] = held[: count - count // 2]  # every other one twice: ties
    query = voices(1, 8, seed + 1)[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("diarize.library.search.exact.BLOCK", block)
        found = search(query, matrix(held), top)
    scores = [float((row.astype(np.float64) * query).sum()) for row in held]
    order = sorted(range(count), key=lambda i: (-scores[i], i))[:top]
    assert [c.voice for c in found] == [f"{i:04d}" for i in order]
    assert [c.score for c in found] == [scores[i] for i in order]
    assert [c.name for c in found] == [f"name of {c.voice}" for c in found]


def test_ties_go_by_id() -> None:
    held = matrix(np.repeat(voices(1, 8, 0), 4, axis=0), ["d", "b", "c", "a"])
    assert [c.voice for c in search(voices(1, 8, 1)[0], held, 3)] == ["a", "b", "c"]


def test_company_changes_no_bit() -> None:
    held, queries = matrix(voices(3000, 64, 0)), voices(7, 64, 1)
    together = search_all(queries, held)
    assert together == tuple(search(query, held) for query in queries)
    alone = matrix(held.vectors[17:18].copy())
    assert search(queries[0], alone)[0].score in [c.score for c in search(queries[0], held, 3000)]


def test_an_empty_library_answers_with_nobody() -> None:
    assert search(voices(1, 8, 0)[0], matrix(np.empty((0, 8), dtype=np.float32))) == ()


def test_queries_that_cannot_be_asked() -> None:
    held = matrix(voices(3, 8, 0))
    with pytest.raises(ValueError, match=r"queries are \(k, 8\) here"):
        search(voices(1, 9, 0)[0], held)
    with pytest.raises(ValueError, match="top must be at least 1"):
        search(voices(1, 8, 0)[0], held, 0)


def test_texts() -> None:
    words = ["", "a", "é\0", "\udcff", "x" * 1000, ""]
    texts = Texts.of(words)
    assert list(texts) == words
    assert (texts[-1], texts[-5], texts[1:3]) == ("", "a", ("a", "é\0"))
    assert list(texts.and_more(["y", "z"])) == [*words, "y", "z"]
    assert list(Texts.of([]).and_more(["y"])) == ["y"]
    with pytest.raises(IndexError):
        texts[6]
    assert texts == words
    assert texts != words[1:]
