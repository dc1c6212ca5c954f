"""Whether channels of an embedder can be removed without training it again: EER, time and size, before and after.

    python -m benchmarks.pruning FILE.onnx [--shares 0,0.1,0.25] [--set an4-dev] [--data DATA] [--work FOLDER]

FILE is an export in floating point (`diarize export-model NAME --out FILE`). Between two convolutions of which the
second alone reads the first, through a ReLU, the channels with the smallest sums of absolute weights are removed, the
same share everywhere (Li et al. 2017, "Pruning Filters for Efficient ConvNets", arXiv:1608.08710, section 3.1). The
file becomes smaller. EER: of cosines. Time: of the network alone on noise of 10 s, one thread, the best of some runs.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from benchmarks import models, simulate
from diarize.config import Config
from diarize.models.store import Store
from pipelines.people.utterance import load_embedder

RUNS = 8
FRAMES = 998  # of 10 s


def inner_pairs(graph: onnx.GraphProto) -> list[tuple[onnx.NodeProto, onnx.NodeProto]]:
    """Convolutions (first, second) with a ReLU between them and no other reader."""
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    weights = {each.name for each in graph.initializer}
    pairs = []
    for first in graph.node:
        after = readers.get(first.output[0], [])
        if first.op_type != "Conv" or [node.op_type for node in after] != ["Relu"]:
            continue
        behind = readers.get(after[0].output[0], [])
        if [node.op_type for node in behind] != ["Conv"] or is_grouped(first, behind[0]):
            continue
        if {*first.input[1:], behind[0].input[1]} <= weights:
            pairs.append((first, behind[0]))
    return pairs


def is_grouped(*nodes: onnx.NodeProto) -> bool:
    """Whether the channels of a convolution belong together."""
    return any(each.name == "group" and each.i != 1 for node in nodes for each in node.attribute)


def folded(path: Path, work: Path) -> onnx.ModelProto:
    """The graph with weights as constants: community-1's are computed from 8-bit integers at each start."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(work / f"{path.stem}-folded.onnx")
    onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    model = onnx.load(options.optimized_model_filepath)
    del model.metadata_props[:]
    model.metadata_props.extend(onnx.load(path).metadata_props)
    return model


def prune(model: onnx.ModelProto, share: float) -> int:
    """Remove a share of the inner channels in place; how many."""
    weights = {each.name: each for each in model.graph.initializer}

    def replace(name: str, values: Any) -> None:
        weights[name].CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values), name))

    removed = 0
    for first, second in inner_pairs(model.graph):
        before, after = (numpy_helper.to_array(weights[node.input[1]]) for node in (first, second))
        norms = np.abs(before).sum(axis=tuple(range(1, before.ndim)))
        stay = np.sort(np.argsort(norms, kind="stable")[round(share * len(norms)) :])
        removed += len(norms) - len(stay)
        replace(first.input[1], before[stay])
        replace(second.input[1], after[:, stay])
        if len(first.input) > 2:
            replace(first.input[2], numpy_helper.to_array(weights[first.input[2]])[stay])
    del model.graph.value_info[:]  # shapes of before
    return removed


def milliseconds(path: Path, bins: int) -> float:
    """For a second of audio."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    banks = np.random.default_rng(0).standard_normal((1, FRAMES, bins)).astype(np.float32)
    times = []
    for _ in range(RUNS):
        began = time.process_time()
        session.run(None, {session.get_inputs()[0].name: banks})
        times.append(time.process_time() - began)
    return 1000 * min(times) / 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--shares", default="0,0.1,0.25")
    parser.add_argument("--set", default="an4-dev", choices=models.SETS)
    parser.add_argument("--data", type=Path, default=simulate.DATA)
    parser.add_argument("--work", type=Path, default=Path("out/pruning"))
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    store = Store(offline=True)
    whole = folded(options.file, options.work)
    print("share  channels removed     MB   ms/s   EER %")
    for share in map(float, options.shares.split(",")):
        model = onnx.ModelProto()
        model.CopyFrom(whole)
        removed = prune(model, share)
        path = options.work / f"{options.file.stem}-{share:g}.onnx"
        onnx.save(model, path)
        embedder = load_embedder(Config.model_validate({"embedder": {"backend": str(path)}}), store, None)
        which = models.Embedder(path.stem, str(path), path.stat().st_size, "")
        result = models.measure(which, embedder, options.data / options.set, options.work)
        cells = f"{share:5g}  {removed:16}  {path.stat().st_size / 1e6:5.1f}  {milliseconds(path, 80):5.1f}"
        print(f"{cells}  {100 * result.eer_of_cosines:6.2f}", flush=True)


if __name__ == "__main__":
    main()
