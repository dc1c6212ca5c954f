"""The built page is that of its source; types and tests of the source, where its packages are installed."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WEB = ROOT / "web"
PAGE = ROOT / "pipelines" / "review" / "page"


def test_the_page_is_built_from_its_source() -> None:
    names = [path.relative_to(WEB).as_posix() for path in (WEB / "src").rglob("*") if path.is_file()]
    digest = hashlib.sha256()
    for name in sorted([*names, "tests/replay.ts", "build.mjs", "package-lock.json"]):
        digest.update(f"{name}\n".encode() + (WEB / name).read_bytes() + b"\n")
    assert (PAGE / "source.sha256").read_text("ascii").strip() == digest.hexdigest(), (
        "run: cd web && npm ci && npm run build"
    )


def test_the_page_needs_nothing_else() -> None:
    """No address of another server but those of XML names, no eval, and the licence of what it contains."""
    script = (PAGE / "review.js").read_text("utf-8")
    addresses = {
        part.partition("`")[0].partition('"')[0] for part in script.split("http")[1:] if part[:3] in ("://", "s:/")
    }
    assert all(address.startswith("://www.w3.org/") for address in addresses), addresses
    assert "eval(" not in script and "new Function" not in script
    assert "preact" in (PAGE / "LICENSES.txt").read_text("utf-8")


def test_text_never_becomes_html() -> None:
    assert not [path for path in (WEB / "src").rglob("*.ts*") if "nnerHTML" in path.read_text("utf-8")]


@pytest.mark.parametrize("command", ["check", "test"])
def test_types_and_tests_of_the_source(command: str) -> None:
    npm = shutil.which("npm")
    if npm is None or not (WEB / "node_modules").is_dir():
        pytest.skip("web/node_modules is not installed: cd web && npm ci")
    done = subprocess.run([npm, "run", command], cwd=WEB, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
