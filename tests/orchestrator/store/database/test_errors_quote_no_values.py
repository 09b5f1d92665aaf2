"""What users give in confidence is in no log: a run's whole life at the noisiest level, and the store's errors."""

from __future__ import annotations

import logging
import traceback

import pytest
from sqlalchemy import insert
from sqlalchemy.exc import SQLAlchemyError

from orchestrator.store import tables
from orchestrator.store.database.json_columns import to_json
from tests.orchestrator.store.conftest import run_row
from tests.support.stage import HANDLER, Stage, text_of

CONTEXT, AUTH, PROMPT, RESULT = "hush-context", "hush-auth", "hush-prompt", "hush-result"


async def test_a_runs_life_leaves_nothing_of_it_in_the_log(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await stage.register("query", "announce")
    ref = await stage.run(
        prompt=PROMPT,
        context={"token": CONTEXT},
        auth_context={"user": AUTH},
        on_status_change=HANDLER,
    )
    (order,) = await stage.called(ref)
    await stage.lease_and_finish(ref, order.call_id, to_json(RESULT))
    await stage.think(ref, text_of(RESULT))
    for delivery in await stage.store.deliveries.list_pending(ref, []):
        given = await stage.lease(ref, delivery.call_id)
        assert given.run_context == {"token": CONTEXT}
    assert (await stage.get_run(ref)).status == "done"
    assert "hush-" not in caplog.text


@pytest.mark.parametrize("wrong", [{"id": "run-1"}, {"cluster_id": "nowhere"}, {"status": None}])
async def test_an_error_of_the_database_quotes_no_context(
    stage: Stage, wrong: dict[str, object]
) -> None:
    secret = {"context": to_json({"token": CONTEXT}), "auth_context": to_json({"user": AUTH})}
    row = {**run_row(1), "cluster_id": stage.cluster_id, **secret}
    await _insert(stage, row)
    with pytest.raises(SQLAlchemyError) as caught:
        await _insert(stage, {**row, "key": 2, **wrong})
    logged = "".join(traceback.format_exception(caught.value))
    assert "runs" in logged, "what is wrong is still said"
    assert "hush-" not in logged


async def _insert(stage: Stage, row: dict[str, object]) -> None:
    async with stage.store.database.write() as write:
        await write.execute(insert(tables.runs).values(row))
