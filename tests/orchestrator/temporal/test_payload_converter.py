"""What travels through Temporal's history is short, and reads as what was written; so does what is longer and older."""

from __future__ import annotations

import json
from typing import Any

import pytest
from temporalio.converter import DataConverter

from orchestrator.settings import Settings
from orchestrator.temporal.client import data_converter
from orchestrator.workflows.interface import (
    CallOutcome,
    CallRef,
    CallSchedule,
    DueDeliveries,
    EndTurnInput,
    ListDueDeliveriesInput,
    ModelStepInput,
    PendingRequests,
    RunRef,
    RunState,
    TimedOutCall,
)

REF = RunRef("cluster", "run")
ORDER = CallSchedule("c1", "cluster/shop/price", "shop_price", 35.0, 86400.0, 12.0)
WORDS: list[tuple[Any, dict[str, Any]]] = [
    (ModelStepInput(REF), {"run": {"cluster_id": "cluster", "run_id": "run"}}),
    (
        ModelStepInput(REF, 2, [TimedOutCall("c1", "its deadline passed")]),
        {
            "run": {"cluster_id": "cluster", "run_id": "run"},
            "step": 2,
            "lost": [{"call_id": "c1", "reason": "its deadline passed"}],
        },
    ),
    (
        RunState("running", 1, [ORDER], priority=2),
        {
            "status": "running",
            "step": 1,
            "priority": 2,
            "orders": [
                {
                    "call_id": "c1",
                    "queue": "cluster/shop/price",
                    "name": "shop_price",
                    "timeout": 35.0,
                    "deadline": 86400.0,
                    "heartbeat": 12.0,
                }
            ],
        },
    ),
    (CallOutcome("c1"), {"call_id": "c1"}),
    (CallOutcome("c1", oversized=True), {"call_id": "c1", "oversized": True}),
    (CallRef(REF, "c1"), {"run": {"cluster_id": "cluster", "run_id": "run"}, "call_id": "c1"}),
    (PendingRequests(settled=[CallOutcome("c1")]), {"settled": [{"call_id": "c1"}]}),
    (PendingRequests(), {}),
    (
        EndTurnInput(REF, "cancel", ""),
        {"run": {"cluster_id": "cluster", "run_id": "run"}, "move": "cancel", "reason": ""},
    ),
    (ListDueDeliveriesInput(REF), {"run": {"cluster_id": "cluster", "run_id": "run"}}),
    (DueDeliveries(), {}),
]
CONVERTER = data_converter(Settings()).payload_converter


@pytest.mark.parametrize(("value", "written"), WORDS, ids=str)
def test_fields_that_have_their_default_are_left_out_and_read_again(
    value: Any, written: dict[str, Any]
) -> None:
    (payload,) = CONVERTER.to_payloads([value])
    assert json.loads(payload.data) == written
    assert payload.metadata["encoding"] == b"json/plain"
    assert CONVERTER.from_payloads([payload], [type(value)]) == [value]


@pytest.mark.parametrize("value", [value for value, _ in WORDS], ids=str)
def test_what_was_written_whole_is_read_too(value: Any) -> None:
    (payload,) = DataConverter.default.payload_converter.to_payloads([value])
    assert CONVERTER.from_payloads([payload], [type(value)]) == [value]


def test_what_is_no_dataclass_is_written_as_ever() -> None:
    values = [None, b"bytes", "text", 7, ["a", {"b": 1.5}]]
    payloads = CONVERTER.to_payloads(values)
    assert CONVERTER.from_payloads(payloads) == values
