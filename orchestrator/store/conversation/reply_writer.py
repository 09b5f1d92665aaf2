"""Writes a model's reply: its message, the immediate answers to it, and the transition it may cause."""

from __future__ import annotations

from sqlalchemy import insert

from orchestrator.llm.messages import ToolResult
from orchestrator.llm.transcript import reply_data, result_data, text_data
from orchestrator.rules.agent_loop import (
    Action,
    AwaitApproval,
    CallFunctions,
    CallModel,
    Cancel,
    Fail,
    Finish,
    Idle,
    RequestCorrection,
    Summarize,
)
from orchestrator.rules.lifecycle import Trigger
from orchestrator.rules.model_reply import ParsedReply
from orchestrator.runtime.ids import new_id
from orchestrator.store import tables
from orchestrator.store.database.json_columns import to_json
from orchestrator.store.database.prepared import prepared_inline
from orchestrator.store.runs.locked_run import LockedRun
from perdure.contract import MessageType
from perdure.contract.event_types import ReplyCorrected

_ACCEPTED = "The result was accepted."
_CALLS_OPEN = "Not taken: other functions were called in the same reply. Look at their results, then give the result alone."
_NEW_MESSAGE = (
    "Not final: a new message arrived meanwhile. Take it into account, then give the result again."
)

# Built once: building a statement costs more than sending it.
_INSERT = prepared_inline(insert(tables.messages).returning(tables.messages.c.key))


class ReplyWriter:
    """Writes one reply and its consequences into the locked run."""

    def __init__(self, run: LockedRun, step: int, seen: int) -> None:
        self._run = run
        self._step = step
        self._seen = seen

    async def write_message(self, parsed: ParsedReply) -> int:
        """Write the agent message; returns its key."""
        self._run.set(seen_message=self._seen)
        return await self._write(
            new_id(),
            MessageType.AGENT,
            to_json(
                reply_data(parsed.reply, seen=self._seen, selected_tools=parsed.selected_tools)
            ),
        )

    async def write_tool_result(self, result: ToolResult) -> None:
        """Write the answer to a tool call that needed no function."""
        await self._write(new_id(), MessageType.INVOCATION_RESULT, to_json(result_data(result)))

    async def apply(self, action: Action, parsed: ParsedReply) -> None:
        """Execute the action, as far as it concerns the store."""
        run = self._run
        match action:
            case Finish(result, null_reason):
                await self._answer_final_call(parsed, _ACCEPTED)
                await run.transition(Trigger.FINISH, result=result, null_reason=null_reason)
            case Fail(reason):
                await self._answer_final_call(parsed, reason)
                await run.transition(Trigger.FAIL, reason=reason)
            case Cancel():
                await self._answer_final_call(parsed, "The run was cancelled.")
                await run.transition(Trigger.CANCEL, reason=run.record.cancel_reason or "cancelled")
            case RequestCorrection(problem):
                await self._request_correction(parsed, problem)
            case CallFunctions() | Summarize() | AwaitApproval():
                await self._answer_final_call(parsed, _CALLS_OPEN, is_error=True)
            case CallModel() | Idle():
                await self._answer_final_call(
                    parsed, _CALLS_OPEN if parsed.calls else _NEW_MESSAGE, is_error=True
                )

    async def _request_correction(self, parsed: ParsedReply, problem: str) -> None:
        self._run.set(corrections=self._run.record.corrections + 1)
        self._run.event(ReplyCorrected(step=self._step, problem=problem))
        if parsed.final_call is not None:
            await self._answer_final_call(parsed, problem, is_error=True)
        elif not parsed.reply.calls:
            await self._write(new_id(), MessageType.SUPERVISOR, to_json(text_data(problem)))

    async def _answer_final_call(
        self, parsed: ParsedReply, text: str, *, is_error: bool = False
    ) -> None:
        """Answer the call that carried the result: providers require an answer to every tool call."""
        if parsed.final_call is not None:
            await self.write_tool_result(
                ToolResult(parsed.final_call.id, parsed.final_call.name, text, is_error=is_error)
            )

    async def _write(self, message_id: str, kind: MessageType, data: str) -> int:
        row = {
            "run_key": self._run.key,
            "id": message_id,
            "turn": self._run.turn,
            "step": self._step,
            "type": kind.value,
            "data": data,
            "created_at": self._run.now,
        }
        key: int = (await self._run.write.execute(_INSERT, row)).scalar_one()
        return key
