"""Enrolment: what counts, what is refused and why, and a voice that grows; with a toy embedder and made sounds."""

from __future__ import annotations

import json
import shutil
import sqlite3
import wave
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diarize.activity import NO_ACTIVITY, LocalActivity
from diarize.audio import reading
from diarize.config import Config
from diarize.errors import (
    AudioError,
    ConfigError,
    FormatError,
    LibraryDamaged,
    LibraryError,
    LibraryUnreadable,
    PassphraseError,
    UnknownPerson,
)
from diarize.library import store as libraries
from diarize.library.scoring.calibration import Calibration
from diarize.library.search.exact import search
from diarize.library.store import Library
from diarize.models.store import Store
from diarize.types import Audio, Embeddings, Provenance, Segment, Speaker, Transcript, Turn
from pipelines.people import enroll, speakers
from pipelines.people.enroll import EnrolmentRequest, EnrolmentResult
from pipelines.people.enrolment_checks import UtteranceResult
from pipelines.results import outputs
from tests.shared import SHARED, needs_shared

CONFIG = Config.model_validate(
    {
        "vad": {"backend": "energy"},
        "embedder": {"backend": "tests.pipelines.people.test_enroll:embedder"},
        "run": {"offline": True},
    }
)
OTHER_EMBEDDER = CONFIG.embedder.model_copy(update={"backend": "tests.pipelines.people.test_enroll:other_embedder"})
OTHER = CONFIG.model_copy(update={"embedder": OTHER_EMBEDDER})
ANNA, BEN = 390, 2200  # Hz; whoever sings another tone is somebody else


@dataclass(frozen=True)
class Tones:
    """The power in 32 bands, and numbers that only the start of a segment decides, as a unit vector."""

    name: str = "tones"

    def __call__(self, audio: Audio, segments: Sequence[Segment], activity: LocalActivity = NO_ACTIVITY) -> Embeddings:
        rows = np.zeros((len(segments), 96), dtype=np.float32)
        for row, segment in zip(rows, segments, strict=True):
            piece = audio.samples[int(segment.start * audio.rate) : int(segment.end * audio.rate)]
            power = np.abs(np.fft.rfft(piece, 32_000)) ** 2
            row[:32] = np.sqrt([band.sum() for band in np.array_split(power[1:], 32)])
            row[:32] /= np.linalg.norm(row[:32]) + 1e-9
            row[32:] = np.random.default_rng(round(segment.start * 1000)).standard_normal(64) / 16
            row /= np.linalg.norm(row)
        return Embeddings(tuple(segments), rows, self.name)


def embedder(**options: Any) -> Tones:
    return Tones()


def other_embedder(**options: Any) -> Tones:
    return Tones("tones-2")


