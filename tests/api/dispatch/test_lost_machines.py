"""A function worker that is dead loses its calls at once; whoever lives after all is refused."""

from __future__ import annotations

import httpx2

from tests.support.stage import Stage


async def _report_lost(client: httpx2.AsyncClient, cluster: str, machine: str) -> httpx2.Response:
    return await client.post(f"/clusters/{cluster}/machines/{machine}/lost")


async def test_a_dead_machine_counts_as_gone_at_once(
    client: httpx2.AsyncClient, cluster: str, stage: Stage
) -> None:
    await stage.register("query", machine="m1")
    assert (await _report_lost(client, cluster, "m1")).status_code == 204
    (machine,) = (await client.get(f"/clusters/{cluster}/machines")).json()["items"]
    assert (machine["id"], machine["status"]) == ("m1", "inactive")
    assert (await _report_lost(client, cluster, "m1")).status_code == 204, "harmless to say twice"
    assert (await _report_lost(client, cluster, "unknown")).status_code == 404


async def test_what_it_had_is_released_and_reported_to_temporal_when_that_is_there(
    client: httpx2.AsyncClient, cluster: str, stage: Stage
) -> None:
    """Temporal is away here: whoever reported it is asked to do so again."""
    await stage.register("query", machine="m1")
    ref = await stage.run()
    (order,) = await stage.called(ref)
    await stage.lease(ref, order.call_id, token=b"its token")
    await stage.acknowledge(order.call_id)
    answers = [await _report_lost(client, cluster, "m1") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [503, 503]
    assert await stage.events(ref, "call.lost") == [
        {"callId": order.call_id, "attempt": 1, "machineId": "m1"}
    ]
    late = await client.post(
        f"/clusters/{cluster}/calls/{order.call_id}/result",
        json={"attempt": 1, "resultType": "resolution", "result": 1},
        headers={"x-machine-id": "m1"},
    )
    assert late.status_code == 409
