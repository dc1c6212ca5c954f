"""Recordings on a real Ray cluster of two nodes, one of which is lost while it works."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from diarize.errors import ConfigError
from pipelines.batch import ray_pool
from tests.cheap import SETTINGS, write_tones

ROOT = Path(__file__).parents[3]

pytest.importorskip("ray", reason="the extra `ray` is not installed")


@pytest.fixture
def nodes() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """(the cluster's process, its address)."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-m", "tests.pipelines.ray_nodes"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT, env=environment,
    ) as process:  # fmt: skip
        assert process.stdin is not None and process.stdout is not None
        address = process.stdout.readline().strip()
        if ":" not in address:
            process.kill()
            pytest.skip("no Ray cluster can be started on this machine")
        try:
            yield process, address
        finally:
            process.stdin.close()
            process.wait(60)


def results(out: Path) -> dict[str, bytes]:
    """All files of a run but those that say when and where."""
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name != "provenance.json" and not path.name.startswith(".")
    }


@pytest.mark.slow
def test_a_node_is_lost_and_no_recording_with_it(tmp_path: Path, nodes: tuple[subprocess.Popen[str], str]) -> None:
    cluster, address = nodes
    assert cluster.stdin is not None and cluster.stdout is not None
    folder = tmp_path / "recordings"
    for i in range(6):
        write_tones(folder / f"r{i}.wav", [(200 + 100 * i, 2), (900, 2)])
    write_tones(folder / "segfault.wav", [(300, 2), (700, 3)])
    (folder / "text.wav").write_text("no sound", encoding="utf-8")
    slow = [*SETTINGS[:2], "--embedder=tests.cheap:slow_embedder", *SETTINGS[3:]]
    base = [sys.executable, "run_pipeline.py", "process", str(folder), *slow]

    here = subprocess.run([*base, "--out", str(tmp_path / "here")], cwd=ROOT, capture_output=True, text=True)
    with subprocess.Popen(
        [*base, "--out", str(tmp_path / "there"), "--engine", "ray", "--ray-address", address, "-v"],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as run:  # fmt: skip
        until = time.monotonic() + 120
        while not list((tmp_path / "there").glob("*/transcript.json")) and time.monotonic() < until:
            assert run.poll() is None, run.communicate()[0]
            time.sleep(0.1)
        cluster.stdin.write("\n")
        cluster.stdin.flush()
        assert cluster.stdout.readline() == "killed\n"
        said, _ = run.communicate(timeout=200)

    assert (here.returncode, run.returncode) == (3, 3), (here.stderr, said)
    rows = {row["id"]: row for row in json.loads((tmp_path / "there" / "run.json").read_text())["recordings"]}
    assert {row["status"] for id, row in rows.items() if id.startswith("r")} == {"done"}
    assert rows["segfault"]["status"] == "crashed" and "exit status 139" in rows["segfault"]["reason"]
    assert rows["text"]["status"] == "failed"
    assert "lost" in said
    assert results(tmp_path / "there") == results(tmp_path / "here")


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nowhere", "127.0.0.1:99999"])
def test_an_address_where_nothing_answers_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="--ray-address") as refused, ray_pool.connected(address):
        pass
    assert address in str(refused.value) and "host:port" in str(refused.value)
