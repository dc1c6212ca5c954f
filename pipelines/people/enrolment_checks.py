"""Checks of utterances before enrolment: each alone, and against each other (docs/method/enrolment.md)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from diarize.audio.reading import MOST_CHANNELS
from diarize.errors import AudioError, printable
from diarize.guard import fingerprints, spoofing
from diarize.library.database import sound
from diarize.library.database.records import Enrolled, Enrolment, Person
from diarize.library.scoring import calibration as calibrations
from diarize.library.scoring import enrolment
from diarize.library.scoring.calibration import Calibration, Side
from diarize.library.scoring.enrolment import Halves
from diarize.library.store import Library
from diarize.timeline import total
from diarize.turns import merging
from diarize.types import Audio, Embeddings, Segment, identity_of
from pipelines.people.enrolment_audio import EnrolmentAudio
from pipelines.people.utterance import UtteranceEmbedder
from pipelines.people.verify import Verifier

Check = Literal["noise", "clipping", "voices", "agreement", "spoofing", "replay"]
CHECKS: tuple[Check, ...] = ("noise", "clipping", "voices", "agreement", "spoofing", "replay")  # that a user may ignore
LEAST_SPEECH = 1.5  # s of speech that an utterance needs: nearly one window of the embedder
LEAST_SNR = 10.0  # dB of SNR that an utterance needs
NOISY = 20.0  # dB of SNR under which there is a note
MOST_CLIPPED = 0.02  # largest share of samples at the peak; utterances with more have at least twice the errors
DOUBTFUL = 0.06  # above that, up to which there is a note on a second voice
LEAST_AGREEMENT = 0.0  # log-likelihood ratio with the person's other utterances that an utterance needs
NARROW = 7000.0  # Hz; sound that ends below is a telephone's
_SHOWN = 5  # places that a message lists


@dataclass(frozen=True, slots=True)
class UtteranceResult:
    """What the checks decided on one utterance. `agreement` is a log-likelihood ratio with the person's others."""

    origin: str
    outcome: Literal["counted", "known", "refused"]
    check: str = ""  # that refused: reading, speech, duplicate, noise, clipping, voices, agreement, spoofing, replay
    reason: str = ""
    start: float = 0.0
    end: float = 0.0
    seconds: float = 0.0  # of speech
    quality: Mapping[str, float] = field(default_factory=dict)
    agreement: float | None = None
    notes: tuple[str, ...] = ()


Checked = tuple[UtteranceResult, Enrolment | None]  # with what to enrol, where the utterance passed


