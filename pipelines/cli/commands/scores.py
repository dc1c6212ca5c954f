"""`verify`, `compare`, `score-trials`, `calibrate`: is it one person, and what a score is worth (docs/verification.md).

`verify OUT` asks another question: are results what a run wrote (docs/integrity.md)?
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diarize.errors import printable
from diarize.text import counted
from pipelines.cli import console
from pipelines.cli.commands import options
from pipelines.cli.commands.speakers import library_options

MOST = 20  # pairs shown; the file has all
if TYPE_CHECKING:
    from pipelines.people.trials import Scored

WAYS = ("cosine", "centred", "s-norm")


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The four commands."""
    verify = commands.add_parser(
        "verify", help="one person in two recordings, or the one it claims to be? With a run's folder: is it unchanged?"
    )
    verify.add_argument(
        "recordings",
        nargs="+",
        type=Path,
        help="two recordings, each of one person; one with --claim; or the folder of a run: is it unchanged?",
    )
    verify.add_argument("--claim", metavar="NAME", help="the enrolled person that the recording claims to be")
    verify.add_argument("--json", action="store_true", help="for programs")
    verify.add_argument("--prior", type=float, default=0.5, help="probability of one person before listening")
    library_options(verify)
    _scoring(verify)
    unchanged = verify.add_argument_group("is a run unchanged? (status 6 where it is not)")
    unchanged.add_argument("--no-inputs", action="store_true", help="leave out the recordings that it was made of")
    unchanged.add_argument("--expect", metavar="SEAL", help="the seal that was noted down earlier")
    verify.set_defaults(command=_verify)

    compare = commands.add_parser("compare", help="every pair of recordings, as a table and a heat map")
    compare.add_argument("recordings", nargs="+", type=Path, help="files, and folders that are searched")
    compare.add_argument("--out", required=True, type=Path, help="folder of the results")
    compare.add_argument("--prior", type=float, default=0.5, help="probability of one person before listening")
    _scoring(compare)
    compare.set_defaults(command=_compare)

    trials = commands.add_parser("score-trials", help="EER, minDCF, Cllr, DET and Tippett plots of a list of trials")
    trials.add_argument("trials", type=Path, help="lines of `1|0 utterance utterance`")
    trials.add_argument("--audio", required=True, type=Path, help="folder of the utterances")
    trials.add_argument("--out", required=True, type=Path, help="folder of the results")
    trials.add_argument("--prior", type=float, default=0.5, help="probability of one person, for the working threshold")
    _scoring(trials)
    trials.set_defaults(command=_score_trials)

    calibrate = commands.add_parser("calibrate", help="scores of a list of trials -> log-likelihood ratios")
    calibrate.add_argument("trials", type=Path, help="lines of `1|0 utterance utterance`")
    calibrate.add_argument("--audio", required=True, type=Path, help="folder of the utterances")
    calibrate.add_argument("--save", required=True, type=Path, metavar="CAL", help="file of the calibration")
    _scoring(calibrate, calibration=False)
    calibrate.set_defaults(command=_calibrate)


def _scoring(command: argparse.ArgumentParser, calibration: bool = True) -> None:
    if calibration:
        command.add_argument("--calibration", type=Path, metavar="CAL", help="default: the one made for the embedder")
    command.add_argument("--cohort", type=Path, metavar="FOLDER", help="recordings of other people, for s-norm")
    command.add_argument("--scoring", choices=WAYS, help="default: what the calibration was made for")
    options.add(command, "vad", "embedder", "device")


def _verify(given: argparse.Namespace) -> int:
    if len(given.recordings) == 1 and given.claim is None and given.recordings[0].is_dir():
        return _unchanged(given)
    from pipelines.people import speakers
    from pipelines.people.verify import claim, verify

    found = options.resolve(given)
    config, store = found.config, options.store(found.config)
    how = {"prior": given.prior, "calibration": given.calibration, "cohort": given.cohort, "way": given.scoring}
    if given.claim is not None:
        options.exactly(given.recordings, 1, "with --claim")
        with speakers.open_library(given.library, os.environ, given.passphrase_file, read_only=True) as library:
            made = claim(given.claim, given.recordings[0], library, config, store, **how)
    else:
        why = "to compare; to check a claim, add --claim NAME; one folder of results is checked for changes"
        options.exactly(given.recordings, 2, why)
        made = verify(given.recordings[0], given.recordings[1], config, store, **how)
    if given.json:
        console.say(json.dumps(made.as_dict(), indent=1))
        return 0
    llr = "none" if made.llr is None else f"{made.llr:+.2f}" + (" (at its bound)" if made.at_bound else "")
    rows = [
        ["recordings", f"{made.a.name} ({made.a.seconds:.1f} s), {made.b.name} ({made.b.seconds:.1f} s)"],
        ["cosine", f"{made.cosine:.3f}"],
        ["score", f"{made.score:.3f}, {made.scoring}"],
        ["log-likelihood ratio", llr],
        ["threshold", f"{made.threshold:+.2f} at a prior of {made.prior}"],
        ["posterior", "none" if made.posterior is None else f"{made.posterior:.4f}"],
        ["decision", made.decision + (f": {made.reason}" if made.reason else "")],
    ]
    console.say(console.table(["", ""], rows))
    for note in made.notes:
        console.warn(f"note: {note}")
    return 0


