"""What the Inferable clients send, as far as several tests need it."""

from __future__ import annotations

from typing import Any

import httpx2

MACHINE = "c6daaafe69af6853"
SDK = {"x-machine-sdk-version": "0.30.61", "x-machine-sdk-language": "typescript"}
QUERY: dict[str, Any] = {
    "name": "query",
    "description": "Query.",
    "schema": '{"type": "object", "properties": {"sql": {"type": "string"}}}',
    "config": {"cache": {"keyPath": "$.sql", "ttlSeconds": 3}, "timeoutSeconds": 7},
}


async def create(client: httpx2.AsyncClient, runs: str, **fields: object) -> str:
    response = await client.post(runs, json={"initialPrompt": "[]", **fields})
    assert response.status_code == 201, response.text
    run_id: str = response.json()["id"]
    return run_id


async def register(client: httpx2.AsyncClient, *functions: dict[str, Any]) -> httpx2.Response:
    body = {"service": "sales", "functions": list(functions)}
    return await client.post("/machines", json=body, headers={"x-sentinel-no-mask": "1"})
