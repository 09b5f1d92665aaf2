"""Operations on clusters, their keys, events and usage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from http import HTTPStatus
from typing import cast

from fastapi import Response

from api.auth.scopes import held
from api.context import ApiServices, services_of
from api.dialects.inferable.event_format import event_of
from api.dialects.inferable.paths import EVENT_VERSION
from api.dialects.inferable.translation import (
    Body,
    Operation,
    all_pages,
    nothing,
    object_of,
    read,
    reword,
)
from api.http.dialect import Question
from orchestrator.errors import NotFoundError
from orchestrator.runtime.clock import to_datetime
from perdure.contract import Scope

_EVENTS = 100
_MACHINES = 100
_HISTORY = 100


# -- clusters --------------------------------------------------------------------------------------


async def _list_clusters(question: Question) -> Response:
    native, found = await all_pages(question)
    return reword(native, found)


async def _get_cluster(question: Question) -> Response:
    native = await question.put()
    cluster: Body = read(native)
    services = services_of(question.request)
    return reword(
        native,
        {
            **cluster,
            "additionalContext": await _additional_context(question, cluster),
            "enableRunConfigs": True,
            "enableKnowledgebase": False,
            "lastPingAt": await _last_ping(services, cluster["id"]),
        },
    )


async def _additional_context(question: Question, cluster: Body) -> Body | None:
    """The text with its former versions, which administrators see."""
    if cluster["additionalContext"] is None:
        return None
    versions = await services_of(question.request).store.clusters.context_versions(
        cluster["id"], before=None, limit=_HISTORY
    )
    current = str(versions[0].version) if versions else "1"
    former = versions[1:] if _is_admin(question, cluster["id"]) else ()
    return {
        "current": {"version": current, "content": cluster["additionalContext"]},
        "history": [{"version": str(one.version), "content": one.content or ""} for one in former],
    }


def _is_admin(question: Question, cluster_id: str) -> bool:
    return Scope.ADMIN.value in held(question.request.state.key, cluster_id)


async def _last_ping(services: ApiServices, cluster_id: str) -> str | None:
    machines = await services.store.machines.page(
        cluster_id, before=None, alive_at=None, limit=_MACHINES
    )
    seen = [one.last_seen_at for one in machines if one.last_seen_at is not None]
    return to_datetime(max(seen)).isoformat() if seen else None


async def _update_cluster(question: Question) -> Response:
    """Change what is sent. The additional context may come with its version; versions are ours to count."""
    body = await object_of(question)
    if body is None:
        return await question.put()
    context = body.get("additionalContext")
    if isinstance(context, dict):
        current = cast("Body", context).get("current")
        text = cast("Body", current).get("content") if isinstance(current, dict) else None
        body = {**body, "additionalContext": text}
    await question.put(body=body)
    return Response(status_code=HTTPStatus.NO_CONTENT)


# -- keys ------------------------------------------------------------------------------------------


async def _create_key(question: Question) -> Response:
    native = await question.put()
    made: Body = read(native)
    return reword(native, {"id": made["id"], "key": made["key"]}, HTTPStatus.OK)


async def _list_keys(question: Question) -> Response:
    native, found = await all_pages(question)
    return reword(native, [{**key, "createdBy": key["createdBy"] or ""} for key in found])


# -- events and usage ------------------------------------------------------------------------------


async def _list_events(question: Question) -> Response:
    asked = question.query
    wanted: dict[str, object] = {
        "limit": _EVENTS,
        "type": asked.get("type"),
        "callId": asked.get("jobId"),
        "machineId": asked.get("machineId"),
        "service": asked.get("service"),
        "runId": asked.get("workflowId") or asked.get("runId"),
    }
    native = await question.put(query={name: value for name, value in wanted.items() if value})
    with_meta = asked.get("includeMeta") not in {None, "", "false"}
    found = [
        event_of(event, event["runId"], with_meta=with_meta) for event in read(native)["items"]
    ]
    return reword(native, found)


async def _event_meta(question: Question) -> Response:
    """One event of a run, where the address names one; else the run's events, natively."""
    version: int | None = question.request.scope.get(EVENT_VERSION)
    if version is None:
        return await question.put()
    native = await question.put(query={"after": max(version - 1, 0), "limit": 1})
    found = [event for event in read(native)["items"] if event["version"] == version]
    if not found:
        raise NotFoundError(f"The run has no event {version}.")
    return reword(native, event_of(found[0], question.request.path_params["runId"], with_meta=True))


async def _get_usage(question: Question) -> Response:
    native = await question.put(query={})
    days: list[Body] = read(native)["items"]
    runs: Counter[str] = Counter()
    for day in days:
        runs[day["day"]] += day["runs"]
    return reword(
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
    "create_cluster": nothing,
    "get_cluster": _get_cluster,
    "update_cluster": _update_cluster,
    "create_api_key": _create_key,
    "list_api_keys": _list_keys,
    "list_cluster_events": _list_events,
    "list_events": _event_meta,
    "get_usage": _get_usage,
}
