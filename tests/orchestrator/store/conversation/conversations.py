"""Looks at conversations, for tests that go back in them."""

from __future__ import annotations

from orchestrator.llm.messages import Turn
from orchestrator.llm.transcript import turns
from orchestrator.store.records import MessageRecord
from orchestrator.workflows.interface import RunRef
from tests.support.stage import Stage


async def rows_of(
    stage: Stage, ref: RunRef, *, replaced: bool | None = False
) -> list[MessageRecord]:
    """The messages of the conversation as it is, those that were replaced, or all (None)."""
    return await stage.store.messages.page(ref, after=0, limit=1_000, replaced=replaced)


async def first_id(stage: Stage, ref: RunRef) -> str:
    return (await rows_of(stage, ref))[0].id


async def prompt_turns(stage: Stage, ref: RunRef) -> tuple[Turn, ...]:
    """What the model is asked next."""
    return turns((await stage.begin_step(ref)).entries)
