"""Operations on clusters, their keys, events and usage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from http import HTTPStatus
from typing import cast

from fastapi import Response

from api.auth.scopes import granted_scopes
from api.context import ApiServices, services_of
from api.dialects.inferable.event_format import format_event
from api.dialects.inferable.paths import EVENT_VERSION
from api.dialects.inferable.translation import (
    Body,
    Operation,
    all_pages,
    read_body,
    read_object,
    with_body,
    without_body,
)
from api.http.dialect import DialectRequest
from orchestrator.errors import NotFoundError
from orchestrator.runtime.clock import to_datetime
from perdure.contract import Scope

_EVENTS = 100
_MACHINES = 100
_HISTORY = 100


# -- clusters --------------------------------------------------------------------------------------


async def _list_clusters(request: DialectRequest) -> Response:
    native, found = await all_pages(request)
    return with_body(native, found)


async def _get_cluster(request: DialectRequest) -> Response:
    native = await request.call_native()
    cluster: Body = read_body(native)
    services = services_of(request.request)
    return with_body(
        native,
        {
            **cluster,
            "additionalContext": await _additional_context(request, cluster),
            "enableRunConfigs": True,
            "enableKnowledgebase": False,
            "lastPingAt": await _last_ping(services, cluster["id"]),
        },
    )


async def _additional_context(request: DialectRequest, cluster: Body) -> Body | None:
    """The text with its earlier versions, for administrators."""
    if cluster["additionalContext"] is None:
        return None
    versions = await services_of(request.request).store.clusters.context_versions(
        cluster["id"], before=None, limit=_HISTORY
    )
    current = str(versions[0].version) if versions else "1"
    former = versions[1:] if _is_admin(request, cluster["id"]) else ()
    return {
        "current": {"version": current, "content": cluster["additionalContext"]},
        "history": [{"version": str(one.version), "content": one.content or ""} for one in former],
    }


def _is_admin(request: DialectRequest, cluster_id: str) -> bool:
    return Scope.ADMIN.value in granted_scopes(request.request.state.key, cluster_id)


async def _last_ping(services: ApiServices, cluster_id: str) -> str | None:
    machines = await services.store.machines.page(
        cluster_id, before=None, alive_at=None, limit=_MACHINES
    )
    seen = [one.last_seen_at for one in machines if one.last_seen_at is not None]
    return to_datetime(max(seen)).isoformat() if seen else None


async def _update_cluster(request: DialectRequest) -> Response:
    """Change the given settings. The version of an additional context is ignored; the server counts versions."""
    body = await read_object(request)
    if body is None:
        return await request.call_native()
    context = body.get("additionalContext")
    if isinstance(context, dict):
        current = cast("Body", context).get("current")
        text = cast("Body", current).get("content") if isinstance(current, dict) else None
        body = {**body, "additionalContext": text}
    await request.call_native(body=body)
    return Response(status_code=HTTPStatus.NO_CONTENT)


# -- keys ------------------------------------------------------------------------------------------


async def _create_key(request: DialectRequest) -> Response:
    native = await request.call_native()
    key: Body = read_body(native)
    return with_body(native, {"id": key["id"], "key": key["key"]}, HTTPStatus.OK)


async def _list_keys(request: DialectRequest) -> Response:
    native, found = await all_pages(request)
    return with_body(native, [{**key, "createdBy": key["createdBy"] or ""} for key in found])


# -- events and usage ------------------------------------------------------------------------------


async def _list_events(request: DialectRequest) -> Response:
    query = request.query
    wanted: dict[str, object] = {
        "limit": _EVENTS,
        "type": query.get("type"),
        "callId": query.get("jobId"),
        "machineId": query.get("machineId"),
        "service": query.get("service"),
        "runId": query.get("workflowId") or query.get("runId"),
    }
    native = await request.call_native(
        query={name: value for name, value in wanted.items() if value}
    )
    with_meta = query.get("includeMeta") not in {None, "", "false"}
    found = [
        format_event(event, event["runId"], with_meta=with_meta)
        for event in read_body(native)["items"]
    ]
    return with_body(native, found)


async def _event_meta(request: DialectRequest) -> Response:
    """One event of a run if the path names one; otherwise the run's events, natively."""
    version: int | None = request.request.scope.get(EVENT_VERSION)
    if version is None:
        return await request.call_native()
    native = await request.call_native(query={"after": max(version - 1, 0), "limit": 1})
    found = [event for event in read_body(native)["items"] if event["version"] == version]
    if not found:
        raise NotFoundError(f"The run has no event {version}.")
    return with_body(
        native, format_event(found[0], request.request.path_params["runId"], with_meta=True)
    )


async def _get_usage(request: DialectRequest) -> Response:
    native = await request.call_native(query={})
    days: list[Body] = read_body(native)["items"]
    runs: Counter[str] = Counter()
    for day in days:
        runs[day["day"]] += day["runs"]
    return with_body(
        native,
        {
            "modelUsage": [_model_usage(day) for day in days],
            "agentRuns": [{"date": day, "totalAgentRuns": count} for day, count in runs.items()],
        },
    )


def _model_usage(day: Body) -> Body:
    cached = day["cacheReadTokens"] + day["cacheWriteTokens"]
    return {
        "date": day["day"],
        "modelId": day["model"],
        "totalInputTokens": day["inputTokens"] + cached,
        "totalOutputTokens": day["outputTokens"],
        "totalModelInvocations": day["modelCalls"],
    }


OPERATIONS: Mapping[str, Operation] = {
    "list_clusters": _list_clusters,
    "create_cluster": without_body,
    "get_cluster": _get_cluster,
    "update_cluster": _update_cluster,
    "create_api_key": _create_key,
    "list_api_keys": _list_keys,
    "list_cluster_events": _list_events,
    "list_events": _event_meta,
    "get_usage": _get_usage,
}
