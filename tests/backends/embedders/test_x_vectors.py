"""Any *ForXVector of transformers, on tiny ones with random weights that the tests save."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diarize.audio import excerpts
from diarize.backends.embedders import x_vectors
from diarize.errors import AudioError, ModelRefused, ModelUnavailable
from diarize.types import Audio, Segment
from tests.backends.sounds import RATE, audio, noise, spoken

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'diarize-pipeline[transformers]'")
transformers = pytest.importorskip(
    "transformers", reason="transformers is not installed: pip install 'diarize-pipeline[transformers]'"
)

SEGMENTS = [Segment(0.0, 1.6), Segment(0.7, 1.3), Segment(0.8, 2.4), Segment(2.0, 2.1), Segment(3.0, 4.6)]
KINDS = ("UniSpeechSat", "Wav2Vec2", "WavLM")  # those of the registry
TINY: dict[str, Any] = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, "conv_dim": (16,) * 7,
    "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2, "tdnn_dim": (16, 16, 16, 16, 32),
    "xvector_output_dim": 24,
}  # fmt: skip


def save(folder: Path, kind: str = "UniSpeechSat", norm: str = "group", **changed: object) -> Path:
    """A model of the kind with random weights, and its feature extractor, as `save_pretrained` writes them."""
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**{**TINY, "feat_extract_norm": norm, **changed})
    getattr(transformers, f"{kind}ForXVector")(config).eval().save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(return_attention_mask=norm == "layer").save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("models") / "tiny-sat")


def direct(folder: Path, sounds: list[Any], **options: object) -> Any:
    """What the model card does."""
    features = transformers.AutoFeatureExtractor.from_pretrained(folder)
    kind = json.loads((folder / "config.json").read_text())["architectures"][0]
    model = getattr(transformers, kind).from_pretrained(folder).eval()
    with torch.no_grad():
        embeddings = model(**features(sounds, sampling_rate=RATE, return_tensors="pt", **options)).embeddings
    return torch.nn.functional.normalize(embeddings, dim=-1).numpy()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("norm", ["group", "layer"])
def test_vectors_are_those_of_transformers_to_the_bit(tmp_path: Path, kind: str, norm: str) -> None:
    folder = save(tmp_path / "model", kind, norm)
    sound = audio(spoken(5))
    embed = x_vectors.load(folder, batch=4, threads=1)
    torch.set_num_threads(1)
    rows = embed(sound, SEGMENTS).vectors
    for i in (0, 1, 2, 4):
        start, end = (round(time * RATE) for time in (SEGMENTS[i].start, SEGMENTS[i].end))
        assert np.array_equal(rows[i], direct(folder, [sound.samples[start:end]])[0])
    extended = excerpts.cut(sound.samples, round(1.8 * RATE), round(2.3 * RATE))  # 0.1 s becomes 0.5 s
    assert np.array_equal(rows[3], direct(folder, [extended])[0])


def test_a_batch_gives_what_each_gives_alone(tmp_path: Path) -> None:
    """A padded batch of transformers does not: its masked mean takes in frames of padding."""
    folder = save(tmp_path / "model", norm="layer")
    sound = spoken(5).astype(np.float32)
    short, long = sound[: 2 * RATE], sound
    embed = x_vectors.load(folder)
    alone = np.concatenate([direct(folder, [short]), direct(folder, [long])])
    ours = embed(audio(sound), [Segment(0.0, 2.0), Segment(0.0, 5.0)]).vectors
    assert np.array_equal(ours, alone)
    padded = direct(folder, [short, long], padding=True)
    assert np.abs(padded[1] - alone[1]).max() < 1e-5 and np.abs(padded[0] - alone[0]).max() > 1e-4
    embed._batch = 3  # as on a GPU: those of one length together
    segments = [Segment(0.1 * i, 0.1 * i + (1.6 if i % 2 else 0.9)) for i in range(9)]
    each = np.concatenate([embed(audio(sound), [segment]).vectors for segment in segments])
    assert np.abs(embed(audio(sound), segments).vectors - each).max() < 1e-5


def test_neither_threads_nor_order_change_a_bit(tiny: Path) -> None:
    sound = audio(np.concatenate([spoken(3), noise(2)]))
    segments = [Segment(0.2 * i, 0.2 * i + (1.6 if i % 3 else 0.7)) for i in range(12)]
    one = x_vectors.load(tiny, threads=1)(sound, segments).vectors
    assert np.array_equal(x_vectors.load(tiny, threads=3)(sound, segments[::-1]).vectors[::-1], one)


def test_segments_of_any_length(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(x_vectors, "LONGEST", 2.0)
    embed = x_vectors.load(tiny)
    sound = audio(spoken(5))
    rows = embed.embed_with_whole(
        sound, [Segment(0.0, 4.0), Segment(1.0, 1.01)], [Segment(0.5, 1.0), Segment(2.0, 3.0)]
    )
    halves = embed(sound, [Segment(0.0, 2.0), Segment(2.0, 4.0)]).vectors.sum(axis=0)
    assert np.abs(rows.vectors[0] - halves / np.linalg.norm(halves)).max() < 1e-6
    joined = np.concatenate([sound.samples[RATE // 2 : RATE], sound.samples[2 * RATE : 3 * RATE]])
    assert np.array_equal(rows.vectors[2], embed(Audio("j", joined), [Segment(0.0, 1.5)]).vectors[0])
    assert embed(sound, []).vectors.shape == (0, 24)
    assert embed(audio(noise(0.05)), [Segment(0.0, 0.05)]).vectors.shape == (1, 24)
    with pytest.raises(AudioError, match="needs 16000 Hz"):
        embed(Audio("x", np.zeros(800, np.float32), 8000), [Segment(0.0, 0.1)])


def test_the_name_says_kind_and_weights(tiny: Path, tmp_path: Path) -> None:
    name = x_vectors.load(tiny).name
    assert name.startswith("unispeechsat@")
    shutil.copytree(tiny, tmp_path / "copy")
    assert x_vectors.load(tmp_path / "copy").name == name
    assert x_vectors.load(save(tmp_path / "other", xvector_output_dim=8)).name != name
    assert x_vectors.load(tiny, digest="ab" * 32).name == "unispeechsat@abababababababab(x-vector)"


def changed(folder: Path, tiny: Path, config: dict[str, object] | None = None) -> Path:
    shutil.copytree(tiny, folder)
    if config is not None:
        path = folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **config}))
    return folder


def refused(model: Path) -> str:
    with pytest.raises(ModelRefused) as caught:
        x_vectors.load(model)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_other_models_are_refused(tiny: Path, tmp_path: Path) -> None:
    asr = changed(tmp_path / "asr", tiny, {"architectures": ["Wav2Vec2ForCTC"]})
    assert "it is Wav2Vec2ForCTC, not a model for speaker verification" in refused(asr)
    own = changed(tmp_path / "own", tiny, {"architectures": ["EvilForXVector"], "auto_map": {"AutoModel": "evil.Evil"}})
    assert "it is EvilForXVector" in refused(own)  # no code of a model's folder is run
    (tmp_path / "empty").mkdir()
    assert "it has no config.json" in refused(tmp_path / "empty")
    (folder := changed(tmp_path / "bare", tiny)).joinpath("model.safetensors").unlink()
    assert "it has no model.safetensors or pytorch_model.bin" in refused(folder)
    (folder := changed(tmp_path / "raw", tiny)).joinpath("preprocessor_config.json").unlink()
    assert "it has no preprocessor_config.json" in refused(folder)


def test_a_base_model_without_the_head_is_refused(tmp_path: Path) -> None:
    folder = save(tmp_path / "model")
    base = transformers.UniSpeechSatForXVector.from_pretrained(folder).unispeech_sat
    base.save_pretrained(folder)
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "architectures": ["UniSpeechSatForXVector"]}))
    assert "its weights lack" in refused(folder)


def test_fault_59_damaged_weights_are_refused(tiny: Path, tmp_path: Path) -> None:
    folder = changed(tmp_path / "cut", tiny)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:2000])
    assert "cannot be read" in refused(folder)


def test_a_pickle_is_never_run(tiny: Path, tmp_path: Path) -> None:
    folder = changed(tmp_path / "pickled", tiny)
    (folder / "model.safetensors").unlink()

    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "exploded",)

    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"weights": Bomb()}))
    assert "cannot be read" in refused(folder)
    torch.save({"weights": Bomb()}, folder / "pytorch_model.bin")
    assert "cannot be read" in refused(folder)
    assert not (tmp_path / "exploded").exists()


def test_weights_of_the_old_kind_are_read_as_weights(tiny: Path, tmp_path: Path) -> None:
    folder = changed(tmp_path / "old", tiny)
    model = transformers.UniSpeechSatForXVector.from_pretrained(tiny)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    sound = audio(spoken(2))
    rows = [x_vectors.load(place)(sound, [Segment(0.0, 2.0)]).vectors for place in (folder, tiny)]
    assert np.array_equal(rows[0], rows[1])


def test_another_rate_is_refused(tiny: Path, tmp_path: Path) -> None:
    folder = changed(tmp_path / "narrow", tiny)
    transformers.Wav2Vec2FeatureExtractor(sampling_rate=8000).save_pretrained(folder)
    assert "it takes 8000 Hz" in refused(folder)


def test_a_hub_model_offline_must_be_there() -> None:
    with pytest.raises(ModelUnavailable, match=r"not downloaded before.*give the path of its folder"):
        x_vectors.load("nobody/nothing-sv", offline=True)
    with pytest.raises(ModelUnavailable, match="neither a folder nor a hub id"):
        x_vectors.load("no such folder")
