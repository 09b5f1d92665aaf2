"""Blobs that functions return: kept for people, named to the model."""

from __future__ import annotations

import pytest

from perdure import AsyncPerdure, BlobData, CallFailedError, Service, blob
from tests.sdk.with_api.machine import register, work
from tests.support.stage import Stage

PNG = b"\x89PNG\r\n\x1a\n\x00\xff"
charts = Service("charts")


@charts.function
def draw(title: str) -> dict[str, object]:
    chart = blob(f"{title}.png", "image/png", PNG)
    rows = blob("rows.json", "application/json", [{"n": 1}])
    return {"charts": [chart, chart], "rows": rows, "points": 3}


@charts.function
async def only() -> BlobData:
    return blob("notes.txt", "text/plain", "grüß Gott")


@charts.function
def too_many() -> list[BlobData]:
    return [blob(f"{number}", "image/png", bytes(4 * 1024 * 1024)) for number in range(17)]


@pytest.fixture(autouse=True)
async def offered(client: AsyncPerdure) -> None:
    await register(client, charts)


async def test_blobs_are_stored_once_and_named_where_they_stood(
    client: AsyncPerdure, stage: Stage
) -> None:
    call = await client.call(draw, {"title": "sales"})
    await work(client, stage, charts, call.snapshot)
    done = await call.poll()
    shown = {"blob": "sales.png", "type": "image/png", "size": len(PNG)}
    rows = {"blob": "rows.json", "type": "application/json", "size": 9}
    assert done.result == {"charts": [shown, shown], "rows": rows, "points": 3}
    chart, table = done.call.blobs
    assert await client.read_blob(chart) == PNG
    assert await client.read_blob(table.id) == b'[{"n":1}]'
    run = await client.get_run(done.call.run_id)
    assert [one.name for one in await run.blobs()] == ["sales.png", "rows.json"]


async def test_a_blob_may_be_all_there_is(client: AsyncPerdure, stage: Stage) -> None:
    call = await client.call(only)
    await work(client, stage, charts, call.snapshot)
    done = await call.poll()
    assert done.result == {"blob": "notes.txt", "type": "text/plain", "size": 11}
    assert await client.read_blob(done.call.blobs[0]) == "grüß Gott".encode()


async def test_a_blob_that_is_refused_is_an_error_that_names_it(
    client: AsyncPerdure, stage: Stage
) -> None:
    call = await client.call(too_many)
    await work(client, stage, charts, call.snapshot)
    with pytest.raises(CallFailedError, match="rejected the blob '16'") as failed:
        await call.poll()
    assert len(failed.value.call.blobs) == 16
