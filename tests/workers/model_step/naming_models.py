"""A model that names runs as it is set, and counts how many names it makes at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from typing_extensions import override

from orchestrator.llm.messages import Model, ModelRequest, ModelResponse, StopReason
from orchestrator.llm.model_names import ModelName
from orchestrator.settings import Settings
from tests.support.stage import USAGE
from workers.models import Models


class NamingModel(Model):
    """Says `answer`, or raises it, once `allowed` is set."""

    def __init__(self) -> None:
        self.answer: str | Exception = "A better name"
        self.allowed = asyncio.Event()
        self.prompts: list[str] = []
        self.busy = 0
        self.busiest = 0

    @override
    async def generate(
        self, request: ModelRequest, on_progress: Callable[[], None]
    ) -> ModelResponse:
        return ModelResponse("the answer", StopReason.END)

    @override
    async def summarize(self, text: str, limit: int) -> ModelResponse:
        return ModelResponse(text[:limit], StopReason.END, usage=USAGE)

    @override
    async def name(self, prompt: str) -> ModelResponse:
        self.prompts.append(prompt)
        self.busy += 1
        self.busiest = max(self.busiest, self.busy)
        try:
            await self.allowed.wait()
        finally:
            self.busy -= 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return ModelResponse(self.answer, StopReason.END, usage=USAGE)


class NamingModels(Models):
    """Has that one model, and keeps which names were asked for."""

    def __init__(self, model: NamingModel) -> None:
        super().__init__(Settings())
        self._model = model
        self.asked: list[ModelName] = []

    @override
    async def get(self, name: ModelName) -> Model:
        self.asked.append(name)
        return self._model
