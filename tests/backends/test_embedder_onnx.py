from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from diarize.backends import embedder_onnx, onnx_sessions
from diarize.backends.features import front_ends
from diarize.backends.features.front_ends import Features
from diarize.errors import ModelRefused
from diarize.models.registry import REGISTRY
from diarize.types import Segment
from tests.backends.sounds import RATE, audio, noise, spoken
from tests.shared import SHARED, needs_shared

BINS, DIMENSION = 80, 6
SEGMENTS = [Segment(0.0, 1.6), Segment(0.7, 1.3), Segment(0.8, 2.4), Segment(2.0, 2.1), Segment(3.0, 4.6)]


def write_model(
    path: Path, names: tuple[str, str] = ("feats", "embs"), metadata: Mapping[str, str] | None = None
) -> Path:
    """Mean over time of x^2 (the mean of x itself is 0 after normalisation), times a matrix."""
    from onnx import TensorProto, helper, numpy_helper

    nemo = (metadata or {}).get("framework") == "nemo"
    source, target = names
    weights = np.random.default_rng(1).standard_normal((BINS, DIMENSION)).astype(np.float32)
    axis = 2 if nemo else 1
    value = helper.make_tensor_value_info
    inputs = [value(source, TensorProto.FLOAT, ["N", BINS, "T"] if nemo else ["N", "T", BINS])]
    outputs = [value(target, TensorProto.FLOAT, ["N", DIMENSION])]
    nodes = [
        helper.make_node("Mul", [source, source], ["squares"]),
        helper.make_node("ReduceMean", ["squares"], ["mean"], axes=[axis], keepdims=0),
        helper.make_node("MatMul", ["mean", "weights"], [target]),
    ]
    if nemo:
        inputs.append(value("length", TensorProto.INT64, ["N"]))
        outputs.insert(0, value("logits", TensorProto.INT64, ["N"]))
        nodes.append(helper.make_node("Identity", ["length"], ["logits"]))
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, [numpy_helper.from_array(weights, "weights")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    for key, text in (metadata or {}).items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, text
    path.write_bytes(model.SerializeToString())
    return path


def filter_banks(samples: NDArray[np.floating], window: str) -> NDArray[np.float64]:
    """Kaldi's log mel filter banks at its defaults, written down from its documentation."""
    frames = np.lib.stride_tricks.sliding_window_view(np.asarray(samples, np.float64), 400)[::160]
    frames = frames - frames.mean(axis=1, keepdims=True)
    frames = frames - 0.97 * np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
    phase = 2 * np.pi * np.arange(400) / 399
    frames = frames * {"povey": (0.5 - 0.5 * np.cos(phase)) ** 0.85, "hamming": 0.54 - 0.46 * np.cos(phase)}[window]
    power = np.abs(np.fft.rfft(frames, 512)) ** 2

    def mel(hertz: NDArray[np.float64] | float) -> NDArray[np.float64]:
        return 1127 * np.log1p(np.asarray(hertz) / 700)

    edges = np.linspace(mel(20.0), mel(8000.0), BINS + 2)
    at = mel(np.arange(257) * RATE / 512)[None]
    left, middle, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    filters = np.maximum(0, np.minimum((at - left) / (middle - left), (right - at) / (right - middle)))
    energies: NDArray[np.float64] = np.maximum(power @ filters.T, np.finfo(np.float32).eps)
    return np.log(energies)


@pytest.mark.parametrize(("window", "scale"), [("hamming", 32768.0), ("povey", 1.0)])
def test_features_are_kaldis(window: str, scale: float) -> None:
    sound = spoken(1.0).astype(np.float32)
    raw = Features(window=window, sample_scale=scale, mean_normalised=False)(sound)
    expected = filter_banks(sound * scale, window)
    assert raw.shape == expected.shape == (98, BINS)
    assert np.abs(raw - expected).max() < 2e-3
    normal = Features(window=window, sample_scale=scale)(sound)
    assert np.abs(normal - (expected - expected.mean(axis=0))).max() < 2e-3


def test_features_of_nemo_have_unit_variance() -> None:
    features = embedder_onnx.features_of({}, {"framework": "nemo", "feature_normalize_type": "per_feature"})
    frames = features(spoken(1.0).astype(np.float32))
    assert np.abs(frames.mean(axis=0)).max() < 1e-3
    assert np.abs(frames.std(axis=0) - 1).max() < 1e-3


@pytest.mark.parametrize(
    ("names", "entry"), [(("feats", "embs"), "wespeaker-resnet34-lm"), (("x", "embedding"), "campplus")]
)
def test_vectors_are_the_networks(tmp_path: Path, names: tuple[str, str], entry: str) -> None:
    import onnxruntime

    model = write_model(tmp_path / "tiny.onnx", names)
    sound = audio(spoken(5))
    found = embedder_onnx.load(model, REGISTRY[entry].format)(sound, SEGMENTS[:1])
    features = embedder_onnx.features_of(REGISTRY[entry].format, {})(sound.samples[: int(1.6 * RATE)])
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {names[0]: features[None]})[0]
    assert np.abs(found.vectors[0] - expected / np.linalg.norm(expected)).max() < 1e-6


