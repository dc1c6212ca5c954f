"""The files in docker/ name packages, extras and options that exist."""

from __future__ import annotations

import json
import re
import shlex
import tomllib

import pytest

from pipelines.cli.command_line import build_parser
from tests.pipelines.service.servers import ROOT

FOLDER = ROOT / "docker"
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def _commands() -> list[list[str]]:
    """The arguments of `diarize` in all files."""
    image = (FOLDER / "Dockerfile").read_text()
    compose = (FOLDER / "compose.yaml").read_text()
    unit = (FOLDER / "diarize.service").read_text()
    lists = [*re.findall(r"^CMD (\[.*\])$", image, re.M), *re.findall(r"command:\s*(\[.*?\])", compose, re.S)]
    in_comments = re.sub(r"\\\n#", " ", compose)
    lines = re.findall(r"^ExecStart=\S+/diarize (.*)$", unit, re.M)
    lines += re.findall(r"^# .*--rm voice (serve keys add .*)$", in_comments, re.M)
    assert len(lists) == len(lines) == 2
    return [*map(json.loads, lists), *map(shlex.split, lines)]


@pytest.mark.parametrize("words", _commands(), ids=" ".join)
def test_the_commands_of_the_files_are_valid(words: list[str]) -> None:
    args = build_parser(words[0]).parse(words)
    assert str(args.data).startswith(("/data", "/var/lib/diarize"))


def test_the_extras_of_the_files_exist() -> None:
    for path in FOLDER.iterdir():
        for names in re.findall(r"(?:\.|diarize-pipeline)\[([a-z,]+)\]", path.read_text()):
            assert set(names.split(",")) <= set(EXTRAS), path


def test_the_image_runs_without_rights_and_without_secrets() -> None:
    image = (FOLDER / "Dockerfile").read_text()
    stages = image.split("FROM ")[1:]
    assert "\nUSER diarize\n" in stages[-1]
    assert not re.search(r"PASSWORD=|PASSPHRASE=|dz_", image + (FOLDER / "compose.yaml").read_text())
    assert all((ROOT / name).exists() for name in re.findall(r"--constraint (\S+)", image))
