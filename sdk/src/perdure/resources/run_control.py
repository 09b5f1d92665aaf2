"""The operations that change a run: messages, edits, retries, cancel, resume."""

from __future__ import annotations

from uuid import uuid4

from perdure.contract import (
    Budget,
    CancelRun,
    CreateMessage,
    EditMessage,
    Message,
    ResumeRun,
    RetryRun,
    Run as RunSnapshot,
    RunStatus,
    SetFeedback,
)
from perdure.errors import ConflictError
from perdure.http.cluster_api import PageOf
from perdure.http.json_codec import build
from perdure.resources.handle import AsyncHandle


class AsyncRunControl(AsyncHandle[RunSnapshot, RunStatus]):
    """The part of a run's handle that changes the run."""

    async def send(self, message: str) -> Message:
        """Add a follow-up message. A busy run reads it in order; a finished one begins its next turn.

        Raises `ConflictError` if the run is not interactive or was cancelled.
        """
        body = build(CreateMessage, {"message": message, "id": uuid4().hex})
        return await self._api.read(Message, "POST", "runs", self.id, "messages", body=body)

    async def messages(self, *, with_replaced: bool = False) -> list[Message]:
        """The conversation, oldest first; `with_replaced` includes messages that edits and retries replaced (`replaced_by`)."""
        query = {"replaced": "all"} if with_replaced else None
        return await self._api.all(PageOf[Message], "runs", self.id, "messages", query=query)

    async def edit_message(self, message: Message | str, text: str) -> Message:
        """Change the text of a message that was sent to the run, given itself or by its id; the run begins again there.

        Later messages are kept, and marked as replaced. Raises `ConflictError` if the run is not interactive or was
        cancelled, or the message was not sent by a caller, or is replaced itself.
        """
        body = build(EditMessage, {"message": text})
        parts = ("runs", self.id, "messages", _id_of(message))
        return await self._api.read(Message, "PUT", *parts, body=body)

    async def retry(self, message: Message | str | None = None) -> RunSnapshot:
        """Restart the run from a message that was sent to it; default: the last one.

        Later messages are kept, and marked as replaced. A run that is done or failed begins its next turn. Raises
        `ConflictError` as `edit_message` does.
        """
        body = build(RetryRun, {"message_id": None if message is None else _id_of(message)})
        return self._update(
            await self._api.read(RunSnapshot, "POST", "runs", self.id, "retry", body=body)
        )

    async def cancel(self, reason: str | None = None) -> RunSnapshot:
        """Cancel the run. Cancelling a cancelled run is not an error; raises `ConflictError` for a finished one."""
        body = build(CancelRun, {"reason": reason})
        try:
            answer = await self._api.read(RunSnapshot, "POST", "runs", self.id, "cancel", body=body)
        except ConflictError:
            if (await self.refresh()).status is RunStatus.CANCELLED:
                return self._snapshot
            raise
        return self._update(answer)

    async def resume(self, budget: Budget | None = None) -> RunSnapshot:
        """Resume a paused run, with a higher budget if it has used up its own.

        In `budget`, a number sets a limit, an explicit None removes it, other limits are unchanged. Raises
        `ConflictError` for a run that is not paused, waits for approvals or needs more budget;
        `InvalidRequestError` for a limit that is already used up.
        """
        body = None if budget is None else build(ResumeRun, {"budget": budget})
        return self._update(
            await self._api.read(RunSnapshot, "POST", "runs", self.id, "resume", body=body)
        )

    async def feedback(self, score: float | None = None, comment: str | None = None) -> None:
        """Set feedback on the run: a score from 0 (bad) to 1 (good), and a comment of at most 4,096 characters.

        It replaces earlier feedback; None removes a value.
        """
        body = build(SetFeedback, {"score": score, "comment": comment})
        await self._api.send("POST", "runs", self.id, "feedback", body=body)

    async def delete(self) -> None:
        """Delete the run permanently, whatever its status. Its cost stays in the cluster's usage."""
        await self._api.send("DELETE", "runs", self.id)


def _id_of(message: Message | str) -> str:
    return message if isinstance(message, str) else message.id
