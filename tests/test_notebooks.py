"""The notebooks run from the first cell to the last, and draw something."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from diarize.models.store import Store
from notebooks.execute import private_texts

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
NEEDED = ("ipykernel", "matplotlib", "nbclient", "nbformat")

needs_kernel = pytest.mark.skipif(
    any(find_spec(name) is None for name in NEEDED),
    reason=f"notebooks need {', '.join(NEEDED)}: pip install 'diarize-pipeline[notebook]'",
)
needs_metrics = pytest.mark.skipif(
    find_spec("pyannote") is None or find_spec("pyannote.metrics") is None,
    reason="this notebook needs pyannote.metrics: pip install 'diarize-pipeline[evaluate]'",
)


@pytest.fixture
def run(store: Store, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[Any]]:
    """Runs a notebook and gives what its cells put out. It must draw, complain of nothing, and leave no file."""
    import nbformat
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient

    monkeypatch.setenv("DIARIZE_MODELS", str(store.folder))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(FOLDER.parent), os.environ.get("PYTHONPATH", "")]))

    def executed(name: str) -> list[Any]:
        notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
        before = files()
        with tempfile.TemporaryDirectory(prefix="k") as place:  # a socket's path must be short
            # The kernel of the environment that runs the tests, spoken to through files in place of ports.
            kernel = AsyncKernelManager(kernel_name="python3", transport="ipc", ip=f"{place}/k")
            client = NotebookClient(notebook, km=kernel, timeout=240, resources={"metadata": {"path": str(FOLDER)}})
            client.execute(cleanup_kc=True)
        outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
        assert any("image/png" in output.get("data", {}) for output in outputs)
        assert not any(output.get("name") == "stderr" for output in outputs)
        assert files() == before
        return outputs

    return executed


def files() -> set[Path]:
    """What lies where a notebook runs, and where its recording is."""
    return {path for folder in (FOLDER, FOLDER.parent / "examples") for path in folder.iterdir()}


def said(outputs: list[Any]) -> str:
    return "".join(output["text"] for output in outputs if output.get("name") == "stdout")


@needs_kernel
@needs_metrics
def test_the_timeline_runs_and_draws(run: Callable[[str], list[Any]]) -> None:
    assert "diarization error rate" in said(run("timeline"))


@needs_kernel
def test_names_are_given_to_those_who_are_enrolled_alone(run: Callable[[str], list[Any]]) -> None:
    text = said(run("names"))
    assert re.findall(r"^SPEAKER_\d+ +[\d.]+ s  (\w+)", text, re.MULTILINE) == ["Nora", "Felix", "Hamish", "unknown"]
    assert set(re.findall(r" to [\d. ]+ s  (\w+)", text)) == {"counted"}  # of the stretches given to enrolment
    assert re.search(r"^eer +0\.\d+", text, re.MULTILINE)


@needs_kernel
@needs_metrics
def test_corrections_are_made_exported_and_scored(run: Callable[[str], list[Any]]) -> None:
    text = said(run("corrections"))
    assert "1 SPEAKER_01 is Nora" in text and "[Nora]: Good morning" in text
    assert re.search(r"^DER +[\d.]+ %", text, re.MULTILINE) and "speaker of a word: SPEAKER_03 -> Nora" in text


def test_every_notebook_is_run_by_a_test_of_its_own() -> None:
    assert {path.stem for path in NOTEBOOKS} == {"timeline", "names", "corrections"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_with_its_outputs_and_without_paths_and_times(path: Path) -> None:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))  # run once, from top to bottom
    outputs = [output for cell in code for output in cell["outputs"]]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert any(output.get("name") == "stdout" for output in outputs)
    assert private_texts(notebook) == []
    assert all("execution" not in cell["metadata"] for cell in code)
    assert notebook["metadata"]["language_info"] == {"name": "python"}


@pytest.mark.parametrize("text", ["/home/anna/a.wav", "/tmp/x/", "C:\\Users", "2031-05-02T10:00:03"])
def test_private_texts_are_seen(text: str) -> None:
    output = {"output_type": "stream", "name": "stdout", "text": [text]}
    assert private_texts({"cells": [{"outputs": [output]}]})
    assert private_texts({"cells": [{"outputs": [{"output_type": "display_data", "data": {"text/plain": text}}]}]})
    assert private_texts({"cells": [{"outputs": [{**output, "name": "stderr", "text": ["a warning"]}]}]})
    assert not private_texts({"cells": [{"source": [text]}, {"outputs": [{**output, "text": ["4.0 %"]}]}]})
