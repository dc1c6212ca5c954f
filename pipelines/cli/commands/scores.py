"""`verify`, `compare`, `score-trials`, `calibrate`: is it one person, and what a score is worth (docs/verification.md).

`verify OUT` answers another question: are the results in a folder unchanged since the run (docs/integrity.md)?
"""

from __future__ import annotations

import argparse
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diarize import files
from diarize.errors import ConfigError, printable
from diarize.guard import spoofing
from diarize.text import counted
from pipelines.cli import console
from pipelines.cli.commands import options
from pipelines.cli.commands.speakers import library_options, print_notes

if TYPE_CHECKING:
    from pipelines.guard.attempt import CheckedAttempt
    from pipelines.guard.fused import FusedVerification
    from pipelines.people.scoring import Scoring
    from pipelines.people.trials import ScoredTrials
    from pipelines.people.verify import Verification

REFUSED = 1  # exit status of an attempt that is not verified
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
        nargs="*",
        type=Path,
        help="two recordings, each of one person; one recording with --claim; or the output folder of a run",
    )
    verify.add_argument("--claim", metavar="NAME", help="compare the recording with this enrolled person")
    verify.add_argument("--json", action="store_true", help="print the result as JSON")
    verify.add_argument("--out", type=Path, metavar="FOLDER", help="keep the record: verification.json")
    guards = verify.add_argument_group("is it a live person? (with --claim; docs/guard.md)")
    guards.add_argument("--challenge", action="store_true", help="draw a phrase that the person must say, and end")
    guards.add_argument("--seconds", type=float, default=120.0, metavar="S", help="time for the answer; default: 120")
    guards.add_argument("--words", default="en", metavar="CODE", help="language of the phrase; default: en")
    guards.add_argument("--answer", metavar="ID", help="the recording answers this challenge; it is valid once")
    guards.add_argument("--phrase", metavar="TEXT", help="the recording must contain this phrase of your own")
    guard = "refuse sound that was accepted before; keep the fingerprint of what is accepted"
    guards.add_argument("--guard", action="store_true", help=guard)
    others = verify.add_argument_group("together with another modality (docs/guard.md)")
    fitted = "file from `diarize calibrate --fusion`"
    others.add_argument("--fusion", type=Path, metavar="FILE", help=fitted)
    score = "score of another modality, as face=0.83; may be repeated"
    others.add_argument("--with", dest="others", action="append", default=[], metavar="NAME=NUMBER", help=score)
    _add_prior(verify)
    library_options(verify)
    _add_scoring(verify, ("asr", "language", "spoof", "countermeasure", "spoof_threshold"))
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
    _add_trials(calibrate, audio=False)
    fusion = "TRIALS is a CSV file with a column `same` (1 or 0) and one of scores a modality: fit their fusion"
    calibrate.add_argument("--fusion", action="store_true", help=fusion)
    calibrate.add_argument("--save", required=True, type=Path, metavar="CAL", help="file for the calibration")
    _add_scoring(calibrate, calibration=False)
    calibrate.set_defaults(command=_calibrate, prior=0.5, calibration=None)


def _add_trials(command: argparse.ArgumentParser, audio: bool = True) -> None:
    command.add_argument(
        "trials", type=Path, help="file with a line `1 A B` (one speaker) or `0 A B` (two speakers) for each trial"
    )
    command.add_argument("--audio", required=audio, type=Path, help="folder with the recordings that the list names")


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
    if args.challenge or args.guard or args.answer is not None or args.phrase is not None:
        return _verify_guarded(args)
    if not args.recordings:
        options.require_count(args.recordings, 2, "to compare")
    if len(args.recordings) == 1 and args.claim is None and args.recordings[0].is_dir():
        return _check_unchanged(args)
    from pipelines.inputs import recordings
    from pipelines.people import speakers
    from pipelines.people.scoring import describe_run
    from pipelines.people.verify import verify, verify_claim

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
    together = _fused(args, result)
    record = result.as_dict() | describe_run(config, scoring, result.model)
    if together is not None:
        record["fusion"] = together.as_dict()
    if args.out is not None:
        from pipelines.results import outputs

        outputs.make_folder(args.out)
        files.write(args.out / "verification.json", outputs.as_json(record))
    if args.json:
        console.say(json.dumps(record, indent=1))
    else:
        _print_verification(result)
        if together is not None:
            _print_fused(together)
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


def _fused(args: argparse.Namespace, result: Verification) -> FusedVerification | None:
    """The verification with the scores of `--with`. Raises ConfigError where one option lacks the other."""
    if args.fusion is None and not args.others:
        return None
    if args.fusion is None or not args.others:
        missing = "--fusion" if args.fusion is None else "--with"
        raise ConfigError("command line", missing, "is needed: --fusion FILE and --with NAME=NUMBER go together")
    from diarize.guard import fusion
    from pipelines.guard import fused

    return fused.fuse(result, fused.parse_scores(args.others), fusion.load(args.fusion))


