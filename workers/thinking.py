"""A model step between its two transactions: the question put together, the reply taken apart."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

from pydantic import JsonValue

from orchestrator.activity_interface import RunRef, Standing, ThinkInput
from orchestrator.conversation import ModelRequest, Reply, Tool
from orchestrator.prompts import RESULT_TOOL, own_tools, system_prompt
from orchestrator.registry import resolve_model
from orchestrator.reply import OfferedFunction, Plan, read_reply
from orchestrator.schema import compile_schema, embed
from orchestrator.store.json_text import dump, load
from orchestrator.store.steps import Question
from orchestrator.store.store import Store
from orchestrator.transcript import Conversation
from workers.models import Models

_REMEMBERED_RUNS = 256
"""Runs whose conversation a worker remembers, so that a step reads only what is new: the cost per step stays flat."""
_NOTHING_KNOWN = (0, 0)


@dataclass(slots=True)
class _Memory:
    """What this worker has read of one run's transcript."""

    run_key: int
    last_key: int = 0
    conversation: Conversation = field(default_factory=Conversation)


class Thinker:
    """Asks models in the name of runs."""

    def __init__(
        self,
        store: Store,
        models: Models,
        *,
        max_output_tokens: int,
        policies: Sequence[str] = (),
        remembered_runs: int = _REMEMBERED_RUNS,
    ) -> None:
        self._store = store
        self._models = models
        self._max_output_tokens = max_output_tokens
        self._policies = tuple(policies)
        self._remembered_runs = remembered_runs
        self._memories: OrderedDict[RunRef, _Memory] = OrderedDict()

    async def begin(self, question: ThinkInput, attempt: int) -> Question | Standing:
        """The first transaction: what is to be asked, if it is the model's turn. Raises `NotFoundError`."""
        memory = self._memories.get(question.run)
        return await self._store.steps.begin(
            question.run,
            question.step,
            lost=question.lost,
            attempt=attempt,
            known=_NOTHING_KNOWN if memory is None else (memory.run_key, memory.last_key),
        )

    async def think(
        self, question: Question, *, attempt: int, progress: Callable[[], None]
    ) -> Standing:
        """Ask the model, and record what it says in the second transaction. Raises `ModelError`."""
        model = await self._models.get(resolve_model(question.run.model, policies=self._policies))
        memory = self._remember(await self._whole(question))
        seen, request = memory.last_key, self._request(question, memory, attempt)
        started = time.monotonic()
        reply = await model.reply(request, progress)
        duration = time.monotonic() - started
        return await self._store.steps.record(
            question,
            _read(question, reply),
            seen=seen,  # another attempt may have read more meanwhile
            attempt=attempt,
            duration_ms=int(duration * 1000),
        )

    async def _whole(self, question: Question) -> Question:
        """The question with all entries, where the memory of the earlier ones was given up since it was asked."""
        memory = self._memories.get(RunRef(question.run.cluster_id, question.run.id))
        if question.after == 0 or (memory is not None and memory.run_key == question.run.key):
            return question
        entries = await self._store.messages.transcript(question.run.key)
        return replace(question, after=0, entries=tuple(entries))

    def _remember(self, question: Question) -> _Memory:
        """The run's conversation with what is new in it. Two attempts of one step may both come here."""
        ref = RunRef(question.run.cluster_id, question.run.id)
        memory = self._memories.get(ref)
        if memory is None or memory.run_key != question.run.key or question.after == 0:
            memory = self._memories[ref] = _Memory(question.run.key)
        for entry in question.entries:
            if entry.key > memory.last_key:
                memory.conversation.add(entry)
                memory.last_key = entry.key
        self._memories.move_to_end(ref)
        if len(self._memories) > self._remembered_runs:
            self._memories.popitem(last=False)
        return memory

    def _request(self, question: Question, memory: _Memory, attempt: int) -> ModelRequest:
        run = question.run
        wants_schema = run.result_schema is not None
        functions = tuple(function.tool for function in question.functions)
        return ModelRequest(
            model=run.model,
            system=system_prompt(run.system_prompt, wants_schema=wants_schema),
            turns=memory.conversation.turns(),
            tools=(*functions, *_own_tools(run.result_schema)),
            result_tool=RESULT_TOOL,
            max_output_tokens=self._max_output_tokens,
            attempt=run.tries + attempt,
        )


@lru_cache(maxsize=512)
def _own_tools(result_schema: str | None) -> tuple[Tool, ...]:
    if result_schema is None:
        anything: dict[str, JsonValue] = {"description": "The result, any JSON value."}
        return own_tools(embed(anything), wants_schema=False)
    schema = load(result_schema)
    return own_tools(embed(schema if isinstance(schema, dict) else {}), wants_schema=True)


def _read(question: Question, reply: Reply) -> Plan:
    schema = question.run.result_schema
    return read_reply(
        reply,
        {function.tool.name: function for function in question.functions},
        check_input=_check_input,
        check_result=None if schema is None else compile_schema(schema).problems,
        parse=load,
    )


def _check_input(function: OfferedFunction, value: JsonValue) -> Sequence[str]:
    if not isinstance(value, dict):
        return ("the input must be an object",)
    return compile_schema(dump(dict(function.tool.schema))).problems(value)
