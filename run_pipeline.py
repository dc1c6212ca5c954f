"""The door: arguments -> settings -> one recipe -> report -> exit status.

Exit status: 0 all done, 2 usage, 3 some recordings failed, 4 nothing could be processed, 5 the environment (a model, a
disk) is missing or full, 6 integrity, 130 interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import diarize
from diarize.errors import (
    BackendError,
    ConfigError,
    DiarizeError,
    ModelDamaged,
    ModelError,
    OutputError,
    UnknownBackend,
    UnknownModel,
)
from diarize.formats import FORMATS
from diarize.models.store import Store
from pipelines import doctor, export, face, models, process, settings

OPTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    # option of `process` -> the setting it gives, and how it is read; what a setting means stands in diarize/config.py
    "--num-speakers": ("cluster.num_speakers", {"type": int, "metavar": "N"}),
    "--min-speakers": ("cluster.min_speakers", {"type": int, "metavar": "N"}),
    "--max-speakers": ("cluster.max_speakers", {"type": int, "metavar": "N"}),
    "--diarizer": ("diarizer", {"metavar": "NAME"}),
    "--vad": ("vad.backend", {"metavar": "NAME"}),
    "--embedder": ("embedder.backend", {"metavar": "NAME"}),
    "--asr": ("asr.backend", {"metavar": "NAME"}),
    "--language": ("asr.language", {"metavar": "CODE"}),
    "--hotwords": ("asr.hotwords", {"metavar": "TEXT"}),
    "--initial-prompt": ("asr.initial_prompt", {"metavar": "TEXT"}),
    "--channel": ("audio.channel", {"metavar": "auto|mix|N|per-channel"}),
    "--device": ("run.device", {"choices": ("auto", "cpu", "cuda")}),
    "--formats": ("output.formats", {"metavar": "A,B,...", "type": settings.split}),
    "--workers": ("run.workers", {"type": int, "metavar": "N"}),
}

PURPOSE = "Who said what, when: recordings in, labelled transcripts and speaker timelines out."

STATUS: dict[type[DiarizeError], int] = {
    # the first that fits
    ConfigError: 2,
    UnknownBackend: 2,
    UnknownModel: 2,
    ModelDamaged: 6,
    ModelError: 5,
    BackendError: 5,
    OutputError: 5,
    DiarizeError: 4,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit status."""
    face.open_streams()
    with contextlib.suppress(ValueError):  # not in a thread
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends like Ctrl-C: with its workers, and a report
    given = parser().parse_args(arguments)
    try:
        return int(given.command(given))
    except DiarizeError as error:
        face.warn(f"error: {error}")
        return next(status for kind, status in STATUS.items() if isinstance(error, kind))
    except OSError as error:  # a disk or a right that gave way where nobody expected it
        face.warn(f"error: {error}")
        return 5
    except KeyboardInterrupt:
        face.warn("interrupted")
        return 130


def parser() -> argparse.ArgumentParser:
    """Every command and option."""
    top = argparse.ArgumentParser(prog="diarize", description=PURPOSE, epilog=(__doc__ or "").partition("\n\n")[2])
    top.add_argument("--version", action="version", version=f"diarize-pipeline {diarize.__version__}")
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    main_job = commands.add_parser("process", help="the main job: recordings in, labelled transcripts out")
    main_job.add_argument(
        "recordings", nargs="+", type=Path, help="files, and folders that are searched for recordings"
    )
    main_job.add_argument("--out", required=True, type=Path, help="folder of the results")
    main_job.add_argument("--match", action="append", default=[], metavar="PATTERN", help="take only what matches")
    main_job.add_argument("--ignore", action="append", default=[], metavar="PATTERN", help="leave out what matches")
    main_job.add_argument("--counts", type=Path, metavar="FILE", help="CSV or TOML with speaker counts per recording")
    main_job.add_argument("--transcript", type=Path, metavar="FILE", help="words of another recognizer; or a folder")
    main_job.add_argument("-q", "--quiet", action="store_true", help="say nothing but errors")
    main_job.add_argument("-v", "--verbose", action="store_true", help="say each stage of each recording")
    _settings_of(main_job, OPTIONS)
    main_job.set_defaults(command=_process)

    again = commands.add_parser("export", help="write formats again from transcript.json, without any model")
    again.add_argument("folders", nargs="+", type=Path, metavar="OUT/<id>", help="folder of one recording's results")
    again.add_argument("--formats", required=True, type=settings.split, metavar="A,B,...", help=", ".join(FORMATS))
    again.set_defaults(command=_export)

    store = commands.add_parser("models", help="the model store")
    store.add_argument("--offline", action="store_true", help="never open a network connection")
    actions = store.add_subparsers(required=True, metavar="ACTION")
    actions.add_parser("list", help="what there is, and what is in the store").set_defaults(command=_models_list)
    pull = actions.add_parser("pull", help="fetch models into the store")
    pull.add_argument("names", nargs="*", help="default: those that the main job needs")
    pull.add_argument("--force", action="store_true", help="fetch again what is there")
    pull.set_defaults(command=_models_pull)
    actions.add_parser("verify", help="hash every file again").set_defaults(command=_models_verify)
    bring = actions.add_parser("import", help="take models from a folder, by their digests")
    bring.add_argument("folder", type=Path)
    bring.set_defaults(command=_models_import)
    actions.add_parser("path", help="where the store is").set_defaults(command=_models_path)

    actions = commands.add_parser("config", help="settings").add_subparsers(required=True, metavar="ACTION")
    show = actions.add_parser("show", help="every setting and its value")
    show.add_argument("--origin", action="store_true", help="also where each value comes from")
    _settings_of(show, OPTIONS)
    show.set_defaults(command=_config_show)

    check = commands.add_parser("doctor", help="what is installed, what is missing, and how to get it")
    check.set_defaults(command=_doctor)
    return top


