"""The store: what is read is what was written, or nothing; and no fault of the disk gets out."""

from __future__ import annotations

import errno
import multiprocessing
import os
import pickle
import stat
from pathlib import Path
from typing import NoReturn

import pytest

from diarize.cache import store
from diarize.cache.store import Cache, CacheUsage, cache_folder

LARGE = 10**9


def entries(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("??/*") if path.is_file())


def entry(kept: Cache, key: str, data: bytes = b"x" * 1000) -> Path:
    before = set(entries(kept.folder))
    kept.put(key, data)
    (made,) = set(entries(kept.folder)) - before
    return made


def aged(path: Path, seconds: float) -> None:
    """As if it had been used so long ago."""
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))


def test_what_is_put_is_there_for_everybody_who_opens_the_folder(tmp_path: Path) -> None:
    kept = Cache(tmp_path / "new" / "stages", LARGE)
    assert kept.get("a") is None
    kept.put("a", b"\x00one")
    kept.put("b", b"")
    kept.put("a", b"two")
    again = Cache(tmp_path / "new" / "stages", LARGE)
    assert (again.get("a"), again.get("b"), again.get("c")) == (b"two", b"", None)
    assert again.status().entries == 2
    assert kept.problem == again.problem == ""


@pytest.mark.skipif(os.name != "posix", reason="rights are POSIX's")
def test_only_the_owner_may_look(tmp_path: Path) -> None:
    kept = Cache(tmp_path / "stages", LARGE)
    path = entry(kept, "words")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in (kept.folder, path.parent)} == {0o700}


@pytest.mark.parametrize("at", [0, 20, 50, 90, 150, -1])
def test_fault_57_a_flipped_bit_is_a_miss_and_the_entry_is_dropped(at: int, tmp_path: Path) -> None:
    kept = Cache(tmp_path, LARGE)
    path = entry(kept, "key")
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    assert kept.get("key") is None
    assert not path.exists()
    kept.put("key", b"again")
    assert kept.get("key") == b"again"


@pytest.mark.parametrize("length", [0, 1, 91, 92, 500, 1091])
def test_fault_57_a_truncated_entry_is_a_miss(length: int, tmp_path: Path) -> None:
    kept = Cache(tmp_path, LARGE)
    path = entry(kept, "key")
    assert len(path.read_bytes()) > 1091
    with path.open("r+b") as file:
        file.truncate(length)
    assert kept.get("key") is None
    assert not path.exists()


def test_fault_57_an_entry_of_another_version_or_of_another_key_is_a_miss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Cache(tmp_path, LARGE)
    one, other = entry(kept, "one", b"1"), entry(kept, "other", b"2")
    one.write_bytes(other.read_bytes())
    assert kept.get("one") is None
    assert kept.get("other") == b"2"
    monkeypatch.setattr(store, "SCHEMA", store.SCHEMA + 1)
    assert kept.get("other") is None


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return os.mkdir, (str(self.path),)


def test_fault_58_a_planted_pickle_is_never_loaded(tmp_path: Path) -> None:
    kept = Cache(tmp_path / "stages", LARGE)
    path = entry(kept, "key")
    path.write_bytes(pickle.dumps(Bomb(tmp_path / "loaded")))
    assert kept.get("key") is None
    kept.put("key", pickle.dumps(Bomb(tmp_path / "loaded")))  # as by somebody who knows how entries look
    assert isinstance(kept.get("key"), bytes)
    assert not (tmp_path / "loaded").exists()


def test_pipes_links_and_folders_in_an_entrys_place_are_misses(tmp_path: Path) -> None:
    kept = Cache(tmp_path / "stages", LARGE)
    path = entry(kept, "key")
    (tmp_path / "elsewhere").write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    assert kept.get("key") is None
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    assert kept.get("key") is None
    path.unlink(missing_ok=True)
    path.mkdir()
    assert kept.get("key") is None


