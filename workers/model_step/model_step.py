"""A model step between its two transactions: builds the request, parses the reply."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial

from pydantic import JsonValue

from orchestrator.llm.builtin_tools import run_built_in_tool
from orchestrator.llm.messages import ModelRequest, ModelResponse
from orchestrator.llm.model_names import resolve_model
from orchestrator.llm.price_list import PriceList
from orchestrator.llm.prompts import (
    RESULT_TOOL,
    SEARCH_TOOL,
    system_prompt,
)
from orchestrator.llm.tool_selection import (
    ToolSelection,
    ToolSelector,
    request_tools,
    search_answer,
)
from orchestrator.llm.tools import AvailableFunction
from orchestrator.llm.transcript import Conversation
from orchestrator.rules.model_reply import InlineTools, ParsedReply, parse_reply
from orchestrator.runtime.clock import now_ms
from orchestrator.runtime.failpoints import Point, reach
from orchestrator.schema import as_tool_schema, compile_schema
from orchestrator.store.calls.leases import CallExecutor
from orchestrator.store.conversation.step_input import StepInput, TranscriptCursor
from orchestrator.store.conversation.steps import RecordedStep
from orchestrator.store.database.json_columns import from_json, to_json
from orchestrator.store.records import RunRecord
from orchestrator.store.store import Store
from orchestrator.workflows.interface import ModelStepInput, RunRef, RunState
from workers.model_step.run_naming import RunNamer
from workers.models import Models

_CACHED_RUNS = 256
"""Runs whose transcript a worker caches, so that a step reads only new messages: the cost per step stays constant."""
_CACHED_CHARACTERS = 32_000_000
"""Characters of all cached transcripts: a run of a thousand steps with long results has ten million. The newest is always kept."""


@dataclass(slots=True)
class CachedTranscript:
    """The transcript of one run, as far as this worker has read it."""

    run_key: int
    rewinds: int
    created_at: int
    last_key: int = 0
    characters: int = 0
    conversation: Conversation = field(default_factory=Conversation)
    tool_selector: ToolSelector = field(default_factory=ToolSelector)

    def is_of(self, run: RunRecord) -> bool:
        """Whether this is the run's transcript as it was when its row was read, or its beginning."""
        return self.cursor().matches(run)

    def cursor(self) -> TranscriptCursor:
        return TranscriptCursor(self.run_key, self.last_key, self.rewinds, self.created_at)


