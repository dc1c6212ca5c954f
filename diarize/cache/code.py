"""The digest of a stage's code: its module, every module of this project that it imports, and the versions of the
packages that they import. A cached result is valid for this code alone (docs/method/cache.md)."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

PROJECT = "diarize"
DISTRIBUTIONS = {  # module -> packages that contain it, if their names differ
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "faster_whisper": ("faster-whisper", "ctranslate2"),
    "kaldi_native_fbank": ("kaldi-native-fbank",),
    "sklearn": ("scikit-learn",),
    "librosa": ("librosa", "scipy"),
    "pyannote": ("pyannote.audio", "torch"),
}


@cache
def digest(module: str) -> str:
    """sha256 over the code of `module`, a dotted name in this project. Imports no model runtime.

    Raises ModuleNotFoundError if there is no such module.
    """
    hashed, others, seen = hashlib.sha256(), set[str](), {module}
    waiting = [module]
    sources: dict[str, bytes] = {}
    while waiting:
        name = waiting.pop()
        source, imported = _module(name)
        sources[name] = source
        for other in imported:
            if other.split(".")[0] != PROJECT:
                others.add(other.split(".")[0])
            elif other not in seen:
                seen.add(other)
                waiting.append(other)
    for name in sorted(sources):
        hashed.update(f"{name} {len(sources[name])}\n".encode() + sources[name])
    for name in sorted(others):
        hashed.update("".join(_versions(name)).encode())
    return hashed.hexdigest()


@cache
def _module(name: str) -> tuple[bytes, frozenset[str]]:
    """A module's bytes, and the dotted names of the modules that it imports anywhere."""
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"no module {name}", name=name)
    path = Path(spec.origin)
    source = path.read_bytes()
    if path.suffix != ".py":  # compiled: its imports are unknown, and belong to the project's version
        return source + "".join(_versions(f"{PROJECT}-pipeline")).encode(), frozenset()
    return source, frozenset(_imported(ast.parse(source)))


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in _statements(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            if node.module.split(".")[0] == PROJECT:
                yield from (f"{node.module}.{a.name}" for a in node.names if _is_module(f"{node.module}.{a.name}"))


def _statements(tree: ast.AST) -> Iterator[ast.AST]:
    """All statements below a node. A walk through all expressions would take longer than parsing them."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        for block in ("body", "orelse", "finalbody", "handlers", "cases"):
            if isinstance(statements := getattr(node, block, None), list):
                waiting += statements


def _is_module(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # its parent is not a package
        return False


@cache
def _versions(module: str) -> tuple[str, ...]:
    """ "name version" of the packages of a module; none for modules of Python itself."""
    versions = []
    for name in DISTRIBUTIONS.get(module, (module,)):
        try:
            versions.append(f"{name} {version(name)}\n")
        except PackageNotFoundError:
            continue
    return tuple(versions)
