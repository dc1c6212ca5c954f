"""A library with voices of one embedder, used with another: vectors of two models never meet, and messages say so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import diarize
from diarize.config import Config
from diarize.errors import CalibrationError
from diarize.library import store as libraries
from diarize.library.store import Library
from diarize.models.store import Store
from pipelines.people import enroll, speakers, verify
from pipelines.people.enroll import EnrolmentRequest
from pipelines.people.scoring import Scoring
from pipelines.people.utterance import load_embedder
from tests.pipelines.people.test_enroll import ANNA, BEN, CONFIG, OTHER, sing
from tests.shared import SHARED, needs_shared

CURE = "diarize enroll --re-embed"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "models", offline=True)


@pytest.fixture
def place(tmp_path: Path, store: Store) -> Path:
    """A library with Anna (audio stored) and Ben, whose voices are of the embedder `tones`."""
    with libraries.open(tmp_path / "people.db", create=True) as library:
        for name, hertz, keep in (("Anna", ANNA, True), ("Ben", BEN, False)):
            request = EnrolmentRequest(name, keep_audio=keep)
            recording = sing(tmp_path / f"{name}.wav", (hertz, 4.0))
            assert enroll.enroll(library, request, [recording], CONFIG, store).status == 0
    return tmp_path / "people.db"


@pytest.fixture
def library(place: Path) -> Iterator[Library]:
    with libraries.open(place) as opened:
        yield opened


def test_a_claim_is_refused(tmp_path: Path, library: Library, store: Store) -> None:
    with pytest.raises(CalibrationError, match=r"no voice of Ben for tones-2, but of other models \(tones\)") as error:
        verify.verify_claim("Ben", tmp_path / "Ben.wav", library, OTHER, store, Scoring())
    assert CURE in str(error.value)


def test_the_runs_of_process_and_identify_know_nobody(tmp_path: Path, place: Path) -> None:
    settings = OTHER.model_dump(mode="json") | {"asr": {"backend": "none"}, "segmentation": {"backend": "none"}}
    transcript = diarize.process(tmp_path / "Ben.wav", library=place, config=Config.model_validate(settings))
    assert [speaker.name for speaker in transcript.speakers] == [None]
    assert "no voices for this embedder (tones-2), only for tones" in (transcript.speakers[0].reason or "")
    assert any(CURE in note for note in transcript.notes)


def test_a_second_voice_of_a_person_stays_apart(tmp_path: Path, library: Library, store: Store) -> None:
    other = sing(tmp_path / "other.wav", (BEN, 4.0), seed=1)  # Ben's tone for Anna: only a comparison would refuse it
    result = enroll.enroll(library, EnrolmentRequest("Anna"), [other], OTHER, store)
    assert result.rows[0].outcome == "counted" and result.rows[0].agreement is None
    assert any("had a voice of another model only (tones)" in note for note in result.notes)
    assert any("without a voice for tones-2: 1 enrolled person" in note and CURE in note for note in result.notes)
    assert set(library.find("Anna").seconds) == {"tones", "tones-2"}
    assert [voice.name for voice in library.voices("tones-2")] == ["Anna"]


def test_the_overview_says_who_lacks_a_voice(tmp_path: Path, library: Library, store: Store) -> None:
    assert not any(CURE in note for note in speakers.summarise(library).notes)
    result = enroll.re_embed(library, OTHER, store)
    assert any("still without a voice for tones-2: 1 person" in note for note in result.notes)
    assert any("without a voice for tones-2: 1 person" in note for note in speakers.summarise(library).notes)


def test_voices_of_two_embedders_are_never_scored(tmp_path: Path, library: Library, store: Store) -> None:
    embedder = load_embedder(OTHER, store)
    verifier = verify.load_verifier(embedder, Scoring())
    voice = library.voices("tones")[0]
    with pytest.raises(CalibrationError, match="voices of two models cannot be compared") as error:
        verifier.verify(voice, embedder.embed_file(tmp_path / "Ben.wav"))
    assert CURE in str(error.value)


@needs_shared
def test_real_voices_move_from_ge2e_to_community_1(tmp_path: Path, two_embedders: Store) -> None:
    """Enrolled with GE2E, audio stored; embedded again; then verified, and extended, with community-1."""

    def config(embedder: str) -> Config:
        return Config.model_validate({"run": {"offline": True, "device": "cpu"}, "embedder": {"backend": embedder}})

    old, new = config("ge2e"), config("community-1-embedding")
    readers: dict[str, list[Path]] = {}
    for file in sorted((SHARED / "data" / "libri-dev").glob("*.flac")):
        readers.setdefault(file.stem.split("-")[0], []).append(file)
    anna, ben, *_ = readers.values()
    with libraries.open(tmp_path / "people.db", create=True) as library:
        for name, own in (("Anna", anna), ("Ben", ben)):
            request = EnrolmentRequest(name, keep_audio=True)
            assert enroll.enroll(library, request, own[:2], old, two_embedders).status == 0
        with pytest.raises(CalibrationError, match="no voice of Anna for community-1@"):
            verify.verify_claim("Anna", anna[3], library, new, two_embedders, Scoring())
        found = enroll.re_embed(library, new, two_embedders)
        assert (found.status, found.without, len(found.rows)) == (0, (), 4)
        right = verify.verify_claim("Anna", anna[3], library, new, two_embedders, Scoring(prior=0.5))
        wrong = verify.verify_claim("Ben", anna[3], library, new, two_embedders, Scoring(prior=0.5))
        assert (right.decision, wrong.decision) == ("same", "different")
        assert right.llr is not None and wrong.llr is not None and right.llr > 4 > -4 > wrong.llr
        more = enroll.enroll(library, EnrolmentRequest("Anna"), [anna[4], ben[3]], new, two_embedders)
        assert [row.outcome for row in more.rows] == ["counted", "refused"]
        assert more.rows[1].check == "agreement"
