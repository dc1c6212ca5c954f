"""The doctor tells the truth: each thing that is taken away is noticed, with what brings it back."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

import diarize
from diarize.backends import devices
from diarize.models.store import Store
from pipelines.cli import doctor
from pipelines.cli.doctor import Diagnosis


@pytest.fixture(autouse=True)
def quick_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "probe_runtimes", lambda: (devices.Device("onnxruntime", False),))


def cures(diagnosis: Diagnosis) -> dict[str, str]:
    return {each.what: each.cure for each in diagnosis.missing}


def test_what_is_installed_is_told_with_its_version(tmp_path: Path) -> None:
    diagnosis = doctor.examine(Store(tmp_path))
    packages = {package.name: package.version for package in diagnosis.core}
    assert diagnosis.version == diarize.__version__
    assert packages["numpy"] == metadata.version("numpy")
    assert all(package.version for package in diagnosis.core)
    assert {"whisper", "pocketsphinx", "pyannote", "dev"} <= {extra.name for extra in diagnosis.extras}
    assert diagnosis.cores >= 1
    assert diagnosis.python.startswith("3.")
    assert diagnosis.ffmpeg.startswith("not needed")


def test_missing_models_come_with_the_command_that_gets_them(tmp_path: Path) -> None:
    diagnosis = doctor.examine(Store(tmp_path / "empty"))
    assert not diagnosis.ready
    assert "diarize models pull silero-vad-v6" in cures(diagnosis).values()
    assert "diarize models pull whisper-small" in cures(diagnosis).values()
    assert [each.needed for each in diagnosis.missing][:2] == [True, True]
    assert not (tmp_path / "empty").exists()  # looking changes nothing


def test_with_the_needed_models_it_is_ready(store: Store) -> None:
    diagnosis = doctor.examine(store)
    assert diagnosis.ready
    assert {status.entry.name for status in diagnosis.models if status.state == "present"} >= {"silero-vad-v6", "ge2e"}


def test_ge2e_is_needed_only_without_another_embedder(community_1: Store, tmp_path: Path) -> None:
    for name in ("community-1-embedding", "silero-vad-v6"):
        source = Store(offline=True).find(name) or community_1.find(name)
        if source is None:
            pytest.skip(f"{name} is not in the model store")
        (tmp_path / name).symlink_to(source.parent)
    diagnosis = doctor.examine(Store(tmp_path))
    assert diagnosis.ready
    assert "diarize models pull ge2e" in cures(diagnosis).values()


def test_a_damaged_model_is_told_apart_from_a_missing_one(tmp_path: Path) -> None:
    (tmp_path / "ge2e").mkdir()
    (tmp_path / "ge2e" / "pretrained.pt").write_bytes(b"cut short")
    missing = cures(doctor.examine(Store(tmp_path)))
    assert missing["model ge2e (damaged)"] == "diarize models pull ge2e --force"


def test_a_missing_package_comes_with_its_requirement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = metadata.version

    def version(name: str) -> str:
        if name in ("scipy", "faster-whisper"):
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(metadata, "version", version)
    diagnosis = doctor.examine(Store(tmp_path))
    assert cures(diagnosis)["scipy"].startswith("pip install 'scipy>=")
    assert cures(diagnosis)["extra whisper (faster-whisper)"] == "pip install 'diarize-pipeline[whisper]'"
    assert not diagnosis.ready


def test_a_project_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def requires(name: str) -> list[str]:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", requires)
    assert cures(doctor.examine(Store(tmp_path)))["diarize-pipeline"] == "pip install 'diarize-pipeline'"


def test_fault_60_no_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*args: object, **kwargs: object) -> None:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr("tempfile.NamedTemporaryFile", none)
    diagnosis = doctor.examine(Store(tmp_path))
    assert diagnosis.temporary.problem
    assert "Set TMPDIR to a folder that you may write to" in cures(diagnosis).values()


def test_fault_60_a_store_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    diagnosis = doctor.examine(Store(tmp_path / "file" / "store"))
    assert diagnosis.store.problem == f"{tmp_path / 'file'} is not a folder"
    assert "Set DIARIZE_MODELS to a folder that you may write to" in cures(diagnosis).values()


def test_runtimes_are_asked_and_broken_ones_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()

    def broken() -> bool:
        raise ImportError("libcudart.so: cannot open shared object file")

    monkeypatch.setattr(devices, "_ctranslate2_sees_cuda", broken)
    monkeypatch.setattr(devices, "_torch_sees_cuda", lambda: True)
    monkeypatch.setattr(devices, "find_spec", lambda name: object())
    found = {device.runtime: device for device in devices.probe_runtimes()}
    assert found["torch"].cuda
    assert "libcudart" in found["ctranslate2"].problem
    assert not found["onnxruntime"].problem
    diagnosis = doctor.examine(Store(tmp_path))
    assert any(device.cuda for device in diagnosis.devices)
    assert any("libcudart" in what for what in cures(diagnosis))
