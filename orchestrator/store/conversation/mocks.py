"""Mocked functions of test runs, which need no function worker."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import JsonValue

from orchestrator.rules.model_reply import RequestedCall
from orchestrator.store.calls.rows import find_call, record_result
from orchestrator.store.database.json_columns import object_from_json, to_json, to_storable_text
from orchestrator.store.records import RunRecord
from orchestrator.store.runs.locked_run import LockedRun
from perdure.contract import ResultType
from perdure.contract.event_types import CallMocked


def mocked_outputs(run: RunRecord) -> dict[str, JsonValue]:
    """The outputs of a test run's mocks, by the function's full name."""
    return object_from_json(run.mocks) if run.test and run.mocks is not None else {}


async def use_mocked_results(
    run: LockedRun, call_ids: Sequence[str], calls: Sequence[RequestedCall]
) -> None:
    """Answer those calls of a reply that have a mock; the others wait for their workers."""
    outputs = mocked_outputs(run.record)
    for call_id, call in zip(call_ids, calls, strict=True):
        name = f"{call.function.service}_{call.function.name}"
        if name not in outputs:
            continue
        record = await find_call(run.write, run.record.cluster_id, call_id)
        if record is None or record.result_type is not None:
            continue
        output = outputs[name]
        content = to_storable_text(output) if isinstance(output, str) else to_json(output)
        run.event(CallMocked(call_id=call_id, service=record.service, function=record.function))
        is_text = isinstance(output, str)
        await record_result(run, record, ResultType.RESOLUTION, content, is_text=is_text)
