"""Ranges of the values inside a speaker model, measured on real speech, for its 8-bit form.

    python -m benchmarks.activation_ranges MODEL [--output VALUE] [--data DATA] [--utterances N] [--json FILE]

MODEL is an ONNX or ORT file, cut at VALUE. The speech: N utterances of each of libri-cohort, an4-dev and
speechocean-dev, each as it is, through a simulated telephone, and in a simulated room (benchmarks/simulate.py). The
model's input is the Kaldi filter banks of an utterance minus their mean.

A range leaves out the share `TAIL` of the values at each end, as a few large values would cost all others precision.
The reason for that share is in docs/method/quantisation.md.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly

from benchmarks import simulate
from diarize.backends import onnx_sessions
from diarize.backends.features.front_ends import Features
from diarize.backends.graphs import ort_format, ranges
from diarize.backends.graphs.ranges import TAIL, Histogram

SETS = ("libri-cohort", "an4-dev", "speechocean-dev")
CONDITIONS: tuple[simulate.Condition, ...] = ("close", "phone", "room")
LONGEST = 6  # s of an utterance


def utterances(data: Path, count: int) -> Iterator[NDArray[np.float64]]:
    """Samples at 16 kHz: `count` utterances of each set, spread over it, under each condition."""
    import soundfile

    for name in SETS:
        paths = sorted((data / name).glob("*.flac"))
        for i, path in enumerate(paths[:: max(1, len(paths) // count)][:count]):
            samples, rate = soundfile.read(path, frames=LONGEST * simulate.RATE)
            assert rate == simulate.RATE
            yield samples
            for condition in CONDITIONS:
                rng = np.random.default_rng([i, CONDITIONS.index(condition)])
                phrase = simulate.Phrase(samples)
                recording, rate = simulate.recorded([(0.0, name, phrase)], [name], condition, rng)
                yield recording if rate == simulate.RATE else resample_poly(recording, simulate.RATE // rate, 1)


def trunk(path: Path, output: str) -> Any:
    """The model of a file, up to the value `output`, as an onnx.ModelProto."""
    import onnx

    whole = ort_format.load(path) if path.suffix == ".ort" else onnx.load(path)
    needed, nodes = {output}, []
    for node in reversed(whole.graph.node):
        if needed.intersection(node.output):
            nodes.append(node)
            needed.update(node.input)
    graph = onnx.GraphProto(
        name=whole.graph.name,
        node=nodes[::-1],
        initializer=[tensor for tensor in whole.graph.initializer if tensor.name in needed],
        input=[value for value in whole.graph.input if value.name in needed],
        output=[onnx.ValueInfoProto(name=output)],
    )
    return onnx.ModelProto(ir_version=whole.ir_version, opset_import=whole.opset_import, graph=graph)


def measure(model: Any, sounds: Iterator[NDArray[np.float64]]) -> dict[str, Histogram]:
    """Histograms of all values that `quantisation.quantise` needs ranges of."""
    features = Features()
    return ranges.measure(
        model, (features(samples.astype(np.float32))[None] for samples in sounds), onnx_sessions.open_session
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--output", default="/resnet/pool/Reshape_output_0")
    parser.add_argument("--data", type=Path, default=simulate.DATA)
    parser.add_argument("--utterances", type=int, default=25)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    histograms = measure(trunk(options.model, options.output), utterances(options.data, options.utterances))
    measured = {name: [float(f"{end:.4g}") for end in histogram.range(TAIL)] for name, histogram in histograms.items()}
    text = "{\n" + ",\n".join(f"  {json.dumps(name)}: {json.dumps(ends)}" for name, ends in measured.items()) + "\n}\n"
    print(text, end="")
    if options.json:
        options.json.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