@dataclass(frozen=True, slots=True)
class UtteranceChecks:
    """What decides whether an utterance counts. A check in `accept` does not refuse it."""

    embedder: UtteranceEmbedder
    verifier: Verifier
    accept: Collection[Check] = ()
    keep_audio: bool = False

    def find_duplicate(
        self, library: Library, person: Person | None, excerpt: EnrolmentAudio, earlier: Sequence[Enrolled | Enrolment]
    ) -> UtteranceResult | None:
        """The result of an utterance that is enrolled already, for the same person (`earlier`) or for somebody else.

        None for a new one, and for one that adds something to what is enrolled: a vector of another model, its audio.
        """
        result = UtteranceResult(excerpt.origin, "known", "duplicate", "", excerpt.start, excerpt.end)
        source, related = excerpt.audio.identity, _related(excerpt.audio)
        for id in library.holders(source, excerpt.start, excerpt.end):
            if person is None or id != person.id:
                name = printable(library.person(id).name)
                what = f"{excerpt.audio.line} of this recording" if excerpt.audio.line else "this recording"
                reason = f"{what} is enrolled already, as {name} ({id})"
                return replace(result, outcome="refused", reason=reason)

        # The same part of the same recording counts once; a part that overlaps would count twice.
        place = Segment(excerpt.start, excerpt.end)
        for u in earlier:
            if u.source not in related or place.overlap(Segment(u.start, u.end)) <= 0:
                continue
            if (u.start, u.end) != (excerpt.start, excerpt.end):
                reason = f"a part of it is enrolled already ({printable(u.origin)}), and would count twice"
                return replace(result, outcome="refused", reason=reason)
            if isinstance(u, Enrolled) and (self.embedder.model not in u.vectors or (self.keep_audio and not u.audio)):
                return None
            return replace(result, reason=f"the same recording as {printable(u.origin)}: it counts once")
        return None

    def check_utterance(self, excerpt: EnrolmentAudio) -> Checked:
        """Check one utterance alone: speech, noise, clipping, a second voice."""
        result = UtteranceResult(
            excerpt.origin, "refused", "speech", "", excerpt.start, excerpt.end, notes=excerpt.notes
        )
        try:
            embedded = self.embedder.embed_windows(excerpt.audio)
        except AudioError as error:
            return replace(result, reason=error.problem), None
        speech, windows, voice = embedded.speech, embedded.windows, embedded.voice
        quality = {
            "snr": round(enrolment.snr(excerpt.audio, speech), 1),
            "clipped": round(enrolment.clipped(excerpt.audio, speech), 4),
            "bandwidth": voice.bandwidth,
        }
        result = replace(result, seconds=voice.seconds, quality=quality)
        if voice.seconds < LEAST_SPEECH:
            reason = f"{voice.seconds:.1f} s of speech; an utterance needs {LEAST_SPEECH} s"
            return replace(result, reason=reason), None

        # A check that fails refuses the utterance, unless the user accepts it: then its reason becomes a note.
        problems, notes = _assess(quality)
        halves = enrolment.halves(windows.vectors, calibrations.shipped(self.embedder.model))
        if halves is not None and halves.similarity < halves.threshold + DOUBTFUL:
            places = self._describe_second_voice(excerpt, speech, windows, halves)
            if halves.one_voice:
                notes.append(f"there may be a second voice at {places}")
            else:
                problems["voices"] = f"a second voice was heard at {places}"
        scores = self.embedder.score_spoofing(excerpt.audio)
        if scores is not None:
            notes.append(spoofing.describe(scores))
            quality |= {"spoof": round(scores.score() or 0.0, 4)}
            if scores.suspects():
                problems["spoofing"] = (
                    f"spoofing is suspected: {quality['spoof']:+.2f} is below {scores.threshold:+.2f}"
                )
        if voice.bandwidth < NARROW:
            limit = f"{voice.bandwidth:.0f} Hz"
            notes.append(f"no sound above {limit}, as on a telephone: best compared with other telephone recordings")
        notes += [f"accepted, though {reason}" for check, reason in problems.items() if check in self.accept]
        result = replace(result, notes=(*excerpt.notes, *notes))
        for check, reason in problems.items():
            if check not in self.accept:
                return replace(result, check=check, reason=reason), None
        return replace(result, outcome="counted", check=""), Enrolment(
            source=excerpt.audio.identity,
            seconds=voice.seconds,
            quality=quality,
            vector=voice.vector,
            model=voice.model,
            start=excerpt.start,
            end=excerpt.end,
            audio=sound.pack(excerpt.audio) if self.keep_audio else None,
            origin=excerpt.origin,
            print=fingerprints.encode(fingerprints.fingerprint(excerpt.audio)),
        )

    def check_replay(self, library: Library, checked: Checked, earlier: Sequence[Enrolment]) -> Checked:
        """Refuse sound that was accepted before, in another file: a copy would count twice, or for somebody else.

        `earlier` are those that passed in the same enrolment.
        """
        result, passed = checked
        if passed is None or passed.print is None:
            return checked
        stored = ((f"{each.origin} of {each.person}", each.print) for each in library.guard.prints())
        others = [*stored, *((each.origin, each.print) for each in earlier if each.print is not None)]
        match = fingerprints.find_same(
            fingerprints.decode(passed.print), ((name, fingerprints.decode(data)) for name, data in others)
        )
        if match is None:
            return checked
        name, same = match
        place = f"{same.start + passed.start:.1f} s"
        reason = f"the sound from {place} on is that of {printable(name)}: {same.errors:.0%} of the bits differ"
        if "replay" in self.accept:
            return replace(result, notes=(*result.notes, f"accepted, though {reason}")), passed
        return replace(result, outcome="refused", check="replay", reason=reason), None

    def check_agreement(
        self, checked: Sequence[Checked], earlier: Sequence[Enrolled]
    ) -> tuple[list[Checked], list[str]]:
        """Compare the utterances that passed with each other and with those enrolled `earlier`.

        Returns (the utterances, those that do not agree refused; notes).
        """
        model, results = self.embedder.model, list(checked)
        new = {i: passed for i, (_, passed) in enumerate(checked) if passed is not None}
        calibration, scorer = self.verifier.calibration, self.verifier.scorer
        if calibration is None:
            several = len(new) + len(earlier) > 1
            return results, [f"agreement was not checked: there is no calibration for {model}"] if several else []

        # Only utterances in the range of the calibration can be compared.
        old = [u for u in earlier if _is_calibrated(calibration, u)]
        covered = [i for i in new if _is_calibrated(calibration, new[i])]
        notes = [
            f"{checked[i][0].origin}: agreement was not checked: it is outside the range of the calibration"
            for i in new
            if i not in covered
        ]
        if len(old) + len(covered) < 2:
            return results, notes
        compared = [*((u.vectors[model], u.seconds) for u in old), *((new[i].vector, new[i].seconds) for i in covered)]
        vectors, seconds = np.stack([vector for vector, _ in compared]), np.array([seconds for _, seconds in compared])

        def compare(a: Any, a_seconds: Any, b: Any, b_seconds: Any) -> Any:
            return calibration.unbounded(scorer(a, b), a_seconds, b_seconds)

        outliers = enrolment.outliers(vectors, seconds, len(old), compare, LEAST_AGREEMENT)
        agreeing = [at for at in range(len(compared)) if at not in outliers]
        values = (
            enrolment.agreement(vectors[agreeing], seconds[agreeing], compare) if len(agreeing) > 1 else np.zeros(0)
        )
        low, high = calibration.bounds
        ratios = {
            at: round(float(np.clip(value, low, high)), 1)
            for at, value in [*zip(agreeing, values, strict=False), *outliers.items()]
        }

        # An outlier is refused, unless the user accepts it: then its reason becomes a note.
        others = [ratios[at] for at in agreeing if at in ratios]
        for at, i in enumerate(covered, len(old)):
            result = replace(checked[i][0], agreement=ratios.get(at))
            results[i] = result, new[i]
            if at not in outliers:
                continue
            theirs = f"; theirs: {min(others)} to {max(others)}" if others else ""
            reason = (
                f"does not sound like the other{'s' if others else ' one'} (log-likelihood ratio {ratios[at]}{theirs})"
            )
            if "agreement" in self.accept:
                results[i] = replace(result, notes=(*result.notes, f"accepted, though it {reason}")), new[i]
            else:
                results[i] = replace(result, outcome="refused", check="agreement", reason=reason), None
        return results, notes

    def _describe_second_voice(
        self, excerpt: EnrolmentAudio, speech: Sequence[Segment], windows: Embeddings, halves: Halves
    ) -> str:
        """Where in the recording the second voice is, and how similar it is to the first."""
        turns = merging.merge(windows.segments, halves.labels, speech, config=self.embedder.config.turns)
        seconds = {name: total(t for t in turns if t.speaker == name) for name in {t.speaker for t in turns}}
        if len(seconds) > 1:
            second = min(sorted(seconds), key=lambda name: seconds[name])
            segments: Sequence[Segment] = [turn for turn in turns if turn.speaker == second]
        else:  # too short for a turn of its own
            segments = [s for s, label in zip(windows.segments, halves.labels, strict=True) if label == 1]
        places = [f"{s.start + excerpt.start:.1f}-{s.end + excerpt.start:.1f} s" for s in segments[:_SHOWN]]
        more = f" and {len(segments) - _SHOWN} more" if len(segments) > _SHOWN else ""
        return (
            f"{', '.join(places)}{more} (similarity {halves.similarity:.2f}; one voice has {halves.threshold} or more)"
        )


