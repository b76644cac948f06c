"""The HTTP service as an ASGI application: FastAPI's checks and OpenAPI around the tasks."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

import ragvlm
from ragvlm.errors import RagvlmError, one_line
from ragvlm.service import routes
from ragvlm.service.access import Gate
from ragvlm.service.batching import QueueFullError
from ragvlm.service.desk import Desk, Limits
from ragvlm.service.served import Served

log = logging.getLogger("ragvlm.service")
OPEN = frozenset({"/health", "/ready"})
"""What is answered without a token: it says nothing of the index."""


def create_app(served: Served, gate: Gate | None = None, limits: Limits | None = None) -> FastAPI:
    """The application that answers from ``served``."""
    limits, gate = limits or Limits(), gate or Gate()
    desk = Desk(served, limits)
    figures = Figures(desk)

    @asynccontextmanager
    async def alive(app: FastAPI) -> AsyncIterator[None]:
        desk.batcher.start()
        following = asyncio.create_task(served.follow(limits.follow))
        yield
        following.cancel()
        await desk.batcher.stop()

    app = FastAPI(
        title="ragvlm",
        version=ragvlm.__version__,
        description="Descriptions of biomedical images, every sentence with its evidence. Not for clinical use.",
        lifespan=alive,
        max_body_size=int(limits.max_mb * 1e6),
    )
    app.state.desk = desk
    app.include_router(routes.answers)
    app.include_router(routes.state)
    app.add_exception_handler(RagvlmError, _refuse)

    @app.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        """Figures for Prometheus."""
        return Response(figures.text(), media_type=CONTENT_TYPE_LATEST)

    @app.middleware("http")
    async def guard(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
        began = time.perf_counter()
        try:
            async with asyncio.timeout(limits.timeout):  # a slow upload is bounded, too
                response = _stopped(request, gate) or await go_on(request)
        except TimeoutError:
            response = JSONResponse({"detail": "not done in time"}, 504)
        # the route, never the address as it was sent: that may hold anything
        path = getattr(request.scope.get("route"), "path", "other")
        figures.note(path, response.status_code, time.perf_counter() - began)
        return response

    return app


class Figures:
    """What Prometheus and the log are told: of routes and states, never of what was sent."""

    def __init__(self, desk: Desk) -> None:
        self.registry = registry = CollectorRegistry()
        self._requests = Counter(
            "ragvlm_requests_total", "Requests by route and status", ["path", "status"], registry=registry
        )
        self._seconds = Histogram(
            "ragvlm_request_seconds", "Seconds from request to answer", ["path"], registry=registry
        )
        waiting = Gauge("ragvlm_waiting", "Accepted requests that aren't answered", registry=registry)
        waiting.set_function(lambda: desk.batcher.waiting)
        generation = Gauge("ragvlm_index_generation", "Commits of the index that answers", registry=registry)
        generation.set_function(lambda: desk.served.generation)

    def note(self, path: str, status: int, seconds: float) -> None:
        """A request was answered."""
        self._requests.labels(path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)
        log.info(json.dumps({"path": path, "status": status, "ms": round(1000 * seconds, 1)}))

    def text(self) -> bytes:
        """In Prometheus' format."""
        return generate_latest(self.registry)


def _stopped(request: Request, gate: Gate) -> Response | None:
    """The answer to who may not ask, or not yet."""
    if request.url.path in OPEN:
        return None
    token = gate.known(request.headers.get("authorization"))
    if token is None:
        told = {"detail": "give a known token: Authorization: Bearer TOKEN"}
        return JSONResponse(told, 401, {"WWW-Authenticate": "Bearer"})
    seconds = gate.wait(token)
    if seconds:
        told = {"detail": "too many requests of this token"}
        return JSONResponse(told, 429, {"Retry-After": str(math.ceil(seconds))})
    return None


def _refuse(request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, QueueFullError):
        return JSONResponse({"detail": str(error)}, 429, {"Retry-After": str(error.retry_after)})
    return JSONResponse({"detail": one_line(str(error))}, 400)