def test_the_store_says_how_features_are_made() -> None:
    wespeaker = embedder_onnx.features_of(REGISTRY["wespeaker-resnet34-lm"].format, {})
    assert (wespeaker.window, wespeaker.sample_scale, wespeaker.mean_normalised) == ("hamming", 32768.0, True)
    speaker3d = embedder_onnx.features_of(REGISTRY["campplus"].format, {"normalize_samples": "0"})
    assert (speaker3d.window, speaker3d.sample_scale) == ("povey", 1.0)


def test_a_file_can_say_how_features_are_made(tmp_path: Path) -> None:
    said = {"framework": "3d-speaker", "normalize_samples": "1", "sample_rate": "8000"}
    features = embedder_onnx.features_of({}, said)
    assert (features.rate, features.window, features.sample_scale) == (8000, "povey", 1.0)
    model = write_model(tmp_path / "tiny.onnx", metadata=said)
    with pytest.raises(ModelRefused, match="it takes 8000 Hz; speech is embedded at 16000 Hz"):
        embedder_onnx.load(model)
    assert embedder_onnx.load(model, {"rate": 16000})(audio(spoken(1)), [Segment(0.0, 1.0)]).vectors.shape == (
        1,
        DIMENSION,
    )


def test_a_nemo_model_takes_bins_before_frames(tmp_path: Path) -> None:
    said = {"framework": "nemo", "feature_normalize_type": "global-mean"}
    model = write_model(tmp_path / "nemo.onnx", ("audio_signal", "embs"), said)
    plain = write_model(tmp_path / "plain.onnx")
    features = {"slaney": True, "sample_scale": 1.0, "window": "hann"}
    sound = audio(spoken(5))
    expected = embedder_onnx.load(plain, features)(sound, SEGMENTS).vectors
    assert np.abs(embedder_onnx.load(model)(sound, SEGMENTS).vectors - expected).max() < 1e-6


def test_neither_threads_nor_order_change_a_bit_and_batches_only_the_last(tmp_path: Path) -> None:
    model = write_model(tmp_path / "tiny.onnx")
    sound = audio(np.concatenate([spoken(4), noise(3)]))
    segments = [Segment(0.1 * i, 0.1 * i + (1.6 if i % 3 else 0.7)) for i in range(40)]
    expected = embedder_onnx.load(model, threads=1)(sound, segments).vectors
    assert np.array_equal(embedder_onnx.load(model, threads=3)(sound, segments[::-1]).vectors[::-1], expected)
    for batch in (1, 7):
        assert np.abs(embedder_onnx.load(model, batch=batch)(sound, segments).vectors - expected).max() < 1e-5


def test_segments_of_any_length_have_a_vector(tmp_path: Path) -> None:
    embed = embedder_onnx.load(write_model(tmp_path / "tiny.onnx"), threads=1)
    sound = audio(spoken(30))
    found = embed(sound, [Segment(0.0, 0.01), Segment(3.0, 28.5), Segment(29.9, 30.0)])
    assert np.linalg.norm(found.vectors, axis=1) == pytest.approx(1)
    thirds = embed(sound, [Segment(3.0, 11.5), Segment(11.5, 20.0), Segment(20.0, 28.5)]).vectors.sum(axis=0)
    assert np.abs(found.vectors[1] - thirds / np.linalg.norm(thirds)).max() < 1e-6


@pytest.mark.parametrize("segments", [[], [Segment(0.0, 1.0)]])
def test_fault_21_silence_has_unit_vectors(tmp_path: Path, segments: Sequence[Segment]) -> None:
    found = embedder_onnx.load(write_model(tmp_path / "tiny.onnx"))(audio(np.zeros(RATE)), segments)
    assert found.vectors.shape == (len(segments), DIMENSION)


