"""The registry can be believed: whole entries, no two models the same, unknown names answered."""

from __future__ import annotations

import hashlib
import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from diarize.errors import UnknownModel
from diarize.models import wheels
from diarize.models.checkpoint import read_tensors
from diarize.models.registry import REGISTRY, ModelFile, ModelScoring, find_entry, parse
from diarize.models.store import Store
from diarize.speech.preparation import PREPARATIONS
from pipelines.cli import doctor
from tests.conftest import COMMUNITY_1
from tests.models.toys import Hub
from tests.shared import SHARED, needs_shared

MOONSHINE = REGISTRY["moonshine-tiny-en"]


def test_every_entry_is_whole() -> None:
    assert {"silero-vad-v6", "ge2e", "pyannote-segmentation-3.0-int8", "wespeaker-resnet34-lm", "campplus"} < set(
        REGISTRY
    )
    for one in REGISTRY.values():
        assert one.role in {"vad", "embedder", "segmentation", "asr", "countermeasure"}
        assert one.sources and one.files and one.licence and one.description
        assert one.format["rate"] == (48000 if one.name == "speechidentity" else 16000)
        assert len({file.name for file in one.files}) == len(one.files)
        for file in one.files:
            assert file.sha256 is None or (len(file.sha256) == 64 and int(file.sha256, 16))
            assert file.bytes is None or file.bytes > 0
            assert "/" not in file.name
        for source in one.sources:
            assert source.split(":")[0] in {"installed", "pypi", "hf", "https", "tensors"}


def test_two_models_never_claim_the_same_weights() -> None:
    largest = [max(one.files, key=lambda file: file.bytes or 0) for one in REGISTRY.values()]
    digests = [file.sha256 for file in largest if file.sha256 is not None]
    assert len(set(digests)) == len(digests)
    unpinned = [one for one, file in zip(REGISTRY.values(), largest, strict=True) if file.sha256 is None]
    assert all(
        one.name.startswith("redimnet2-") or one.name.endswith("-sv") or one.name == "autospeech" for one in unpinned
    )
    assert len({one.sources for one in unpinned}) == len(unpinned)


def test_a_model_without_a_digest_is_pinned_by_its_first_download(tmp_path: Path, hub: Hub) -> None:
    entry = replace(REGISTRY["redimnet2-b0"], sources=(f"{hub.address}/b0-vox2-lm.onnx",))
    hub.answers["/b0-vox2-lm.onnx"] = b"first"
    store = Store(tmp_path, registry={entry.name: entry})
    assert store.pull(entry.name).name == "b0-vox2-lm.onnx"
    assert store.pins(entry.name) == {"b0-vox2-lm.onnx": hashlib.sha256(b"first").hexdigest()}
    store.path(entry.name).write_bytes(b"other")
    assert [status.state for status in store.verify()] == ["damaged"]


@pytest.mark.parametrize("size", ["tiny", "base", "small", "medium", "large-v3", "large-v3-turbo", "small.en"])
def test_a_whisper_has_what_faster_whisper_opens(size: str) -> None:
    files = {file.name for file in REGISTRY[f"whisper-{size}"].files}
    assert {"model.bin", "config.json", "tokenizer.json"} < files
    assert files & {"vocabulary.txt", "vocabulary.json"}


def test_an_unknown_name_is_told_the_nearest() -> None:
    with pytest.raises(UnknownModel, match=r"'whisper-smal'.* Did you mean 'whisper-small'\?") as caught:
        find_entry("whisper-smal")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_entries_cross_process_borders() -> None:
    assert pickle.loads(pickle.dumps(REGISTRY["ge2e"])) == REGISTRY["ge2e"]


def test_a_registry_refuses_fields_it_does_not_know() -> None:
    table = '[a]\nrole="vad"\nsources=[]\nlicence=""\nformat={}\ndescription=""\nmeasured=true\n'
    assert parse(table + 'files=[{name="x"}]')["a"].files == (ModelFile("x"),)
    with pytest.raises(TypeError, match="sha265"):
        parse(table + 'files=[{name="x", sha265=""}]')


