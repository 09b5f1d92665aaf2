"""Follow-ups over HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import httpx2

NewRun = Callable[..., Awaitable[str]]


async def test_a_follow_up_is_queued_behind_the_prompt(
    client: httpx2.AsyncClient, cluster: str, new_run: NewRun
) -> None:
    messages = f"/clusters/{cluster}/runs/{await new_run(initialPrompt='first')}/messages"
    for text in ("second", "third"):
        assert (await client.post(messages, json={"message": text})).status_code == 201
    first = (await client.get(messages, params={"limit": 2})).json()
    rest = (await client.get(messages, params={"cursor": first["nextCursor"]})).json()
    items = first["items"] + rest["items"]
    assert [item["data"]["message"] for item in items] == ["first", "second", "third"]
    assert {item["type"] for item in items} == {"human"}
    assert rest["nextCursor"] is None


async def test_the_same_message_id_again_is_the_same_message(
    client: httpx2.AsyncClient, cluster: str, new_run: NewRun
) -> None:
    messages = f"/clusters/{cluster}/runs/{await new_run()}/messages"
    body = {"message": "hello", "id": "message-1"}
    first, second = [await client.post(messages, json=body) for _ in range(2)]
    assert first.json() == second.json()
    other = await client.post(messages, json={**body, "message": "goodbye"})
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")


async def test_a_run_that_is_not_interactive_takes_no_follow_up(
    client: httpx2.AsyncClient, cluster: str, new_run: NewRun
) -> None:
    run = await new_run(interactive=False)
    response = await client.post(f"/clusters/{cluster}/runs/{run}/messages", json={"message": "x"})
    assert (response.status_code, response.json()["code"]) == (409, "run_is_not_interactive")
