"""`process`, the main job, and `export`, its formats once more (docs/process.md)."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from diarize.errors import ConfigError
from diarize.formats import FORMATS
from diarize.text import counted
from pipelines.batch import cached_stages, process
from pipelines.cli import console, live
from pipelines.cli.commands import options
from pipelines.cli.json_log import Both, JsonLog
from pipelines.inputs import settings, shards

if TYPE_CHECKING:
    from diarize.library.store import Library


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Both commands and their options."""
    main_job = commands.add_parser(
        "process", help="process recordings: write labelled transcripts and speaker timelines"
    )
    main_job.add_argument("recordings", nargs="+", type=Path, help="files, and folders to search for recordings")
    main_job.add_argument("--out", required=True, type=Path, help="folder for the results")
    main_job.add_argument(
        "--match",
        action="append",
        default=[],
        metavar="PATTERN",
        help="process only paths or file names that match (shell pattern; may be repeated)",
    )
    main_job.add_argument(
        "--ignore",
        action="append",
        default=[],
        metavar="PATTERN",
        help="skip paths or file names that match (shell pattern; may be repeated)",
    )
    main_job.add_argument(
        "--counts", type=Path, metavar="FILE", help="CSV or TOML file with the number of speakers of each recording"
    )
    main_job.add_argument(
        "--transcript",
        type=Path,
        metavar="FILE",
        help="use the words in this file, or in a folder of files, instead of a recognizer",
    )
    main_job.add_argument(
        "--speech",
        type=Path,
        metavar="FILE",
        help="use these speech regions instead of voice activity detection (RTTM, UEM or JSON file, or a folder "
        "of files)",
    )
    main_job.add_argument(
        "--known-turns",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="known turns (RTTM, JSON) or links between spans (CSV), used as constraints: a file, or a folder of "
        "files; may be repeated",
    )
    main_job.add_argument(
        "--library",
        metavar="LIB",
        help="library of enrolled speakers, who get their names: a file, or postgresql://user@host/database",
    )
    main_job.add_argument(
        "--passphrase-file",
        type=Path,
        metavar="FILE",
        help="file with the passphrase of an encrypted library (default: DIARIZE_PASSPHRASE)",
    )
    main_job.add_argument(
        "--link",
        action="store_true",
        help="give an unknown speaker the same label (unknown-1, ...) in all recordings; needs no library",
    )
    runs = main_job.add_argument_group("runs")
    runs.add_argument(
        "--force",
        action="store_true",
        help="process everything again and replace existing results, also results of other settings",
    )
    runs.add_argument(
        "--retry-failed", action="store_true", help="process again the recordings that failed or crashed before"
    )
    runs.add_argument("--wait", action="store_true", help="if another run uses the folder, wait until it ends")
    runs.add_argument(
        "--shard",
        type=shards.parse,
        metavar="I/N",
        help="process only part I of N; join the parts with diarize merge-runs",
    )
    runs.add_argument("--log-json", metavar="FILE", help="append events to FILE as JSON lines; - for standard output")
    runs.add_argument("--log-names", action="store_true", help="include speaker names in --log-json")
    main_job.add_argument("-q", "--quiet", action="store_true", help="print errors only")
    main_job.add_argument("-v", "--verbose", action="store_true", help="print each stage of each recording")
    options.add(main_job)
    main_job.set_defaults(command=_process)

    again = commands.add_parser("export", help="write formats from transcript.json, without any model")
    again.add_argument(
        "folders", nargs="+", type=Path, metavar="OUT/<id>", help="folder with the results of one recording"
    )
    again.add_argument("--formats", required=True, type=settings.split, metavar="A,B,...", help=", ".join(FORMATS))
    again.set_defaults(command=_export)

    seen = commands.add_parser("status", help="show the progress of a run, also while it is running")
    seen.add_argument("out", type=Path, metavar="OUT", help="result folder of a run")
    seen.add_argument("--json", action="store_true", help="print JSON")
    seen.set_defaults(command=_status)

    join = commands.add_parser("merge-runs", help="join the parts of a run (process --shard) into one run")
    join.add_argument("folders", nargs="+", type=Path, metavar="OUT", help="result folders of the parts")
    join.add_argument(
        "--out", type=Path, help="folder for the joined results; not needed if all parts are in one folder"
    )
    join.set_defaults(command=_merge)


