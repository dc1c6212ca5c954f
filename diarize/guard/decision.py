"""One answer from all guards, with its reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from diarize.guard.challenge import PhraseMatch
from diarize.guard.fingerprints import PrintMatch
from diarize.types import SpoofScores

Reason = Literal[
    "verified",
    "expired",  # the challenge: too late, used before, drawn for somebody else, or never drawn
    "poor_quality",  # too little speech, noise, clipping: nothing can be said
    "spoofing_suspected",  # the same sound as before, or a score below the operator's threshold
    "phrase_mismatch",  # the phrase of the challenge was not said
    "speaker_mismatch",  # another voice
    "inconclusive",  # no decision about the voice was asked for, or none is possible
]
ORDER: tuple[Reason, ...] = (  # the first that applies is the reason
    "expired",
    "poor_quality",
    "spoofing_suspected",
    "phrase_mismatch",
    "speaker_mismatch",
    "inconclusive",
    "verified",
)


@dataclass(frozen=True, slots=True)
class GuardEvidence:
    """What is known of one attempt. None: this was not checked."""

    same_speaker: bool | None  # None: undecided
    quality: Sequence[str] = ()  # problems, in words
    challenge: Literal["none", "valid", "expired"] = "none"
    phrase: PhraseMatch | None = None
    spoof: SpoofScores | None = None
    replay: PrintMatch | None = None  # with sound that was accepted before


@dataclass(frozen=True, slots=True)
class GuardDecision:
    """The answer: the decisive reason, all that apply, and what each rests on."""

    reason: Reason
    reasons: tuple[Reason, ...]  # that speak against it, in the order of ORDER; empty where it is verified
    details: tuple[str, ...]
    words: tuple[dict[str, Any], ...] = ()  # of the phrase: expected, recognized, is_right

    @property
    def is_verified(self) -> bool:
        return self.reason == "verified"

    def as_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return {"verified": self.is_verified, **asdict(self)}


def decide(evidence: GuardEvidence) -> GuardDecision:
    """Verified only if the voice is that of the person and no guard that was asked speaks against it.

    A score of a countermeasure counts only at a threshold that the operator set; a phrase only if there is a valid
    challenge.
    """
    against = objections(evidence)
    details = tuple(text for texts in against.values() for text in texts)
    words = () if evidence.phrase is None else tuple(
        {"expected": w.expected, "recognized": w.recognized, "is_right": w.is_right} for w in evidence.phrase.words
    )  # fmt: skip
    reasons = tuple(against)
    return GuardDecision(reasons[0] if reasons else "verified", reasons, details, words)


def objections(evidence: GuardEvidence) -> dict[Reason, tuple[str, ...]]:
    """What speaks against an attempt, in the order of ORDER, each with what it rests on, in words."""
    against: dict[Reason, list[str]] = {}
    if evidence.challenge == "expired":
        against["expired"] = ["the challenge has expired, was used before, or is not for this person"]
    if evidence.quality:
        against["poor_quality"] = list(evidence.quality)
    suspicions = []
    if evidence.replay is not None and evidence.replay.is_same:
        errors = f"{100 * evidence.replay.errors:.0f} % of the bits differ over {evidence.replay.seconds:.1f} s"
        suspicions.append(f"the same sound was accepted before ({errors}; strangers differ in 50 %)")
    if evidence.spoof is not None and evidence.spoof.suspects():
        score = evidence.spoof.score()
        suspicions.append(f"the score of the countermeasure, {score:+.2f}, is below {evidence.spoof.threshold:+.2f}")
    if suspicions:
        against["spoofing_suspected"] = suspicions
    if evidence.challenge == "valid" and (evidence.phrase is None or not evidence.phrase.is_said):
        rate = "it was not recognized" if evidence.phrase is None else f"word error rate {evidence.phrase.errors:.2f}"
        against["phrase_mismatch"] = [f"the phrase was not said ({rate})"]
    if evidence.same_speaker is False:
        against["speaker_mismatch"] = ["the voice is another one"]
    if evidence.same_speaker is None:
        against["inconclusive"] = ["nothing was decided about the voice"]
    return {reason: tuple(against[reason]) for reason in ORDER if reason in against}
