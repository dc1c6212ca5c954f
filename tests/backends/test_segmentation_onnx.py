from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diarize.backends import onnx_sessions, segmentation_onnx
from diarize.backends.graphs import segmentation_graph
from diarize.errors import AudioError, ModelRefused
from diarize.models.store import Store
from tests.backends.sounds import RATE, audio, noise, tone
from tests.shared import SHARED

REAL = SHARED / "models" / "pyannote-segmentation-3.0-int8" / "model.int8.onnx"
needs_model = pytest.mark.skipif(not REAL.is_file(), reason=f"the segmentation model is not there ({REAL})")


def save(path: Path, nodes: list[Any], constants: dict[str, Any], classes: int = 7) -> Path:
    import onnx
    from onnx import helper, numpy_helper

    shape = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "tiny",
        [shape("x", onnx.TensorProto.FLOAT, ["N", 1, "samples"])],
        [shape("y", onnx.TensorProto.FLOAT, ["N", "frames", classes])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))
    return path


def tiny(folder: Path, classes: int = 7) -> Path:
    """Loud is the first local speaker, quiet is nobody: mean of |x| in each frame against 0.05."""
    from onnx import helper

    sign = np.array([-400.0, 400.0] + [0.0] * (classes - 2), np.float32)
    never = np.array([0.0, 0.0] + [-99.0] * (classes - 2), np.float32)
    nodes = [
        helper.make_node("Abs", ["x"], ["loud"]),
        helper.make_node("AveragePool", ["loud"], ["mean"], kernel_shape=[991], strides=[270]),
        helper.make_node("Transpose", ["mean"], ["column"], perm=[0, 2, 1]),
        helper.make_node("Sub", ["column", "half"], ["over"]),
        helper.make_node("Mul", ["over", "sign"], ["either"]),
        helper.make_node("Add", ["either", "never"], ["logits"]),
        helper.make_node("LogSoftmax", ["logits"], ["y"], axis=-1),
    ]
    constants = {"half": np.array([0.05], np.float32), "sign": sign, "never": never}
    return save(folder / "tiny.onnx", nodes, constants, classes)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny(tmp_path_factory.mktemp("segmentation"))


def test_local_speakers_are_where_they_are(model: Path) -> None:
    sound = np.concatenate([np.zeros(3 * RATE), tone(9), np.zeros(5 * RATE), tone(4), np.zeros(2 * RATE)])
    heard = segmentation_onnx.load(model, threads=1)(audio(sound))
    first, second = heard.spoken(0.5)
    assert (first.start, first.end) == pytest.approx((3.0, 12.0), abs=0.05)
    assert (second.start, second.end) == pytest.approx((17.0, 21.0), abs=0.05)


@pytest.mark.parametrize(("seconds", "windows"), [(0.1, 1), (9.9, 1), (10.2, 2), (15.0, 3), (33.0, 6)])
def test_windows_hold_every_frame(model: Path, seconds: float, windows: int) -> None:
    heard = segmentation_onnx.load(model, threads=1)(audio(tone(seconds)))
    assert heard.windows == windows
    assert heard.middles(heard.frames - 1, heard.frames)[0] > seconds - 0.05


def test_in_a_long_recording_windows_only_touch(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    segment = segmentation_onnx.load(model, threads=1)
    sound = audio(np.concatenate([noise(12, level=0.0001), tone(9), noise(12, level=0.0001)]))
    short = segment(sound)
    monkeypatch.setattr(segmentation_onnx, "LONG", 30)
    long = segment(sound)
    assert (short.windows, long.windows) == (6, 4)
    assert long.middles(long.frames - 1, long.frames)[0] > 33
    assert long.spoken(0.5) == short.spoken(0.5)


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_do_not_change_a_bit(model: Path, threads: int) -> None:
    sound = audio(noise(61))
    one, more = (segmentation_onnx.load(model, threads=n) for n in (1, threads))
    assert np.array_equal(one(sound).posteriors, more(sound).posteriors)
    assert one.name == more.name


def test_a_quiet_recording_is_brought_up(model: Path) -> None:
    assert segmentation_onnx.load(model, threads=1)(audio(tone(5, level=0.002))).spoken(0.5) != ()


def test_silence_is_nobody(model: Path) -> None:
    assert segmentation_onnx.load(model, threads=1)(audio(np.zeros(5 * RATE))).spoken(0.5) == ()


def test_memory_mapped_sound_gives_the_same(model: Path, tmp_path: Path) -> None:
    samples = np.concatenate([noise(12), tone(5)]).astype(np.float32)
    samples.tofile(tmp_path / "sound.f32")
    mapped = np.memmap(tmp_path / "sound.f32", np.float32, mode="r")
    segment = segmentation_onnx.load(model, threads=1)
    assert np.array_equal(segment(audio(samples)).posteriors, segment(audio(mapped)).posteriors)


def test_another_rate_is_refused(model: Path) -> None:
    with pytest.raises(AudioError, match="8000 Hz"):
        segmentation_onnx.load(model, threads=1)(audio(tone(1), rate=8000))


def test_another_number_of_classes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelRefused, match=r"\(1, 589, 5\)"):
        segmentation_onnx.load(tiny(tmp_path, classes=5))


