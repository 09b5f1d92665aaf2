"""Another tenant's ids where an address has none: in queries, bodies and headers they say as little as unknown ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from api.app import assemble
from api.context import ApiServices
from tests.api.auth.test_foreign_ids import Tenant, nobodys, tenant
from tests.support.tenants import BODIES, MACHINE, Operation, keyed_operations

DOCUMENT: dict[str, Any] = assemble().openapi()
OPERATIONS = {operation.id: operation for operation in keyed_operations()}
IN_BODIES = {
    "create_run": [{"id": "runId"}, {"config": {"id": "configId"}}],
    "create_message": [{"id": "messageId"}],
    "create_run_config": [{"id": "configId"}],
    "retry_run": [{"messageId": "messageId"}],
}
NO_IDS_IN_BODIES = {"create_structured_output": "modelId", "create_run": "id"}


@pytest.fixture
async def ours(client: httpx2.AsyncClient, services: ApiServices) -> Tenant:
    return await tenant(client, services, "ours")


@pytest.fixture
async def theirs(client: httpx2.AsyncClient, services: ApiServices) -> Tenant:
    return await tenant(client, services, "theirs")


def queries() -> Iterator[tuple[Operation, str]]:
    """Every parameter of a query that takes an id."""
    for item in DOCUMENT["paths"].values():
        for described in item.values():
            for parameter in described.get("parameters", ()):
                name = parameter["name"]
                if parameter["in"] == "query" and (name.endswith("Id")):
                    yield OPERATIONS[described["operationId"]], name


def bodies(schema: dict[str, Any], seen: frozenset[str] = frozenset()) -> Iterator[str]:
    """Names of the ids in a body."""
    name = schema.get("$ref", "").rpartition("/")[2]
    if name and name not in seen:
        yield from bodies(DOCUMENT["components"]["schemas"][name], seen | {name})
    for field, inside in schema.get("properties", {}).items():
        if field in {"id", "ids"} or field.endswith(("Id", "Ids")):
            yield field
        yield from bodies(inside, seen)
    for word in ("anyOf", "oneOf", "allOf"):
        for inside in schema.get(word, ()):
            yield from bodies(inside, seen)


def same(answers: list[httpx2.Response], names: tuple[str, str]) -> bool:
    """The two answers differ in the id that was sent, and in ids and times that were made."""
    texts = [
        answer.text.replace(name, "?") if answer.status_code >= 400 or not answer.is_success else ""
        for answer, name in zip(answers, names, strict=True)
    ]
    return answers[0].status_code == answers[1].status_code and texts[0] == texts[1]


async def test_a_query_for_a_foreign_id_finds_what_one_for_an_unknown_id_finds(
    client: httpx2.AsyncClient, ours: Tenant, theirs: Tenant
) -> None:
    asked = list(queries())
    assert {name for _, name in asked} == {"runId", "callId", "machineId", "configId"}
    headers = {**MACHINE, "Authorization": ours.key}
    for operation, name in asked:
        foreign = theirs.ids[name]
        answers = [
            await client.get(
                operation.address(**ours.ids),
                params={name: value},
                headers=headers,
            )
            for value in (foreign, nobodys(foreign))
        ]
        assert [answer.status_code for answer in answers] == [200, 200], (operation, name)
        assert answers[0].json() == answers[1].json(), (operation, name)


def test_every_id_in_a_body_is_tried() -> None:
    found: dict[str, set[str]] = {}
    for item in DOCUMENT["paths"].values():
        for described in item.values():
            content = described.get("requestBody", {}).get("content", {})
            names = set(bodies(content.get("application/json", {}).get("schema", {})))
            if names - {NO_IDS_IN_BODIES.get(described["operationId"])}:
                found[described["operationId"]] = names
    assert found.keys() <= IN_BODIES.keys()


@pytest.mark.parametrize(
    ("operation", "fields"),
    [(name, fields) for name, all_fields in IN_BODIES.items() for fields in all_fields],
)
async def test_a_foreign_id_in_a_body_is_as_good_as_an_unknown_one(
    client: httpx2.AsyncClient, ours: Tenant, theirs: Tenant, operation: str, fields: dict[str, Any]
) -> None:
    def filled(name: str) -> Any:
        return json.loads(json.dumps(fields).replace(f': "{kind}"', f": {json.dumps(name)}"))

    kind = next(kind for kind in theirs.ids if f': "{kind}"' in json.dumps(fields))
    foreign = theirs.ids[kind]
    names = (foreign, nobodys(foreign))
    answers = [
        await client.request(
            OPERATIONS[operation].method,
            OPERATIONS[operation].address(**ours.ids),
            json={**_body(operation, fields), **filled(name)},
            headers={"Authorization": ours.key},
        )
        for name in names
    ]
    assert same(answers, names), [answer.text for answer in answers]


def _body(operation: str, fields: dict[str, Any]) -> dict[str, Any]:
    given: Any = BODIES.get(operation, {})
    return {} if "config" in fields else dict(given)


@pytest.mark.parametrize(
    "operation", ["poll_calls", "keep_call", "post_result", "create_blob", "register_machine"]
)
async def test_a_foreign_machines_name_opens_nothing(
    client: httpx2.AsyncClient, ours: Tenant, theirs: Tenant, operation: str
) -> None:
    asked = OPERATIONS[operation]
    foreign = theirs.ids["machineId"]
    names = (foreign, nobodys(foreign))
    answers = [
        await client.request(
            asked.method,
            asked.address(**ours.ids),
            params={"service": "sales"} if operation == "poll_calls" else None,
            json=BODIES.get(operation, {}) if asked.method == "POST" else None,
            headers={"Authorization": ours.key, "x-machine-id": name},
        )
        for name in names
    ]
    assert same(answers, names), [answer.text for answer in answers]
    expected = {"poll_calls": 410, "register_machine": 200}.get(operation, 409)
    assert answers[0].status_code == expected, answers[0].text


async def test_a_foreign_idempotency_key_is_nobodys(
    client: httpx2.AsyncClient, ours: Tenant, theirs: Tenant
) -> None:
    ids: list[str] = []
    for who in (theirs, ours):
        made = await client.post(
            f"/clusters/{who.ids['clusterId']}/runs",
            json={"initialPrompt": f"of {who.ids['runId']}"},
            headers={"Authorization": who.key, "Idempotency-Key": "the same"},
        )
        assert made.status_code == 201, made.text
        ids.append(made.json()["id"])
    assert ids[0] != ids[1]
