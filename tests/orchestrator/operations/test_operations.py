"""What callers may ask for: checked first, written as one fact, and only then signalled to the engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from typing_extensions import override

from orchestrator.errors import (
    ConflictError,
    InvalidRequestError,
    TooLargeError,
    UnavailableError,
)
from orchestrator.operations.runs import Operations
from orchestrator.runtime.clock import now_ms
from orchestrator.settings import Settings
from orchestrator.store.database.json_columns import from_json
from orchestrator.store.store import Store
from orchestrator.temporal.client import Temporal
from orchestrator.temporal.signals import WakeupSender
from orchestrator.workflows.interface import RunRef
from perdure.contract import (
    MAX_CONTEXT_BYTES,
    CreateMessage,
    CreateRun,
    FunctionReference,
    RegisterMachine,
    StatusChangeTarget,
)


class Engine(Temporal):
    """Writes down what it receives; or is away."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.requests: list[tuple[str, str]] = []
        self.away = False

    def _record(self, what: str, ref: RunRef) -> None:
        if self.away:
            raise UnavailableError("Temporal does not answer.")
        self.requests.append((what, ref.run_id))

    @override
    async def start_run(self, ref: RunRef, *, priority: int = 0) -> None:
        self._record("start", ref)

    @override
    async def signal_run(self, ref: RunRef) -> None:
        self._record("nudge", ref)

    @override
    async def signal_delivery(self, ref: RunRef) -> None:
        self._record("deliver", ref)


@dataclass
class Office:
    """The commands over a store with one cluster."""

    operations: Operations
    engine: Engine
    wakeups: WakeupSender
    store: Store
    cluster_id: str

    async def create(self, prompt: str = "go", *, key: str | None = None, **more: Any) -> RunRef:
        request = CreateRun.model_validate({"initialPrompt": prompt, **more})
        record, _ = await self.operations.create_run(self.cluster_id, request, idempotency_key=key)
        return RunRef(self.cluster_id, record.id)

    async def refusal(self, **more: Any) -> InvalidRequestError:
        with pytest.raises(InvalidRequestError) as caught:
            await self.create(**more)
        return caught.value

    async def register(self, service: str, *functions: dict[str, Any]) -> None:
        offer = {"service": service, "functions": functions}
        await self.offer(RegisterMachine.model_validate(offer))

    async def offer(self, request: RegisterMachine) -> None:
        await self.operations.register(
            self.cluster_id, "m1", request, heartbeats=True, alive_until=now_ms() + 60_000
        )

    async def requests(self) -> list[str]:
        """What the engine has heard so far."""
        await self.wakeups.aclose()
        return [what for what, _ in self.engine.requests]


@pytest.fixture
async def office(store: Store) -> Office:
    settings = Settings(default_model="scripted/inline", scripted_policies="mine=package:function")
    engine = Engine(settings)
    operations = Operations(store, engine, settings)
    wakeups = WakeupSender(engine)
    store.database.on_wakeups = wakeups.send
    return Office(operations, engine, wakeups, store, await store.keys.ensure_cluster("test"))


# -- runs ------------------------------------------------------------------------------------------


async def test_a_run_is_sent_to_the_engine_once_however_often_it_is_sent(office: Office) -> None:
    first = await office.create(id="chosen")
    assert await office.create(id="chosen") == first
    assert await office.requests() == ["start"]


async def test_a_run_is_accepted_while_the_engine_is_away_and_found_by_the_sweeper(
    office: Office,
) -> None:
    office.engine.away = True
    ref = await office.create()
    assert await office.requests() == []
    assert (await office.store.runs.get(ref)).status == "pending"
    assert await office.store.sweeps.runs_with_unread_requests(now_ms() + 1) == [ref]


async def test_a_run_without_a_name_is_called_by_its_first_words(office: Office) -> None:
    for prompt, name in (
        ("Which  customer\ngrew most?", "Which customer grew most?"),
        ("one two three four five six seven eight nine", "one two three four five six seven eight"),
        ("x" * 500, "x" * 80),
        (" \n", "run"),
    ):
        assert (await office.store.runs.get(await office.create(prompt))).name == name


async def test_a_field_at_its_default_is_the_same_as_no_field(office: Office) -> None:
    first = await office.create(key="k")
    assert await office.create(key="k", interactive=True, metadata={}) == first
    refused = await office.refusal(key="k", interactive=False)
    assert refused.code == "idempotency_mismatch"


async def test_the_order_of_an_objects_members_makes_no_other_request(office: Office) -> None:
    first = await office.create(key="k", metadata={"a": "1", "b": "2"}, context={"x": 1, "y": 2})
    again = await office.create(key="k", context={"y": 2, "x": 1}, metadata={"b": "2", "a": "1"})
    assert again == first


async def test_a_request_is_the_same_run_also_where_what_it_names_is_gone(office: Office) -> None:
    await office.register("sales", {"name": "query"})
    first = await office.create(key="k", attachedFunctions=["sales_query"])
    await office.register("sales")
    assert await office.create(key="k", attachedFunctions=["sales_query"]) == first
    assert (await office.refusal(attachedFunctions=["sales_query"])).code == "unknown_function"
    other = await office.refusal(key="k", attachedFunctions=["sales_other"])
    assert other.code == "idempotency_mismatch"
    assert await office.requests() == ["start"]


