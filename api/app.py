"""The API application, assembled from its routes, dialects and middleware."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version

from fastapi import FastAPI

from api.dependencies import ApiServices
from api.dialects import inferable
from api.http.after_response import ResponseHooksMiddleware
from api.http.cors import Cors
from api.http.dialect import Dialect, DialectMiddleware, OwnRoutes
from api.http.errors import install_error_handlers
from api.http.openapi import install_openapi
from api.routes import health, openapi_document as document
from api.routes.calls import approvals, blobs, calls as call_lookup
from api.routes.cluster import (
    api_keys,
    audit_log as audit,
    clusters,
    events as cluster_events,
    function_notes,
    machines as machine_list,
    services as offered,
    usage,
    webhook_secrets,
)
from api.routes.function_workers import calls, registration as machines
from api.routes.runs import (
    deliveries,
    events,
    messages,
    run_configs,
    runs,
    structured_output,
    timeline,
)

_DESCRIPTION = """\
Durable agent runs: an accepted run is completed, reported and stored, whatever process crashes.

Every request but `/live`, `/ready`, `/public/oas.json` and `/contract` carries an API key, which belongs to one cluster
and has scopes: machine, client, admin, management. Names are camelCase, times
are UTC, errors are `application/problem+json` (RFC 9457) with a stable `code`. Unknown fields are refused by name.
"""
# Routes are matched in order: those of every step come first.
_ROUTERS = (
    calls.router,
    calls.results,
    runs.router,
    health.router,
    health.keyed,
    document.router,
    clusters.router,
    api_keys.router,
    usage.router,
    audit.router,
    machine_list.router,
    function_notes.router,
    cluster_events.router,
    messages.router,
    messages.retries,
    timeline.router,
    events.streams,
    events.router,
    offered.router,
    machines.router,
    call_lookup.router,
    blobs.uploads,
    blobs.router,
    approvals.router,
    deliveries.router,
    webhook_secrets.router,
    run_configs.router,
    structured_output.router,
)
DIALECTS = (inferable.DIALECT,)
"""The dialects, in order of matching. A request that none matches is native."""


def create_app(services: ApiServices, dialects: Sequence[Dialect] = DIALECTS) -> FastAPI:
    """Build the ASGI application over these services, with these dialects. It does not open or close the services."""
    app = assemble(dialects)
    app.add_middleware(Cors, origins=services.settings.cors_origins)
    app.state.services = services
    return app


def assemble(dialects: Sequence[Dialect] = DIALECTS) -> FastAPI:
    """Build the application's routes and its OpenAPI document, without services.

    The routes are added directly, because `include_router` would build each of them again.
    """
    app = FastAPI(
        title="Perdure",
        summary="Durable agent runs",
        description=_DESCRIPTION,
        version=version("perdure-server"),
        routes=[
            *(OwnRoutes(dialect) for dialect in dialects if dialect.routers),
            *(route for router in _ROUTERS for route in router.routes),
        ],
        redirect_slashes=False,
        telemetry={"auto_configure": False},
    )
    install_error_handlers(app)
    app.add_middleware(DialectMiddleware, dialects=dialects)
    app.add_middleware(ResponseHooksMiddleware)
    install_openapi(app)
    return app
