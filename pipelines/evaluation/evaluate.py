"""How good a result is: hypotheses against a reference, in the field's own measures (docs/evaluate.md)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from math import isfinite
from pathlib import Path

from diarize.errors import ConfigError, FormatError, MissingExtra
from diarize.metrics import normalisation
from diarize.metrics.counts import bootstrap
from diarize.types import Segment
from pipelines.evaluation import files, turn_scores, word_scores
from pipelines.evaluation.files import Side
from pipelines.evaluation.scores import MEASURES, Evaluation, Rules, Score, System, Timelines
from pipelines.inputs.recordings import BELOW

_PACKAGES = ("pyannote.metrics", "meeteval")


@dataclass(frozen=True)
class Request:
    """What to compare. Paths are files or folders (`pipelines.evaluation.files`).

    `match` and `ignore` choose among the reference's files. `allow_missing`: a recording that the reference, the UEM or
    any hypothesis lacks is left out for all, and told, instead of being an error.
    """

    reference: Path
    hypotheses: tuple[Path, ...]
    uem: Path | None = None
    rules: Rules = field(default_factory=Rules)
    match: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    allow_missing: bool = False


def evaluate(request: Request) -> Evaluation:
    """Scores of every hypothesis on every recording of the reference.

    Raises ConfigError for a setting out of range, paths without recordings and recordings that do not match,
    FormatError for damaged files and where there is nothing to score, MissingExtra without the packages that count.
    """
    _check(request)
    reference = files.read(request.reference, request.match, request.ignore)
    names = _system_names(request.hypotheses)
    hypotheses: dict[str, Mapping[str, Side]] = {
        name: files.read(path) for name, path in zip(names, request.hypotheses, strict=True)
    }
    uem = None if request.uem is None else files.read_uem(request.uem)
    keys, notes = _common(reference, hypotheses, uem, request.allow_missing)
    if not _without_text(reference, keys):
        hypotheses = {name: _told(name, sides, keys, notes) for name, sides in hypotheses.items()}
    recordings = {k: reference[k].recording for k in keys}
    systems = []
    for name, path in zip(names, request.hypotheses, strict=True):
        sides = hypotheses[name]
        identified = any(sides[k].identified for k in keys)
        if identified:
            notes += _strange_names(name, reference, sides, keys)
        scores = {}
        for k in keys:
            scored = None if uem is None else uem[k]
            scores[recordings[k]], found = _score(reference[k], sides[k], scored, request.rules, identified)
            notes += [note for note in found if note not in notes]
        systems.append(System(name, str(path), scores, _intervals(scores, request.rules)))
    if all(MEASURES[measure].counts(system.pooled) is None for measure in MEASURES for system in systems):
        raise FormatError(
            str(request.reference),
            "there is nothing to score: no hypothesis has what the reference has, turns or words",
        )
    return Evaluation(
        rules=request.rules,
        reference=str(request.reference),
        uem=None if request.uem is None else str(request.uem),
        recordings=tuple(recordings.values()),
        systems=tuple(systems),
        timelines={
            recordings[k]: Timelines(
                told,
                {name: turns for name, sides in hypotheses.items() if (turns := sides[k].turns) is not None},
                None if uem is None else uem[k],
            )
            for k in keys
            if (told := reference[k].turns) is not None
        },
        notes=tuple(notes),
    )


def _check(request: Request) -> None:
    rules = request.rules
    normalisation.steps(rules.normalise)
    for name in ("collar", "tolerance", "word_collar"):
        if not (isfinite(getattr(rules, name)) and getattr(rules, name) >= 0):
            raise ConfigError("evaluate", name, f"seconds, not negative; got {getattr(rules, name)}")
    if rules.convention not in ("pyannote", "md-eval"):
        raise ConfigError("evaluate", "convention", f"pyannote or md-eval, got {rules.convention!r}")
    if rules.resamples < 1 or not 0 < rules.level < 1:
        raise ConfigError("evaluate", "bootstrap", f"{rules.resamples} resamples at level {rules.level}")
    if not request.hypotheses:
        raise ConfigError("evaluate", "hypothesis", "at least one is needed")
    for package in _PACKAGES:
        try:
            there = find_spec(package) is not None
        except ModuleNotFoundError:  # the package above it is not there
            there = False
        if not there:
            raise MissingExtra(package, "evaluate")


def _system_names(paths: Sequence[Path]) -> list[str]:
    """The last part of each path; the whole path where two share it. Raises ConfigError for the same path twice."""
    short = [path.resolve().name or str(path) for path in paths]
    often = Counter(short)
    names = [str(path) if often[name] > 1 else name for name, path in zip(short, paths, strict=True)]
    if len(set(names)) < len(names):
        raise ConfigError("evaluate", "hypothesis", f"the same one twice: {', '.join(names)}")
    return names


def _common(
    reference: Mapping[str, Side],
    hypotheses: Mapping[str, Mapping[str, Side]],
    uem: Mapping[str, tuple[Segment, ...]] | None,
    allow_missing: bool,
) -> tuple[list[str], list[str]]:
    """(recordings that all have, notes). Raises ConfigError for what is missing, unless that is allowed."""
    parties: dict[str, Mapping[str, object]] = {"the reference": reference, **hypotheses}
    everybody = list(dict.fromkeys(key for party in parties.values() for key in party))
    if uem is not None:
        parties["the UEM"] = uem  # may know more recordings than are scored
    lacking = {key: [name for name, party in parties.items() if key not in party] for key in everybody}
    missing = [f"{key!r} is missing in {', '.join(names)}" for key, names in lacking.items() if names]
    if missing and not allow_missing:
        shown = "; ".join(missing[:10]) + (f"; and {len(missing) - 10} more" if len(missing) > 10 else "")
        cure = "With --allow-missing only those that all have are scored, for all."
        below = next((k for k in everybody if lacking[k] and BELOW in k and k.rpartition(BELOW)[2] in lacking), None)
        if below is not None:
            cure = f"{below!r} is called so after the folder it was in: process that folder by itself. {cure}"
        raise ConfigError("evaluate", "recordings", shown, cure)
    keys = sorted(key for key, names in lacking.items() if not names)
    if not keys:
        problem = "there is nothing to score: no recording is in all of them: "
        raise FormatError("evaluate", problem + "; ".join(missing[:10]))
    return keys, [f"not scored: {text}" for text in missing]


def _without_text(sides: Mapping[str, Side], keys: Sequence[str]) -> bool:
    return not any(sides[key].timed for key in keys)


def _told(name: str, sides: Mapping[str, Side], keys: Sequence[str], notes: list[str]) -> Mapping[str, Side]:
    """The same sides; where not one has a word, no recognizer ran, and their words are not scored as left out."""
    if _without_text(sides, keys):
        notes.append(f"{name}: no words in any recording, so that measures of words are left out")
        return {k: Side(s.recording, s.turns, None, None, s.names, s.identified) for k, s in sides.items()}
    return sides


def _strange_names(
    name: str, reference: Mapping[str, Side], sides: Mapping[str, Side], keys: Sequence[str]
) -> list[str]:
    """A note where a system and the reference name people, and nobody is called the same."""
    ours, theirs = ({n for k in keys for n in party[k].names.values()} for party in (sides, reference))
    if not ours or not theirs or ours & theirs:
        return []
    return [
        f"{name}: nobody is called as in the reference (here {min(ours)!r}, there {min(theirs)!r}): names count as "
        "right where they are the same letter by letter"
    ]


def _score(
    reference: Side, hypothesis: Side, scored: Sequence[Segment] | None, rules: Rules, identified: bool
) -> tuple[Score, tuple[str, ...]]:
    score = Score()
    notes: tuple[str, ...] = ()
    if reference.turns is not None and hypothesis.turns is not None:
        score += turn_scores.score_turns(reference.turns, hypothesis.turns, scored, rules)
        if identified:
            own = hypothesis.names if hypothesis.identified else {}
            pair = (reference.turns, reference.names), (hypothesis.turns, own)
            score += turn_scores.score_names(*pair, scored)
    if reference.timed is not None and hypothesis.timed is not None:
        found, notes = word_scores.score_words(reference, hypothesis, scored, rules)
        score += found
    return score, notes


def _intervals(scores: Mapping[str, Score], rules: Rules) -> dict[str, tuple[float, float]]:
    found = {}
    for name, measure in MEASURES.items():
        counts = [pair for score in scores.values() if (pair := measure.counts(score)) is not None]
        ends = bootstrap(
            [part for part, _ in counts], [whole for _, whole in counts], rules.resamples, rules.level, rules.seed
        )
        if ends is not None:
            found[name] = ends
    return found
