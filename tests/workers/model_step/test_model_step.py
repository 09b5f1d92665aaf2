"""A model step between its two transactions, when several of them are under way in one worker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from typing_extensions import override

from orchestrator.llm.messages import (
    AssistantTurn,
    Model,
    ModelRequest,
    ModelResponse,
    StopReason,
    ToolCall,
    UserTurn,
)
from orchestrator.llm.model_names import ModelName
from orchestrator.settings import Settings
from orchestrator.store.conversation.step_input import StepInput
from orchestrator.store.tables import runs
from orchestrator.workflows.interface import ModelStepInput, RunRef, RunState
from tests.support.stage import Stage
from workers.model_step.model_step import ModelStepRunner
from workers.models import Models


class Parrot:
    """Answers when it is released, in the order it was asked; keeps what it was asked."""

    def __init__(self) -> None:
        self.requests: list[ModelRequest] = []
        self.replies: list[asyncio.Future[ModelResponse]] = []
        self.asked = asyncio.Condition()

    async def generate(
        self, request: ModelRequest, on_progress: Callable[[], None]
    ) -> ModelResponse:
        answer = asyncio.get_running_loop().create_future()
        async with self.asked:
            self.requests.append(request)
            self.replies.append(answer)
            self.asked.notify_all()
        return await answer

    async def summarize(self, text: str, limit: int) -> ModelResponse:
        return ModelResponse(text[:limit], StopReason.END)

    async def name(self, prompt: str) -> ModelResponse:
        return ModelResponse("A name", StopReason.END)

    async def was_asked(self, times: int) -> None:
        async with self.asked, asyncio.timeout(10):
            await self.asked.wait_for(lambda: len(self.requests) >= times)


class ParrotModels(Models):
    """Has one model."""

    def __init__(self, parrot: Parrot) -> None:
        super().__init__(Settings())
        self._parrot = parrot

    @override
    async def get(self, name: ModelName) -> Model:
        return self._parrot


@pytest.fixture
def parrot() -> Parrot:
    return Parrot()


def _step_runner(
    stage: Stage, parrot: Parrot, *, cached_runs: int = 8, cached_characters: int = 100_000
) -> ModelStepRunner:
    return ModelStepRunner(
        stage.store,
        ParrotModels(parrot),
        max_output_tokens=1_000,
        cached_runs=cached_runs,
        cached_characters=cached_characters,
    )


async def _ask(
    step_runner: ModelStepRunner, ref: RunRef, step: int = 0, attempt: int = 1
) -> StepInput:
    question = await step_runner.begin(ModelStepInput(ref, step), attempt)
    assert isinstance(question, StepInput)
    return question


def _run_step(
    step_runner: ModelStepRunner, question: StepInput, attempt: int = 1
) -> asyncio.Task[RunState]:
    async def think() -> RunState:
        return (await step_runner.run(question, attempt=attempt, on_progress=lambda: None)).state

    return asyncio.create_task(think())


async def _first_step(stage: Stage, step_runner: ModelStepRunner, parrot: Parrot) -> RunRef:
    """A run that has taken one step: it called a function, which returned."""
    await stage.register("query")
    ref = await stage.run()
    task = _run_step(step_runner, await _ask(step_runner, ref))
    await parrot.was_asked(1)
    parrot.replies[0].set_result(
        ModelResponse("", StopReason.CALLS, (ToolCall("t1", "sales_query", {}),))
    )
    await stage.lease_and_finish(ref, (await task).orders[0].call_id)
    return ref


async def test_the_model_is_sent_what_it_was_sent_before_and_what_is_new(
    stage: Stage, parrot: Parrot
) -> None:
    step_runner = _step_runner(stage, parrot)
    ref = await _first_step(stage, step_runner, parrot)
    question = await _ask(step_runner, ref, 2)
    assert len(question.entries) == 2, "the worker knows the beginning"
    task = _run_step(step_runner, question)
    await parrot.was_asked(2)
    first, second = parrot.requests
    assert second.turns[: len(first.turns)] == first.turns
    assert [type(turn) for turn in second.turns] == [UserTurn, AssistantTurn, UserTurn]
    assert (second.system, second.tools) == (first.system, first.tools)
    parrot.replies[1].set_result(ModelResponse("the answer", StopReason.END))
    assert (await task).status == "done"


async def test_a_run_that_the_worker_forgot_meanwhile_is_read_again_from_its_beginning(
    stage: Stage, parrot: Parrot
) -> None:
    step_runner = _step_runner(stage, parrot, cached_runs=1)
    ref = await _first_step(stage, step_runner, parrot)
    question = await _ask(step_runner, ref, 2)
    assert question.after > 0
    other = _run_step(step_runner, await _ask(step_runner, await stage.run()))
    await parrot.was_asked(2)
    task = _run_step(step_runner, question)
    await parrot.was_asked(3)
    assert [type(turn) for turn in parrot.requests[2].turns] == [UserTurn, AssistantTurn, UserTurn]
    assert parrot.requests[2].turns[0] == UserTurn((), ("go",))
    for answer in parrot.replies[1:]:
        answer.set_result(ModelResponse("the answer", StopReason.END))
    assert [(await one).status for one in (other, task)] == ["done", "done"]


async def test_a_worker_forgets_the_oldest_conversations_where_they_are_long_together(
    stage: Stage, parrot: Parrot
) -> None:
    step_runner = _step_runner(stage, parrot, cached_characters=5_000)
    refs = [await stage.run(prompt="x" * 2_000) for _ in range(3)]
    for number, ref in enumerate(refs, start=1):
        task = _run_step(step_runner, await _ask(step_runner, ref))
        await parrot.was_asked(number)
        parrot.replies[-1].set_result(ModelResponse("the answer", StopReason.END))
        await task
        await stage.send(ref, "and then?")
    known = [(await _ask(step_runner, ref)).after > 0 for ref in refs]
    assert known == [False, True, True]


async def test_one_conversation_is_remembered_however_long_it_is(
    stage: Stage, parrot: Parrot
) -> None:
    step_runner = _step_runner(stage, parrot, cached_characters=10)
    ref = await _first_step(stage, step_runner, parrot)
    assert (await _ask(step_runner, ref, 2)).after > 0


async def test_a_message_that_only_the_second_attempt_saw_is_not_counted_as_read_by_the_first(
    stage: Stage, parrot: Parrot
) -> None:
    step_runner = _step_runner(stage, parrot)
    ref = await stage.run()
    slow = _run_step(step_runner, await _ask(step_runner, ref))
    await parrot.was_asked(1)
    await stage.send(ref, "one more thing")
    second = _run_step(step_runner, await _ask(step_runner, ref, 1, attempt=2), attempt=2)
    await parrot.was_asked(2)
    parrot.replies[0].set_result(ModelResponse("the answer", StopReason.END))
    assert (await slow).status == "running", "the message would be lost"
    parrot.replies[1].set_result(ModelResponse("both answers", StopReason.END))
    assert (await second).status == "running", "the second reply is dropped: the step is recorded"
    third = _run_step(step_runner, await _ask(step_runner, ref, 2))
    await parrot.was_asked(3)
    assert parrot.requests[2].turns[-1] == UserTurn((), ("one more thing",))
    parrot.replies[2].set_result(ModelResponse("both answers", StopReason.END))
    assert (await third).status == "done"


async def _edit(stage: Stage, ref: RunRef, text: str) -> None:
    first = (await stage.store.messages.page(ref, after=0, limit=1))[0]
    await stage.store.rewind.edit(ref, first.id, text)


async def test_a_conversation_that_went_back_is_read_again_from_its_beginning(
    stage: Stage, parrot: Parrot
) -> None:
    step_runner = _step_runner(stage, parrot)
    ref = await _first_step(stage, step_runner, parrot)
    await _edit(stage, ref, "go slowly")
    question = await _ask(step_runner, ref)
    assert question.after == 0
    task = _run_step(step_runner, question)
    await parrot.was_asked(2)
    assert parrot.requests[1].turns == (UserTurn((), ("go slowly",)),)
    parrot.replies[1].set_result(ModelResponse("slowly, then", StopReason.END))
    assert (await task).status == "done"


async def test_a_reply_to_what_was_replaced_is_dropped_and_the_new_text_asked(
    stage: Stage, parrot: Parrot
) -> None:
    """The reply comes after the edit, and a worker that is asked meanwhile does not wait for it."""
    step_runner = _step_runner(stage, parrot)
    ref = await stage.run()
    outdated = _run_step(step_runner, await _ask(step_runner, ref))
    await parrot.was_asked(1)
    await _edit(stage, ref, "go slowly")
    current = _run_step(step_runner, await _ask(step_runner, ref))
    await parrot.was_asked(2)
    parrot.replies[0].set_result(ModelResponse("quickly", StopReason.END))
    assert (await outdated).status == "running"
    parrot.replies[1].set_result(ModelResponse("slowly, then", StopReason.END))
    assert (await current).status == "done"
    assert (await stage.get_run(ref)).result == '"slowly, then"'
    assert parrot.requests[1].turns == (UserTurn((), ("go slowly",)),)


async def test_a_run_of_the_same_id_as_a_deleted_one_is_not_mistaken_for_it(
    stage: Stage, parrot: Parrot
) -> None:
    """SQLite gives the key of the newest run again, once that was deleted."""
    step_runner = _step_runner(stage, parrot)
    ref = await _first_step(stage, step_runner, parrot)
    age = (await stage.get_run(ref)).created_at
    await stage.store.deletion.delete(ref)
    assert await stage.run(id=ref.run_id, prompt="something else") == ref
    await stage.alter(runs, created_at=age + 1)
    task = _run_step(step_runner, await _ask(step_runner, ref))
    await parrot.was_asked(2)
    assert parrot.requests[1].turns == (UserTurn((), ("something else",)),)
    parrot.replies[1].set_result(ModelResponse("else", StopReason.END))
    assert (await task).status == "done"
