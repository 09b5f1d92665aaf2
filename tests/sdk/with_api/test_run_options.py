"""Every option of `create_run`, as the real API understood it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from orchestrator.workflows.interface import RunRef
from perdure import (
    AsyncPerdure,
    Budget,
    FunctionReference,
    Handler,
    InvalidRequestError,
    RunConfigReference,
    RunStatus,
    Service,
    StatusChange,
    Webhook,
)
from perdure.contract import StatusChangeTarget
from tests.support.stage import Stage

shop = Service("shop")


@shop.function
def price(item: str) -> int:
    return len(item)


@shop.on_status_change
def announce(change: StatusChange) -> None: ...


class Order(BaseModel):
    total: int


async def offer(stage: Stage) -> None:
    """Have the service registered, as a function worker would."""
    definitions = shop.definition().functions
    await stage.store.functions.register(
        stage.cluster_id, "m1", "shop", definitions, heartbeats=True, alive_until=2**50
    )


async def test_plain_options_reach_the_run(client: AsyncPerdure, stage: Stage) -> None:
    await offer(stage)
    run = await client.create_run(
        "[]",
        result_schema=Order,
        functions=[price],
        tags=["nightly", "sales"],
        metadata={"team:eu": "sales"},
        priority=1,
        budget=Budget(tokens=1_000, calls=3),
        reasoning_traces=False,
        call_summarization=False,
        interactive=False,
        system_prompt="Be brief.",
        name="orders",
    )
    seen = run.snapshot
    assert (seen.tags, seen.metadata) == (["nightly", "sales"], {"team:eu": "sales"})
    assert (seen.priority, seen.name, seen.system_prompt) == (1, "orders", "Be brief.")
    assert seen.budget == Budget(tokens=1_000, calls=3)
    kept = (seen.reasoning_traces, seen.call_summarization, seen.interactive)
    assert kept == (False, False, False)
    assert seen.attached_functions == [FunctionReference(service="shop", function="price")]
    assert isinstance(seen.result_schema, dict)
    assert seen.result_schema["required"] == ["total"]


async def test_a_deadline_is_a_time_or_counts_from_now(client: AsyncPerdure) -> None:
    tomorrow = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    assert (await client.create_run("[]", deadline=tomorrow)).snapshot.deadline == tomorrow
    soon = (await client.create_run("[]", deadline=timedelta(hours=2))).snapshot.deadline
    assert soon is not None
    assert abs(soon - datetime.now(UTC) - timedelta(hours=2)) < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("options", "pointer"),
    [
        ({"deadline": datetime(2020, 1, 1, tzinfo=UTC)}, "/deadline"),
        ({"deadline": datetime(2099, 1, 1)}, "/deadline"),  # noqa: DTZ001 - without a zone, on purpose
        ({"priority": 9}, "/priority"),
        ({"tags": [""]}, "/tags/0"),
        ({"on_status_change": Webhook("http://10.0.0.1/")}, "/onStatusChange/webhook/url"),
        ({"on_status_change": Webhook("https://x.test", ["gone"])}, "/onStatusChange/statuses/0"),
        ({"config": "no-such-config"}, "/config/id"),
        ({"mocks": {"price": 1}}, "/test/mocks/price"),
    ],
)
async def test_a_refused_option_is_named(client: AsyncPerdure, options: Any, pointer: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        await client.create_run("[]", **options)
    assert [error.pointer for error in refused.value.errors] == [pointer]


async def test_who_is_notified_of_status_changes(client: AsyncPerdure, stage: Stage) -> None:
    await offer(stage)
    await client.webhook_secrets.create()

    async def target_of(receiver: Any) -> StatusChangeTarget | None:
        return (await client.create_run("[]", on_status_change=receiver)).snapshot.on_status_change

    everything = await target_of(announce)
    assert everything is not None
    assert everything.function == announce.reference
    assert everything.statuses is None
    some = await target_of(Handler(announce, ["done", RunStatus.FAILED]))
    assert some is not None
    assert (some.function, some.statuses) == (announce.reference, ["done", "failed"])
    hook = await target_of(Webhook("http://127.0.0.1:9/status", statuses=["cancelled"]))
    assert hook is not None
    assert hook.webhook is not None
    assert (hook.webhook.url, hook.statuses) == ("http://127.0.0.1:9/status", ["cancelled"])


async def test_mocks_make_a_test_run_that_lists_hide(client: AsyncPerdure, stage: Stage) -> None:
    await offer(stage)
    plain = await client.create_run("[]")
    mocked = await client.create_run(
        "[]", functions=[price], mocks={price: {"cents": 5}, "stock_count": None}
    )
    marked = await client.create_run("[]", test=True)
    assert [mocked.snapshot.test, marked.snapshot.test] == [True, True]

    async def listed(**options: Any) -> set[str]:
        return {run.id async for run in client.list_runs(**options)}

    assert await listed() == {plain.id}
    assert await listed(test=True) == {mocked.id, marked.id}
    assert await listed(test=None) == {plain.id, mocked.id, marked.id}
    kept = await stage.store.runs.get(RunRef(stage.cluster_id, mocked.id))
    assert kept.mocks == '{"shop_price":{"cents":5},"stock_count":null}'


async def test_a_run_of_a_configuration_needs_no_prompt(client: AsyncPerdure) -> None:
    await client.run_configs.create("Greeter", id="greeter", initial_prompt="Hello {{name}}")
    run = await client.create_run(config="greeter", input={"name": "Ada"})
    assert (run.snapshot.config_id, run.snapshot.config_version) == ("greeter", 1)
    (message,) = await run.messages()
    assert message.data["message"] == "Hello Ada"
    await client.run_configs.put("greeter", "Greeter", initial_prompt="Bye {{name}}")
    older = await client.create_run(
        config=RunConfigReference(id="greeter", version=1), input={"name": "Bob"}
    )
    assert older.snapshot.config_version == 1
    await client.create_run("[]")
    assert [run.id async for run in client.list_runs(config_id="greeter")] == [older.id, run.id]
    with pytest.raises(InvalidRequestError, match="belongs to a run configuration"):
        await client.create_run("Hi", input={"name": "Ada"})


async def test_runs_are_listed_by_tags_and_metadata(client: AsyncPerdure) -> None:
    both = await client.create_run("[]", tags=["a", "b"], metadata={"k:1": "v"})
    one = await client.create_run("[]", tags=["a"])
    assert [run.id async for run in client.list_runs(tags=["a"])] == [one.id, both.id]
    assert [run.id async for run in client.list_runs(tags=["a", "b"])] == [both.id]
    assert [run.id async for run in client.list_runs(metadata={"k:1": "v"})] == [both.id]
    assert [run.id async for run in client.list_runs(tags=["c"])] == []


async def test_the_same_id_again_is_the_same_run(client: AsyncPerdure) -> None:
    options: Any = {"id": "my-own", "tags": ["x"], "deadline": datetime(2099, 1, 1, tzinfo=UTC)}
    assert (await client.create_run("[]", **options)).id == "my-own"
    assert (await client.create_run("[]", **options)).id == "my-own"
    assert len([run async for run in client.list_runs()]) == 1
