"""The models of a worker process, opened when a run first needs one. Provider shapes end in this package."""

from __future__ import annotations

import asyncio
import importlib
from typing import Any, Protocol

from orchestrator.llm.messages import ErrorAction, Model, ModelError
from orchestrator.llm.model_names import ModelName, parse_policies
from orchestrator.llm.providers import Provider, find_provider
from orchestrator.settings import Settings

__all__ = ["ModelPool", "Models", "open_models"]


class ModelPool(Protocol):
    """One provider, opened: its models share its connections."""

    def model(self, model: str) -> Model:
        """The model of this id. Raises `ModelError` (fail) if it is not available; sends nothing to the provider yet."""
        ...

    async def aclose(self) -> None:
        """Close all connections. Calls in progress are cut."""
        ...


class Models:
    """Every model this process can reach, by name. One connection pool per provider."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._opened: dict[ModelName, Model] = {}
        self._pools: dict[str, ModelPool] = {}
        self._opening = asyncio.Lock()

    async def get(self, name: ModelName) -> Model:
        """The model of this name, the same object each time.

        Raises `ModelError` (fail) when the provider is unknown, its key is missing or a policy cannot be loaded.
        """
        async with self._opening:
            if name not in self._opened:
                self._opened[name] = (await self._pool(name.provider)).model(name.model)
            return self._opened[name]

    async def aclose(self) -> None:
        """Close all connections."""
        pools, self._pools = self._pools, {}
        self._opened.clear()
        for pool in pools.values():
            await pool.aclose()

    async def _pool(self, name: str) -> ModelPool:
        if name not in self._pools:
            provider = find_provider(name)
            if provider is None:
                raise ModelError(f"No model provider is called {name!r}", action=ErrorAction.FAIL)
            self._require_key(provider)
            module, _, function = provider.open.partition(":")
            # In a thread: a provider's package can take more than a second to import, and other runs continue meanwhile.
            opener: Any = getattr(
                await asyncio.to_thread(importlib.import_module, module), function
            )
            self._pools[name] = opener(self._settings)
        return self._pools[name]

    def _require_key(self, provider: Provider) -> None:
        if provider.key_setting is None:
            return
        key = getattr(self._settings, provider.key_setting)
        if key is None or not key.get_secret_value().strip():
            raise ModelError(
                f"{provider.title} needs a key: set {provider.key_setting.upper()} for the Temporal workers and "
                "restart them, or choose a scripted model",
                action=ErrorAction.FAIL,
            )


def open_models(settings: Settings) -> Models:
    """The models of a process; nothing is imported or connected before the first `get`.

    Raises `ValueError` when `settings.scripted_policies` cannot be read.
    """
    parse_policies(settings.scripted_policies)
    return Models(settings)
