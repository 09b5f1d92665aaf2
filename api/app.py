"""The API, put together."""

from __future__ import annotations

from importlib.metadata import version

from fastapi import FastAPI

from api import calls, events, health, machines, messages, runs, services as offered
from api.deps import ApiServices
from api.dialects.inferable_errors import install_dialect_errors
from api.dialects.manner import OneSlash
from api.errors import install_error_handlers
from api.openapi import install_openapi

_DESCRIPTION = """\
Durable agent runs: a run that was accepted is finished, reported and kept, whatever dies on the way.

Every request but `/live` and `/ready` carries an API key, which belongs to one cluster. Names are camelCase, times
are UTC, errors are `application/problem+json` (RFC 9457) with a stable `code`. Unknown fields are refused by name.
"""
_ROUTERS = (
    health.router,
    health.keyed,
    runs.router,
    messages.router,
    events.streams,
    events.router,
    offered.router,
    machines.router,
    calls.router,
    calls.results,
)


def create_app(services: ApiServices) -> FastAPI:
    """The ASGI application over these services. It opens and closes none of them."""
    app = assemble()
    app.state.services = services
    return app


def assemble() -> FastAPI:
    """The application's routes and its OpenAPI document, without anything to serve them from."""
    app = FastAPI(
        title="Perdure",
        summary="Durable agent runs",
        description=_DESCRIPTION,
        version=version("perdure-server"),
        redirect_slashes=False,
        telemetry={"auto_configure": False},
    )
    install_error_handlers(app)
    install_dialect_errors(app)
    app.add_middleware(OneSlash)
    for router in _ROUTERS:
        app.include_router(router)
    install_openapi(app)
    return app
