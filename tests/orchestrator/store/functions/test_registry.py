"""Functions: each machine speaks for itself, and no two functions share the name the model knows."""

from __future__ import annotations

import asyncio

import pytest

from orchestrator.errors import ConflictError, InvalidRequestError
from orchestrator.llm.prompts import OWN_TOOLS
from orchestrator.llm.tools import (
    DEFAULT_DEADLINE_MS,
    DEFAULT_TIMEOUT_MS,
    MAX_TOOL_NAME,
    tool_name,
)
from orchestrator.runtime.clock import now_ms
from orchestrator.store import tables
from orchestrator.store.functions.available import call_settings
from orchestrator.store.functions.registry import MACHINE_STALE_AFTER_MS
from perdure.contract import FunctionConfig, FunctionDefinition, FunctionReference
from tests.support.stage import Stage


async def _names(stage: Stage) -> list[str]:
    known = await stage.store.functions.all_of(stage.cluster_id)
    return [f"{record.service}.{record.name}" for record in known]


async def _live(stage: Stage) -> dict[str, int]:
    services = await stage.store.functions.services(stage.cluster_id)
    return {f.name: f.live_machines for service in services for f in service.functions}


async def _offered(stage: Stage) -> list[str]:
    question = await stage.begin_step(await stage.run())
    return [function.tool.name for function in question.tools.functions]


# -- what a machine offers -------------------------------------------------------------------------


async def test_a_machine_replaces_what_it_offered_of_a_service(stage: Stage) -> None:
    await stage.register("query", "count")
    await stage.register("announce", service="news")
    await stage.register("query", "total")
    assert await _names(stage) == ["news.announce", "sales.query", "sales.total"]
    registered = await stage.store.functions.registered(stage.cluster_id, "m1", "sales")
    assert registered == {"query", "total"}


async def test_a_machine_can_withdraw_everything(stage: Stage) -> None:
    await stage.register("query")
    await stage.register()
    assert await _names(stage) == []
    assert await stage.store.functions.registered(stage.cluster_id, "m1", "sales") == frozenset()


async def test_what_another_machine_offers_stays(stage: Stage) -> None:
    await stage.register("query", "count", machine="m1")
    await stage.register("count", machine="m2")
    assert await _names(stage) == ["sales.count", "sales.query"]
    assert await _live(stage) == {"count": 2, "query": 1}
    await stage.register(machine="m1")
    assert await _names(stage) == ["sales.count"]


async def test_a_machine_that_was_silent_for_long_offers_nothing_any_more(stage: Stage) -> None:
    await stage.register("old", machine="gone", alive_for=-MACHINE_STALE_AFTER_MS - 1_000)
    await stage.register("away", machine="away", alive_for=-MACHINE_STALE_AFTER_MS + 60_000)
    await stage.register("query", machine="m1")
    assert await _names(stage) == ["sales.away", "sales.query"]


async def test_a_function_outlives_its_machine_until_somebody_registers(stage: Stage) -> None:
    await stage.register("query", machine="gone", alive_for=-10 * MACHINE_STALE_AFTER_MS)
    assert await _names(stage) == ["sales.query"]
    assert await _live(stage) == {"query": 0}


async def test_the_latest_definition_counts(stage: Stage) -> None:
    await stage.register("query", machine="m1")
    definition = FunctionDefinition(
        name="query",
        description="Ask.",
        schema={"type": "object", "properties": {"sql": {"type": "string"}}},
        config=FunctionConfig(timeout_seconds=2, retries=3),
    )
    await stage.store.functions.register(
        stage.cluster_id,
        "m2",
        "sales",
        [definition],
        heartbeats=False,
        alive_until=now_ms() + 9_000,
    )
    (service,) = await stage.store.functions.services(stage.cluster_id)
    (function,) = service.functions
    assert (function.description, function.live_machines) == ("Ask.", 2)
    assert function.schema_ == definition.schema_
    assert function.config == FunctionConfig(timeout_seconds=2, retries=3)


async def test_live_machines_are_counted_by_their_last_sign_of_life(stage: Stage) -> None:
    await stage.register("query", machine="m1", alive_for=-1)
    await stage.register("query", machine="m2")
    assert await _live(stage) == {"query": 1}
    await stage.store.functions.touch(
        stage.cluster_id, "m1", heartbeats=True, alive_until=now_ms() + 60_000
    )
    assert await _live(stage) == {"query": 2}


async def test_clusters_know_nothing_of_each_other(stage: Stage) -> None:
    await stage.register("query")
    ours = Stage(stage.store, await stage.store.keys.ensure_cluster("ours"))
    await ours.register("query", "count", alive_for=-1)
    assert await _live(stage) == {"query": 1}
    assert await _live(ours) == {"count": 0, "query": 0}
    await ours.register()
    assert await _names(stage) == ["sales.query"]


