"""A model step between its two transactions: the question put together, the reply taken apart."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial

from pydantic import JsonValue

from orchestrator.llm.builtin_tools import library_answer, library_tools
from orchestrator.llm.messages import ModelRequest, Reply, Tool
from orchestrator.llm.model_names import resolve_model
from orchestrator.llm.prompts import (
    RESULT_TOOL,
    SEARCH_TOOL,
    own_tools,
    system_prompt,
    with_reasoning,
)
from orchestrator.llm.tool_selection import Offer, Offering, search_answer
from orchestrator.llm.tools import OfferedFunction
from orchestrator.llm.transcript import Conversation
from orchestrator.rules.model_reply import InlineTools, ParsedReply, parse_reply
from orchestrator.rules.pricing import PriceList
from orchestrator.runtime.clock import now_ms
from orchestrator.runtime.failpoints import Point, reach
from orchestrator.schema import compile_schema, embed
from orchestrator.store.calls.leases import Maker
from orchestrator.store.conversation.step_input import Known, Question
from orchestrator.store.conversation.steps import Recorded
from orchestrator.store.database.json_columns import dump, load
from orchestrator.store.records import RunRecord
from orchestrator.store.store import Store
from orchestrator.workflows.interface import ModelStepInput, RunRef, RunState
from workers.model_step.run_naming import Namer
from workers.models import Models

_REMEMBERED_RUNS = 256
"""Runs whose conversation a worker remembers, so that a step reads only what is new: the cost per step stays flat."""
_REMEMBERED_CHARACTERS = 32_000_000
"""Of all conversations together: a run of a thousand steps with long results has ten million. The newest is kept always."""


@dataclass(slots=True)
class _Memory:
    """What this worker has read of one run's transcript."""

    run_key: int
    rewinds: int
    created_at: int
    last_key: int = 0
    characters: int = 0
    conversation: Conversation = field(default_factory=Conversation)
    offering: Offering = field(default_factory=Offering)

    def is_of(self, run: RunRecord) -> bool:
        """Whether this is the run's transcript as it was when its row was read, or its beginning."""
        return self.known().is_of(run)

    def known(self) -> Known:
        return Known(self.run_key, self.last_key, self.rewinds, self.created_at)


