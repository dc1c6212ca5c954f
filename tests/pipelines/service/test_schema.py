"""Requests of all kinds that /openapi.json allows, and of many that it does not: none is answered with a 500."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from tests.pipelines.service.servers import Running

schemathesis = pytest.importorskip("schemathesis", reason="the package schemathesis is not installed")


@pytest.mark.slow
def test_no_request_makes_the_service_fail(service: Running) -> None:
    key = service.key("admin", tenant="fuzzed")
    schema = schemathesis.openapi.from_url(f"{service.url}/openapi.json")
    headers = {"Authorization": f"Bearer {key}"}
    asked: set[str] = set()
    for result in schema.get_all_operations():
        _ask(result.ok(), headers, asked)
    assert len(asked) >= 20


def _ask(operation: Any, headers: dict[str, str], asked: set[str]) -> None:
    """Ask with some cases of one operation."""

    @settings(max_examples=8, deadline=None, database=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(case=operation.as_strategy())
    def ask(case: Any) -> None:
        if "/events" in case.path and "recordings" in case.path:
            case.path_parameters = {"recording": "f" * 32}  # else a stream without end
        answer = case.call(headers={**(case.headers or {}), **headers}, timeout=30)
        asked.add(operation.label)
        assert answer.status_code < 500, f"{operation.label}: {answer.status_code} {answer.text[:500]}"
        if answer.status_code >= 400:
            assert answer.headers["content-type"] == ["application/problem+json"], operation.label

    ask()


def test_the_description_has_examples_and_all_requests(service: Running) -> None:
    with service.client() as client:
        text = client.get("/openapi.json")
    paths = set(text.json()["paths"])
    assert {
        "/v1/speakers",
        "/v1/speakers/{speaker}/utterances",
        "/v1/challenges",
        "/v1/verify",
        "/v1/identify",
        "/v1/recordings",
    } <= paths
    assert "by letter" in text.text and "Koffer Wiese" in text.text
