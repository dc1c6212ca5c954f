"""The Python code in the documentation runs, its links lead somewhere, and the index lists every page."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from diarize.models.registry import REGISTRY

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", ROOT / "examples" / "README.md", *DOCS.rglob("*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)#:]*)(?:#([^):]*))?\)")
CODE = sorted(
    path for room in ("diarize", "pipelines", "benchmarks", "notebooks") for path in (ROOT / room).rglob("*.*")
)


def _name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_code_blocks_run(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    if not blocks:
        pytest.skip("no Python on this page")
    if any("examples/" in block for block in blocks):
        (tmp_path / "examples").symlink_to(ROOT / "examples")
        monkeypatch.setenv("DIARIZE_MODELS", str(request.getfixturevalue("store").folder))
    monkeypatch.chdir(tmp_path)
    module = ModuleType(page.stem)
    monkeypatch.setitem(sys.modules, page.stem, module)  # dataclasses look their module up
    for block in blocks:
        exec(compile(block, str(page), "exec"), vars(module))


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    links = LINK.findall(page.read_text(encoding="utf-8"))
    assert [target for target, _ in links if not (page.parent / target).exists()] == []
    anchors = [(page.parent / target if target else page, anchor) for target, anchor in links if anchor]
    assert [(_name(target), anchor) for target, anchor in anchors if anchor not in _anchors(target)] == []


def test_the_index_lists_every_page_once() -> None:
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    listed = sorted((DOCS / target).resolve() for target, _ in LINK.findall(index))
    assert listed == sorted(page.resolve() for page in DOCS.rglob("*.md") if page.name != "index.md")


def test_pages_that_the_code_names_exist() -> None:
    texts = {path: path.read_text(encoding="utf-8") for path in CODE if path.suffix in {".py", ".ipynb"}}
    named = [(_name(path), page) for path, text in texts.items() for page in re.findall(r"docs/[\w/-]+\.md", text)]
    assert named
    assert [(path, page) for path, page in named if not (ROOT / page).is_file()] == []


def _anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


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