@pytest.mark.parametrize("where", ["open", "mkdir", "replace", "count"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EIO, errno.EACCES, errno.ESTALE])
def test_fault_48_a_disk_that_fails_costs_the_entry_alone(
    where: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Cache(tmp_path / "stages", LARGE)
    kept.put("before", b"0")

    def failing(*arguments: object, **options: object) -> NoReturn:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        target = {
            "mkdir": (Path, "mkdir"),
            "replace": (Path, "replace"),
            "count": (Cache, "_count"),
            "open": (os, "open"),
        }
        patch.setattr(*target[where], failing)
        kept.put("key", b"1")
        assert os.strerror(code) in kept.problem
        if where == "open":
            assert kept.get("before") is None
    assert kept.get("before") == b"0"
    assert list(tmp_path.rglob("*.part")) == []


def test_fault_60_a_place_that_is_a_file_or_below_one_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        kept = Cache(folder, LARGE)
        kept.put("key", b"1")
        assert kept.get("key") is None
        assert kept.probe() == kept.problem != ""
    (tmp_path / "good").mkdir()
    assert Cache(tmp_path / "good", LARGE).probe() == ""


def test_to_ask_whether_something_can_be_kept_makes_no_folder(tmp_path: Path) -> None:
    assert Cache(tmp_path / "new" / "stages", LARGE).probe() == ""
    (tmp_path / "file").touch()
    (tmp_path / "astray").symlink_to("nowhere")
    assert "Not a directory" in Cache(tmp_path / "file" / "stages", LARGE).probe()
    assert "Not a directory" in Cache(tmp_path / "astray" / "stages", LARGE).probe()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["astray", "file"]


def test_a_folder_that_may_not_be_made_is_said_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # nothing is forbidden to root
    assert Cache(tmp_path / "stages", LARGE).probe() == f"{tmp_path / 'stages'}: Permission denied"
    assert not list(tmp_path.iterdir())
    assert entries(tmp_path / "good") == []


def test_fault_60_without_a_home_nothing_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def homeless(name: str) -> NoReturn:
        raise RuntimeError("no home")

    assert cache_folder("none") is None
    assert cache_folder(str(tmp_path)) == tmp_path
    assert cache_folder("auto") == Path(os.environ["DIARIZE_RUN_CACHE"])
    monkeypatch.delenv("DIARIZE_RUN_CACHE")
    there = cache_folder("auto")
    assert there is not None
    assert there.name == "stages"
    monkeypatch.setattr("platformdirs.user_cache_dir", homeless)
    assert cache_folder("auto") is None


def test_what_was_used_longest_ago_goes_first(tmp_path: Path) -> None:
    kept = Cache(tmp_path, LARGE)
    paths = {key: entry(kept, key) for key in ("a", "b", "c", "d")}
    for i, path in enumerate(paths.values()):
        aged(path, 10_000 - i * 1000)
    assert kept.get("a") is not None  # now it is the latest
    size = paths["a"].stat().st_size
    assert kept.prune(2 * size) == CacheUsage(2, 2 * size)
    assert [key for key in paths if kept.get(key) is not None] == ["a", "d"]
    assert kept.prune(2 * size).entries == 2
    kept.clear()
    assert kept.status() == CacheUsage(0, 0)
    assert list(tmp_path.glob("??")) == []


def test_the_bound_is_kept_and_the_folder_is_not_walked_at_every_put(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    most = 64 * 4096 * 16
    kept = Cache(tmp_path, most)
    walks = []
    walk = Cache._entries

    def counted(self: Cache) -> object:
        walks.append(1)
        return walk(self)

    monkeypatch.setattr(Cache, "_entries", counted)
    for i in range(2000):
        Cache(tmp_path, most).put(str(i), b"x" * 4000)  # each a process of its own, as far as counting goes
    assert 0 < len(walks) <= 2000 // 64
    assert kept.status().size <= most
    assert kept.get("1999") is not None


def test_what_would_push_out_too_much_is_not_kept(tmp_path: Path) -> None:
    kept = Cache(tmp_path, 16_000)
    kept.put("large", b"x" * 1001)
    assert kept.get("large") is None
    assert kept.problem == ""


def test_files_that_were_never_finished_are_swept(tmp_path: Path) -> None:
    kept = Cache(tmp_path, LARGE)
    path = entry(kept, "key")
    old, new = path.with_name(f".1-{'a' * 16}.part"), path.with_name(f".1-{'b' * 16}.part")
    for left in (old, new):
        left.write_bytes(b"half")
    aged(old, 100_000)
    assert kept.prune(LARGE).entries == 1
    assert (old.exists(), new.exists()) == (False, True)


def _write(folder: Path, seed: int) -> None:
    kept = Cache(folder, LARGE)
    for i in range(200):
        kept.put(f"key {i % 20}", bytes([i % 20]) * 5000)
        found = kept.get(f"key {(i * seed) % 20}")
        assert found is None or found == bytes([(i * seed) % 20]) * 5000
        if i % 50 == seed:
            kept.prune(50_000)
    assert kept.problem == ""


def test_what_is_no_entry_is_never_dropped(tmp_path: Path) -> None:
    """A folder that was named by mistake: its own files in folders with short names are somebody's."""
    own = [tmp_path / name for name in ("tv/film.mkv", "ab/film.mkv", "ab/.hidden", "ab/.1-a.part", "AB/" + "c" * 62)]
    for path in own:
        path.parent.mkdir(exist_ok=True)
        path.touch()
        aged(path, 10**6)
    kept = Cache(tmp_path, LARGE)
    made = entry(kept, "a")
    assert kept.status().entries == 1
    kept.clear()
    assert not made.exists() and all(path.exists() for path in own)


def test_several_processes_write_read_and_prune_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write, args=(tmp_path, seed)) for seed in (3, 7, 11)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    assert list(tmp_path.rglob("*.part")) == []
