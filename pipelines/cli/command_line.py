"""The command line: which module adds which command, how arguments are parsed, and what is said about a wrong one."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from diarize.version import __version__
from pipelines.cli.console import warn

FAMILIES = {  # command -> module of pipelines.cli.commands; only the one that is needed is imported
    "process": "main_job", "export": "main_job", "status": "main_job", "merge-runs": "main_job",
    "edit": "edit", "review": "review", "report": "review", "plot": "evaluate", "app": "network.app",
    "enroll": "enroll", "evaluate": "evaluate", "speakers": "speakers", "relabel": "speakers", "identify": "identify",
    "train": "training", "adapt": "training", "export-model": "training",
    "verify": "scores", "compare": "scores", "score-trials": "scores", "calibrate": "scores",
    "serve": "network.serve",
    "case": "case", "models": "models", "cache": "cache", "config": "machine", "doctor": "machine",
}  # fmt: skip
PURPOSE = "Speaker diarization and transcription: recordings in, labelled transcripts and speaker timelines out."


class CommandLine(argparse.ArgumentParser):
    """The parser of all commands, or of one and its family. What is wrong is said in one line, without the usage."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        for kind, read in _TYPES.items():
            self.register("type", kind, read)

    def error(self, message: str) -> NoReturn:
        """One line: what is wrong, and the command that prints the usage. An address of a library is left out, as it
        may hold a password."""
        plain = re.sub(r"(postgres(ql)?:/)\S+", r"\1...", _in_plain_words(message, self))
        warn(f"error: {plain} See: {self.prog} --help")
        raise SystemExit(2)

    def parse(self, words: Sequence[str]) -> argparse.Namespace:
        """The arguments. argparse by itself does not accept recordings before and after options."""
        if words and words[0].startswith("-") and words[0].partition("=")[0] not in self.options:
            self.error(f"unknown option: {words[0]}")
        args, rest = self.parse_known_args(words)
        unknown = [word for word in rest if word.startswith("-") and word != "-"]
        if rest and (unknown or not hasattr(args, "recordings")):
            parser = self._chosen(words)
            if unknown:
                parser.error(f"unknown option: {unknown[0].partition('=')[0]}")
            parser.error(f"unrecognized arguments: {' '.join(rest)}")
        for word in rest:
            try:
                args.recordings = [*args.recordings, _path(word)]
            except argparse.ArgumentTypeError as error:
                self._chosen(words).error(f"argument recordings: {error}")
        return args

    @property
    def options(self) -> tuple[str, ...]:
        return tuple(name for action in self._actions for name in action.option_strings)

    def _chosen(self, words: Sequence[str]) -> CommandLine:
        """The parser of the command, and of its action, that the `words` name."""
        parser, left = self, list(words)
        while (commands := parser.commands) and left:
            parser = commands.get(left.pop(0), parser)
        return parser

    @property
    def commands(self) -> dict[str, CommandLine]:
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                return dict(action.choices)
        return {}


def build_parser(command: str = "", epilog: str = "") -> CommandLine:
    """The parser of one command and its family; of all commands, if `command` is not one of them."""
    families = [FAMILIES[command]] if command in FAMILIES else list(dict.fromkeys(FAMILIES.values()))
    parser = CommandLine(prog="diarize", description=PURPOSE, epilog=epilog)
    parser.add_argument("--version", action="version", version=f"diarize-pipeline {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for family in families:
        import_module(f"pipelines.cli.commands.{family}").add(commands)
    return parser


def _path(text: str) -> Path:
    if not text:  # a variable of the shell that is not set; as a path it would be the current folder
        raise argparse.ArgumentTypeError('must be a path, not ""')
    return Path(text)


def _reader(read: Callable[[str], Any], wanted: str) -> Callable[[str], Any]:
    def checked(text: str) -> Any:
        try:
            return read(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f'must be {wanted}, not "{text}"') from None

    return checked


_TYPES: dict[Any, Callable[[str], Any]] = {  # `type` of an argument -> what reads it
    Path: _path,
    int: _reader(int, "a whole number"),
    float: _reader(float, "a number"),
    date.fromisoformat: _reader(date.fromisoformat, "a date, as 2030-12-31"),
}


def _in_plain_words(message: str, parser: CommandLine) -> str:
    """argparse's message as a sentence that begins with the option or argument, as a user types it."""
    if match := re.fullmatch(r"unknown option: (.*)", message):
        hint = _suggest(match[1], parser.options)
        return f"{match[1]}: no such option.{hint}"
    if match := re.fullmatch(r"unrecognized arguments: (.*)", message, re.DOTALL):
        return f'"{match[1]}" is one argument too many.' if " " not in match[1] else f"too many arguments: {match[1]}."
    if match := re.fullmatch(r"the following arguments are required: (.*)", message):
        missing = match[1].split(", ")
        if missing == ["COMMAND"] or missing == ["ACTION"]:
            return f"no {missing[0].lower()} is named. Known: {', '.join(parser.commands)}."
        return f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing."
    if match := re.fullmatch(r"argument (.*?): (.*)", message, re.DOTALL):
        return _about(match[1], match[2], parser)
    return f"{message.rstrip('.')}."


def _about(name: str, problem: str, parser: CommandLine) -> str:
    """What is wrong with one argument."""
    name = name.rpartition("/")[2]  # -q/--quiet
    if match := re.match(r"invalid choice: '(.*?)' \(choose from (.*)\)", problem, re.DOTALL):
        known = [choice.strip("'") for choice in match[2].split(", ")]
        if name in ("COMMAND", "ACTION"):
            return f'there is no {name.lower()} "{match[1]}".{_suggest(match[1], parser.commands, listed=True)}'
        return f'{name} must be one of {", ".join(known)}, not "{match[1]}".{_suggest(match[1], known)}'
    if problem.startswith("expected ") and problem.endswith(("argument", "arguments")):
        return f"{name} needs a value."
    joint = " " if problem.startswith("must ") else ": "
    return f"{name}{joint}{problem.rstrip('.')}."


def _suggest(name: str, known: Iterable[str], listed: bool = False) -> str:
    """What a wrong name probably means; where nothing is similar, nothing, or with `listed` all names."""
    names = tuple(known)
    close = difflib.get_close_matches(name, names, n=1)
    return f" Did you mean {close[0]}?" if close else f" Known: {', '.join(names)}." if listed else ""
