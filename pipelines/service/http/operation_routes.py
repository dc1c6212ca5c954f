"""/healthz, /readyz, /metrics, and the events of a tenant."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import JSONResponse, Response

from diarize.errors import DiarizeError
from diarize.version import __version__
from pipelines.service.http.callers import Administrator, service_of
from pipelines.service.http.frame import Metrics
from pipelines.service.http.schemas import PROBLEMS, Limit
from pipelines.service.work.refusals import Refusal

router = APIRouter(tags=["operation"], responses=PROBLEMS)


@router.get("/healthz")
async def health() -> dict[str, str]:
    """The process answers."""
    return {"status": "alive", "version": __version__}


@router.get("/readyz")
async def ready(request: Request) -> Response:
    """The models of all threads are loaded and warm, and the service's tables can be read; 503 where not."""
    service = service_of(request)
    problems = []
    if service.stopping:
        problems.append("stopping")
    if service.models.ready < service.settings.threads:
        problems.append("models are not loaded")
    if service.libraries.searches.preparing:
        problems.append("the search in very many voices is being prepared")
    try:
        await service.desk.run(service.ledger.execute, "SELECT 1")
    except (DiarizeError, Refusal):
        problems.append("the tables of the service cannot be read")
    body = {"status": "ready" if not problems else "not ready", "problems": problems}
    return JSONResponse(body, 503 if problems else 200)


@router.get("/metrics")
async def metrics(request: Request, caller: Administrator) -> Response:
    """Figures for Prometheus, of this process."""
    service = service_of(request)
    figures: Metrics = request.app.state.metrics
    for name, pool in (("bench", service.bench), ("desk", service.desk)):
        figures.waiting.labels(name).set(pool.running)
    return Response(generate_latest(figures.registry), media_type=CONTENT_TYPE_LATEST)


@router.get("/v1/events")
async def events(
    request: Request, caller: Administrator, after: Annotated[int, Query(ge=0, le=2**53)] = 0, limit: Limit = 100
) -> Response:
    """Who did what in this tenant: ids, no names, no sound."""
    service = service_of(request)
    rows = await service.desk.run(service.events, caller.tenant, after, limit)
    body: dict[str, Any] = {"events": rows, "next": rows[-1]["number"] if len(rows) == limit else None}
    return JSONResponse(body)
