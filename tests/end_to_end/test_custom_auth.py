"""A cluster made over HTTP whose users come with tokens of its own: from the header to the function and back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx2
import pytest
from pydantic import JsonValue

from tests.support.running_stack import World

pytestmark = pytest.mark.timeout(60)


@dataclass(frozen=True, slots=True)
class Shop:
    """A cluster with a machine that judges tokens and sells."""

    http: httpx2.AsyncClient
    path: str

    async def take(self, service: str) -> dict[str, JsonValue]:
        """Wait for a call of the service."""
        answer = await self.http.get(
            f"{self.path}/calls", params={"service": service, "limit": 1, "wait": 20}
        )
        (call,) = answer.json()
        taken: dict[str, JsonValue] = call
        return taken

    async def answer(self, call: dict[str, JsonValue], kind: str, result: JsonValue) -> None:
        body = {"resultType": kind, "result": result, "attempt": call["attempt"]}
        answer = await self.http.post(f"{self.path}/calls/{call['id']}/result", json=body)
        assert answer.status_code == 204, answer.text

    async def judge(self) -> JsonValue:
        """Judge one token: only ada's is good. The token."""
        call = await self.take("default")
        token = call["input"]["token"] if isinstance(call["input"], dict) else None
        if token == "ada":
            await self.answer(call, "resolution", {"userId": "ada"})
        else:
            await self.answer(call, "rejection", {"name": "PermissionError", "message": "no"})
        return token


@pytest.fixture
async def shop(world: World) -> AsyncIterator[Shop]:
    managing = {"authorization": f"Bearer {world.api_key}"}
    async with httpx2.AsyncClient(base_url=world.url, timeout=40) as http:
        made = await http.post("/clusters", json={"name": "a shop"}, headers=managing)
        path = f"/clusters/{made.json()['id']}"
        key = await http.post(f"{path}/api-keys", json={"name": "all"}, headers=managing)
        http.headers["authorization"] = f"Bearer {key.json()['key']}"
        http.headers["x-machine-id"] = "shop-machine"
        await http.put(path, json={"enableCustomAuth": True})
        for service, function in (("default", "handleCustomAuth"), ("shop", "buy")):
            body = {"service": service, "functions": [{"name": function}]}
            assert (await http.post("/machines", json=body)).status_code == 200
        yield Shop(http, path)
        assert (await http.delete(path)).status_code == 204


async def test_a_token_is_judged_once_and_its_owner_known_to_the_functions(shop: Shop) -> None:
    ada, eve = {"authorization": "custom ada"}, {"authorization": "custom eve"}
    script: list[JsonValue] = [{"calls": [{"function": "shop_buy", "input": {}}]}, {"text": "end"}]
    body = {"initialPrompt": json.dumps(script), "model": "scripted/inline"}
    made, judged = await asyncio.gather(
        shop.http.post(f"{shop.path}/runs", json=body, headers=ada), shop.judge()
    )
    assert (made.status_code, judged) == (201, "ada")
    call = await shop.take("shop")
    assert call["authContext"] == {"userId": "ada"}
    await shop.answer(call, "resolution", "bought")
    run = f"{shop.path}/runs/{made.json()['id']}"
    ended = await shop.http.get(run, params={"wait": 20, "until": "final"}, headers=ada)
    assert (ended.status_code, ended.json()["status"]) == (200, "done")
    refused, judged = await asyncio.gather(shop.http.get(run, headers=eve), shop.judge())
    assert (refused.status_code, judged) == (401, "eve")
    assert (await shop.http.get(run, headers=eve)).status_code == 401, "without asking again"
    noted = (await shop.http.get(f"{shop.path}/audit")).json()["items"]
    assert ("create_run", 201) in {(one["operation"], one["status"]) for one in noted}
