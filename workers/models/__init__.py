"""The models of a worker process, opened when a run first asks for one. Provider shapes end in this package."""

from __future__ import annotations

import asyncio
import importlib
from typing import TYPE_CHECKING

from orchestrator.llm.messages import ErrorAction, Model, ModelError
from orchestrator.llm.model_names import ANTHROPIC, SCRIPTED, ModelName, parse_policies
from orchestrator.settings import Settings
from workers.models.scripted.model import ScriptedModel, load_policy

if TYPE_CHECKING:
    from workers.models.anthropic.client import AnthropicModels

__all__ = ["Models", "open_models"]


class Models:
    """Every model this process can reach, by name. One connection pool per provider."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._policies = parse_policies(settings.scripted_policies)
        self._opened: dict[ModelName, Model] = {}
        self._anthropic: AnthropicModels | None = None
        self._opening = asyncio.Lock()

    async def get(self, name: ModelName) -> Model:
        """The model of this name, the same object each time.

        Raises `ModelError` (fail) when the provider is unknown, its key is missing or a policy cannot be loaded.
        """
        async with self._opening:
            if name not in self._opened:
                self._opened[name] = await self._open(name)
            return self._opened[name]

    async def aclose(self) -> None:
        """Close all connections."""
        provider, self._anthropic = self._anthropic, None
        self._opened.clear()
        if provider is not None:
            await provider.aclose()

    async def _open(self, name: ModelName) -> Model:
        if name.provider == SCRIPTED:
            return ScriptedModel(name.model, load_policy(name.model, self._policies))
        if name.provider != ANTHROPIC:
            raise ModelError(
                f"No model provider is called {name.provider!r}", action=ErrorAction.FAIL
            )
        if self._anthropic is None:
            self._anthropic = await self._open_anthropic()
        return self._anthropic.model(name.model)

    async def _open_anthropic(self) -> AnthropicModels:
        key = self._settings.anthropic_api_key
        if key is None or not key.get_secret_value().strip():
            raise ModelError(
                "Claude needs a key: set ANTHROPIC_API_KEY for the Temporal workers and start them again, "
                "or choose a scripted model",
                action=ErrorAction.FAIL,
            )
        # In a thread: the provider's package takes more than a second to import, and other runs go on meanwhile.
        await asyncio.to_thread(importlib.import_module, "workers.models.anthropic.client")
        from workers.models.anthropic.client import AnthropicModels  # noqa: PLC0415 - see above

        return AnthropicModels(
            key.get_secret_value().strip(), base_url=self._settings.anthropic_base_url
        )


def open_models(settings: Settings) -> Models:
    """The models of a process; nothing is imported or connected before the first `get`.

    Raises `ValueError` when `settings.scripted_policies` cannot be read.
    """
    return Models(settings)
