"""The notebooks run from the first cell to the last, and draw something."""

from __future__ import annotations

import os
import tempfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from diarize.models.store import Store

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
NEEDED = ("ipykernel", "matplotlib", "nbclient", "nbformat", "pyannote.metrics")

needs_kernel = pytest.mark.skipif(
    find_spec("pyannote") is None or any(find_spec(name) is None for name in NEEDED),
    reason=f"notebooks need {', '.join(NEEDED)}: pip install 'diarize-pipeline[notebook,evaluate]'",
)


@needs_kernel
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_draws(path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    import nbformat
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient

    monkeypatch.setenv("DIARIZE_MODELS", str(store.folder))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(FOLDER.parent), os.environ.get("PYTHONPATH", "")]))
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory(prefix="k") as place:  # a socket's path must be short
        # The kernel of the environment that runs the tests, spoken to through files in place of ports.
        kernel = AsyncKernelManager(kernel_name="python3", transport="ipc", ip=f"{place}/k")
        client = NotebookClient(notebook, km=kernel, timeout=240, resources={"metadata": {"path": str(FOLDER)}})
        client.execute(cleanup_kc=True)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert not any(output.get("name") == "stderr" for output in outputs)


@needs_kernel
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_its_results(path: Path) -> None:
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code and all(cell.outputs == [] and cell.execution_count is None for cell in code)
