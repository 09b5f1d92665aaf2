"""With the payload key set, what users give in confidence is in no row of the store; without it nothing changes."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

import pytest
from pydantic import JsonValue

from orchestrator.errors import UnavailableError
from orchestrator.rules.custom_auth import AUTH_FUNCTION, AUTH_SERVICE
from orchestrator.runtime.encryption import FieldCipher
from orchestrator.store import tables
from orchestrator.store.database.engine import open_database
from orchestrator.store.database.json_columns import to_json
from orchestrator.store.sealed_fields import open_auth_result, open_contexts
from orchestrator.store.store import Store
from orchestrator.workflows.interface import RunRef
from perdure.contract import CachePolicy, FunctionConfig, FunctionReference
from tests.support.stage import Stage, calls_for, new_run

BOX, OTHER, NONE = FieldCipher(b"k" * 32), FieldCipher(b"o" * 32), FieldCipher(None)
CONTEXT, AUTH = {"token": "hush-context"}, {"user": "hush-auth"}
GIVEN: dict[str, Any] = {"context": CONTEXT, "auth_context": AUTH}


@pytest.fixture
async def sealing(database_url: str) -> AsyncGenerator[Stage]:
    """A cluster of a store that has the key."""
    database = await open_database(database_url, cipher=BOX)
    store = Store(database)
    stage = Stage(store, await store.keys.ensure_cluster("sealing"))
    await stage.register("query")
    yield stage
    await database.aclose()


def seen_with(stage: Stage, box: FieldCipher) -> Stage:
    """The same store, as a process with another key sees it."""
    stage.store.database.cipher = box
    return stage


async def everything(stage: Stage) -> str:
    """All rows of all tables, as text."""
    return repr([await stage.rows(table) for table in tables.metadata.tables.values()])


async def test_a_function_gets_what_no_row_shows(sealing: Stage) -> None:
    ref = await sealing.run(**GIVEN)
    (order,) = await sealing.called(ref)
    call = await sealing.lease(ref, order.call_id)
    assert (call.run_context, call.auth_context) == (CONTEXT, AUTH)
    assert "hush" not in await everything(sealing)


async def test_without_the_key_it_is_stored_as_it_is(stage: Stage) -> None:
    await stage.run(**GIVEN)
    kept = await everything(stage)
    assert to_json(CONTEXT) in kept
    assert to_json(AUTH) in kept


async def test_what_was_stored_before_the_key_was_set_stays_readable(sealing: Stage) -> None:
    ref = await seen_with(sealing, NONE).run(**GIVEN)
    (order,) = await seen_with(sealing, BOX).called(ref)
    call = await sealing.lease(ref, order.call_id)
    assert (call.run_context, call.auth_context) == (CONTEXT, AUTH)


@pytest.mark.parametrize(
    ("box", "said"),
    [(NONE, "PERDURE_PAYLOAD_KEY is not set"), (OTHER, "another PERDURE_PAYLOAD_KEY")],
    ids=["no key", "another key"],
)
async def test_where_the_key_is_wrong_a_call_waits_for_the_right_one(
    sealing: Stage, box: FieldCipher, said: str
) -> None:
    ref = await sealing.run(**GIVEN)
    (order,) = await seen_with(sealing, box).called(ref)
    with pytest.raises(UnavailableError, match=said):
        await sealing.lease(ref, order.call_id)
    call = await seen_with(sealing, BOX).lease(ref, order.call_id)
    assert (call.attempt, call.run_context) == (1, CONTEXT)


async def test_a_context_opens_in_its_own_run_only(sealing: Stage) -> None:
    mine = await sealing.get_run(await sealing.run(**GIVEN))
    other = await sealing.get_run(await sealing.run())
    assert open_contexts(BOX, mine) == (CONTEXT, AUTH)
    with pytest.raises(UnavailableError):
        open_contexts(BOX, replace(other, context=mine.context))


async def test_results_are_used_again_for_the_same_context_only(sealing: Stage) -> None:
    await sealing.register(
        "query", config=FunctionConfig(cache=CachePolicy(key_path="$", ttl_seconds=60))
    )
    first = await sealing.run(**GIVEN)
    (order,) = await sealing.called(first)
    await sealing.lease_and_finish(first, order.call_id)
    other = {**GIVEN, "context": {"token": "another"}}
    for given, hit in ((GIVEN, True), (other, False)):
        ref = await sealing.run(**given)
        await sealing.think(ref, calls_for("sales_query"))
        assert ("call.cached" in await sealing.event_types(ref)) == hit


async def test_a_request_is_known_again_though_each_sealing_looks_different(sealing: Stage) -> None:
    asked = new_run(sealing.cluster_id, "one", idempotency_key="k", **GIVEN)
    first, is_new = await sealing.store.runs.create(asked)
    again, is_new_again = await sealing.store.runs.create(asked)
    assert (is_new, is_new_again, first.key) == (True, False, again.key)


async def test_a_token_and_what_the_auth_function_says_of_it_are_sealed(sealing: Stage) -> None:
    await sealing.register(AUTH_FUNCTION, service=AUTH_SERVICE)
    judge = FunctionReference(service=AUTH_SERVICE, function=AUTH_FUNCTION)
    function = await sealing.store.direct_calls.function(sealing.cluster_id, judge)
    assert function is not None
    new = new_run(sealing.cluster_id, prompt=None, kind="call")
    token: dict[str, JsonValue] = {"token": "hush-token"}
    call_id = await sealing.store.direct_calls.create(new, function, token)
    assert call_id is not None
    shown = await sealing.store.call_queries.get(sealing.cluster_id, call_id)
    call = await sealing.lease(RunRef(sealing.cluster_id, shown.run_id), call_id)
    assert call.input == token
    await sealing.finish(call_id, to_json(AUTH))
    assert "hush" not in await everything(sealing)
    shown = await sealing.store.call_queries.get(sealing.cluster_id, call_id)
    assert open_auth_result(BOX, sealing.cluster_id, shown.content or "") == AUTH
    with pytest.raises(UnavailableError, match="PERDURE_PAYLOAD_KEY"):
        open_auth_result(NONE, sealing.cluster_id, shown.content or "")
