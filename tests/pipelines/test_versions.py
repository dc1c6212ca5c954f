"""What is installed and may change a result, and above all this product's own code."""

from __future__ import annotations

from pathlib import Path

import diarize
from pipelines import versions


def test_fault_56_any_file_of_the_code_counts_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "small"
    (folder / "__pycache__").mkdir(parents=True)
    (folder / "stage.py").write_text("x = 1\n")
    (folder / "known.npz").write_bytes(b"\0")
    before = versions.hash_code([folder])
    (folder / "__pycache__" / "stage.cpython-311.pyc").write_bytes(b"compiled")
    (folder / ".stage.py.swp").write_bytes(b"an editor's")
    assert versions.hash_code([folder]) == before
    (folder / "known.npz").write_bytes(b"\1")
    changed = versions.hash_code([folder])
    assert changed != before
    (folder / "stage.py").rename(folder / "another.py")
    assert versions.hash_code([folder]) not in (before, changed)


def test_the_product_is_among_the_versions_with_its_code() -> None:
    own = versions.versions()[versions.OWN]
    assert own == f"{diarize.__version__}+{versions.hash_code(versions.ROOTS)[:16]}"
    assert {Path(diarize.__file__).parent, Path(versions.__file__).parent} == set(versions.ROOTS)
