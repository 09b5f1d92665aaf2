"""Cursors, numbers and names that no client sends by mistake: refused, or nothing found, on both databases. Never a 500."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from api.app import assemble
from api.context import ApiServices
from api.http.json_body import MAX_MISTAKES
from api.http.pagination import MAX_TEXT_CURSOR, from_text_cursor, to_cursor, to_text_cursor
from orchestrator.settings import Settings
from perdure.contract import Scope
from tests.api.auth.test_foreign_ids import Tenant, tenant
from tests.support.api_app import NOBODY
from tests.support.tenants import MACHINE, QUERIES, Operation, key_with, keyed_operations

DOCUMENT: dict[str, Any] = assemble().openapi()
LARGEST = 10**18 - 1
OPERATIONS = {operation.id: operation for operation in keyed_operations()}


def encoded(text: str | bytes) -> str:
    raw = text if isinstance(text, bytes) else text.encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


POSITIONS = [
    *(
        to_cursor(*([number] * parts))
        for number in (0, 2**31, 2**63 % 10**18, LARGEST)
        for parts in (1, 2, 3)
    ),
    *(
        to_text_cursor(""),
        to_text_cursor("~" * 250),
        to_text_cursor(LARGEST, "~"),
        to_text_cursor(0, ""),
    ),
]
"""Cursors of the right form, which no list gave."""
NO_CURSORS = [
    *("", "\0", "A", "%", "=", "é", "../..", "A" * 100, "A" * MAX_TEXT_CURSOR, "A" * 5_000),
    *(
        encoded(text)
        for text in ("-1", "1e3", "1.", ".1", "١", "NaN", "1" * 19, "1\0", b"\xff\xfe")
    ),
    *map(encoded, ("null", "true", "{}", "[]", "[null]", "[true]", "[1.5]", '[[0],""]')),
    *map(encoded, (f"[{10**18}]", '[-1,"a"]', '["\\u0000"]', '["\\u00e9"]', '[{"a":1}]')),
    *(
        encoded(text)
        for text in ("[" * 300, "[" * 150 + "]" * 150, "[1e999]", "[NaN]", '["\\ud800"]')
    ),
]


@pytest.fixture
def settings(database_url: str) -> Settings:
    return Settings(
        database_url=database_url,
        temporal_address=NOBODY,
        max_wait_seconds=0.01,
        default_model="scripted/inline",
    )


@pytest.fixture
async def ours(client: httpx2.AsyncClient, services: ApiServices) -> Tenant:
    mine = await tenant(client, services, "ours")
    return replace(mine, key=await key_with(services, mine.ids["clusterId"], *Scope))


def parameters(place: str) -> Iterator[tuple[Operation, dict[str, Any]]]:
    """Every parameter of that place that the document has, with the operation that takes it."""
    for item in DOCUMENT["paths"].values():
        for described in item.values():
            for parameter in described.get("parameters", ()):
                if parameter["in"] == place and described["operationId"] in OPERATIONS:
                    yield OPERATIONS[described["operationId"]], parameter


async def asked(
    client: httpx2.AsyncClient, operation: Operation, who: Tenant, **query: str
) -> httpx2.Response:
    headers = {**MACHINE, "Authorization": who.key}
    known = dict(QUERIES.get(operation.id, {}))
    return await client.get(
        operation.address(**who.ids), params={**known, **query}, headers=headers
    )


def refused(answer: httpx2.Response) -> bool:
    return answer.status_code == 422 and answer.json()["code"] in {
        "invalid_cursor",
        "invalid_request",
    }


async def test_whatever_stands_for_a_cursor_is_a_place_in_the_list_or_refused(
    client: httpx2.AsyncClient, ours: Tenant
) -> None:
    lists = [one for one, parameter in parameters("query") if parameter["name"] == "cursor"]
    assert len(lists) >= 14
    wrong: list[str] = []
    for operation in lists:
        placed = [await asked(client, operation, ours, cursor=text) for text in POSITIONS]
        if not any(answer.status_code == 200 for answer in placed):
            wrong.append(f"{operation.id} takes none of the positions")
        for text, answer in zip(POSITIONS, placed, strict=True):
            if answer.status_code != 200 and not refused(answer):
                wrong.append(f"{operation.id} {text!r}: {answer.status_code} {answer.text[:200]}")
        for text in NO_CURSORS:
            answer = await asked(client, operation, ours, cursor=text)
            if not refused(answer):
                wrong.append(f"{operation.id} {text!r}: {answer.status_code} {answer.text[:200]}")
    assert not wrong, "\n".join(wrong)


async def test_a_number_has_bounds_and_those_are_accepted(
    client: httpx2.AsyncClient, ours: Tenant
) -> None:
    wrong: list[str] = []
    numbers = 0
    for operation, parameter in parameters("query"):
        kind: dict[str, Any] = parameter["schema"]
        kind = next((one for one in kind.get("anyOf", ()) if one.get("type") != "null"), kind)
        if operation.method != "GET" or kind.get("type") not in {"integer", "number"}:
            continue
        numbers += 1
        name, least, most = parameter["name"], kind.get("minimum"), kind.get("maximum")
        if least is None or most is None:
            wrong.append(f"{operation.id} {name} has no bounds")
            continue
        for value in (least, most):
            answer = await asked(client, operation, ours, **{name: str(value)})
            if answer.status_code not in {200, 404}:
                wrong.append(f"{operation.id} {name}={value}: {answer.status_code} {answer.text}")
        for text in (str(least - 1), str(most + 1), "9" * 400, "1e400", "NaN", "x", "1\0", ""):
            answer = await asked(client, operation, ours, **{name: text})
            if not refused(answer):
                wrong.append(f"{operation.id} {name}={text[:20]!r}: {answer.status_code}")
    assert numbers > 20
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("place", ["path", "query"])
async def test_a_word_that_no_database_keeps_finds_nothing(
    client: httpx2.AsyncClient, ours: Tenant, place: str
) -> None:
    wrong: list[str] = []
    for operation, parameter in parameters(place):
        name = parameter["name"]
        for text in ("%00", "%FF", "%ED%A0%80", "a" * 9_000, "%F0%9F%92%A3", "%27%22%5C%25_"):
            address = operation.address(
                **({**ours.ids, name: text} if place == "path" else ours.ids)
            )
            query = "" if place == "path" else f"?{name}={text}"
            headers = {**MACHINE, "Authorization": ours.key}
            body: Any = {} if operation.method in {"POST", "PUT"} else None
            answer = await client.request(
                operation.method, f"{address}{query}", json=body, headers=headers
            )
            taken = place == "query" and answer.status_code == 200 and len(text) < 100
            if answer.status_code not in {404, 410, 422} and not taken:
                wrong.append(
                    f"{operation.id} {name}={text[:20]}: {answer.status_code} {answer.text}"
                )
    assert not wrong, "\n".join(wrong)


async def test_the_name_of_a_machine_is_bounded_before_it_is_remembered(
    client: httpx2.AsyncClient, services: ApiServices, cluster: str, ours: Tenant
) -> None:
    for name in ("m" * 257, "m" * 100_000):
        answer = await client.get(
            f"/clusters/{ours.ids['clusterId']}/calls",
            params={"service": "sales"},
            headers={"Authorization": ours.key, "x-machine-id": name},
        )
        assert refused(answer), (name[:10], answer.text)
        assert services.liveness.info(ours.ids["clusterId"], name) == (None, None)
    await client.get("/me", headers={"x-machine-id": "m" * 256})
    assert services.liveness.info(cluster, "m" * 256) != (None, None)


def test_a_cursor_holds_the_longest_name_that_a_machine_may_have() -> None:
    name = '"' * 256
    cursor = to_text_cursor(LARGEST, name)
    assert len(cursor) <= MAX_TEXT_CURSOR
    assert from_text_cursor(cursor, int, str) == (LARGEST, name)


async def test_a_cursor_opens_no_other_cluster(
    client: httpx2.AsyncClient, services: ApiServices, ours: Tenant
) -> None:
    theirs = await tenant(client, services, "theirs")
    found: list[str] = []
    lists = [one for one, parameter in parameters("query") if parameter["name"] == "cursor"]
    for operation in lists:
        if operation.id == "list_clusters":
            continue  # of every cluster, for keys that manage them all
        for text in POSITIONS:
            answer = await asked(client, operation, ours, cursor=text)
            found += [
                f"{operation.id} {text!r}: {name}"
                for name, value in theirs.ids.items()
                if f'"{value}"' in answer.text
            ]
    assert not found, "\n".join(found)


async def test_more_mistakes_than_can_be_reported_are_reported_as_too_many(
    client: httpx2.AsyncClient, ours: Tenant
) -> None:
    create = OPERATIONS["create_run"].address(**ours.ids)
    headers = {"Authorization": ours.key}
    for number, says in ((MAX_MISTAKES + 1, "5,000 errors"), (MAX_MISTAKES - 1, "no field `0`")):
        body = dict.fromkeys(map(str, range(number)), 1)
        answer = await client.post(create, json=body, headers=headers)
        assert refused(answer)
        assert says in answer.json()["detail"]
    text = {"initialPrompt": ", " * 200_000, "context": {"all": ["x"] * 20_000}}
    taken = await client.post(create, json=text, headers=headers)
    assert taken.status_code == 201, taken.text


async def test_a_query_has_a_bound_of_parameters(client: httpx2.AsyncClient, ours: Tenant) -> None:
    address = OPERATIONS["list_runs"].address(**ours.ids)
    for number, says in ((101, "100 parameters"), (100, "There is no query parameter")):
        query = "&".join(f"a{n}=1" for n in range(number))
        answer = await client.get(f"{address}?{query}", headers={"Authorization": ours.key})
        assert refused(answer)
        assert says in answer.json()["detail"]
