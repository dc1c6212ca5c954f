"""Checks of utterances before enrolment: each alone, and against each other (docs/method/enrolment.md)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from diarize.errors import AudioError, printable
from diarize.library.database import sound
from diarize.library.database.records import Enrolled, Enrolment, Person
from diarize.library.scoring import enrolment
from diarize.library.scoring.calibration import Calibration, Side
from diarize.library.scoring.enrolment import Halves
from diarize.library.store import Library
from diarize.timeline import total
from diarize.turns import merging
from diarize.types import Embeddings, Segment
from pipelines.people.enrolment_audio import Take
from pipelines.people.utterance import UtteranceEmbedder
from pipelines.people.verify import Verifier

Check = Literal["noise", "clipping", "voices", "agreement"]
CHECKS: tuple[Check, ...] = ("noise", "clipping", "voices", "agreement")  # that a user may overrule
NARROW = 7000.0  # Hz; sound that ends below is a telephone's
_SHOWN = 5  # places that a message lists


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one utterance. `agreement` is a log-likelihood ratio with the person's others."""

    origin: str
    outcome: Literal["counted", "known", "refused"]
    check: str = ""  # that refused: reading, speech, duplicate, noise, clipping, voices, agreement
    reason: str = ""
    start: float = 0.0
    end: float = 0.0
    seconds: float = 0.0  # of speech
    quality: Mapping[str, float] = field(default_factory=dict)
    agreement: float | None = None
    notes: tuple[str, ...] = ()


def duplicate(
    library: Library,
    person: Person | None,
    take: Take,
    earlier: Sequence[Enrolled | Enrolment],
    model: str,
    keep_audio: bool,
) -> Row | None:
    """The row of an utterance that was enrolled before: of the same person, or of somebody else.

    None for one that is new, or that gains something: a vector of another model, its sound.
    """
    row = Row(take.origin, "known", "duplicate", "", take.start, take.end)
    here = Segment(take.start, take.end)
    for id in library.holders(take.sound.digest, take.start, take.end):
        if person is None or id != person.id:
            other = library.person(id)
            reason = f"this recording is enrolled already, as {printable(other.name)} ({id})"
            return replace(row, outcome="refused", reason=reason)
    for u in earlier:
        if u.source != take.sound.digest or here.overlap(Segment(u.start, u.end)) <= 0:
            continue
        same = (u.start, u.end) == (take.start, take.end)
        if same and isinstance(u, Enrolled) and (model not in u.vectors or (keep_audio and not u.audio)):
            return None
        if same:
            return replace(row, reason=f"the same recording as {printable(u.origin)}: it counts once")
        reason = f"a part of it is enrolled already ({printable(u.origin)}), and would count twice"
        return replace(row, outcome="refused", reason=reason)
    return None


def examine(
    take: Take, embedder: UtteranceEmbedder, verifier: Verifier, accept: Collection[Check], keep_audio: bool
) -> tuple[Row, Enrolment | None]:
    """The checks that an utterance can be put to by itself."""
    row = Row(take.origin, "refused", "speech", "", take.start, take.end, notes=take.notes)
    try:
        speech, voices = embedder.embed_windows(take.sound)
    except AudioError as error:
        return replace(row, reason=error.problem), None
    heard = embedder.pool(take.sound, speech, voices)
    measured = {
        "snr": round(enrolment.snr(take.sound, speech), 1),
        "clipped": round(enrolment.clipped(take.sound, speech), 4),
        "bandwidth": heard.bandwidth,
    }
    row = replace(row, seconds=heard.seconds, quality=measured)
    if heard.seconds < enrolment.LEAST:
        reason = f"{heard.seconds:.1f} s of speech; an utterance needs {enrolment.LEAST} s"
        return replace(row, reason=reason), None
    problems: dict[Check, str] = {}
    if measured["snr"] < enrolment.QUIET:
        problems["noise"] = f"speech is {measured['snr']} dB over the noise; {enrolment.QUIET:.0f} dB are needed"
    if measured["clipped"] > enrolment.CLIPPED:
        problems["clipping"] = f"clipped: {measured['clipped']:.0%} of the samples stand at the peak"
    notes = list(row.notes)
    if measured["snr"] < enrolment.NOISY:
        notes.append(f"speech is only {measured['snr']} dB over the noise")
    two = enrolment.halves(voices.vectors, verifier.scorer)
    if two is not None and not two.one_voice:
        problems["voices"] = f"a second voice was heard at {_places(take, speech, voices, two, embedder)}"
    elif two is not None and two.alike < two.least + enrolment.DOUBTFUL:
        notes.append(f"a second voice may be there at {_places(take, speech, voices, two, embedder)}")
    if heard.bandwidth < NARROW:
        notes.append(
            f"sound reaches up to {heard.bandwidth:.0f} Hz, as a telephone's does; voices are compared best alike"
        )
    notes += [f"accepted, though {reason}" for check, reason in problems.items() if check in accept]
    row = replace(row, notes=tuple(notes))
    for check, reason in problems.items():
        if check not in accept:
            return replace(row, check=check, reason=reason), None
    return replace(row, outcome="counted", check=""), Enrolment(
        source=take.sound.digest,
        seconds=heard.seconds,
        quality=measured,
        vector=heard.vector,
        model=heard.model,
        start=take.start,
        end=take.end,
        audio=sound.pack(take.sound) if keep_audio else None,
        origin=take.origin,
    )


