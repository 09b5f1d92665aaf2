"""Summaries of call results that are too long for the model."""

from __future__ import annotations

from orchestrator.activity_interface import RunRef
from orchestrator.conversation import Model, ModelError, Posture
from orchestrator.registry import resolve_model, small_model
from orchestrator.store.store import Store
from perdure.contract import INLINE_RESULT_CHARACTERS
from workers.models import Models

SUMMARY_CHARACTERS = 2_000
"""About how long a summary may be."""
READ_CHARACTERS = 400_000
"""Of a longer result the summarizing model reads the beginning and the end, each of half that length."""


class Summarizer:
    """Has oversized results summarized by the small model of the run's provider, or by the one of the settings."""

    def __init__(
        self, store: Store, models: Models, *, model: str | None, policies: tuple[str, ...]
    ) -> None:
        self._store = store
        self._models = models
        self._model = model
        self._policies = policies

    async def summarize(self, ref: RunRef, content: str) -> str:
        """What the result contains, in fewer characters than it has. Raises `ModelError`."""
        model = await self._model_of(ref)
        reply = await model.summarize(_readable(content), SUMMARY_CHARACTERS)
        text = reply.text.strip()
        if not text:
            raise ModelError("The summary was empty", posture=Posture.FAIL)
        return text[:INLINE_RESULT_CHARACTERS]

    async def _model_of(self, ref: RunRef) -> Model:
        if self._model is not None:
            return await self._models.get(resolve_model(self._model, policies=self._policies))
        run = await self._store.runs.get(ref)
        return await self._models.get(
            small_model(resolve_model(run.model, policies=self._policies))
        )


def _readable(content: str) -> str:
    if len(content) <= READ_CHARACTERS:
        return content
    half = READ_CHARACTERS // 2
    left_out = len(content) - 2 * half
    return f"{content[:half]}\n[… {left_out} characters left out …]\n{content[-half:]}"