def library_of(given: argparse.Namespace) -> Callable[[], Library]:
    """Opens the library that the options name, to be read."""
    from pipelines.people import speakers

    return partial(speakers.open_library, given.library, os.environ, given.passphrase_file, read_only=True)


def _process(given: argparse.Namespace) -> int:
    config = options.resolve(given).config
    if problem := cached_stages.cache_problem(config.run):
        console.warn(f"note: the cache is not used: {problem}")
    request = process.Request(
        paths=tuple(given.recordings),
        out=given.out,
        match=tuple(given.match),
        ignore=tuple(given.ignore),
        counts=given.counts,
        words=given.transcript,
        library=library_of(given) if given.library is not None else None,
        link=given.link,
        speech=given.speech,
        known_turns=tuple(given.known_turns),
        shard=given.shard,
        force=given.force,
        retry=given.retry_failed,
        wait=given.wait,
    )
    with live.watcher(given.quiet, given.verbose) as watcher, _log(given) as log:
        both = watcher if log is None else Both(watcher, log)
        report = process.process(request, config, options.store(config), both)
        if log is not None:
            log.ended(report.status)
    if report.part and not report.outcomes:
        console.say("this part of the run has no recordings")
        return report.status
    if not report.outcomes:
        console.warn(
            "error: no recordings found"
            + (f"; {counted(len(report.passed_over), 'file')} skipped" if report.passed_over else "")
        )
        return report.status
    if not given.quiet and given.log_json != "-":
        console.say(console.closing(report))
        if report.passed_over:
            others = counted(len(report.passed_over), "other file")
            console.say(f"{others} in the folders skipped (run.json lists them)")
        if report.earlier:
            others = counted(len(report.earlier), "recording")
            console.say(f"{others} of earlier runs are in the same folder: run.json and the tables cover this run only")
        console.say(f"results: {given.out}")
    elif report.status:
        for row in report.outcomes:
            if row.status != "done":
                console.warn(console.summary(row))
    return report.status


@contextlib.contextmanager
def _log(given: argparse.Namespace) -> Iterator[JsonLog | None]:
    """The log that is asked for. Raises ConfigError where its file cannot be opened."""
    if given.log_json is None:
        yield None
    elif given.log_json == "-":
        yield JsonLog(sys.stdout, given.out, given.log_names, console.warn)
    else:
        try:
            file = Path(given.log_json).open("a", encoding="utf-8")  # noqa: SIM115 - a full disk may refuse to close it
        except OSError as error:
            raise ConfigError("--log-json", given.log_json, f"cannot be written: {error.strerror}") from error
        try:
            yield JsonLog(file, given.out, given.log_names, console.warn)
        finally:
            with contextlib.suppress(OSError):  # a full disk
                file.close()


def _status(given: argparse.Namespace) -> int:
    from pipelines.batch import status

    found = status.look(given.out)
    if given.json:
        console.say(json.dumps([asdict(each) for each in found], indent=1))
    else:
        for line in console.standing_lines(found):
            console.say(line)
    return 0


def _merge(given: argparse.Namespace) -> int:
    from pipelines.batch import merge

    if given.out is None and len(given.folders) > 1:
        raise ConfigError("--out", "", "several folders, and no folder for the joined results", "Name it: --out OUT.")
    out = given.out or given.folders[0]
    joined = merge.merge(given.folders, out)
    console.say(f"{counted(joined, 'recording')} of {counted(len(given.folders), 'folder')}: {out}")
    return 0


def _export(given: argparse.Namespace) -> int:
    from pipelines.results.export import export

    for path in export(given.folders, given.formats):
        console.say(str(path))
    return 0
