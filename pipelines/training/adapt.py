"""Recordings of a domain -> how to compare voices in it, measured, and a calibration for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from diarize.config import Config
from diarize.errors import CalibrationError, ConfigError, FormatError
from diarize.library.scoring import adaptation, calibration, scores
from diarize.library.scoring.calibration import Calibration, Trials
from diarize.models.store import Store
from diarize.text import counted
from pipelines.inputs import recordings
from pipelines.people import trials as trial_lists
from pipelines.people.utterance import (
    OnUtterance,
    UtteranceEmbedder,
    UtteranceEmbedding,
    embed_files,
    load_embedder,
)

SAVED = ("cosine", "centred 0.5", "centred 1.0")  # methods that a calibration file can hold
MOST_PAIRS = 50_000  # of two speakers, that a calibration is fitted on
LEAST_COHORT = 10  # recordings


@dataclass(frozen=True, slots=True, eq=False)
class AdaptationReport:
    """What was measured, and what was chosen."""

    recordings: int
    speakers: int  # 0: without names
    rates: Mapping[str, float]  # method -> EER
    measured_on: str
    chosen: str  # of SAVED
    calibration: Calibration
    problems: Mapping[str, str]
    notes: tuple[str, ...]


def adapt(
    folder: Path,
    config: Config,
    store: Store,
    trials: Path | None = None,
    audio: Path | None = None,
    on_utterance: OnUtterance = lambda name, done, total: None,
    source: Path | None = None,
) -> AdaptationReport:
    """Learn from the recordings of `folder`; measure on speakers that were not learned from.

    With one subfolder a speaker, by cross-validation over speakers. Without names, `trials` (a list of recordings in
    `audio`) are measured on, and the calibration is fitted on them. `source`: a folder of recordings of another domain,
    with one subfolder a speaker, for the methods of `adaptation.WITH_SOURCE`. Raises ConfigError, FormatError,
    CalibrationError.
    """
    if not folder.is_dir():
        raise ConfigError("adapt", str(folder), "is not a folder")
    listed = trial_lists.read(trials) if trials is not None else ()
    if trials is not None and audio is None:
        raise ConfigError("--audio", "missing", "is the folder of the recordings that --trials names")
    inputs, owner = _recordings(folder)
    named = len(owner) == len(inputs) and len(set(owner.values())) > 1
    if not named and trials is None:
        cure = (
            "Put each speaker's recordings in a folder of its own, or measure on trials: --trials FILE --audio FOLDER."
        )
        raise ConfigError("adapt", str(folder), "holds no folders of speakers, so nothing can be measured", cure)
    others = None if source is None else _recordings_with_names(source)
    embedder = load_embedder(config, store)
    utterances, problems = embed_files(inputs, embedder, on_utterance)
    other = None
    if source is not None and others is not None:
        other, unread = _embed_source(source, *others, embedder, on_utterance)
        problems |= unread
    if len(utterances) < LEAST_COHORT:
        count = counted(len(utterances), "recording")
        raise FormatError(str(folder), f"{count} with speech; at least {LEAST_COHORT} are needed")
    names = sorted(utterances)
    vectors = np.stack([utterances[name].vector for name in names])
    speakers = [owner[name] for name in names] if named else None
    try:
        if trials is None:
            assert speakers is not None
            rates = adaptation.measure(vectors, speakers, other)
            measured_on = "speakers of the folder, by cross-validation"
        else:
            methods: tuple[str, ...] = adaptation.METHODS if named else adaptation.UNSUPERVISED
            methods += adaptation.WITH_SOURCE if other is not None else ()
            paths = trial_lists.find_recordings(
                list(trial_lists.infer_speakers(listed, str(trials))), audio or folder, str(trials)
            )
            tested, unread = embed_files(paths, embedder, on_utterance)
            problems |= unread
            pairs = [(t.same, t.a, t.b) for t in listed if t.a in tested and t.b in tested]
            voices = {name: each.vector for name, each in tested.items()}
            fits = {method: adaptation.fit(method, vectors, speakers, other) for method in methods}
            rates = {method: adaptation.measure_on(score, voices, pairs) for method, score in fits.items()}
            measured_on = f"{counted(len(pairs), 'trial')} of {trials.name}"
    except ValueError as error:
        raise CalibrationError(str(error)) from error
    chosen = adaptation.choose(rates, SAVED)
    scorer = adaptation.fit(chosen, vectors)
    assert isinstance(scorer, scores.Cosine | scores.Centred)
    if trials is None:
        assert speakers is not None
        fitted = _pairs(names, speakers, utterances, scorer)
    else:
        inferred = trial_lists.infer_speakers(listed, str(trials))
        scored = [t for t in listed if t.a in tested and t.b in tested]
        a, b = (
            np.stack([tested[name].vector for name in side]) for side in zip(*((t.a, t.b) for t in scored), strict=True)
        )
        fitted = Trials(
            scorer(a, b), np.array([t.same for t in scored]),
            tuple((inferred[t.a], inferred[t.b]) for t in scored),
            tuple((tested[t.a].side, tested[t.b].side) for t in scored),
        )  # fmt: skip
    result = calibration.fit(fitted, embedder.model, scorer, folder.name)
    return AdaptationReport(
        len(names), len(set(speakers or ())), rates, measured_on, chosen, result, problems, embedder.notes
    )


def _recordings(folder: Path) -> tuple[dict[str, Path], dict[str, str]]:
    """(name -> recording, name -> speaker of those that lie in a folder of one). Raises ConfigError."""
    inputs = {item.name: item.path for item in recordings.find([folder]).inputs}
    owner = {name: path.relative_to(folder).parts[0] for name, path in inputs.items() if path.parent != folder}
    return inputs, owner


def _recordings_with_names(folder: Path) -> tuple[dict[str, Path], dict[str, str]]:
    """As `_recordings`, of a source. Raises ConfigError unless each recording lies in a folder of a speaker."""
    inputs, owner = _recordings(folder)
    if len(owner) < len(inputs) or len(set(owner.values())) < 2:
        cure = "Put each speaker's recordings in a folder of its own."
        raise ConfigError("--source", str(folder), "holds no folders of two speakers or more", cure)
    return inputs, owner


def _embed_source(
    folder: Path,
    inputs: Mapping[str, Path],
    owner: Mapping[str, str],
    embedder: UtteranceEmbedder,
    on_utterance: OnUtterance,
) -> tuple[adaptation.SourceDomain, dict[str, str]]:
    """(the source, name -> why a recording was left out). Raises FormatError where too few are left."""
    utterances, unread = embed_files(inputs, embedder, on_utterance)
    if len(utterances) < LEAST_COHORT:
        count = counted(len(utterances), "recording")
        raise FormatError(str(folder), f"{count} with speech; at least {LEAST_COHORT} are needed")
    names = sorted(utterances)
    source = adaptation.SourceDomain(
        np.stack([utterances[name].vector for name in names]), [owner[name] for name in names]
    )
    return source, {f"{folder.name}/{name}": problem for name, problem in unread.items()}


def _pairs(
    names: list[str], speakers: list[str], utterances: Mapping[str, UtteranceEmbedding], scorer: scores.Scorer
) -> Trials:
    """All pairs of one speaker, and pairs of two, at most MOST_PAIRS of them spread evenly."""
    pairs = list(combinations(range(len(names)), 2))
    same = [(i, j) for i, j in pairs if speakers[i] == speakers[j]]
    different = [(i, j) for i, j in pairs if speakers[i] != speakers[j]]
    different = different[:: max(1, -(-len(different) // MOST_PAIRS))]
    chosen = [*same, *different]
    a, b = (np.stack([utterances[names[pair[side]]].vector for pair in chosen]) for side in (0, 1))
    return Trials(
        scorer(a, b), np.array([True] * len(same) + [False] * len(different)),
        tuple((speakers[i], speakers[j]) for i, j in chosen),
        tuple((utterances[names[i]].side, utterances[names[j]].side) for i, j in chosen),
    )  # fmt: skip
