"""The tables of endpoints in the page on the Inferable manner: what they say is served is, and nothing else."""

from __future__ import annotations

import re

import httpx2
import pytest

from tests.conformance.inferable.served import PAGE, Endpoint, endpoints

_ENDPOINTS = endpoints()


def test_every_row_of_the_tables_is_read() -> None:
    rows = re.findall(r"^\| (?:⊤ )?(?:GET|POST|PUT|DELETE) ", PAGE.read_text(), re.MULTILINE)
    assert len(rows) == len(_ENDPOINTS) > 60
    assert len({str(endpoint) for endpoint in _ENDPOINTS}) == len(_ENDPOINTS)


@pytest.mark.parametrize("endpoint", _ENDPOINTS, ids=str)
async def test_an_endpoint_is_served_as_the_table_says(
    theirs: httpx2.AsyncClient, endpoint: Endpoint
) -> None:
    address = re.sub(r":\w+", "unknown", endpoint.path)
    body: dict[str, str] | None = {} if endpoint.method in {"POST", "PUT"} else None
    response = await theirs.request(endpoint.method, address, json=body)
    unknown_route = f"Route {endpoint.method}:{address} not found" in response.text
    assert unknown_route is not endpoint.served
    if not endpoint.served:
        message = f"Route {endpoint.method}:{address} not found"
        assert response.json() == {"message": message, "error": "Not Found", "statusCode": 404}


async def test_in_native_mode_the_other_names_mean_nothing(
    client: httpx2.AsyncClient, cluster: str
) -> None:
    for noun in ("jobs/x", "agents/x"):
        assert (await client.get(f"/clusters/{cluster}/{noun}")).json()["code"] == "not_found"