def _places(take: Take, speech: Sequence[Segment], voices: Embeddings, two: Halves, embedder: UtteranceEmbedder) -> str:
    """Where in the recording the second voice was heard, and how unlike the first it is."""
    spoken = merging.merge(voices.segments, two.labels, speech, config=embedder.config.turns)
    said = {name: total(t for t in spoken if t.speaker == name) for name in {t.speaker for t in spoken}}
    less = min(sorted(said), key=lambda name: said[name])
    heard: Sequence[Segment] = (
        [turn for turn in spoken if turn.speaker == less]
        if len(said) > 1
        else [s for s, label in zip(voices.segments, two.labels, strict=True) if label == 1]
    )
    places = [f"{s.start + take.start:.1f}-{s.end + take.start:.1f} s" for s in heard[:_SHOWN]]
    more = f" and {len(heard) - _SHOWN} more" if len(heard) > _SHOWN else ""
    return f"{', '.join(places)}{more} (likeness {two.alike:.2f}; one voice has {two.least} or more)"


def agree(
    rows: list[Row],
    new: dict[int, Enrolment],
    held: Sequence[Enrolled],
    model: str,
    verifier: Verifier,
    accept: Collection[Check],
) -> list[str]:
    """Compare utterances with one another: those that do not belong leave `new`, their rows say so; notes."""
    if verifier.calibration is None:
        return [f"agreement was not checked: there is no calibration for {model}"] if len(new) + len(held) > 1 else []
    learned, scorer = verifier.calibration, verifier.scorer
    fits = [u for u in held if _fits(learned, u)]
    places = [i for i in new if _fits(learned, new[i])]
    notes = [
        f"{rows[i].origin}: agreement was not checked: it is outside the calibration" for i in new if i not in places
    ]
    if len(fits) + len(places) < 2:
        return notes
    judged = [*((u.vectors[model], u.seconds) for u in fits), *((new[i].vector, new[i].seconds) for i in places)]
    vectors, seconds = np.stack([v for v, _ in judged]), np.array([s for _, s in judged])

    def compare(a: Any, a_seconds: Any, b: Any, b_seconds: Any) -> Any:
        return learned.unbounded(scorer(a, b), a_seconds, b_seconds)

    out = enrolment.outliers(vectors, seconds, len(fits), compare)
    kept = [at for at in range(len(judged)) if at not in out]
    values = enrolment.agreement(vectors[kept], seconds[kept], compare) if len(kept) > 1 else np.zeros(0)
    low, high = learned.bounds
    agreed = {at: round(float(np.clip(v, low, high)), 1) for at, v in [*zip(kept, values, strict=False), *out.items()]}
    others = [agreed[at] for at in kept if at in agreed]
    rest = f"the others, which have {min(others)} to {max(others)}" if others else "the other one"
    for at, i in enumerate(places, len(fits)):
        rows[i] = replace(rows[i], agreement=agreed.get(at))
        if at not in out:
            continue
        reason = f"does not sound like {rest} (log-likelihood ratio {agreed[at]})"
        if "agreement" in accept:
            rows[i] = replace(rows[i], notes=(*rows[i].notes, f"accepted, though it {reason}"))
        else:
            rows[i] = replace(rows[i], outcome="refused", check="agreement", reason=reason)
            del new[i]
    return notes


def _fits(learned: Calibration, u: Enrolment | Enrolled) -> bool:
    side = Side(u.seconds, u.quality.get("bandwidth"))
    return learned.refusal(side, side) is None