@pytest.mark.parametrize("seconds", [0.001, 0.05, 0.5, 5.0])
def test_fault_23_short_recordings(tmp_path: Path, seconds: float) -> None:
    embed = embedder_onnx.load(write_model(tmp_path / "tiny.onnx"))
    assert embed(audio(noise(seconds)), [Segment(0.0, seconds)]).vectors.shape == (1, DIMENSION)


def test_the_name_says_weights_and_features(tmp_path: Path) -> None:
    from diarize.files import sha256

    model = write_model(tmp_path / "tiny.onnx")
    name = embedder_onnx.load(model).name
    assert sha256(model)[:16] in name
    assert name != embedder_onnx.load(model, {"window": "povey"}).name


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "page.onnx").write_text("<html>not found</html>")
    with pytest.raises(ModelRefused, match="page"):
        embedder_onnx.load(tmp_path / "page.onnx")


@pytest.mark.parametrize(
    ("format", "message"),
    [
        ({"features": "samples"}, r"should take samples \(N, T\), but has 1 inputs, \['N', 'T', 80\] the first"),
        ({"features": "redimnet-mel"}, "should take ReDimNet's mel spectrograms"),
        ({"features": "mfcc"}, "takes filter banks .*, this one takes mfcc"),
    ],
)
def test_a_model_that_takes_something_else_is_refused(tmp_path: Path, format: dict[str, str], message: str) -> None:
    with pytest.raises(ModelRefused, match=message):
        embedder_onnx.load(write_model(tmp_path / "tiny.onnx"), format)


def write_reducing_model(path: Path, shape: list[int | str], axes: list[int], width: int) -> Path:
    """The mean of |x| over `axes` of an input of `shape`, times a matrix (width, DIMENSION)."""
    from onnx import TensorProto, helper, numpy_helper

    weights = np.random.default_rng(2).standard_normal((width, DIMENSION)).astype(np.float32)
    nodes = [
        helper.make_node("Abs", ["x"], ["size"]),
        helper.make_node("ReduceMean", ["size"], ["mean"], axes=axes, keepdims=0),
        helper.make_node("Reshape", ["mean", "rows"], ["row"]),
        helper.make_node("MatMul", ["row", "weights"], ["y"]),
    ]
    constants = {"weights": weights, "rows": np.array([-1, width])}
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [shape[0], DIMENSION])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("format", [{}, {"features": "samples", "rate": 16_000, "sample_scale": 1.0}])
def test_a_model_of_samples_gets_samples(tmp_path: Path, format: dict[str, object]) -> None:
    model = write_reducing_model(tmp_path / "wave.onnx", ["N", "T"], [1], 1)
    embed = embedder_onnx.load(model, format, batch=2)
    session = onnx_sessions.open_session(model)
    sound = audio(spoken(5))
    vectors = embed(sound, SEGMENTS).vectors
    expected = session.run(None, {"x": sound.samples[None, : int(1.6 * RATE)]})[0][0]
    assert np.abs(vectors[0] - expected / np.linalg.norm(expected)).max() < 1e-6
    assert "RawSamples" in embed.name
    louder = embedder_onnx.load(model, {"features": "samples", "sample_scale": 32768.0})
    assert louder.name != embed.name


@pytest.mark.parametrize("format", [{}, REGISTRY["redimnet2-b0"].format])
def test_a_redimnet_gets_its_mel_spectrogram_one_at_a_time(tmp_path: Path, format: dict[str, object]) -> None:
    model = write_reducing_model(tmp_path / "redimnet.onnx", [1, 1, 72, "T"], [1, 3], 72)
    embed = embedder_onnx.load(model, format)
    sound = audio(spoken(5))
    vectors = embed(sound, SEGMENTS).vectors
    mel = front_ends.ReDimNetMel()(sound.samples[: int(1.6 * RATE)])
    expected = onnx_sessions.open_session(model).run(None, {"x": mel[None]})[0][0]
    assert np.abs(vectors[0] - expected / np.linalg.norm(expected)).max() < 1e-6
    assert embed(audio(noise(0.05)), [Segment(0.0, 0.05)]).vectors.shape == (1, DIMENSION)


