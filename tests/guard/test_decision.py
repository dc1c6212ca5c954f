"""One answer, and its reason."""

from __future__ import annotations

import json

import pytest

from diarize.guard import signs
from diarize.guard.challenge import match_phrase
from diarize.guard.decision import ORDER, GuardEvidence, Reason, decide
from diarize.guard.fingerprints import PrintMatch
from diarize.types import Segment, SpoofScores, SpoofWindow
from tests.backends.sounds import RATE, audio, noise, tone

SAID, UNSAID = match_phrase("one two three", "one two three"), match_phrase("one two three", "four five six")


def scores(value: float, threshold: float | None) -> SpoofScores:
    return SpoofScores("m@1", "often wrong", (SpoofWindow(0, 4, value),), threshold)


@pytest.mark.parametrize(
    ("evidence", "reason"),
    [
        (GuardEvidence(True), "verified"),
        (GuardEvidence(True, challenge="valid", phrase=SAID), "verified"),
        (GuardEvidence(True, spoof=scores(-9, None)), "verified"),  # an advisory decides nothing
        (GuardEvidence(True, spoof=scores(1, 0)), "verified"),
        (GuardEvidence(True, replay=PrintMatch(0.45, 0, 0, 3)), "verified"),
        (GuardEvidence(False), "speaker_mismatch"),
        (GuardEvidence(None), "inconclusive"),
        (GuardEvidence(True, quality=["noise"]), "poor_quality"),
        (GuardEvidence(True, challenge="expired", phrase=SAID), "expired"),
        (GuardEvidence(True, challenge="valid", phrase=UNSAID), "phrase_mismatch"),
        (GuardEvidence(True, challenge="valid"), "phrase_mismatch"),
        (GuardEvidence(True, spoof=scores(-1, 0)), "spoofing_suspected"),
        (GuardEvidence(True, replay=PrintMatch(0.1, 0, 0, 3)), "spoofing_suspected"),
        (GuardEvidence(False, challenge="valid", phrase=UNSAID, spoof=scores(-1, 0)), "spoofing_suspected"),
    ],
)
def test_reasons(evidence: GuardEvidence, reason: Reason) -> None:
    decision = decide(evidence)
    assert decision.reason == reason and decision.is_verified == (reason == "verified")
    values = json.loads(json.dumps(decision.as_dict()))
    assert values["verified"] == decision.is_verified and values["reason"] == reason
    assert len(decision.details) >= len(decision.reasons)
    assert sorted(decision.reasons, key=ORDER.index) == list(decision.reasons)


def test_all_reasons_are_told() -> None:
    decision = decide(GuardEvidence(False, ["noise"], "valid", UNSAID, scores(-1, 0), PrintMatch(0.1, 0, 0, 3)))
    assert decision.reasons == ("poor_quality", "spoofing_suspected", "phrase_mismatch", "speaker_mismatch")
    assert sum("sound was accepted before" in text for text in decision.details) == 1
    assert [word["is_right"] for word in decision.words] == [False] * 3


def test_signs_of_a_file_that_came_from_no_microphone() -> None:
    whole = [Segment(0.0, 3.0)]
    clean = audio(noise(3))
    assert signs.find_signs(clean, whole) == ()
    gated = noise(3)
    gated[RATE : RATE + RATE // 2] = 0
    (sign,) = signs.find_signs(audio(gated), [])
    assert sign.kind == "digital_silence" and sign.value == pytest.approx(0.5, abs=0.001)
    assert {sign.kind for sign in signs.find_signs(audio(tone(3, 1000)), whole)} == {"narrow_band", "no_bass"}


def test_silence_that_decoding_put_there_is_no_sign() -> None:
    from dataclasses import replace

    gated = noise(3)
    gated[RATE : 2 * RATE] = 0
    lost = replace(audio(gated), lost=(Segment(1.0, 2.0),))
    assert signs.digital_silence(lost) == 0 and signs.digital_silence(audio(gated)) > 0.9
    assert signs.digital_silence(audio(noise(0.00005))) == 0
