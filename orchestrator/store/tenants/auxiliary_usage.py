"""Usage of names and summaries. They belong to no step, so they count for the cluster's day and not for a run."""

from __future__ import annotations

from orchestrator.llm.messages import Usage
from orchestrator.runtime.clock import now_ms, to_datetime
from orchestrator.store import tables
from orchestrator.store.database.engine import Database

_ADDED = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "cost_micros",
    "model_calls",
)


class AuxiliaryUsageStore:
    """Adds to a cluster's usage of a day."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, cluster_id: str, model: str, usage: Usage, cost_micros: int) -> None:
        """Count one reply of a model today (UTC)."""
        key = {
            "cluster_id": cluster_id,
            "day": to_datetime(now_ms()).date().isoformat(),
            "model": model,
        }
        counted = {
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "cache_read_tokens": usage.cache_read_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
            "cost_micros": cost_micros,
            "model_calls": 1,
        }
        async with self._database.write() as write:
            await write.upsert(tables.usage_days, key, counted, add=_ADDED)
