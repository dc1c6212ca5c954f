"""Run the notebooks and store their outputs: `python notebooks/execute.py [NAME ...]` (docs/notebooks.md).

What is stored has no times of execution; a cell that printed a path of this machine, or a warning, is an error.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
PRIVATE = re.compile(r"/(?:home|root|tmp|Users|var|work|mnt|opt|srv)/|[A-Z]:\\|\d{4}-\d\d-\d\dT\d\d:\d\d")


def execute(path: Path, folder: Path = FOLDER) -> Any:
    """The notebook with the outputs of a run in `folder`. Raises CellExecutionError where a cell fails."""
    import nbformat
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(FOLDER.parent), os.environ.get("PYTHONPATH", "")])
    with tempfile.TemporaryDirectory(prefix="k") as place:  # a socket's path must be short
        kernel = AsyncKernelManager(kernel_name="python3", transport="ipc", ip=f"{place}/k")
        client = NotebookClient(
            notebook, km=kernel, timeout=1200, record_timing=False, resources={"metadata": {"path": str(folder)}}
        )
        client.execute(cleanup_kc=True)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = _joined(cell.outputs)
    notebook.metadata["language_info"] = {"name": "python"}  # not the version of this machine's Python
    return notebook


def _joined(outputs: list[Any]) -> list[Any]:
    """Outputs in which consecutive parts of one stream are one, however the kernel has sent them."""
    joined: list[Any] = []
    for output in outputs:
        if joined and output.get("name") is not None and output.get("name") == joined[-1].get("name"):
            joined[-1]["text"] += output["text"]
        else:
            joined.append(output)
    return joined


def private_texts(notebook: Any) -> list[str]:
    """What a stored notebook must not hold: paths of a machine, times, messages on standard error."""
    texts = []
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            text = json.dumps({key: value for key, value in output.items() if key != "data"})
            text += json.dumps({kind: data for kind, data in output.get("data", {}).items() if kind != "image/png"})
            texts += PRIVATE.findall(text)
            if output.get("name") == "stderr":
                texts.append(f"stderr: {output['text']}")
    return texts


def main(names: list[str]) -> int:
    import nbformat

    status = 0
    for path in sorted(FOLDER.glob("*.ipynb")):
        if names and path.stem not in names:
            continue
        notebook = execute(path)
        if texts := private_texts(notebook):
            print(f"{path.name}: not stored, it holds {texts}", file=sys.stderr)
            status = 1
        else:
            nbformat.write(notebook, path)
            print(f"{path.name}: stored")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
