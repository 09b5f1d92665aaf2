"""Activities that answer from a script, and what the workflows made of it."""

from __future__ import annotations

import asyncio
import secrets
from collections import defaultdict, deque
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeVar

from temporalio import activity
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowHistory
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError
from temporalio.worker import Worker, WorkflowRunner

from orchestrator.settings import Settings
from orchestrator.temporal.client import TASK_QUEUE, Temporal, delivery_workflow_id, run_workflow_id
from orchestrator.workflows.delivery_workflow import DeliveryWorkflow
from orchestrator.workflows.interface import (
    END_TURN,
    LIST_DUE_DELIVERIES,
    MODEL_STEP,
    READ_PENDING_REQUESTS,
    SUMMARIZE,
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
    SummarizeInput,
)
from orchestrator.workflows.run_workflow import RunWorkflow
from tests.orchestrator.workflows.sandbox import sandboxed_runner
from tests.support.temporal_server import IDENTITY

CALL = "sales_query"
"""Name of the one function and of the one handler that there are."""
_WAIT_SECONDS = 30.0
Answer = TypeVar("Answer")


class Play:
    """One run: what its activities are to answer, and what they were asked, in order."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.temporal = Temporal(Settings(), client)
        self.ref = RunRef(f"cluster-{secrets.token_hex(4)}", "run")
        self.states: deque[RunState | ApplicationError] = deque()
        self.seen: deque[PendingRequests] = deque()
        self.deliveries: deque[DueDeliveries] = deque()
        self.outcomes: dict[str, CallOutcome | ApplicationError] = {}
        self.asked: list[object] = []
        self._begun: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._gates: dict[str, asyncio.Event] = {}

    # -- the activities ----------------------------------------------------------------------------

    @activity.defn(name=MODEL_STEP)
    async def run_model_step(self, question: ModelStepInput) -> RunState:
        await self._pass(MODEL_STEP, question)
        return _answer(self.states.popleft())

    @activity.defn(name=SUMMARIZE)
    async def summarize(self, wanted: SummarizeInput) -> None:
        await self._pass(SUMMARIZE, wanted)

    @activity.defn(name=READ_PENDING_REQUESTS)
    async def read_pending_requests(self, ref: RunRef) -> PendingRequests:
        await self._pass(READ_PENDING_REQUESTS, ref)
        return self.seen.popleft() if self.seen else PendingRequests()

    @activity.defn(name=END_TURN)
    async def end_turn(self, wanted: EndTurnInput) -> None:
        await self._pass(END_TURN, wanted)

    @activity.defn(name=LIST_DUE_DELIVERIES)
    async def list_due_deliveries(self, wanted: ListDueDeliveriesInput) -> DueDeliveries:
        await self._pass(LIST_DUE_DELIVERIES, wanted)
        return self.deliveries.popleft() if self.deliveries else DueDeliveries()

    @activity.defn(name=CALL)
    async def call(self, call_ref: CallRef) -> CallOutcome:
        await self._pass(call_ref.call_id, call_ref)
        outcome = self.outcomes.get(call_ref.call_id, CallOutcome(call_ref.call_id))
        return _answer(outcome)

    async def _pass(self, name: str, asked: object) -> None:
        self.asked.append(asked)
        self._begun[name].set()
        if name in self._gates:
            await self._gates[name].wait()

    # -- directing ---------------------------------------------------------------------------------

    def hold(self, name: str) -> None:
        """Let this activity, or the call of this id, wait when it has begun."""
        self._gates[name] = asyncio.Event()

    def release(self, name: str) -> None:
        self._gates.pop(name).set()

    async def begun(self, name: str) -> None:
        """Wait until the activity, or the call of this id, has begun since one last waited for it."""
        async with asyncio.timeout(_WAIT_SECONDS):
            await self._begun[name].wait()
        self._begun[name].clear()

    def order(
        self, call_id: str, *, deadline: float = 60.0, taken: bool = True, interruptions: int = 0
    ) -> CallSchedule:
        """A call of the function; nobody polls for one that is not to be taken."""
        return CallSchedule(
            call_id,
            self.queue if taken else f"{self.queue}/nobody",
            CALL,
            timeout=60.0,
            deadline=deadline,
            heartbeat=None,
            interruptions=interruptions,
        )

    @property
    def queue(self) -> str:
        return f"{self.ref.cluster_id}/sales/query"

    @asynccontextmanager
    async def workers(self, runner: WorkflowRunner | None = None) -> AsyncGenerator[None]:
        """Workers for the workflows, sandboxed by default, and for the function; what is open afterwards is ended."""
        ours = Worker(
            self.client,
            task_queue=TASK_QUEUE,
            identity=IDENTITY,
            workflows=[RunWorkflow, DeliveryWorkflow],
            activities=[
                *(self.run_model_step, self.summarize, self.read_pending_requests),
                *(self.end_turn, self.list_due_deliveries),
            ],
            workflow_runner=runner or sandboxed_runner(),
        )
        functions = Worker(
            self.client, task_queue=self.queue, identity=IDENTITY, activities=[self.call]
        )
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(ours)
            await stack.enter_async_context(functions)
            try:
                yield
            finally:
                await self._end_what_is_open()

    async def _end_what_is_open(self) -> None:
        for workflow_id in (run_workflow_id(self.ref), delivery_workflow_id(self.ref)):
            try:
                await self.client.get_workflow_handle(workflow_id).terminate()
            except RPCError:  # it has ended, or never was
                continue

    # -- looking -----------------------------------------------------------------------------------

    async def scheduled(self, name: str, ref: RunRef | None = None) -> None:
        """Wait until a run's workflow has asked for the activity, whoever takes it."""
        async for event in self._events(ref or self.ref):
            if event.activity_task_scheduled_event_attributes.activity_type.name == name:
                return

    async def completed(self, name: str) -> None:
        """Wait until the answer to the activity is in the history of the run's workflow."""
        asked: set[int] = set()
        async for event in self._events(self.ref):
            if event.activity_task_scheduled_event_attributes.activity_type.name == name:
                asked.add(event.event_id)
            if event.activity_task_completed_event_attributes.scheduled_event_id in asked:
                return

    async def _events(self, ref: RunRef) -> AsyncGenerator[HistoryEvent]:
        """The history of a run's workflow, as it grows."""
        handle = self.client.get_workflow_handle(run_workflow_id(ref))
        async with asyncio.timeout(_WAIT_SECONDS):
            async for event in handle.fetch_history_events(wait_new_event=True):
                yield event

    async def run_ended(self) -> list[WorkflowHistory]:
        """Wait for the end of the run's workflow; the histories of its executions."""
        return await self._ended(run_workflow_id(self.ref))

    async def delivery_ended(self) -> list[WorkflowHistory]:
        return await self._ended(delivery_workflow_id(self.ref))

    async def _ended(self, workflow_id: str) -> list[WorkflowHistory]:
        last = self.client.get_workflow_handle(workflow_id)
        async with asyncio.timeout(_WAIT_SECONDS):
            await last.result()
        info = (await last.describe()).raw_description.workflow_execution_info
        histories: list[WorkflowHistory] = []
        run_id = info.first_run_id
        while run_id:
            handle = self.client.get_workflow_handle(workflow_id, run_id=run_id)
            histories.append(await handle.fetch_history())
            end = histories[-1].events[-1].workflow_execution_continued_as_new_event_attributes
            run_id = end.new_execution_run_id
        return histories


def _answer(scripted: Answer | ApplicationError) -> Answer:
    if isinstance(scripted, ApplicationError):
        raise scripted
    return scripted


def commands(histories: list[WorkflowHistory]) -> list[str]:
    """What the workflow asked for: activities by name, cancels of them, and fresh histories."""
    asked: list[str] = []
    for history in histories:
        names: dict[int, str] = {}
        for event in history.events:
            if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
                scheduled = event.activity_task_scheduled_event_attributes
                names[event.event_id] = scheduled.activity_type.name
                asked.append(scheduled.activity_type.name)
            elif event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_CANCEL_REQUESTED:
                cancel = event.activity_task_cancel_requested_event_attributes
                asked.append(f"cancel {names[cancel.scheduled_event_id]}")
            elif event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW:
                asked.append("continue as new")
    return asked