def _print_fused(together: FusedVerification) -> None:
    from pipelines.people import wording

    used = " and ".join(together.fused.used)
    console.say(f"{used} together: {wording.sentence(together.fused.value)}")
    if together.fused.missing:
        console.say(f"missing: {', '.join(together.fused.missing)}")
    if together.is_same is not None:
        console.say(f"decision of the fusion: {'same' if together.is_same else 'different'}")


def _verify_guarded(args: argparse.Namespace) -> int:
    """Draw a challenge, or check the answer to one; exit status 0 only where the person is verified."""
    _check_guards(args)
    from pipelines.people import speakers

    with speakers.library_to_change(args.library, os.environ, args.passphrase_file) as library:
        from pipelines.guard import attempt
        from pipelines.people.scoring import describe_run
        from pipelines.results import outputs

        now = datetime.now(UTC)
        if args.challenge:
            drawn = attempt.draw(library, args.claim, args.words, now, args.seconds)
            if args.json:
                values = {"id": drawn.id, "phrase": drawn.phrase, "expires": drawn.expires.isoformat()}
                console.say(json.dumps({"schema": "diarize-challenge/1", **values}, indent=1))
            else:
                console.say(f"say: {drawn.phrase}")
                console.say(f"until: {drawn.expires.isoformat(timespec='seconds')}")
                console.say(f"answer: diarize verify RECORDING --claim NAME --answer {drawn.id}")
            return 0
        config = options.resolve(args).config
        asked = {"answer": args.answer, "phrase": args.phrase}
        recording, store = args.recordings[0], options.store(config)
        result = attempt.check_claim(args.claim, recording, library, config, store, _scoring(args), now, **asked)
    model = "" if result.verification is None else result.verification.model
    record = result.as_dict() | describe_run(config, _scoring(args), model)
    if args.out is not None:
        outputs.make_folder(args.out)
        files.write(args.out / "verification.json", outputs.as_json(record))
    if args.json:
        console.say(json.dumps(record, indent=1))
    else:
        _print_attempt(result)
    return 0 if result.decision.is_verified else REFUSED


def _check_guards(args: argparse.Namespace) -> None:
    """Raises ConfigError for options that would have no effect together."""
    if args.challenge:
        if args.recordings or args.answer is not None or args.phrase is not None:
            cure = "Draw the phrase first; then run verify RECORDING --claim NAME --answer ID."
            raise ConfigError("command line", "--challenge", "draws a phrase, and checks no recording", cure)
        return
    if args.claim is None:
        raise ConfigError("command line", "--claim", "is needed: guards check the claim of one person", "Name them.")
    if args.fusion is not None or args.others:
        raise ConfigError("command line", "--fusion", "does not go with guards", "Run verify twice.")
    if args.answer is not None and args.phrase is not None:
        raise ConfigError("command line", "--phrase", "does not go with --answer, which has its own phrase")
    options.require_count(args.recordings, 1, "with --claim")


def _print_attempt(result: CheckedAttempt) -> None:
    if result.verification is not None:
        _print_verification(result.verification)
    for word in result.decision.words:
        if not word["is_right"]:
            expected, recognized = (printable(word[key] or "nothing") for key in ("expected", "recognized"))
            console.say(f"phrase: expected {expected}, recognized {recognized}")
    for text in result.decision.details:
        console.say(f"against: {printable(text)}")
    console.say(f"verified: {'yes' if result.decision.is_verified else 'no'} ({result.decision.reason})")
    print_notes(sign.text for sign in result.signs)


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
    if result.corrections:
        count, where = counted(result.corrections, "correction"), counted(result.corrected, "recording")
        verdict += f", with {count} by people in {where}"
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
    if args.fusion:
        return _calibrate_fusion(args)
    if args.audio is None:
        raise ConfigError("command line", "--audio", "is needed: the folder with the recordings of the trials")
    calibration, tested = trials.calibrate(_scored(args), args.trials.name)
    calibration.save(args.save)
    rows = [[name, f"{value:.4f}"] for name, value in tested.items()]
    console.say(console.table(["by cross-validation over speakers", ""], rows))
    console.say(f"calibration: {args.save}")
    return 0


def _calibrate_fusion(args: argparse.Namespace) -> int:
    from pipelines.guard import fused
    from pipelines.inputs import recordings

    recordings.require([args.trials])
    fitted = fused.fit_file(args.trials, args.save)
    rows = []
    for names, (constant, *slopes) in fitted.weights.items():
        weights = ", ".join(f"{name} {weight:+.4f}" for name, weight in zip(names, slopes, strict=True))
        rows.append([" + ".join(names), f"{constant:+.4f}", weights])
    console.say(console.table(["modalities", "constant", "weights"], rows))
    console.say(f"{fitted.trials[0]} trials of one person, {fitted.trials[1]} of two; fusion: {args.save}")
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
