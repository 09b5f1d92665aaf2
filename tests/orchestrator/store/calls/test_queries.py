"""Calls as they are looked at, their blobs, and the calls that a value came from."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from orchestrator.errors import ConflictError, NotFoundError, SupersededError, TooLargeError
from orchestrator.store import tables
from orchestrator.store.calls.blobs import MAX_RUN_BLOBS
from orchestrator.store.calls.queries import MAX_LISTED_RESULT, CallView
from orchestrator.workflows.interface import RunRef
from perdure.contract import MAX_INLINE_RESULT, MAX_RUN_BLOB_BYTES, BlobType
from tests.support.stage import Stage


async def _finished_call(stage: Stage, *contents: str) -> tuple[RunRef, list[str]]:
    """A run with calls that have these results; their ids."""
    await stage.register("query")
    ref = await stage.run(call_summarization=False)
    orders = await stage.called(ref, *["sales_query"] * len(contents))
    for order, content in zip(orders, contents, strict=True):
        await stage.lease_and_finish(ref, order.call_id, content)
    return ref, [order.call_id for order in orders]


def _ids(found: Sequence[CallView]) -> list[str]:
    return [shown.call.id for shown in found]


async def _find(stage: Stage, ref: RunRef, token: str) -> list[str]:
    found = await stage.store.call_queries.references(
        ref, token, before=None, below=None, limit=100
    )
    return _ids(found)


async def test_a_call_is_found_with_its_run_and_its_result(stage: Stage) -> None:
    ref, (call_id,) = await _finished_call(stage, '{"total":7}')
    shown = await stage.store.call_queries.get(stage.cluster_id, call_id)
    assert (shown.run_id, shown.content, shown.call.id) == (ref.run_id, '{"total":7}', call_id)
    assert shown.run_version == (await stage.get_run(ref)).version


async def test_another_clusters_call_is_as_unknown_as_none(stage: Stage) -> None:
    _, (call_id,) = await _finished_call(stage, "1")
    other = await stage.store.keys.ensure_cluster("other")
    for cluster_id, of_call in ((other, call_id), (stage.cluster_id, "nothing")):
        with pytest.raises(NotFoundError):
            await stage.store.call_queries.get(cluster_id, of_call)
        with pytest.raises(NotFoundError):
            await stage.store.call_queries.original(cluster_id, of_call)


async def test_a_call_without_a_result_has_no_original_yet(stage: Stage) -> None:
    await stage.register("query")
    ref = await stage.run()
    (order,) = await stage.called(ref)
    with pytest.raises(ConflictError, match="no result yet"):
        await stage.store.call_queries.original(stage.cluster_id, order.call_id)


async def test_a_long_result_is_read_at_its_own_address(stage: Stage) -> None:
    ref, (long, listed, short) = await _finished_call(
        stage, "x" * (MAX_INLINE_RESULT + 1), "y" * (MAX_LISTED_RESULT + 1), "z" * MAX_LISTED_RESULT
    )
    queries = stage.store.call_queries
    whole = [(await queries.get(stage.cluster_id, one)).content for one in (long, listed, short)]
    assert [None if text is None else text[0] for text in whole] == [None, "y", "z"]
    page = await queries.page(ref, after=0, limit=100)
    assert [shown.content is None for shown in page] == [True, True, False]
    assert page[0].call.result_size == MAX_INLINE_RESULT + 1
    assert len((await queries.original(stage.cluster_id, long)).content) == MAX_INLINE_RESULT + 1


async def test_a_runs_calls_come_in_pages_in_their_order(stage: Stage) -> None:
    ref, ids = await _finished_call(stage, "1", "2", "3")
    first = await stage.store.call_queries.page(ref, after=0, limit=2)
    rest = await stage.store.call_queries.page(ref, after=first[-1].call.key, limit=2)
    assert _ids([*first, *rest]) == ids
    with pytest.raises(NotFoundError):
        await stage.store.call_queries.page(RunRef(ref.cluster_id, "gone"), after=0, limit=1)


@pytest.mark.parametrize("token", ["100%", "a_b", "Größe", "\\d", "'; --", "ORDER-7"])
async def test_a_value_is_found_as_it_is_written_and_not_otherwise(
    stage: Stage, token: str
) -> None:
    ref, ids = await _finished_call(stage, f'["x {token} y"]', '"100 axb order-7 GRÖSSE d"', token)
    plain = stage.store.database
    async with plain.write() as write:
        await write.execute(
            tables.calls.update().where(tables.calls.c.id == ids[2]).values(result_is_text=True)
        )
    assert await _find(stage, ref, token) == [ids[2], ids[0]]


async def test_a_value_with_quotes_is_found_in_json_where_it_is_escaped(stage: Stage) -> None:
    ref, (inside, _) = await _finished_call(
        stage, '{"said":"\\"go\\" and\\nstop"}', '"go and stop"'
    )
    assert await _find(stage, ref, '"go" and\nstop') == [inside]


async def test_references_can_be_followed_back_in_time(stage: Stage) -> None:
    ref, ids = await _finished_call(stage, '"a1"', '"a2"', '"a3"')
    calls = tables.calls
    for number, call_id in enumerate(ids):
        await stage.alter(calls, calls.c.id == call_id, finished_at=1_000 + number)
    queries = stage.store.call_queries
    before = await queries.references(ref, "a", before=1_002, below=None, limit=9)
    assert _ids(before) == [ids[1], ids[0]]
    first = await queries.references(ref, "a", before=None, below=None, limit=1)
    rest = await queries.references(ref, "a", before=None, below=first[-1].call.key, limit=9)
    assert _ids([*first, *rest]) == ids[::-1]


# -- blobs -----------------------------------------------------------------------------------------


async def _add(stage: Stage, call_id: str, content: bytes = b"{}", machine: str = "m1") -> str:
    return await stage.store.blobs.add(
        stage.cluster_id,
        call_id,
        machine,
        name="report \N{SNOWMAN}",
        type_=BlobType.JSON,
        content=content,
    )


async def test_a_blob_is_stored_beside_the_call_and_out_of_the_conversation(stage: Stage) -> None:
    ref, (call_id,) = await _finished_call(stage, "1")
    blob_id = await _add(stage, call_id, b'{"a": 1}')
    blob, content = await stage.store.blobs.content(stage.cluster_id, blob_id)
    assert (blob.name, blob.type, blob.size) == ("report \N{SNOWMAN}", "application/json", 8)
    assert content == b'{"a": 1}'
    assert [one.id for one in await stage.store.blobs.page(ref, offset=0, limit=9)] == [blob_id]
    shown = await stage.store.call_queries.get(stage.cluster_id, call_id)
    assert [one.id for one in shown.blobs] == [blob_id]
    assert blob_id not in str(await stage.messages(ref))
    (event,) = await stage.events(ref, "blob.created")
    assert (event["blobId"], event["callId"], event["size"]) == (blob_id, call_id, 8)


async def test_only_the_machine_that_holds_or_held_the_call_attaches_to_it(stage: Stage) -> None:
    _, (call_id,) = await _finished_call(stage, "1")
    with pytest.raises(SupersededError):
        await _add(stage, call_id, machine="m2")
    with pytest.raises(NotFoundError):
        await _add(stage, "nothing")


async def test_the_blobs_of_a_run_are_bounded_together(stage: Stage) -> None:
    _, (first, second) = await _finished_call(stage, "1", "2")
    await _add(stage, first)
    blobs = tables.blobs
    await stage.alter(blobs, size=MAX_RUN_BLOB_BYTES - 5)
    with pytest.raises(TooLargeError):
        await _add(stage, second, b"123456")
    await _add(stage, second, b"12345")


async def test_blobs_that_race_stay_within_the_bound(stage: Stage, elsewhere: Stage) -> None:
    _, (call_id,) = await _finished_call(stage, "1")
    await _add(stage, call_id)
    await stage.alter(tables.blobs, size=MAX_RUN_BLOB_BYTES - 5)
    added = await asyncio.gather(
        *(_add(place, call_id, b"123") for place in [stage, elsewhere] * 3), return_exceptions=True
    )
    assert sum(isinstance(one, str) for one in added) == 1


async def test_a_foreign_blob_is_unknown(stage: Stage) -> None:
    ref, (call_id,) = await _finished_call(stage, "1")
    blob_id = await _add(stage, call_id)
    other = await stage.store.keys.ensure_cluster("other")
    with pytest.raises(NotFoundError):
        await stage.store.blobs.content(other, blob_id)
    with pytest.raises(NotFoundError):
        await stage.store.blobs.page(RunRef(other, ref.run_id), offset=0, limit=1)
    assert MAX_RUN_BLOBS == 1_000