def _settings_of(command: argparse.ArgumentParser, options: dict[str, tuple[str, dict[str, Any]]]) -> None:
    group = command.add_argument_group("settings")
    group.add_argument("--config", type=Path, metavar="FILE.toml", help="settings from a file")
    group.add_argument("--offline", action="store_true", default=None, help="never open a network connection")
    for option, (key, how) in options.items():
        group.add_argument(option, dest=key, default=None, help=settings.describe(key).replace("%", "%%"), **how)


def _resolve(given: argparse.Namespace) -> settings.Settings:
    asked = {key: getattr(given, key) for key, _ in OPTIONS.values() if getattr(given, key) is not None}
    if given.offline is not None:
        asked["run.offline"] = given.offline
    return settings.resolve(asked, given.config, os.environ)


def _process(given: argparse.Namespace) -> int:
    config = _resolve(given).config
    request = process.Request(
        tuple(given.recordings), given.out, tuple(given.match), tuple(given.ignore), given.counts, given.transcript
    )
    with face.watcher(given.quiet, given.verbose) as watcher:
        report = process.process(request, config, Store(offline=config.run.offline), watcher)
    if not report.outcomes:
        face.warn(
            "error: no recordings found"
            + (f"; {face.count(len(report.passed_over), 'file')} passed over" if report.passed_over else "")
        )
        return report.status
    if not given.quiet:
        face.say(face.closing(report))
        if report.passed_over:
            others = face.count(len(report.passed_over), "other file")
            face.say(f"{others} in the folders passed over (run.json lists them)")
        face.say(f"results: {given.out}")
    elif report.status:
        for row in report.outcomes:
            if row.status != "done":
                face.warn(face.summary(row))
    return report.status


def _export(given: argparse.Namespace) -> int:
    for path in export.export(given.folders, given.formats):
        face.say(str(path))
    return 0


def _models_list(given: argparse.Namespace) -> int:
    for line in face.model_lines(models.overview(Store())):
        face.say(line)
    return 0


def _models_pull(given: argparse.Namespace) -> int:
    failed = False
    with face.watcher(quiet=False, verbose=False) as watcher:
        for pulled in models.pull(Store(offline=bool(given.offline)), given.names, watcher.fetching, given.force):
            failed |= bool(pulled.problem)
            face.say(pulled.problem or f"{pulled.name}: {pulled.path}")
            for file, digest in pulled.pins:
                face.say(f"  pinned by this download: {file} sha256 {digest}")
    return 5 if failed else 0


def _models_verify(given: argparse.Namespace) -> int:
    found = models.verify(Store())
    for line in face.model_lines(found) if found else ["no model is in the store"]:
        face.say(line)
    return 6 if any(status.state == "damaged" for status in found) else 0


def _models_import(given: argparse.Namespace) -> int:
    found = models.bring(Store(), given.folder)
    for item in found:
        face.say(f"{item.path}: {item.model or 'not taken'}" + (f" ({item.problem})" if item.problem else ""))
    return 0 if any(item.model for item in found) else 4


def _models_path(given: argparse.Namespace) -> int:
    face.say(str(models.path(Store())))
    return 0


def _doctor(given: argparse.Namespace) -> int:
    facts = doctor.examine(Store())
    for text in face.diagnosis(facts):
        face.say(text)
    return 0 if facts.ready else 5


def _config_show(given: argparse.Namespace) -> int:
    for line in face.setting_lines(_resolve(given), given.origin):
        face.say(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