def _related(audio: Audio) -> frozenset[str]:
    """Identities of recordings that hold the same sound of one person: of a channel, the whole, and the reverse."""
    whole = audio.line.partition("channel ")[0].strip()
    if audio.line != whole:
        return frozenset((audio.identity, identity_of(audio.digest, whole)))
    channels = (f"{whole} channel {number}".strip() for number in range(MOST_CHANNELS))
    return frozenset((audio.identity, *(identity_of(audio.digest, channel) for channel in channels)))


def _assess(quality: Mapping[str, float]) -> tuple[dict[Check, str], list[str]]:
    """(check that fails -> reason, notes), of noise and clipping."""
    problems: dict[Check, str] = {}
    if quality["snr"] < LEAST_SNR:
        problems["noise"] = f"speech is {quality['snr']} dB over the noise; {LEAST_SNR:.0f} dB are needed"
    if quality["clipped"] > MOST_CLIPPED:
        problems["clipping"] = f"clipped: {quality['clipped']:.0%} of the samples are at the peak level"
    noisy = quality["snr"] < NOISY
    return problems, [f"speech is only {quality['snr']} dB over the noise"] if noisy else []


def _is_calibrated(calibration: Calibration, u: Enrolment | Enrolled) -> bool:
    side = Side(u.seconds, u.quality.get("bandwidth"))
    return calibration.refusal(side, side) is None
