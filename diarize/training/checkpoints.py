"""The state of a training, in one file: weights as safetensors, all else as JSON in its header.

One file is written under another name and renamed: it is the old state or the new one, whenever the process is killed.
Nothing is unpickled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diarize import files
from diarize.errors import ModelRefused

STATE = "state"  # key in the header


def save(path: Path, tensors: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Write a checkpoint. Raises OutputError where the disk is full; then the old one is still there."""
    from safetensors.torch import save as serialise

    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    files.write(path, serialise(contiguous, {STATE: json.dumps(state, sort_keys=True)}))


def load(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """(tensors, state). Raises ModelRefused where the file is no checkpoint, is cut, or cannot be read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            state = json.loads((file.metadata() or {})[STATE])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise ModelRefused(str(path), f"it is no checkpoint of a training ({error})") from error
    if not isinstance(state, dict):
        raise ModelRefused(str(path), "it is no checkpoint of a training")
    return tensors, state


def flatten(name: str, module: Any) -> dict[str, Any]:
    """Tensors of a module, under "name.…"."""
    return {f"{name}.{key}": value for key, value in module.state_dict().items()}


def restore(name: str, module: Any, tensors: Mapping[str, Any], where: Path) -> None:
    """Put tensors saved with `flatten` back. Raises ModelRefused where they are those of another network."""
    own = {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}
    try:
        module.load_state_dict(own)
    except RuntimeError as error:
        raise ModelRefused(str(where), f"its weights are of another network: {error}") from error


def flatten_optimizer(optimizer: Any) -> dict[str, Any]:
    """Tensors of an optimizer's state, under "optimizer.<parameter>.<name>"."""
    import torch

    return {
        f"optimizer.{index}.{key}": torch.as_tensor(value)
        for index, values in optimizer.state_dict()["state"].items()
        for key, value in values.items()
        if value is not None
    }


def restore_optimizer(optimizer: Any, tensors: Mapping[str, Any]) -> None:
    state: dict[int, dict[str, Any]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".")
            state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
