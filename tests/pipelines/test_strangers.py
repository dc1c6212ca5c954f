"""Unknown people are called the same however their recordings came to be done: at once, in pieces, or in parts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from diarize import files
from diarize.errors import ConfigError
from diarize.library import enrolled
from pipelines import recording
from pipelines.batch import merge, worker
from pipelines.inputs.jobs import Job
from pipelines.inputs.shards import Shard
from pipelines.results import outputs, voiceprints
from pipelines.results.outcomes import Outcome
from tests.cheap import write_tones
from tests.library.scoring.test_identification import PLAIN
from tests.pipelines.inprocess import InProcess, contents

LINK = ("--link",)
TONES = replace(PLAIN, bandwidth=(100.0, 8000.0))


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> InProcess:
    monkeypatch.setattr(enrolled, "calibration_of", lambda model, config: TONES)
    monkeypatch.setattr(merge, "calibration_of", lambda model, config: TONES)
    return InProcess(monkeypatch)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    for number, name in enumerate(("a", "b", "c", "d")):
        tones = [(300, 4.0 + number / 10), (2500, 4.0)] if number % 2 else [(2500, 4.0 + number / 10), (900, 4.0)]
        write_tones(tmp_path / "in" / f"{name}.wav", tones)
    yield tmp_path


def voices(out: Path) -> list[str]:
    return sorted(path.parent.name for path in out.glob(f"*/{voiceprints.NAME}"))


def test_a_whole_run_leaves_labels_and_no_voices_and_needs_nothing_done_again(run: InProcess, place: Path) -> None:
    assert run(place / "in", place / "out", *LINK) == 0
    before = contents(place / "out")
    text = "".join(json.dumps(data.decode()) for name, data in before.items() if name.endswith("transcript.json"))
    assert "unknown-1" in text and "unknown-2" in text
    assert voices(place / "out") == []
    assert run(place / "in", place / "out", *LINK) == 0
    assert run.processed == []
    assert contents(place / "out") == before


def test_interrupted_the_voices_stay_for_the_next_run(run: InProcess, place: Path) -> None:
    def full(job: Job) -> Outcome | None:
        item = job.input
        return Outcome(item.id, item.name, "failed", "write", "full", environment=True) if item.id == "c" else None

    run.before = full
    assert run(place / "in", place / "out", *LINK) == 5
    assert voices(place / "out") == ["a", "b"]
    assert (place / "out" / "a" / voiceprints.NAME).stat().st_mode & 0o077 == 0
    run.before = lambda job: None
    assert run(place / "in", place / "out", *LINK) == 0
    assert run.processed == ["c", "d"]
    assert run(place / "in", place / "whole", *LINK) == 0
    assert contents(place / "out") == contents(place / "whole")


def test_a_recording_that_changes_before_it_is_written_fails_and_leaves_no_voices(
    run: InProcess, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def transcribe(heard: Any, *rest: Any, **options: Any) -> Any:
        found = recording.transcribe(heard, *rest, **options)
        if heard.audios[0].id == "a":
            assert found[1] is not None
            with (place / "in" / "a.wav").open("ab") as file:
                file.write(b"more")
        return found

    monkeypatch.setattr(worker, "transcribe", transcribe)
    assert run(place / "in", place / "out", *LINK) == 3
    rows = {row["id"]: row for row in json.loads((place / "out" / "run.json").read_text())["recordings"]}
    assert (rows["a"]["status"], rows["a"]["stage"]) == ("failed", "read")
    assert rows["a"]["reason"].startswith("changed while it was processed")
    assert rows["b"]["status"] == "done"
    assert not (place / "out" / "a" / outputs.TRANSCRIPT).exists()
    assert voices(place / "out") == []


def test_a_recording_more_calls_for_all_voices_again(run: InProcess, place: Path) -> None:
    later = (place / "in" / "b.wav").rename(place / "b.wav")
    assert run(place / "in", place / "out", *LINK) == 0
    shutil.copy(later, place / "in")
    assert run(place / "in", place / "out", *LINK) == 0
    assert run.processed == ["a", "b", "c", "d"]  # from the stage cache
    assert run(place / "in", place / "whole", *LINK) == 0
    assert contents(place / "out") == contents(place / "whole")


def test_parts_are_linked_when_they_are_joined(run: InProcess, place: Path) -> None:
    for index in (1, 2, 3):
        assert run(place / "in", place / "out", "--shard", f"{index}/3", *LINK) == 0
        assert run(place / "in", place / str(index), "--shard", f"{index}/3", *LINK) == 0
    assert voices(place / "out") == ["a", "b", "c", "d"]
    merge.merge([place / "out"], place / "out")
    merge.merge([place / "1", place / "2", place / "3"], place / "joined")
    assert run(place / "in", place / "whole", *LINK) == 0
    assert contents(place / "out") == contents(place / "whole")
    assert contents(place / "joined") == contents(place / "whole")


def test_a_merging_that_is_cut_short_is_completed_by_the_same_command(
    run: InProcess, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each moment at which something has just been taken away that another one would need."""
    assert run(place / "in", place / "whole", *LINK) == 0
    for index in (1, 2):
        assert run(place / "in", place / "parts", *LINK, "--shard", f"{index}/2") == 0
    places = ((files, "_remove"), (voiceprints, "delete"), (merge, "_remove_part"))
    for moment in range(1, 100):
        out = shutil.copytree(place / "parts", place / f"out{moment}")
        left = [moment]

        def cut(real: Callable[..., None], left: list[int]) -> Callable[..., None]:
            def done(*given: Any) -> None:
                real(*given)
                left[0] -= 1
                if left[0] == 0:
                    raise KeyboardInterrupt

            return done

        with monkeypatch.context() as patch:
            for module, name in places:
                patch.setattr(module, name, cut(getattr(module, name), left))
            with suppress(KeyboardInterrupt):
                merge.merge([out], out)
        if left[0] > 0:
            break
        if list(out.glob("run.shard-*")):  # else it was over
            assert merge.merge([out], out) == 4
        assert contents(out) == contents(place / "whole")
    assert moment > 8


def test_a_merging_that_was_cut_short_and_lost_its_report_is_refused_with_what_to_do(
    run: InProcess, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def parts() -> None:
        for index in (1, 2):
            assert run(place / "in", place / "out", *LINK, "--shard", f"{index}/2") == 0

    def killed(out: Path, shard: Shard) -> None:
        raise KeyboardInterrupt

    assert run(place / "in", place / "whole", *LINK) == 0
    parts()
    with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
        patch.setattr(merge, "_remove_part", killed)
        merge.merge([place / "out"], place / "out")
    (place / "out" / "run.json").unlink()
    with pytest.raises(
        ConfigError, match=r"run\.json: the report of the joined run is gone.*commands of all --shard parts"
    ):
        merge.merge([place / "out"], place / "out")
    parts()
    merge.merge([place / "out"], place / "out")
    assert contents(place / "out") == contents(place / "whole")


def test_voices_that_are_not_what_was_written_are_nothing(tmp_path: Path) -> None:
    (tmp_path / voiceprints.NAME).write_text("{}")
    assert voiceprints.load(tmp_path, "0" * 64) is None
    assert voiceprints.load(tmp_path / "nowhere", "0" * 64) is None
    voiceprints.delete(tmp_path)
    assert not (tmp_path / voiceprints.NAME).exists()