async def test_the_model_is_the_servers_unless_the_run_names_one(office: Office) -> None:
    for named, model in (
        (None, "scripted/inline"),
        ("scripted/mine", "scripted/mine"),
        ("claude-3-haiku", "anthropic/claude-haiku-5-5"),
    ):
        ref = await office.create(model=named)
        assert (await office.store.runs.get(ref)).model == model
    refused = await office.refusal(model="gpt-2")
    assert (refused.code, refused.pointer) == ("unknown_model", "/model")


async def test_a_schema_that_is_none_and_a_context_too_large_are_refused_by_field(
    office: Office,
) -> None:
    assert (await office.refusal(resultSchema={"type": "nonsense"})).pointer.startswith(
        "/resultSchema"
    )
    large = await office.refusal(context={"blob": "x" * MAX_CONTEXT_BYTES})
    assert isinstance(large, TooLargeError)
    assert large.pointer == "/context"
    assert await office.requests() == []


async def test_functions_are_attached_by_reference_or_by_full_name(office: Office) -> None:
    long = {"name": "f" * 60}
    await office.register("sales", {"name": "query"}, long)
    ref = await office.create(
        attachedFunctions=[
            {"service": "sales", "function": "query"},
            "sales_query",
            f"sales_{'f' * 60}",
        ]
    )
    attached = from_json((await office.store.runs.get(ref)).attached_functions or "")
    query = {"service": "sales", "function": "query"}
    assert attached == [query, query, {"service": "sales", "function": "f" * 60}]


async def test_an_unknown_function_is_refused_with_those_there_are(office: Office) -> None:
    await office.register(
        "sales", {"name": "query"}, {"name": "hidden", "config": {"private": True}}
    )
    refused = await office.refusal(attachedFunctions=["sales_query", "sales_drop"])
    assert (refused.code, refused.pointer) == ("unknown_function", "/attachedFunctions/1")
    assert "sales_query" in refused.detail
    assert "hidden" not in refused.detail
    private = await office.refusal(attachedFunctions=["sales_hidden"])
    assert (private.code, private.pointer) == ("private_function", "/attachedFunctions/0")


async def test_a_handler_must_be_registered_and_may_be_private(office: Office) -> None:
    target = StatusChangeTarget(function=FunctionReference(service="sales", function="announce"))
    wanted = target.model_dump(by_alias=True)
    refused = await office.refusal(onStatusChange=wanted)
    assert (refused.code, refused.pointer) == ("unknown_function", "/onStatusChange/function")
    await office.register("sales", {"name": "announce", "config": {"handler": True}})
    ref = await office.create(onStatusChange=wanted)
    assert (await office.store.runs.get(ref)).on_status_change is not None


# -- requests ----------------------------------------------------------------------------------------


async def test_a_message_signals_its_run_once(office: Office) -> None:
    ref = await office.create()
    message = CreateMessage(message="hi", id="chosen")
    first, is_new = await office.operations.add_message(ref, message)
    again, is_new_again = await office.operations.add_message(ref, message)
    assert (first, is_new, is_new_again) == (again, True, False)
    assert await office.requests() == ["start", "nudge"]


async def test_a_cancel_signals_the_run_and_notifies_its_handler(office: Office) -> None:
    await office.register("sales", {"name": "announce", "config": {"handler": True}})
    target = {"function": {"service": "sales", "function": "announce"}}
    ref = await office.create(onStatusChange=target)
    record = await office.operations.cancel_run(ref)
    assert (record.status, record.failure_reason) == ("cancelled", "cancelled by the caller")
    assert sorted(await office.requests()) == ["deliver", "nudge", "start"]


async def test_a_request_that_was_refused_signals_nobody(office: Office) -> None:
    ref = await office.create(interactive=False)
    with pytest.raises(ConflictError):
        await office.operations.add_message(ref, CreateMessage(message="hi"))
    with pytest.raises(ConflictError):
        await office.operations.resume_run(ref)
    assert await office.requests() == ["start"]


# -- registrations ---------------------------------------------------------------------------------


async def test_a_schema_may_be_given_as_text(office: Office) -> None:
    schema = {"type": "object", "properties": {"sql": {"type": "string"}}}
    await office.register("sales", {"name": "query", "schema": '{"type":"object"}'})
    await office.register("other", {"name": "query", "schema": schema})
    known = await office.store.functions.all_of(office.cluster_id)
    assert [from_json(record.input_schema or "") for record in known] == [
        schema,
        {"type": "object"},
    ]


@pytest.mark.parametrize("schema", ["{", "[]", '"text"', {"type": "nonsense"}])
async def test_a_schema_that_is_none_is_refused_with_the_functions_place(
    office: Office, schema: object
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        await office.register("sales", {"name": "fine"}, {"name": "query", "schema": schema})
    assert caught.value.pointer.startswith("/functions/1/schema")
    assert await office.store.functions.all_of(office.cluster_id) == []


async def test_functions_need_a_service_and_nothing_needs_nothing(office: Office) -> None:
    await office.offer(RegisterMachine())
    with pytest.raises(InvalidRequestError) as caught:
        await office.offer(RegisterMachine.model_validate({"functions": [{"name": "query"}]}))
    assert caught.value.pointer == "/service"
