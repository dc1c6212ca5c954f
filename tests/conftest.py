"""Fixtures that several tests share."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from pathlib import Path

import pytest

from diarize.errors import DiarizeError
from diarize.models.store import Store
from diarize.models.wheels import Wheels

COMMUNITY_1 = ("community-1-segmentation", "community-1-embedding")

os.environ["DIARIZE_RUN_CACHE"] = "none"  # of fixtures that several tests share; nobody writes to the user's own cache


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has a cache of its own, which is empty."""
    monkeypatch.setenv("DIARIZE_RUN_CACHE", str(tmp_path_factory.getbasetemp() / "caches" / secrets.token_hex(8)))


@pytest.fixture(scope="session")
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store that holds silero-vad-v6 and ge2e: the user's own, or one in pytest's cache folder, filled once."""
    return _store_with(("silero-vad-v6", "ge2e"), request, tmp_path_factory)


@pytest.fixture(scope="session")
def two_embedders(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store as above that also holds community-1-embedding."""
    return _store_with(("silero-vad-v6", "ge2e", "community-1-embedding"), request, tmp_path_factory)


@pytest.fixture(scope="session")
def moonshine_model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of moonshine-tiny-en, in a store as above."""
    return _store_with(("moonshine-tiny-en",), request, tmp_path_factory).path("moonshine-tiny-en")


@pytest.fixture(scope="session")
def community_1(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store as above that holds both models of community-1."""
    return _store_with(COMMUNITY_1, request, tmp_path_factory)


def _store_with(
    wanted: Sequence[str], request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Store:
    try:
        own = Store(offline=True)
        if all(own.find(name) is not None for name in wanted):
            return own
        cache = getattr(request.config, "cache", None)
        kept = Store(cache.mkdir("models") if cache is not None else tmp_path_factory.mktemp("models"))
        with Wheels() as wheels:
            for name in wanted:
                kept.pull(name, wheels=wheels)
    except DiarizeError as error:
        pytest.skip(f"the models of these tests can be had from nowhere: {error}")
    return kept
