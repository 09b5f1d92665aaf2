"""What a service says of its functions, as the real API takes it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from orchestrator.workflows.interface import RunRef
from perdure import (
    AsyncPerdure,
    CachePolicy,
    Context,
    InvalidRequestError,
    RetryPolicy,
    Service,
)
from tests.sdk.with_api.machine import register, work
from tests.support.stage import Stage


async def test_every_option_of_a_function_is_known_to_the_api(client: AsyncPerdure) -> None:
    service = Service("sales")

    @service.function(
        timeout=5,
        retries=3,
        stall_retries=1,
        retry=RetryPolicy(initial_seconds=0.5, coefficient=3, maximum_seconds=8),
        deadline=60,
        total_concurrency=4,
        fan_out=6,
        cache=CachePolicy(key_path="$.number", ttl_seconds=30),
        requires_approval=True,
        approval_expires=timedelta(hours=1),
    )
    def look_up(number: int) -> int:
        """Look it up."""
        return number

    await register(client, service)
    (known,) = await client.services()
    (function,) = known.functions
    assert (function.name, function.description) == ("look_up", "Look it up.")
    assert function.config is not None
    assert look_up.definition.config is not None
    said = look_up.definition.config.model_dump()
    assert function.config.model_dump() == said
    assert function.live_machines == 1


async def test_a_cache_whose_key_leads_nowhere_is_refused(client: AsyncPerdure) -> None:
    service = Service("sales")

    @service.function(cache=CachePolicy(key_path="no path", ttl_seconds=30))
    def look_up(number: int) -> int:
        return number

    with pytest.raises(InvalidRequestError) as refused:
        await register(client, service)
    assert refused.value.errors[0].pointer == "/functions/0/config/cache/keyPath"


async def test_the_auth_function_is_accepted_and_hidden_from_models(
    client: AsyncPerdure, stage: Stage
) -> None:
    service = Service("default")

    @service.handle_custom_auth
    def who(token: str) -> dict[str, str]:
        return {"user": token.upper()}

    await register(client, service)
    call = await client.call(who, {"token": "ada"})
    await work(client, stage, service, call.snapshot)
    assert (await call.poll()).result == {"user": "ADA"}
    question = await stage.begin_step(await stage.run())
    assert question.tools.functions == ()


async def test_a_function_learns_whose_run_it_works_for(client: AsyncPerdure, stage: Stage) -> None:
    service = Service("sales")

    @service.function
    def whoami(context: Context) -> list[object]:
        return [context.auth["user"], context.data["tenant"], "ada" in repr(context)]

    await register(client, service)
    ref: RunRef = await stage.run(auth_context={"user": "ada"}, context={"tenant": "acme"})
    await stage.called(ref, "sales_whoami")
    run = await client.get_run(ref.run_id)
    (call,) = await run.calls()
    await work(client, stage, service, call)
    assert [call.result for call in await run.calls()] == [["ada", "acme", False]]
