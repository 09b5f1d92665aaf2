"""Keys of several kinds, and every operation of the API as somebody may ask for it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import httpx2
from fastapi.routing import iter_route_contexts

from api.app import assemble
from api.context import ApiServices
from api.dependencies import KeyedRoute
from perdure.contract import Scope

MACHINE = {"x-machine-id": "tests"}
_TEXTS = {"service": "sales", "function": "query", "transition": "1"}
"""What stands in an address for parameters that are no ids."""
QUERIES: Mapping[str, Mapping[str, str]] = {
    "poll_calls": {"service": "sales"},
    "list_references": {"token": "x"},
    "search_run_configs": {"search": "x"},
}
BODIES: Mapping[str, object] = {
    "create_run": {"initialPrompt": "[]"},
    "create_message": {"message": "x"},
    "edit_message": {"message": "x"},
    "set_feedback": {"comment": "x", "score": 1},
    "post_result": {"resultType": "resolution", "result": 1},
    "create_api_key": {"name": "x"},
    "decide_call": {"approved": True},
    "create_call": {"service": "sales", "function": "query", "input": {}},
    "create_run_config": {"name": "x", "initialPrompt": "x"},
    "put_run_config": {"name": "x", "initialPrompt": "x"},
    "create_structured_output": {"prompt": "x", "resultSchema": {"type": "object"}},
    "create_blob": {
        "name": "x",
        "type": "application/json",
        "encoding": "base64",
        "size": 2,
        "data": "e30=",
    },
}
"""Bodies that are taken; of other operations `{}` is."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation that takes a key."""

    id: str
    method: str
    path: str

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the ids in its address, the cluster's first."""
        return tuple(name for name in re.findall(r"\{(\w+)\}", self.path) if name not in _TEXTS)

    def address(self, **ids: str) -> str:
        """Its address with these ids; `unknown` for every other one."""
        return re.sub(r"\{(\w+)\}", lambda m: {**_TEXTS, **ids}.get(m[1], "unknown"), self.path)

    async def ask(
        self, client: httpx2.AsyncClient, authorization: str, **ids: str
    ) -> httpx2.Response:
        """Ask for it, as a machine too."""
        headers = {**MACHINE, "Authorization": authorization}
        if self.id == "stream_events":
            headers["Accept"] = "text/event-stream"
        body = BODIES.get(self.id, {}) if self.method in {"POST", "PUT"} else None
        return await client.request(
            self.method,
            self.address(**ids),
            json=body,
            params=dict(QUERIES.get(self.id, {})),
            headers=headers,
        )


def keyed_operations() -> list[Operation]:
    """Every operation that takes a key; that which deletes the cluster comes last."""
    found: list[Operation] = []
    for context in iter_route_contexts(assemble().routes):
        route = context.original_route
        if isinstance(route, KeyedRoute):
            (method,) = route.methods or {"?"}
            found.append(Operation(route.operation_id or "", method, context.path_format or ""))
    return sorted(found, key=lambda operation: operation.id == "delete_cluster")


async def key_with(services: ApiServices, cluster: str, *scopes: Scope) -> str:
    """A new key of the cluster, as it is sent."""
    _, key = await services.store.keys.create(cluster, _name(scopes), scopes=scopes)
    return f"Bearer {key}"


def _name(scopes: Iterable[Scope]) -> str:
    return "-".join(scopes) or "none"
