"""Sources list the utterances that they hold, and say what cannot be used. Hostile ones do nothing else."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from diarize.audio import reading
from diarize.errors import AudioError, ConfigError, FormatError, OutputError
from diarize.training.data import archives, corpora
from diarize.training.data import clips as clips_of
from diarize.training.data.corpora import LabelledUtterance, Skipped
from tests.training.voices import RATE, clips_from, folder_of_speakers, manifest, speech, write_wav


def listed(kind: str, path: Path, table: str = "validated.tsv") -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    skipped = Skipped()
    return [(u.speaker, u.id) for u in corpora.read(kind, path, table, skipped)], skipped.reasons


def read_recording(path: Path, id: str) -> reading.Recording:
    return reading.read(path, id=id)


def test_a_folder_of_speakers(tmp_path: Path) -> None:
    folder = folder_of_speakers(tmp_path / "voices", 2, 1)
    write_wav(folder / "speaker1" / "day2" / "b.wav", speech(1, 5))
    (folder / "speaker0" / "notes.txt").write_text("x")
    (folder / "speaker0" / ".hidden.wav").write_bytes(b"x")
    (folder / "speaker0" / "link.wav").symlink_to("/etc/passwd")
    (folder / "everything").symlink_to("/")
    write_wav(folder / "whose.wav", speech(3, 0))
    assert listed("folder", folder) == (
        [("speaker0", "speaker0/0.wav"), ("speaker1", "speaker1/0.wav"), ("speaker1", "speaker1/day2/b.wav")],
        [("whose.wav", "is in no folder of a speaker")],
    )
    skipped = Skipped()
    nameless = [u for u in corpora.read("folder", folder, "", skipped, unlabelled=True) if u.id == "whose.wav"]
    assert [u.speaker for u in nameless] == [corpora.UNLABELLED] and not skipped.reasons
    with pytest.raises(ConfigError, match="does not exist"):
        listed("folder", tmp_path / "nothing")


def test_manifests(tmp_path: Path) -> None:
    rows = [("a.wav", "anna", "de"), ("b.wav", "anna", "en"), ("", "bob", "en"), ("c.wav", "bob", "")]
    path = manifest(tmp_path / "m.csv", rows, ("path", "speaker", "language"))
    expected = [("de/anna", "a.wav"), ("en/anna", "b.wav"), ("bob", "c.wav")]
    assert listed("manifest", path) == (expected, [("m.csv, row 3", "no path or no speaker")])
    columns = ("path", "speaker", "language")
    table = pyarrow.table({name: [row[i] for row in rows] for i, name in enumerate(columns)})
    pyarrow.parquet.write_table(table, tmp_path / "m.parquet")
    assert listed("manifest", tmp_path / "m.parquet")[0] == expected
    (tmp_path / "m.parquet").write_bytes(b"PAR1 no PAR1")
    for wrong in (tmp_path / "m.parquet", manifest(tmp_path / "n.csv", [("a", "b")], ("file", "who"))):
        with pytest.raises(FormatError):
            listed("manifest", wrong)


def test_a_manifest_lists_parts_of_one_recording(tmp_path: Path) -> None:
    write_wav(tmp_path / "call.wav", np.concatenate([speech(0, 0, 2.0), speech(1, 0, 2.0)]))
    rows = [("call.wav", "anna", "0", "2"), ("call.wav", "anna", "0.5", "1.5"), ("call.wav", "bob", "2", "")]
    path = manifest(tmp_path / "m.csv", rows, ("path", "speaker", "start", "duration"))
    skipped = Skipped()
    clips = clips_of.decode(corpora.read("manifest", path, "", skipped), skipped, tmp_path / "clips", read_recording)
    assert [(info.id, info.length) for info in clips.infos] == [
        ("call.wav@0.000", 32_000), ("call.wav@0.500", 24_000), ("call.wav@2.000", 32_000),
    ]  # fmt: skip
    assert not clips.skipped


def test_long_clips_are_cut_into_equal_parts(tmp_path: Path) -> None:
    samples = np.concatenate([speech(0, 0, 3.0), np.zeros(RATE * 3, np.float32)])
    write_wav(tmp_path / "voices" / "anna" / "long.wav", samples)
    write_wav(tmp_path / "voices" / "anna" / "short.wav", speech(0, 1, 1.5))
    recordings = corpora.read("folder", tmp_path / "voices", "", Skipped())
    clips = clips_of.decode(recordings, Skipped(), tmp_path / "clips", read_recording)
    parts = clips.cut(2.0)
    assert [(info.id, info.length) for info in parts.infos] == [  # the silent third is left out
        ("anna/long.wav@0.00", 2 * RATE), ("anna/long.wav@2.00", 2 * RATE), ("anna/short.wav", 1.5 * RATE),
    ]  # fmt: skip
    assert np.array_equal(parts.samples(1), clips.samples(0, 2 * RATE, 2 * RATE))
    assert clips.cut(2.0).digest == parts.digest != clips.digest == clips.cut(10.0).digest


def test_cuts_of_lhotse_and_their_commands_are_never_run(tmp_path: Path) -> None:
    def cut(kind: str, source: str, **others: object) -> str:
        supervision = {"id": "s", "start": 0.5, "duration": 1.0, "speaker": "anna"}
        recording = {"id": "r", "sources": [{"type": kind, "channels": [0], "source": source}]}
        values = {"id": "c", "start": 2.0, "duration": 1.2, "channel": 0, "supervisions": [supervision]}
        return json.dumps({**values, "recording": recording, "type": "MonoCut", **others})

    lines = [
        cut("file", "a.flac"), cut("command", f"touch {tmp_path}/ran"), cut("url", "http://localhost/a"),
        cut("file", "a.flac", type="MixedCut"), cut("file", "b.flac", supervisions=[{}]),
        "{", "[]", '"x"', "[" * 100_000,
    ]  # fmt: skip
    path = tmp_path / "cuts.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    skipped = Skipped()
    (utterance,) = corpora.read("cuts", path, "", skipped)
    assert (utterance.speaker, utterance.path) == ("anna", tmp_path / "a.flac")
    assert (utterance.start, utterance.end) == (2.5, 3.2)
    assert len(skipped.reasons) == 8 and not (tmp_path / "ran").exists()
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(FormatError, match="cannot be read"):
        list(corpora.read("cuts", path, "", Skipped()))


def common_voice(path: Path, tables_first: bool = True, mode: str = "w") -> Path:
    """An archive of two languages in which client "x" speaks in both, with members that no archive should have."""
    table = "client_id\tpath\tsentence\tlocale\n" + "".join(f'x\t{i}.mp3\t"a\tLANG\n' for i in range(2))
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]

        def add(name: str, content: bytes, **attributes: object) -> None:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            for key, value in attributes.items():
                setattr(member, key, value)
            archive.addfile(member, io.BytesIO(content))

        for language in ("de", "en"):
            files = [(f"cv/{language}/clips/{i}.mp3", f"{language}{i}".encode()) for i in range(2)]
            text = (f"cv/{language}/validated.tsv", table.replace("LANG", language).encode())
            for name, content in [text, *files] if tables_first else [*files, text]:
                add(name, content)
        add("../../escape.mp3", b"x")
        add("/absolute.mp3", b"x")
        add("cv/de/clips/link.mp3", b"", type=tarfile.SYMTYPE, linkname="/etc/passwd")
        add("cv/de/clips/device.mp3", b"", type=tarfile.CHRTYPE)
    return path


@pytest.mark.parametrize(("tables_first", "mode"), [(True, "w"), (False, "w"), (False, "w:gz")])
def test_common_voice_is_read_from_the_archive(tmp_path: Path, tables_first: bool, mode: str) -> None:
    path = common_voice(tmp_path / "cv.tar", tables_first, mode)
    skipped = Skipped()
    utterances = list(corpora.read("common_voice", path, "validated.tsv", skipped))
    assert [(u.speaker, u.id, u.content) for u in utterances] == [
        (f"{language}/x", f"{language}/{i}.mp3", f"{language}{i}".encode()) for language in ("de", "en") for i in (0, 1)
    ]
    assert not skipped.reasons
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cv.tar"]  # nothing is extracted
    with pytest.raises(FormatError, match=r"no table train\.tsv"):
        list(corpora.read("common_voice", path, "train.tsv", Skipped()))


def test_an_archive_that_is_cut_gives_what_is_before_the_cut(tmp_path: Path) -> None:
    path = common_voice(tmp_path / "cv.tar")
    whole = path.read_bytes()
    with tarfile.open(path) as archive:
        place = archive.getmember("cv/en/clips/1.mp3").offset_data
    path.write_bytes(whole[: place + 1])
    skipped = Skipped()
    assert len(list(corpora.read("common_voice", path, "validated.tsv", skipped))) == 3
    assert any("cut or damaged" in reason for _, reason in skipped.reasons)
    for content in (b"", b"no tar" * 1000, whole[:560]):
        path.write_bytes(content)
        with pytest.raises(FormatError):
            list(corpora.read("common_voice", path, "validated.tsv", Skipped()))


def test_a_member_of_absurd_size_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "LARGEST_CLIP", 2)
    skipped = Skipped()
    assert not list(corpora.read("common_voice", common_voice(tmp_path / "cv.tar"), "validated.tsv", skipped))
    assert len(skipped.reasons) == 4 and all("bytes; a clip has" in reason for _, reason in skipped.reasons)


def test_a_member_that_claims_more_than_any_disk_holds_ends_with_the_archive(tmp_path: Path) -> None:
    """Its header is the last of the archive: tarfile would read behind the end for years."""
    path = common_voice(tmp_path / "cv.tar")
    with tarfile.open(path) as archive:
        place = archive.getmember("cv/en/clips/0.mp3")
    member = tarfile.TarInfo(place.name)
    member.size = 1 << 60
    path.write_bytes(path.read_bytes()[: place.offset] + member.tobuf(tarfile.GNU_FORMAT) + b"x" * 4096)
    skipped = Skipped()
    utterances = list(corpora.read("common_voice", path, "validated.tsv", skipped))
    assert [u.id for u in utterances] == ["de/0.mp3", "de/1.mp3"]
    reasons = " ".join(reason for _, reason in skipped.reasons)
    assert "bytes; a clip has" in reasons and "ends within a file" in reasons


def test_clips_that_cannot_be_used_are_counted_and_listed(tmp_path: Path) -> None:
    folder = folder_of_speakers(tmp_path / "voices", 2, 2)
    write_wav(folder / "speaker0" / "short.wav", speech(0, 9, 0.2))
    write_wav(folder / "speaker0" / "silent.wav", np.zeros(32_000, np.float32))
    (folder / "speaker1" / "empty.wav").write_bytes(b"")
    (folder / "speaker1" / "text.wav").write_text("hello")
    (folder / "speaker1" / "copy.wav").write_bytes((folder / "speaker0" / "0.wav").read_bytes())
    clips = decoded(tmp_path / "clips", folder)
    assert sorted(reason for _, reason in clips.skipped)[-2:] == ["shorter than 0.5 s", "silent"]
    assert clips.reasons()["cannot be read"] == 2
    assert len(clips.infos) == 5
    assert clips.repeated() == (("speaker0/0.wav", "speaker0", "speaker1/copy.wav", "speaker1"),)
    again = clips_of.load(tmp_path / "clips")
    assert again is not None and again.infos == clips.infos and again.digest == clips.digest
    assert np.abs(again.samples(0) - speech(0, 0)).max() < 2e-4
    assert again.samples(0, 100, 50).tolist() == again.samples(0)[100:150].tolist()
    (tmp_path / "clips" / "clips.pcm").write_bytes(b"12")
    assert clips_of.load(tmp_path / "clips") is None


def decoded(target: Path, folder: Path) -> clips_of.Clips:
    skipped = Skipped()
    utterances = corpora.read("folder", folder, "", skipped)
    return clips_of.decode(utterances, skipped, target, read_recording)


def test_one_speaker_is_refused(tmp_path: Path) -> None:
    clips = clips_from(tmp_path, 1, 2)
    with pytest.raises(FormatError, match=r"one speaker \(speaker0\); training needs 2"):
        clips_of.check_speakers(clips, "voices")


def test_fault_48_disk_full_while_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    monkeypatch.setattr("diarize.files._create", lambda path: Path("/dev/full").open("wb", buffering=0))  # noqa: SIM115
    with pytest.raises(OutputError, match="disk is full"):
        clips_from(tmp_path, 2, 1)
    assert clips_of.load(tmp_path / "clips") is None


def test_an_utterance_twice_in_a_source_counts_once(tmp_path: Path) -> None:
    def read(path: Path, id: str) -> object:
        raise AudioError(str(path), "is never asked for twice")

    skipped = Skipped()
    one = LabelledUtterance("a", "anna", tmp_path / "a.wav")
    clips_of.decode([one, one], skipped, tmp_path / "clips", read)  # type: ignore[arg-type]
    assert [reason for _, reason in skipped.reasons] == ["cannot be read: is never asked for twice", "listed twice"]
