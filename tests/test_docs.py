"""The Python code in the documentation runs."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from diarize.models.registry import REGISTRY

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)#:]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_code_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    if not blocks:
        pytest.skip("no Python on this page")
    monkeypatch.chdir(tmp_path)
    module = ModuleType(page.stem)
    monkeypatch.setitem(sys.modules, page.stem, module)  # dataclasses look their module up
    for block in blocks:
        exec(compile(block, str(page), "exec"), vars(module))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    targets = LINK.findall(page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_every_package_that_is_asked_for_has_its_licence_on_the_page() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {"core": project["dependencies"], **project["optional-dependencies"]}
    asked = {re.split(r"[\s\[<>=!~;]", line, maxsplit=1)[0] for lines in extras.values() for line in lines}
    page = (ROOT / "docs" / "licences.md").read_text(encoding="utf-8")
    named = set(re.findall(r"[\w.-]+", " ".join(re.findall(r"^\| \S+ \| ([^|]*) \|", page, re.MULTILINE))))
    assert asked - named - {project["name"]} == set()


def test_every_model_has_its_licence_on_the_page() -> None:
    page = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    assert [e.name for e in REGISTRY.values() if f"| `{e.name}` | {e.licence} |" not in page] == []


def test_every_package_of_the_environment_for_development_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {"core": project["dependencies"], **project["optional-dependencies"]}
    asked = {_package(line) for name, lines in extras.items() if name != "pyannote" for line in lines}
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert asked - {_package(line) for line in lines} - {_package(project["name"])} == set()


def _package(line: str) -> str:
    """The name that a requirement begins with, as package indexes compare names (PEP 503)."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\s\[<>=!~;]", line, maxsplit=1)[0]).lower()
