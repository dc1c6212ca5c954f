"""What a model is: its data, figures and licence, as an entry of the store and as a page to read."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

from diarize.models.registry import ModelEntry, ModelFile
from diarize.units import RATE

MODEL = "model.onnx"


def entry_of(name: str, model: bytes, format: Mapping[str, Any], licence: str, description: str) -> ModelEntry:
    """The store's entry of a model with an input of this `format`."""
    file = ModelFile(MODEL, hashlib.sha256(model).hexdigest(), len(model))
    values = {"rate": RATE, **format}
    return ModelEntry(name, "embedder", (), (file,), licence, values, description, measured=True)


def page(name: str, description: str, facts: Mapping[str, Any], history: Sequence[Mapping[str, float]] = ()) -> str:
    """A card in Markdown: facts as a list, and a row an epoch."""
    lines = [f"# {name}", "", description, ""]
    lines += [f"- {key}: {value}" for key, value in facts.items() if value not in ("", None)]
    if history:
        lines += ["", "| epoch | loss | EER on held-out speakers |", "|---|---|---|"]
        for row in history:
            eer = f"{100 * row['eer']:.2f} %" if math.isfinite(row["eer"]) else "-"
            lines.append(f"| {int(row['epoch'])} | {row['loss']:.4f} | {eer} |")
    return "\n".join(lines) + "\n"
