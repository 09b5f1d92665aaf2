"""Random walks through conversations that go back: whatever happens, the model is asked what it may be asked."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest

from orchestrator.errors import ConflictError
from orchestrator.llm.messages import AssistantTurn, Turn, UserTurn
from orchestrator.llm.transcript import turns
from orchestrator.store import tables
from orchestrator.store.calls.rows import open_calls
from orchestrator.store.conversation.step_input import StepInput
from orchestrator.store.database.json_columns import object_from_json
from orchestrator.workflows.interface import RunRef
from tests.orchestrator.store.conversation.conversations import rows_of
from tests.support.stage import Stage, calls_for, text_of

_MOVES = 40


class _Walk:
    """One run, what is under way for it, and what was last said under each message's id."""

    def __init__(self, stage: Stage, ref: RunRef, seed: int) -> None:
        self.stage = stage
        self.ref = ref
        self.dice = random.Random(seed)  # noqa: S311 - no secret
        self.under_way: list[StepInput] = []
        self.expected: dict[str, str] = {}

    async def move(self, number: int) -> None:
        await self.dice.choice(
            [
                self.ask,
                self.ask,
                self.reply,
                self.reply,
                self.answer,
                self.send,
                self.edit,
                self.retry,
            ]
        )(f"text {number}")

    async def ask(self, _: str) -> None:
        question = await self.stage.begin(self.ref)
        if isinstance(question, StepInput):
            check(turns(question.entries))
            self.under_way.append(question)

    async def reply(self, text: str) -> None:
        """To any question that was asked: most of them are out of date."""
        if self.under_way:
            question = self.under_way.pop(self.dice.randrange(len(self.under_way)))
            calls = calls_for("sales_query", "sales_query")
            await self.stage.record(question, self.dice.choice([text_of(text), calls]))

    async def answer(self, _: str) -> None:
        run = await self.stage.get_run(self.ref)
        async with self.stage.store.database.read() as read:
            waiting = await open_calls(read, run.key)
        if waiting:
            await self.stage.lease_and_finish(self.ref, self.dice.choice(waiting).id)

    async def send(self, text: str) -> None:
        record = await self.stage.send(self.ref, text)
        self.expected[record.id] = text

    async def edit(self, text: str) -> None:
        message_id = self.dice.choice(list(self.expected))
        with suppress(ConflictError):  # it was replaced itself
            await self.stage.store.rewind.edit(self.ref, message_id, text)
            self.expected[message_id] = text

    async def retry(self, _: str) -> None:
        with suppress(ConflictError):
            await self.stage.store.rewind.retry(self.ref, self.dice.choice(list(self.expected)))


def check(asked: tuple[Turn, ...]) -> None:
    """What every provider wants: turns alternate, a person begins and ends, every call is answered in the next turn."""
    assert [type(turn) for turn in asked] == [
        UserTurn if number % 2 == 0 else AssistantTurn for number in range(len(asked))
    ]
    assert len(asked) % 2 == 1
    for said, next_turn in zip(asked[1::2], asked[2::2], strict=True):
        assert isinstance(said, AssistantTurn)
        assert isinstance(next_turn, UserTurn)
        wanted = [call.id for call in said.reply.calls]
        assert [result.id for result in next_turn.results] == wanted


@pytest.mark.parametrize("seed", range(3))
async def test_a_walk_through_a_conversation_never_goes_astray(stage: Stage, seed: int) -> None:
    await stage.register("query")
    ref = await stage.run()
    walk = _Walk(stage, ref, seed)
    first = (await rows_of(stage, ref))[0].id
    walk.expected[first] = "go"
    for number in range(_MOVES):
        await walk.move(number)
    for row in await rows_of(stage, ref):
        if row.id in walk.expected:
            assert object_from_json(row.data) == {"message": walk.expected[row.id]}
    await stage.store.rewind.edit(ref, first, "the end")
    assert turns((await stage.begin_step(ref)).entries) == (UserTurn((), ("the end",)),)
    assert (await stage.think(ref, text_of("ended"))).status == "done"
    steps = {row["step"] for row in await stage.rows(tables.steps)}
    assert (await stage.get_run(ref)).model_calls == len(steps)
