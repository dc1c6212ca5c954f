"""The pyannote pipeline on tiny models made here, of the classes that the published ones are of."""

from __future__ import annotations

import http.server
import json
import os
import pickle
import shutil
import socket
import threading
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from diarize import backends
from diarize.backends.diarizer_pyannote import load, turns_of
from diarize.config import ClusterConfig
from diarize.errors import BackendError, MissingExtra, ModelRefused, ModelUnavailable
from diarize.types import Audio, Turn

INSTALLED = find_spec("pyannote") is not None and find_spec("pyannote.audio") is not None
needs_pyannote = pytest.mark.skipif(
    not INSTALLED, reason="pyannote.audio is not installed; its own environment has it: make test-pyannote"
)
RATE = 16_000
WINDOW = 2.0  # s the tiny segmentation model sees at once; the published one sees 10


def audio_of(seconds: float, id: str = "talk") -> Audio:
    """Noise whose level and colour change every half second, so that random models hear changes."""
    noise = np.random.RandomState(7)
    count = round(seconds * RATE)
    samples = np.zeros(count, dtype=np.float32)
    for start in range(0, count, RATE // 2):
        part = noise.standard_normal(min(RATE // 2, count - start))
        smooth = noise.randint(1, 30)
        part = np.convolve(part, np.ones(smooth) / smooth)[: len(part)]
        samples[start : start + len(part)] = part * 10 ** noise.uniform(-2.5, -0.5)
    return Audio(id, samples)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline of published classes: PyanNet (powerset), an x-vector model, agglomerative clustering."""
    folder = tmp_path_factory.mktemp("tiny")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torch
        from pyannote.audio.core.task import Problem, Resolution, Specifications
        from pyannote.audio.models.embedding import XVectorMFCC
        from pyannote.audio.models.segmentation import PyanNet

    with torch.random.fork_rng():
        torch.manual_seed(3)
        segmentation = PyanNet(
            lstm={"hidden_size": 8, "num_layers": 1, "bidirectional": True}, linear={"hidden_size": 8, "num_layers": 1}
        )
        segmentation.specifications = Specifications(
            problem=Problem.MONO_LABEL_CLASSIFICATION,
            resolution=Resolution.FRAME,
            duration=WINDOW,
            classes=["one", "two", "three"],
            powerset_max_classes=2,
            permutation_invariant=True,
        )
        segmentation.build()
        with torch.no_grad():
            segmentation.classifier.weight *= 30  # an untrained model is undecided; this one is not
        embedding = XVectorMFCC(mfcc={"n_mfcc": 20, "melkwargs": {"n_mels": 40}}, dimension=32)
        embedding.specifications = Specifications(
            problem=Problem.REPRESENTATION, resolution=Resolution.CHUNK, duration=WINDOW
        )
    save(segmentation, folder / "segmentation")
    save(embedding, folder / "embedding")
    noise = np.random.RandomState(5)
    (folder / "plda").mkdir()
    np.savez(
        folder / "plda" / "xvec_transform.npz",
        mean1=np.zeros(32),
        mean2=np.zeros(8),
        lda=np.linalg.qr(noise.standard_normal((32, 8)))[0],
    )
    np.savez(
        folder / "plda" / "plda.npz",
        mu=np.zeros(8),
        tr=np.linalg.qr(noise.standard_normal((8, 8)))[0],
        psi=np.linspace(4, 1, 8),
    )
    configure(folder)
    return folder


def save(model: Any, folder: Path) -> None:
    """A checkpoint as Lightning writes it and pyannote.audio reads it."""
    import torch

    checkpoint = {
        "state_dict": model.state_dict(),
        "hyper_parameters": dict(model.hparams),
        "pytorch-lightning_version": version("lightning"),
    }
    model.on_save_checkpoint(checkpoint)
    folder.mkdir()
    torch.save(checkpoint, folder / "pytorch_model.bin")


def configure(folder: Path, pipeline: str = "pyannote.audio.pipelines.SpeakerDiarization", **changes: Any) -> None:
    """Write config.yaml (JSON is YAML too). `changes`: of the pipeline's params; at the top level with `top_`."""
    params = {
        "segmentation": "$model/segmentation",
        "embedding": "$model/embedding",
        "clustering": "AgglomerativeClustering",
        "embedding_batch_size": 8,
        "segmentation_batch_size": 8,
    }
    hyper = {
        "segmentation": {"min_duration_off": 0.0},
        "clustering": {"method": "centroid", "min_cluster_size": 1, "threshold": 0.3},
    }
    top = {key.removeprefix("top_"): changes.pop(key) for key in list(changes) if key.startswith("top_")}
    config = {
        "dependencies": {"pyannote.audio": "4.0.0"},
        "pipeline": {"name": pipeline, "params": params | changes},
        "params": hyper,
    }
    (folder / "config.yaml").write_text(json.dumps(config | top), encoding="utf-8")


@pytest.fixture
def copy(tiny: Path, tmp_path: Path) -> Path:
    """A tiny pipeline that a test may change."""
    return Path(shutil.copytree(tiny, tmp_path / "copy"))


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing outside this machine can be reached, and a try fails the test."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if not (isinstance(address, tuple) and address[0] in ("127.0.0.1", "localhost")):
            pytest.fail(f"a connection to {address!r} was tried")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


def test_tracks_become_sorted_turns_numbered_by_first_appearance() -> None:
    tracks = [(3.0004, 4.0, "b"), (0.5, 2.0, "z"), (1.5, 9.7, "b"), (0.5, 1.0, "a")]
    assert turns_of(tracks, 8.0) == (
        Turn(0.5, 1.0, "SPEAKER_01"),
        Turn(0.5, 2.0, "SPEAKER_02"),
        Turn(1.5, 8.0, "SPEAKER_03"),
        Turn(3.0, 4.0, "SPEAKER_03"),
    )


def test_tracks_outside_the_recording_or_shorter_than_a_millisecond_are_dropped() -> None:
    tracks = [(-0.5, 0.2, 7), (0.3, 0.3004, 8), (1.0, 2.0, 9)]
    assert turns_of(tracks, 1.0) == (Turn(0.0, 0.2, "SPEAKER_01"),)
    assert turns_of([], 1.0) == ()


@pytest.mark.skipif(INSTALLED, reason="pyannote.audio is installed")
def test_without_the_package_the_extra_is_named() -> None:
    with pytest.raises(MissingExtra, match=r"diarize-pipeline\[pyannote\]"):
        backends.load("diarizer", "pyannote", model="pyannote/speaker-diarization-community-1")


@needs_pyannote
class TestPipeline:
    def test_it_gives_what_the_pipeline_gives(self, tiny: Path) -> None:
        import torch

        audio = audio_of(8.0)
        diarizer = backends.load("diarizer", "pyannote", model=str(tiny))
        turns = diarizer(audio)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            given = {"waveform": torch.tensor(np.array(audio.samples))[None], "sample_rate": RATE}
            expected = diarizer.pipeline(given, min_speakers=1, max_speakers=20).speaker_diarization
        assert [(t.start, t.end) for t in turns] == sorted(
            (round(s.start, 3), min(round(s.end, 3), 8.0)) for s, _ in expected.itertracks()
        )
        assert len({t.speaker for t in turns}) == len(expected.labels()) > 1
        assert any(a.overlap(b) > 0 for a in turns for b in turns if a.speaker < b.speaker)
        assert turns[0].speaker == "SPEAKER_01"

    def test_the_same_twice_and_no_trace_in_torch_s_random_numbers(self, tiny: Path) -> None:
        import torch

        torch.manual_seed(1)
        state = torch.random.get_rng_state()
        first, second = load(str(tiny)), load(str(tiny))
        assert first(audio_of(5.0)) == first(audio_of(5.0)) == second(audio_of(5.0)) != ()
        assert torch.equal(torch.random.get_rng_state(), state)

    @pytest.mark.parametrize("seconds", [1 / RATE, 0.001, 0.05, 0.5, 1.999, 2.0, 2.001, 5.0])
    def test_fault_23_short_recordings(self, tiny: Path, seconds: float) -> None:
        audio = audio_of(seconds)
        assert all(0 <= turn.start < turn.end <= round(audio.duration, 3) for turn in load(str(tiny))(audio))

    def test_fault_02_no_samples(self, tiny: Path) -> None:
        assert load(str(tiny))(Audio("empty", np.zeros(0, dtype=np.float32))) == ()

    def test_fault_21_where_nobody_is_heard_there_is_no_turn(self, copy: Path) -> None:
        import torch

        path = copy / "segmentation" / "pytorch_model.bin"
        checkpoint = torch.load(path, weights_only=False)
        checkpoint["state_dict"]["classifier.bias"][0] = 1e6  # class 0: nobody
        torch.save(checkpoint, path)
        assert load(str(copy))(Audio("silence", np.zeros(3 * RATE, dtype=np.float32))) == ()

    def test_fault_33_the_number_of_speakers_is_bounded(self, tiny: Path) -> None:
        diarizer = load(str(tiny))
        free = diarizer(audio_of(8.0))
        one = diarizer.bounded(ClusterConfig(num_speakers=1))(audio_of(8.0))
        two = load(str(tiny), cluster=ClusterConfig(max_speakers=2))(audio_of(8.0))
        many = diarizer.bounded(ClusterConfig(num_speakers=1000))(audio_of(3.0))
        assert len({t.speaker for t in one}) == 1
        assert len({t.speaker for t in two}) == 2 < len({t.speaker for t in free})
        assert many != ()

    def test_vbx_with_its_plda(self, copy: Path) -> None:
        configure(
            copy,
            clustering="VBxClustering",
            plda="$model/plda",
            top_params={
                "segmentation": {"min_duration_off": 0.0},
                "clustering": {"threshold": 0.6, "Fa": 0.07, "Fb": 0.8},
            },
        )
        turns = load(str(copy))(audio_of(6.0))
        assert turns and turns == tuple(sorted(turns))

    def test_the_name_tells_the_weights_and_the_bounds_but_not_the_place(self, tiny: Path, copy: Path) -> None:
        name = load(str(tiny)).name
        assert name == load(str(copy)).name
        assert name.startswith("pyannote.audio 4.") and name.endswith("speakers=1-20")
        assert load(str(tiny), cluster=ClusterConfig(num_speakers=3)).name.endswith("speakers=3")
        assert load(str(tiny)).bounded(ClusterConfig(num_speakers=3)).name.endswith("speakers=3")
        with (copy / "embedding" / "pytorch_model.bin").open("ab") as file:
            file.write(b"\0" * 4)
        assert load(str(copy)).name != name

    def test_telemetry_is_off(self, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PYANNOTE_METRICS_ENABLED", "1")
        diarizer = load(str(tiny))
        from pyannote.audio.telemetry import metrics

        spans: list[str] = []
        monkeypatch.setattr(metrics.tracer, "start_as_current_span", lambda name: spans.append(name))
        diarizer(audio_of(3.0))
        assert not metrics.is_metrics_enabled() and spans == []

    def test_nothing_is_printed(self, tiny: Path, capfd: pytest.CaptureFixture[str]) -> None:
        load(str(tiny), cluster=ClusterConfig(num_speakers=50))(audio_of(3.0))
        assert capfd.readouterr() == ("", "")

    def test_cuda_that_is_not_there(self, tiny: Path) -> None:
        import torch

        if torch.cuda.is_available():
            pytest.skip("this machine has a CUDA device")
        with pytest.raises(BackendError, match="cannot run on CUDA"):
            load(str(tiny), device="cuda")
        assert str(load(str(tiny), device="auto").pipeline.device) == "cpu"


class Program:
    """What a checkpoint could hold beside weights."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)


@needs_pyannote
class TestHostileFolders:
    def test_fault_58_a_program_in_a_checkpoint_is_not_run(
        self, copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import torch

        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
        target = tmp_path / "was run"
        path = copy / "embedding" / "pytorch_model.bin"
        checkpoint = torch.load(path, weights_only=False)
        torch.save({**checkpoint, "callbacks": Program(target)}, path)
        with pytest.raises(ModelRefused, match=r"holds more than weights, and is not opened: it needs posix.mkdir"):
            load(str(copy))
        assert not target.exists()
        assert (
            os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] == "1" and "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ
        )
        path.write_bytes(pickle.dumps(Program(target)))
        with pytest.raises(ModelRefused, match="is not opened"):
            load(str(copy))
        assert not target.exists()

    @pytest.mark.parametrize(
        "name",
        ["pyannote.audio.pipelines.pyannoteai.sdk.SDK", "subprocess.Popen", "pyannote.audio.pipelines.Resegmentation"],
    )
    def test_only_the_diarization_pipeline_is_accepted(self, copy: Path, name: str) -> None:
        configure(copy, pipeline=name)
        with pytest.raises(ModelRefused, match=r"is not pyannote.audio.pipelines.SpeakerDiarization"):
            load(str(copy))

    def test_preprocessors_are_refused(self, copy: Path) -> None:
        configure(copy, top_preprocessors={"audio": {"name": "subprocess.Popen", "params": {"args": ["true"]}}})
        with pytest.raises(ModelRefused, match="preprocessors"):
            load(str(copy))

    @pytest.mark.parametrize(
        "text", ["", "[1, 2", "pipeline: 3", "pipeline: {name: x}", "!!python/object/apply:os.getcwd []"]
    )
    def test_a_config_that_is_none(self, copy: Path, text: str) -> None:
        (copy / "config.yaml").write_text(text, encoding="utf-8")
        with pytest.raises(ModelRefused, match="cannot be read as a pipeline"):
            load(str(copy))

    def test_a_folder_without_a_config(self, tmp_path: Path) -> None:
        with pytest.raises(ModelRefused, match=r"it has no config\.yaml"):
            load(str(tmp_path))

    def test_a_part_that_is_missing_or_not_named(self, copy: Path) -> None:
        shutil.rmtree(copy / "embedding")
        with pytest.raises(ModelRefused, match=r"a part is missing: .*embedding"):
            load(str(copy))
        configure(copy, embedding=None)
        with pytest.raises(ModelRefused, match="it names no embedding"):
            load(str(copy))

    def test_fault_59_a_part_that_is_cut_short(self, copy: Path) -> None:
        path = copy / "segmentation" / "pytorch_model.bin"
        path.write_bytes(path.read_bytes()[:1000])
        with pytest.raises(ModelRefused):
            load(str(copy))


class Hub(http.server.BaseHTTPRequestHandler):
    """As much of the Hugging Face hub as downloads one repository, on this machine."""

    folder: ClassVar[Path]
    refusal: ClassVar[tuple[int, str] | None] = None  # status, error code
    asked: ClassVar[list[str]]

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def _answer(self, body: bool) -> None:
        type(self).asked.append(self.path)
        data, status, headers = b"", 200, {}
        if self.refusal is not None:
            status, headers = self.refusal[0], {"X-Error-Code": self.refusal[1], "X-Error-Message": "no"}
        elif "/resolve/" not in self.path:
            each = [p for p in self.folder.rglob("*") if p.is_file()]
            names = [str(p.relative_to(self.folder)) for p in each]
            tree = [
                {"type": "file", "path": name, "size": p.stat().st_size, "oid": "0" * 40}
                for name, p in zip(names, each, strict=True)
            ]
            model = {"id": "lab/tiny", "sha": "0" * 40, "siblings": [{"rfilename": name} for name in names]}
            data = json.dumps(tree if "/tree/" in self.path else model).encode()
            headers = {"Content-Type": "application/json"}
        else:
            data = (self.folder / self.path.split("/resolve/")[1].split("/", 1)[1]).read_bytes()
            headers = {"ETag": f'"{len(data)}"', "X-Repo-Commit": "0" * 40}
        self.send_response(status)
        for key, value in (headers | {"Content-Length": str(len(data))}).items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def hub(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    """A hub on this machine that holds the tiny pipeline as lab/tiny, and an empty cache for downloads."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import huggingface_hub

    class Mine(Hub):
        folder = tiny
        asked: ClassVar[list[str]] = []

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Mine)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", address)
    monkeypatch.setattr(
        huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    yield Mine
    server.shutdown()
    server.server_close()
    thread.join()


@needs_pyannote
class TestHub:
    def test_a_model_is_downloaded_and_afterwards_found_offline(
        self, hub: type[Hub], tiny: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        here = load(str(tiny))
        there = load("lab/tiny")
        assert capfd.readouterr() == ("", "")
        assert there.name == here.name
        assert there(audio_of(3.0)) == here(audio_of(3.0))
        assert [path for path in hub.asked if "lab/tiny" not in path] == []
        hub.asked.clear()
        assert load("lab/tiny", offline=True).name == here.name
        assert hub.asked == []

    def test_fault_59_a_gated_model_names_the_cure(self, hub: type[Hub]) -> None:
        hub.refusal = (403, "GatedRepo")
        with pytest.raises(ModelUnavailable, match=r"accept their terms.*HF_TOKEN") as caught:
            load("lab/tiny")
        assert "https://huggingface.co/lab/tiny" in caught.value.cure

    def test_fault_59_an_unknown_model(self, hub: type[Hub]) -> None:
        hub.refusal = (401, "RepoNotFound")
        with pytest.raises(ModelUnavailable, match=r"has no such model.*HF_TOKEN"):
            load("lab/tiny")

    def test_fault_59_a_hub_that_fails(self, hub: type[Hub]) -> None:
        hub.refusal = (400, "")
        with pytest.raises(ModelUnavailable, match="lab/tiny"):
            load("lab/tiny")

    def test_fault_59_offline_without_a_download(self, hub: type[Hub]) -> None:
        with pytest.raises(ModelUnavailable, match=r"not downloaded before, and this run is offline.*folder's path"):
            load("lab/tiny", offline=True)
        assert hub.asked == []

    def test_neither_folder_nor_id(self) -> None:
        with pytest.raises(ModelRefused, match="neither a folder nor a hub id"):
            load("/no/such/folder")
