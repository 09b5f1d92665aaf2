"""Run configurations, clusters, keys, secrets, notes, and what goes on: against the real API."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import httpx2
import pytest
from pydantic import BaseModel

from api.context import ApiServices
from orchestrator.store import tables
from orchestrator.workflows.interface import RunRef
from perdure import (
    AsyncPerdure,
    AuthenticationError,
    ConfigurationError,
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    Scope,
    StillWorkingError,
    StructuredOutputError,
)
from tests.support.stage import Stage, result_of


class Finding(BaseModel):
    customer: str


class Question(BaseModel):
    quarter: int


async def test_a_run_configuration_is_stored_changed_found_measured_and_deleted(
    client: AsyncPerdure, stage: Stage
) -> None:
    await stage.register("query")
    made = await client.run_configs.create(
        "Growth report",
        id="growth",
        initial_prompt="Who grew in quarter {{quarter}}?",
        functions=["sales_query"],
        result_schema=Finding,
        input_schema=Question,
    )
    assert (made.id, made.version) == ("growth", 1)
    assert isinstance(made.result_schema, dict)
    assert made.result_schema["required"] == ["customer"]
    assert made.input_schema is not None
    assert made.input_schema["required"] == ["quarter"]
    with pytest.raises(ConflictError):
        await client.run_configs.create("Another", id="growth")
    changed = await client.run_configs.put("growth", "Growth", initial_prompt="Who grew?")
    assert (changed.version, changed.result_schema) == (2, None)
    seen = await client.run_configs.get("growth", with_previous_versions=True)
    assert [one.version for one in seen.versions or []] == [1]
    assert (await client.run_configs.get("growth")).versions is None

    run = await client.create_run(config="growth")
    (metric,) = await client.run_configs.metrics("growth")
    assert (metric.run_id, metric.version) == (run.id, 2)
    (found,) = await client.run_configs.search("who grew")
    assert found.id == "growth"
    assert 0 < found.similarity <= 1
    assert [one.id async for one in client.run_configs.list()] == ["growth"]
    await client.run_configs.delete("growth")
    with pytest.raises(NotFoundError):
        await client.run_configs.get("growth")


async def test_lists_go_on_over_pages_and_end_at_the_limit(client: AsyncPerdure) -> None:
    for number in range(53):
        await client.run_configs.create(f"{number}", id=f"config-{number:02}")
    every = [one.id async for one in client.run_configs.list()]
    assert every == [f"config-{number:02}" for number in range(53)]
    assert [one.id async for one in client.run_configs.list(limit=51)] == every[:51]


async def test_a_cluster_is_made_changed_and_deleted(client: AsyncPerdure) -> None:
    made = await client.clusters.create("warehouse", "things")
    assert {one.name async for one in client.clusters.list()} == {"default", "warehouse"}
    changed = await client.clusters.update(made.id, description=None, debug=True)
    assert (changed.description, changed.debug, changed.name) == (None, True, "warehouse")
    await client.clusters.update(additional_context="Amounts are euros.")
    own = await client.clusters.update(additional_context=None)
    assert (own.id, own.additional_context) == (await client.cluster_id(), None)
    versions = [one.content async for one in client.clusters.context_versions()]
    assert "Amounts are euros." in versions
    await client.clusters.delete(made.id)
    with pytest.raises(NotFoundError):
        await client.clusters.get(made.id)
    assert (await client.clusters.get()).name == "default"


async def test_a_key_is_made_used_and_revoked(
    client: AsyncPerdure, transport: httpx2.ASGITransport
) -> None:
    made = await client.api_keys.create("reader", [Scope.CLIENT])
    async with AsyncPerdure("http://api", made.key, transport=transport) as reader:
        identity = await reader.identity()
        assert (identity.key_name, identity.scopes) == ("reader", ["client"])
        with pytest.raises(AuthenticationError, match="admin") as refused:
            await reader.api_keys.create("more")
        assert (refused.value.status, refused.value.code) == (403, "forbidden")
    with pytest.raises(InvalidRequestError):
        await client.api_keys.create("wrong", ["everything"])
    await client.api_keys.revoke(made)
    keys = {one.name: one async for one in client.api_keys.list()}
    assert keys["reader"].revoked_at is not None
    assert keys["tests"].revoked_at is None


async def test_webhook_secrets_overlap(client: AsyncPerdure) -> None:
    first = await client.webhook_secrets.create()
    assert first.secret.startswith("whsec_")
    second = await client.webhook_secrets.create(overlap=timedelta(hours=1))
    newest, older = await client.webhook_secrets.list()
    assert (newest.id, newest.expires_at, older.id) == (second.id, None, first.id)
    assert older.expires_at is not None
    assert older.expires_at - datetime.now(UTC) < timedelta(hours=1, minutes=1)
    await client.webhook_secrets.delete(older)
    assert [one.id for one in await client.webhook_secrets.list()] == [second.id]
    with pytest.raises(InvalidRequestError):
        await client.webhook_secrets.create(overlap=timedelta(days=31))


async def test_a_note_on_a_function_is_written_read_and_deleted(client: AsyncPerdure) -> None:
    await client.function_notes.put("sales.query", "Only for this year.")
    note = await client.function_notes.get("sales.query")
    assert (note.service, note.additional_context) == ("sales", "Only for this year.")
    await client.function_notes.delete("sales.query")
    with pytest.raises(NotFoundError):
        await client.function_notes.get("sales.query")


async def test_what_goes_on_is_seen(client: AsyncPerdure, stage: Stage) -> None:
    await stage.register("query", machine="m1")
    await stage.register("count", service="stock", machine="m2", alive_for=-1)
    run = await client.create_run("[]")
    ref = await stage.finished(model="scripted/inline")
    assert {one.id async for one in client.machines()} == {"m1", "m2"}
    assert [one.id async for one in client.machines(active=True)] == ["m1"]
    assert [one.name for one in await client.services()] == ["sales", "stock"]
    created = [event.run_id async for event in client.events(type="run.created")]
    assert created == [ref.run_id, run.id]
    assert [event.type async for event in client.events(run_id=run.id)] == ["run.created"]
    (today,) = await client.usage(days=1)
    assert (today.model_calls, today.runs, today.output_tokens) == (1, 2, 5)


async def test_who_changed_what_is_seen(client: AsyncPerdure, services: ApiServices) -> None:
    await client.create_run("[]")
    await services.audit_writer.flush()
    entries = [entry async for entry in client.audit(limit=5)]
    assert [entry.operation for entry in entries] == ["create_run"]
    assert entries[0].actor.startswith("tests ")


@pytest.mark.parametrize("settings", [15], indirect=True)
async def test_structured_output_is_a_value_of_the_type(client: AsyncPerdure, stage: Stage) -> None:
    asking = asyncio.create_task(client.structured_output("Who grew?", Finding))
    ref = await _hidden_run(stage)
    await stage.think(ref, result_of({"customer": "Ada"}))
    assert await asking == Finding(customer="Ada")


@pytest.mark.parametrize("settings", [15], indirect=True)
async def test_without_a_value_structured_output_says_why(
    client: AsyncPerdure, stage: Stage
) -> None:
    asking = asyncio.create_task(client.structured_output("Who?", {"type": "integer"}))
    ref = await _hidden_run(stage)
    while (await stage.think(ref, result_of("nobody"))).status == "running":
        pass
    with pytest.raises(StructuredOutputError) as failed:
        await asking
    assert failed.value.reason


async def test_structured_output_that_takes_too_long_names_its_run(
    client: AsyncPerdure, stage: Stage
) -> None:
    with pytest.raises(StillWorkingError) as late:
        await client.structured_output("Who?", Finding)
    ref = await _hidden_run(stage)
    assert ref.run_id in late.value.detail
    await stage.think(ref, result_of({"customer": "Bob"}))
    run = await client.get_run(ref.run_id, result_schema=Finding)
    assert (await run.poll()).result == Finding(customer="Bob")


async def test_a_custom_token_speaks_for_a_user(
    client: AsyncPerdure, transport: httpx2.ASGITransport, cluster: str
) -> None:
    await client.clusters.update(enable_custom_auth=True)
    ada = AsyncPerdure(
        "http://api", cluster_id=cluster, custom_token="token-of-ada", transport=transport
    )
    async with ada:
        with pytest.raises(AuthenticationError, match=r"default\.handleCustomAuth"):
            await ada.create_run("[]")
    with pytest.raises(ConfigurationError, match="the cluster's id"):
        AsyncPerdure("http://api", custom_token="token-of-ada")


async def _hidden_run(stage: Stage) -> RunRef:
    """The run behind structured output, once it is there."""
    async with asyncio.timeout(5):
        while not (rows := await stage.rows(tables.runs)):  # noqa: ASYNC110 - a row is no event
            await asyncio.sleep(0.01)
    return RunRef(stage.cluster_id, rows[0]["id"])
