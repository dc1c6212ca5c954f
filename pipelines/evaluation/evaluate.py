"""How good a result is: hypotheses against a reference, in the field's own measures (docs/evaluate.md)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from math import isfinite
from pathlib import Path

from diarize.errors import ConfigError, FormatError, MissingExtra
from diarize.formats.alternatives import OpenChoice
from diarize.metrics import normalisation
from diarize.metrics.bootstrap import RateDifference, ratio_difference, ratio_interval
from diarize.text import counted
from diarize.timeline import gaps, intersect, total
from diarize.types import Segment
from pipelines.evaluation import corrections, files, turn_scores, word_scores
from pipelines.evaluation.files import RecordingAnnotation
from pipelines.evaluation.scores import MEASURES, Evaluation, Place, Rules, Score, System, Timelines
from pipelines.inputs.recordings import BELOW

_PACKAGES = ("pyannote.metrics", "meeteval")

Annotations = Mapping[str, RecordingAnnotation]  # by `match_key` of the recording


@dataclass(frozen=True)
class EvaluationRequest:
    """What to compare. Paths are files or folders (`pipelines.evaluation.files`).

    `against` is the baseline, one more hypothesis or one of them; by default the first one where there are several.
    `match` and `ignore` select files of the reference. With `allow_missing`, a recording that the reference, the UEM or
    a hypothesis lacks is left out for all, with a note, instead of being an error. `corrected`: the reference is a
    folder of results, with its corrections; the only hypothesis is the same without them.
    """

    reference: Path
    hypotheses: tuple[Path, ...] = ()
    uem: Path | None = None
    rules: Rules = field(default_factory=Rules)
    match: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    allow_missing: bool = False
    against: Path | None = None
    corrected: bool = False

    @property
    def systems(self) -> tuple[Path, ...]:
        """All hypotheses, the baseline last if it is none of the others."""
        extra = () if self.against is None or self.against in self.hypotheses else (self.against,)
        return (*self.hypotheses, *extra)


def evaluate(request: EvaluationRequest) -> Evaluation:
    """Scores of every hypothesis on every recording of the reference.

    Raises ConfigError for a setting out of range, paths without recordings and recordings that do not match,
    FormatError for damaged files and where there is nothing to score, MissingExtra without the packages that count.
    """
    _check(request)
    notes: list[str] = []
    reference: Annotations
    hypotheses: dict[str, Annotations]
    paths = request.systems
    places: tuple[Place, ...] = ()
    if request.corrected:
        reviewed = corrections.read(request.reference)
        reference, names, paths = reviewed.corrected, [corrections.MACHINE], (request.reference,)
        hypotheses, places = {corrections.MACHINE: reviewed.machine}, reviewed.places
        notes += reviewed.notes
    else:
        reference = files.read(request.reference, request.match, request.ignore, notes)
        names = _system_names(paths)
        hypotheses = {name: files.read(path, notes=notes) for name, path in zip(names, paths, strict=True)}
    uem = None if request.uem is None else files.read_uem(request.uem, notes)
    keys, missing = _common(reference, hypotheses, uem, request.allow_missing)
    notes += (*missing, *_note_rules_of_files(reference, hypotheses, keys))
    if request.uem is None and not request.corrected and (beside := files.find_uem(request.reference)) is not None:
        notes.append(f"a UEM lies beside the reference and was not used; to score its regions only: --uem {beside}")

    # Without a recognizer a hypothesis has no words at all: they are not scored as deleted.
    if _has_words(reference, keys):
        for name in names:
            if not _has_words(hypotheses[name], keys):
                notes.append(f"{name}: no words in any recording, so that measures of words are left out")
                hypotheses[name] = {k: replace(a, utterances=None, timed=None) for k, a in hypotheses[name].items()}

    systems = []
    for name, path in zip(names, paths, strict=True):
        system, its_notes = _score_system(name, path, reference, hypotheses[name], uem, keys, request.rules)
        systems.append(system)
        notes += its_notes
    baseline = None
    if len(systems) > 1:
        at = 0 if request.against is None else request.systems.index(request.against)
        baseline = systems[at]
        if request.against is not None and len(keys) == 1:
            notes.append("differences from the baseline need two recordings or more: they are left out")
        systems = [
            each if each is baseline else replace(each, differences=_differences(each, baseline, request.rules))
            for each in systems
        ]
    if all(MEASURES[measure].counts(system.pooled) is None for measure in MEASURES for system in systems):
        problem = "there is nothing to score: no hypothesis has what the reference has, turns or words"
        raise FormatError(str(request.reference), problem)
    return Evaluation(
        rules=request.rules,
        reference=str(request.reference),
        uem=None if request.uem is None else str(request.uem),
        recordings=tuple(reference[k].recording for k in keys),
        systems=tuple(systems),
        timelines={
            reference[k].recording: Timelines(
                turns,
                {name: own for name, sides in hypotheses.items() if (own := sides[k].turns) is not None},
                _scored(reference[k], [sides[k] for sides in hypotheses.values()], None if uem is None else uem[k]),
            )
            for k in keys
            if (turns := reference[k].turns) is not None
        },
        notes=tuple(dict.fromkeys(notes)),
        baseline=None if baseline is None else baseline.name,
        places=places,
    )


def _check(request: EvaluationRequest) -> None:
    """Raises ConfigError for a setting out of range, MissingExtra where a package is not installed."""
    rules = request.rules
    normalisation.check_steps(rules.normalise)
    for name in ("collar", "tolerance", "word_collar"):
        if not (isfinite(getattr(rules, name)) and getattr(rules, name) >= 0):
            raise ConfigError("evaluate", name, f"seconds, 0 or more; got {getattr(rules, name)}")
    if rules.convention not in ("pyannote", "md-eval"):
        raise ConfigError("evaluate", "convention", f"pyannote or md-eval, got {rules.convention!r}")
    if rules.resamples < 1 or not 0 < rules.level < 1:
        raise ConfigError("evaluate", "bootstrap", f"{rules.resamples} resamples at level {rules.level}")
    if not request.hypotheses and not request.corrected:
        raise ConfigError("evaluate", "hypothesis", "at least one is needed")
    for package in _PACKAGES:
        try:
            installed = find_spec(package) is not None
        except ModuleNotFoundError:  # the package that it is a part of is not installed
            installed = False
        if not installed:
            raise MissingExtra(package, "evaluate")


def _system_names(paths: Sequence[Path]) -> list[str]:
    """The last part of each path; the whole path where two share it. Raises ConfigError for the same path twice."""
    short = [path.resolve().name or str(path) for path in paths]
    times = Counter(short)
    names = [str(path) if times[name] > 1 else name for name, path in zip(short, paths, strict=True)]
    if len(set(names)) < len(names):
        raise ConfigError("evaluate", "hypothesis", f"the same one twice: {', '.join(names)}")
    return names


def _common(
    reference: Annotations,
    hypotheses: Mapping[str, Annotations],
    uem: Mapping[str, tuple[Segment, ...]] | None,
    allow_missing: bool,
) -> tuple[list[str], list[str]]:
    """(recordings that all have, notes). Raises ConfigError for recordings that are missing, unless that is allowed."""
    sources: dict[str, Mapping[str, object]] = {"the reference": reference, **hypotheses}
    every = list(dict.fromkeys(key for source in sources.values() for key in source))
    if uem is not None:
        sources["the UEM"] = uem  # may have more recordings than are scored
    lacking = {key: [name for name, source in sources.items() if key not in source] for key in every}
    missing = [f"{key!r} is missing in {', '.join(names)}" for key, names in lacking.items() if names]
    if missing and not allow_missing:
        shown = "; ".join(missing[:10]) + (f"; and {len(missing) - 10} more" if len(missing) > 10 else "")
        cure = "With --allow-missing only those that all have are scored, for all."
        below = next((k for k in every if lacking[k] and BELOW in k and k.rpartition(BELOW)[2] in lacking), None)
        if below is not None:
            cure = f"{below!r} has the name of a folder in its id: process that folder by itself. {cure}"
        raise ConfigError("evaluate", "recordings", shown, cure)
    keys = sorted(key for key, names in lacking.items() if not names)
    if not keys:
        problem = "there is nothing to score: no recording is in all of them: "
        raise FormatError("evaluate", problem + "; ".join(missing[:10]))
    return keys, [f"not scored: {text}" for text in missing]


def _has_words(annotations: Annotations, keys: Sequence[str]) -> bool:
    return any(annotations[key].timed for key in keys)


def _score_system(
    name: str,
    path: Path,
    reference: Annotations,
    hypothesis: Annotations,
    uem: Mapping[str, tuple[Segment, ...]] | None,
    keys: Sequence[str],
    rules: Rules,
) -> tuple[System, list[str]]:
    """(one hypothesis with its scores, notes)."""
    identified = any(hypothesis[k].identified for k in keys)
    notes = _note_other_names(name, reference, hypothesis, keys) if identified else []
    scores = {}
    for k in keys:
        scored = None if uem is None else uem[k]
        score, its_notes = _score(reference[k], hypothesis[k], scored, rules, identified)
        scores[reference[k].recording] = score
        notes += its_notes
    return System(name, str(path), scores, _intervals(scores, rules)), notes


def _note_other_names(name: str, reference: Annotations, hypothesis: Annotations, keys: Sequence[str]) -> list[str]:
    """A note where both sides name people, and have no name in common."""
    ours, theirs = ({n for k in keys for n in side[k].names.values()} for side in (hypothesis, reference))
    if not ours or not theirs or ours & theirs:
        return []
    return [
        f"{name}: none of its names is in the reference (here {min(ours)!r}, there {min(theirs)!r}): a name is right "
        "only if it is exactly the same"
    ]


def _scored(
    reference: RecordingAnnotation, hypotheses: Sequence[RecordingAnnotation], uem: Sequence[Segment] | None
) -> tuple[Segment, ...] | None:
    """What is scored of the turns: the UEM, without what the reference says is not to be scored. None: everything."""
    if not reference.unscored:
        return None if uem is None else tuple(uem)
    if uem is None:
        uem = turn_scores.extent([turn for side in (reference, *hypotheses) for turn in side.turns or ()])
    free = gaps(reference.unscored, max((segment.end for segment in uem), default=0.0))
    return intersect(uem, free)


def _note_rules_of_files(
    reference: Annotations, hypotheses: Mapping[str, Annotations], keys: Sequence[str]
) -> Iterator[str]:
    """What the files say about how they are to be scored."""
    seconds = {k: total(reference[k].unscored) for k in keys if reference[k].unscored}
    if seconds:
        yield (
            f"the reference leaves {sum(seconds.values()):.1f} s of {counted(len(seconds), 'recording')} out of the "
            "scores (NOSCORE, NON-LEX, IGNORE_TIME_SEGMENT_IN_SCORING)"
        )
    choices = sum(_count_choices(reference[k]) for k in keys)
    if choices:
        yield (
            f"the reference leaves {counted(choices, 'word')} open ({{ a / b }}, (uh)): the option nearest to the "
            "hypothesis is scored, and a missing optional word counts as right, as with sclite -D"
        )
    for name, sides in hypotheses.items():
        if any(sides[k].unscored or _count_choices(sides[k]) for k in keys):
            yield f"{name}: only a reference can leave time or words open: here the first option is used, and all time"


def _count_choices(annotation: RecordingAnnotation) -> int:
    return sum(isinstance(item, OpenChoice) for text in annotation.utterances or () for item in text.passage or ())


def _score(
    reference: RecordingAnnotation,
    hypothesis: RecordingAnnotation,
    scored: Sequence[Segment] | None,
    rules: Rules,
    identified: bool,
) -> tuple[Score, tuple[str, ...]]:
    """(scores of one recording, notes); `identified`: the names of people are scored too."""
    score = Score()
    notes: tuple[str, ...] = ()
    if reference.turns is not None and hypothesis.turns is not None:
        of_turns = _scored(reference, [hypothesis], scored)
        score += turn_scores.score_turns(reference.turns, hypothesis.turns, of_turns, rules)
        if identified:
            names = hypothesis.names if hypothesis.identified else {}
            score += turn_scores.score_names((reference.turns, reference.names), (hypothesis.turns, names), of_turns)
    if reference.timed is not None and hypothesis.timed is not None:
        of_words, notes = word_scores.score_words(reference, hypothesis, scored, rules)
        score += of_words
    return score, notes


def _differences(system: System, baseline: System, rules: Rules) -> dict[str, RateDifference]:
    """Measure -> how much more it is than that of the baseline, over the recordings that have it for both."""
    differences = {}
    for name, measure in MEASURES.items():
        pairs = [(measure.counts(score), measure.counts(baseline.scores[k])) for k, score in system.scores.items()]
        both = [(one, two) for one, two in pairs if one is not None and two is not None]
        difference = ratio_difference(
            [one for one, _ in both], [two for _, two in both], rules.resamples, rules.level, rules.seed
        )
        if difference is not None:
            differences[name] = difference
    return differences


def _intervals(scores: Mapping[str, Score], rules: Rules) -> dict[str, tuple[float, float]]:
    intervals = {}
    for name, measure in MEASURES.items():
        counts = [pair for score in scores.values() if (pair := measure.counts(score)) is not None]
        ends = ratio_interval(
            [part for part, _ in counts], [whole for _, whole in counts], rules.resamples, rules.level, rules.seed
        )
        if ends is not None:
            intervals[name] = ends
    return intervals