def test_the_page_on_models_names_each_with_its_licence_and_attribution() -> None:
    page = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8")
    for one in REGISTRY.values():
        assert f"| `{one.name}` | {one.licence} |" in page
        assert not one.attribution or f"| `{one.name}` | {one.attribution} |" in page


def test_a_licence_that_demands_attribution_comes_with_it() -> None:
    assert any(one.licence.startswith("CC-BY") for one in REGISTRY.values())
    for one in REGISTRY.values():
        assert bool(one.attribution) == one.licence.startswith("CC-BY")
    assert REGISTRY["ge2e"].terms == "Apache-2.0"
    assert "CC-BY-4.0, pyannote/speaker-diarization-community-1" in REGISTRY["community-1-segmentation"].terms


def test_the_recommended_models_come_out_of_one_wheel() -> None:
    sources = [source for name in doctor.RECOMMENDED for source in REGISTRY[name].sources]
    assert {source.partition("#")[0] for source in sources} == {MOONSHINE.sources[0].partition("#")[0]}


def test_how_vectors_are_compared_belongs_to_the_model() -> None:
    speechidentity, sat = REGISTRY["speechidentity"].scoring, REGISTRY["unispeech-sat-base-plus-sv"].scoring
    assert (speechidentity.metric, speechidentity.threshold, speechidentity.is_distance) == ("euclidean", 0.83, True)
    assert speechidentity.is_same(0.83) and not speechidentity.is_same(0.8301)
    assert (sat.metric, sat.threshold, sat.is_distance) == ("cosine", 0.89, False)
    assert sat.is_same(0.89) and not sat.is_same(0.8899) and "depends on the data" in sat.origin
    assert REGISTRY["autospeech"].scoring.threshold == 0.26
    assert REGISTRY["ge2e"].scoring == ModelScoring()
    for one in REGISTRY.values():
        assert one.scoring.preparation in PREPARATIONS
        assert (one.scoring.threshold is None) == (not one.scoring.origin)
    with pytest.raises(ValueError, match="cosine or euclidean"):
        ModelScoring(metric="manhattan")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no threshold"):
        ModelScoring().is_same(1.0)


def test_a_part_of_a_file_is_as_long_as_the_model() -> None:
    for one in REGISTRY.values():
        for place in (wheels.parse(source.removeprefix("pypi:")) for source in one.sources):
            if place is not None and place.end is not None:
                assert place.end - place.start == one.size


def test_community_1_is_recognised_by_its_digests(tmp_path: Path, community_1: Store) -> None:
    for i, name in enumerate(COMMUNITY_1):
        (tmp_path / f"file{i}.bin").write_bytes(community_1.path(name).read_bytes())
    results = Store(tmp_path / "store", offline=True).import_folder(tmp_path)
    assert [(result.model, result.problem) for result in results] == [(name, "") for name in COMMUNITY_1]


def test_the_real_models_are_what_the_registry_says(store: Store) -> None:
    for name in ("silero-vad-v6", "ge2e"):
        assert store.path(name).stat().st_size == REGISTRY[name].size
        assert store.digest(name) == REGISTRY[name].files[0].sha256


def test_the_ge2e_checkpoint_reads_as_torch_reads_it(store: Store) -> None:
    torch = pytest.importorskip("torch")
    state = torch.load(store.path("ge2e"), weights_only=True, map_location="cpu")["model_state"]
    tensors = read_tensors(store.path("ge2e"))
    assert list(tensors) == list(state)
    assert tensors["lstm.weight_ih_l0"].shape == (1024, 40)
    assert all(tensors[name].tobytes() == value.numpy().tobytes() for name, value in state.items())


@needs_shared
def test_the_shared_folder_can_be_imported(tmp_path: Path) -> None:
    store = Store(tmp_path, offline=True)
    found = store.import_folder(SHARED / "models")
    assert [one.model for one in found] == [
        "pyannote-segmentation-3.0-int8", "speechidentity", "aasist", "aasist-l",
    ]  # fmt: skip
    assert store.path("pyannote-segmentation-3.0-int8").name == "model.int8.onnx"
