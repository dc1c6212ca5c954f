"""A recording of somebody who claims to be an enrolled person, checked by every guard that applies.

`AttemptChecker` holds the loaded models and works on decoded audio: a service keeps one. `check_claim` is the command:
it reads the file, takes the challenge, and keeps the fingerprint of what was accepted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from diarize.config import Config
from diarize.errors import BackendError
from diarize.guard import challenge as challenges
from diarize.guard import decision as decisions
from diarize.guard import fingerprints, signs
from diarize.guard.challenge import Challenge
from diarize.guard.decision import GuardDecision, GuardEvidence
from diarize.guard.fingerprints import Print
from diarize.guard.signs import Sign
from diarize.library.database.records import Person
from diarize.library.scoring import enrolment
from diarize.library.store import Library
from diarize.models.store import Store
from diarize.stages import Recognizer
from diarize.types import Audio, Segment
from pipelines import plan
from pipelines.guard.challenges import LibraryChallenges
from pipelines.inputs.recordings import require
from pipelines.people.enrolment_checks import LEAST_SNR, LEAST_SPEECH, MOST_CLIPPED
from pipelines.people.scoring import Scoring
from pipelines.people.utterance import EmbeddedSpeech, UtteranceEmbedder, add_margins, load_embedder
from pipelines.people.verify import Verification, Verifier, claimed_voice, load_verifier
from pipelines.processes import decoding

Asked = Literal["none", "valid", "expired"]


@dataclass(frozen=True, slots=True, eq=False)
class CheckedAttempt:
    """The answer to one attempt, with all that it rests on. `print` is the fingerprint of the sound."""

    verification: Verification | None  # None: there is not enough speech to compare
    decision: GuardDecision
    evidence: GuardEvidence
    embedded: EmbeddedSpeech | None  # None: there is no speech
    signs: tuple[Sign, ...]  # remarks, which decide nothing
    phrase: str | None  # that was to be said
    recognized: str | None
    replay_of: str | None  # origin of the accepted recording that is most alike
    print: Print

    def as_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        values: dict[str, Any] = {} if self.verification is None else self.verification.as_dict()
        guard = {
            **self.decision.as_dict(),
            "phrase": self.phrase,
            "recognized": self.recognized,
            "replay_of": self.replay_of,
            "signs": [asdict(sign) for sign in self.signs],
        }
        return {"schema": "diarize-verification/1", **values, "guard": guard}


@dataclass(frozen=True, slots=True)
class AttemptChecker:
    """What checks attempts, with models that are loaded; one thread at a time."""

    embedder: UtteranceEmbedder
    verifier: Verifier
    recognizer: Recognizer | None = None  # None: phrases cannot be checked

    def check(
        self,
        audio: Audio,
        library: Library,
        person: Person,
        challenge: Challenge | None = None,
        asked: Asked = "none",
    ) -> CheckedAttempt:
        """Check one attempt. `asked` says whether a challenge was demanded, and holds; `challenge` has its phrase.

        The library is only read. Raises CalibrationError where it has no voice of the person for this embedder,
        BackendError where a phrase is to be checked and there is no recognizer.
        """
        if asked == "valid" and self.recognizer is None:
            raise BackendError("a phrase can only be checked with a recognizer; get one: diarize models pull")
        voice, bandwidth = claimed_voice(library, person, self.embedder.model)
        print_ = fingerprints.fingerprint(audio)
        stored = ((each.origin, fingerprints.decode(each.print)) for each in library.guard.prints(person.id))
        replay = fingerprints.find_same(print_, stored)
        evidence = GuardEvidence(None, challenge=asked, replay=None if replay is None else replay[1])
        speech = self.embedder.detector(audio)
        problems = _quality_problems(audio, speech)
        embedded, verification, recognized = None, None, None
        if speech:
            embedded = self.embedder.embed_speech(audio, speech, add_margins(speech, audio.duration))
            scored = replace(embedded.voice, spoof=self.embedder.score_spoofing(audio))
            verification = self.verifier.verify(voice, scored, bandwidth)
            same = {"same": True, "different": False}.get(verification.decision)
            evidence = replace(evidence, same_speaker=same, spoof=scored.spoof)
            if asked == "valid" and challenge is not None and self.recognizer is not None:
                words, _ = self.recognizer(audio, speech)
                recognized = " ".join(word.text for word in words)
                evidence = replace(
                    evidence, phrase=challenges.match_phrase(challenge.phrase, recognized, challenge.bound)
                )
        evidence = replace(evidence, quality=problems)
        return CheckedAttempt(
            verification=verification,
            decision=decisions.decide(evidence),
            evidence=evidence,
            embedded=embedded,
            signs=signs.find_signs(audio, speech),
            phrase=None if challenge is None else challenge.phrase,
            recognized=recognized,
            replay_of=None if replay is None else replay[0],
            print=print_,
        )


def _quality_problems(audio: Audio, speech: Sequence[Segment]) -> tuple[str, ...]:
    """Why nothing can be said of a recording, in words; the limits are those of enrolment."""
    seconds = sum(segment.duration for segment in speech)
    if seconds < LEAST_SPEECH:
        return (f"{seconds:.1f} s of speech; {LEAST_SPEECH} s are needed",)
    problems = []
    snr, clipped = enrolment.snr(audio, speech), enrolment.clipped(audio, speech)
    if snr < LEAST_SNR:
        problems.append(f"speech is {snr:.1f} dB over the noise; {LEAST_SNR:.0f} dB are needed")
    if clipped > MOST_CLIPPED:
        problems.append(f"clipped: {clipped:.0%} of the samples are at the peak level")
    return tuple(problems)


def load_checker(config: Config, store: Store, scoring: Scoring, recognize: bool) -> AttemptChecker:
    """The models of an attempt; `recognize`: with a recognizer. Raises what loading them raises."""
    embedder = load_embedder(config, store)
    recognizer = load_recognizer(config, store) if recognize else None
    return AttemptChecker(embedder, load_verifier(embedder, scoring), recognizer)


def load_recognizer(config: Config, store: Store) -> Recognizer | None:
    """The recognizer that `config` asks for; None: it asks for none. Raises what loading it raises."""
    choice = plan.make(config, store).recognize
    recognizer: Recognizer | None = None if choice is None else choice.load(0)
    return recognizer


def draw(library: Library, name: str | None, language: str, now: datetime, seconds: float) -> Challenge:
    """A new challenge, kept in the library; `name`: for this person alone. Raises UnknownPerson, ConfigError."""
    person = None if name is None else library.find(name).id
    drawn = challenges.draw(now, language, person, seconds=seconds)
    LibraryChallenges(library).put(drawn)
    return drawn


def check_claim(
    name: str,
    recording: Path,
    library: Library,
    config: Config,
    store: Store,
    scoring: Scoring,
    now: datetime,
    *,
    answer: str | None = None,
    phrase: str | None = None,
) -> CheckedAttempt:
    """Check the recording of somebody who claims to be the enrolled person `name` (or id).

    `answer`: id of the challenge that it answers, which is used up, whatever the outcome; `phrase`: a phrase that the
    operator chose instead. The fingerprint of accepted sound is kept, and the oldest are deleted
    (`fingerprints.MOST_ACCEPTED`). Raises as `AttemptChecker.check`, and AudioError,
    UnknownPerson, ConfigError.
    """
    require([recording])
    person = library.find(name)
    challenge: Challenge | None = None
    asked: Asked = "none"
    if answer is not None:  # the time counts from before the models are loaded
        challenge = LibraryChallenges(library).take(answer, now)
        for_other = challenge is not None and challenge.person not in (None, person.id)
        asked = "expired" if challenge is None or challenge.is_expired(now) or for_other else "valid"
    elif phrase is not None:
        challenge, asked = challenges.of_text(phrase, now, person.id), "valid"
    checker = load_checker(config, store, scoring, asked == "valid")
    audio_config = checker.embedder.config.audio
    decoded = decoding.read(recording, id=recording.name, channel=audio_config.channel, track=audio_config.track)
    result = checker.check(decoded.audios[0], library, person, challenge, asked)
    if result.decision.is_verified:
        print_ = fingerprints.encode(result.print)
        library.keep_print(person.id, recording.name, print_, fingerprints.MOST_ACCEPTED)
    return result
