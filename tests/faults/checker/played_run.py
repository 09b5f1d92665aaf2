"""Runs played without a process: the product's own parts over a store, and logs as model and functions would write them.

Each part can be given another way round, broken on purpose, to see whether the checker notices.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.settings import Settings
from orchestrator.store.conversation.steps import StepInput
from orchestrator.store.store import Store
from orchestrator.workflows.interface import ModelStepInput, RunRef, RunState
from perdure.contract import FunctionReference, StatusChangeTarget
from tests.faults.checker.evidence import Evidence, Execution, Row, of_store
from tests.faults.ground.diary import lines_of
from tests.support.stage import Stage, new_run
from workers.model_step.model_step import ModelStepRunner
from workers.models import open_models

POLICIES = "plan=tests.faults.ground.policies:plan"
HANDLER = StatusChangeTarget(function=FunctionReference(service="faults", function="on_status"))
PID = 4711


@dataclass(slots=True)
class Played:
    """A stage on which whole runs are played, and what is known of them."""

    stage: Stage
    database_url: str
    ledger: Path
    """The file that the environment names for the model's ledger."""
    acknowledged: dict[str, str] = field(default_factory=dict[str, str])
    diary: list[Row] = field(default_factory=list[Row])

    @property
    def store(self) -> Store:
        return self.stage.store

    def step_runner(self) -> ModelStepRunner:
        models = open_models(Settings(scripted_policies=POLICIES))
        return ModelStepRunner(self.store, models, max_output_tokens=1_000, policies=["plan"])

    async def accept(self, name: str, *, steps: int = 2) -> RunRef:
        """A run is created and its caller gets the response."""
        await self.stage.register("work", "on_status", service="faults")
        prompt = json.dumps({"run": name, "steps": steps, "delayMs": 0})
        new = new_run(
            self.stage.cluster_id,
            name,
            prompt=prompt,
            model="scripted/plan",
            on_status_change=HANDLER,
        )
        await self.store.runs.create(new)
        self.acknowledged[name] = self.stage.cluster_id
        return RunRef(self.stage.cluster_id, name)

    async def drive(self, ref: RunRef) -> None:
        """Take the run to its end, as its workflow would."""
        step_runner, state = self.step_runner(), RunState("pending")
        while state.status in {"pending", "running"}:
            for order in state.orders:
                await self.answer(ref, order.call_id)
            state = await self.think(step_runner, ref, state.step + 1)
        await self.deliver(ref)

    async def think(self, step_runner: ModelStepRunner, ref: RunRef, step: int) -> RunState:
        begun = await step_runner.begin(ModelStepInput(ref, step), 1)
        if not isinstance(begun, StepInput):
            return begun
        return (await step_runner.run(begun, attempt=1, on_progress=lambda: None)).state

    async def answer(self, ref: RunRef, call_id: str) -> None:
        """A machine takes a call and answers it."""
        call = await self.stage.lease(ref, call_id)
        await self.stage.acknowledge(call_id)
        self.write("begun", ref, call=call_id, attempt=call.attempt)
        await self.stage.finish(call_id)
        self.write("ended", ref, call=call_id, attempt=call.attempt)

    async def deliver(self, ref: RunRef) -> None:
        """The handler hears of every transition that waits for it."""
        while orders := await self.store.deliveries.list_pending(ref, []):
            for order in orders:
                call = await self.stage.lease(ref, order.call_id)
                change = json.loads(json.dumps(call.input))
                self.write(
                    "on_status", ref, transition=change["transition"], status=change["status"]
                )
                await self.stage.finish(order.call_id)

    def write(self, kind: str, ref: RunRef, **facts: object) -> None:
        at = time.time_ns() // 1_000_000
        self.diary.append({"at": at, "pid": PID, "kind": kind, "run": ref.run_id, **facts})

    async def evidence(self) -> Evidence:
        """All of it, with a history for each run as a healthy engine would have written it."""
        found = await of_store(self.database_url, self.acknowledged)
        found.asked = lines_of(self.ledger)
        found.diary = list(self.diary)
        found.listed = {self.stage.cluster_id: [row["run"] for row in found.runs], "other": []}
        found.executions = [
            Execution(
                row["run"],
                "COMPLETED",
                {call["id"]: 1 for call in found.of(found.calls, row["run"])},
            )
            for row in found.runs
        ]
        return found
