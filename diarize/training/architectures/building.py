"""Name -> network."""

from __future__ import annotations

from importlib import import_module
from typing import Any

# name -> (module:class, dimension of its embeddings, width)
NETWORKS = {
    "xvector": ("xvector:XVector", 512, 512),
    "ecapa": ("ecapa:Ecapa", 192, 512),
    "resnet34": ("resnet34:ResNet34", 256, 32),
    "redimnet": ("redimnet:ReDimNet", 192, 12),
    "autospeech": ("autospeech:AutoSpeech", 256, 16),
    "speechidentity": ("speechidentity:SpeechIdentity", 128, 128),
}


def build(
    architecture: str, bins: int, channels: int | None = None, dimension: int | None = None, genotype: str | None = None
) -> Any:
    """A network with random weights: filter banks (N, T, bins) -> (N, dimension). Raises ValueError for a genotype
    that is none."""
    path, own_dimension, own_channels = NETWORKS[architecture]
    module, _, name = path.partition(":")
    options: dict[str, Any] = {"genotype": genotype} if architecture == "autospeech" else {}
    network = getattr(import_module(f"diarize.training.architectures.{module}"), name)
    return network(bins, channels or own_channels, dimension or own_dimension, **options)
