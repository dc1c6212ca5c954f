"""`verify`, `compare`, `score-trials`, `calibrate`: is it one person, and what a score is worth (docs/verification.md).

`verify OUT` answers another question: are the results in a folder unchanged since the run (docs/integrity.md)?
"""

from __future__ import annotations

import argparse
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diarize import files
from diarize.errors import printable
from diarize.guard import spoofing
from diarize.text import counted
from pipelines.cli import console
from pipelines.cli.commands import options
from pipelines.cli.commands.speakers import library_options, print_notes

if TYPE_CHECKING:
    from pipelines.people.scoring import Scoring
    from pipelines.people.trials import ScoredTrials
    from pipelines.people.verify import Verification

MOST_PAIRS = 20  # that are printed; the file has all
METHODS = ("cosine", "centred", "s-norm")  # those of pipelines.people.scoring, which is imported when a command runs
PREPARATIONS = ("speech", "whole", "sox-app")  # those of diarize.speech.preparation


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The four commands."""
    verify = commands.add_parser(
        "verify", help="are two recordings of one person? With the output folder of a run: are its results unchanged?"
    )
    verify.add_argument(
        "recordings",
        nargs="+",
        type=Path,
        help="two recordings, each of one person; one recording with --claim; or the output folder of a run",
    )
    verify.add_argument("--claim", metavar="NAME", help="compare the recording with this enrolled person")
    verify.add_argument("--json", action="store_true", help="print the result as JSON")
    verify.add_argument("--out", type=Path, metavar="FOLDER", help="keep the record: verification.json")
    _add_prior(verify)
    library_options(verify)
    _add_scoring(verify, ("spoof", "countermeasure", "spoof_threshold"))
    unchanged = verify.add_argument_group("are the results of a run unchanged? (exit status 6 where they are not)")
    unchanged.add_argument("--no-inputs", action="store_true", help="do not check the recordings that were processed")
    unchanged.add_argument("--expect", metavar="SEAL", help="the seal that `verify` printed earlier")
    verify.set_defaults(command=_verify)

    compare = commands.add_parser("compare", help="compare every pair of recordings: a table and a heat map")
    compare.add_argument("recordings", nargs="+", type=Path, help="files, and folders to search for recordings")
    compare.add_argument("--out", required=True, type=Path, help="folder for the results")
    _add_prior(compare)
    _add_scoring(compare)
    compare.set_defaults(command=_compare)

    trials = commands.add_parser("score-trials", help="EER, minDCF, Cllr, DET and Tippett plots of a list of trials")
    _add_trials(trials)
    trials.add_argument("--out", required=True, type=Path, help="folder for the results")
    _add_prior(trials)
    _add_scoring(trials)
    trials.set_defaults(command=_score_trials)

    calibrate = commands.add_parser("calibrate", help="learn from a list of trials how to turn scores into LLRs")
    _add_trials(calibrate)
    calibrate.add_argument("--save", required=True, type=Path, metavar="CAL", help="file for the calibration")
    _add_scoring(calibrate, calibration=False)
    calibrate.set_defaults(command=_calibrate, prior=0.5, calibration=None)


def _add_trials(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "trials", type=Path, help="file with a line `1 A B` (one speaker) or `0 A B` (two speakers) for each trial"
    )
    command.add_argument("--audio", required=True, type=Path, help="folder with the recordings that the list names")


def _add_prior(command: argparse.ArgumentParser) -> None:
    meaning = "probability, before the comparison, that both recordings are of one person: asks for a decision"
    command.add_argument("--prior", type=float, metavar="P", help=meaning)


def _add_scoring(command: argparse.ArgumentParser, more: Sequence[str] = (), calibration: bool = True) -> None:
    if calibration:
        shipped = "file from `diarize calibrate`; default: the one shipped for the embedder"
        command.add_argument("--calibration", type=Path, metavar="CAL", help=shipped)
    others = "recordings of other people, one person each, to normalise scores"
    command.add_argument("--cohort", type=Path, metavar="FOLDER", help=others)
    how = "how two voices are compared; default: as the calibration requires"
    command.add_argument("--scoring", choices=METHODS, help=how)
    what = "what of a recording is embedded; default: as the authors of the embedder do, most often its speech"
    command.add_argument("--prepare", choices=PREPARATIONS, help=what)
    options.add(command, "vad", "embedder", "profile", "channel", "track", *more, "device")


def _scoring(args: argparse.Namespace) -> Scoring:
    from pipelines.people.scoring import Scoring

    return Scoring(args.prior, args.calibration, args.cohort, args.scoring, args.prepare)


def _verify(args: argparse.Namespace) -> int:
    if len(args.recordings) == 1 and args.claim is None and args.recordings[0].is_dir():
        return _check_unchanged(args)
    from pipelines.inputs import recordings
    from pipelines.people import speakers
    from pipelines.people.scoring import describe_run
    from pipelines.people.verify import verify, verify_claim
    from pipelines.results import outputs

    recordings.require(args.recordings)
    config, scoring = options.resolve(args).config, _scoring(args)
    store = options.store(config)
    if args.claim is not None:
        options.require_count(args.recordings, 1, "with --claim")
        with speakers.open_library(args.library, os.environ, args.passphrase_file, read_only=True) as library:
            result = verify_claim(args.claim, args.recordings[0], library, config, store, scoring)
    else:
        why = "to compare; to check a claim, add --claim NAME; one folder of results is checked for changes"
        options.require_count(args.recordings, 2, why)
        result = verify(args.recordings[0], args.recordings[1], config, store, scoring)
    record = result.as_dict() | describe_run(config, scoring, result.model)
    if args.out is not None:
        outputs.make_folder(args.out)
        files.write(args.out / "verification.json", outputs.as_json(record))
    if args.json:
        console.say(json.dumps(record, indent=1))
    else:
        _print_verification(result)
        if args.out is not None:
            console.say(f"record: {args.out / 'verification.json'}")
    return 0


def _print_verification(result: Verification) -> None:
    from pipelines.people import wording

    for each in (result.a, result.b):
        console.say(f"{printable(each.name)}: {each.seconds:.1f} s of speech")
    if result.score_threshold is not None and result.llr is None:
        _print_threshold(result)
    elif result.llr is None:
        console.say(f"no likelihood ratio: {result.reason}")
    else:
        console.say(wording.sentence(result.llr))
        if result.at_bound:
            console.say("this is the bound: the data of the calibration support no stronger value")
    kind = "distance" if result.is_distance else "score"
    console.say(f"{kind} {result.score:.3f} ({result.scoring}), cosine {result.cosine:.3f}")
    if result.threshold is not None:
        threshold = f"threshold log10 {wording.in_decades(result.threshold):+.2f} at a prior of {result.prior}"
        posterior = "none" if result.posterior is None else f"{result.posterior:.4f}"
        console.say(f"decision: {result.decision} ({threshold}; posterior {posterior})")
    for each in (result.a, result.b):
        if each.spoof is not None:
            console.say(f"{printable(each.name)}: {spoofing.describe(each.spoof)}")
    print_notes(map(printable, result.notes))


def _print_threshold(result: Verification) -> None:
    """On which side of the threshold of the model's authors the score lies."""
    assert result.score_threshold is not None
    console.say(f"{'distance' if result.is_distance else 'similar'}: {result.score:.4f}")
    match = "match" if result.decision == "same" else "unmatch"
    console.say(f"verification: {match} (threshold: {result.score_threshold:.3f})")
    console.say(f"decision: {result.decision}, {result.reason}")


