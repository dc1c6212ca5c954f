"""The parts of the service as one ASGI application."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from fastapi import FastAPI

from diarize.version import __version__
from pipelines.service.http import (
    compat_routes,
    decision_routes,
    operation_routes,
    problems,
    recording_routes,
    speaker_routes,
    stream_routes,
)
from pipelines.service.http.frame import Metrics, RequestFrame
from pipelines.service.work import retention
from pipelines.service.work.refusals import Refusal
from pipelines.service.work.voice_service import VoiceService


def application(service: VoiceService) -> FastAPI:
    """The application; its lifespan loads models, runs jobs, and closes everything at the end."""
    background: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await service.start()
        loop = asyncio.get_running_loop()
        background.add(loop.create_task(service.jobs.work()))
        background.add(loop.create_task(_clean_up(service)))
        try:
            yield
        finally:
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            await asyncio.to_thread(service.stop)

    app = FastAPI(
        title="diarize", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None,
        description="Enrol, verify and identify speakers; diarize and transcribe recordings.",
    )  # fmt: skip
    app.state.service, app.state.metrics = service, Metrics()
    problems.install(app)
    for each in (speaker_routes, decision_routes, recording_routes, stream_routes, operation_routes):
        app.include_router(each.router)
    if service.settings.compat:
        app.include_router(compat_routes.router)
    app.add_middleware(RequestFrame, service=service, metrics=app.state.metrics)
    return app


async def _clean_up(service: VoiceService) -> None:
    while True:
        try:
            await service.desk.run(service.clean_up)
        except Refusal:
            service.log("clean-up: the service is busy; it is tried again later")
        except Exception as error:  # a library that cannot be opened now must not end the others' clean-up for ever
            service.log(f"clean-up: {type(error).__name__}")
        await asyncio.sleep(retention.EVERY)