def sing(path: Path, *parts: tuple[float, float], rate: int = 16_000, noise: float = 0.0, seed: int = 0) -> Path:
    """A wav file: tones of (Hz, s), loud and soft as speech is, half a second of silence around each; 0 Hz: silence."""
    random = np.random.default_rng(seed)
    gap = np.zeros(rate // 2)
    pieces = [gap]
    for hertz, seconds in parts:
        t = np.arange(round(seconds * rate)) / rate
        steps = 0.02 + random.gamma(2.0, 0.05, len(t) // (rate // 20) + 1)
        steps[4::8] = 0.0  # closed lips
        loudness = np.repeat(steps, rate // 20)[: len(t)]
        pieces += [loudness * np.sin(2 * np.pi * hertz * t) if hertz else np.zeros(len(t)), gap]
    samples = np.concatenate(pieces)
    samples = np.clip(samples + noise * random.standard_normal(len(samples)), -1, 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return path


@pytest.fixture
def empty(tmp_path: Path) -> Store:
    return Store(tmp_path / "models", offline=True)


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    with libraries.open(tmp_path / "people.db", create=True) as opened:
        yield opened


@pytest.fixture
def calibration(tmp_path: Path) -> Path:
    made = Calibration(
        model="tones", kind="cosine", mean=(), channels=(), weights=(-6.0, 12.0, -1.0), channel=0.0,
        seconds=(1.0, 60.0), bandwidth=(250.0, 8000.0), bounds=(-5.0, 5.0), trials=(10, 10), speakers=5, data="tones",
    )  # fmt: skip
    made.save(tmp_path / "cal.json")
    return tmp_path / "cal.json"


def only(outcome: EnrolmentResult) -> UtteranceResult:
    assert len(outcome.rows) == 1
    return outcome.rows[0]


def test_a_voice_grows_until_it_is_complete(tmp_path: Path, library: Library, empty: Store, calibration: Path) -> None:
    files = [sing(tmp_path / f"{i}.wav", (ANNA, 3.0 + i), seed=i) for i in range(4)]
    first = enroll.enroll(library, EnrolmentRequest("Anna"), files[:1], CONFIG, empty, calibration=calibration)
    assert first.created and first.person is not None and first.status == 0
    assert first.seconds == pytest.approx(3, abs=0.5) and not first.complete
    assert only(first).outcome == "counted" and only(first).agreement is None
    second = enroll.enroll(library, EnrolmentRequest("Anna"), files[1:], CONFIG, empty, calibration=calibration)
    assert not second.created and second.person is not None and second.person.id == first.person.id
    assert second.seconds == pytest.approx(18, abs=1.5) and second.complete
    assert all((row.agreement or 0) > 0 for row in second.rows)
    (voice,) = library.voices("tones")
    rows = library.utterances(first.person.id)
    mean = sum(u.seconds * u.vectors["tones"].astype(np.float64) for u in rows)
    assert voice.vector == pytest.approx(mean / np.linalg.norm(mean), abs=1e-6)
    told = json.loads(json.dumps(second.as_dict()))
    assert told["schema"] == "diarize-enrolment/1" and told["complete"] and len(told["utterances"]) == 3


def test_fault_63_enrolment_with_one_second(tmp_path: Path, library: Library, empty: Store) -> None:
    found = enroll.enroll(library, EnrolmentRequest("Anna"), [sing(tmp_path / "a.wav", (ANNA, 1.0))], CONFIG, empty)
    assert only(found).reason.endswith("s of speech; an utterance needs 1.5 s")
    assert found.status == 4 and found.person is None and library.people() == ()


def test_a_folder_is_refused_with_the_cure(tmp_path: Path, library: Library, empty: Store) -> None:
    with pytest.raises(ConfigError, match=r"is a folder, not a recording\. Name the files in it"):
        enroll.enroll(library, EnrolmentRequest("Anna"), [tmp_path], CONFIG, empty)
    (tmp_path / "transcript.json").write_text("{}")
    with pytest.raises(ConfigError, match="--from OUT/<id> --speaker SPEAKER_01"):
        enroll.enroll(library, EnrolmentRequest("Anna"), [tmp_path], CONFIG, empty)


def test_fault_63_enrolment_with_two_speakers(tmp_path: Path, library: Library, empty: Store) -> None:
    both = sing(tmp_path / "a.wav", (ANNA, 6), (BEN, 3), (ANNA, 3))
    found = enroll.enroll(library, EnrolmentRequest("Anna"), [both], CONFIG, empty)
    assert only(found).check == "voices" and found.person is None
    assert only(found).reason.startswith("a second voice was heard at 7.0-")
    taken = enroll.enroll(library, EnrolmentRequest("Anna", accept=frozenset({"voices"})), [both], CONFIG, empty)
    assert only(taken).outcome == "counted" and "accepted, though a second voice" in only(taken).notes[-1]


def test_fault_63_enrolment_with_silence(tmp_path: Path, library: Library, empty: Store) -> None:
    found = enroll.enroll(library, EnrolmentRequest("Anna"), [sing(tmp_path / "a.wav", (0, 4))], CONFIG, empty)
    assert only(found).reason == "no speech was found in it" and library.people() == ()


def test_fault_63_another_sampling_rate_is_said_and_no_hindrance(
    tmp_path: Path, library: Library, empty: Store, calibration: Path
) -> None:
    files = [sing(tmp_path / "a.wav", (ANNA, 4), rate=44_100), sing(tmp_path / "b.wav", (ANNA, 4), rate=8_000, seed=1)]
    found = enroll.enroll(library, EnrolmentRequest("Anna"), files, CONFIG, empty, calibration=calibration)
    assert [row.outcome for row in found.rows] == ["counted", "counted"]
    assert "as on a telephone" in found.rows[1].notes[-1]
    assert (found.rows[1].agreement or 0) > 2


def test_fault_63_voices_of_two_models_never_meet(tmp_path: Path, library: Library, empty: Store) -> None:
    enroll.enroll(library, EnrolmentRequest("Anna"), [sing(tmp_path / "a.wav", (ANNA, 4))], CONFIG, empty)
    found = enroll.enroll(
        library, EnrolmentRequest("Anna"), [sing(tmp_path / "b.wav", (ANNA, 5), seed=1)], OTHER, empty
    )
    assert any("a voice of another model only (tones)" in note for note in found.notes)
    assert found.person is not None and sorted(found.person.seconds) == ["tones", "tones-2"]
    assert found.seconds == pytest.approx(5, abs=0.5)


def test_fault_63_a_duplicate_counts_once(tmp_path: Path, library: Library, empty: Store) -> None:
    first = sing(tmp_path / "a.wav", (ANNA, 4))
    copy = Path(shutil.copy(first, tmp_path / "copy.wav"))
    found = enroll.enroll(library, EnrolmentRequest("Anna"), [first, copy], CONFIG, empty)
    assert [row.outcome for row in found.rows] == ["counted", "known"] and found.status == 0
    assert found.rows[1].reason == "the same recording as a.wav: it counts once"
    again = enroll.enroll(library, EnrolmentRequest("Anna"), [copy], CONFIG, empty)
    assert again.seconds == found.seconds and only(again).outcome == "known"
    part = enroll.enroll(library, EnrolmentRequest("Anna"), [copy], CONFIG, empty, start=1.0, end=4.0)
    assert only(part).outcome == "refused" and "would count twice" in only(part).reason


def test_fault_63_a_duplicate_under_another_name(tmp_path: Path, library: Library, empty: Store) -> None:
    first = sing(tmp_path / "a.wav", (ANNA, 4))
    anna = enroll.enroll(library, EnrolmentRequest("Anna"), [first], CONFIG, empty).person
    assert anna is not None
    found = enroll.enroll(library, EnrolmentRequest("Ben"), [first], CONFIG, empty)
    assert only(found).reason == f"this recording is enrolled already, as Anna ({anna.id})"
    assert [person.name for person in library.people()] == ["Anna"]


def test_fault_63_somebody_who_was_removed(tmp_path: Path, library: Library, empty: Store) -> None:
    file = sing(tmp_path / "a.wav", (ANNA, 4))
    anna, late = (enroll.enroll(library, EnrolmentRequest(n), [f], CONFIG, empty).person for n, f in (("Anna", file),
        ("Late", sing(tmp_path / "b.wav", (BEN, 4)))))  # fmt: skip
    assert anna is not None and late is not None
    library.remove(anna.id)
    with pytest.raises(UnknownPerson, match=r"was removed on .* with all their data. Enrol them again"):
        enroll.enroll(library, EnrolmentRequest(anna.id), [file], CONFIG, empty)
    with pytest.raises(UnknownPerson, match="nobody has the id"):
        enroll.add_utterances(
            library, EnrolmentRequest("Anna"), anna, [], *heard(empty)
        )  # while the recordings were heard
    again = enroll.enroll(library, EnrolmentRequest("Anna"), [file], CONFIG, empty)
    assert again.created and again.person is not None and again.person.id != anna.id
    library.merge(late.id, again.person.id)
    with pytest.raises(UnknownPerson, match=f"was merged into {late.id}"):
        enroll.enroll(library, EnrolmentRequest(again.person.id), [file], CONFIG, empty)
    with pytest.raises(UnknownPerson, match="nobody has the id"):
        enroll.enroll(library, EnrolmentRequest("0" * 32), [file], CONFIG, empty)


def heard(store: Store) -> tuple[Any, Any]:
    from pipelines.people.scoring import Scoring
    from pipelines.people.utterance import load_embedder
    from pipelines.people.verify import load_verifier

    embedder = load_embedder(CONFIG, store)
    return embedder, load_verifier(embedder, Scoring())


def test_fault_63_a_wrong_key_and_a_damaged_library(tmp_path: Path, empty: Store) -> None:
    place = tmp_path / "locked.db"
    secret = {"DIARIZE_PASSPHRASE": "a long secret"}
    with speakers.open_library(place, secret, create=True) as library:
        kept = EnrolmentRequest("Anna", keep_audio=True)
        found = enroll.enroll(library, kept, [sing(tmp_path / "a.wav", (ANNA, 4))], CONFIG, empty)
        assert found.person is not None and found.seconds > 3
        assert enroll.re_embed(library, OTHER, empty).status == 0
    with pytest.raises(PassphraseError, match="passphrase"):
        speakers.open_library(place, {"DIARIZE_PASSPHRASE": "another"}, create=True)
    with pytest.raises(PassphraseError, match="it is encrypted"):
        speakers.open_library(place, {}, create=True)
    plain = tmp_path / "plain.db"
    with speakers.open_library(plain, {}, create=True) as library:
        enroll.enroll(library, EnrolmentRequest("Anna"), [tmp_path / "a.wav"], CONFIG, empty)
    plain.write_bytes(plain.read_bytes()[:6000])
    with pytest.raises((LibraryDamaged, LibraryUnreadable)), speakers.open_library(plain, {}, create=True) as library:
        enroll.enroll(library, EnrolmentRequest("Anna"), [tmp_path / "a.wav"], CONFIG, empty)
    (tmp_path / "text.db").write_text("no library at all, but a text of some length")
    with pytest.raises(LibraryUnreadable):
        speakers.open_library(tmp_path / "text.db", {}, create=True)


def test_an_empty_library(tmp_path: Path, library: Library, empty: Store) -> None:
    assert library.people() == () and library.voices("tones") == ()
    renewed = enroll.re_embed(library, CONFIG, empty)
    assert renewed.rows == () and renewed.status == 0
    with pytest.raises(UnknownPerson, match="nobody is called Anna"):
        enroll.re_embed(library, CONFIG, empty, who="Anna")
    found = enroll.enroll(library, EnrolmentRequest("Anna"), [sing(tmp_path / "a.wav", (ANNA, 4))], CONFIG, empty)
    assert [c.name for c in search(library.voices("tones")[0].vector, library.matrix("tones"))] == ["Anna"]
    assert found.created


def test_an_outlier_is_named_and_does_not_count(
    tmp_path: Path, library: Library, empty: Store, calibration: Path
) -> None:
    files = [sing(tmp_path / f"{i}.wav", (ANNA, 4.0), seed=i) for i in range(3)]
    files.insert(1, sing(tmp_path / "ben.wav", (BEN, 4.0)))
    found = enroll.enroll(library, EnrolmentRequest("Anna"), files, CONFIG, empty, calibration=calibration)
    assert [row.outcome for row in found.rows] == ["counted", "refused", "counted", "counted"] and found.status == 3
    assert found.rows[1].check == "agreement" and found.rows[1].agreement == -5.0
    assert found.rows[1].reason.startswith("does not sound like the others (log-likelihood ratio -5.0; theirs: ")
    assert found.person is not None and found.person.utterances == 3
    late = enroll.enroll(
        library, EnrolmentRequest("Anna"), [tmp_path / "ben.wav"], CONFIG, empty, calibration=calibration
    )
    assert only(late).check == "agreement" and late.person is not None and late.person.utterances == 3
    forced = EnrolmentRequest("Anna", accept=frozenset({"agreement"}))
    taken = enroll.enroll(library, forced, [tmp_path / "ben.wav"], CONFIG, empty, calibration=calibration)
    assert only(taken).outcome == "counted" and "accepted, though it does not sound" in only(taken).notes[-1]


def test_of_two_first_utterances_that_disagree_neither_counts(
    tmp_path: Path, library: Library, empty: Store, calibration: Path
) -> None:
    files = [sing(tmp_path / "a.wav", (ANNA, 4)), sing(tmp_path / "b.wav", (BEN, 4))]
    found = enroll.enroll(library, EnrolmentRequest("Anna"), files, CONFIG, empty, calibration=calibration)
    assert found.person is None and library.people() == ()
    assert all(row.reason.startswith("does not sound like the other one") for row in found.rows)


def test_without_a_calibration_that_is_said(tmp_path: Path, library: Library, empty: Store) -> None:
    files = [sing(tmp_path / f"{i}.wav", (ANNA, 4.0), seed=i) for i in range(2)]
    found = enroll.enroll(library, EnrolmentRequest("Anna"), files, CONFIG, empty)
    assert "agreement was not checked: there is no calibration for tones" in found.notes


def test_noise_and_clipping_are_refused(tmp_path: Path, library: Library, empty: Store) -> None:
    loud = sing(tmp_path / "a.wav", (ANNA, 4))
    samples = reading.read(loud, id="a").audios[0].samples
    with wave.open(str(tmp_path / "clipped.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes((np.clip(samples * 8, -1, 1) * 32767).astype("<i2").tobytes())
    files = [sing(tmp_path / "noisy.wav", (ANNA, 4), noise=0.04), tmp_path / "clipped.wav"]
    found = enroll.enroll(library, EnrolmentRequest("Anna"), files, CONFIG, empty)
    assert [row.check for row in found.rows] == ["noise", "clipping"]
    assert "dB over the noise; 10 dB are needed" in found.rows[0].reason
    assert "of the samples are at the peak level" in found.rows[1].reason


def test_one_bad_file_costs_one_row(tmp_path: Path, library: Library, empty: Store) -> None:
    (tmp_path / "text.wav").write_text("not a recording")
    files = [tmp_path / "text.wav", sing(tmp_path / "a.wav", (ANNA, 4))]
    with pytest.raises(ConfigError, match="there is no such file"):  # a typing mistake: before any work
        enroll.enroll(library, EnrolmentRequest("Anna"), [*files, tmp_path / "nowhere.wav"], CONFIG, empty)
    found = enroll.enroll(library, EnrolmentRequest("Anna"), files, CONFIG, empty)
    assert [row.outcome for row in found.rows] == ["refused", "counted"] and found.status == 3
    assert found.rows[0].check == "reading"


def test_a_part_of_a_recording(tmp_path: Path, library: Library, empty: Store) -> None:
    both = sing(tmp_path / "a.wav", (ANNA, 6), (BEN, 3))
    found = enroll.enroll(library, EnrolmentRequest("Anna"), [both], CONFIG, empty, end=6.5)
    assert only(found).outcome == "counted" and only(found).origin == "a.wav 0.00-6.50 s"
    ben = enroll.enroll(library, EnrolmentRequest("Ben"), [both], CONFIG, empty, start=6.8)
    assert only(ben).outcome == "counted" and (only(ben).start, only(ben).end) == (6.8, 10.5)
    for start, end in ((5.0, 5.0), (60.0, None), (-1.0, 3.0), (float("nan"), None)):
        with pytest.raises(ConfigError, match=r"is not a part of a recording of 10.50 s"):
            enroll.enroll(library, EnrolmentRequest("Anna"), [both], CONFIG, empty, start=start, end=end)
    with pytest.raises(ConfigError, match="they apply to one recording, not to 2"):
        enroll.enroll(library, EnrolmentRequest("Anna"), [both, both], CONFIG, empty, start=1.0)
    with pytest.raises(ConfigError, match="no recording was named"):
        enroll.enroll(library, EnrolmentRequest("Anna"), [], CONFIG, empty)


def test_fault_37_two_people_of_one_name(tmp_path: Path, library: Library, empty: Store) -> None:
    first = enroll.enroll(library, EnrolmentRequest("Zoë"), [sing(tmp_path / "a.wav", (ANNA, 4))], CONFIG, empty)
    other = EnrolmentRequest("Zoe\u0308", new=True)
    second = enroll.enroll(library, other, [sing(tmp_path / "b.wav", (BEN, 4))], CONFIG, empty)
    assert first.person is not None and second.person is not None and second.created
    assert first.person.id != second.person.id
    assert any("has the same name as" in note for note in second.notes)
    more = [sing(tmp_path / "c.wav", (ANNA, 5), seed=3)]
    with pytest.raises(UnknownPerson, match=r"2 people are called Zoë. Name one by id"):
        enroll.enroll(library, EnrolmentRequest("Zoë"), more, CONFIG, empty)
    assert enroll.enroll(library, EnrolmentRequest(first.person.id), more, CONFIG, empty).seconds > first.seconds
    with pytest.raises(ConfigError, match="a person needs a name"):
        enroll.enroll(library, EnrolmentRequest("  "), more, CONFIG, empty)


def test_somebody_who_sounds_like_somebody_else(
    tmp_path: Path, library: Library, empty: Store, calibration: Path
) -> None:
    files = [sing(tmp_path / f"{i}.wav", (ANNA, 9.0), seed=i) for i in range(2)]
    anna = enroll.enroll(library, EnrolmentRequest("Anna"), files[:1], CONFIG, empty, calibration=calibration).person
    assert anna is not None
    found = enroll.enroll(library, EnrolmentRequest("Annie"), files[1:], CONFIG, empty, calibration=calibration)
    assert any(note.startswith(f"sounds like Anna ({anna.id}) too") for note in found.notes)
    assert len(library.people()) == 2  # a guess merges nobody


def test_consent(tmp_path: Path, library: Library, empty: Store) -> None:
    files = [sing(tmp_path / f"{i}.wav", (ANNA, 4.0), seed=i) for i in range(3)]
    asked = EnrolmentRequest("Anna", consent="on paper", expires=date(2999, 1, 1))
    enroll.enroll(library, asked, files[:1], CONFIG, empty)
    longer = enroll.enroll(library, EnrolmentRequest("Anna", expires=date(2999, 6, 1)), files[:1], CONFIG, empty)
    assert only(longer).outcome == "known" and longer.person is not None
    assert (longer.person.consent, longer.person.expires) == ("on paper", date(2999, 6, 1))
    kept = enroll.enroll(library, EnrolmentRequest("Anna"), files[1:2], CONFIG, empty).person
    assert kept is not None and (kept.consent, kept.expires) == ("on paper", date(2999, 6, 1))
    library.consent(kept.id, "on paper", date(2020, 1, 1))
    with pytest.raises(LibraryError, match=r"the consent of Anna \(.*\) ended on 2020-01-01. Renew it"):
        enroll.enroll(library, EnrolmentRequest("Anna"), files[2:], CONFIG, empty)
    with pytest.raises(ConfigError, match="2020-01-01 is in the past"):
        enroll.enroll(library, EnrolmentRequest("Anna", expires=date(2020, 1, 1)), files[2:], CONFIG, empty)
    renewed = enroll.enroll(library, EnrolmentRequest("Anna", expires=date(2999, 1, 1)), files[2:], CONFIG, empty)
    assert renewed.person is not None and not renewed.person.expired and only(renewed).outcome == "counted"


def test_a_new_model_from_kept_sound(tmp_path: Path, library: Library, empty: Store) -> None:
    files = [sing(tmp_path / f"{i}.wav", (ANNA, 4.0 + i), seed=i) for i in range(3)]
    enroll.enroll(library, EnrolmentRequest("Anna", keep_audio=True), files[:1], CONFIG, empty)
    enroll.enroll(library, EnrolmentRequest("Anna"), files[1:2], CONFIG, empty)
    enroll.enroll(library, EnrolmentRequest("Ben"), [sing(tmp_path / "b.wav", (BEN, 4))], CONFIG, empty)
    found = enroll.re_embed(library, OTHER, empty)
    assert found.model == "tones-2" and found.status == 3 and found.unchanged == 0
    assert {row.origin: bool(row.problem) for row in found.rows} == {"0.wav": False, "1.wav": True, "b.wav": True}
    assert "its audio was not kept" in next(row.problem for row in found.rows if row.problem)
    assert found.without == tuple(person.id for person in library.people() if person.name == "Ben")
    (voice,) = library.voices("tones-2")
    assert voice.seconds == pytest.approx(4, abs=0.5)
    assert library.people()[0].utterances == 2  # the same ones, with one more vector
    again = enroll.re_embed(library, OTHER, empty, who="Anna")
    assert again.unchanged == 1 and [row.origin for row in again.rows] == ["1.wav"] and again.status == 4
    healed = enroll.enroll(library, EnrolmentRequest("Anna"), files[1:2], OTHER, empty)  # from the recording itself
    assert only(healed).outcome == "counted" and healed.person is not None and healed.person.utterances == 2
    assert json.loads(json.dumps(found.as_dict()))["schema"] == "diarize-renewal/1"


def test_sound_that_was_spoilt_or_may_not_be_used(tmp_path: Path, library: Library, empty: Store) -> None:
    kept = EnrolmentRequest("Anna", keep_audio=True)
    person = enroll.enroll(library, kept, [sing(tmp_path / "a.wav", (ANNA, 4))], CONFIG, empty).person
    assert person is not None
    with sqlite3.connect(tmp_path / "people.db") as file:
        file.execute("UPDATE utterances SET audio = ?", (b"RIFF no sound",))
    file.close()
    assert "the stored audio cannot be read" in enroll.re_embed(library, OTHER, empty).rows[0].problem
    library.consent(person.id, None, date(2020, 1, 1))
    assert enroll.re_embed(library, OTHER, empty).rows[0].problem == "the consent ended on 2020-01-01"


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """A recording of two people, and what the main job left of it."""
    path = sing(tmp_path / "in" / "call.wav", (ANNA, 6), (BEN, 5), (ANNA, 4))
    source = reading.read(path, id="call").source
    turns = (Turn(0.5, 6.5, "SPEAKER_01"), Turn(7.0, 12.0, "SPEAKER_02"), Turn(12.0, 13.0, "SPEAKER_01"),
             Turn(12.5, 16.5, "SPEAKER_01"))  # fmt: skip
    transcript = Transcript(
        recording="call",
        duration=17.0,
        speakers=(Speaker("SPEAKER_01"), Speaker("SPEAKER_02", "Ben")),
        turns=turns,
        provenance=Provenance(source=source, settings={"audio": {"channel": "auto"}}),
    )
    outputs.write(tmp_path / "in" / "out" / "call", transcript, (), {})
    return tmp_path / "in" / "out" / "call"


def test_from_a_finished_transcript(finished: Path, library: Library, empty: Store) -> None:
    anna = enroll.enroll_from_transcript(library, EnrolmentRequest("Anna"), finished, "SPEAKER_01", CONFIG, empty)
    assert [(row.start, row.end) for row in anna.rows] == [(0.5, 6.5), (12.25, 16.5)]
    assert [row.origin for row in anna.rows] == ["call.wav 0.50-6.50 s", "call.wav 12.25-16.50 s"]
    assert anna.status == 0 and anna.seconds == pytest.approx(10, abs=0.7)
    ben = enroll.enroll_from_transcript(library, EnrolmentRequest("Ben"), finished, "Ben", CONFIG, empty)
    assert ben.person is not None and [row.outcome for row in ben.rows] == ["counted"]
    assert all(abs(a.vector @ b.vector) < 0.3 for a, b in [library.voices("tones")])


def test_a_transcript_that_does_not_serve(tmp_path: Path, finished: Path, library: Library, empty: Store) -> None:
    def attempt(speaker: str = "SPEAKER_01", folder: Path = finished, recording: Path | None = None) -> EnrolmentResult:
        return enroll.enroll_from_transcript(
            library, EnrolmentRequest("Anna"), folder, speaker, CONFIG, empty, recording=recording
        )

    with pytest.raises(
        ConfigError, match=r"SPEAKER_09 is not a speaker of .* Its speakers: SPEAKER_01, SPEAKER_02 \(Ben\)"
    ):
        attempt("SPEAKER_09")
    with pytest.raises(FormatError):
        attempt(folder=tmp_path)
    other = sing(tmp_path / "other.wav", (ANNA, 6))
    with pytest.raises(AudioError, match="not the recording that was transcribed"):
        attempt(recording=other)
    moved = (tmp_path / "in" / "call.wav").rename(tmp_path / "moved.wav")
    with pytest.raises(AudioError, match=r"was not found. Give its path"):
        attempt()
    assert attempt(recording=moved).status == 0


@needs_shared
def test_real_voices(tmp_path: Path, library: Library, store: Store) -> None:
    readers: dict[str, list[Path]] = {}
    for file in sorted((SHARED / "data" / "libri-dev").glob("*.flac")):
        readers.setdefault(file.stem.split("-")[0], []).append(file)
    anna, ben, *_ = readers.values()
    config = Config.model_validate({"run": {"offline": True}, "embedder": {"backend": "ge2e"}})
    found = enroll.enroll(library, EnrolmentRequest("Anna"), [*anna[:3], ben[0]], config, store)
    assert [row.outcome for row in found.rows] == ["counted", "counted", "counted", "refused"]
    assert found.rows[3].check == "agreement"
    pieces = [reading.read(file, id=file.name).audios[0].samples[: 6 * 16_000] for file in (anna[4], ben[1])]
    with wave.open(str(tmp_path / "both.wav"), "wb") as file_:
        file_.setnchannels(1)
        file_.setsampwidth(2)
        file_.setframerate(16_000)
        file_.writeframes((np.concatenate(pieces) * 32767).astype("<i2").tobytes())
    both = enroll.enroll(library, EnrolmentRequest("Anna"), [tmp_path / "both.wav"], config, store)
    assert only(both).check == "voices"
