"""Functions that raise, hang, exit, and return too much: each becomes a result that the model sees."""

from __future__ import annotations

import json

import pytest
from pydantic import JsonValue

from perdure import AsyncPerdure
from perdure.contract import MAX_RESULT_BYTES, MessageType, RunStatus
from tests.support.running_stack import World, start_worker, until

pytestmark = pytest.mark.timeout(120)


async def answer_of(
    client: AsyncPerdure, function: str, given: dict[str, JsonValue] | None = None
) -> dict[str, JsonValue]:
    """What the model was shown of one call of the function, in a run that went on to its end."""
    script = [{"calls": [{"function": f"e2e_{function}", "input": given or {}}]}, {"text": "end"}]
    run = await client.create_run(
        json.dumps(script), model="scripted/inline", functions=[f"e2e_{function}"]
    )
    done = await run.poll(timeout=90)
    assert done.status is RunStatus.DONE
    assert done.result == "end"
    (shown,) = [m.data for m in await run.messages() if m.type is MessageType.INVOCATION_RESULT]
    return shown


async def test_what_a_function_raises_is_shown_to_the_model(client: AsyncPerdure) -> None:
    shown = await answer_of(client, "raises")
    assert shown["resultType"] == "rejection"
    assert "the stock is empty" in str(shown["result"])


async def test_a_function_that_hangs_times_out(client: AsyncPerdure) -> None:
    shown = await answer_of(client, "hangs")
    assert shown["resultType"] == "rejection"
    assert "2" in str(shown["result"])


async def test_a_function_that_ends_its_process_is_tried_again_elsewhere(
    world: World, client: AsyncPerdure
) -> None:
    script = [
        {"calls": [{"function": "e2e_exits", "input": {"run": "exits-1"}}]},
        {"text": "end"},
    ]
    run = await client.create_run(
        json.dumps(script), model="scripted/inline", functions=["e2e_exits"]
    )
    await until(lambda: world.worker.poll() is not None)
    world.worker = start_worker(world.environment)
    assert (await run.poll(timeout=90)).result == "end"
    (shown,) = [m.data for m in await run.messages() if m.type is MessageType.INVOCATION_RESULT]
    assert shown["result"] == "second time"


async def test_a_result_of_11_kb_is_summarized_and_the_original_is_readable(
    client: AsyncPerdure,
) -> None:
    script: list[dict[str, JsonValue]] = [
        {"calls": [{"function": "e2e_returns", "input": {"size": 11_000}}]},
        {"text": "end"},
    ]
    run = await client.create_run(
        json.dumps(script), model="scripted/inline", functions=["e2e_returns"]
    )
    await run.poll(timeout=60)
    (shown,) = [m.data for m in await run.messages() if m.type is MessageType.INVOCATION_RESULT]
    assert shown["summarized"] is True
    assert "summary of a result of 11000 characters" in str(shown["result"])
    read = {
        "function": "perdure_read_result",
        "input": {"callId": shown["callId"], "offset": 10_990, "length": 100},
    }
    await run.send(json.dumps([{"calls": [read]}, {"text": "read"}]))
    assert (await run.poll(timeout=60)).result == "read"
    part = [m.data for m in await run.messages() if m.type is MessageType.INVOCATION_RESULT][-1]
    assert str(part["result"]).startswith(
        "abcdefghij\n[characters 10990 to 11000 of 11000; the end]"
    )


async def test_a_result_of_1_mb_is_stored_whole(client: AsyncPerdure) -> None:
    shown = await answer_of(client, "returns", {"size": 1_000_000})
    assert "of 1000000 characters" in str(shown["result"])
    assert len(str(shown["result"])) < 12_000


async def test_a_result_of_25_mb_is_refused_with_the_limit(client: AsyncPerdure) -> None:
    shown = await answer_of(client, "returns", {"size": 25_000_000})
    assert shown["resultType"] == "rejection"
    assert f"{MAX_RESULT_BYTES:,}" in str(shown["result"]) or str(MAX_RESULT_BYTES) in str(
        shown["result"]
    )


async def test_a_result_that_is_not_json_is_a_rejection_that_says_so(client: AsyncPerdure) -> None:
    shown = await answer_of(client, "returns_an_object")
    assert shown["resultType"] == "rejection"
    assert "JSON" in str(shown["result"])


async def test_a_call_with_input_that_breaks_the_schema_never_reaches_the_function(
    client: AsyncPerdure,
) -> None:
    shown = await answer_of(client, "returns", {"size": "many"})
    assert shown["resultType"] == "rejection"
    assert "/size" in str(shown["result"])