def _unchanged(given: argparse.Namespace) -> int:
    from pipelines.results import integrity

    made = integrity.check(given.recordings[0], inputs=not given.no_inputs, expect=given.expect)
    if given.json:
        console.say(json.dumps(made.as_dict(), indent=1))
        return made.status
    for difference in made.differences:
        console.say(f"{difference.kind}: {printable(difference.where)}: {printable(difference.what)}")
    for note in made.notes:
        console.warn(f"note: {printable(note)}")
    seen = [counted(made.recordings, "recording"), counted(made.results, "file") + " of results"]
    seen.append("inputs left out" if given.no_inputs else counted(made.inputs, "input"))
    verdict = counted(len(made.differences), "difference") if made.differences else "all as the run left it"
    console.say(f"{', '.join(seen)} ({made.bytes / 1e6:.1f} MB): {verdict}")
    console.say(f"seal: {made.seal}")
    return made.status


def _compare(given: argparse.Namespace) -> int:
    from pipelines.inputs import recordings
    from pipelines.people import compare

    found = options.resolve(given)
    paths = [item.path for item in recordings.find(given.recordings).inputs]
    made = compare.compare(
        paths,
        found.config,
        options.store(found.config),
        prior=given.prior,
        calibration=given.calibration,
        cohort=given.cohort,
        way=given.scoring,
        watch=_watch,
    )
    compare.write(given.out, made)
    rows = [
        [a, b, f"{pair.score:.3f}", "" if pair.llr is None else f"{pair.llr:+.2f}", pair.decision]
        for (a, b), pair in compare.ranked(made)
    ]
    console.say(console.table(["", "", "score", "log-likelihood ratio", "decision"], rows[:MOST]))
    if len(rows) > MOST:
        console.say(f"the {MOST} most alike of {len(rows)} pairs; comparison.csv has all")
    for name, problem in made.problems.items():
        console.warn(f"left out: {name}: {problem}")
    for note in made.notes:
        console.warn(f"note: {note}")
    console.say(f"heat map and table: {given.out}")
    return 3 if made.problems else 0


def _score_trials(given: argparse.Namespace) -> int:
    from pipelines.people import trials

    trials.check_prior(given.prior)
    scored = _scored(given, calibration=given.calibration)
    made = trials.summary(scored, given.prior)
    trials.write(given.out, scored, made)
    console.say(console.table(["", "scores", "log-likelihood ratios"], _measures(made)))
    for name, problem in scored.problems.items():
        console.warn(f"left out: {name}: {problem}")
    for note in scored.notes:
        console.warn(f"note: {note}")
    console.say(f"results: {given.out}")
    return 3 if scored.problems else 0


def _scored(given: argparse.Namespace, **how: Any) -> Scored:
    """The trials of the list that was named, scored."""
    from pipelines.people import trials

    config = options.resolve(given).config
    store = options.store(config)
    more = {"cohort": given.cohort, "way": given.scoring, "watch": _watch}
    return trials.score_list(given.trials, given.audio, config, store, **more, **how)


def _measures(made: Mapping[str, Any]) -> list[list[str]]:
    """A row a measure: its value and interval on the scores, and on the log-likelihood ratios where there are any."""
    trials = made["trials"]
    rows = [["trials", f"{trials['same']} of one speaker, {trials['different']} of two", ""]]
    sides = [made.get("score") or {}, made.get("llr") or {}]
    for name in dict.fromkeys([*sides[0], *sides[1]]):
        cells = [side.get(name) for side in sides]
        rows.append([name, *("" if cell is None else _value(cell) for cell in cells)])
    return rows


def _value(cell: Any) -> str:
    if not isinstance(cell, Mapping):
        return str(cell)
    if cell.get("low") is None:
        return str(cell.get("value"))
    return f"{cell['value']:.4f} [{cell['low']:.4f}, {cell['high']:.4f}]"


def _calibrate(given: argparse.Namespace) -> int:
    from pipelines.people import trials

    made, tested = trials.calibrate(_scored(given, calibrated=False), given.trials.name)
    made.save(given.save)
    rows = [[name, f"{value:.4f}"] for name, value in tested.items()]
    console.say(console.table(["by cross-validation over speakers", ""], rows))
    console.say(f"calibration: {given.save}")
    return 0


def _watch(name: str, done: int, total: int) -> None:
    if done % 100 == 0 or done == total:
        console.warn(f"{done} of {counted(total, 'recording')} heard")
