"""The services of the API, and how a request finds them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from fastapi import Request

from api.auth.api_key_cache import ApiKeyCache, ClusterCache
from api.auth.audit_writer import AuditWriter
from api.auth.custom_auth import CustomAuth
from api.auth.rate_limits import RateLimiter
from api.dispatch.dispatcher import CallDispatcher
from api.dispatch.liveness import WorkerLiveness
from orchestrator.operations.calls import CallOperations
from orchestrator.operations.runs import Operations
from orchestrator.operations.webhooks import Webhooks
from orchestrator.settings import Settings
from orchestrator.store.store import Store
from orchestrator.temporal.client import Temporal


@dataclass(frozen=True, slots=True)
class ApiServices:
    """The services of the API. `stopping` is set when the process begins to shut down: long polls answer then."""

    settings: Settings
    store: Store
    temporal: Temporal
    operations: Operations
    calls: CallOperations
    dispatcher: CallDispatcher
    liveness: WorkerLiveness
    key_cache: ApiKeyCache
    cluster_cache: ClusterCache
    custom_auth: CustomAuth
    rate_limiter: RateLimiter
    audit_writer: AuditWriter
    webhooks: Webhooks
    stopping: asyncio.Event = field(default_factory=asyncio.Event)


def services_of(request: Request) -> ApiServices:
    """The services that `create_app` was given."""
    services: ApiServices = request.app.state.services
    return services
