"""Bytes and back: what is kept comes back exactly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diarize.activity import LocalActivity
from diarize.cache import codecs
from diarize.cache.codecs import BackendIdentity, CachedChannel, CachedRecording, Codec
from diarize.types import Embeddings, Segment, Source, Turn, Word

TIMES = st.lists(st.floats(0, 1e6, allow_nan=False), min_size=2, max_size=2, unique=True).map(sorted)
SEGMENTS = st.lists(TIMES.map(lambda t: Segment(*t)), max_size=8).map(tuple)


@given(SEGMENTS)
def test_segments_come_back_bit_for_bit(found: tuple[Segment, ...]) -> None:
    assert codecs.SEGMENTS.decode(codecs.SEGMENTS.encode(found)) == found


@given(SEGMENTS, st.integers(0, 2**32 - 1))
def test_embeddings_come_back_bit_for_bit(segments: tuple[Segment, ...], seed: int) -> None:
    vectors = np.random.default_rng(seed).standard_normal((len(segments), 7)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    back = codecs.EMBEDDINGS.decode(codecs.EMBEDDINGS.encode(Embeddings(segments, vectors, "mödel")))
    assert (back.segments, back.model) == (segments, "mödel")
    assert back.vectors.dtype == np.float32
    assert back.vectors.tobytes() == vectors.tobytes()


def test_activity_comes_back_bit_for_bit() -> None:
    posteriors = np.random.default_rng(1).random((3, 5, 7)).astype(np.float16)
    back = codecs.ACTIVITY.decode(codecs.ACTIVITY.encode(LocalActivity(posteriors, 2, 0.1 + 0.2, 1 / 3)))
    assert (back.hop, back.step, back.lag) == (2, 0.1 + 0.2, 1 / 3)
    assert back.posteriors.dtype == np.float16
    assert back.posteriors.tobytes() == posteriors.tobytes()


def test_words_turns_and_numbers_come_back() -> None:
    words = ((Word(0.1, 0.1, "a\u2028\x00'\"", 1 / 3), Word(0.2, 0.30000000000000004, "שלום", 1.0, "S1")), None)
    assert codecs.WORDS.decode(codecs.WORDS.encode(words)) == words
    assert codecs.WORDS.decode(codecs.WORDS.encode(((), "de"))) == ((), "de")
    turns = (Turn(0.1, 0.7, "S1"), Turn(0.30000000000000004, 0.9, "S2", 2 / 3))
    assert codecs.TURNS.decode(codecs.TURNS.encode(turns)) == turns
    assert codecs.NUMBER.decode(codecs.NUMBER.encode(7812.5)) == 7812.5


def test_arrays_come_back_with_shape_kind_and_order() -> None:
    arrays = (np.array(0.1), np.asfortranarray(np.arange(6.0).reshape(2, 3)), np.zeros((1, 4), np.int64))
    back = codecs.ARRAYS.decode(codecs.ARRAYS.encode(arrays))
    for one, other in zip(arrays, back, strict=True):
        assert (one.shape, one.dtype, one.strides) == (other.shape, other.dtype, other.strides)
        assert one.tobytes() == other.tobytes()


def test_facts_of_a_file_and_identities_come_back() -> None:
    source = Source("a.wav", "0" * 64, 3, "wav", "pcm", 1, 2, 8000, 2, "mix", None, 1 / 3, ("note",), ("ab", "cd"))
    facts = CachedRecording(
        source, (CachedChannel(5, 16_000, "ab", (Segment(0.1, 0.2),)), CachedChannel(5, 16_000, "cd", ()))
    )
    assert codecs.RECORDING.decode(codecs.RECORDING.encode(facts)) == facts
    declared = replace(facts, source=replace(source, declared=0.1 + 0.2))
    assert codecs.RECORDING.decode(codecs.RECORDING.encode(declared)) == declared
    said = BackendIdentity("silero@12", ("on the CPU",), 3)
    assert codecs.IDENTITY.decode(codecs.IDENTITY.encode(said)) == said
    assert codecs.IDENTITY.decode(codecs.IDENTITY.encode(BackendIdentity("x"))) == BackendIdentity("x")


@pytest.mark.parametrize(
    "name", ["SEGMENTS", "EMBEDDINGS", "ACTIVITY", "WORDS", "TURNS", "NUMBER", "RECORDING", "IDENTITY"]
)
@pytest.mark.parametrize("data", [b"", b"{}\n", b"[]\n\x93NUMPY", b"\x80\x04.", b"null\n", b"[[1]]\n", b'["a", "b"]\n'])
def test_fault_57_other_bytes_are_an_error_that_is_a_miss(name: str, data: bytes) -> None:
    codec: Codec[object] = getattr(codecs, name)
    empty = {"SEGMENTS": (), "TURNS": ()}
    try:
        found = codec.decode(data)
    except (ValueError, KeyError, TypeError):
        return
    assert found == empty.get(name)


def test_fault_58_an_array_of_objects_is_refused() -> None:
    file = codecs._pack("model")
    import io

    hidden = io.BytesIO()
    np.save(hidden, np.array([Bomb()], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="allow_pickle"):
        codecs.EMBEDDINGS.decode(file + hidden.getvalue() * 2)


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("loaded",)
