"""Records every activity of this process while it runs, so that another process can recover it after a crash.

Activities that ended a short time ago are recorded too: while Temporal is unavailable, it does not learn of their end.
"""

from __future__ import annotations

from collections import deque
from time import monotonic
from typing import Any, NamedTuple

from temporalio import activity, client, worker
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput
from typing_extensions import override

from orchestrator.temporal.in_flight_journal import InFlightJournal, InFlightTask
from orchestrator.workflows.interface import RUN_ACTIVITIES

_MAX_ENDED_TASKS = 1_024


class EndedTask(NamedTuple):
    """An activity that this process has ended; `at` by the monotonic clock."""

    at: float
    token: bytes


class InFlightInterceptor(client.Interceptor, worker.Interceptor):
    """An interceptor for a client; all workers of that client use it."""

    def __init__(self, journal: InFlightJournal) -> None:
        super().__init__()
        self._journal = journal
        self._ended: deque[EndedTask] = deque(maxlen=_MAX_ENDED_TASKS)

    def ended_since(self, moment: float) -> list[EndedTask]:
        """The recorded activities that ended after that moment."""
        return [task for task in self._ended if task.at >= moment]

    @override
    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _InFlightInbound(next, self._journal, self._ended)


class _InFlightInbound(ActivityInboundInterceptor):
    def __init__(
        self, inner: ActivityInboundInterceptor, journal: InFlightJournal, ended: deque[EndedTask]
    ) -> None:
        super().__init__(inner)
        self._journal = journal
        self._ended = ended

    @override
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        info = activity.info()
        # Most attempts of a call were not delivered, because it waited. Crashes of its function are counted in the store.
        attempt = info.attempt if info.activity_type in RUN_ACTIVITIES else 1
        with self._journal.record(InFlightTask(info.task_token, attempt)):
            try:
                return await super().execute_activity(input)
            finally:
                self._ended.append(EndedTask(monotonic(), info.task_token))
