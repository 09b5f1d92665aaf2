"""Summaries of call results that are too long for the model."""

from __future__ import annotations

from orchestrator.llm.messages import ErrorAction, ModelError
from orchestrator.store.store import Store
from orchestrator.workflows.interface import RunRef
from perdure.contract import INLINE_RESULT_CHARACTERS
from workers.model_step.auxiliary_model import AuxiliaryModel

SUMMARY_CHARACTERS = 2_000
"""Approximate maximum characters of a summary."""
READ_CHARACTERS = 400_000
"""Characters of a result that the summarizing model reads: beginning and end of a longer one, half each."""


class Summarizer:
    """Summarizes oversized results by the small model."""

    def __init__(self, store: Store, auxiliary_model: AuxiliaryModel) -> None:
        self._store = store
        self._auxiliary_model = auxiliary_model

    async def summarize(self, ref: RunRef, content: str) -> str:
        """A summary of the result that is shorter than it. Raises `ModelError`."""
        run = await self._store.runs.get(ref)
        answer = await self._auxiliary_model.summarize(run, _readable(content), SUMMARY_CHARACTERS)
        text = answer.strip()
        if not text:
            raise ModelError("The summary was empty", action=ErrorAction.FAIL)
        return text[:INLINE_RESULT_CHARACTERS]


def _readable(content: str) -> str:
    if len(content) <= READ_CHARACTERS:
        return content
    half = READ_CHARACTERS // 2
    left_out = len(content) - 2 * half
    return f"{content[:half]}\n[… {left_out} characters left out …]\n{content[-half:]}"
