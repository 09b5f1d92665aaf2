"""Names runs by the small model in the background: a run never waits for its name."""

from __future__ import annotations

import asyncio
import logging

from orchestrator.errors import NotFoundError
from orchestrator.llm.messages import ModelError
from orchestrator.llm.run_names import READ_CHARACTERS, parse_name
from orchestrator.store.conversation.step_input import StepInput
from orchestrator.store.runs.naming import FROM_PROMPT
from orchestrator.store.store import Store
from orchestrator.workflows.interface import RunRef
from perdure.contract import MessageType
from workers.model_step.auxiliary_model import AuxiliaryModel

_log = logging.getLogger(__name__)

MAX_CONCURRENT = 4
"""Names that a worker requests at the same time."""
MAX_WAITING = 100
"""Runs that wait for a name; further runs keep their first words."""
SECONDS = 30.0
"""Seconds that a model may take for a name."""


class RunNamer:
    """Names runs in the background."""

    def __init__(
        self, store: Store, auxiliary_model: AuxiliaryModel, *, seconds: float = SECONDS
    ) -> None:
        self._store = store
        self.auxiliary_model = auxiliary_model
        self._seconds = seconds
        self._semaphore = asyncio.Semaphore(MAX_CONCURRENT)
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, step_input: StepInput, attempt: int) -> None:
        """Request a name for the run, if this is its first step and it was given none. Returns at once."""
        run = step_input.run
        unnamed = run.name_source == FROM_PROMPT and run.kind == "run"
        if not unnamed or (step_input.step, attempt) != (1, 1) or len(self._tasks) >= MAX_WAITING:
            return
        prompt = next(
            (str(e.data["message"]) for e in step_input.entries if e.type is MessageType.HUMAN), ""
        )
        if prompt.strip():
            task = asyncio.create_task(self._name(step_input, prompt))
            self._tasks.add(task)
            task.add_done_callback(self._end)

    async def _name(self, step_input: StepInput, prompt: str) -> None:
        run = step_input.run
        try:
            async with self._semaphore, asyncio.timeout(self._seconds):
                answer = await self.auxiliary_model.name(run, prompt[:READ_CHARACTERS])
            name = None if answer is None else parse_name(answer)
            if name is not None and name != run.name:
                await self._store.names.rename(RunRef(run.cluster_id, run.id), name)
        except (ModelError, TimeoutError, NotFoundError) as error:
            _log.info(
                "run %s keeps its first words as its name: %s", run.id, str(error) or "no answer"
            )

    def _end(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a run keeps its first words as its name", exc_info=error)

    async def wait_idle(self) -> None:
        """Wait until every requested name is stored or abandoned."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def aclose(self) -> None:
        """Cancel the pending requests for names."""
        for task in self._tasks:
            task.cancel()
        await self.wait_idle()
