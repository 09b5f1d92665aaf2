"""The auxiliary model of a run, for summaries and names. Its usage counts for the cluster's day."""

from __future__ import annotations

from orchestrator.llm.messages import Model, ModelResponse
from orchestrator.llm.model_names import ModelName, auxiliary_model, resolve_model
from orchestrator.llm.price_list import PriceList
from orchestrator.store.records import RunRecord
from orchestrator.store.store import Store
from workers.models import Models


class AuxiliaryModel:
    """The small model of a run's provider, or the one of the settings."""

    def __init__(
        self,
        store: Store,
        models: Models,
        *,
        model: str | None = None,
        policies: tuple[str, ...] = (),
        prices: PriceList | None = None,
    ) -> None:
        self._store = store
        self._models = models
        self._model = model
        self._policies = policies
        self._prices = prices or PriceList()

    async def summarize(self, run: RunRecord, text: str, limit: int) -> str:
        """Summarize an oversized result of the run. Raises `ModelError`."""
        name, model = await self._of(run)
        return await self._counted(run, name, await model.summarize(text, limit))

    async def name(self, run: RunRecord, prompt: str) -> str | None:
        """A name for a run that begins with this prompt; None if the model gives none. Raises `ModelError`."""
        name, model = await self._of(run)
        response = await model.name(prompt)
        return None if response is None else await self._counted(run, name, response)

    async def _of(self, run: RunRecord) -> tuple[ModelName, Model]:
        if self._model is not None:
            name = resolve_model(self._model, policies=self._policies)
        else:
            name = auxiliary_model(resolve_model(run.model, policies=self._policies))
        return name, await self._models.get(name)

    async def _counted(self, run: RunRecord, name: ModelName, reply: ModelResponse) -> str:
        cost = self._prices.cost(str(name), reply.usage)
        model = reply.model or str(name)
        await self._store.auxiliary_usage.add(run.cluster_id, model, reply.usage, cost)
        return reply.text
