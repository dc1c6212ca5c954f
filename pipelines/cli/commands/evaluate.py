"""`evaluate`: how good a result is, in the field's own measures (docs/evaluate.md); `plot`: pictures of results
(docs/pictures.md)."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from diarize.errors import ConfigError, printable
from diarize.text import counted
from pipelines.cli import console
from pipelines.cli.commands import options
from pipelines.inputs import settings


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The commands and their options."""
    _add_plot(commands)
    command = commands.add_parser("evaluate", help="score results against references: DER, JER, WER, cpWER, ...")
    truth = "file or folder with the truth: RTTM, JSON, STM, CTM, SegLST"
    command.add_argument("--reference", type=Path, help=truth)
    command.add_argument("--hypothesis", type=Path, nargs="+", default=[], help="files or folders, each one system")
    own = "results that people corrected (OUT or OUT/<id>): score the machine against their corrections"
    command.add_argument("--corrections", type=Path, metavar="OUT", help=own)
    baseline = "baseline, from which the difference of each hypothesis is reported; default: the first of several"
    command.add_argument("--against", type=Path, metavar="HYP", help=baseline)
    command.add_argument("--out", required=True, type=Path, help="folder for evaluation.json, .csv, .md and pictures")
    command.add_argument("--uem", type=Path, help="UEM file or folder: the regions to score; default: all")
    collar = "seconds on each side of a reference boundary that DER leaves out; default: 0"
    command.add_argument("--collar", type=float, default=0.0, metavar="S", help=collar)
    command.add_argument("--skip-overlap", action="store_true", help="leave overlapped reference speech out of DER")
    command.add_argument(
        "--convention",
        choices=("pyannote", "md-eval"),
        default="pyannote",
        help="pair speakers on the scored regions (pyannote, the default), or on all that the UEM allows (md-eval)",
    )
    steps = "steps that make texts comparable; default: nfkc,lower,apostrophes,punctuation,unspaced"
    command.add_argument("--normalise", type=settings.split_commas, metavar="A,B,...", help=steps)
    pattern = "reference files whose path or name matches (shell pattern; may be repeated)"
    for option, help in (("--match", f"score only {pattern}"), ("--ignore", f"skip {pattern}")):
        command.add_argument(option, action="append", default=[], metavar="PATTERN", help=help)
    command.add_argument("--allow-missing", action="store_true", help="score only the recordings that all sides have")
    command.add_argument("--no-pictures", action="store_true", help="draw no pictures")
    command.set_defaults(command=run)


def _add_plot(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("plot", help="draw turns, speaking times, exchanges and voices of results")
    command.add_argument(
        "folder", type=Path, metavar="OUT/<id>", help="results of one recording; OUT: speaking time over a run"
    )
    command.add_argument("--to", type=Path, metavar="FOLDER", help="folder for the pictures; default: pictures/ there")
    command.add_argument(
        "--as", dest="formats", type=settings.split_commas, default=("png",), metavar="png,svg", help="default: png"
    )
    command.add_argument("--audio", type=Path, metavar="FILE", help="the recording, if it is not where it was")
    command.add_argument("--machine", action="store_true", help="without the corrections of people")
    options.add(command, "embedder", "profile", "vad", "track", "device")
    command.set_defaults(command=_plot)


def run(args: argparse.Namespace) -> int:
    from pipelines.cli import figures
    from pipelines.evaluation import report
    from pipelines.evaluation.evaluate import EvaluationRequest, evaluate
    from pipelines.evaluation.scores import Rules

    rules = Rules(args.collar, args.skip_overlap, args.convention)
    if args.normalise is not None:
        rules = Rules(args.collar, args.skip_overlap, args.convention, normalise=tuple(args.normalise))
    both = args.reference is not None and bool(args.hypothesis)
    if (args.corrections is None) != both or (args.corrections is not None and (args.reference or args.hypothesis)):
        cure = "Name --reference and --hypothesis, or --corrections OUT."
        raise ConfigError("command line", "evaluate", "needs a reference and a hypothesis, or corrected results", cure)
    request = EvaluationRequest(
        args.reference if both else args.corrections,
        tuple(args.hypothesis),
        args.uem,
        rules,
        tuple(args.match),
        tuple(args.ignore),
        args.allow_missing,
        args.against,
        corrected=args.corrections is not None,
    )
    evaluation = evaluate(request)
    for line in report.describe_rules(evaluation):
        console.say(line)
    width = max(console.open_console(sys.stdout).width, console.NARROWEST)
    for table in report.tables(evaluation):
        for title, fitted in figures.fit_tables(table.title, table.columns, table.rows, table.names, width):
            console.say()
            console.say(title)
            console.say(fitted)
    console.say()
    for note in evaluation.notes:
        console.say(f"note: {note}")
    written = report.write(args.out, evaluation, pictures=not args.no_pictures)
    console.say(f"{counted(len(written), 'file')}: {args.out}")
    return 0


def _plot(args: argparse.Namespace) -> int:
    from pipelines.pictures import plot
    from pipelines.results import outputs
    from pipelines.results.integrity import is_results

    if unknown := sorted(set(args.formats) - {"png", "svg"}):
        raise ConfigError("command line", "--as", ", ".join(unknown), "Known: png, svg.")
    config = options.resolve(args).config
    if is_results(args.folder) and not (args.folder / outputs.TRANSCRIPT).exists():
        pictures = plot.plot_run(args.folder, args.to, args.formats)
    else:
        store = options.store(config)
        pictures = plot.plot_recording(args.folder, args.to, args.formats, config, store, args.audio, args.machine)
    for picture in pictures:
        if picture.path is None:
            console.warn(f"note: {printable(picture.problem)}")
        else:
            console.say(str(picture.path))
    return 0
