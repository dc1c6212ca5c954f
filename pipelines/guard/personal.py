"""What follows from an identity: the preferences of a person, and a command or function that gets them as data.

Nothing is guessed: a speaker who was not named has no person, no candidates and no preferences.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diarize.errors import ConfigError
from diarize.library.database.guard_rows import MOST_PREFERENCES
from diarize.library.store import Library
from pipelines.people.identify import Identification

PATIENCE = 60.0  # s that a command may take
SECRETS = ("DIARIZE_PASSPHRASE",)  # variables that a command does not get

OnPerson = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class CommandFailure:
    """A command that failed for one speaker."""

    recording: str
    speaker: str
    problem: str


def events(identification: Identification, library: Library) -> tuple[dict[str, Any], ...]:
    """One event a speaker, ready for JSON: who it is, the log-likelihood ratio, and their preferences.

    Of a speaker who was not named, `person` and `score` are None and `preferences` is empty.
    """
    happened = []
    for recording in identification.recordings:
        for each in recording.speakers:
            speaker = each.speaker
            llrs = [candidate.llr for candidate in speaker.candidates if candidate.voice == speaker.voice]
            is_named = speaker.voice is not None and speaker.name is not None
            event: dict[str, Any] = {
                "schema": "diarize-person/1",
                "recording": recording.name,
                "speaker": speaker.id,
                "seconds": each.seconds,
                "person": {"id": speaker.voice, "name": speaker.name} if is_named else None,
                "score": llrs[0] if is_named and llrs else None,
                "preferences": library.guard.preferences(speaker.voice) if is_named and speaker.voice else {},
            }
            happened.append(event)
    return tuple(happened)


def parse_command(text: str) -> tuple[str, ...]:
    """A command and its arguments, as a shell would split them; no shell runs. Raises ConfigError."""
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise ConfigError("--then", text, f"cannot be split into words ({error})") from error
    if not words:
        raise ConfigError("--then", repr(text), "names no command")
    return words


def run_command(command: tuple[str, ...], happened: Iterable[dict[str, Any]]) -> tuple[CommandFailure, ...]:
    """Start the command once for each event, which it gets as one line of JSON on standard input.

    Raises ConfigError where there is no such command.
    """
    environment = {key: value for key, value in os.environ.items() if key not in SECRETS}
    failures = []
    for event in happened:
        line = json.dumps(event).encode("ascii") + b"\n"
        try:
            done = subprocess.run(list(command), input=line, timeout=PATIENCE, check=False, env=environment)
            problem = f"its exit status is {done.returncode}" if done.returncode else ""
        except subprocess.TimeoutExpired:
            problem = f"it was stopped after {PATIENCE:.0f} s"
        except OSError as error:
            raise ConfigError("--then", command[0], f"cannot be started ({error.strerror})") from error
        if problem:
            failures.append(CommandFailure(event["recording"], event["speaker"], problem))
    return tuple(failures)


def call(function: OnPerson, happened: Iterable[dict[str, Any]]) -> None:
    """Call a function of the user's own with each event; its exceptions are the caller's."""
    for event in happened:
        function(event)


def read_preferences(path: Path) -> dict[str, Any]:
    """The preferences in a JSON file. Raises ConfigError for anything but an object of limited size."""
    try:
        with path.open("rb") as file:
            data = file.read(MOST_PREFERENCES + 1)
        if len(data) > MOST_PREFERENCES:
            raise ValueError(f"it has more than {MOST_PREFERENCES} bytes")
        value = json.loads(data, parse_constant=_refuse)
        if not isinstance(value, dict):
            raise ValueError("it is no object: { ... }")
    except OSError as error:
        raise ConfigError("--set", str(path), f"cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError("--set", str(path), f"these are no preferences: {error}") from error
    return value


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no number")
