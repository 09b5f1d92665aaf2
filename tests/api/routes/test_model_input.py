"""Functions of the standard library and mocks, as a request for a run may name them."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from api.dependencies import ApiServices
from orchestrator.workflows.interface import RunRef
from perdure.contract import FunctionConfig, FunctionDefinition


@pytest.fixture
def runs(cluster: str) -> str:
    return f"/clusters/{cluster}/runs"


@pytest.fixture
async def registered(services: ApiServices, cluster: str) -> None:
    """`sales.query`, and `sales.secret`, which is private."""
    definitions = [
        FunctionDefinition(name="query"),
        FunctionDefinition(name="secret", config=FunctionConfig(private=True)),
    ]
    await services.store.functions.register(
        cluster, "m1", "sales", definitions, heartbeats=True, alive_until=2**52
    )


async def _created(client: httpx2.AsyncClient, runs: str, **fields: Any) -> httpx2.Response:
    return await client.post(runs, json={"initialPrompt": "go", **fields})


@pytest.mark.parametrize(
    "name",
    ["perdure_current_time", {"service": "perdure", "function": "current_time"}],
)
@pytest.mark.usefixtures("registered")
async def test_the_standard_library_is_attached_by_name(
    client: httpx2.AsyncClient, runs: str, name: object
) -> None:
    made = await _created(client, runs, attachedFunctions=["sales_query", name])
    assert made.status_code == 201
    assert made.json()["attachedFunctions"] == [
        {"service": "sales", "function": "query"},
        {"service": "perdure", "function": "current_time"},
    ]


@pytest.mark.parametrize("name", ["perdure_return_result", "perdure_search_functions", "perdure_x"])
async def test_what_is_ours_alone_cannot_be_attached(
    client: httpx2.AsyncClient, runs: str, name: str
) -> None:
    refused = await _created(client, runs, attachedFunctions=[name])
    assert (refused.status_code, refused.json()["code"]) == (422, "unknown_function")


@pytest.mark.usefixtures("registered")
async def test_a_test_run_may_attach_what_it_mocks(
    client: httpx2.AsyncClient, services: ApiServices, cluster: str, runs: str
) -> None:
    mocks = {"crm_find_customer": {"output": {"id": 7}}, "sales_query": {"output": None}}
    made = await _created(
        client,
        runs,
        attachedFunctions=["crm_find_customer", {"service": "hr", "function": "hire"}],
        test={"enabled": True, "mocks": {**mocks, "hr_hire": {"output": 1}}},
    )
    assert made.status_code == 201
    assert made.json()["test"] is True
    assert made.json()["attachedFunctions"] == [
        {"service": "crm", "function": "find_customer"},
        {"service": "hr", "function": "hire"},
    ]
    run = await services.store.runs.get(RunRef(cluster, made.json()["id"]))
    assert run.mocks == '{"crm_find_customer":{"id":7},"sales_query":null,"hr_hire":1}'
    refused = await _created(client, runs, attachedFunctions=["crm_find_customer"])
    assert refused.status_code == 422


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(
    ("test", "pointer"),
    [
        ({"mocks": {"sales_query": {"output": 1}}}, "/test/mocks"),
        ({"enabled": True, "mocks": {"nounderscore": {"output": 1}}}, "/test/mocks/nounderscore"),
        ({"enabled": True, "mocks": {"_x_y": {"output": 1}}}, "/test/mocks/_x_y"),
        ({"enabled": True, "mocks": {"a/b_c~": {"output": 1}}}, "/test/mocks/a~1b_c~0"),
        (
            {"enabled": True, "mocks": {"perdure_return_result": {"output": 1}}},
            "/test/mocks/perdure_return_result",
        ),
        ({"enabled": True, "mocks": {"sales_query": {}}}, "/test/mocks/sales_query/output"),
    ],
)
async def test_mocks_that_cannot_be_are_refused(
    client: httpx2.AsyncClient, runs: str, test: dict[str, Any], pointer: str
) -> None:
    refused = await _created(client, runs, test=test)
    assert refused.status_code == 422
    assert pointer in str(refused.json())


@pytest.mark.usefixtures("registered")
async def test_a_private_function_stays_private_although_it_is_mocked(
    client: httpx2.AsyncClient, runs: str
) -> None:
    refused = await _created(
        client,
        runs,
        attachedFunctions=["sales_secret"],
        test={"enabled": True, "mocks": {"sales_secret": {"output": 1}}},
    )
    assert (refused.status_code, refused.json()["code"]) == (422, "private_function")