def test_a_file_that_is_no_graph_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"no graph at all")
    with pytest.raises(ModelRefused, match=r"x\.onnx"):
        segmentation_onnx.load(tmp_path / "x.onnx")


def test_a_quantised_graph_without_its_weights_is_refused(tmp_path: Path) -> None:
    from onnx import helper

    node = helper.make_node("DynamicQuantizeLSTM", ["x"], ["y"], domain="com.microsoft")
    with pytest.raises(ModelRefused, match="sincnet"):
        segmentation_onnx.load(save(tmp_path / "other.onnx", [node], {}))


def test_filters_pass_their_band_with_a_gain_of_one() -> None:
    half = 0.54 - 0.46 * np.cos(2 * np.pi * np.arange(125) / 250)
    low, band = np.array([[250.0], [2000.0]]), np.array([[350.0], [950.0]])  # 300 to 700 Hz, 2050 to 3050 Hz
    bank = segmentation_graph.filters(low, band, half)[:, 0]
    assert bank.shape == (4, 251)
    assert np.allclose(bank[:2], bank[:2, ::-1]), "the first half are even"
    assert np.allclose(bank[2:], -bank[2:, ::-1]), "the second half are odd"
    gain = np.abs(np.fft.rfft(bank, 16_000))  # one bin a Hz
    scale = 16_000 / (2 * np.array([400, 1000]))  # of a band-pass whose middle tap is one
    assert gain[:2, [500, 2500]].diagonal() == pytest.approx(scale, rel=0.02)
    assert gain[:, 6000].max() < 0.01 * scale.min()


@needs_model
def test_the_restored_graph_agrees_with_the_published_one_where_sound_is_easy() -> None:
    import onnxruntime

    graph = segmentation_graph.restore(REAL)
    assert graph is not None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    sound = (0.1 * np.random.default_rng(0).standard_normal((1, 1, 160_000))).astype(np.float32)
    sound[..., 80_000:] *= 1e-3
    new, old = (onnxruntime.InferenceSession(g, options).run(None, {"x": sound})[0] for g in (graph, str(REAL)))
    assert new.shape == old.shape == (1, 589, 7)
    assert np.exp(new).sum(-1) == pytest.approx(np.ones((1, 589)), abs=1e-4)
    assert (new.argmax(-1) == old.argmax(-1)).mean() > 0.9


def test_community_1_gives_the_log_probabilities_from_which_its_own_output_follows(community_1: Store) -> None:
    path = community_1.path("community-1-segmentation")
    sound = np.stack([noise(10) * level for level in (0.5, 0.01)]).astype(np.float32)[:, None]
    sound[0, :, 60_000:] = tone(10)[60_000:]
    segment = segmentation_onnx.load(path, threads=1)
    (logarithms,) = segment._session.run(None, {"waveforms": sound})
    original = onnx_sessions.open_session(path)
    expected = np.concatenate([original.run(None, {"waveforms": window[None]})[0] for window in sound])
    members = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1]], np.float32)
    assert logarithms.shape == (2, 589, 7)
    assert np.exp(logarithms).sum(-1) == pytest.approx(np.ones((2, 589)), abs=1e-4)
    assert np.array_equal(members[logarithms.argmax(-1)], expected)
    assert "restored" not in segment.name


def test_fault_59_a_truncated_or_damaged_ort_file_is_refused_by_name(tmp_path: Path, community_1: Store) -> None:
    data = community_1.path("community-1-segmentation").read_bytes()
    path = tmp_path / "segmentation.ort"
    for content in (data[: len(data) // 2], data[:100], data[:-1000], data[:8]):
        path.write_bytes(content)
        with pytest.raises(ModelRefused, match=r"segmentation\.ort") as caught:
            segmentation_onnx.load(path)
        assert str(caught.value).count("is refused") == 1


def test_another_model_in_ort_format_is_refused(community_1: Store) -> None:
    with pytest.raises(ModelRefused, match="0 nodes with a then_branch, not one"):
        segmentation_onnx.load(community_1.path("community-1-embedding"))


def test_most_of_a_reverberant_meeting_is_heard_by_community_1(community_1: Store) -> None:
    assert _share_of_the_room(community_1.path("community-1-segmentation")) > 0.95


@needs_model
def test_most_of_a_reverberant_meeting_is_heard() -> None:
    assert _share_of_the_room(REAL) > 0.95


def _share_of_the_room(model: Path) -> float:
    """How much of the speech of one minute of a reverberant meeting the model finds."""
    from diarize import timeline
    from diarize.audio.reading import read
    from diarize.types import Segment

    path = SHARED / "data" / "sim-dev" / "dev4-room.flac"
    if not path.is_file():
        pytest.skip(f"the recording is not there ({path})")
    whole = read(path, id="room").audios[0]
    part = audio(np.array(whole.samples[: 60 * RATE]))
    rows = [line.split() for line in path.with_suffix(".rttm").read_text(encoding="utf-8").splitlines()]
    spans = [Segment(float(r[3]), min(60.0, float(r[3]) + float(r[4]))) for r in rows if float(r[3]) < 60]
    truth = timeline.union(spans)
    spoken = segmentation_onnx.load(model)(part).spoken(0.5)
    return timeline.total(timeline.intersect(truth, spoken)) / timeline.total(truth)