def _check_unchanged(args: argparse.Namespace) -> int:
    from pipelines.results import integrity

    result = integrity.check(args.recordings[0], inputs=not args.no_inputs, expect=args.expect)
    if args.json:
        console.say(json.dumps(result.as_dict(), indent=1))
        return result.status
    for difference in result.differences:
        console.say(f"{difference.kind}: {printable(difference.where)}: {printable(difference.what)}")
    print_notes(map(printable, result.notes))
    checked = [counted(result.recordings, "recording"), counted(result.results, "file") + " of results"]
    checked.append("inputs left out" if args.no_inputs else counted(result.inputs, "input"))
    verdict = counted(len(result.differences), "difference") if result.differences else "all as the run left it"
    console.say(f"{', '.join(checked)} ({result.bytes / 1e6:.1f} MB): {verdict}")
    console.say(f"seal: {result.seal}")
    return result.status


def _compare(args: argparse.Namespace) -> int:
    from pipelines.inputs import recordings
    from pipelines.people import compare, plots, wording
    from pipelines.results import outputs

    def decided(pair: Verification) -> list[str]:
        return [pair.decision] if decides else []

    config = options.resolve(args).config
    outputs.require_place(args.out, "--out")
    plots.require()
    recordings.require(args.recordings)
    paths = [item.path for item in recordings.find(args.recordings).inputs]
    comparison = compare.compare(paths, config, options.store(config), _scoring(args), _show_progress)
    compare.write(args.out, comparison)
    kind = "distance" if comparison.pairs[0].is_distance else "score"
    decides = args.prior is not None or comparison.pairs[0].score_threshold is not None
    rows = [
        [a, b, f"{pair.score:.4f}", "" if pair.llr is None else wording.ratio(pair.llr), *decided(pair)]
        for (a, b), pair in comparison.ranked()
    ]
    columns = ["", "", kind, "likelihood ratio", *(["decision"] if decides else [])]
    console.say(console.table(columns, rows[:MOST_PAIRS]))
    refused = Counter(pair.reason for pair in comparison.pairs if pair.llr is None and pair.score_threshold is None)
    for reason, count in refused.most_common():
        console.say(f"no likelihood ratio for {counted(count, 'pair')}: {reason}")
    notes = list(dict.fromkeys(note for pair in comparison.pairs for note in pair.notes))
    if len(rows) > MOST_PAIRS:
        console.say(f"the {MOST_PAIRS} most similar of {len(rows)} pairs; comparison.csv has all")
    _print_problems(comparison.problems, [*notes, *comparison.notes])
    console.say(f"heat map and table: {args.out}")
    return 3 if comparison.problems else 0


