"""Attacks on a case: what `case verify` finds, and what nobody can find without a hash that is stored elsewhere."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from diarize.library.scoring import calibration as calibrations
from diarize.models.store import Store
from pipelines.evidence import comparison, folder, log, notes, rederivation, report
from pipelines.evidence.folder import Case
from pipelines.people.utterance import UtteranceEmbedder
from tests.pipelines.evidence.conftest import ACCEPTED

ATTACKS = 300
DATE = datetime(2026, 12, 1, tzinfo=UTC)


@pytest.fixture
def whole(compared: Case) -> Case:
    case = notes.add(compared, "remark", "A. Beck", "A remark.")
    return report.write(case, ["en"], ["html"], DATE)


def flip(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << chance.randrange(8))]) + data[at + 1 :]


def cut(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data))]


def insert(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data) + 1)
    return data[:at] + bytes([chance.choice((9, 10, 32, 48, 65))]) + data[at:]


def test_every_change_of_a_byte_of_any_file_is_found(whole: Case, store: Store) -> None:
    chance = random.Random(0)
    paths = sorted(path for path in whole.folder.rglob("*") if path.is_file())
    assert len(paths) > 15
    for number in range(ATTACKS - 40):
        path = chance.choice(paths)
        before = path.read_bytes()
        path.write_bytes(chance.choice((flip, cut, insert))(before, chance))
        problems = folder.examine(whole.folder)[1]
        assert problems, f"attack {number}: {path}"
        path.write_bytes(before)
    assert folder.examine(whole.folder)[1] == []


def test_lines_of_the_log_that_are_moved_or_removed_are_found(whole: Case) -> None:
    chance = random.Random(1)
    path = whole.folder / "log.jsonl"
    before = path.read_bytes()
    lines = before.splitlines(keepends=True)
    for number in range(40):
        changed = list(lines)
        if number % 2:
            del changed[chance.randrange(len(changed))]
        else:
            i, j = chance.sample(range(len(changed)), 2)
            changed[i], changed[j] = changed[j], changed[i]
        path.write_bytes(b"".join(changed))
        assert folder.examine(whole.folder)[1], number
    path.write_bytes(before)


def test_files_that_are_added_removed_or_replaced_by_links_are_found(whole: Case, tmp_path: Path) -> None:
    place = whole.folder
    one = place / "0004-compare" / "comparison.json"
    attacks: list[Callable[[], object]] = [
        lambda: (place / "more.txt").write_text("x"),
        lambda: (place / ".hidden").write_text("x"),
        lambda: (place / "0004-compare" / "note.txt").write_text("x"),
        lambda: (place / "0099-note").mkdir(),
        lambda: one.unlink(),
        lambda: shutil.rmtree(place / "0005-note"),
        lambda: _replace_by_link(one, tmp_path / "c.json"),
        lambda: one.rename(one.with_name("Comparison.json")),
        lambda: (place / "log.head").unlink(),
        lambda: (place / "0005-note").rename(place / "0007-note"),
    ]
    for i, attack in enumerate(attacks):
        copy = tmp_path / f"copy{i}"
        shutil.copytree(place, copy)
        attack()
        assert folder.examine(place)[1], i
        shutil.rmtree(place)
        shutil.copytree(copy, place)
    assert folder.examine(place)[1] == []


def test_another_model_in_the_store_is_found(
    whole: Case, store: Store, monkeypatch: pytest.MonkeyPatch, embedder: UtteranceEmbedder
) -> None:
    other = replace(embedder.embedder, name="another pitch")  # type: ignore[type-var]
    monkeypatch.setattr(
        rederivation, "load_embedder", lambda config, store: replace(embedder, embedder=other, models={"ge2e": "ab"})
    )
    told = [d.what for d in rederivation.verify(whole.folder, store).differences]
    assert any("another embedder" in what for what in told) and any("another models" in what for what in told)


def test_another_calibration_of_the_same_name_is_found(
    whole: Case, store: Store, calibration: Path, embedder: UtteranceEmbedder, tmp_path: Path
) -> None:
    path = whole.folder / "0004-compare" / "calibration.json"
    stricter = replace(calibrations.load(calibration), weights=(-9.0, 20.0, 0.5))
    stricter.save(path)
    assert {d.where for d in folder.examine(whole.folder)[1]} == {"0004-compare/calibration.json"}
    stricter.save(tmp_path / calibration.name)  # used in a new comparison, its digest is another
    case = _rewritten(whole, lambda acts: acts[:3], tmp_path / "again")
    own = comparison.calibration_for(embedder, tmp_path / calibration.name)
    case, record = comparison.compare(case, embedder, own, ACCEPTED)
    assert record["calibration"]["sha256"] != whole.acts[3].detail["calibration"]


def test_a_log_written_anew_is_found_by_a_hash_that_was_noted(whole: Case, store: Store, tmp_path: Path) -> None:
    """Who may write the whole folder can compute a new chain. Nothing in the folder can show it; a noted hash does."""
    noted = whole.acts[-1].hash
    case = _rewritten(whole, lambda acts: [replace(acts[0], operator="somebody else"), *acts[1:4]], tmp_path / "new")
    assert rederivation.verify(case.folder, store, models=False).differences == []  # not findable alone
    result = rederivation.verify(case.folder, store, models=False, expect=noted)
    assert ["no line has the hash" in d.what for d in result.differences] == [True]


def test_figures_that_were_recorded_wrongly_are_found_in_an_intact_log(
    whole: Case, store: Store, tmp_path: Path
) -> None:
    text = whole.read(whole.acts[3], "comparison.json").decode()
    row = whole.read_json(whole.acts[3], "comparison.json")["results"][0]
    forged = text.replace(repr(row["llr"]), "5.0").replace(repr(row["log10"]), "2.1714724095162588")
    assert forged != text
    case = _rewritten(whole, lambda acts: acts[:3], tmp_path / "forged")
    content: dict[str, str | bytes] = {
        "comparison.json": forged,
        "calibration.json": whole.read(whole.acts[3], "calibration.json"),
    }
    case = case.record("compare", dict(whole.acts[3].detail), content)
    told = rederivation.verify(case.folder, store, models=False).differences
    assert any("llr: 5.0 is recorded" in d.what for d in told)


def _replace_by_link(path: Path, other: Path) -> None:
    shutil.move(path, other)
    path.symlink_to(other)


def _rewritten(case: Case, change: Callable[[list[log.Act]], list[log.Act]], place: Path) -> Case:
    """A copy of a case with other lines in its log, and all hashes computed anew."""
    shutil.copytree(case.folder, place)
    acts: list[log.Act] = []
    for act in change(list(case.acts)):
        line = {**asdict(act), "number": len(acts) + 1, "previous": acts[-1].hash if acts else log.START}
        line.pop("hash")
        acts.append(log.Act(**line, hash=log.hash_line(line)))
    (place / log.LOG).write_bytes(log.dumps(acts))
    (place / log.HEAD).write_bytes(log.head(acts))
    wanted = {folder.name_of(act) for act in acts}
    for path in list(place.iterdir()):
        if path.is_dir() and path.name not in wanted:
            shutil.rmtree(path)
    return folder.open_case(place)
