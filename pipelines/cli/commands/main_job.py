"""`process` (the main job), and what concerns its results: `export`, `status`, `merge-runs` (docs/process.md)."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from diarize.errors import ConfigError
from diarize.formats import FORMATS
from diarize.text import counted
from pipelines.batch import cached_stages, process
from pipelines.batch.process import ProcessRequest, RunReport
from pipelines.cli import console, run_report
from pipelines.cli.commands import options
from pipelines.cli.json_log import JsonLog
from pipelines.cli.observers import CombinedObserver, open_observer
from pipelines.inputs import settings, shards

_FLAG: dict[str, Any] = {"action": "store_true"}
_FILE: dict[str, Any] = {"type": Path, "metavar": "FILE"}
_SHARD: dict[str, Any] = {"type": shards.parse, "metavar": "I/N"}
_PATTERNS: dict[str, Any] = {"action": "append", "default": [], "metavar": "PATTERN"}
PROCESS_OPTIONS: dict[str, dict[str, tuple[str, dict[str, Any]]]] = {
    # group -> option -> help, arguments of argparse; options that are settings stand in options.py
    "inputs and results": {
        "--out": ("folder for the results", {"required": True, "type": Path}),
        "--match": ("process only paths or file names that match (shell pattern; may be repeated)", _PATTERNS),
        "--ignore": ("skip paths or file names that match (shell pattern; may be repeated)", _PATTERNS),
    },
    "known facts about the recordings": {
        "--counts": ("CSV or TOML file with the number of speakers of each recording", _FILE),
        "--transcript": ("use the words in this file, or in a folder of files, instead of a recognizer", _FILE),
        "--speech": ("use these speech regions (RTTM, UEM, JSON; or a folder of files), and detect none", _FILE),
        "--known-turns": (
            "constraints: turns (RTTM, JSON) or links between spans (CSV); or a folder of files; may be repeated",
            {"action": "append", "default": [], **_FILE},
        ),
    },
    "names of speakers": {
        "--library": (
            "library of enrolled speakers, who get their names: a file, or postgresql://user@host/database",
            {"metavar": "LIB"},
        ),
        "--passphrase-file": ("file with the passphrase of an encrypted library (default: DIARIZE_PASSPHRASE)", _FILE),
        "--keep-voices": (
            "with --library or --link: keep the voiceprints of unknown speakers, so that relabel can name them later",
            _FLAG,
        ),
        "--link": ("label unknown speakers alike in all recordings (unknown-1, ...); needs no library", _FLAG),
    },
    "runs": {
        "--force": (
            "process everything again and replace existing results, also results of other settings; words that cannot "
            "be of the recording are used",
            _FLAG,
        ),
        "--retry-failed": ("process again the recordings that failed or crashed before", _FLAG),
        "--wait": ("if another run uses the folder, wait until it ends", _FLAG),
        "--shard": ("process only part I of N; join the parts with diarize merge-runs", _SHARD),
        "--log-json": ("append events to FILE as JSON lines; - for standard output", {"metavar": "FILE"}),
        "--log-names": ("include speaker names in --log-json", _FLAG),
        "-q --quiet": ("print errors only", _FLAG),
        "-v --verbose": ("print each stage of each recording", _FLAG),
    },
}


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The commands and their options."""
    _add_process(commands)

    export = commands.add_parser(
        "export", help="write formats from transcript.json and its corrections, without any model"
    )
    export.add_argument(
        "folders", nargs="+", type=Path, metavar="OUT/<id>", help="results of one recording; OUT: of all recordings"
    )
    export.add_argument("--machine", action="store_true", help="without the corrections of people")
    export.add_argument(
        "--formats", required=True, type=settings.split_commas, metavar="A,B,...", help=", ".join(FORMATS)
    )
    export.add_argument(
        "--name-template",
        default="",
        metavar="TEMPLATE",
        help="names of the files, as '{stem}.{lang}{suffix}': the recording's name, id, language, suffix of the format",
    )
    export.add_argument("--to", type=Path, metavar="FOLDER", help="put all files there; needs --name-template")
    export.add_argument("--one-speaker-a-cue", **_FLAG, help="SRT and VTT: no subtitle with words of two speakers")
    export.add_argument("--csv-bom", **_FLAG, help="CSV with a byte order mark, for Excel")
    export.add_argument("--table", **_FLAG, help="DOCX: a table of times, speakers and texts instead of paragraphs")
    export.add_argument("--title", default="", metavar="TEXT", help="DOCX, Markdown: title; default: the recording")
    export.add_argument("--date", default="", metavar="TEXT", help="DOCX, Markdown: date of the meeting")
    export.set_defaults(command=_export)

    status = commands.add_parser("status", help="show the progress of a run, also while it is running")
    status.add_argument("out", type=Path, metavar="OUT", help="result folder of a run")
    status.add_argument("--json", action="store_true", help="print JSON")
    status.set_defaults(command=_status)

    merge = commands.add_parser("merge-runs", help="join the parts of a run (process --shard) into one run")
    merge.add_argument("folders", nargs="+", type=Path, metavar="OUT", help="result folders of the parts")
    merge.add_argument(
        "--out", type=Path, help="folder for the joined results; not needed if all parts are in one folder"
    )
    merge.set_defaults(command=_merge)