async def test_machines_that_start_together_all_register(stage: Stage, elsewhere: Stage) -> None:
    for _ in range(3):
        await asyncio.gather(
            *(
                place.register("query", "count", machine=f"m{number}")
                for number, place in enumerate([stage, elsewhere] * 4)
            )
        )
        assert await _live(stage) == {"count": 8, "query": 8}


async def test_a_machine_that_starts_twice_at_once_offers_its_functions_once(
    stage: Stage, elsewhere: Stage
) -> None:
    await asyncio.gather(*(place.register("query") for place in [stage, elsewhere] * 3))
    assert await _live(stage) == {"query": 1}


# -- names -----------------------------------------------------------------------------------------


def test_a_tool_is_called_service_and_function_and_long_names_get_a_stable_end() -> None:
    assert tool_name("sales", "query") == "sales_query"
    just = tool_name("s" * 31, "f" * 32)
    assert just == "s" * 31 + "_" + "f" * 32
    long = tool_name("s" * 31, "f" * 33)
    assert len(long) == MAX_TOOL_NAME
    assert long == "s" * 31 + "_" + "f" * 21 + "_a013751fad"
    assert long != tool_name("s" * 31, "f" * 32 + "g")


@pytest.mark.parametrize("service", ["perdure", "Perdure", "inferable", "toolhouse"])
async def test_reserved_services_are_refused(stage: Stage, service: str) -> None:
    with pytest.raises(InvalidRequestError, match="reserved") as caught:
        await stage.register("query", service=service)
    assert caught.value.pointer == "/service"


@pytest.mark.parametrize("own", sorted(name for name in OWN_TOOLS if name.count("_") > 1))
async def test_no_function_takes_the_name_of_a_tool_of_ours(stage: Stage, own: str) -> None:
    service, _, name = own.rpartition("_")
    with pytest.raises(InvalidRequestError, match=own) as caught:
        await stage.register("fine", name, service=service)
    assert caught.value.pointer == "/functions/1/name"
    assert await _names(stage) == []


async def test_a_name_given_twice_is_refused(stage: Stage) -> None:
    with pytest.raises(InvalidRequestError, match="given twice") as caught:
        await stage.register("query", "count", "query")
    assert caught.value.pointer == "/functions/2/name"


async def test_a_function_with_the_full_name_of_another_is_refused_and_nothing_changes(
    stage: Stage,
) -> None:
    await stage.register("a_b", service="x")
    await stage.register("old", service="x_a", machine="m2")
    with pytest.raises(ConflictError, match=r"same full name") as caught:
        await stage.register("b", service="x_a", machine="m2")
    assert caught.value.code == "name_collision"
    assert await _names(stage) == ["x.a_b", "x_a.old"]
    assert await stage.store.functions.registered(stage.cluster_id, "m2", "x_a") == {"old"}


# -- what the model is offered ---------------------------------------------------------------------


async def test_private_functions_and_handlers_are_never_offered(stage: Stage) -> None:
    await stage.register("query", machine="m1")
    await stage.register("secret", machine="m2", config=FunctionConfig(private=True))
    await stage.register("announce", machine="m3", config=FunctionConfig(handler=True))
    assert await _offered(stage) == ["sales_query"]
    assert await _names(stage) == ["sales.announce", "sales.query", "sales.secret"]


async def test_a_function_without_a_schema_takes_an_empty_object(stage: Stage) -> None:
    await stage.register("query")
    (function,) = (await stage.begin_step(await stage.run())).tools.functions
    assert function.tool.schema == {"type": "object", "properties": {}}
    assert function.tool.description == ""


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (FunctionConfig(), (1, DEFAULT_TIMEOUT_MS, DEFAULT_DEADLINE_MS)),
        (FunctionConfig(retries=2, timeout_seconds=1.5), (3, 1_500, DEFAULT_DEADLINE_MS)),
        (FunctionConfig(retry_count_on_stall=4), (5, DEFAULT_TIMEOUT_MS, DEFAULT_DEADLINE_MS)),
        (FunctionConfig(retries=0, retry_count_on_stall=4), (1, 300_000, 86_400_000)),
        (FunctionConfig(deadline_seconds=60), (1, DEFAULT_TIMEOUT_MS, 60_000)),
    ],
)
async def test_settings_say_how_calls_are_tried(
    stage: Stage, config: FunctionConfig, expected: tuple[int, int, int]
) -> None:
    await stage.register("query", config=config)
    reference = FunctionReference(service="sales", function="query")
    async with stage.store.database.read() as read:
        settings = await call_settings(read, stage.cluster_id, reference)
    assert (settings.max_attempts, settings.timeout_ms, settings.deadline_ms) == expected


async def test_a_call_keeps_the_settings_it_was_made_with(stage: Stage) -> None:
    await stage.register("query", config=FunctionConfig(retries=2))
    ref = await stage.run()
    (order,) = await stage.called(ref)
    await stage.register("query", config=FunctionConfig(retries=9))
    assert (await stage.call_row(order.call_id))["max_attempts"] == 3
    assert len(await stage.rows(tables.functions)) == 1
