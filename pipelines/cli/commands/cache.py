"""`cache`: results of stages that later runs need not compute again (docs/cache.md)."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path

from diarize.cache.store import Cache, CacheUsage
from diarize.errors import ConfigError, OutputError
from diarize.text import counted
from pipelines.batch import cached_stages
from pipelines.cli import console
from pipelines.cli.commands import options

UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command and its actions."""
    store = commands.add_parser("cache", help="manage the cache of stage results")
    actions = store.add_subparsers(required=True, metavar="ACTION")
    status = actions.add_parser("status", help="print the location and size of the cache")
    prune = actions.add_parser("prune", help="delete the entries that were used least recently")
    prune.add_argument(
        "--max-size",
        type=size,
        metavar="SIZE",
        help="size to shrink to, for example 5GB or 300MB; default: run.cache_size",
    )
    clear = actions.add_parser("clear", help="delete all entries (they include recognized words)")
    for action, command in ((status, _status), (prune, _prune), (clear, _clear)):
        options.add(action, "cache")
        action.set_defaults(command=command)


def size(text: str) -> int:
    """Bytes of a size as people write it: 5GB, 300 MB, 1.5G. Raises ValueError for anything else."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?([kMGT]?)B?", text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no size; examples: 5GB, 300MB")
    return round(float(match[1]) * UNITS[match[2]])


def _open(args: argparse.Namespace) -> Cache:
    cache = cached_stages.open_cache(options.resolve(args).config.run)
    if cache is None:
        raise ConfigError(
            "settings", "run.cache", "no cache folder is set (run.cache is none)", "Name one with --cache."
        )
    return cache


def _print_usage(folder: Path, action: Callable[[], CacheUsage]) -> int:
    """Do something with the cache in `folder`, and print how large it is then."""
    try:
        usage = action()
    except OSError as error:
        raise OutputError(str(folder), f"cannot be read or changed: {error.strerror or error}") from error
    console.say(f"{folder}: {counted(usage.entries, 'entry')}, {usage.size / 1e6:.1f} MB")
    return 0


def _status(args: argparse.Namespace) -> int:
    cache = _open(args)
    console.say(f"at most {cache.most_bytes / 1e9:g} GB (run.cache_size)")
    return _print_usage(cache.folder, cache.status)


def _prune(args: argparse.Namespace) -> int:
    cache = _open(args)
    most = cache.most_bytes if args.max_size is None else args.max_size
    return _print_usage(cache.folder, lambda: cache.prune(most))


def _clear(args: argparse.Namespace) -> int:
    cache = _open(args)

    def clear() -> CacheUsage:
        cache.clear()
        return cache.status()

    return _print_usage(cache.folder, clear)