def _add_process(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    purpose = "process recordings: write labelled transcripts and speaker timelines"
    command = commands.add_parser("process", help=purpose)
    command.add_argument("recordings", nargs="+", type=Path, help="files, and folders to search for recordings")
    for title, group in PROCESS_OPTIONS.items():
        arguments = command.add_argument_group(title)
        for names, (meaning, how) in group.items():
            arguments.add_argument(*names.split(), help=meaning, **how)
    options.add(command)
    command.set_defaults(command=_process)


def _process(args: argparse.Namespace) -> int:
    config = options.resolve(args).config
    if problem := cached_stages.cache_problem(config.run):
        console.warn(f"note: the cache is not used: {problem}")
    library = None
    if args.library is not None:
        from pipelines.people.speakers import open_library

        library = partial(open_library, args.library, os.environ, args.passphrase_file, read_only=True)
    request = ProcessRequest(
        paths=tuple(args.recordings),
        out=args.out,
        match=tuple(args.match),
        ignore=tuple(args.ignore),
        counts=args.counts,
        words=args.transcript,
        library=library,
        link=args.link,
        speech=args.speech,
        known_turns=tuple(args.known_turns),
        shard=args.shard,
        force=args.force,
        retry=args.retry_failed,
        wait=args.wait,
        keep_voices=args.keep_voices,
    )

    # Progress goes to the terminal and to the log, the report only to the terminal.
    with open_observer(args.quiet, args.verbose) as observer, _open_log(args) as log:
        observers = observer if log is None else CombinedObserver(observer, log)
        report = process.process(request, config, options.store(config), observers)
        if log is not None:
            log.run_ended(report.status)
    if not report.outcomes:
        _print_empty(report)
    elif not args.quiet and args.log_json != "-":
        _print_report(report, args.out)
    else:
        for row in report.outcomes:
            if row.status != "done":
                console.warn(run_report.summary_line(row))
    return report.status


def _print_empty(report: RunReport) -> None:
    if report.part:
        console.say("this part of the run has no recordings")
        return
    skipped = f"; {counted(len(report.skipped), 'file')} skipped" if report.skipped else ""
    console.warn(f"error: no recordings found{skipped}")


def _print_report(report: RunReport, out: Path) -> None:
    console.say(run_report.summary_table(report))
    for line in run_report.remarks(report):
        console.say(line)
    if report.skipped:
        console.say(f"skipped in the folders: {counted(len(report.skipped), 'other file')} (run.json lists them)")
    if report.earlier:
        earlier = counted(len(report.earlier), "recording")
        console.say(f"{earlier} of earlier runs are in the same folder: run.json and the tables cover this run only")
    console.say(f"results: {out}")


@contextlib.contextmanager
def _open_log(args: argparse.Namespace) -> Iterator[JsonLog | None]:
    """The log of `--log-json`. Raises ConfigError where its file cannot be opened."""
    if args.log_json is None:
        yield None
    elif args.log_json == "-":
        yield JsonLog(sys.stdout, args.out, args.log_names, console.warn)
    else:
        try:
            file = Path(args.log_json).open("a", encoding="utf-8")  # noqa: SIM115 - a full disk may refuse to close it
        except OSError as error:
            raise ConfigError("--log-json", args.log_json, f"cannot be written: {error.strerror}") from error
        try:
            yield JsonLog(file, args.out, args.log_names, console.warn)
        finally:
            with contextlib.suppress(OSError):  # a full disk
                file.close()


def _status(args: argparse.Namespace) -> int:
    from pipelines.batch import status

    statuses = status.read(args.out)
    if args.json:
        console.say(json.dumps([asdict(each) for each in statuses], indent=1))
    else:
        for line in run_report.status_lines(statuses):
            console.say(line)
    return 0


def _merge(args: argparse.Namespace) -> int:
    from pipelines.batch import merge

    if args.out is None and len(args.folders) > 1:
        raise ConfigError("--out", "", "several folders, and no folder for the joined results", "Name it: --out OUT.")
    out = args.out or args.folders[0]
    recordings = merge.merge(args.folders, out)
    console.say(f"{counted(recordings, 'recording')} of {counted(len(args.folders), 'folder')}: {out}")
    return 0


def _export(args: argparse.Namespace) -> int:
    from diarize.formats.options import ExportOptions
    from pipelines.results.export import ExportRequest

    choices = ExportOptions(args.one_speaker_a_cue, args.csv_bom, args.table, args.title, args.date)
    request = ExportRequest(args.formats, args.machine, choices, args.name_template, args.to)
    for export in request.export(args.folders):
        console.say(str(export.path))
        for note in export.notes:
            console.warn(f"note: {note}")
    return 0