def test_the_mel_spectrogram_of_redimnet() -> None:
    sound = spoken(1.6).astype(np.float32)
    mel = front_ends.ReDimNetMel()(sound)
    assert mel.shape == (1, 72, 156)
    assert mel.dtype == np.float32
    assert front_ends.ReDimNetMel()(sound[:RATE]).shape == (1, 72, 96)  # the least that the exported graphs take
    assert np.abs(front_ends.ReDimNetMel()(sound * np.float32(0.01)) - mel).max() < 1e-3  # the level does not matter

    # One frame, summed as it is defined.
    normal = (sound - sound.mean()) / sound.std()
    emphasised = normal - 0.97 * np.concatenate([normal[1:2], normal[:-1]])
    window = 0.54 - 0.46 * np.cos(2 * np.pi * np.arange(400) / 399)
    phase = np.exp(-2j * np.pi * np.outer(np.arange(256), np.arange(400)) / 512)
    edges = np.linspace(2595 * np.log10(1 + 20 / 700), 2595 * np.log10(1 + 7600 / 700), 74)
    at = 2595 * np.log10(1 + np.arange(256) / 255 * 8000 / 700)
    frames = []
    for frame in (10, 90):
        first = frame * 160 - 80
        power = np.abs(phase @ (emphasised[first : first + 400] * window)) ** 2
        weights = [np.clip(np.minimum((at - a) / (b - a), (c - at) / (c - b)), 0, 1) for a, b, c in _triples(edges)]
        frames.append(np.log([(power * weight).sum() for weight in weights]))
    assert np.abs((frames[0] - frames[1]) - (mel[0, :, 10] - mel[0, :, 90])).max() < 1e-3
    assert np.abs(front_ends.ReDimNetMel()(np.zeros(RATE, np.float32))).max() < 1e-9


def _triples(edges: NDArray[np.float64]) -> list[tuple[float, float, float]]:
    return list(zip(edges[:-2], edges[1:-1], edges[2:], strict=True))


FAMILIES = {  # family of the registry -> (names of input and output, metadata that its exporter writes)
    "wespeaker-resnet34-lm": (("feats", "embs"), {"framework": "wespeaker", "sample_rate": "16000", "output_dim": "6"}),
    "eres2netv2": (("x", "embedding"), {"framework": "3d-speaker", "normalize_samples": "1"}),
    "campplus": (("x", "embedding"), {"framework": "3d-speaker", "feature_normalize_type": "global-mean"}),
}