class Thinker:
    """Asks models in the name of runs."""

    def __init__(
        self,
        store: Store,
        models: Models,
        namer: Namer | None = None,
        *,
        max_output_tokens: int,
        policies: Sequence[str] = (),
        prices: PriceList | None = None,
        remembered_runs: int = _REMEMBERED_RUNS,
        remembered_characters: int = _REMEMBERED_CHARACTERS,
    ) -> None:
        self._store = store
        self._models = models
        self._namer = namer
        self._max_output_tokens = max_output_tokens
        self._policies = tuple(policies)
        self._prices = prices or PriceList()
        self._remembered_runs = remembered_runs
        self._remembered_characters = remembered_characters
        self._memories: OrderedDict[RunRef, _Memory] = OrderedDict()

    async def begin(self, question: ModelStepInput, attempt: int) -> Question | RunState:
        """The first transaction: what is to be asked, if it is the model's turn. Raises `NotFoundError`."""
        memory = self._memories.get(question.run)
        return await self._store.steps.begin(
            question.run,
            question.step,
            lost=question.lost,
            attempt=attempt,
            known=Known() if memory is None else memory.known(),
        )

    async def think(
        self,
        question: Question,
        *,
        attempt: int,
        progress: Callable[[], None],
        maker: Callable[[], Maker | None] = lambda: None,
    ) -> Recorded:
        """Ask the model, and record what it says in the second transaction. Raises `ModelError`.

        `maker`: who begins the calls of the reply at once, as it is when the reply is there.
        """
        model = await self._models.get(resolve_model(question.run.model, policies=self._policies))
        if self._namer is not None:
            self._namer.begin(question, attempt)
        memory = self._remember(await self._whole(question))
        seen, offer = memory.last_key, memory.offering.offer(question.functions)
        request = self._request(question, memory, offer, attempt)
        started = time.monotonic()
        reply = await model.reply(request, progress)
        duration = time.monotonic() - started
        reach(Point.MODEL_ANSWERED)
        return await self._store.steps.record(
            question,
            _read(question, offer, reply),
            seen=seen,  # another attempt may have read more meanwhile
            attempt=attempt,
            duration_ms=int(duration * 1000),
            cost_micros=self._prices.cost(question.run.model, reply.usage),
            maker=maker(),
        )

    async def _whole(self, question: Question) -> Question:
        """The question with all entries, where the memory of the earlier ones was given up since it was asked."""
        memory = self._memories.get(RunRef(question.run.cluster_id, question.run.id))
        if question.after == 0 or (memory is not None and memory.is_of(question.run)):
            return question
        entries = await self._store.messages.transcript(question.run.key)
        return replace(question, after=0, entries=tuple(entries))

    def _remember(self, question: Question) -> _Memory:
        """The run's conversation with what is new in it. Two attempts of one step may both come here."""
        ref = RunRef(question.run.cluster_id, question.run.id)
        memory = self._memories.get(ref)
        if memory is None or not memory.is_of(question.run) or question.after == 0:
            memory = _Memory(question.run.key, question.run.rewinds, question.run.created_at)
            self._memories[ref] = memory
        for entry in question.entries:
            if entry.key > memory.last_key:
                memory.conversation.add(entry)
                memory.offering.add(entry)
                memory.last_key = entry.key
                memory.characters += entry.characters
        self._memories.move_to_end(ref)
        while len(self._memories) > 1 and self._is_too_much():
            self._memories.popitem(last=False)
        return memory

    def _is_too_much(self) -> bool:
        characters = sum(memory.characters for memory in self._memories.values())
        return (
            len(self._memories) > self._remembered_runs or characters > self._remembered_characters
        )

    def _request(
        self, question: Question, memory: _Memory, offer: Offer, attempt: int
    ) -> ModelRequest:
        run = question.run
        functions = [function.tool for function in offer.functions]
        if run.reasoning_traces:
            functions = [with_reasoning(tool) for tool in functions]
        return ModelRequest(
            model=run.model,
            system=system_prompt(
                run.system_prompt,
                wants_schema=run.result_schema is not None,
                cluster_context=question.context,
            ),
            turns=memory.conversation.turns(),
            tools=(
                *functions,
                *library_tools(question.library),
                *_own_tools(run.result_schema, searchable=offer.searchable),
            ),
            result_tool=RESULT_TOOL,
            max_output_tokens=self._max_output_tokens,
            attempt=run.tries + attempt,
        )


@lru_cache(maxsize=512)
def _own_tools(result_schema: str | None, *, searchable: bool) -> tuple[Tool, ...]:
    if result_schema is None:
        anything: dict[str, JsonValue] = {"description": "The result, any JSON value."}
        return own_tools(embed(anything), wants_schema=False, searchable=searchable)
    schema = load(result_schema)
    return own_tools(
        embed(schema if isinstance(schema, dict) else {}), wants_schema=True, searchable=searchable
    )


def _at_once(question: Question) -> InlineTools:
    """Tools that are answered here: the standard library, and the search, also where nothing is left to be found."""
    library = partial(library_answer, now=now_ms())
    search = partial(search_answer, functions=question.functions)
    return {**dict.fromkeys(question.library, library), SEARCH_TOOL: search}


def _read(question: Question, offer: Offer, reply: Reply) -> ParsedReply:
    schema = question.run.result_schema
    return parse_reply(
        reply,
        {function.tool.name: function for function in question.functions},
        check_input=_check_input,
        check_result=None if schema is None else compile_schema(schema).problems,
        parse=load,
        inline_tools=_at_once(question),
        selected_tools=offer.names,
    )


def _check_input(function: OfferedFunction, value: JsonValue) -> Sequence[str]:
    if not isinstance(value, dict):
        return ("the input must be an object",)
    return compile_schema(dump(dict(function.tool.schema))).problems(value)