def _score_trials(args: argparse.Namespace) -> int:
    from pipelines.people import plots, trials
    from pipelines.results import outputs

    outputs.require_place(args.out, "--out")
    plots.require()
    scored = _scored(args)
    summary = trials.summarise(scored)
    trials.write(args.out, scored, summary)
    console.say(console.table(["", "scores", "log-likelihood ratios"], _measures(summary)))
    _print_problems(scored.problems, scored.notes)
    console.say(f"results: {args.out}")
    return 3 if scored.problems else 0


def _calibrate(args: argparse.Namespace) -> int:
    from pipelines.people import trials
    from pipelines.results import outputs

    outputs.require_place(args.save, "--save", folder=False)
    calibration, tested = trials.calibrate(_scored(args), args.trials.name)
    calibration.save(args.save)
    rows = [[name, f"{value:.4f}"] for name, value in tested.items()]
    console.say(console.table(["by cross-validation over speakers", ""], rows))
    console.say(f"calibration: {args.save}")
    return 0


def _scored(args: argparse.Namespace) -> ScoredTrials:
    """The trials of the list that the user named, scored."""
    from pipelines.inputs import recordings
    from pipelines.people import trials

    recordings.require([args.trials, args.audio])
    config = options.resolve(args).config
    store = options.store(config)
    return trials.score_trials(args.trials, args.audio, config, store, _scoring(args), _show_progress)


def _measures(summary: Mapping[str, Any]) -> list[list[str]]:
    """A row a measure: its value and interval on the scores, and on the log-likelihood ratios where there are any."""
    trials = summary["trials"]
    rows = [["trials", f"{trials['same']} of one speaker, {trials['different']} of two", ""]]
    columns = [summary.get("score") or {}, summary.get("llr") or {}]
    for name in dict.fromkeys([*columns[0], *columns[1]]):
        cells = [column.get(name) for column in columns]
        rows.append([name, *("" if cell is None else _format_value(cell) for cell in cells)])
    return rows


def _format_value(cell: Any) -> str:
    if not isinstance(cell, Mapping):
        return str(cell)
    if cell.get("low") is None:
        return str(cell.get("value"))
    return f"{cell['value']:.4f} [{cell['low']:.4f}, {cell['high']:.4f}]"


def _print_problems(problems: Mapping[str, str], notes: Iterable[str]) -> None:
    for name, problem in problems.items():
        console.warn(f"left out: {name}: {problem}")
    print_notes(notes)


def _show_progress(name: str, done: int, total: int) -> None:
    if done % 100 == 0 or done == total:
        console.warn(f"{done} of {counted(total, 'recording')} read")