def write_autospeech(folder: Path, batch: int | str = "N") -> Path:
    """A model of AutoSpeech's signature, (N, 300, 257) -> (N, 6), and the arrays beside it."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(3)
    np.save(folder / "mean.npy", rng.uniform(0, 1, (1, 257)))
    np.save(folder / "std.npy", rng.uniform(1, 2, (1, 257)))
    return write_reducing_model(folder / "proposed_veri.onnx", [batch, 300, 257], [1], 257)


def test_every_embedder_of_the_registry_has_a_test_with_its_signature() -> None:
    names = {name for name, entry in REGISTRY.items() if entry.role == "embedder" and "backend" not in entry.format}
    others = {name for name in names if not name.startswith("redimnet2-")}
    assert others == {
        *FAMILIES,
        "autospeech",
        "ge2e",
        "community-1-embedding",
    }  # two have modules


@pytest.mark.parametrize("entry", FAMILIES)
def test_a_family_of_the_registry_runs_by_its_entry_and_by_its_metadata(tmp_path: Path, entry: str) -> None:
    names, metadata = FAMILIES[entry]
    model = write_model(tmp_path / "tiny.onnx", names, metadata)
    sound = audio(spoken(3))
    by_entry = embedder_onnx.load(model, REGISTRY[entry].format)
    by_file = embedder_onnx.load(model)
    assert by_entry(sound, SEGMENTS[:3]).vectors.shape == (3, DIMENSION)
    assert by_file(sound, SEGMENTS[:3]).vectors.shape == (3, DIMENSION)
    features = embedder_onnx.features_of({}, metadata)
    assert features.window == REGISTRY[entry].format["window"]


def test_the_number_of_bins_comes_from_the_graph(tmp_path: Path) -> None:
    mel = embedder_onnx.load(write_reducing_model(tmp_path / "r.onnx", [1, 1, 60, "T"], [1, 3], 60))
    assert "num_mel_bins=60" in mel.name
    fbank = embedder_onnx.load(write_reducing_model(tmp_path / "f.onnx", ["N", "T", 40], [1], 40))
    assert "num_mel_bins=40" in fbank.name
    with pytest.raises(ModelRefused, match="it takes 80 bins, and its description says 64"):
        embedder_onnx.load(write_model(tmp_path / "tiny.onnx", metadata={"feat_dim": "64"}))


@pytest.mark.parametrize("batch", ["N", 1])
def test_autospeech_gets_windows_of_its_spectrogram(tmp_path: Path, batch: int | str) -> None:
    import librosa

    model = write_autospeech(tmp_path, batch)
    sound = audio(spoken(5))
    session = onnx_sessions.open_session(model)

    def published(samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """The published way, on librosa."""
        level = 20 * np.log10(np.sqrt(np.mean(samples.astype(np.float64) ** 2)))
        louder = samples * np.float32(10 ** (max(0.0, -30 - level) / 20))
        frames = np.abs(librosa.stft(louder, n_fft=512, hop_length=160, win_length=400)).T
        while len(frames) <= 300:
            frames = np.repeat(frames, 2, axis=0)
        windows = np.stack([frames[i : i + 300] for i in range(0, len(frames) - 299, 150)])
        windows = (windows - np.load(tmp_path / "mean.npy")) / np.load(tmp_path / "std.npy")
        rows = [session.run(None, {"x": window[None].astype(np.float32)})[0][0] for window in windows]
        mean = np.mean(rows, axis=0)
        return np.asarray(mean / np.linalg.norm(mean))

    for place, format in ((model, {}), (tmp_path, REGISTRY["autospeech"].format)):
        embed = embedder_onnx.load(place, format, batch=2)
        quiet = audio(sound.samples * np.float32(0.01))
        rows = [embed(each, [Segment(0.0, 5.0), Segment(1.0, 2.0)]).vectors for each in (sound, quiet)]
        for each, row in zip((sound, quiet), rows, strict=True):
            assert np.abs(row[0] - published(each.samples)).max() < 1e-5
            assert np.abs(row[1] - published(each.samples[RATE : 2 * RATE])).max() < 1e-5
    assert "StftMagnitude" in embed.name and "statistics" in embed.name


def test_autospeech_needs_the_arrays_beside_it(tmp_path: Path) -> None:
    model = write_autospeech(tmp_path)
    (tmp_path / "std.npy").unlink()
    with pytest.raises(ModelRefused, match=r"mean\.npy and std\.npy beside it.*Copy them"):
        embedder_onnx.load(model)
    np.save(tmp_path / "std.npy", np.array([print], dtype=object), allow_pickle=True)
    with pytest.raises(ModelRefused, match="cannot be read"):  # never unpickled
        embedder_onnx.load(model)
    np.save(tmp_path / "std.npy", np.ones(80))
    with pytest.raises(ModelRefused, match="cannot be read"):
        embedder_onnx.load(model)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"model_type": "pyannote-segmentation-3.0", "powerset_max_classes": "2"}, "it is a segmentation model"),
        ({"model_type": "zipformer2", "vocab_size": "500"}, "it is a speech recognition model.*--asr"),
        ({"model_type": "gender"}, "a model of the type gender"),
    ],
)
def test_a_model_for_another_task_is_refused_by_its_metadata(
    tmp_path: Path, metadata: dict[str, str], message: str
) -> None:
    with pytest.raises(ModelRefused, match=message):
        embedder_onnx.load(write_model(tmp_path / "other.onnx", metadata=metadata))


def test_a_model_with_values_for_each_frame_is_refused(tmp_path: Path) -> None:
    from onnx import TensorProto, helper

    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", "T", 7]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "frames", *([value] for value in values))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (tmp_path / "frames.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelRefused, match=r"it gives values for each frame.*--segmentation") as caught:
        embedder_onnx.load(tmp_path / "frames.onnx")
    assert "\n" not in str(caught.value)


@needs_shared
def test_a_real_segmentation_model_is_refused() -> None:
    model = SHARED / "models" / "pyannote-segmentation-3.0-int8" / "model.int8.onnx"
    with pytest.raises(ModelRefused, match=r"not a model for speaker embeddings|values for each frame"):
        embedder_onnx.load(model)


def test_fault_59_a_truncated_model_is_refused_with_the_cure(tmp_path: Path) -> None:
    model = write_model(tmp_path / "tiny.onnx")
    model.write_bytes(model.read_bytes()[:300])
    with pytest.raises(ModelRefused, match="Get the file again") as caught:
        embedder_onnx.load(model)
    assert "\n" not in str(caught.value)