class ModelStepRunner:
    """Runs model steps."""

    def __init__(
        self,
        store: Store,
        models: Models,
        run_namer: RunNamer | None = None,
        *,
        max_output_tokens: int,
        policies: Sequence[str] = (),
        prices: PriceList | None = None,
        cached_runs: int = _CACHED_RUNS,
        cached_characters: int = _CACHED_CHARACTERS,
    ) -> None:
        self._store = store
        self._models = models
        self._run_namer = run_namer
        self._max_output_tokens = max_output_tokens
        self._policies = tuple(policies)
        self._prices = prices or PriceList()
        self._cached_runs = cached_runs
        self._cached_characters = cached_characters
        self._transcripts: OrderedDict[RunRef, CachedTranscript] = OrderedDict()

    async def begin(self, step_input: ModelStepInput, attempt: int) -> StepInput | RunState:
        """The first transaction: the input of the step, if it is the model's turn. Raises `NotFoundError`."""
        transcript = self._transcripts.get(step_input.run)
        return await self._store.steps.begin(
            step_input.run,
            step_input.step,
            lost=step_input.lost,
            attempt=attempt,
            cursor=TranscriptCursor() if transcript is None else transcript.cursor(),
        )

    async def run(
        self,
        step_input: StepInput,
        *,
        attempt: int,
        on_progress: Callable[[], None],
        executor: Callable[[], CallExecutor | None] = lambda: None,
    ) -> RecordedStep:
        """Call the model, and record its reply in the second transaction. Raises `ModelError`.

        `executor`: starts the calls of the reply at once; evaluated after the reply.
        """
        model = await self._models.get(resolve_model(step_input.run.model, policies=self._policies))
        if self._run_namer is not None:
            self._run_namer.begin(step_input, attempt)
        transcript = self._update_transcript(await self._reload_if_evicted(step_input))
        seen, selection = (
            transcript.last_key,
            transcript.tool_selector.select(step_input.tools.functions),
        )
        request = self._request(step_input, transcript, selection, attempt)
        started = time.monotonic()
        reply = await model.generate(request, on_progress)
        duration = time.monotonic() - started
        reach(Point.MODEL_ANSWERED)
        return await self._store.steps.record(
            step_input,
            _parse(step_input, selection, reply),
            seen=seen,  # another attempt may have read more meanwhile
            attempt=attempt,
            duration_ms=int(duration * 1000),
            cost_micros=self._prices.cost(step_input.run.model, reply.usage),
            executor=executor(),
        )

    async def _reload_if_evicted(self, step_input: StepInput) -> StepInput:
        """The step's input with all entries, if the cached transcript was evicted since it was read."""
        transcript = self._transcripts.get(RunRef(step_input.run.cluster_id, step_input.run.id))
        if step_input.after == 0 or (transcript is not None and transcript.is_of(step_input.run)):
            return step_input
        entries = await self._store.messages.transcript(step_input.run.key)
        return replace(step_input, after=0, entries=tuple(entries))

    def _update_transcript(self, step_input: StepInput) -> CachedTranscript:
        """Add the new entries to the run's cached transcript. Two attempts of one step may both do this."""
        ref = RunRef(step_input.run.cluster_id, step_input.run.id)
        transcript = self._transcripts.get(ref)
        if transcript is None or not transcript.is_of(step_input.run) or step_input.after == 0:
            transcript = CachedTranscript(
                step_input.run.key, step_input.run.rewinds, step_input.run.created_at
            )
            self._transcripts[ref] = transcript
        for entry in step_input.entries:
            if entry.key > transcript.last_key:
                transcript.conversation.add(entry)
                transcript.tool_selector.add(entry)
                transcript.last_key = entry.key
                transcript.characters += entry.characters
        self._transcripts.move_to_end(ref)
        while len(self._transcripts) > 1 and self._is_over_limit():
            self._transcripts.popitem(last=False)
        return transcript

    def _is_over_limit(self) -> bool:
        characters = sum(transcript.characters for transcript in self._transcripts.values())
        return len(self._transcripts) > self._cached_runs or characters > self._cached_characters

    def _request(
        self,
        step_input: StepInput,
        transcript: CachedTranscript,
        selection: ToolSelection,
        attempt: int,
    ) -> ModelRequest:
        run = step_input.run
        wants_schema = run.result_schema is not None
        return ModelRequest(
            model=run.model,
            system=system_prompt(
                run.system_prompt,
                wants_schema=wants_schema,
                cluster_context=step_input.context,
            ),
            turns=transcript.conversation.turns(),
            tools=request_tools(
                selection,
                step_input.tools.built_in,
                result_input=_result_input(run.result_schema),
                wants_schema=wants_schema,
                reasons=run.reasoning_traces,
            ),
            result_tool=RESULT_TOOL,
            max_output_tokens=self._max_output_tokens,
            attempt=run.tries + attempt,
        )


@lru_cache(maxsize=512)
def _result_input(result_schema: str | None) -> Mapping[str, JsonValue]:
    """The schema of the result tool's input; any JSON value without a result schema."""
    if result_schema is None:
        return as_tool_schema({"description": "The result, any JSON value."})
    schema = from_json(result_schema)
    return as_tool_schema(schema if isinstance(schema, dict) else {})


def _inline_tools(step_input: StepInput) -> InlineTools:
    """Tools that are answered here: the built-in tools and the search."""
    builtin_tool = partial(run_built_in_tool, now=now_ms())
    search = partial(search_answer, functions=step_input.tools.functions)
    return {**dict.fromkeys(step_input.tools.built_in, builtin_tool), SEARCH_TOOL: search}


def _parse(step_input: StepInput, selection: ToolSelection, reply: ModelResponse) -> ParsedReply:
    schema = step_input.run.result_schema
    return parse_reply(
        reply,
        {function.tool.name: function for function in step_input.tools.functions},
        check_input=_check_input,
        check_result=None if schema is None else compile_schema(schema).problems,
        parse=from_json,
        inline_tools=_inline_tools(step_input),
        selected_tools=selection.names,
    )


def _check_input(function: AvailableFunction, value: JsonValue) -> Sequence[str]:
    if not isinstance(value, dict):
        return ("the input must be an object",)
    return compile_schema(to_json(dict(function.tool.schema))).problems(value)
